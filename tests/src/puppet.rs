//! A machine on strings: a test pulls them and sees what the runtime does.

use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tallac_core::disk::{DiskOutput, DiskStep};
use tallac_core::machine::{Action, ConnId, Event, Machine};
use tallac_core::nurl::{Address, Pin};
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::time::{Instant, Now};
use tallac_core::wire::Frame;
use tallac_host::setup::{Guards, Handle, ListenerKind, Setup};
use tallac_host::tls::{Identity, Tls};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One of the runtimes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runtime {
    /// Plain threads.
    Blocking,
    /// async-std.
    AsyncStd,
    /// smol.
    Smol,
}

impl Runtime {
    /// Runs a machine on a thread of its own.
    pub fn start<N>(self, machine: N, setup: Setup) -> (Handle, JoinHandle<()>)
    where
        N: Machine<Event = Event, Action = Action> + Send + 'static,
    {
        use tallac_runtime_async_std as tasks;
        use tallac_runtime_blocking as threads;
        let executor = match self {
            Runtime::Blocking => {
                let (handle, inbox) = threads::inbox();
                return (handle, std::thread::spawn(move || threads::run(machine, setup, inbox)));
            }
            Runtime::AsyncStd => tasks::Executor::AsyncStd,
            Runtime::Smol => tasks::Executor::Smol,
        };
        let (handle, inbox) = tasks::inbox();
        (handle, std::thread::spawn(move || tasks::run(executor, machine, setup, inbox)))
    }
}

/// The strings.
#[derive(Default)]
struct Strings {
    actions: VecDeque<Action>,
    deadline: Option<Instant>,
}

struct Puppet {
    strings: Arc<Mutex<Strings>>,
    seen: Sender<(Event, Now)>,
    open: BTreeSet<ConnId>,
    last: Instant,
    actions_left: bool,
}

impl Machine for Puppet {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, event: Event, now: Now) {
        assert!(!self.actions_left, "a driver takes all actions before the next event");
        assert!(now.instant >= self.last, "time does not run backwards");
        (self.last, self.actions_left) = (now.instant, true);
        match &event {
            Event::Accepted { conn, .. } => assert!(self.open.insert(*conn), "a number is used twice"),
            Event::Closed { conn, .. } => assert!(self.open.remove(conn), "closed without being open"),
            Event::Connected { conn }
            | Event::Frame { conn, .. }
            | Event::Partial { conn }
            | Event::Received { conn, .. }
            | Event::ReceivedEnd { conn }
            | Event::Sent { conn, .. } => assert!(self.open.contains(conn), "{event:?} after the end"),
            Event::Wake => {
                let deadline = self.strings.lock().unwrap().deadline.take();
                assert!(deadline.is_some_and(|deadline| deadline <= now.instant), "woken too early");
            }
            Event::Command(Command::Stop) => {
                self.strings.lock().unwrap().actions.push_back(Action::Report(Report::Stopped));
            }
            Event::DiskDone { .. } | Event::JobDone { .. } | Event::Command(_) => {}
        }
        // The test may have seen enough.
        let _ = self.seen.send((event, now));
    }

    fn poll_action(&mut self) -> Option<Action> {
        let action = self.strings.lock().unwrap().actions.pop_front();
        if let Some(Action::Connect { conn, .. }) = &action {
            self.open.insert(*conn);
        }
        self.actions_left = action.is_some();
        action
    }

    fn deadline(&self) -> Option<Instant> {
        self.strings.lock().unwrap().deadline
    }
}

/// A running node that does what the test wants and tells what happens to it.
pub struct Node {
    /// Where it listens for other nodes.
    pub grid: SocketAddr,
    /// Where it listens for raw bytes.
    pub web: SocketAddr,
    /// Its key.
    pub pin: Pin,
    /// What was reported.
    pub reports: Receiver<Report>,
    strings: Arc<Mutex<Strings>>,
    seen: Receiver<(Event, Now)>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node with short patience.
    pub fn start(runtime: Runtime) -> Node {
        let guards = Guards {
            handshake: Duration::from_secs(3),
            linger: Duration::from_millis(500),
            ..Guards::default()
        };
        Node::start_with(runtime, guards)
    }

