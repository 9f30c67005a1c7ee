//! Runs a Tallac node on plain threads.
//!
//! One thread runs the machine and never waits for anything but its inputs. Each listener has a
//! thread, each connection two (one reads, one writes), and two pools run disk actions and jobs.
//! Nothing here decides anything about the protocol: see `tallac_host` for what these threads
//! carry out, and [`tallac_core::machine::Machine`] for the loop.
#![forbid(unsafe_code)]

mod pool;
mod socket;

use pool::Pool;
use socket::{Hub, Threads};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use tallac_core::disk::DiskStep;
use tallac_core::job::{self, Job};
use tallac_core::machine::{Action, ActionId, Event, Machine};
use tallac_core::nurl::Address;
use tallac_host::HostRsa;
use tallac_host::drive::{Driver, Host, Input};
use tallac_host::link::Link;
use tallac_host::links::Links;
use tallac_host::memory::keep_freed_memory;
use tallac_host::setup::{Handle, RunDisk, Setup};

/// Inputs taken before the machine's deadline is looked at again.
const INPUTS_PER_TURN: usize = 64;
/// How long to wait for threads that have nothing left to wait for.
const LEAVING: Duration = Duration::from_secs(1);

/// Where a node's inputs come in. Made before the node runs, so that others can reach it.
pub struct Inbox {
    sender: Sender<Input<Threads>>,
    receiver: Receiver<Input<Threads>>,
}

/// Makes an inbox and a handle to it. Commands given before the node runs wait for it.
pub fn inbox() -> (Handle, Inbox) {
    let (sender, receiver) = mpsc::channel();
    let inbox = Inbox { sender: sender.clone(), receiver };
    (Handle::new(move |command| sender.send(Input::Event(Event::Command(command))).is_ok()), inbox)
}

/// Runs a machine on the calling thread until it reports that it has stopped and its connections
/// are closed.
///
/// What is still to be written then gets [`tallac_host::setup::Guards::linger`] to go out. Then
/// all threads have ended, except for one that asks for the address of a host name or waits for
/// an address to answer: that cannot be interrupted, and such a thread ends when its answer
/// comes.
///
/// # Panics
/// With the panic of a job or disk action. The process should end then: threads are left.
pub fn run<N>(machine: N, setup: Setup, inbox: Inbox)
where
    N: Machine<Event = Event, Action = Action> + Send,
{
    let Setup { tls, listeners, disk, on_report, job_workers, disk_workers, guards } = setup;
    let Inbox { sender, receiver } = inbox;
    keep_freed_memory();
    let (hub, gone) = Hub::new(Links::new(tls.clone(), guards), sender.clone());
    for (listener, kind) in listeners {
        hub.listen(listener, kind);
    }
    let jobs = Pool::new("job", job_workers);
    let disks = Pool::new("disk", disk_workers);
    let mut host = Runtime { hub, jobs, disks, disk, sender };
    let mut driver = Driver::start(machine, tls, on_report, &mut host);
    while !driver.stopped() {
        let first = match driver.wake(&mut host) {
            Some(wait) => receiver.recv_timeout(wait),
            None => receiver.recv().map_err(RecvTimeoutError::from),
        };
        // There is always a sender: the host has one.
        for input in first.into_iter().chain(receiver.try_iter().take(INPUTS_PER_TURN - 1)) {
            driver.handle(input, &mut host);
        }
    }
    driver.finish();
    let Runtime { hub, jobs, disks, .. } = host;
    jobs.join();
    disks.join();
    hub.stop();
    let everything = Arc::downgrade(&hub);
    drop(hub);
    // `gone` hears of it when the last thread lets go of the hub.
    if gone.recv_timeout(guards.linger) == Err(RecvTimeoutError::Timeout) {
        if let Some(hub) = everything.upgrade() {
            hub.end_all();
        }
        let _ = gone.recv_timeout(LEAVING);
    }
}

/// What carries out the machine's actions.
struct Runtime {
    hub: Arc<Hub>,
    jobs: Pool,
    disks: Pool,
    disk: RunDisk,
    sender: Sender<Input<Threads>>,
}

impl Host<Threads> for Runtime {
    fn connect(&mut self, link: Arc<Link<Threads>>, address: Address) {
        self.hub.connect(link, address);
    }

    fn disk(&mut self, id: ActionId, steps: Vec<DiskStep>) {
        let disk = self.disk.clone();
        self.work(&self.disks, move || Event::DiskDone { id, result: disk(steps) });
    }

    fn job(&mut self, id: ActionId, job: Job) {
        self.work(&self.jobs, move || Event::JobDone { id, output: job::run(job, &HostRsa) });
    }
}

impl Runtime {
    fn work(&self, pool: &Pool, work: impl FnOnce() -> Event + Send + 'static) {
        let sender = self.sender.clone();
        pool.submit(move || {
            let input = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(event) => Input::Event(event),
                Err(panic) => Input::Panicked(panic),
            };
            // If nobody listens, the node has stopped and does not want to know.
            let _ = sender.send(input);
        });
    }
}
