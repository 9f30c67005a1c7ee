//! The programs that use a grid's clients: they put files and get them back, and compare.
//!
//! The model is a list of files: what was put, under which capability it is to be found. Every byte
//! that a download delivers is compared the moment it comes.

use crate::chance::Chance;
use crate::probes::{Counts, Probe};
use crate::stand_in;
use crate::{NodeId, World};
use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use tallac_core::capability::{Capability, ChkCap};
use tallac_core::download::DownloadError;
use tallac_core::identity::ServerId;
use tallac_core::node::Node;
use tallac_core::operation::{Command, KeyChoice, OperationId, Report};
use tallac_core::payload::Payload;
use tallac_core::peers::AskError;
use tallac_core::task::{ServerTrouble, Trouble};
use tallac_core::upload::{PlannedShare, UploadError, UploadPlan, UploadStage, Uploaded};

/// Timers from here on belong to this module.
const OWN_TIMERS: u64 = 1 << 63;

/// A file that was stored.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// What reads it.
    pub cap: Capability,
    /// What it holds.
    pub content: Payload,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// Stored and acknowledged.
    Stored(Box<Uploaded>),
    /// Not stored.
    NotStored(Box<UploadError>),
    /// Every byte came and was right.
    Read,
    /// Not (all) read.
    NotRead(Box<DownloadError>),
    /// Given up by the program.
    Cancelled,
    /// The node went down under it.
    Crashed,
}

/// An upload, as the program sees it.
struct Put {
    content: Payload,
    given: u64,
    granted: u64,
    ended: bool,
    plan: Option<Box<UploadPlan>>,
    /// It has begun to complete shares.
    closing: bool,
}

/// A download, as the program sees it.
struct Get {
    expected: Payload,
    received: u64,
    granted: u64,
}

enum Kind {
    Put(Put),
    Get(Get),
}

struct Operation {
    node: NodeId,
    kind: Kind,
    ended: Option<Ended>,
    began: Duration,
}

/// Uploads and downloads under way and ended.
pub struct Operations {
    chance: Chance,
    operations: BTreeMap<u64, Operation>,
    /// How many there were.
    begun: u64,
    under_way: usize,
    files: Vec<StoredFile>,
    /// Whether it is looked up, at each acknowledgement, that what was promised is durable.
    pub looks_under_acks: bool,
    /// Servers whose word is not believed.
    distrusted: BTreeSet<NodeId>,
    violations: Vec<String>,
    counts: Counts,
    acks: u64,
}

impl Operations {
    pub(crate) fn new(seed: u64) -> Operations {
        Operations {
            chance: Chance::named(seed, "operations"),
            operations: BTreeMap::new(),
            begun: 0,
            under_way: 0,
            files: Vec::new(),
            looks_under_acks: true,
            distrusted: BTreeSet::new(),
            violations: Vec::new(),
            counts: Counts::default(),
            acks: 0,
        }
    }

    /// Puts a file through a client.
    pub fn put(
        &mut self,
        world: &mut World<Node>,
        node: NodeId,
        content: Payload,
        key: KeyChoice,
        tell_len: bool,
    ) -> OperationId {
        let len = tell_len.then_some(content.len());
        let put = Put { content, given: 0, granted: 0, ended: false, plan: None, closing: false };
        let id = self.begin(world, node, Kind::Put(put));
        world.command(node, Command::Upload { id, len, key });
        self.give(id, world);
        id
    }

    /// Gets a range of a stored file through a client.
    pub fn get(
        &mut self,
        world: &mut World<Node>,
        node: NodeId,
        file: &StoredFile,
        range: Range<u64>,
    ) -> OperationId {
        let expected = file.content.slice(range.clone());
        match &file.cap {
            Capability::Chk(cap) => self.get_expecting(world, node, cap.clone(), range, expected),
            Capability::Literal(literal) => {
                let data = &literal.data()[range.start as usize..range.end as usize];
                if *data != stand_in::bytes_of(&expected)[..] {
                    self.violations.push("a literal capability holds wrong bytes".into());
                }
                let get = Get { received: expected.len(), expected, granted: 0 };
                let id = self.begin(world, node, Kind::Get(get));
                self.end(id, Ended::Read);
                id
            }
            other => panic!("no upload yields {other:?}"),
        }
    }

    /// Gets a range that should hold these bytes.
    pub fn get_expecting(
        &mut self,
        world: &mut World<Node>,
        node: NodeId,
        cap: ChkCap,
        range: Range<u64>,
        expected: Payload,
    ) -> OperationId {
        let id = self.begin(world, node, Kind::Get(Get { expected, received: 0, granted: 0 }));
        world.command(node, Command::Download { id, cap, range });
        self.allow(id, world);
        id
    }

