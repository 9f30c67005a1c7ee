//! Where the web port is, and whether it speaks https.
//!
//! A file named `webport` in the node directory counts more than the settings. It holds a port, or a
//! description as Twisted has them (`endpoints.serverFromString`): `tcp:3456:interface=127.0.0.1`,
//! `ssl:8443:privateKey=private/web-key.pem:certKey=private/web.pem`. Colons within a part are written
//! `\:`. Without an interface it is loopback, unlike Twisted's: who can connect can use the node.

use crate::config::Config;
use crate::exit::{Failure, failed};
use crate::secrets;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tallac_host::tls::{WebIdentity, self_signed};

/// The file in a node directory that says where the web port is.
const FILE: &str = "webport";
/// The certificate that the running node shows, for the commands of its owner.
pub(crate) const SHOWN: &str = "node.cert";
/// Where a certificate made here is kept, and its key; below the node directory.
pub(crate) const CERTIFICATE: &str = "private/web.pem";
pub(crate) const KEY: &str = "private/web-key.pem";

/// Where the web port is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WebPort {
    pub(crate) listen: SocketAddr,
    /// The files of the certificates and of the key, if it speaks https.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

impl WebPort {
    /// What the file or the settings of a node say.
    pub(crate) fn of(directory: &Path, config: &Config) -> Result<WebPort> {
        let path = directory.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => described(text.trim(), directory)
                .map_err(|why| failed(Failure::Usage, format!("{}: {why}", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => WebPort::configured(directory, config),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    fn configured(directory: &Path, config: &Config) -> Result<WebPort> {
        let file = directory.join(crate::config::FILE);
        let bad = |why: String| failed(Failure::Usage, format!("{why} in {}", file.display()));
        let web = &config.web;
        let listen = web.listen.parse();
        let listen = listen.map_err(|_| bad(format!("web.listen: {:?} is not IP:PORT", web.listen)))?;
        let tls = match (web.certificate.as_str(), web.key.as_str()) {
            ("", "") => None,
            ("", _) | (_, "") => {
                return Err(bad("web.certificate and web.key: both are needed for https, or none,".into()));
            }
            (certificate, key) => Some((directory.join(certificate), directory.join(key))),
        };
        Ok(WebPort { listen, tls })
    }

    /// What it shows of itself; `None` without https.
    ///
    /// # Errors
    /// If a file cannot be read or used: with its name, and why.
    pub(crate) fn identity(&self) -> Result<Option<WebIdentity>> {
        let Some((certificate, key)) = &self.tls else { return Ok(None) };
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| {
                let text = format!(
                    "the web port is to speak https, but {} cannot be read: {error}; tallac \
                     create-certificate makes a certificate",
                    path.display()
                );
                failed(Failure::Usage, text)
            })
        };
        let identity = WebIdentity::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
            let files = format!("{} with {}", certificate.display(), key.display());
            failed(Failure::Usage, format!("the web port cannot use {files}: {error}"))
        })?;
        Ok(Some(identity))
    }

    /// Leaves the certificate where the commands of the node's owner look for it.
    pub(crate) fn show(&self, directory: &Path) -> Result<()> {
        let path = directory.join(SHOWN);
        match &self.tls {
            Some((certificate, _)) => {
                let text = std::fs::read_to_string(certificate)
                    .with_context(|| format!("reading {}", certificate.display()))?;
                secrets::write_private(&path, &only_certificates(&text))
            }
            None => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("removing {}", path.display()))
                }
                _ => Ok(()),
            },
        }
    }
}

/// Makes a certificate in a node directory, for these names and the ones it is always reached by. Gives
/// its fingerprint.
pub(crate) fn create_certificate(directory: &Path, names: &[String]) -> Result<String> {
    let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    for path in [&certificate, &key] {
        if path.exists() {
            let text = format!("{} is there already; move it away to make a new one", path.display());
            return Err(failed(Failure::Usage, text));
        }
    }
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let names: Vec<String> = names.iter().cloned().chain(always).collect();
    let (chain, secret) = self_signed(&names).map_err(|error| failed(Failure::Usage, error.to_string()))?;
    let identity = WebIdentity::from_pem(chain.as_bytes(), secret.as_bytes())
        .map_err(|error| failed(Failure::General, error.to_string()))?;
    secrets::make_private_dir(&directory.join("private"))?;
    secrets::write_private(&key, &secret)?;
    secrets::write_private(&certificate, &chain)?;
    Ok(identity.fingerprint())
}

