//! Several people who add names to one directory at once, on a grid that fails around them.
//!
//! Each writer adds names one after the other, through a node of its own. What was acknowledged must be
//! there in the end, and what was there before, whoever else wrote meanwhile, and whatever crashed.

use crate::chance::Chance;
use crate::disk::DiskSettings;
use crate::world::Stepped;
use crate::{Crash, Grid, GridSpec, NodeId};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tallac_core::capability::{Capability, DirectoryCap, LiteralCap, MutableCap, MutableFormat};
use tallac_core::directory::{Child, DirectoryKind, Edit, Metadata, Name, Path, Replace, Seen, Table};
use tallac_core::disk::StorePath;
use tallac_core::drive::{Done, DriveError, Errand, Keep, NewDirectory, Place};
use tallac_core::encoding::EncodingParams;
use tallac_core::mutable::{Change, Consent, Edits, Subject, Version};
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::payload::Payload;
use tallac_core::storage::slot::container::DATA_OFFSET;
use tallac_core::time::UnixTime;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Writers {
    /// How many servers there are. The directory has ten shares; with more servers some have none, and
    /// do not vote.
    pub servers: u16,
    /// How many people write.
    pub writers: u16,
    /// How many names each adds.
    pub names: u32,
    /// When an edit counts.
    pub consent: Consent,
    /// How many faults strike meanwhile.
    pub faults: u32,
    /// How long a fault lasts at most.
    pub lasting: Duration,
    /// Whether disks also become full for a while, which lasts up to ten times as long as other faults, so
    /// that writers hear of it. On half of them not a byte more has room: others stand in for these.
    pub full_disks: bool,
    /// Whether a writer who was beaten applies his edit again to what is there then. Else he writes the
    /// table that he made of what he read first, as a naive program would.
    pub applies_again: bool,
}

impl Default for Writers {
    fn default() -> Writers {
        Writers {
            servers: 10,
            writers: 2,
            names: 10,
            consent: Consent::Majority,
            faults: 12,
            lasting: Duration::from_secs(8),
            full_disks: false,
            applies_again: true,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The seed.
    pub seed: u64,
    /// Names acknowledged.
    pub acknowledged: usize,
    /// Edits that were refused or gave up, and were tried again.
    pub refused: usize,
    /// Nodes that went down.
    pub crashes: usize,
    /// Disks that became full.
    pub full_disks: usize,
    /// Edits that ended, well or not, while their writer knew of a server that takes no shares.
    pub beside_full: usize,
    /// What is wrong; nothing, if all is well.
    pub wrong: Vec<String>,
    /// Virtual time.
    pub time: Duration,
    /// Why edits were refused, and how often.
    pub reasons: BTreeMap<String, usize>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { seed, acknowledged, refused, crashes, full_disks, wrong, .. } = self;
        write!(f, "seed {seed}: {acknowledged} names, {refused} refusals, {crashes} crashes")?;
        if *full_disks > 0 {
            write!(f, ", {full_disks} full disks")?;
        }
        wrong.iter().take(5).try_for_each(|what| write!(f, "\n  {what}"))
    }
}

struct Run {
    grid: Grid,
    chance: Chance,
    next: u64,
    spec: Writers,
    /// What each operation under way is for: a writer's name, by the writer's place.
    under_way: BTreeMap<OperationId, (usize, u32)>,
    /// Each writer's next name.
    at: Vec<u32>,
    cap: Option<MutableCap>,
    written: Written,
    acknowledged: BTreeSet<(usize, u32)>,
}

const FAULT: u64 = 1;
const HEAL: u64 = 2;
/// From here on, a server's disk has room again, a server starts, a writer's node starts, a writer tries again.
const DISK: u64 = 1 << 19;
const SERVER: u64 = 1 << 20;
const WRITER: u64 = 2 << 20;
const AGAIN: u64 = 3 << 20;

/// Runs a seed.
pub fn run(seed: u64, spec: &Writers) -> Written {
    let encoding = EncodingParams::new(3, 10, 128 * 1024).expect("good parameters");
    let (servers, clients) = (spec.servers.into(), spec.writers.into());
    let grid_spec = GridSpec { servers, clients, encoding, ..GridSpec::default() };
    let mut run = Run {
        grid: Grid::running(seed, &grid_spec),
        chance: Chance::named(seed, "writers"),
        next: 1 << 40,
        spec: spec.clone(),
        under_way: BTreeMap::new(),
        at: vec![0; spec.writers.into()],
        cap: None,
        written: Written { seed, ..Written::default() },
        acknowledged: BTreeSet::new(),
    };
    run.make();
    run.write();
    run.check();
    run.written.time = run.grid.world.now();
    run.written.acknowledged = run.acknowledged.len();
    run.written
}

/// What the directory holds before anybody writes: of every kind, so that nothing is lost unseen.
const FOREIGN: [(&str, &str); 3] = [
    ("a file", "URI:LIT:krugkidfnzsc4"),
    ("of a kind to come", "ro.URI:FUTURE:of-which-nobody-knows"),
    (
        "a file that is nowhere",
        "URI:CHK:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:3:10:1000",
    ),
];

fn name(writer: usize, number: u32) -> Name {
    Name::new(&format!("{writer}-{number}")).expect("a good name")
}

fn child(writer: usize, number: u32) -> Child {
    // The content does not matter: a literal with the name in it.
    let text = format!("{writer}-{number}");
    let cap = LiteralCap::new(text.into_bytes()).expect("it is short").to_string();
    Child::new(None, Some(&cap), DirectoryKind::Mutable).expect("a good child")
}

fn link(writer: usize, number: u32) -> Edit {
    let (metadata, replace, seen) = (None, Replace::Nothing, Seen::Unchecked);
    Edit::Link { name: name(writer, number), child: child(writer, number), metadata, replace, seen }
}

/// Why an attempt to add a name failed, in words; `Ok` with a table, if it was only read.
type Outcome = Result<Option<Table>, String>;

#[derive(Debug)]
enum Happened {
    Ended(OperationId, Outcome),
    Timer(u64),
}

fn outcome(result: Result<Box<Done>, Box<DriveError>>) -> Outcome {
    match result {
        Ok(done) => Ok(match *done {
            Done::Seen(sight) => sight.table,
            Done::Made { .. } | Done::Edited { .. } | Done::Surveyed(_) => None,
        }),
        Err(error) => Err(error.to_string()),
    }
}

impl Run {
    fn id(&mut self) -> OperationId {
        self.next += 1;
        OperationId(self.next)
    }