    /// Starts a node.
    pub fn start_with(runtime: Runtime, guards: Guards) -> Node {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        let tls = Tls::new(IDENTITY.get_or_init(|| Identity::ephemeral().unwrap()));
        let (seen_here, seen) = mpsc::channel();
        let (reported, reports) = mpsc::channel();
        let strings = Arc::new(Mutex::new(Strings::default()));
        let listen = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (grid_listener, web_listener) = (listen(), listen());
        let (grid, web) = (grid_listener.local_addr().unwrap(), web_listener.local_addr().unwrap());
        let on_report = Box::new(move |report| {
            let _ = reported.send(report);
        });
        let pin = tls.pin();
        let mut setup = Setup::new(tls, Arc::new(disk), on_report);
        setup.listeners = vec![(grid_listener, ListenerKind::Grid), (web_listener, ListenerKind::Web)];
        setup.guards = guards;
        let machine = Puppet {
            strings: strings.clone(),
            seen: seen_here,
            open: BTreeSet::new(),
            last: Instant::ZERO,
            actions_left: false,
        };
        let (handle, thread) = runtime.start(machine, setup);
        Node { grid, web, pin, reports, strings, seen, handle, thread: Some(thread) }
    }

    /// Has the machine ask for something.
    pub fn act(&self, action: Action) {
        self.act_all([action]);
    }

    /// Has the machine ask for several things at once.
    pub fn act_all(&self, actions: impl IntoIterator<Item = Action>) {
        self.strings.lock().unwrap().actions.extend(actions);
        self.pull();
    }

    /// Sets the machine's deadline.
    pub fn set_deadline(&self, deadline: Instant) {
        self.strings.lock().unwrap().deadline = Some(deadline);
        self.pull();
    }

    /// Makes the runtime look at the machine.
    pub fn pull(&self) {
        self.handle.command(Command::Cancel { id: OperationId(0) });
    }

    /// The next event and its time, strings not counted.
    pub fn next(&self) -> (Event, Now) {
        self.next_within(PATIENCE).expect("something must happen")
    }

    /// The next event and its time, if there is one soon.
    pub fn next_within(&self, time: Duration) -> Option<(Event, Now)> {
        loop {
            match self.seen.recv_timeout(time) {
                Ok((Event::Command(_), _)) => {}
                Ok(seen) => return Some(seen),
                Err(_) if self.thread.as_ref().is_some_and(|thread| thread.is_finished()) => {
                    panic!("the node is gone")
                }
                Err(_) => return None,
            }
        }
    }

    /// The next event that the function finds something in; others are passed over.
    pub fn find<T>(&self, mut look: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let (event, _) = self.next();
            if let Some(found) = look(&event) {
                return found;
            }
        }
    }

    /// What time it is for the machine.
    pub fn now(&self) -> Now {
        self.pull();
        loop {
            if let (Event::Command(_), now) = self.seen.recv_timeout(PATIENCE).unwrap() {
                return now;
            }
        }
    }

    /// Connects to another node's grid port.
    pub fn connect(&self, conn: u64, to: SocketAddr, pin: Pin) -> ConnId {
        let conn = ConnId::Outbound(conn);
        let address = Address { host: to.ip().to_string(), port: to.port() };
        self.act(Action::Connect { conn, address, pin });
        conn
    }

    /// Connects two nodes and waits until both know. Nothing is granted.
    pub fn join(&self, conn: u64, other: &Node) -> (ConnId, ConnId) {
        let here = self.connect(conn, other.grid, other.pin);
        self.find(|event| matches!(event, Event::Connected { conn } if *conn == here).then_some(()));
        (here, other.accepted())
    }

    /// Waits for somebody to connect.
    pub fn accepted(&self) -> ConnId {
        self.find(|event| match event {
            Event::Accepted { conn, .. } => Some(*conn),
            _ => None,
        })
    }

    /// Waits for a frame.
    pub fn frame(&self) -> Frame {
        self.find(|event| match event {
            Event::Frame { frame, .. } => Some(frame.clone()),
            _ => None,
        })
    }

    /// Allows a connection to read anything.
    pub fn grant_all(&self, conn: ConnId) {
        self.act(Action::Grant { conn, bytes: u64::MAX });
    }

    /// Waits until the node has panicked.
    pub fn crash(mut self) {
        assert!(self.thread.take().unwrap().join().is_err());
    }

    /// Stops the node and waits until it is gone.
    pub fn stop(mut self) {
        self.stop_now();
    }

    fn stop_now(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the machine found no fault");
                assert!(!self.handle.stop(), "a node that is gone takes no commands");
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop_now();
    }
}

/// A disk that answers and keeps nothing.
fn disk(steps: Vec<DiskStep>) -> tallac_core::disk::DiskResult {
    let answer = |step| match step {
        DiskStep::Read { len, .. } => Some(DiskOutput::Data(vec![7; len as usize].into())),
        DiskStep::FreeSpace => Some(DiskOutput::Free(1 << 40)),
        DiskStep::Length(_) => panic!("this disk is broken"),
        _ => None,
    };
    Ok(steps.into_iter().filter_map(answer).collect())
}