/// A key may be in the same file: that is not copied.
fn only_certificates(pem: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for line in pem.lines() {
        inside |= line.starts_with("-----BEGIN CERTIFICATE-----");
        if inside {
            out.push_str(line);
            out.push('\n');
        }
        inside &= !line.starts_with("-----END CERTIFICATE-----");
    }
    out
}

/// Reads a description.
fn described(text: &str, directory: &Path) -> Result<WebPort, String> {
    let parts = split(text);
    let (kind, rest) = match parts.split_first() {
        Some((port, [])) => return described_port(port, Ipv4Addr::LOCALHOST.into()).map(plain),
        Some((kind, rest)) => (kind.as_str(), rest),
        None => return Err("it is empty".into()),
    };
    if !["tcp", "tcp6", "ssl"].contains(&kind) {
        return Err(format!("{kind:?} is not tcp, tcp6 or ssl"));
    }
    let (mut port, mut interface, mut key, mut certificate) = (None, None, None, None);
    for part in rest {
        match part.split_once('=') {
            None => port = Some(part.as_str()),
            Some(("port", value)) => port = Some(value),
            Some(("interface", value)) => interface = Some(value),
            Some(("privateKey", value)) if kind == "ssl" => key = Some(directory.join(value)),
            Some(("certKey", value)) if kind == "ssl" => certificate = Some(directory.join(value)),
            Some((name, _)) => return Err(format!("{name}= is not known in {kind}:")),
        }
    }
    let interface = match interface {
        None if kind == "tcp6" => Ipv6Addr::LOCALHOST.into(),
        None => Ipv4Addr::LOCALHOST.into(),
        Some(text) => {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>().map_err(|_| format!("interface={text} is not an IP address"))?
        }
    };
    let listen = described_port(port.ok_or("the port is missing")?, interface)?;
    match (kind, certificate, key) {
        // As with Twisted, one file may hold both.
        ("ssl", certificate, Some(key)) => {
            Ok(WebPort { listen, tls: Some((certificate.unwrap_or_else(|| key.clone()), key)) })
        }
        ("ssl", _, None) => Err("ssl: needs privateKey= and certKey=".into()),
        _ => Ok(plain(listen)),
    }
}

fn plain(listen: SocketAddr) -> WebPort {
    WebPort { listen, tls: None }
}

fn described_port(text: &str, interface: IpAddr) -> Result<SocketAddr, String> {
    let port = text.parse().map_err(|_| format!("{text:?} is not a port: a number up to 65535"))?;
    Ok(SocketAddr::new(interface, port))
}

/// Splits at the colons that no backslash is before.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let last = parts.last_mut().expect("there is one");
        match char {
            '\\' => last.extend(chars.next()),
            ':' => parts.push(String::new()),
            char => last.push(char),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, listen: &str, tls: Option<(&str, &str)>) {
        let expected = WebPort {
            listen: listen.parse().expect("an address"),
            tls: tls.map(|(certificate, key)| (certificate.into(), key.into())),
        };
        assert_eq!(described(text, Path::new("/n")), Ok(expected), "{text}");
    }

    #[test]
    fn descriptions() {
        check("3456", "127.0.0.1:3456", None);
        check("tcp:3456", "127.0.0.1:3456", None);
        check("tcp:8080:interface=0.0.0.0", "0.0.0.0:8080", None);
        check("tcp:port=8080:interface=127.0.0.1", "127.0.0.1:8080", None);
        check("tcp6:8080", "[::1]:8080", None);
        check("tcp:8080:interface=\\:\\:", "[::]:8080", None);
        check("ssl:8443:privateKey=k.pem:certKey=c.pem", "127.0.0.1:8443", Some(("/n/c.pem", "/n/k.pem")));
        check("ssl:8443:privateKey=/k.pem:interface=\\:\\:1", "[::1]:8443", Some(("/k.pem", "/k.pem")));
    }

    #[test]
    fn what_is_no_description() {
        for text in [
            "",
            "x",
            "70000",
            "tcp",
            "tcp:",
            "tcp:x",
            "udp:1",
            "tcp:1:interface=x",
            "tcp:1:backlog=5",
            "ssl:8443",
            "ssl:8443:certKey=c.pem",
            "tcp:1:privateKey=k.pem",
            "\\",
            "tcp:1:interface=\\:\\:\\:\\",
        ] {
            assert!(described(text, Path::new("/n")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_beside_a_certificate_is_not_shown() {
        let pem = "x\n-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n\
                   -----BEGIN PRIVATE KEY-----\nBB\n-----END PRIVATE KEY-----\n";
        assert_eq!(only_certificates(pem), "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n");
    }
}