    /// What each server has of the directory: of each version its number, some of its hash, and its shares.
    fn held(&mut self) -> String {
        let mut all = Vec::new();
        for (number, server) in self.grid.servers.clone().into_iter().enumerate() {
            let disk = self.grid.world.disk(server);
            let paths: Vec<StorePath> = disk.list().map(|(path, _)| path.clone()).collect();
            let mut versions: BTreeMap<(u64, String), Vec<u16>> = BTreeMap::new();
            for path in paths {
                let StorePath::Share(_, share) = path else { continue };
                let content = disk.content(&path).unwrap_or_default();
                let Some(data) = content.get(DATA_OFFSET as usize..) else { continue };
                let Ok(version) = Version::parse(data) else { continue };
                let of = (version.sequence, format!("{:?}", version.root_hash));
                versions.entry(of).or_default().push(share);
            }
            let versions: Vec<String> =
                versions.into_iter().map(|((number, hash), of)| format!("{number} {hash} {of:?}")).collect();
            all.push(format!("server {number}: {}", versions.join(", ")));
        }
        all.join("; ")
    }

    /// Whether somebody's node knows that a server takes no shares.
    fn knows_a_full_server(&self, writer: usize) -> bool {
        let (world, client) = (&self.grid.world, self.grid.clients[writer]);
        let servers = self.grid.servers.len();
        world.machine(client).is_some_and(|node| {
            node.status(servers, world.clock(client)).servers.iter().any(|server| server.read_only)
        })
    }

    /// Lets things happen until an operation is over or a timer is due, until `end`.
    fn step(&mut self, end: Duration) -> Option<Happened> {
        while self.grid.world.next_at().is_some_and(|next| next <= end) {
            let stepped = self.grid.world.step();
            while let Some((_, report)) = self.grid.world.poll_report() {
                match report {
                    Report::Errand { id, result } => {
                        if let Ok(done) = &result
                            && let Done::Made { cap: DirectoryCap::Mutable(cap), .. } = &**done
                        {
                            self.cap = Some(cap.clone());
                        }
                        return Some(Happened::Ended(id, outcome(result)));
                    }
                    Report::Changed { id, result } => {
                        let outcome = result.map(|_| None).map_err(|error| error.to_string());
                        return Some(Happened::Ended(id, outcome));
                    }
                    _ => {}
                }
            }
            if let Stepped::Timer(timer) = stepped {
                return Some(Happened::Timer(timer));
            }
        }
        None
    }

    fn send(&mut self, node: NodeId, errand: Errand) -> OperationId {
        let id = self.id();
        self.grid.world.command(node, Command::Errand { id, errand: Box::new(errand) });
        id
    }

    fn directory(&self) -> Place {
        let cap = self.cap.clone().expect("it was made");
        Place { start: Capability::Directory(DirectoryCap::Mutable(cap)), path: Path::default() }
    }

    fn look(&mut self, node: NodeId) -> OperationId {
        let place = self.directory();
        self.send(node, Errand::Look { place, list: true })
    }

