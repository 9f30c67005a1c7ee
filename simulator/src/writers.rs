//! Several people who add names to one directory at once, on a grid that fails around them.
//!
//! Each writer adds names one after the other, through a node of its own. What was acknowledged must be
//! there in the end, whoever else wrote meanwhile, and whatever crashed.

use crate::chance::Chance;
use crate::world::Stepped;
use crate::{Crash, Grid, GridSpec, NodeId};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tallac_core::capability::MutableCap;
use tallac_core::capability::MutableFormat;
use tallac_core::directory::{Child, DirectoryKind, Edit, Name, Only, Replace, Seen};
use tallac_core::encoding::EncodingParams;
use tallac_core::mutable::{Change, ChangeError, Changed, Consent, Edits, Subject};
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::payload::Payload;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Writers {
    /// How many people write.
    pub writers: u16,
    /// How many names each adds.
    pub names: u32,
    /// When an edit counts.
    pub consent: Consent,
    /// How many faults strike meanwhile.
    pub faults: u32,
}

impl Default for Writers {
    fn default() -> Writers {
        Writers { writers: 2, names: 10, consent: Consent::Majority, faults: 12 }
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
    /// What is wrong; nothing, if all is well.
    pub wrong: Vec<String>,
    /// Virtual time.
    pub time: Duration,
    /// Why edits were refused, and how often.
    pub reasons: BTreeMap<String, usize>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { seed, acknowledged, refused, crashes, wrong, .. } = self;
        write!(f, "seed {seed}: {acknowledged} names, {refused} refusals, {crashes} crashes")?;
        wrong.iter().take(5).try_for_each(|what| write!(f, "\n  {what}"))
    }
}

struct Run {
    grid: Grid,
    chance: Chance,
    next: u64,
    /// What each change under way is for: a writer's name, by the writer's place.
    under_way: BTreeMap<OperationId, (usize, u32)>,
    /// Each writer's next name.
    at: Vec<u32>,
    cap: Option<MutableCap>,
    written: Written,
    acknowledged: BTreeSet<(usize, u32)>,
}

const FAULT: u64 = 1;
const AGAIN: u64 = 1_000;

/// Runs a seed.
pub fn run(seed: u64, spec: &Writers) -> Written {
    let encoding = EncodingParams::new(3, 10, 128 * 1024).expect("good parameters");
    let grid_spec = GridSpec { servers: 10, clients: spec.writers, encoding, ..GridSpec::default() };
    let mut run = Run {
        grid: Grid::running(seed, &grid_spec),
        chance: Chance::named(seed, "writers"),
        next: 1 << 40,
        under_way: BTreeMap::new(),
        at: vec![0; spec.writers.into()],
        cap: None,
        written: Written { seed, ..Written::default() },
        acknowledged: BTreeSet::new(),
    };
    run.make();
    run.write(spec);
    run.check();
    run.written.time = run.grid.world.now();
    run.written.acknowledged = run.acknowledged.len();
    run.written
}

fn name(writer: usize, number: u32) -> Name {
    Name::new(&format!("{writer}-{number}")).expect("a good name")
}

fn child(writer: usize, number: u32) -> Child {
    // The content does not matter: a literal with the name in it.
    let text = format!("{writer}-{number}");
    let cap = tallac_core::capability::LiteralCap::new(text.into_bytes()).expect("it is short").to_string();
    Child::new(None, Some(&cap), DirectoryKind::Mutable).expect("a good child")
}

impl Run {
    fn id(&mut self) -> OperationId {
        self.next += 1;
        OperationId(self.next)
    }

    /// Lets things happen until a change is over or a timer is due, until `end`.
    fn step(&mut self, end: Duration) -> Option<Happened> {
        while self.grid.world.next_at().is_some_and(|next| next <= end) {
            let stepped = self.grid.world.step();
            while let Some((_, report)) = self.grid.world.poll_report() {
                if let Report::Changed { id, result } = report {
                    return Some(Happened::Changed(id, result));
                }
            }
            if let Stepped::Timer(timer) = stepped {
                return Some(Happened::Timer(timer));
            }
        }
        None
    }

    fn change(&mut self, node: NodeId, change: Change, consent: Consent) -> OperationId {
        let id = self.id();
        let subject = match &self.cap {
            Some(cap) => Subject::Existing(cap.clone()),
            None => Subject::New { format: MutableFormat::Sdmf, key: None },
        };
        self.grid.world.command(node, Command::Change { id, subject, change, consent });
        id
    }

    /// The first writer makes the directory.
    fn make(&mut self) {
        let client = self.grid.clients[0];
        let id = self.change(client, Change::Overwrite(Payload::from(Vec::new())), Consent::Majority);
        let end = self.grid.world.now() + Duration::from_secs(60);
        match self.step(end) {
            Some(Happened::Changed(of, Ok(changed))) if of == id => self.cap = Some(changed.cap.clone()),
            other => panic!("the directory was not made: {other:?}"),
        }
    }

    fn add(&mut self, writer: usize, consent: Consent) {
        let number = self.at[writer];
        let (metadata, replace, seen) = (None, Replace::Nothing, Seen::Unchecked);
        let link =
            Edit::Link { name: name(writer, number), child: child(writer, number), metadata, replace, seen };
        let node = self.grid.clients[writer];
        let id = self.change(node, Change::Edit(Edits(vec![link])), consent);
        self.under_way.insert(id, (writer, number));
    }

