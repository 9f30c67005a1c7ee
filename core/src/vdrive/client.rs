//! The node's side: asks the vdrive servers for the shared root, and keeps the first it is given.
//!
//! The root is stored before it is used. From then on no vdrive server is needed; the node still
//! asks now and then, to learn of a right to write that it had not before, and to warn if it is
//! offered another root.
//!
//! Asking again is all there is to waiting for a root that has not been made: a server that pushed
//! it would have to remember who wants it, and the asking would be needed all the same.

use super::{SharedRoot, VdriveAnswer, VdriveRequest};
use crate::disk::{DiskError, DiskOutput, DiskResult, DiskStep, StorePath};
use crate::io::Io;
use crate::machine::{ActionId, ConnId};
use crate::nurl::{Address, Service};
use crate::operation::NoticeLevel;
use crate::peers::{ConnEvent, Link, LinkEvent, LinkStatus};
use crate::time::{Instant, Now};
use crate::wire::{Kind, Message, ServiceKind};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The first pause before a server that has no root yet is asked again; doubled each time up to the
/// longest, jittered.
const ASK_FIRST: Duration = Duration::from_secs(1);
const ASK_LONGEST: Duration = Duration::from_secs(15);
/// How long a question may stay unanswered. The answer takes no work.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// A server that gave nonsense, or that is not needed and out of reach, is asked again after this.
const ASK_LATER: Duration = Duration::from_secs(60 * 60);
/// A server that gave the root is asked again after this.
const ASK_DAILY: Duration = Duration::from_secs(24 * 60 * 60);
/// A pin that could not be stored is stored again after this.
const STORE_AGAIN: Duration = Duration::from_secs(60);

/// A vdrive server and how the connection to it stands, for people.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VdriveLinkStatus {
    /// Where it listens.
    pub addresses: Vec<Address>,
    /// The connection. There is none most of the time once the root is kept.
    pub link: LinkStatus,
}

/// What a node has of the shared root, for people. Which directory it is, is not told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SharedRootStatus {
    /// Whether the root that is kept may be changed; `None` if none is kept.
    pub writable: Option<bool>,
    /// The vdrive servers that are asked for it.
    pub servers: Vec<VdriveLinkStatus>,
}

/// A vdrive server.
struct Server {
    link: Link,
    /// When it is asked next. A question under way has none.
    ask_at: Option<Instant>,
    /// When the question under way was sent.
    asked: Option<Instant>,
    /// How often it had no root yet.
    not_yet: u32,
    /// That it is out of reach has been said.
    failed: bool,
    /// That it gives nonsense, or another root, has been said.
    warned: bool,
}

impl Server {
    fn name(&self) -> String {
        self.link.service().addresses.first().map_or(String::new(), |address| format!("{address}"))
    }

    fn ask_after(&mut self, pause: Duration, now: Now, io: &mut Io) {
        (self.asked, self.ask_at) = (None, Some(now.instant + io.entropy.jitter(pause)));
    }
}

/// What is in the file of the pin.
enum Pin {
    /// It is being read.
    Reading,
    /// Not known, so nothing may be put in its place.
    Unreadable,
    None,
    Kept(SharedRoot),
}

/// A root that is to be kept.
struct Storing {
    root: SharedRoot,
    /// It could not be stored and is tried again then.
    again: Option<Instant>,
}

pub(crate) struct VdriveClient {
    servers: Vec<Server>,
    pin: Pin,
    storing: Option<Storing>,
    /// A root that was offered while the disk was busy, and is to be looked at after that.
    held: Option<SharedRoot>,
    conns: BTreeMap<ConnId, usize>,
    at_disk: Option<ActionId>,
    stopped: bool,
}

impl VdriveClient {
    /// Begins with reading the pin.
    pub(crate) fn new(services: Vec<Service>, program: &str, io: &mut Io) -> VdriveClient {
        let server = |service| Server {
            link: Link::new(service, ServiceKind::Vdrive, program.into()),
            ask_at: Some(Instant::ZERO),
            asked: None,
            not_yet: 0,
            failed: false,
            warned: false,
        };
        let read = DiskStep::Read { path: StorePath::SharedRoot, offset: 0, len: SharedRoot::FILE_LEN_MAX };
        VdriveClient {
            servers: services.into_iter().map(server).collect(),
            pin: Pin::Reading,
            storing: None,
            held: None,
            conns: BTreeMap::new(),
            at_disk: Some(io.disk([read].into())),
            stopped: false,
        }
    }

    /// The shared root that is kept.
    pub(crate) fn root(&self) -> Option<&SharedRoot> {
        match &self.pin {
            Pin::Kept(root) => Some(root),
            Pin::Reading | Pin::Unreadable | Pin::None => None,
        }
    }