    fn change(&mut self, node: NodeId, change: Change) -> OperationId {
        let id = self.id();
        let subject = Subject::Existing(self.cap.clone().expect("it was made"));
        let consent = self.spec.consent;
        self.grid.world.command(node, Command::Change { id, subject, change, consent });
        id
    }

    /// The first writer makes the directory.
    fn make(&mut self) {
        let foreign = |(name, cap): (&str, &str)| {
            let child = Child::new(None, Some(cap), DirectoryKind::Mutable).expect("a good child");
            (Name::new(name).expect("a good name"), child, Metadata::default())
        };
        let children = FOREIGN.into_iter().map(foreign).collect();
        let new = NewDirectory { keep: Keep::Mutable(MutableFormat::Sdmf, None), children };
        let id = self.send(self.grid.clients[0], Errand::Make { place: None, new });
        let end = self.grid.world.now() + Duration::from_secs(60);
        match self.step(end) {
            Some(Happened::Ended(of, Ok(_))) if of == id => {}
            other => panic!("the directory was not made: {other:?}"),
        }
    }

    fn add(&mut self, writer: usize) {
        let number = self.at[writer];
        let node = self.grid.clients[writer];
        let id = match (self.spec.consent, self.spec.applies_again) {
            (_, false) => self.look(node),
            (Consent::Majority, true) => {
                let errand = Errand::edit(self.directory(), link(writer, number));
                self.send(node, errand)
            }
            (Consent::Servers(_), true) => self.change(node, Change::Edit(Edits(vec![link(writer, number)]))),
        };
        self.under_way.insert(id, (writer, number));
    }

    /// Writes a table with the new name in it over whatever is there by now.
    fn overwrite(&mut self, (writer, number): (usize, u32), mut table: Table) {
        let node = self.grid.clients[writer];
        let now = UnixTime(self.grid.world.now().as_secs());
        if table.apply(&[link(writer, number)], now).is_ok() {
            let id = self.change(node, Change::Overwrite(Payload::from(table.pack())));
            self.under_way.insert(id, (writer, number));
        } else {
            self.at[writer] += 1;
            self.try_again(writer);
        }
    }

    fn try_again(&mut self, writer: usize) {
        let pause = self.chance.duration(Duration::ZERO..Duration::from_millis(500));
        self.grid.world.set_timer(pause, AGAIN + writer as u64);
    }

    fn write(&mut self) {
        for writer in 0..self.at.len() {
            self.add(writer);
        }
        // As long as it takes if nothing fails, roughly.
        let time = Duration::from_millis(800) * self.spec.names;
        for _ in 0..self.spec.faults {
            let pause = self.chance.duration(Duration::from_millis(50)..time);
            self.grid.world.set_timer(pause, FAULT);
        }
        let end = self.grid.world.now() + Duration::from_secs(3_600);
        while self.at.iter().any(|at| *at < self.spec.names) {
            match self.step(end) {
                None => {
                    let (at, names, held) = (self.at.clone(), self.spec.names, self.held());
                    self.written.wrong.push(format!("hangs: {at:?} of {names} names are added; {held}"));
                    return;
                }
                Some(Happened::Timer(FAULT)) => self.fault(),
                Some(Happened::Timer(timer)) if timer >= AGAIN => {
                    let writer = (timer - AGAIN) as usize;
                    let busy = self.under_way.values().any(|(of, _)| *of == writer);
                    let up = self.grid.world.is_up(self.grid.clients[writer]);
                    if up && !busy && self.at[writer] < self.spec.names {
                        self.add(writer);
                    }
                }
                Some(Happened::Timer(timer)) => self.mend(timer),
                Some(Happened::Ended(id, outcome)) => self.ended(id, outcome),
            }
        }
    }

    fn ended(&mut self, id: OperationId, outcome: Outcome) {
        let Some((writer, number)) = self.under_way.remove(&id) else { return };
        self.written.beside_full += usize::from(self.knows_a_full_server(writer));
        match outcome {
            Ok(Some(table)) => return self.overwrite((writer, number), table),
            Ok(None) => {
                self.acknowledged.insert((writer, number));
                self.at[writer] += 1;
            }
            Err(why) => {
                self.written.refused += 1;
                // An earlier attempt of which nothing was heard may have succeeded.
                if why.contains("already") {
                    self.at[writer] += 1;
                }
                let why = why.split(';').next().unwrap_or_default().to_owned();
                *self.written.reasons.entry(why).or_default() += 1;
            }
        }
        if self.at[writer] < self.spec.names {
            self.try_again(writer);
        }
    }

