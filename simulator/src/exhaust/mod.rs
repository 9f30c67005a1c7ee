//! Every order of things, up to a bound: three servers, two writers of one directory, one crash.
//!
//! A run goes on from choice to choice: which frame arrives next, who goes down, whether time passes
//! before a frame arrives. Without a *turn* it takes what is next: all that concerns the first writer,
//! then all of the second. [`explore`] makes every run with at most so many turns, at the first so many
//! choices; a state that was reached before with as many turns left is not gone on from again. All runs
//! end the same way: everybody is up, the directory can be read, it has every name that was acknowledged,
//! and no two changes were acknowledged under one number.

mod small;

use crate::GridSpec;
use crate::disk::Disk;
use core::fmt;
use core::time::Duration;
use small::{Known, SERVERS, Small, To, WRITERS, writer};
use std::collections::HashMap;
use tallac_core::capability::{Capability, DirectoryCap, LiteralCap, MutableCap, MutableFormat};
use tallac_core::directory::{Child, DirectoryKind, Edit, Metadata, Name, Path, Replace, Seen, Table};
use tallac_core::drive::{Done, Errand, Keep, NewDirectory, Place};
use tallac_core::encoding::EncodingParams;
use tallac_core::mutable::{Change, Consent, Edits, Subject, Version};
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::payload::Payload;
use tallac_core::time::UnixTime;

/// How far to go.
#[derive(Clone, Debug)]
pub struct Exhaust {
    /// How often in one run something else happens than what is next.
    pub turns: u32,
    /// At how many choices from the beginning of a run that may be.
    pub depth: u32,
    /// How many nodes go down in one run: 0 or 1.
    pub crashes: u32,
    /// How often in one run time passes while frames are on their way.
    pub waits: u32,
    /// How many of the three shares suffice to read.
    pub needed: u8,
    /// When a change counts.
    pub consent: Consent,
    /// Whether a writer who was beaten applies his edit again to what is there then; else he writes the
    /// table that he made of what he read first.
    pub applies_again: bool,
    /// No more states than these are looked at.
    pub states_max: usize,
}

