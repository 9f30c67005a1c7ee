//! A whole node: storage server, introducer, vdrive server, and client of all, as one machine.
//!
//! The node owns its parts and translates between them and the host: it gives actions their
//! numbers, finds the part an event is for, and lets what one part wants of another happen within
//! the same `handle`.

mod cache;
mod config;
mod journal;
mod keys;
mod locating;
mod operations;
mod parts;
mod status;
mod vdrive;

pub use config::{NodeConfig, StorageSetup, VdriveSetup};
pub use journal::{Activity, Entry, Stage, Standing, Totals};
pub use status::{Announced, Introducing, NodeStatus, ServerView, Subscriber};

use crate::announcement::{AnnouncementKey, STORAGE_SERVICE};
use crate::disk::{DiskOutput, DiskResult, DiskStep, StorePath};
use crate::drive::Drive;
use crate::entropy::Entropy;
use crate::identity::ServerId;
use crate::introducer::{IntroducerClient, IntroducerEvent, IntroducerServer};
use crate::io::Io;
use crate::job::JobOutput;
use crate::machine::{Action, ActionId, ConnId, Event, Machine, Protocol};
use crate::mutable::Subject;
use crate::operation::{Command, NoticeLevel, Report};
use crate::payload::Payload;
use crate::peers::{ConnEvent, Learned, Peers, ServerTable};
use crate::serving::{Access, Serving};
use crate::storage::{StorageEvent, StorageServer};
use crate::time::{Instant, Now};
use crate::vdrive::{RootRights, VdriveClient, VdriveEvent, VdriveServer};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use journal::Journal;
use keys::KeyPool;
use operations::Operations;

/// Longest cache of announcements that is read at start.
const CACHE_LEN_MAX: u64 = 64 * 1024 * 1024;
/// The cache is written this long after a change, so that a burst of changes is written once.
const CACHE_AFTER: Duration = Duration::from_secs(2);
/// It is written anew at least this often, since it tells when each server was last heard of.
const CACHE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// After a start, uploads wait up to this long for known servers to be reached.
const SETTLE_PATIENCE: Duration = Duration::from_secs(10);

/// What a disk action or job was for.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Storage(ActionId),
    Introducer(ActionId),
    Operation(operations::TaskOwner),
    Vdrive,
    Keys,
    ReadCache,
    WriteCache,
}

/// A node of a grid.
///
/// See [`Machine`] for how it is driven. What the embedding program asks of it are
/// [`Command`]s, what it is told are [`Report`]s.
pub struct Node {
    config: NodeConfig,
    server_id: ServerId,
    io: Io,
    serving: Serving,
    storage: Option<StorageServer>,
    introducer: Option<IntroducerServer>,
    introducers: IntroducerClient,
    vdrive: Option<Box<VdriveServer>>,
    shared_root: Option<Box<VdriveClient>>,
    peers: Peers,
    operations: Operations,
    drive: Drive,
    journal: Journal,
    keys: KeyPool,
    owners: BTreeMap<ActionId, Owner>,
    started: Instant,
    settled: bool,
    cache_read: bool,
    /// When the cache is written next; never, if none is kept.
    cache_due: Option<Instant>,
    stopping: bool,
    stopped: bool,
}

