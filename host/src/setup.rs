//! What an embedding program gives a runtime, the same for all runtimes.

use crate::tls::Tls;
use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tallac_core::disk::{DiskResult, DiskStep};
use tallac_core::operation::{Command, Report};

/// Runs the steps of a disk action; called from several threads at once.
pub type RunDisk = Arc<dyn Fn(Vec<DiskStep>) -> DiskResult + Send + Sync>;

/// Takes a report. Called on the machine's thread, so it must be quick.
pub type OnReport = Box<dyn FnMut(Report) + Send>;

/// Everything a runtime needs besides the machine.
pub struct Setup {
    /// The node's identity.
    pub tls: Tls,
    /// Where others connect to.
    pub listeners: Vec<(TcpListener, ListenerKind)>,
    /// The node's disk.
    pub disk: RunDisk,
    /// What to do with what the machine reports.
    pub on_report: OnReport,
    /// How many jobs are computed at once.
    pub job_workers: usize,
    /// How many disk actions run at once.
    pub disk_workers: usize,
    /// How long to wait for strangers.
    pub guards: Guards,
}

impl Setup {
    /// A setup without listeners, with as many workers as there are processors.
    pub fn new(tls: Tls, disk: RunDisk, on_report: OnReport) -> Setup {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Setup {
            tls,
            listeners: Vec::new(),
            disk,
            on_report,
            job_workers: processors,
            disk_workers: 4,
            guards: Guards::default(),
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("tls", &self.tls)
            .field("listeners", &self.listeners)
            .field("job_workers", &self.job_workers)
            .field("disk_workers", &self.disk_workers)
            .field("guards", &self.guards)
            .finish_non_exhaustive()
    }
}

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListenerKind {
    /// Other nodes: TLS.
    Grid,
    /// The web API: bytes as they come.
    Web,
    /// The web API within TLS. [`Tls::with_web`] says what is shown.
    WebTls,
}

/// Patience for connections that the machine does not know yet or does not know any more, and
/// bounds on them. Everything else is up to the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guards {
    /// How long a TLS handshake may take, on either side.
    pub handshake: Duration,
    /// How long an address may take to answer when we connect.
    pub connect: Duration,
    /// How long the other side may take to read what we sent before we closed.
    pub linger: Duration,
    /// How many may be in the middle of a handshake at once; more are cut off.
    pub handshakes: usize,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards {
            handshake: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            handshakes: 256,
        }
    }
}

/// Reaches a running node from anywhere, a signal handler's thread for example.
#[derive(Clone)]
pub struct Handle {
    send: Arc<dyn Fn(Command) -> bool + Send + Sync>,
}

impl Handle {
    /// For runtimes: a handle that hands commands to a function. That returns whether the node
    /// still runs.
    pub fn new(send: impl Fn(Command) -> bool + Send + Sync + 'static) -> Handle {
        Handle { send: Arc::new(send) }
    }

    /// Gives the node a command. Returns whether it still runs.
    pub fn command(&self, command: Command) -> bool {
        (self.send)(command)
    }

    /// Asks the node to stop.
    pub fn stop(&self) -> bool {
        self.command(Command::Stop)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