impl Default for Exhaust {
    fn default() -> Exhaust {
        Exhaust {
            turns: 2,
            depth: u32::MAX,
            crashes: 1,
            waits: 1,
            needed: 2,
            consent: Consent::Majority,
            applies_again: true,
            states_max: usize::MAX,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Runs made, whole or up to a state that was known.
    pub runs: u64,
    /// Different states in which there was a choice.
    pub states: usize,
    /// Runs that went to their end.
    pub ends: u64,
    /// Changes acknowledged in these.
    pub acknowledged: u64,
    /// The most choices in one run.
    pub longest: usize,
    /// `states_max` was reached before all was tried.
    pub cut_short: bool,
    /// The first run that goes wrong: what is wrong, and what happened.
    pub wrong: Option<(String, Vec<String>)>,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explored { runs, states, ends, acknowledged, longest, cut_short, wrong } = self;
        write!(f, "{states} states in {runs} runs of up to {longest} choices; {ends} went to their end, ")?;
        write!(f, "with {acknowledged} changes acknowledged")?;
        if *cut_short {
            f.write_str("; not all was tried")?;
        }
        let Some((wrong, story)) = wrong else { return Ok(()) };
        write!(f, "\n{wrong}")?;
        story.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

/// One thing that can happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Choice {
    Deliver { writer: usize, server: usize, to: To },
    Kill(usize),
    Restart(usize),
    Wait,
}

/// What every run begins with.
struct Beginning {
    spec: GridSpec,
    disks: Vec<Disk>,
    cap: MutableCap,
}

/// The names that are in the directory before anybody writes.
const FOREIGN: [&str; 2] = ["a file", "of a kind to come"];
/// How long a run may take once nothing else happens.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Makes all runs within the bound.
pub fn explore(spec: &Exhaust) -> Explored {
    let mut known = Known::new();
    let beginning = begin(spec, &mut known);
    let mut explored = Explored::default();
    // The most turns that were left in a state.
    let mut seen: HashMap<u64, u32> = HashMap::new();
    // What is still to be tried: the turns of a run, each at its choice.
    let mut open: Vec<Vec<(usize, Choice)>> = vec![Vec::new()];
    while let Some(turns) = open.pop() {
        explored.runs += 1;
        let mut run = Run::new(spec, &beginning, &mut known);
        let from = turns.last().map_or(0, |(at, _)| at + 1);
        let mut is_new = true;
        for at in 0.. {
            let choices = run.choices();
            let Some(next) = choices.first().copied() else { break };
            let turn = turns.iter().find(|(of, _)| *of == at).map(|(_, choice)| *choice);
            if at >= from && choices.len() > 1 {
                let left = spec.turns - turns.len() as u32;
                let before = seen.get(&run.state()).copied();
                if before.is_some_and(|before| before >= left) {
                    is_new = false;
                    break;
                }
                if before.is_none() && seen.len() >= spec.states_max {
                    explored.cut_short = true;
                    is_new = false;
                    break;
                }
                seen.insert(run.state(), left);
                if left > 0 && at < spec.depth as usize {
                    let more = choices[1..].iter().map(|choice| {
                        let mut turns = turns.clone();
                        turns.push((at, *choice));
                        turns
                    });
                    open.extend(more);
                }
            }
            run.take(turn.unwrap_or(next), turn.is_some());
            explored.longest = explored.longest.max(at + 1);
        }
        if is_new {
            explored.ends += 1;
            run.finish();
            explored.acknowledged += run.acknowledged.len() as u64;
        }
        if let Some(wrong) = run.wrong.into_iter().next() {
            explored.wrong = Some((wrong, run.story));
            break;
        }
    }
    explored.states = seen.len();
    explored
}

fn name(writer: usize) -> Name {
    Name::new(&format!("of writer {writer}")).expect("a good name")
}

fn child(text: &str) -> Child {
    let cap = LiteralCap::new(text.as_bytes().to_vec()).expect("it is short").to_string();
    Child::new(None, Some(&cap), DirectoryKind::Mutable).expect("a good child")
}

fn link(writer: usize) -> Edit {
    let name = name(writer);
    let child = child(&format!("{writer}"));
    Edit::Link { name, child, metadata: None, replace: Replace::Nothing, seen: Seen::Unchecked }
}

/// Has the directory made, once for all runs.
fn begin(spec: &Exhaust, known: &mut Known) -> Beginning {
    let encoding = EncodingParams::new(spec.needed.into(), 3, 4096).expect("within bounds");
    let grid = GridSpec { servers: 3, clients: 2, encoding, happy: Some(1), ..GridSpec::default() };
    let mut small = Small::new(&grid, None);
    (0..SERVERS + WRITERS).for_each(|party| small.start(party, known));
    small.settle(known);
    let children =
        FOREIGN.map(|text| (Name::new(text).expect("a good name"), child(text), Metadata::default()));
    let new = NewDirectory { keep: Keep::Mutable(MutableFormat::Sdmf, None), children: children.into() };
    let errand = Box::new(Errand::Make { place: None, new });
    small.command(writer(0), Command::Errand { id: OperationId(0), errand }, known);
    loop {
        while let Some((_, report)) = small.reports.pop_front() {
            if let Report::Errand { result: Ok(done), .. } = &report
                && let Done::Made { cap: DirectoryCap::Mutable(cap), .. } = &**done
            {
                let (cap, disks) = (cap.clone(), small.disks());
                return Beginning { spec: grid, disks, cap };
            }
        }
        let next = small.waiting().next();
        match next {
            Some((writer, server, to)) => small.deliver(writer, server, to, known),
            None if small.pass(PATIENCE, known) => {}
            None => panic!("the directory is not made"),
        }
    }
}

/// How far a writer is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Hand {
    /// He reads the table that he is going to write.
    Reads,
    /// He changes the directory.
    Writes,
    Ended,
}

struct Run<'a> {
    spec: &'a Exhaust,
    known: &'a mut Known,
    small: Small,
    cap: &'a MutableCap,
    hands: [Hand; WRITERS],
    /// Whose turn it is.
    turn: usize,
    crashes: u32,
    waits: u32,
    down: Option<usize>,
    acknowledged: Vec<(usize, Version)>,
    looked: Option<Result<Option<Table>, String>>,
    story: Vec<String>,
    wrong: Vec<String>,
    next: u64,
}

/// The operations of the writers are numbered by them.
const LOOK: u64 = 100;