impl Machine for Node {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, event: Event, now: Now) {
        debug_assert!(!self.io.has_actions(), "take every action before the next event");
        match event {
            Event::Wake => {}
            Event::Accepted { conn, protocol: Protocol::Tallac, from } => {
                self.serving.accepted(conn, from, now, &mut self.io)
            }
            // The web side is another machine around this one; without it nobody serves the web.
            Event::Accepted { conn, protocol: Protocol::Web, .. } => self.io.abort(conn),
            Event::Received { .. } | Event::ReceivedEnd { .. } => {}
            Event::Connected { conn } => self.outbound(conn, ConnEvent::Connected, now),
            Event::Closed { conn, reason } => {
                if self.serving.owns(conn) {
                    self.serving.closed(conn);
                    if let Some(introducer) = &mut self.introducer {
                        introducer.handle(IntroducerEvent::Closed(conn), now);
                    }
                } else {
                    self.outbound(conn, ConnEvent::Closed(reason), now);
                }
            }
            Event::Frame { conn, frame } => {
                if self.serving.owns(conn) {
                    self.serving.frame(conn, frame, now, &mut self.io);
                } else {
                    self.outbound(conn, ConnEvent::Frame(frame), now);
                }
            }
            Event::Partial { conn } => {
                self.serving.partial(conn, now);
                self.outbound(conn, ConnEvent::Partial, now);
            }
            Event::Sent { conn, bytes } => {
                self.serving.sent(conn, bytes, &mut self.io);
                self.outbound(conn, ConnEvent::Sent(bytes), now);
            }
            Event::DiskDone { id, result } => self.disk_done(id, result, now),
            Event::JobDone { id, output } => self.job_done(id, output, now),
            Event::Command(command) => self.command(command, now),
        }
        self.wake_parts(now);
        self.settle(now);
        self.drain(now);
        self.end_stop();
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.io.poll()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.stopping {
            return None;
        }
        let settle = (!self.settled).then_some(self.started + SETTLE_PATIENCE);
        let storage = self.storage.as_ref().and_then(Machine::deadline);
        let parts = [
            settle,
            storage,
            self.serving.deadline(),
            self.peers.deadline(),
            self.introducers.deadline(),
            self.vdrive.as_deref().and_then(Machine::deadline),
            self.shared_root.as_deref().and_then(VdriveClient::deadline),
            self.operations.deadline(),
            self.cache_due,
        ];
        parts.into_iter().flatten().min()
    }
}

impl Node {
    /// A node that starts now. `seed` must be 32 bytes that nobody can guess; a node started twice
    /// with the same seed and the same events does the same.
    pub fn new(config: NodeConfig, seed: [u8; 32], now: Now) -> Node {
        let mut io = Io::new(Entropy::new(seed));
        let key = AnnouncementKey::from_bytes(config.announcement_key.expose());
        let storage = config.storage.as_ref();
        let nonce = storage.map(|_| io.entropy.bytes());
        // Who tells nobody signs nothing.
        let nonce = nonce.filter(|_| !config.introducers.is_empty());
        let own = nonce.map(|nonce| key.announce(config.sequence, &config.info, nonce));
        let mut services = Vec::new();
        services.extend(storage.map(|storage| (Access::Storage, storage.swissnum.clone())));
        services.extend(config.introducer.iter().map(|swissnum| (Access::Introducer, swissnum.clone())));
        if let Some(VdriveSetup { write, read_only }) = &config.vdrive {
            services.push((Access::Vdrive(RootRights::Write), write.clone()));
            services.push((Access::Vdrive(RootRights::ReadOnly), read_only.clone()));
        }
        let (preferred, refused) = (config.preferred_servers.clone(), config.refused_servers.clone());
        let table = ServerTable::new(config.servers.clone(), preferred, refused);
        let mut node = Node {
            server_id: key.server_id(),
            serving: Serving::new(services, config.program.clone()),
            storage: storage.map(|storage| StorageServer::new(storage.config.clone(), config.info.tub_id)),
            introducer: config.introducer.as_ref().map(|_| IntroducerServer::new()),
            introducers: IntroducerClient::new(config.introducers.clone(), own, &config.program),
            vdrive: config.vdrive.as_ref().map(|_| vdrive::server(&config, io.entropy.child()).into()),
            shared_root: (config.vdrives.clone())
                .map(|services| VdriveClient::new(services, &config.program, &mut io).into()),
            peers: Peers::new(table, config.peers.clone()),
            operations: Operations::new(io.entropy.child()),
            drive: Drive::new(),
            journal: Journal::default(),
            keys: KeyPool::new(config.ready_keys, io.entropy.child()),
            owners: BTreeMap::new(),
            started: now.instant,
            settled: false,
            cache_read: !config.keeps_cache,
            cache_due: config.keeps_cache.then_some(now.instant + CACHE_EVERY),
            stopping: false,
            stopped: false,
            io,
            config,
        };
        if node.config.keeps_cache {
            let step = DiskStep::Read { path: StorePath::AnnouncementCache, offset: 0, len: CACHE_LEN_MAX };
            node.disk(Owner::ReadCache, [step].into());
        }
        node.introducers.wake(now, &mut node.io);
        node.peers.table_changed(now, &mut node.io);
        node.drain(now);
        node
    }

