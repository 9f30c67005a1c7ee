//! How fast frames go over loopback, and what that costs: `throughput [RUNTIME] [GIB]`.
//!
//! One process per runtime is one that sends and receives; the CPU time is that of both. To
//! compare with the figures in the performance notes, build with `--release`.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use tallac_core::machine::{Action, ConnId, Event, Machine};
use tallac_core::nurl::{Address, Pin};
use tallac_core::operation::{Command, Report};
use tallac_core::payload::Payload;
use tallac_core::time;
use tallac_core::wire::Frame;
use tallac_host::setup::{ListenerKind, Setup};
use tallac_host::tls::{Identity, Tls};
use tallac_tests::puppet::Runtime;

const FRAME: usize = 350_000;
const WINDOW: u64 = 4 * 1024 * 1024;

/// Sends frames as long as not too many are on their way, or takes them in.
struct Mover {
    actions: VecDeque<Action>,
    left: u64,
    pending: u64,
    payload: Payload,
    received: Arc<AtomicU64>,
}

impl Mover {
    fn fill(&mut self, conn: ConnId) {
        while self.left > 0 && self.pending < WINDOW {
            let frame = Frame::with_bulk(vec![1; 50], vec![self.payload.clone()]);
            self.left -= 1;
            self.pending += frame.len();
            self.actions.push_back(Action::Send { conn, frame });
        }
        if self.left == 0 && self.pending == 0 {
            self.actions.push_back(Action::Close { conn });
        }
    }
}

impl Machine for Mover {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, event: Event, _: time::Now) {
        match event {
            Event::Connected { conn } => {
                let hello = Frame::new(vec![0; 50]);
                self.pending += hello.len();
                self.actions.push_back(Action::Send { conn, frame: hello });
                self.fill(conn);
            }
            Event::Sent { conn, bytes } => {
                self.pending -= bytes;
                self.fill(conn);
            }
            Event::Accepted { conn, .. } => self.actions.push_back(Action::Grant { conn, bytes: WINDOW }),
            Event::Frame { conn, frame } => {
                self.received.fetch_add(frame.bulk_len(), Ordering::Relaxed);
                self.actions.push_back(Action::Grant { conn, bytes: frame.len() });
            }
            Event::Closed { .. } | Event::Command(Command::Stop) => {
                self.actions.push_back(Action::Report(Report::Stopped))
            }
            _ => {}
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<time::Instant> {
        None
    }
}

/// CPU seconds of this process, and of it the system's.
fn cpu() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: &str| field.parse::<f64>().unwrap() / 100.0;
    (ticks(fields[11]) + ticks(fields[12]), ticks(fields[12]))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runtime = match arguments.next().as_deref() {
        Some("async-std") => Runtime::AsyncStd,
        Some("smol") => Runtime::Smol,
        _ => Runtime::Blocking,
    };
    let gib: f64 = arguments.next().map_or(1.0, |gib| gib.parse().expect("a number of GiB"));
    let role = arguments.next();
    let tls = || Tls::new(&Identity::ephemeral().unwrap());
    let frames = (gib * (1u64 << 30) as f64) as u64 / FRAME as u64;
    let received = Arc::new(AtomicU64::new(0));
    let mover = |actions, left| Mover {
        actions,
        left,
        pending: 0,
        payload: vec![5; FRAME].into(),
        received: received.clone(),
    };
    let setup = |tls, listeners| {
        let mut setup = Setup::new(tls, Arc::new(|_| Ok(Vec::new())), Box::new(|_| ()));
        setup.listeners = listeners;
        setup
    };
    let (sending, receiving) = match role.as_deref() {
        None => {
            // Two processes, so that each side's CPU time can be told.
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tls();
            let pin: String = server.pin().0.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = format!("{runtime:?}").to_lowercase().replace("asyncstd", "async-std");
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args([name, gib.to_string(), port.to_string(), pin])
                .spawn()
                .unwrap();
            let (ended, wait) = mpsc::channel();
            let started = Instant::now();
            let (_, thread) =
                runtime.start(mover(VecDeque::new(), 0), setup(server, vec![(listener, ListenerKind::Grid)]));
            std::thread::spawn(move || ended.send(thread.join()));
            wait.recv().unwrap().unwrap();
            let time = started.elapsed().as_secs_f64();
            child.wait().unwrap();
            (None, Some(time))
        }
        Some(port) => {
            let pin = arguments.next().unwrap();
            let bytes: Vec<u8> =
                (0..32).map(|i| u8::from_str_radix(&pin[2 * i..2 * i + 2], 16).unwrap()).collect();
            let address = Address { host: "127.0.0.1".into(), port: port.parse().unwrap() };
            let conn = ConnId::Outbound(1);
            let connect = Action::Connect { conn, address, pin: Pin(bytes.try_into().unwrap()) };
            let (_, thread) = runtime.start(mover([connect].into(), frames), setup(tls(), Vec::new()));
            thread.join().unwrap();
            (Some(()), None)
        }
    };
    let (all, system) = cpu();
    let gigabytes = frames as f64 * FRAME as f64 / 1e9;
    if sending.is_some() {
        println!(
            "{runtime:?} sender: {:.3} CPU s/GB, of it system {:.3}",
            all / gigabytes,
            system / gigabytes
        );
    }
    if let Some(time) = receiving {
        let bytes = received.load(Ordering::Relaxed) as f64;
        assert_eq!(bytes, frames as f64 * FRAME as f64);
        let memory = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
        println!(
            "{runtime:?} receiver: {:.3} CPU s/GB, of it system {:.3}; {:.2} GB/s; {peak}",
            all / gigabytes,
            system / gigabytes,
            gigabytes / time
        );
    }
}