impl<'a> Run<'a> {
    fn new(spec: &'a Exhaust, beginning: &'a Beginning, known: &'a mut Known) -> Run<'a> {
        let mut small = Small::new(&beginning.spec, Some(&beginning.disks));
        (0..SERVERS + WRITERS).for_each(|party| small.start(party, known));
        small.settle(known);
        let mut run = Run {
            spec,
            known,
            small,
            cap: &beginning.cap,
            hands: [Hand::Ended, Hand::Ended],
            turn: 0,
            crashes: 0,
            waits: 0,
            down: None,
            acknowledged: Vec::new(),
            looked: None,
            story: Vec::new(),
            wrong: Vec::new(),
            next: LOOK,
        };
        (0..WRITERS).for_each(|number| run.set_out(number));
        run
    }

    fn set_out(&mut self, number: usize) {
        if self.spec.applies_again {
            self.hands[number] = Hand::Writes;
            self.change(number, Change::Edit(Edits(vec![link(number)])));
        } else {
            self.hands[number] = Hand::Reads;
            self.look(number, OperationId(number as u64));
        }
    }

    fn change(&mut self, number: usize, change: Change) {
        // The second operation of a writer who read first.
        let id = OperationId(number as u64 + 10);
        let subject = Subject::Existing(self.cap.clone());
        let command = Command::Change { id, subject, change, consent: self.spec.consent };
        self.small.command(writer(number), command, self.known);
        self.hear();
    }

    fn look(&mut self, number: usize, id: OperationId) {
        let start = Capability::Directory(DirectoryCap::Mutable(self.cap.clone()));
        let errand = Errand::Look { place: Place { start, path: Path::default() }, list: true };
        self.small.command(writer(number), Command::Errand { id, errand: Box::new(errand) }, self.known);
        self.hear();
    }

    fn state(&self) -> u64 {
        use core::hash::{Hash, Hasher};
        let mut hasher = std::hash::DefaultHasher::new();
        (self.small.state(), &self.hands, self.turn, self.crashes, self.waits, self.down).hash(&mut hasher);
        self.acknowledged.hash(&mut hasher);
        hasher.finish()
    }

    fn is_busy(&self) -> bool {
        self.hands.iter().any(|hand| *hand != Hand::Ended)
    }

    /// What can happen, what is next first. Nothing, once both have ended and nothing is on its way.
    fn choices(&self) -> Vec<Choice> {
        let mut choices: Vec<Choice> =
            self.small.waiting().map(|(writer, server, to)| Choice::Deliver { writer, server, to }).collect();
        // What concerns the one whose turn it is comes first; the rest keeps its order.
        let is_others = |choice: &Choice| !matches!(choice, Choice::Deliver { writer: of, .. } if *of == writer(self.turn));
        choices.sort_by_key(is_others);
        let on_their_way = !choices.is_empty();
        if !on_their_way && !self.is_busy() {
            return choices;
        }
        if !on_their_way || self.waits < self.spec.waits {
            choices.push(Choice::Wait);
        }
        if self.crashes < self.spec.crashes {
            let works = |party: &usize| *party < SERVERS || self.hands[party - SERVERS] != Hand::Ended;
            choices.extend((0..SERVERS + WRITERS).filter(works).map(Choice::Kill));
        }
        choices.extend(self.down.filter(|party| *party < SERVERS).map(Choice::Restart));
        choices
    }

    fn take(&mut self, choice: Choice, is_turn: bool) {
        let mark = if is_turn { "turn: " } else { "" };
        match choice {
            Choice::Deliver { writer: of, server, to } => {
                let what = self.small.next(of, server, to);
                let number = of - SERVERS;
                self.story.push(match to {
                    To::Server => format!("{mark}{what} of writer {number} reaches server {server}"),
                    To::Writer => format!("{mark}{what} of server {server} reaches writer {number}"),
                });
                self.turn = number;
                self.small.deliver(of, server, to, self.known);
            }
            Choice::Kill(party) => {
                self.story.push(format!("{mark}{} goes down", called(party)));
                self.crashes += 1;
                self.down = Some(party);
                if party >= SERVERS {
                    self.hands[party - SERVERS] = Hand::Ended;
                }
                self.small.kill(party, self.known);
            }
            Choice::Restart(party) => {
                self.story.push(format!("{mark}{} comes back", called(party)));
                self.down = None;
                self.small.start(party, self.known);
                self.small.settle(self.known);
            }
            Choice::Wait => {
                let on_their_way = self.small.waiting().next().is_some();
                self.waits += u32::from(on_their_way);
                if !self.small.pass(PATIENCE, self.known) {
                    self.wrong.push("hangs: nothing more happens, and a change has not ended".into());
                    self.hands = [Hand::Ended, Hand::Ended];
                }
                self.story.push(format!("{mark}time passes, until {:?}", self.small.now()));
            }
        }
        self.hear();
    }

    /// Takes what the nodes report.
    fn hear(&mut self) {
        while let Some((party, report)) = self.small.reports.pop_front() {
            let number = party.saturating_sub(SERVERS);
            match report {
                Report::Changed { result, .. } => {
                    self.hands[number] = Hand::Ended;
                    match result {
                        Ok(changed) => self.acknowledge(number, changed.version),
                        Err(error) => self.story.push(format!("writer {number} gives up: {error}")),
                    }
                }
                Report::Errand { id, result } => {
                    let seen = match result {
                        Ok(done) => match *done {
                            Done::Seen(sight) => Ok(sight.table),
                            _ => Ok(None),
                        },
                        Err(error) => Err(error.to_string()),
                    };
                    if id.0 >= LOOK {
                        self.looked = Some(seen);
                    } else if let Ok(Some(table)) = seen {
                        self.overwrite(number, table);
                    } else {
                        self.hands[number] = Hand::Ended;
                    }
                }
                _ => {}
            }
        }
    }

    fn overwrite(&mut self, number: usize, mut table: Table) {
        self.hands[number] = Hand::Writes;
        match table.apply(&[link(number)], UnixTime(0)) {
            Ok(_) => self.change(number, Change::Overwrite(Payload::from(table.pack()))),
            Err(_) => self.hands[number] = Hand::Ended,
        }
    }

    fn acknowledge(&mut self, number: usize, version: Version) {
        let sequence = version.sequence;
        self.story.push(format!("writer {number} is told that version {sequence} is made"));
        if self.acknowledged.iter().any(|(_, other)| other.sequence == sequence) {
            self.wrong.push(format!("two changes were acknowledged as version {sequence}"));
        }
        self.acknowledged.push((number, version));
    }

    /// Has everybody up again and reads the directory.
    fn finish(&mut self) {
        let down: Vec<usize> = (0..SERVERS + WRITERS).filter(|party| !self.small.is_up(*party)).collect();
        for party in down {
            self.small.start(party, self.known);
        }
        self.small.settle(self.known);
        // Who was down is connected to again after a while.
        let end = self.small.now() + PATIENCE;
        let rest = self.small.now() + Duration::from_secs(150);
        while self.small.pass(rest, self.known) {
            self.deliver_all();
        }
        self.next += 1;
        self.look(0, OperationId(self.next));
        while self.looked.is_none() {
            self.deliver_all();
            if self.looked.is_none() && !self.small.pass(end, self.known) {
                return self.wrong.push("hangs: the directory is read for ever".into());
            }
            self.hear();
        }
        match self.looked.take() {
            Some(Ok(Some(table))) => self.compare(&table),
            Some(Ok(None)) => self.wrong.push("there is no directory in the end".into()),
            Some(Err(why)) => self.wrong.push(format!("the directory cannot be read in the end: {why}")),
            None => {}
        }
    }

    fn deliver_all(&mut self) {
        while let Some((writer, server, to)) = { self.small.waiting().next() } {
            self.small.deliver(writer, server, to, self.known);
        }
        self.hear();
    }

    fn compare(&mut self, table: &Table) {
        for text in FOREIGN {
            if table.get(&Name::new(text).expect("a good name")).is_none() {
                self.wrong.push(format!("lost: {text:?}, which was there from the beginning"));
            }
        }
        for (number, version) in &self.acknowledged {
            if table.get(&name(*number)).is_none() {
                let sequence = version.sequence;
                self.wrong.push(format!("lost: what writer {number} was told is in version {sequence}"));
            }
        }
    }
}

fn called(party: usize) -> String {
    if party < SERVERS { format!("server {party}") } else { format!("writer {}", party - SERVERS) }
}
