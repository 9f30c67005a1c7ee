//! How large a grid can be: its memory, its speed, and what a node costs that nobody uses.
//!
//! Every client puts files, a part of the servers loses power, and every client gets files that others
//! put. Each byte that comes is compared, as in all runs.

use crate::chance::Chance;
use crate::trace::TraceHash;
use crate::{Crash, Ended, Fidelity, Grid, GridSpec, NodeId};
use core::fmt;
use core::time::Duration;
use std::time::Instant;
use tallac_core::encoding::EncodingParams;
use tallac_core::operation::{KeyChoice, OperationId};

/// How long the operations of a round may take, of virtual time.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What to try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Size {
    /// Names the grid.
    pub seed: u64,
    /// How true it is to the bytes.
    pub fidelity: Fidelity,
    /// Nodes that keep shares.
    pub servers: u32,
    /// Nodes that put and get files.
    pub clients: u32,
    /// Files that each client puts, and as many that it gets.
    pub files: u32,
    /// Bytes of the longest file; the shortest has a tenth of it.
    pub len: u64,
    /// Connections that each client keeps.
    pub connections: usize,
    /// One in this many servers has no power while files are got; 0 for none.
    pub down: u32,
}

impl Size {
    /// The grid.
    fn spec(&self) -> GridSpec {
        GridSpec {
            fidelity: self.fidelity,
            introducers: 0,
            servers: self.servers,
            clients: self.clients,
            configured: true,
            encoding: EncodingParams::new(3, 10, 128 * 1024).expect("within bounds"),
            connections_max: self.connections,
            ..GridSpec::default()
        }
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Sized {
    /// What was tried.
    pub size: Size,
    /// Bytes that a server costs that nobody called: its place in the world, its address in the list
    /// that clients share.
    pub bytes_per_idle_peer: u64,
    /// Bytes that a server costs that was called once and has nothing to do.
    pub bytes_per_woken_peer: u64,
    /// Servers that were called, or whose power failed.
    pub woken: u64,
    /// Most bytes of memory that the program had, as the system counts; 0 where it does not tell.
    pub peak: u64,
    /// Files stored, and files read.
    pub done: (u64, u64),
    /// Operations that failed.
    pub failed: u64,
    /// What was found wrong.
    pub wrong: Vec<String>,
    /// Events and actions of machines.
    pub entries: u64,
    /// The hash over all of them: the same size does the same again.
    pub hash: TraceHash,
    /// What happened in the world, one after another.
    pub steps: u64,
    /// Bytes that arrived over the network, or would have.
    pub network_bytes: u64,
    /// Virtual time while files were put and got.
    pub virtual_time: Duration,
    /// Time to make the grid.
    pub making: Spent,
    /// Time while files were put and got.
    pub working: Spent,
}

/// Time that something took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spent {
    /// On the clock.
    pub clock: Duration,
    /// Of a processor: what rates are told by, since others may want it, too.
    pub processor: Duration,
}

impl Spent {
    /// The time since then; the parts of which `then` was made up are points in time.
    fn since((clock, processor): (Instant, Duration)) -> Spent {
        let clock = clock.elapsed();
        // Where the system does not tell, the clock's time will do.
        let processor = processor_time().saturating_sub(processor);
        Spent { clock, processor: if processor.is_zero() { clock } else { processor } }
    }
}

impl fmt::Display for Sized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { servers, clients, fidelity, .. } = self.size;
        let true_to = match fidelity {
            Fidelity::Bytes => "the bytes",
            Fidelity::Protocol => "the protocol",
        };
        let seconds = self.working.processor.as_secs_f64();
        let rate = |count: u64| count as f64 / seconds;
        writeln!(f, "{servers} servers and {clients} clients, true to {true_to}")?;
        writeln!(f, "{:>12} MB of memory at most", self.peak / 1_000_000)?;
        writeln!(f, "{:>12} bytes for each idle server", self.bytes_per_idle_peer)?;
        writeln!(f, "{:>12} bytes for each idle server that was called before", self.bytes_per_woken_peer)?;
        writeln!(f, "{:>12} servers were called", self.woken)?;
        writeln!(f, "{:>12.1} s of a processor to make the grid", self.making.processor.as_secs_f64())?;
        writeln!(f, "{:>12} files stored, {} read, {} not", self.done.0, self.done.1, self.failed)?;
        writeln!(
            f,
            "{seconds:>12.1} s of a processor for the work, of which all rates are; {:.1} s on the clock",
            self.working.clock.as_secs_f64()
        )?;
        writeln!(f, "{:>12.1} simulated seconds", self.virtual_time.as_secs_f64())?;
        writeln!(f, "{:>12} events and actions, {:.0} a second", self.entries, rate(self.entries))?;
        writeln!(f, "{:>12} steps of the world, {:.0} a second", self.steps, rate(self.steps))?;
        writeln!(f, "{:>12.1} MB a second on the network", rate(self.network_bytes) / 1e6)?;
        writeln!(f, "{:>12.1} operations a second", rate(self.done.0 + self.done.1))?;
        write!(f, "{:>12.3} simulated hours a second", self.virtual_time.as_secs_f64() / 3600.0 / seconds)?;
        write!(f, "\nhash {}", self.hash)?;
        self.wrong.iter().take(10).try_for_each(|wrong| write!(f, "\nwrong: {wrong}"))
    }
}