    fn fault(&mut self) {
        let later = self.chance.duration(Duration::from_millis(200)..self.spec.lasting);
        match self.chance.below(if self.spec.full_disks { 6 } else { 5 }) {
            0 => {
                let writer = self.chance.below(self.at.len() as u64) as usize;
                let node = self.grid.clients[writer];
                if self.grid.world.is_up(node) {
                    self.grid.world.crash(node, Crash::Kill);
                    self.under_way.retain(|_, (of, _)| *of != writer);
                    self.written.crashes += 1;
                    self.grid.world.set_timer(later, WRITER + writer as u64);
                }
            }
            1 | 2 => {
                let server = self.chance.below(self.grid.servers.len() as u64) as usize;
                let crash = if self.chance.one_in(2) { Crash::Kill } else { Crash::PowerCut };
                if self.grid.world.is_up(self.grid.servers[server]) {
                    self.grid.world.crash(self.grid.servers[server], crash);
                    self.written.crashes += 1;
                    self.grid.world.set_timer(later, SERVER + server as u64);
                }
            }
            3 => {
                let servers = self.grid.servers.clone();
                let mut apart: Vec<NodeId> = if self.chance.one_in(2) {
                    // Exactly half of them: neither side may go on.
                    let from = self.chance.below(servers.len() as u64) as usize;
                    servers.iter().cycle().skip(from).take(servers.len() / 2).copied().collect()
                } else {
                    servers.into_iter().filter(|_| self.chance.one_in(2)).collect()
                };
                apart.push(*self.chance.pick(&self.grid.clients));
                self.grid.world.partition(&apart);
                self.grid.world.set_timer(later, HEAL);
            }
            4 => {
                let pick = self.chance.draw();
                self.grid.world.break_connection(pick);
            }
            _ => {
                let later = later * self.chance.within(1..11) as u32;
                for server in 0..self.grid.servers.len() {
                    if self.chance.one_in(2) {
                        // Servers that can take nothing at all say so, and others stand in for them.
                        let room = if self.chance.one_in(2) { 0 } else { self.chance.below(10_000) };
                        let disk = self.grid.world.disk(self.grid.servers[server]);
                        disk.settings_mut().capacity = disk.used() + room;
                        self.written.full_disks += 1;
                        self.grid.world.set_timer(later, DISK + server as u64);
                    }
                }
            }
        }
    }

    fn make_room(&mut self, server: NodeId) {
        self.grid.world.disk(server).settings_mut().capacity = DiskSettings::default().capacity;
    }

    fn mend(&mut self, timer: u64) {
        match timer {
            HEAL => self.grid.world.heal(),
            DISK..SERVER => self.make_room(self.grid.servers[(timer - DISK) as usize]),
            SERVER..WRITER => self.grid.world.start(self.grid.servers[(timer - SERVER) as usize]),
            WRITER..AGAIN => {
                let writer = (timer - WRITER) as usize;
                self.grid.world.start(self.grid.clients[writer]);
                let pause = self.chance.duration(Duration::ZERO..Duration::from_millis(500));
                self.grid.world.set_timer(pause, AGAIN + writer as u64);
            }
            _ => {}
        }
    }

    /// With everything healed, every acknowledged name is there.
    fn check(&mut self) {
        self.grid.world.heal();
        self.grid.servers.clone().into_iter().for_each(|server| self.make_room(server));
        self.grid.start_all();
        let rest = self.grid.world.now() + Duration::from_secs(60);
        while self.step(rest).is_some() {}
        // Servers that were down are connected to again after a while.
        for _ in 0..10 {
            let id = self.look(self.grid.clients[0]);
            let end = self.grid.world.now() + Duration::from_secs(600);
            let outcome = loop {
                match self.step(end) {
                    Some(Happened::Ended(of, outcome)) if of == id => break outcome,
                    Some(_) => {}
                    None => return self.written.wrong.push("hangs at the end".into()),
                }
            };
            match outcome {
                Ok(Some(table)) => return self.compare(&table),
                Ok(None) => return self.written.wrong.push("nothing can be seen of it".into()),
                Err(why) => {
                    *self.written.reasons.entry(why).or_default() += 1;
                    let pause = self.grid.world.now() + Duration::from_secs(30);
                    while self.step(pause).is_some() {}
                }
            }
        }
        self.written.wrong.push("it cannot be read in the end".into());
    }

    fn compare(&mut self, table: &Table) {
        let is_there = |name: &Name, child: Option<Child>| {
            table.get(name).is_some_and(|entry| child.is_none_or(|child| entry.child == Ok(child)))
        };
        for (name, _) in FOREIGN {
            if !is_there(&Name::new(name).expect("a good name"), None) {
                self.written.wrong.push(format!("{name:?}, which was there from the beginning, is gone"));
            }
        }
        for (writer, number) in &self.acknowledged {
            if !is_there(&name(*writer, *number), Some(child(*writer, *number))) {
                let lost = format!("name {number} of writer {writer} was acknowledged and is gone");
                self.written.wrong.push(lost);
            }
        }
    }
}