    /// The id under which this node announces itself.
    pub fn server_id(&self) -> ServerId {
        self.server_id
    }

    fn outbound(&mut self, conn: ConnId, event: ConnEvent, now: Now) {
        if self.peers.owns(conn) {
            self.peers.handle(conn, event, now, &mut self.io);
        } else if self.introducers.owns(conn) {
            self.introducers.handle(conn, event, now, &mut self.io);
        } else if let Some(shared_root) = &mut self.shared_root
            && shared_root.owns(conn)
        {
            shared_root.handle(conn, event, now, &mut self.io);
        }
    }

    fn disk(&mut self, owner: Owner, steps: Vec<DiskStep>) {
        let id = self.io.disk(steps);
        self.owners.insert(id, owner);
    }

    fn disk_done(&mut self, id: ActionId, result: DiskResult, now: Now) {
        if let Some(shared_root) = &mut self.shared_root
            && shared_root.disk_done(id, &result, now, &mut self.io)
        {
            return;
        }
        match self.owners.remove(&id) {
            Some(Owner::Storage(id)) => {
                if let Some(storage) = &mut self.storage {
                    storage.handle(StorageEvent::DiskDone { id, result }, now);
                }
            }
            Some(Owner::Operation(owner)) => {
                self.operations.finished(owner, crate::task::Outcome::Disk(result), now)
            }
            Some(Owner::Vdrive) => self.vdrive_event(VdriveEvent::DiskDone(result), now),
            Some(Owner::ReadCache) => self.cache_was_read(result, now),
            Some(Owner::WriteCache) => {
                if let Err(failure) = result {
                    let text = format!("the list of known servers could not be saved: {}", failure.error);
                    self.io.notice(NoticeLevel::Warning, text);
                }
            }
            Some(Owner::Introducer(_) | Owner::Keys) | None => {}
        }
    }

    fn job_done(&mut self, id: ActionId, output: JobOutput, now: Now) {
        if self.introducers.checked(id, &mut self.io) {
            if let JobOutput::Announcements(checked) = output {
                self.learn(checked, now);
            }
            return;
        }
        match self.owners.remove(&id) {
            Some(Owner::Storage(id)) => {
                if let Some(storage) = &mut self.storage {
                    storage.handle(StorageEvent::JobDone { id, output }, now);
                }
            }
            Some(Owner::Introducer(id)) => {
                if let Some(introducer) = &mut self.introducer {
                    introducer.handle(IntroducerEvent::JobDone(id, output), now);
                }
            }
            Some(Owner::Operation(owner)) => {
                self.operations.finished(owner, crate::task::Outcome::Job(output), now)
            }
            Some(Owner::Keys) => self.keys.made(match output {
                JobOutput::Keys(key) => key,
                _ => None,
            }),
            Some(Owner::Vdrive | Owner::ReadCache | Owner::WriteCache) | None => {}
        }
    }

    fn learn(&mut self, checked: Vec<Option<crate::announcement::Announcement>>, now: Now) {
        let mut changed = false;
        for announcement in checked.into_iter().flatten() {
            if announcement.service != STORAGE_SERVICE {
                continue;
            }
            let (server, nickname) = (announcement.server, announcement.info.nickname.clone());
            match self.peers.table.hear_of(announcement, now) {
                Learned::New => {
                    changed = true;
                    let text = format!("heard of the server {nickname} ({})", server.short());
                    self.io.notice(NoticeLevel::Debug, text);
                }
                Learned::Changed => changed = true,
                Learned::Same | Learned::Ignored => {}
            }
        }
        if changed {
            self.peers.table_changed(now, &mut self.io);
            let soon = now.instant + CACHE_AFTER;
            self.cache_due = self.cache_due.map(|due| due.min(soon));
        }
    }

