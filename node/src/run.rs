//! `tallac run`: puts a node together and runs it.

use crate::cli;
use crate::config::{Config, Server, parse_size};
use crate::directory::{self, NODE_URL};
use crate::exit::{Failure, failed};
use crate::secrets;
use crate::web_port::WebPort;
use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{IsTerminal, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tallac_core::announcement::{AnnouncementKey, ServerInfo};
use tallac_core::base32;
use tallac_core::encoding::EncodingParams;
use tallac_core::identity::{ServerId, TubId};
use tallac_core::node::{NodeConfig, StorageSetup};
use tallac_core::nurl::{Nurl, Service};
use tallac_core::operation::{Command, Notice, NoticeLevel, Report};
use tallac_core::peers::PeersConfig;
use tallac_core::secret::SecretBytes;
use tallac_core::storage::StorageConfig;
use tallac_host::tls::WebIdentity;
use tallac_host::unix::allow_open_files;
use tallac_web::gateway::{ApiToken, LoginToken};
use tallac_web::pages::PageKeys;
use tracing::{debug, info, warn};

/// The program and its version, as told to other nodes.
pub(crate) const PROGRAM: &str = concat!("tallac/", env!("CARGO_PKG_VERSION"));

/// Files and connections that a busy node has open at once: others' connections to its two ports, its own to
/// other nodes, and what its disk workers write.
const OPEN_FILES: u64 = 4_096;

/// What a node directory and its configuration come to.
pub(crate) struct Prepared {
    pub(crate) node: NodeConfig,
    pub(crate) identity: tallac_host::tls::Identity,
    pub(crate) grid: TcpListener,
    pub(crate) web: TcpListener,
    /// What the web port shows, if it speaks https.
    pub(crate) web_identity: Option<WebIdentity>,
    pub(crate) web_names: Vec<String>,
    pub(crate) token: ApiToken,
    /// What who uses the web port must show, if that is asked for.
    pub(crate) login: Option<LoginToken>,
    pub(crate) pages: PageKeys,
}

pub(crate) fn run(directory: &Path, args: &cli::Run, verbose: u8) -> Result<()> {
    start_log(verbose);
    let open_files = allow_open_files(OPEN_FILES);
    if open_files < OPEN_FILES {
        debug!("{open_files} files and connections can be open at once; a busy node may need {OPEN_FILES}");
    }
    let config = Config::load(directory)?;
    let _lock = directory::lock(directory)?;
    let prepared = prepare(directory, &config)?;
    let web = prepared.web.local_addr()?;
    let grid = prepared.grid.local_addr()?;
    let scheme = if prepared.web_identity.is_some() { "https" } else { "http" };
    WebPort::of(directory, &config)?.show(directory)?;
    write_node_url(directory, scheme, web)?;
    if let Some(identity) = &prepared.web_identity {
        info!("the certificate of the web port has the SHA-256 fingerprint {}", identity.fingerprint());
    }
    info!(
        "node {:?} ({}) listens on {grid} for other nodes and on {scheme}://{web}/ for the web, {} runtime",
        config.nickname,
        AnnouncementKey::from_bytes(prepared.node.announcement_key.expose()).server_id().short(),
        args.runtime.name(),
    );
    warn_of_strangers(web, &prepared);
    crate::runtime::run(directory, prepared, args)?;
    info!("stopped");
    Ok(())
}

/// Says what may happen to a web port that others can reach.
fn warn_of_strangers(web: SocketAddr, prepared: &Prepared) {
    if web.ip().to_canonical().is_loopback() {
        return;
    }
    if prepared.web_identity.is_none() {
        warn!(
            "the web port listens on {web}, beyond this machine, without https: who is on the way can read and \
             change what passes, capabilities too. tallac create-certificate makes a certificate"
        );
    }
    if prepared.login.is_none() {
        warn!(
            "the web port listens on {web}, beyond this machine, and asks nobody to log in: whoever reaches it can \
             use this node. Set login = true under [web] in {}",
            crate::config::FILE
        );
    }
}

/// Reads and makes everything a node needs.
fn prepare(directory: &Path, config: &Config) -> Result<Prepared> {
    let private = directory.join("private");
    secrets::make_private_dir(&private)?;
    let identity = directory::identity(directory)?;
    let grid = listen(&config.grid.listen, "grid.listen", directory)?;
    let port = WebPort::of(directory, config)?;
    let web_identity = port.identity()?;
    let web = listen(&port.listen.to_string(), "web.listen", directory)?;
    let addresses = directory::addresses(config, grid.local_addr()?)?;
    let announcement_key = secrets::announcement_key(&private)?;
    let server_id = AnnouncementKey::from_bytes(announcement_key.expose()).server_id();
    let permutation_seed = secrets::permutation_seed(directory, &server_id.0)?;
    write_public(&directory.join("node.pubkey"), &format!("pub-{server_id}\n"))?;
    write_public(&directory.join("my_nodeid"), &format!("{}\n", identity.tub_id()))?;
    let swissnum = directory::storage_swissnum(directory, &identity, &addresses)?;
    let introducer = if config.introducer.enabled {
        Some(directory::introducer_swissnum(directory, &identity, &addresses)?)
    } else {
        None
    };
    let serves_root = config.introducer.enabled && config.introducer.vdrive;
    let vdrive =
        serves_root.then(|| directory::vdrive_swissnums(directory, &identity, &addresses)).transpose()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let info = ServerInfo {
        nickname: config.nickname.clone(),
        tub_id: identity.tub_id(),
        permutation_seed,
        service: Some(Service { pin: identity.pin(), swissnum: swissnum.clone(), addresses }),
        program: PROGRAM.into(),
    };
    let storage = config.storage.enabled.then_some(StorageSetup {
        config: StorageConfig {
            reserved_space: parse_size(&config.storage.reserved_space)?,
            read_only: config.storage.read_only,
            program: PROGRAM.into(),
        },
        swissnum,
    });
    let shares = &config.shares;
    let encoding = EncodingParams::new(shares.needed, shares.total, shares.segment_size)
        .map_err(|error| failed(Failure::Usage, format!("in the section [shares]: {error}")))?;
    let node = NodeConfig {
        program: PROGRAM.into(),
        announcement_key,
        info,
        sequence: secrets::next_sequence(directory, now)?,
        storage,
        introducer,
        vdrive,
        vdrives: Some(directory::vdrives(directory, identity.pin())?),
        introducers: directory::introducers(directory, config, identity.pin())?,
        servers: config.servers.iter().map(configured_server).collect::<Result<_>>()?,
        preferred_servers: server_ids(&config.client.preferred_servers, "preferred_servers")?,
        refused_servers: server_ids(&config.client.refused_servers, "refused_servers")?,
        encoding,
        happy: shares.happy.map(usize::from),
        convergence: SecretBytes::new(secrets::convergence(&private)?),
        lease_secret: secrets::lease_secret(&private)?,
        peers: PeersConfig { connections_max: config.client.connections_max, program: PROGRAM.into() },
        keeps_cache: true,
        ready_keys: 4,
    };
    let token = secrets::api_token(&private)?;
    let login = config.web.login.then(|| secrets::login_token(&private, web_identity.is_some()));
    let login = login.transpose()?;
    let pages = secrets::page_keys(&private)?;
    let web_names = config.web.names.clone();
    Ok(Prepared { node, identity, grid, web, web_identity, web_names, token, login, pages })
}

fn listen(text: &str, setting: &str, directory: &Path) -> Result<TcpListener> {
    let address: SocketAddr = text.parse().map_err(|_| {
        failed(
            Failure::Usage,
            format!(
                "{setting} in {}: {text:?} is not IP:PORT",
                directory.join(crate::config::FILE).display()
            ),
        )
    })?;
    TcpListener::bind(address).map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
            format!(
                "; another program uses the port: stop it, or change {setting} in {}",
                directory.join(crate::config::FILE).display()
            )
        } else {
            String::new()
        };
        failed(Failure::General, format!("cannot listen on {address}: {error}{hint}"))
    })
}

