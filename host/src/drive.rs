//! The part of a runtime's main loop that does not wait.

use crate::connection::{Connection, Order};
use crate::link::{Link, Medium};
use crate::setup::OnReport;
use crate::tls::Tls;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tallac_core::disk::DiskStep;
use tallac_core::job::Job;
use tallac_core::machine::{Action, ActionId, CloseReason, ConnId, Event, Machine};
use tallac_core::nurl::Address;
use tallac_core::operation::Report;
use tallac_core::time::{Instant, Now, UnixTime};

/// What comes to the main loop from everywhere else.
pub enum Input<M: Medium> {
    /// Something that the machine should know. Events of connections that ended are dropped.
    Event(Event),
    /// Somebody connected.
    Accepted {
        /// The connection.
        link: Arc<Link<M>>,
        /// The other side's address.
        from: String,
    },
    /// A job or a disk action panicked: the node must not go on without its outcome.
    Panicked(Box<dyn Any + Send>),
}

/// What the main loop asks of its runtime. All of it returns at once; what it leads to comes back
/// as [`Input`].
pub trait Host<M: Medium> {
    /// Connect the link, and read and write from then on.
    fn connect(&mut self, link: Arc<Link<M>>, address: Address);

    /// Run steps on the disk.
    fn disk(&mut self, id: ActionId, steps: Vec<DiskStep>);

    /// Compute a job.
    fn job(&mut self, id: ActionId, job: Job);
}

/// A machine with its connections.
///
/// Sees to it that each connection has exactly one `Closed` and nothing after it, whatever its
/// reader, its writer and the machine do at the same time: a connection without an entry here is
/// closed.
pub struct Driver<N, M: Medium> {
    machine: N,
    links: BTreeMap<ConnId, Entry<M>>,
    tls: Tls,
    on_report: OnReport,
    clock: Clock,
    /// Events that came of actions.
    follow_up: VecDeque<Event>,
    stopped: bool,
}

struct Entry<M: Medium> {
    link: Arc<Link<M>>,
    /// The machine knows that it stands.
    established: bool,
}

impl<N, M> Driver<N, M>
where
    N: Machine<Event = Event, Action = Action>,
    M: Medium,
{
    /// Takes on a machine, and carries out what it wants at once.
    pub fn start(machine: N, tls: Tls, on_report: OnReport, host: &mut impl Host<M>) -> Driver<N, M> {
        let mut driver = Driver {
            machine,
            links: BTreeMap::new(),
            tls,
            on_report,
            clock: Clock::start(),
            follow_up: VecDeque::new(),
            stopped: false,
        };
        driver.act(host);
        driver
    }

    /// Hands an input to the machine and carries out what it wants.
    ///
    /// # Panics
    /// With the panic of a job or a disk action.
    pub fn handle(&mut self, input: Input<M>, host: &mut impl Host<M>) {
        match input {
            Input::Event(event) => self.event(event, host),
            Input::Accepted { link, from } => {
                let (conn, protocol) = (link.id(), link.protocol());
                self.links.insert(conn, Entry { link, established: true });
                self.event(Event::Accepted { conn, protocol, from }, host);
            }
            Input::Panicked(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Wakes the machine if its deadline has come. Returns how long to wait at most for the next
    /// input.
    pub fn wake(&mut self, host: &mut impl Host<M>) -> Option<Duration> {
        if self.until_deadline()?.is_zero() {
            self.event(Event::Wake, host);
        }
        self.until_deadline()
    }

    /// Whether the machine has stopped.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Gives up the machine and asks for its connections to be closed.
    pub fn finish(self) {
        self.links.into_values().for_each(|entry| entry.link.order(Order::Close));
    }

    fn until_deadline(&self) -> Option<Duration> {
        Some(self.machine.deadline()?.since(self.clock.now().instant))
    }

    fn event(&mut self, event: Event, host: &mut impl Host<M>) {
        self.follow_up.push_back(event);
        while let Some(event) = self.follow_up.pop_front() {
            if self.admit(&event) {
                self.machine.handle(event, self.clock.now());
                self.act(host);
            }
        }
    }

    /// Whether an event is of a connection that still is, or of none.
    fn admit(&mut self, event: &Event) -> bool {
        match event {
            Event::Closed { conn, .. } => self.links.remove(conn).is_some(),
            Event::Connected { conn } => match self.links.get_mut(conn) {
                Some(entry) => {
                    entry.established = true;
                    true
                }
                None => false,
            },
            Event::Accepted { conn, .. }
            | Event::Frame { conn, .. }
            | Event::Partial { conn }
            | Event::Received { conn, .. }
            | Event::ReceivedEnd { conn }
            | Event::Sent { conn, .. } => self.links.contains_key(conn),
            Event::Wake | Event::DiskDone { .. } | Event::JobDone { .. } | Event::Command(_) => true,
        }
    }

    fn act(&mut self, host: &mut impl Host<M>) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect { conn, address, pin } => {
                    let link = Arc::new(Link::new(Connection::connect(conn, &self.tls, pin)));
                    self.links.insert(conn, Entry { link: link.clone(), established: false });
                    host.connect(link, address);
                }
                Action::Send { conn, frame } => self.order(conn, Order::Send(frame)),
                Action::SendBytes { conn, data } => {
                    let data = data.into_bytes().expect("real bytes on a real wire");
                    self.order(conn, Order::SendBytes(data))
                }
                Action::Grant { conn, bytes } => self.order(conn, Order::Grant(bytes)),
                Action::Close { conn } => match self.links.get(&conn) {
                    Some(Entry { established: true, .. }) => self.order(conn, Order::Close),
                    // Nothing can have gone out yet.
                    _ => self.abort(conn),
                },
                Action::Abort { conn } => self.abort(conn),
                Action::Disk { id, steps } => host.disk(id, steps),
                Action::Job { id, job } => host.job(id, job),
                Action::Report(report) => {
                    self.stopped |= matches!(report, Report::Stopped);
                    (self.on_report)(report);
                }
            }
        }
    }

    fn order(&self, conn: ConnId, order: Order) {
        // Whoever is not there any more gets no orders: the machine may not know it yet.
        if let Some(entry) = self.links.get(&conn) {
            entry.link.order(order);
        }
    }

    fn abort(&mut self, conn: ConnId) {
        if let Some(entry) = self.links.get(&conn) {
            entry.link.end();
            self.follow_up.push_back(Event::Closed { conn, reason: CloseReason::Ended });
        }
    }
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// Begins to count the monotonic clock, from [`Instant::ZERO`].
    pub fn start() -> Clock {
        Clock { origin: std::time::Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { instant: Instant::ZERO + self.origin.elapsed(), unix: UnixTime(since_epoch.as_secs()) }
    }
}
