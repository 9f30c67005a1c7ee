//! The directory of a node: how it is made, locked and read.

use crate::cli::{CreateIntroducer, CreateNode};
use crate::config::{Config, FILE, Introducer, parse_size};
use crate::exit::{Failure, failed};
use crate::secrets;
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use tallac_core::node::VdriveSetup;
use tallac_core::nurl::{Address, Nurl, Pin, Service, Swissnum};
use tallac_host::tls::Identity;

/// The file that tells the command line where the node's web port is.
pub(crate) const NODE_URL: &str = "node.url";
/// The file in which an introducer tells how to use it.
pub(crate) const INTRODUCER_FURL: &str = "introducer.furl";
/// The file with the introducers a node uses, as `create-node` writes it. (One dropped into the
/// directory as `introducer.furl` counts, too; but Tahoe-LAFS does not start in a directory with that
/// file, which was a setting long ago.)
const INTRODUCERS_FURL: &str = "introducers.furl";

/// The files in which a vdrive server tells how to use it, and which tell another node of it.
pub(crate) const VDRIVE_FURL: &str = "vdrive.furl";
pub(crate) const VDRIVE_READONLY_FURL: &str = "vdrive-readonly.furl";

/// Where a node looks for introducers.
pub(crate) fn introducers_furl(directory: &Path) -> PathBuf {
    directory.join("private").join(INTRODUCERS_FURL)
}

/// Makes the directory of a node.
pub(crate) fn create_node(args: &CreateNode) -> Result<Config> {
    let mut config =
        Config { nickname: nickname(args.nickname.as_deref(), &args.directory), ..Config::default() };
    config.grid.listen = listen(args.listen.as_deref(), Ipv4Addr::UNSPECIFIED)?;
    config.grid.advertise = checked_addresses(&args.advertise)?;
    config.web.listen = listen(args.web.as_deref(), Ipv4Addr::LOCALHOST)?;
    config.web.login = reaches_beyond(&config.web.listen);
    config.storage.enabled = !args.no_storage;
    if let Some(size) = &args.reserved_space {
        parse_size(size)?;
        config.storage.reserved_space = size.clone();
    }
    if let Some(shares) = &args.shares {
        parse_shares(shares, &mut config)?;
    }
    config.check()?;
    let read =
        |furls: &[String], whose| furls.iter().map(|furl| read_furl(furl, whose)).collect::<Result<Vec<_>>>();
    let furls = read(&args.introducer, "introducer")?;
    let vdrives = read(&args.vdrive, "vdrive server")?;
    make(&args.directory, &config)?;
    if !furls.is_empty() {
        secrets::write_private(&introducers_furl(&args.directory), &furls.concat())?;
    }
    if !vdrives.is_empty() {
        secrets::write_private(&args.directory.join(VDRIVE_FURL), &vdrives.concat())?;
    }
    Ok(config)
}

/// Makes the directory of an introducer, and its furls.
pub(crate) fn create_introducer(args: &CreateIntroducer) -> Result<Config> {
    let mut config = Config { nickname: args.nickname.clone(), ..Config::default() };
    config.grid.listen = listen(args.listen.as_deref(), Ipv4Addr::UNSPECIFIED)?;
    config.grid.advertise = checked_addresses(&args.advertise)?;
    config.web.listen = listen(args.web.as_deref(), Ipv4Addr::LOCALHOST)?;
    config.web.login = reaches_beyond(&config.web.listen);
    config.storage.enabled = false;
    config.introducer = Introducer { enabled: true, vdrive: !args.no_vdrive };
    config.check()?;
    make(&args.directory, &config)?;
    let identity = identity(&args.directory)?;
    let listen: SocketAddr = config.grid.listen.parse().context("the address was checked before")?;
    let addresses = addresses(&config, listen)?;
    introducer_swissnum(&args.directory, &identity, &addresses)?;
    if config.introducer.vdrive {
        vdrive_swissnums(&args.directory, &identity, &addresses)?;
    }
    Ok(config)
}

fn make(directory: &Path, config: &Config) -> Result<()> {
    match fs::read_dir(directory) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(failed(
                    Failure::Usage,
                    format!(
                        "{} is there already and not empty; choose another directory",
                        directory.display()
                    ),
                ));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
    }
    secrets::make_private_dir(&directory.join("private"))?;
    identity(directory)?;
    let private = directory.join("private");
    secrets::announcement_key(&private)?;
    secrets::lease_secret(&private)?;
    secrets::convergence(&private)?;
    // Last, so that a directory with this file is a whole one.
    fs::write(directory.join(FILE), config.to_text())
        .with_context(|| format!("writing {}", directory.join(FILE).display()))
}