fn configured_server(server: &Server) -> Result<(ServerId, ServerInfo)> {
    let bad = |what: &str| failed(Failure::Usage, format!("[[servers]] {}: {what}", server.id));
    let id: ServerId =
        server.id.parse().map_err(|error: tallac_core::identity::BadServerId| bad(&error.to_string()))?;
    let nurls = server.furl.iter().map(|line| line.parse::<Nurl>().map_err(|error| bad(&error.to_string())));
    let service = Service::gather(nurls.collect::<Result<Vec<_>>>()?).into_iter().next();
    let tub_id =
        base32::decode_array(&server.tub_id).ok_or_else(|| bad("tub_id must be 32 base32 characters"))?;
    let seed =
        base32::decode(&server.permutation_seed).ok_or_else(|| bad("permutation_seed must be base32"))?;
    let nickname = if server.nickname.is_empty() { id.short() } else { server.nickname.clone() };
    let info = ServerInfo {
        nickname,
        tub_id: TubId(tub_id),
        permutation_seed: seed,
        service: Some(service.ok_or_else(|| bad("it has no furl"))?),
        program: String::new(),
    };
    Ok((id, info))
}

fn server_ids(texts: &[String], setting: &str) -> Result<std::collections::BTreeSet<ServerId>> {
    let parse = |text: &String| {
        text.parse().map_err(|error| failed(Failure::Usage, format!("client.{setting}: {error}")))
    };
    texts.iter().map(parse).collect()
}

fn write_public(path: &Path, content: &str) -> Result<()> {
    if std::fs::read_to_string(path).ok().as_deref() == Some(content) {
        return Ok(());
    }
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

fn write_node_url(directory: &Path, scheme: &str, web: SocketAddr) -> Result<()> {
    let host = match web {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    secrets::write_private(&directory.join(NODE_URL), &format!("{scheme}://{host}:{}/\n", web.port()))
}

/// Logs go to standard error; `TALLAC_LOG` takes a filter in the usual form.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TALLAC_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

/// What the node reports to nobody in particular goes into the log.
pub(crate) fn log_report(report: Report) {
    if let Report::Notice(Notice { level, text }) = report {
        match level {
            NoticeLevel::Debug => debug!("{text}"),
            NoticeLevel::Info => info!("{text}"),
            NoticeLevel::Warning => warn!("{text}"),
        }
    }
}

/// Stops the node on the first SIGTERM or Ctrl-C (or at the end of standard input), and the
/// process on the second.
pub(crate) fn stop_on_signals(
    stop: impl Fn(Command) + Send + Sync + Clone + 'static,
    until_stdin_closes: bool,
) -> Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("watching for signals")?;
    let asked = stop.clone();
    std::thread::spawn(move || {
        for (count, _signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(Failure::Interrupted as i32);
            }
            info!("stopping; once more to stop at once");
            asked(Command::Stop);
        }
    });
    if until_stdin_closes {
        std::thread::spawn(move || {
            let mut rest = [0; 64];
            while std::io::stdin().read(&mut rest).is_ok_and(|len| len > 0) {}
            stop(Command::Stop);
            // If it does not stop, nobody is left to insist.
            std::thread::sleep(Duration::from_secs(10));
            std::process::exit(Failure::General as i32);
        });
    }
    Ok(())
}