    /// Gives an operation up.
    pub fn cancel(&mut self, world: &mut World<Node>, id: OperationId) {
        let Some(operation) = self.operations.get(&id.0).filter(|operation| operation.ended.is_none()) else {
            return;
        };
        let kind =
            if matches!(operation.kind, Kind::Put(_)) { Probe::PutsCancelled } else { Probe::GetsCancelled };
        world.command(operation.node, Command::Cancel { id });
        self.count(kind);
        self.end(id, Ended::Cancelled);
    }

    /// How an operation ended, if it has.
    pub fn ended(&self, id: OperationId) -> Option<&Ended> {
        self.operations.get(&id.0)?.ended.as_ref()
    }

    /// How many operations have not ended.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// The operations that have not ended: what they are, and since when.
    pub fn list_under_way(&self) -> Vec<String> {
        let open = self.operations.iter().filter(|(_, operation)| operation.ended.is_none());
        open.map(|(id, operation)| {
            let what = match &operation.kind {
                Kind::Put(put) => format!("put of {} bytes, {} given", put.content.len(), put.given),
                Kind::Get(get) => format!("get of {} bytes, {} received", get.expected.len(), get.received),
            };
            format!("operation {id} on {:?} since {:?}: {what}", operation.node, operation.began)
        })
        .collect()
    }

    /// The operations under way on a node.
    pub fn open_on(&self, node: NodeId) -> Vec<OperationId> {
        let open = |operation: &Operation| operation.node == node && operation.ended.is_none();
        let open = self.operations.iter().filter(|(_, operation)| open(operation));
        open.map(|(id, _)| OperationId(*id)).collect()
    }

    /// How operations ended, one after another: to compare two runs.
    pub(crate) fn ends(&self) -> impl Iterator<Item = u8> {
        self.operations.values().map(|operation| match &operation.ended {
            None => 0,
            Some(Ended::Stored(uploaded)) if uploaded.trouble.is_empty() => 1,
            Some(Ended::Stored(_)) => 2,
            Some(Ended::NotStored(_)) => 3,
            Some(Ended::Read) => 4,
            Some(Ended::NotRead(_)) => 5,
            Some(Ended::Cancelled) => 6,
            Some(Ended::Crashed) => 7,
        })
    }

    /// The files acknowledged so far.
    pub fn files(&self) -> &[StoredFile] {
        &self.files
    }

    /// How many uploads were acknowledged.
    pub fn acks(&self) -> u64 {
        self.acks
    }

    /// How many operations there were.
    pub fn total(&self) -> usize {
        self.begun as usize
    }

    /// Keeps nothing more of operations that have ended: where there are very many, that adds up.
    pub fn forget_ended(&mut self) {
        self.operations.retain(|_, operation| operation.ended.is_none());
    }

    /// How many uploads may have completed shares without being acknowledged.
    pub fn half_closed(&self) -> usize {
        let half = |operation: &&Operation| {
            matches!(&operation.kind, Kind::Put(Put { closing: true, .. }))
                && !matches!(operation.ended, Some(Ended::Stored(_)))
        };
        self.operations.values().filter(half).count()
    }

    /// What was found wrong.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// What nodes gave as reasons when something failed, as people and logs get them.
    pub fn complaints(&self) -> Vec<String> {
        let complaint = |operation: &Operation| match operation.ended.as_ref()? {
            Ended::NotStored(error) => Some(format!("{error} {error:?}")),
            Ended::NotRead(error) => Some(format!("{error} {error:?}")),
            Ended::Stored(uploaded) => Some(format!("{:?} {:?}", uploaded.plan, uploaded.trouble)),
            Ended::Read | Ended::Cancelled | Ended::Crashed => None,
        };
        self.operations.values().filter_map(complaint).collect()
    }

    /// How often what happened.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A server may say that it has what it has not.
    pub fn distrust(&mut self, server: NodeId) {
        self.distrusted.insert(server);
    }

    pub(crate) fn count(&mut self, what: Probe) {
        self.counts.add(what, 1);
    }

    fn count_trouble(&mut self, trouble: &[ServerTrouble]) {
        for ServerTrouble { trouble, .. } in trouble {
            match trouble {
                Trouble::NoSpace => self.count(Probe::PutsFullServer),
                Trouble::BadShare { .. } => self.count(Probe::PutsBadShare),
                Trouble::Ask(AskError::Silent(_)) => self.count(Probe::PutsSilentServer),
                Trouble::NoShares
                | Trouble::BadMutableShare { .. }
                | Trouble::Ask(_)
                | Trouble::Nonsense(_) => {}
            }
        }
    }

