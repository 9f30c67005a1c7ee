//! The node's side: a connection to each introducer, over which it publishes its announcement and
//! hears those of others.

use super::{IntroducerError, IntroducerRequest};
use crate::announcement::{STORAGE_SERVICE, SignedAnnouncement};
use crate::io::Io;
use crate::job::Job;
use crate::limits::ANNOUNCEMENT_LEN_MAX;
use crate::machine::{ActionId, ConnId};
use crate::nurl::{Address, Service};
use crate::operation::NoticeLevel;
use crate::peers::{ConnEvent, Link, LinkEvent, LinkStatus};
use crate::time::{Instant, Now};
use crate::wire::{Kind, ServiceKind};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const PUBLISH_ID: u64 = 1;
const SUBSCRIBE_ID: u64 = 2;

/// An introducer and how the connection to it stands, for people.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct IntroducerStatus {
    /// Where it listens.
    pub addresses: Vec<Address>,
    /// The connection.
    pub link: LinkStatus,
    /// Since when it could not be reached.
    pub down_since: Option<Instant>,
    /// Whether it has told which servers it knows since the node started.
    pub heard: bool,
}

struct Introducer {
    link: Link,
    heard: bool,
    failed: bool,
}

pub(crate) struct IntroducerClient {
    introducers: Vec<Introducer>,
    own: Option<SignedAnnouncement>,
    conns: BTreeMap<ConnId, usize>,
    /// Checks under way: which introducer, and the bytes to grant when they are done.
    checking: BTreeMap<ActionId, (usize, ConnId, u64)>,
    stopped: bool,
}

impl IntroducerClient {
    pub(crate) fn new(
        services: Vec<Service>,
        own: Option<SignedAnnouncement>,
        program: &str,
    ) -> IntroducerClient {
        let introducer = |service| Introducer {
            link: Link::new(service, ServiceKind::Introducer, program.into()),
            heard: false,
            failed: false,
        };
        IntroducerClient {
            introducers: services.into_iter().map(introducer).collect(),
            own,
            conns: BTreeMap::new(),
            checking: BTreeMap::new(),
            stopped: false,
        }
    }

    pub(crate) fn owns(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// Whether each introducer has told what it knows, or has turned out to be out of reach.
    pub(crate) fn settled(&self) -> bool {
        self.introducers.iter().all(|introducer| introducer.heard || introducer.failed)
    }

    pub(crate) fn handle(&mut self, conn: ConnId, event: ConnEvent, now: Now, io: &mut Io) {
        let Some(&index) = self.conns.get(&conn) else { return };
        if matches!(event, ConnEvent::Closed(_)) {
            self.conns.remove(&conn);
        }
        let event = self.introducers[index].link.handle(conn, event, now, io);
        self.link_event(index, conn, event, now, io);
    }

    fn link_event(&mut self, index: usize, conn: ConnId, event: Option<LinkEvent>, now: Now, io: &mut Io) {
        let introducer = &mut self.introducers[index];
        let name = introducer.link.service().addresses.first().map_or(String::new(), |a| format!("{a}"));
        match event {
            None => {}
            Some(LinkEvent::Up) => {
                io.notice(NoticeLevel::Info, format!("connected to the introducer at {name}"));
                let subscribe = IntroducerRequest::Subscribe { service: STORAGE_SERVICE.into() };
                introducer.link.send(Kind::Request, SUBSCRIBE_ID, &subscribe, Vec::new(), io);
                if let Some(own) = &self.own {
                    let publish = IntroducerRequest::Publish(own.clone());
                    introducer.link.send(Kind::Request, PUBLISH_ID, &publish, Vec::new(), io);
                }
            }
            Some(LinkEvent::Down(error)) => {
                // Said once, not on every attempt.
                let first = !core::mem::replace(&mut introducer.failed, true);
                if first {
                    let text = format!("no connection to the introducer at {name}: {error}");
                    io.notice(NoticeLevel::Warning, text);
                }
            }
            Some(LinkEvent::Message(message)) => match message.envelope.kind {
                Kind::Push => match message.body::<Vec<SignedAnnouncement>>() {
                    Ok(announcements) => self.pushed(index, conn, announcements, io),
                    Err(_) => {
                        let event = introducer.link.misbehaved(conn, "a push that makes no sense", now, io);
                        self.link_event(index, conn, event, now, io);
                    }
                },
                Kind::Failure if message.envelope.id == PUBLISH_ID => {
                    let error = message.body().unwrap_or(IntroducerError::Unsupported);
                    io.notice(
                        NoticeLevel::Warning,
                        format!("the introducer at {name} did not pass on this node's announcement: {error}"),
                    );
                }
                _ => {}
            },
        }
    }

    fn pushed(
        &mut self,
        index: usize,
        conn: ConnId,
        mut announcements: Vec<SignedAnnouncement>,
        io: &mut Io,
    ) {
        let len: usize =
            announcements.iter().map(|signed| 16 + signed.message.len() + signed.signature.len()).sum();
        announcements.retain(|signed| signed.message.len() <= ANNOUNCEMENT_LEN_MAX);
        let introducer = &mut self.introducers[index];
        introducer.failed = false;
        if announcements.is_empty() {
            introducer.heard = true;
            io.grant(conn, len as u64 + 16);
        } else {
            let id = io.job(Job::CheckAnnouncements(announcements));
            self.checking.insert(id, (index, conn, len as u64 + 16));
        }
    }

    /// Whether a finished job was a check of announcements from an introducer.
    pub(crate) fn checked(&mut self, id: ActionId, io: &mut Io) -> bool {
        match self.checking.remove(&id) {
            Some((index, conn, granted)) => {
                self.introducers[index].heard = true;
                if self.owns(conn) {
                    io.grant(conn, granted);
                }
                true
            }
            None => false,
        }
    }

    pub(crate) fn wake(&mut self, now: Now, io: &mut Io) {
        if self.stopped {
            return;
        }
        for index in 0..self.introducers.len() {
            let link = &mut self.introducers[index].link;
            if link.is_down() && link.retry_at().is_none_or(|at| now.instant >= at) {
                for conn in link.connect(now, io) {
                    self.conns.insert(conn, index);
                }
            }
            let link = &mut self.introducers[index].link;
            if link.deadline().is_some_and(|at| now.instant >= at) {
                let event = link.wake(now, io);
                self.link_event(index, ConnId::Outbound(u64::MAX), event, now, io);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let links = self.introducers.iter().map(|introducer| &introducer.link);
        links.flat_map(|link| [link.deadline(), link.retry_at().filter(|_| link.is_down())]).flatten().min()
    }

    pub(crate) fn stop(&mut self, io: &mut Io) {
        self.stopped = true;
        for introducer in &mut self.introducers {
            introducer.link.close(io);
        }
    }

    pub(crate) fn status(&self) -> Vec<IntroducerStatus> {
        let status = |introducer: &Introducer| IntroducerStatus {
            addresses: introducer.link.service().addresses.clone(),
            down_since: introducer.link.down_since(),
            link: introducer.link.status(),
            heard: introducer.heard,
        };
        self.introducers.iter().map(status).collect()
    }
}