/// The TLS key and certificate, `private/node.pem`.
pub(crate) fn identity(directory: &Path) -> Result<Identity> {
    let path = directory.join("private").join("node.pem");
    Identity::create_or_load(&path).with_context(|| format!("the key and certificate in {}", path.display()))
}

/// Keeps a second node off the directory while it lives.
pub(crate) struct Lock {
    _file: File,
}

/// Locks a node directory.
pub(crate) fn lock(directory: &Path) -> Result<Lock> {
    let path = directory.join("node.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(failed(
            Failure::Usage,
            format!("another node runs on {}; stop it first", directory.display()),
        )),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// The introducers named in the directory and its configuration, but not the node itself.
pub(crate) fn introducers(directory: &Path, config: &Config, own: Pin) -> Result<Vec<Service>> {
    let mut services = Vec::new();
    // Dropping the file into the directory is the convention of old, and still the easiest.
    for path in [introducers_furl(directory), directory.join(INTRODUCER_FURL)] {
        services.extend(services_in(&path)?);
    }
    for (index, furl) in config.client.introducers.iter().enumerate() {
        let nurl: Nurl = furl.trim().parse().map_err(|error| {
            failed(Failure::Usage, format!("{FILE}, client.introducers, furl {}: {error}", index + 1))
        })?;
        services.extend(Service::gather([nurl]));
    }
    // An introducer that keeps shares, too, announces them to itself.
    services.retain(|service| service.pin != own || config.storage.enabled);
    Ok(services)
}

/// The vdrive servers named in the directory, but not the node itself.
pub(crate) fn vdrives(directory: &Path, own: Pin) -> Result<Vec<Service>> {
    let mut services = services_in(&directory.join(VDRIVE_FURL))?;
    services.extend(services_in(&directory.join(VDRIVE_READONLY_FURL))?);
    services.retain(|service| service.pin != own);
    Ok(services)
}

