//! `tallac.toml`: the settings of a node, readable and writable by people.

use crate::exit::{Failure, failed};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// The name of the file in a node directory.
pub(crate) const FILE: &str = "tallac.toml";

/// The whole file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) nickname: String,
    pub(crate) grid: Grid,
    pub(crate) web: Web,
    pub(crate) storage: Storage,
    pub(crate) introducer: Introducer,
    pub(crate) shares: Shares,
    pub(crate) client: Client,
    pub(crate) servers: Vec<Server>,
}

/// The port for other nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Grid {
    /// `HOST:PORT`.
    pub(crate) listen: String,
    /// Addresses that others reach it under. Empty: found at start.
    pub(crate) advertise: Vec<String>,
}

/// The web port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Web {
    /// `HOST:PORT`.
    pub(crate) listen: String,
    /// The PEM files of the chain of certificates and of the key; both or none. Relative to the node
    /// directory.
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// Names that browsers may know the node by, beside loopback and addresses.
    pub(crate) names: Vec<String>,
    /// Whether who uses it must show the token in `private/web-login`.
    pub(crate) login: bool,
}

/// The storage service.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    pub(crate) enabled: bool,
    pub(crate) read_only: bool,
    /// Space to leave free, such as `10G`.
    pub(crate) reserved_space: String,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage { enabled: true, read_only: false, reserved_space: "1G".into() }
    }
}

/// The introducer service.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Introducer {
    pub(crate) enabled: bool,
    /// Whether an introducer is a vdrive server, too.
    pub(crate) vdrive: bool,
}

impl Default for Introducer {
    fn default() -> Introducer {
        Introducer { enabled: false, vdrive: true }
    }
}

/// How new files are coded.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Shares {
    pub(crate) needed: u16,
    /// Missing: the smaller of 7 and the number of servers known.
    pub(crate) happy: Option<u16>,
    pub(crate) total: u16,
    pub(crate) segment_size: u32,
}

impl Default for Shares {
    fn default() -> Shares {
        Shares { needed: 3, happy: None, total: 10, segment_size: 1024 * 1024 }
    }
}

/// Which servers are used, and how.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Client {
    /// Furls beside those in `private/introducers.furl`.
    pub(crate) introducers: Vec<String>,
    pub(crate) preferred_servers: Vec<String>,
    pub(crate) refused_servers: Vec<String>,
    pub(crate) connections_max: usize,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            introducers: Vec::new(),
            preferred_servers: Vec::new(),
            refused_servers: Vec::new(),
            connections_max: 100,
        }
    }
}

/// A server that is used whether or not an introducer tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// `v0-` and 52 characters.
    pub(crate) id: String,
    /// Its lines of a furl file.
    pub(crate) furl: Vec<String>,
    /// 32 characters; what the server's `my_nodeid` says.
    pub(crate) tub_id: String,
    /// Base32; what the server's `permutation-seed` says.
    pub(crate) permutation_seed: String,
    #[serde(default)]
    pub(crate) nickname: String,
}

impl Config {
    pub(crate) fn load(directory: &Path) -> Result<Config> {
        let path = directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(failed(
                    Failure::Usage,
                    format!(
                        "{} is no node directory: there is no {FILE} in it. Make one with \
                         `tallac create-node {}`",
                        directory.display(),
                        directory.display()
                    ),
                ));
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let config: Config = toml::from_str(&text)
            .map_err(|error| failed(Failure::Usage, format!("{}: {error}", path.display())))?;
        config.check().with_context(|| format!("in {}", path.display()))?;
        Ok(config)
    }

    /// Checks what the types cannot say.
    pub(crate) fn check(&self) -> Result<()> {
        let Shares { needed, happy, total, .. } = self.shares;
        let bad = |text: String| Err(failed(Failure::Usage, text));
        if !(1..=256).contains(&total) || needed == 0 || needed > total {
            return bad(format!(
                "shares: {needed} of {total} is not possible; 1 <= needed <= total <= 256 must hold"
            ));
        }
        if let Some(happy) = happy
            && (happy == 0 || happy > total)
        {
            return bad(format!(
                "shares: happy = {happy} is not possible with {total} shares; 1 <= happy <= total must hold"
            ));
        }
        parse_size(&self.storage.reserved_space)?;
        Ok(())
    }

