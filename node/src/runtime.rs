//! Putting a node together with the runtime that was chosen.

use crate::cli::{self, Runtime};
use crate::run::{Prepared, log_report, stop_on_signals};
use crate::secrets;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tallac_core::node::Node;
use tallac_core::time::{Instant, Now, UnixTime};
use tallac_host::setup::{Handle, ListenerKind, Setup};
use tallac_host::tls::Tls;
use tallac_host::{Disk, DiskOptions};
use tallac_web::gateway::Gateway;

/// Runs a node until it is asked to stop.
pub(crate) fn run(directory: &Path, prepared: Prepared, args: &cli::Run) -> Result<()> {
    let disk = Disk::open(directory, DiskOptions::default())
        .with_context(|| format!("opening the storage in {}", directory.display()))?;
    disk.clean().with_context(|| format!("removing leftovers in {}", directory.display()))?;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = Now { instant: Instant::ZERO, unix: UnixTime(unix) };
    let gateway = Gateway::new(Node::new(prepared.node, secrets::random()?, now), now);
    let gateway =
        gateway.with_token(prepared.token).with_names(prepared.web_names).with_pages(prepared.pages);
    let gateway = match prepared.login {
        Some(login) => gateway.with_login(login),
        None => gateway,
    };
    let disk = Arc::new(disk);
    let run_disk = Arc::new(move |steps| disk.run(steps));
    let (tls, kind) = match &prepared.web_identity {
        Some(web) => (Tls::new(&prepared.identity).with_web(web), ListenerKind::WebTls),
        None => (Tls::new(&prepared.identity), ListenerKind::Web),
    };
    let mut setup = Setup::new(tls, run_disk, Box::new(log_report));
    setup.listeners = vec![(prepared.grid, ListenerKind::Grid), (prepared.web, kind)];
    let watch = |handle: Handle| {
        stop_on_signals(
            move |command| {
                handle.command(command);
            },
            args.until_stdin_closes,
        )
    };
    match args.runtime {
        Runtime::Blocking => {
            let (handle, inbox) = tallac_runtime_blocking::inbox();
            watch(handle)?;
            tallac_runtime_blocking::run(gateway, setup, inbox);
        }
        #[cfg(any(feature = "async-std", feature = "smol"))]
        other => {
            use tallac_runtime_async_std::Executor;
            let executor = match other {
                #[cfg(feature = "async-std")]
                Runtime::AsyncStd => Executor::AsyncStd,
                #[cfg(feature = "smol")]
                Runtime::Smol => Executor::Smol,
                Runtime::Blocking => unreachable!("matched above"),
            };
            let (handle, inbox) = tallac_runtime_async_std::inbox();
            watch(handle)?;
            tallac_runtime_async_std::run(executor, gateway, setup, inbox);
        }
    }
    Ok(())
}