    fn cache_was_read(&mut self, result: DiskResult, now: Now) {
        self.cache_read = true;
        let Ok(outputs) = result else { return };
        let Some(DiskOutput::Data(data)) = outputs.into_iter().next() else { return };
        let Some(bytes) = data.into_bytes() else { return };
        match cache::read(&bytes) {
            Some(entries) => {
                for (announcement, heard) in entries {
                    self.peers.table.learn(announcement, heard);
                }
                self.peers.table_changed(now, &mut self.io);
            }
            None => self.io.notice(
                NoticeLevel::Warning,
                "the saved list of known servers makes no sense and is ignored; it is written anew".into(),
            ),
        }
    }

    fn command(&mut self, command: Command, now: Now) {
        match command {
            Command::Stop => self.stop(now),
            command if self.stopping => self.operations.refuse(command, &mut self.io),
            Command::Errand { id, errand } => {
                self.keys.open();
                self.drive.send(id, *errand, now);
            }
            Command::SurveyNext { id } => self.drive.survey_next(id, now),
            Command::MakeRoot { id } => self.make_root(id, now),
            Command::Cancel { id } => {
                self.drive.cancel(id);
                if let Some(vdrive) = &mut self.vdrive {
                    vdrive.forget(id);
                }
                self.operate(Command::Cancel { id }, now);
            }
            command => self.operate(command, now),
        }
    }

    /// Passes a command on to the operations, with a key that is ready if it needs a new one.
    fn operate(&mut self, mut command: Command, now: Now) {
        if let Command::Change { subject: Subject::New { key: key @ None, .. }, .. } = &mut command {
            *key = self.keys.take();
        }
        self.journal.command(&command, now);
        self.operations.command(command, &self.config, &self.peers.table, now);
    }

    fn stop(&mut self, now: Now) {
        self.stopping = true;
        self.drive.stop();
        self.operations.stop(now);
        self.drain(now);
        self.cache_due = None;
        self.write_cache(now);
        self.introducers.stop(&mut self.io);
        if let Some(shared_root) = &mut self.shared_root {
            shared_root.stop(&mut self.io);
        }
        self.peers.stop(&mut self.io);
        self.serving.stop(&mut self.io);
    }

    /// It has stopped once its spools are removed and no slot is being changed: nobody is to find one
    /// half-way in a directory that no node uses.
    fn end_stop(&mut self) {
        let changing = self.storage.as_ref().is_some_and(StorageServer::is_changing_slots);
        if self.stopping && !self.stopped && !changing && self.operations.has_left_disk() {
            self.stopped = true;
            self.io.report(Report::Stopped);
        }
    }

    fn write_cache(&mut self, now: Now) {
        // What was not read yet must not be overwritten.
        if self.config.keeps_cache && self.cache_read {
            self.peers.table.forget_unheard(now);
            if !self.stopping {
                self.peers.table_changed(now, &mut self.io);
            }
            let bytes = cache::write(&self.peers.table, now);
            let step = DiskStep::Replace(StorePath::AnnouncementCache, Payload::from(bytes));
            self.disk(Owner::WriteCache, [step].into());
        }
    }

    fn wake_parts(&mut self, now: Now) {
        if self.stopping {
            return;
        }
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| now.instant >= at);
        if due(self.serving.deadline()) {
            self.serving.wake(now, &mut self.io);
        }
        if due(self.peers.deadline()) {
            self.peers.wake(now, &mut self.io);
        }
        if due(self.introducers.deadline()) {
            self.introducers.wake(now, &mut self.io);
        }
        if let Some(storage) = &mut self.storage
            && due(storage.deadline())
        {
            storage.handle(StorageEvent::Wake, now);
        }
        self.wake_vdrive(now);
        self.operations.wake(now);
        if due(self.cache_due) {
            self.cache_due = Some(now.instant + CACHE_EVERY);
            self.write_cache(now);
        }
    }

    /// Lets operations that wait for servers go on, once the grid is known as far as it can be.
    fn settle(&mut self, now: Now) {
        let known = self.cache_read && self.introducers.settled() && !self.peers.undecided();
        if !self.settled && (known || now.instant >= self.started + SETTLE_PATIENCE) {
            self.settled = true;
        }
        if self.settled {
            self.operations.servers_known(&self.config, &self.peers.table, now);
        }
    }
}