    fn write(&mut self, spec: &Writers) {
        for writer in 0..usize::from(spec.writers) {
            self.add(writer, spec.consent);
        }
        for _ in 0..spec.faults {
            let pause = self.chance.duration(Duration::from_millis(50)..Duration::from_secs(12));
            self.grid.world.set_timer(pause, FAULT);
        }
        let end = self.grid.world.now() + Duration::from_secs(3_600);
        while self.at.iter().any(|at| *at < spec.names) {
            match self.step(end) {
                None => {
                    self.written
                        .wrong
                        .push(format!("hangs: {:?} of {} names are added", self.at, spec.names));
                    return;
                }
                Some(Happened::Timer(FAULT)) => self.fault(),
                Some(Happened::Timer(timer)) if timer >= AGAIN => {
                    let writer = (timer - AGAIN) as usize;
                    let busy = self.under_way.values().any(|(of, _)| *of == writer);
                    if self.grid.world.is_up(self.grid.clients[writer])
                        && !busy
                        && self.at[writer] < spec.names
                    {
                        self.add(writer, spec.consent);
                    }
                }
                Some(Happened::Timer(timer)) => self.mend(timer),
                Some(Happened::Changed(id, result)) => {
                    let Some((writer, number)) = self.under_way.remove(&id) else { continue };
                    match result {
                        Ok(_) => {
                            self.acknowledged.insert((writer, number));
                            self.at[writer] += 1;
                        }
                        Err(error) => {
                            self.written.refused += 1;
                            let why = error.to_string();
                            // An earlier attempt of which nothing was heard may have succeeded.
                            if why.contains("already") {
                                self.at[writer] += 1;
                            }
                            let why = why.split(';').next().unwrap_or_default().to_owned();
                            *self.written.reasons.entry(why).or_default() += 1;
                        }
                    }
                    if self.at[writer] < spec.names {
                        let pause = self.chance.duration(Duration::ZERO..Duration::from_millis(500));
                        self.grid.world.set_timer(pause, AGAIN + writer as u64);
                    }
                }
            }
        }
    }

    fn fault(&mut self) {
        let later = self.chance.duration(Duration::from_millis(200)..Duration::from_secs(8));
        match self.chance.below(5) {
            0 => {
                let writer = self.chance.below(self.at.len() as u64) as usize;
                let node = self.grid.clients[writer];
                if self.grid.world.is_up(node) {
                    self.grid.world.crash(node, Crash::Kill);
                    self.under_way.retain(|_, (of, _)| *of != writer);
                    self.written.crashes += 1;
                    self.grid.world.set_timer(later, 100 + writer as u64);
                }
            }
            1 | 2 => {
                let server = self.chance.below(self.grid.servers.len() as u64) as usize;
                let crash = if self.chance.one_in(2) { Crash::Kill } else { Crash::PowerCut };
                if self.grid.world.is_up(self.grid.servers[server]) {
                    self.grid.world.crash(self.grid.servers[server], crash);
                    self.written.crashes += 1;
                    self.grid.world.set_timer(later, 10 + server as u64);
                }
            }
            3 => {
                let servers = self.grid.servers.clone();
                let mut apart: Vec<NodeId> = servers.into_iter().filter(|_| self.chance.one_in(2)).collect();
                apart.push(*self.chance.pick(&self.grid.clients));
                self.grid.world.partition(&apart);
                self.grid.world.set_timer(later, 2);
            }
            _ => {
                let pick = self.chance.draw();
                self.grid.world.break_connection(pick);
            }
        }
    }

    fn mend(&mut self, timer: u64) {
        match timer {
            2 => self.grid.world.heal(),
            10..100 => self.grid.world.start(self.grid.servers[timer as usize - 10]),
            100..AGAIN => {
                let writer = timer as usize - 100;
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
        self.grid.start_all();
        let rest = self.grid.world.now() + Duration::from_secs(60);
        while self.step(rest).is_some() {}
        let unlink = |(writer, number): &(usize, u32)| {
            let (name, seen) = (name(*writer, *number), Seen::Unchecked);
            Edit::Unlink { name, must_exist: true, only: Only::Anything, seen }
        };
        for acknowledged in self.acknowledged.clone() {
            // Removing one after the other tells each that is missing.
            let edits = Edits(vec![unlink(&acknowledged)]);
            // Servers that were down are connected to again after a while.
            let mut left = 10;
            let error = loop {
                let id = self.change(self.grid.clients[0], Change::Edit(edits.clone()), Consent::Majority);
                let end = self.grid.world.now() + Duration::from_secs(600);
                let result = loop {
                    match self.step(end) {
                        Some(Happened::Changed(of, result)) if of == id => break result,
                        Some(_) => {}
                        None => return self.written.wrong.push("hangs at the end".into()),
                    }
                };
                left -= 1;
                match result {
                    Ok(_) => break None,
                    Err(error) if matches!(*error, ChangeError::Edit { .. }) || left == 0 => {
                        break Some(error);
                    }
                    Err(_) => {
                        let pause = self.grid.world.now() + Duration::from_secs(30);
                        while self.step(pause).is_some() {}
                    }
                }
            };
            if let Some(error) = error {
                self.written.wrong.push(format!("{acknowledged:?} was acknowledged: {error}"));
            }
        }
    }
}

#[derive(Debug)]
enum Happened {
    Changed(OperationId, Result<Box<Changed>, Box<ChangeError>>),
    Timer(u64),
}