/// The services in a furl file; none if there is no file.
fn services_in(path: &Path) -> Result<Vec<Service>> {
    match fs::read_to_string(path) {
        Ok(text) => Service::parse_furl_file(&text).map_err(|(line, error)| {
            failed(Failure::Usage, format!("{}, line {line}: {error}", path.display()))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// The swissnum of the introducer service; writes `introducer.furl`, which is to be copied to friends,
/// and `private/introducer.furl` in the form of Tahoe-LAFS.
pub(crate) fn introducer_swissnum(
    directory: &Path,
    identity: &Identity,
    addresses: &[Address],
) -> Result<Swissnum> {
    let furl = directory.join("private").join(INTRODUCER_FURL);
    service_swissnum(&furl, &directory.join(INTRODUCER_FURL), identity, addresses)
}

/// The swissnums of the vdrive service; writes `vdrive.furl` and `vdrive-readonly.furl`, which are to be
/// copied to friends, and files of the same names in `private/`, where the swissnums are kept.
pub(crate) fn vdrive_swissnums(
    directory: &Path,
    identity: &Identity,
    addresses: &[Address],
) -> Result<VdriveSetup> {
    let swissnum = |name: &str| {
        let furl = directory.join("private").join(name);
        service_swissnum(&furl, &directory.join(name), identity, addresses)
    };
    Ok(VdriveSetup { write: swissnum(VDRIVE_FURL)?, read_only: swissnum(VDRIVE_READONLY_FURL)? })
}

/// The swissnum of the storage service; writes `private/storage.furl` in the form of Tahoe-LAFS, and
/// `private/storage.nurl`, which is what another node's `[[servers]]` needs.
pub(crate) fn storage_swissnum(
    directory: &Path,
    identity: &Identity,
    addresses: &[Address],
) -> Result<Swissnum> {
    let private = directory.join("private");
    service_swissnum(&private.join("storage.furl"), &private.join("storage.nurl"), identity, addresses)
}

/// The swissnum of a service, made once and kept in a Foolscap furl; writes this and a file of NURLs
/// with the present addresses.
fn service_swissnum(
    furl: &Path,
    nurls: &Path,
    identity: &Identity,
    addresses: &[Address],
) -> Result<Swissnum> {
    let swissnum = match secrets::swissnum(furl)? {
        Some(swissnum) => swissnum,
        None => secrets::new_swissnum()?,
    };
    let hints: Vec<String> = addresses.iter().map(|address| format!("tcp:{address}")).collect();
    let line = format!("pb://{}@{}/{}\n", identity.tub_id(), hints.join(","), swissnum.expose());
    let service = Service { pin: identity.pin(), swissnum: swissnum.clone(), addresses: addresses.to_vec() };
    let lines: String = service.nurls().map(|nurl| format!("{nurl}\n")).collect();
    for (path, text) in [(furl, line), (nurls, lines)] {
        if fs::read_to_string(path).ok().as_deref() != Some(&text) {
            secrets::write_private(path, &text)?;
        }
    }
    Ok(swissnum)
}

/// The addresses to tell others: as configured, else as found.
pub(crate) fn addresses(config: &Config, listening: SocketAddr) -> Result<Vec<Address>> {
    if !config.grid.advertise.is_empty() {
        let parse = |text: &String| text.parse().map_err(|error| address_error(text, &error));
        return config.grid.advertise.iter().map(parse).collect();
    }
    let ip = if listening.ip().is_unspecified() { found_ip(listening.ip()) } else { listening.ip() };
    Ok(vec![Address { host: ip.to_string(), port: listening.port() }])
}

/// The address under which this machine reaches others. Nothing is sent to find it.
fn found_ip(family: IpAddr) -> IpAddr {
    let (bind, towards) = match family {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let found = UdpSocket::bind(bind).and_then(|socket| {
        socket.connect(towards)?;
        socket.local_addr()
    });
    match found {
        Ok(address) if !address.ip().is_unspecified() => address.ip(),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// The node directory that a command talks to: as given, else `~/.tallac`.
pub(crate) fn chosen(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(directory) => Ok(directory.to_owned()),
        None => std::env::home_dir()
            .map(|home| home.join(".tallac"))
            .ok_or_else(|| failed(Failure::Usage, "name a node directory with -d")),
    }
}

fn nickname(given: Option<&str>, directory: &Path) -> String {
    let name = given.map(str::to_owned);
    let from_directory = || directory.file_name().map(|name| name.to_string_lossy().into_owned());
    name.or_else(from_directory).unwrap_or_else(|| "node".into())
}

/// Whether others than this machine can connect to an address: they are asked to log in, then.
fn reaches_beyond(listen: &str) -> bool {
    listen.parse().is_ok_and(|address: SocketAddr| !address.ip().to_canonical().is_loopback())
}

/// `HOST:PORT` with an IP address for a host; a port of 0, or no text at all, finds a free one.
fn listen(text: Option<&str>, default: Ipv4Addr) -> Result<String> {
    let address: SocketAddr = match text {
        Some(text) => text.parse().map_err(|_| {
            failed(
                Failure::Usage,
                format!(
                    "{text:?} is no address to listen on; write IP:PORT, such as 0.0.0.0:3457 or 127.0.0.1:0"
                ),
            )
        })?,
        None => SocketAddr::from((default, 0)),
    };
    if address.port() != 0 {
        return Ok(address.to_string());
    }
    Ok(free_port(address.ip())?.to_string())
}

/// A port that is free now and likely stays so: below those that systems lend to outgoing
/// connections, because the node keeps it for all its starts.
fn free_port(ip: IpAddr) -> Result<SocketAddr> {
    for _ in 0..100 {
        let port = 10_000 + u16::from_le_bytes(secrets::random()?) % 22_000;
        let address = SocketAddr::new(ip, port);
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    let any = TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr());
    any.with_context(|| format!("finding a free port on {ip}"))
}

fn checked_addresses(texts: &[String]) -> Result<Vec<String>> {
    for text in texts {
        text.parse::<Address>().map_err(|error| address_error(text, &error))?;
    }
    Ok(texts.to_vec())
}

fn address_error(text: &str, _error: &tallac_core::nurl::NurlError) -> anyhow::Error {
    failed(Failure::Usage, format!("{text:?} is no address; write HOST:PORT, such as example.org:3457"))
}

/// `K,H,N`, where H may be `auto`.
fn parse_shares(text: &str, config: &mut Config) -> Result<()> {
    let bad = || {
        failed(
            Failure::Usage,
            format!("{text:?} is not K,H,N: three numbers, such as 3,7,10 (H may be `auto`)"),
        )
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [needed, happy, total] = parts.as_slice() else { return Err(bad()) };
    config.shares.needed = needed.parse().map_err(|_| bad())?;
    config.shares.total = total.parse().map_err(|_| bad())?;
    config.shares.happy = if *happy == "auto" { None } else { Some(happy.parse().map_err(|_| bad())?) };
    Ok(())
}

/// A furl as given on the command line, or the content of the file that the argument names.
fn read_furl(argument: &str, whose: &str) -> Result<String> {
    let text = if argument.trim_start().starts_with("pb://") {
        argument.to_owned()
    } else {
        let mut text = String::new();
        File::open(argument).and_then(|file| file.take(64 * 1024).read_to_string(&mut text)).map_err(
            |error| {
                failed(
                    Failure::Usage,
                    format!("{argument:?} is neither a furl nor a file that can be read: {error}"),
                )
            },
        )?;
        text
    };
    Service::parse_furl_file(&text).map_err(|(line, error)| {
        failed(Failure::Usage, format!("the {whose}'s furl, line {line}: {error}"))
    })?;
    Ok(format!("{}\n", text.trim()))
}