    /// The file's text, with a comment on every setting.
    pub(crate) fn to_text(&self) -> String {
        let quote = |text: &str| toml::Value::String(text.into()).to_string();
        let list = |items: &[String]| {
            let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
            format!("[{}]", items.join(", "))
        };
        let mut out = String::new();
        let happy = match self.shares.happy {
            Some(happy) => format!("happy = {happy}"),
            None => "# happy = 7".into(),
        };
        let _ = write!(
            out,
            "# A node of a Tallac grid. Changes count from the next start.\n\
             \n\
             # Its name for people.\n\
             nickname = {nickname}\n\
             \n\
             [grid]\n\
             # Where other nodes connect to.\n\
             listen = {listen}\n\
             # The addresses they reach it under, if they are others (port forwarding): [\"example.org:1234\"].\n\
             # Empty: the addresses of this machine.\n\
             advertise = {advertise}\n\
             \n\
             [web]\n\
             # Where the web API listens. Who can connect to it can use this node: keep it on loopback.\n\
             listen = {web}\n\
             # For https: the PEM files of the chain of certificates and of its key. tallac create-certificate\n\
             # makes private/web.pem and private/web-key.pem.\n\
             certificate = {certificate}\n\
             key = {key}\n\
             # Host names under which browsers reach it, beside localhost and addresses.\n\
             names = {names}\n\
             # Whether who uses it must log in, with the token in private/web-login. For a node that listens\n\
             # beyond this machine.\n\
             login = {login}\n\
             \n\
             [storage]\n\
             # Keep shares for the grid.\n\
             enabled = {storage}\n\
             read_only = {read_only}\n\
             # Space to leave free on the disk.\n\
             reserved_space = {reserved}\n\
             \n\
             [introducer]\n\
             # Pass the announcements of nodes on.\n\
             enabled = {introducer}\n\
             # Where it is enabled: make a root directory that everybody in the grid shares, and hand it to\n\
             # whoever holds vdrive.furl or vdrive-readonly.furl.\n\
             vdrive = {vdrive}\n\
             \n\
             [shares]\n\
             # Any `needed` of the `total` shares of a file give it back.\n\
             needed = {needed}\n\
             total = {total}\n\
             # Servers that must hold distinct shares before a file counts as stored.\n\
             # Without it: the smaller of 7 and the number of servers known.\n\
             {happy}\n\
             segment_size = {segment_size}\n\
             \n\
             [client]\n\
             # Furls of introducers, beside those in the file private/introducers.furl.\n\
             introducers = {introducers}\n\
             # Ids of servers to use first, and of servers not to use.\n\
             preferred_servers = {preferred}\n\
             refused_servers = {refused}\n\
             # Connections to servers kept at once.\n\
             connections_max = {connections}\n\
             \n\
             # Servers to use without an introducer:\n\
             # [[servers]]\n\
             # id = \"v0-...\"                      # the server's announcement key\n\
             # furl = [\"pb://...#v=1\"]            # one line for each of its addresses\n\
             # tub_id = \"...\"                     # its my_nodeid\n\
             # permutation_seed = \"...\"           # its permutation-seed\n",
            nickname = quote(&self.nickname),
            listen = quote(&self.grid.listen),
            advertise = list(&self.grid.advertise),
            web = quote(&self.web.listen),
            certificate = quote(&self.web.certificate),
            key = quote(&self.web.key),
            names = list(&self.web.names),
            login = self.web.login,
            storage = self.storage.enabled,
            read_only = self.storage.read_only,
            reserved = quote(&self.storage.reserved_space),
            introducer = self.introducer.enabled,
            vdrive = self.introducer.vdrive,
            needed = self.shares.needed,
            total = self.shares.total,
            segment_size = self.shares.segment_size,
            introducers = list(&self.client.introducers),
            preferred = list(&self.client.preferred_servers),
            refused = list(&self.client.refused_servers),
            connections = self.client.connections_max,
        );
        out
    }
}

/// Bytes, with an optional suffix K, M, G or T (powers of 1000, as Tahoe-LAFS reads them) or Ki,
/// Mi, Gi, Ti (powers of 1024), and an optional B.
pub(crate) fn parse_size(text: &str) -> Result<u64> {
    let bad = || failed(Failure::Usage, format!("{text:?} is no size; write bytes, or 100M, 10G, 2GiB"));
    let trimmed = text.trim().to_ascii_uppercase();
    let digits = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match trimmed[digits.len()..].trim_end_matches('B') {
        "" => 1,
        "K" => 1000,
        "M" => 1000 * 1000,
        "G" => 1000 * 1000 * 1000,
        "T" => 1000 * 1000 * 1000 * 1000,
        "KI" => 1 << 10,
        "MI" => 1 << 20,
        "GI" => 1 << 30,
        "TI" => 1 << 40,
        _ => return Err(bad()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| bad())?;
    number.checked_mul(factor).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut config = Config { nickname: "a \"b\"\n".into(), ..Config::default() };
        config.grid.listen = "127.0.0.1:5".into();
        config.shares.happy = Some(4);
        config.introducer = Introducer { enabled: true, vdrive: false };
        config.client.refused_servers = vec!["v0-x".into(), "y".into()];
        assert_eq!(toml::from_str::<Config>(&config.to_text()).unwrap(), config);
        config.shares.happy = None;
        assert_eq!(toml::from_str::<Config>(&config.to_text()).unwrap(), config);
    }

    #[test]
    fn sizes() {
        let check = |text: &str, size| assert_eq!(parse_size(text).ok(), size, "{text}");
        check("5", Some(5));
        check("10G", Some(10_000_000_000));
        check("2 gib", Some(2 << 30));
        check("1kB", Some(1000));
        for bad in ["", "G", "-1", "1X", "99999999999T", "1.5G"] {
            check(bad, None);
        }
    }

    #[test]
    fn impossible_shares_are_refused() {
        let check = |needed, happy, total, good| {
            let shares = Shares { needed, happy, total, segment_size: 1024 };
            let config = Config { shares, ..Config::default() };
            assert_eq!(config.check().is_ok(), good, "{needed} {happy:?} {total}");
        };
        check(3, Some(7), 10, true);
        check(1, None, 1, true);
        check(256, Some(256), 256, true);
        check(0, None, 10, false);
        check(11, None, 10, false);
        check(3, Some(0), 10, false);
        check(3, Some(11), 10, false);
        check(3, None, 257, false);
    }
}