    fn begin(&mut self, world: &World<Node>, node: NodeId, kind: Kind) -> OperationId {
        let id = self.begun;
        self.begun += 1;
        self.operations.insert(id, Operation { node, kind, ended: None, began: world.now() });
        self.under_way += 1;
        OperationId(id)
    }

    fn end(&mut self, id: OperationId, ended: Ended) {
        let operation = self.operations.get_mut(&id.0).expect("operations are kept");
        if operation.ended.is_none() {
            self.under_way -= 1;
            operation.ended = Some(ended);
        }
    }

    /// Gives an upload the bytes it was granted, in pieces of any size.
    fn give(&mut self, id: OperationId, world: &mut World<Node>) {
        let Some(operation) = self.operations.get_mut(&id.0) else { return };
        let node = operation.node;
        let (Kind::Put(put), None) = (&mut operation.kind, &operation.ended) else { return };
        while put.given < put.content.len() && put.granted > 0 {
            let most = put.granted.min(put.content.len() - put.given);
            let len = 1 + self.chance.below(most.min(200_000));
            let data = put.content.slice(put.given..put.given + len);
            put.given += len;
            put.granted -= len;
            world.command(node, Command::UploadData { id, data });
            if self.chance.one_in(20) {
                // The program is slow at times.
                let pause = self.chance.duration(Duration::ZERO..Duration::from_secs(2));
                return world.set_timer(pause, OWN_TIMERS | id.0);
            }
        }
        if put.given == put.content.len() && !core::mem::replace(&mut put.ended, true) {
            world.command(node, Command::UploadEnd { id });
        }
    }

    /// Grants a download more bytes.
    fn allow(&mut self, id: OperationId, world: &mut World<Node>) {
        let Some(operation) = self.operations.get_mut(&id.0) else { return };
        let (Kind::Get(get), None) = (&mut operation.kind, &operation.ended) else { return };
        if get.granted <= get.received {
            let bytes = 1 + self.chance.below(150_000);
            get.granted += bytes;
            world.command(operation.node, Command::DownloadGrant { id, bytes });
        }
    }

    /// Whether a timer was one of this module's.
    pub(crate) fn timer(&mut self, timer: u64, world: &mut World<Node>) -> bool {
        if timer & OWN_TIMERS == 0 {
            return false;
        }
        let id = OperationId(timer & !OWN_TIMERS);
        self.give(id, world);
        self.allow(id, world);
        true
    }