    pub(crate) fn status(&self) -> SharedRootStatus {
        let status = |server: &Server| VdriveLinkStatus {
            addresses: server.link.service().addresses.clone(),
            link: server.link.status(),
        };
        SharedRootStatus {
            writable: self.root().map(SharedRoot::is_writable),
            servers: self.servers.iter().map(status).collect(),
        }
    }

    pub(crate) fn owns(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    pub(crate) fn handle(&mut self, conn: ConnId, event: ConnEvent, now: Now, io: &mut Io) {
        let Some(&index) = self.conns.get(&conn) else { return };
        if matches!(event, ConnEvent::Closed(_)) {
            self.conns.remove(&conn);
        }
        let event = self.servers[index].link.handle(conn, event, now, io);
        self.link_event(index, conn, event, now, io);
    }

    fn link_event(&mut self, index: usize, conn: ConnId, event: Option<LinkEvent>, now: Now, io: &mut Io) {
        let pinned = self.root().is_some();
        let server = &mut self.servers[index];
        match event {
            None => {}
            Some(LinkEvent::Up) => {
                server.failed = false;
                self.ask(index, now, io);
            }
            Some(LinkEvent::Down(error)) => {
                // Asked again as soon as the link is tried again, but not often if all is well without.
                server.ask_after(if pinned { ASK_LATER } else { Duration::ZERO }, now, io);
                if !core::mem::replace(&mut server.failed, true) {
                    let name = server.name();
                    let (level, text) = if pinned {
                        let text =
                            format!("the vdrive server at {name} is not there and not needed: {error}");
                        (NoticeLevel::Debug, text)
                    } else {
                        (
                            NoticeLevel::Warning,
                            format!("no connection to the vdrive server at {name}: {error}"),
                        )
                    };
                    io.notice(level, text);
                }
            }
            Some(LinkEvent::Message(message)) => {
                let is_answer = server.asked.is_some() && self.message(index, &message, now, io);
                if is_answer {
                    return;
                }
                let link = &mut self.servers[index].link;
                let event = link.misbehaved(conn, "an answer that makes no sense", now, io);
                self.link_event(index, conn, event, now, io);
            }
        }
    }

    fn ask(&mut self, index: usize, now: Now, io: &mut Io) {
        let server = &mut self.servers[index];
        server.link.send(Kind::Request, 0, &VdriveRequest::Root, Vec::new(), io);
        (server.asked, server.ask_at) = (Some(now.instant), None);
    }

    /// Takes in the answer to a question; `false` if it is none.
    fn message(&mut self, index: usize, message: &Message, now: Now, io: &mut Io) -> bool {
        let server = &mut self.servers[index];
        match message.envelope.kind {
            Kind::Answer => match message.body() {
                Ok(VdriveAnswer::NotYet) => {
                    let pause = ASK_FIRST.saturating_mul(1 << server.not_yet.min(10)).min(ASK_LONGEST);
                    server.not_yet += 1;
                    server.ask_after(pause, now, io);
                }
                Ok(VdriveAnswer::Root(text)) => {
                    let root = SharedRoot::parse(text.expose());
                    server.ask_after(if root.is_ok() { ASK_DAILY } else { ASK_LATER }, now, io);
                    server.link.close(io);
                    match root {
                        Ok(root) => self.offered(root, Some(index), io),
                        Err(error) => {
                            let text = format!("what the vdrive server gives is no shared root: {error}");
                            self.warn_of(index, text, io);
                        }
                    }
                }
                Err(_) => return false,
            },
            Kind::Failure => {
                server.ask_after(ASK_LATER, now, io);
                server.link.close(io);
                self.warn_of(index, "the vdrive server does not know what a shared root is".into(), io);
            }
            _ => return false,
        }
        true
    }

    /// Says once what is wrong with a server.
    fn warn_of(&mut self, index: usize, text: String, io: &mut Io) {
        let server = &mut self.servers[index];
        if !core::mem::replace(&mut server.warned, true) {
            io.notice(NoticeLevel::Warning, format!("{text} (at {})", server.name()));
        }
    }

    /// The node itself hands out this root.
    pub(crate) fn offered_by_self(&mut self, root: SharedRoot, io: &mut Io) {
        if matches!(self.pin, Pin::Reading) {
            self.held = Some(root);
        } else {
            self.offered(root, None, io);
        }
    }

    /// A root is offered, by a server or by this node itself: the first one is kept.
    fn offered(&mut self, root: SharedRoot, from: Option<usize>, io: &mut Io) {
        let kept = self.storing.as_ref().map(|storing| &storing.root).or(self.root());
        match kept {
            None if matches!(self.pin, Pin::None) => self.store(root, io),
            Some(kept) if kept.is_same_directory(&root) && root.is_writable() && !kept.is_writable() => {
                self.store(root, io);
            }
            None => {}
            Some(kept) if kept.is_same_directory(&root) => {}
            Some(_) => {
                let text = "another shared root is offered than the one this node keeps, which it goes on \
                            using. If the new one is the right one, remove private/shared-root.cap and start \
                            the node anew";
                match from {
                    Some(index) => self.warn_of(index, text.into(), io),
                    None => io.notice(NoticeLevel::Warning, format!("{text} (by this node)")),
                }
            }
        }
    }

    /// Has a root stored, after what is being stored.
    fn store(&mut self, root: SharedRoot, io: &mut Io) {
        if self.at_disk.is_some() {
            self.held = Some(root);
        } else {
            let step = DiskStep::Replace(StorePath::SharedRoot, root.to_file());
            self.at_disk = Some(io.disk([step].into()));
            self.storing = Some(Storing { root, again: None });
        }
    }

    /// Whether a finished disk action was one of these.
    pub(crate) fn disk_done(&mut self, id: ActionId, result: &DiskResult, now: Now, io: &mut Io) -> bool {
        if self.at_disk != Some(id) {
            return false;
        }
        self.at_disk = None;
        match (self.storing.take(), result) {
            (None, result) => self.pin_was_read(result, io),
            (Some(storing), Ok(_)) => {
                let text = if self.root().is_some() {
                    "this node may change the shared root from now on"
                } else {
                    "the shared root is known and kept in private/shared-root.cap"
                };
                io.notice(NoticeLevel::Info, text.into());
                self.pin = Pin::Kept(storing.root);
            }
            (Some(storing), Err(failure)) => {
                let text = format!(
                    "private/shared-root.cap cannot be written: {}. The shared root is not used before that \
                     is done",
                    failure.error
                );
                io.notice(NoticeLevel::Warning, text);
                let again = Some(now.instant + io.entropy.jitter(STORE_AGAIN));
                self.storing = Some(Storing { again, ..storing });
            }
        }
        if let Some(root) = self.held.take() {
            self.offered(root, None, io);
        }
        true
    }

    fn pin_was_read(&mut self, result: &DiskResult, io: &mut Io) {
        let read = match result {
            Ok(outputs) => {
                let data = outputs.iter().find_map(|output| match output {
                    DiskOutput::Data(data) => data.bytes(),
                    _ => None,
                });
                let root = SharedRoot::from_file(data.map_or(&[], |data| data));
                root.map(Pin::Kept).map_err(|error| format!("{error}"))
            }
            Err(failure) if failure.error == DiskError::NotFound => Ok(Pin::None),
            Err(failure) => Err(format!("{}", failure.error)),
        };
        self.pin = read.unwrap_or_else(|why| {
            let text = format!(
                "there is no shared root, because private/shared-root.cap cannot be used: {why}. Restore the \
                 file from a copy, or remove it to be given the root anew, and start the node again"
            );
            io.notice(NoticeLevel::Warning, text);
            Pin::Unreadable
        });
    }

    pub(crate) fn wake(&mut self, now: Now, io: &mut Io) {
        if self.is_idle() {
            return;
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| now.instant >= at);
        for index in 0..self.servers.len() {
            let server = &mut self.servers[index];
            if due(server.link.deadline()) {
                let event = server.link.wake(now, io);
                self.link_event(index, ConnId::Outbound(u64::MAX), event, now, io);
            }
            let server = &mut self.servers[index];
            if due(server.asked.map(|asked| asked + ANSWER_PATIENCE)) {
                server.link.drop_now(io);
                server.ask_after(ASK_LONGEST, now, io);
            }
            if due(server.next_ask()) {
                if server.link.is_up() {
                    self.ask(index, now, io);
                } else if server.link.is_down() {
                    for conn in server.link.connect(now, io) {
                        self.conns.insert(conn, index);
                    }
                }
            }
        }
        if let Some(Storing { root, again }) = &self.storing
            && due(*again)
        {
            self.store(root.clone(), io);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let servers = self.servers.iter().flat_map(|server| {
            let silent = server.asked.map(|asked| asked + ANSWER_PATIENCE);
            [server.link.deadline(), silent, server.next_ask()]
        });
        let storing = self.storing.as_ref().and_then(|storing| storing.again);
        servers.flatten().chain(storing).min()
    }

    /// Whether it waits for nothing but the disk, or for nothing at all.
    fn is_idle(&self) -> bool {
        self.stopped || matches!(self.pin, Pin::Reading | Pin::Unreadable)
    }

    pub(crate) fn stop(&mut self, io: &mut Io) {
        self.stopped = true;
        self.servers.iter_mut().for_each(|server| server.link.close(io));
    }
}

impl Server {
    /// When something is to be done so that it is asked; `None` while a question or a connection is
    /// under way.
    fn next_ask(&self) -> Option<Instant> {
        let at = self.ask_at?;
        if self.link.is_down() {
            Some(self.link.retry_at().map_or(at, |retry| retry.max(at)))
        } else {
            self.link.is_up().then_some(at)
        }
    }
}