/// Tries a size.
pub fn run(size: &Size) -> Sized {
    let (bytes_per_idle_peer, bytes_per_woken_peer) = idle(size);
    let began = (Instant::now(), processor_time());
    let mut grid = Grid::new(size.seed, &size.spec());
    grid.start_all();
    let making = Spent::since(began);
    let mut work = Work { grid, chance: Chance::named(size.seed, "size"), steps: 0, failed: 0, read: 0 };
    let (began, from) = ((Instant::now(), processor_time()), work.grid.world.now());
    for round in 0..size.files {
        work.put(size, round);
    }
    let down = work.cut_power(size);
    for _ in 0..size.files {
        work.get();
    }
    down.into_iter().for_each(|server| work.grid.world.start(server));
    let working = Spent::since(began);
    let grid = &mut work.grid;
    Sized {
        size: size.clone(),
        bytes_per_idle_peer,
        bytes_per_woken_peer,
        woken: u64::from(size.servers) - grid.world.asleep() as u64,
        peak: memory("VmHWM:"),
        done: (grid.operations.acks(), work.read),
        failed: work.failed,
        wrong: grid.operations.violations().to_vec(),
        entries: grid.world.trace().entries(),
        hash: grid.world.trace().hash(),
        steps: work.steps,
        network_bytes: grid.world.network_counts().bytes,
        virtual_time: grid.world.now() - from,
        making,
        working,
    }
}

/// The bytes of a server that nobody called, and of one that was.
fn idle(size: &Size) -> (u64, u64) {
    let spec = GridSpec { clients: 0, ..size.spec() };
    let before = memory("VmRSS:");
    let mut grid = Grid::new(size.seed, &spec);
    grid.start_all();
    grid.run_until(Duration::from_secs(3_600));
    let asleep = memory("VmRSS:");
    // A sample will do, from anywhere in the list.
    let woken: Vec<NodeId> = grid.servers.iter().copied().step_by(1 + grid.servers.len() / 20_000).collect();
    for server in &woken {
        // Whoever looks at its disk makes it.
        grid.world.disk(*server);
    }
    grid.run_until(Duration::from_secs(7_200));
    let each = |from: u64, to: u64, of: usize| to.saturating_sub(from) / of.max(1) as u64;
    (each(before, asleep, grid.servers.len()), each(asleep, memory("VmRSS:"), woken.len()))
}

struct Work {
    grid: Grid,
    chance: Chance,
    steps: u64,
    failed: u64,
    read: u64,
}

impl Work {
    /// Every client puts a file.
    fn put(&mut self, size: &Size, round: u32) {
        let mut puts = Vec::new();
        for (number, client) in self.grid.clients.clone().into_iter().enumerate() {
            let len = self.chance.within(size.len / 10..size.len.max(2));
            let seed = u64::from(round) << 32 | number as u64;
            let content = self.grid.content(seed, len);
            let operations = &mut self.grid.operations;
            puts.push(operations.put(&mut self.grid.world, client, content, KeyChoice::Random, true));
        }
        self.finish(&puts);
    }

    /// Every client gets a file that anybody put.
    fn get(&mut self) {
        let files = self.grid.operations.files();
        if files.is_empty() {
            return;
        }
        let mut gets = Vec::new();
        for client in self.grid.clients.clone() {
            let file = self.chance.pick(self.grid.operations.files()).clone();
            let range = 0..file.content.len();
            gets.push(self.grid.operations.get(&mut self.grid.world, client, &file, range));
        }
        self.finish(&gets);
    }

    /// Goes on until these have ended.
    fn finish(&mut self, operations: &[OperationId]) {
        let deadline = self.grid.world.now() + PATIENCE;
        while self.grid.operations.under_way() > 0
            && self.grid.world.next_at().is_some_and(|at| at <= deadline)
        {
            self.grid.step();
            self.steps += 1;
        }
        for id in operations {
            match self.grid.operations.ended(*id) {
                Some(Ended::Read) => self.read += 1,
                Some(Ended::Stored(_)) => {}
                _ => self.failed += 1,
            }
        }
        self.grid.operations.forget_ended();
    }

    /// Some servers lose power.
    fn cut_power(&mut self, size: &Size) -> Vec<NodeId> {
        let mut down = Vec::new();
        if let Some(count) = size.servers.checked_div(size.down) {
            for _ in 0..count {
                let server = *self.chance.pick(&self.grid.servers);
                self.grid.crash(server, Crash::PowerCut);
                down.push(server);
            }
        }
        down
    }
}

/// Time that a processor has spent on this thread; nothing where the system does not tell.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// A number of bytes that the system tells about this program; 0 where it does not.
fn memory(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}