    pub(crate) fn crashed(&mut self, node: NodeId) -> usize {
        let hit: Vec<u64> = (self.operations.iter())
            .filter(|(_, operation)| operation.node == node && operation.ended.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in &hit {
            self.end(OperationId(*id), Ended::Crashed);
        }
        hit.len()
    }

    pub(crate) fn report(
        &mut self,
        node: NodeId,
        report: Report,
        world: &mut World<Node>,
        servers: &BTreeMap<ServerId, NodeId>,
    ) {
        // Changes and errands are others' (the slots and the writers).
        if matches!(report, Report::Changed { .. } | Report::Errand { .. }) {
            return;
        }
        let Some(id) = report.operation() else { return };
        let Some(operation) = self.operations.get_mut(&id.0) else {
            return self.violations.push(format!("{node:?} reports of an operation nobody began"));
        };
        match (&operation.ended, operation.node == node) {
            (None, true) => {}
            // A crash takes away what was reported and not yet seen; a cancel crosses reports.
            (Some(Ended::Crashed | Ended::Cancelled), true) => return,
            _ => return self.violations.push(format!("{id:?} reports after its end: {report:?}")),
        }
        match (&mut operation.kind, report) {
            (Kind::Put(put), Report::UploadGrant { bytes, .. }) => {
                put.granted += bytes;
                self.give(id, world);
            }
            (Kind::Put(put), Report::UploadPlanned { plan, .. }) => put.plan = Some(plan),
            (Kind::Put(put), Report::UploadProgress { progress, .. }) => {
                put.closing |= progress.stage == UploadStage::Closing;
                if progress.confirmed > progress.size {
                    self.violations.push(format!("{id:?} is further than its end: {progress:?}"));
                }
            }
            (Kind::Put(_), Report::Uploaded { result, .. }) => self.uploaded(id, result, world, servers),
            (Kind::Get(get), Report::DownloadData { data, .. }) => {
                let end = get.received + data.len();
                if get.granted < end {
                    self.violations.push(format!("{id:?} delivers more than was granted"));
                }
                let is_right = end <= get.expected.len()
                    && stand_in::is_same(&data, &get.expected.slice(get.received..end));
                if !is_right {
                    self.violations.push(format!("{id:?} delivers wrong bytes at {}..{end}", get.received));
                }
                get.received = end;
                if self.chance.one_in(20) {
                    let pause = self.chance.duration(Duration::ZERO..Duration::from_secs(2));
                    world.set_timer(pause, OWN_TIMERS | id.0);
                } else {
                    self.allow(id, world);
                }
            }
            (Kind::Get(get), Report::Downloaded { result, .. }) => match result {
                Ok(()) => {
                    if get.received != get.expected.len() {
                        self.violations.push(format!("{id:?} ends well with bytes missing"));
                    }
                    self.count(Probe::GetsDone);
                    self.end(id, Ended::Read);
                }
                Err(error) => {
                    self.count(Probe::GetsFailed);
                    self.end(id, Ended::NotRead(error));
                }
            },
            (_, report) => self.violations.push(format!("{id:?} is not of the kind of {report:?}")),
        }
    }

    fn uploaded(
        &mut self,
        id: OperationId,
        result: Result<Box<Uploaded>, Box<UploadError>>,
        world: &mut World<Node>,
        servers: &BTreeMap<ServerId, NodeId>,
    ) {
        let Kind::Put(put) = &mut self.operations.get_mut(&id.0).expect("looked up by the caller").kind
        else {
            return;
        };
        let uploaded = match result {
            Ok(uploaded) => uploaded,
            Err(error) => {
                self.count(Probe::PutsFailed);
                if let UploadError::Unhappy { trouble, .. } = &*error {
                    self.count_trouble(trouble);
                }
                return self.end(id, Ended::NotStored(error));
            }
        };
        let (content, planned) = (put.content.clone(), put.plan.take());
        self.acks += 1;
        self.count(Probe::PutsDone);
        self.count_trouble(&uploaded.trouble);
        if let Some(plan) = &uploaded.plan {
            if planned.is_some_and(|planned| planned.shares != plan.shares) {
                self.count(Probe::PutsElsewhere);
            }
            if plan.shares.iter().any(|share| share.already_there) {
                self.count(Probe::PutsInPlace);
            }
            if !uploaded.trouble.is_empty() {
                self.count(Probe::PutsInSpite);
            }
            let truly = happiness(&plan.shares);
            if plan.happiness != truly {
                let text = format!("{id:?} claims a happiness of {}, which is {truly}", plan.happiness);
                self.violations.push(text);
            }
            if plan.happiness < plan.happy {
                self.violations.push(format!("{id:?} is acknowledged below the happiness it wants"));
            }
            let index = uploaded.cap.storage_index().expect("a file in shares has an index");
            for share in plan.shares.iter().filter(|_| self.looks_under_acks) {
                let server = servers.get(&share.server).copied();
                if server.is_some_and(|server| self.distrusted.contains(&server)) {
                    continue;
                }
                if !server.is_some_and(|server| world.disk(server).keeps_share(index, share.share)) {
                    let text = format!(
                        "{id:?} is acknowledged, but share {} is not durable on {} (already there: {})",
                        share.share, share.nickname, share.already_there
                    );
                    self.violations.push(text);
                }
            }
        }
        self.files.push(StoredFile { cap: uploaded.cap.clone(), content });
        self.end(id, Ended::Stored(uploaded));
    }
}

/// How many servers can be given a share of their own of those they hold: counted apart from the core.
fn happiness(shares: &[PlannedShare]) -> usize {
    let mut held: BTreeMap<ServerId, Vec<u16>> = BTreeMap::new();
    shares.iter().for_each(|planned| held.entry(planned.server).or_default().push(planned.share));
    let mut owner: BTreeMap<u16, ServerId> = BTreeMap::new();
    fn find(
        server: ServerId,
        held: &BTreeMap<ServerId, Vec<u16>>,
        owner: &mut BTreeMap<u16, ServerId>,
        tried: &mut BTreeSet<u16>,
    ) -> bool {
        held[&server].iter().any(|share| {
            if !tried.insert(*share) {
                return false;
            }
            let is_free = match owner.get(share).copied() {
                Some(other) => find(other, held, owner, tried),
                None => true,
            };
            if is_free {
                owner.insert(*share, server);
            }
            is_free
        })
    }
    held.keys().filter(|server| find(**server, &held, &mut owner, &mut BTreeSet::new())).count()
}
