//! Runs a Tallac node on async-std or smol.
//!
//! The machine runs on the calling thread and never waits for anything but its inputs. Each
//! listener has a task, each connection two (one reads, one writes); disk actions and jobs run on
//! the threads of the `blocking` crate. Nothing here decides anything about the protocol: see
//! `tallac_host` for what these tasks carry out, and [`tallac_core::machine::Machine`] for the
//! loop.
#![forbid(unsafe_code)]

#[cfg(not(any(feature = "async-std", feature = "smol")))]
compile_error!("choose an executor: enable the feature `async-std`, or `smol`, or both");

mod executor;
mod pool;
mod socket;

use async_channel::{Receiver, Sender};
use async_io::Timer;
use executor::Spawn;
use futures_lite::future;
use pool::Pool;
use socket::{Hub, Tasks};
use std::sync::Arc;
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
/// How long to wait for tasks that have nothing left to wait for.
const LEAVING: Duration = Duration::from_secs(1);

/// What runs the tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Executor {
    /// async-std's global executor.
    #[cfg(feature = "async-std")]
    AsyncStd,
    /// An executor of smol, with threads of its own that end with the node.
    #[cfg(feature = "smol")]
    Smol,
}

/// Where a node's inputs come in. Made before the node runs, so that others can reach it.
pub struct Inbox {
    sender: Sender<Input<Tasks>>,
    receiver: Receiver<Input<Tasks>>,
}

/// Makes an inbox and a handle to it. Commands given before the node runs wait for it.
pub fn inbox() -> (Handle, Inbox) {
    let (sender, receiver) = async_channel::unbounded();
    let inbox = Inbox { sender: sender.clone(), receiver };
    (Handle::new(move |command| sender.try_send(Input::Event(Event::Command(command))).is_ok()), inbox)
}

/// Runs a machine on the calling thread until it reports that it has stopped and its connections
/// are closed.
///
/// What is still to be written then gets [`tallac_host::setup::Guards::linger`] to go out. Then
/// all tasks have ended. Threads shared by all of a process stay: those of async-std's executor,
/// of `async-io`, and for half a second those of `blocking`.
///
/// # Panics
/// With the panic of a job or disk action. The process should end then: threads are left.
pub fn run<N>(executor: Executor, machine: N, setup: Setup, inbox: Inbox)
where
    N: Machine<Event = Event, Action = Action> + Send,
{
    match executor {
        #[cfg(feature = "async-std")]
        Executor::AsyncStd => {
            let executor = executor::AsyncStd;
            executor.block_on(drive(executor.clone(), machine, setup, inbox));
        }
        #[cfg(feature = "smol")]
        Executor::Smol => {
            let (executor, threads) = executor::Smol::start();
            executor.block_on(drive(executor.clone(), machine, setup, inbox));
            threads.join();
        }
    }
}

async fn drive<E, N>(executor: E, machine: N, setup: Setup, inbox: Inbox)
where
    E: Spawn,
    N: Machine<Event = Event, Action = Action>,
{
    let Setup { tls, listeners, disk, on_report, job_workers, disk_workers, guards } = setup;
    let Inbox { sender, receiver } = inbox;
    keep_freed_memory();
    let (hub, gone) = Hub::new(Links::new(tls.clone(), guards), executor.clone(), sender.clone());
    for (listener, kind) in listeners {
        hub.listen(listener, kind);
    }
    let jobs = Pool::new(&executor, job_workers, sender.clone());
    let disks = Pool::new(&executor, disk_workers, sender);
    let mut host = Runtime { hub, jobs, disks, disk };
    let mut driver = Driver::start(machine, tls, on_report, &mut host);
    while !driver.stopped() {
        let wait = driver.wake(&mut host);
        let Some(first) = next_input(&receiver, wait).await else { continue };
        driver.handle(first, &mut host);
        for _ in 1..INPUTS_PER_TURN {
            let Ok(input) = receiver.try_recv() else { break };
            driver.handle(input, &mut host);
        }
    }
    driver.finish();
    let Runtime { hub, jobs, disks, .. } = host;
    jobs.join().await;
    disks.join().await;
    hub.stop();
    let everything = Arc::downgrade(&hub);
    drop(hub);
    // The channel closes when the last task lets go of the hub.
    let all_gone = async |time: Duration| {
        let hear = async { gone.recv().await.is_err() };
        future::or(hear, async { Timer::after(time).await.elapsed().is_zero() }).await
    };
    if !all_gone(guards.linger).await {
        if let Some(hub) = everything.upgrade() {
            hub.end_all();
        }
        all_gone(LEAVING).await;
    }
}

/// The next input, or nothing after a time.
async fn next_input(receiver: &Receiver<Input<Tasks>>, wait: Option<Duration>) -> Option<Input<Tasks>> {
    // There is always a sender: the hub has one.
    if let Ok(input) = receiver.try_recv() {
        return Some(input);
    }
    let input = async { receiver.recv().await.ok() };
    match wait {
        None => input.await,
        Some(wait) => {
            let time_out = async {
                Timer::after(wait).await;
                None
            };
            future::or(input, time_out).await
        }
    }
}

/// What carries out the machine's actions.
struct Runtime<E> {
    hub: Arc<Hub<E>>,
    jobs: Pool,
    disks: Pool,
    disk: RunDisk,
}

impl<E: Spawn> Host<Tasks> for Runtime<E> {
    fn connect(&mut self, link: Arc<Link<Tasks>>, address: Address) {
        self.hub.connect(link, address);
    }

    fn disk(&mut self, id: ActionId, steps: Vec<DiskStep>) {
        let disk = self.disk.clone();
        self.disks.submit(move || Event::DiskDone { id, result: disk(steps) });
    }

    fn job(&mut self, id: ActionId, job: Job) {
        self.jobs.submit(move || Event::JobDone { id, output: job::run(job, &HostRsa) });
    }
}
