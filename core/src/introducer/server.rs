//! The serving side: keeps the newest announcement under each key, in memory, and pushes it to
//! every subscriber. Nodes publish anew whenever they connect, so nothing is lost by forgetting.

use super::{IntroducerError, IntroducerRequest, pushes};
use crate::announcement::{Announcement, STORAGE_SERVICE, SignedAnnouncement};
use crate::identity::ServerId;
use crate::job::{Job, JobOutput};
use crate::limits::ANNOUNCEMENTS_MAX;
use crate::machine::{ActionId, ConnId, Machine};
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

/// What can happen to an introducer.
#[derive(Clone, Hash, Debug)]
pub enum IntroducerEvent {
    /// A client asks. `key` names the answer.
    Request {
        /// The client's connection.
        conn: ConnId,
        /// Names the answer.
        key: u64,
        /// What it asks.
        request: IntroducerRequest,
    },
    /// A client is gone.
    Closed(ConnId),
    /// A signature was checked.
    JobDone(ActionId, JobOutput),
}

/// What an introducer asks for.
#[derive(Clone, Hash, Debug)]
pub enum IntroducerAction {
    /// The answer to a request.
    Answer {
        /// The request.
        key: u64,
        /// The answer.
        result: Result<(), IntroducerError>,
    },
    /// Announcements for a subscriber.
    Push {
        /// Its connection.
        conn: ConnId,
        /// The announcements, as they were received.
        announcements: Vec<SignedAnnouncement>,
    },
    /// A good announcement that is new: the introducer's own node may want to know it, too.
    Learned(Announcement),
    /// Check a signature.
    Job(ActionId, Job),
}

/// Keeps announcements and passes them on.
#[derive(Debug, Default)]
pub struct IntroducerServer {
    announcements: BTreeMap<(String, ServerId), (u64, SignedAnnouncement)>,
    subscribers: BTreeMap<ConnId, BTreeSet<String>>,
    checking: BTreeMap<ActionId, (u64, SignedAnnouncement)>,
    next_job: u64,
    actions: VecDeque<IntroducerAction>,
}

impl Machine for IntroducerServer {
    type Event = IntroducerEvent;
    type Action = IntroducerAction;

    fn handle(&mut self, event: IntroducerEvent, _now: Now) {
        match event {
            IntroducerEvent::Request { key, request: IntroducerRequest::Publish(signed), .. } => {
                let id = ActionId(self.next_job);
                self.next_job += 1;
                let job = Job::CheckAnnouncements([signed.clone()].into());
                self.checking.insert(id, (key, signed));
                self.actions.push_back(IntroducerAction::Job(id, job));
            }
            IntroducerEvent::Request { conn, key, request: IntroducerRequest::Subscribe { service } } => {
                self.actions.push_back(IntroducerAction::Answer { key, result: Ok(()) });
                let services = self.subscribers.entry(conn).or_default();
                // Asked again, it is told nothing twice; and there is only one service to ask for.
                if service != STORAGE_SERVICE || !services.insert(service.clone()) {
                    return;
                }
                let known = self.announcements.iter().filter(|((of, _), _)| *of == service);
                let known = known.map(|(_, (_, signed))| signed.clone()).collect();
                for announcements in pushes(known) {
                    self.actions.push_back(IntroducerAction::Push { conn, announcements });
                }
            }
            IntroducerEvent::Closed(conn) => {
                self.subscribers.remove(&conn);
            }
            IntroducerEvent::JobDone(id, JobOutput::Announcements(mut checked)) => {
                if let Some((key, signed)) = self.checking.remove(&id) {
                    let result = match checked.pop().flatten() {
                        Some(announcement) => self.publish(announcement, signed),
                        None => Err(IntroducerError::BadAnnouncement),
                    };
                    self.actions.push_back(IntroducerAction::Answer { key, result });
                }
            }
            IntroducerEvent::JobDone(..) => {}
        }
    }

    fn poll_action(&mut self) -> Option<IntroducerAction> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

impl IntroducerServer {
    /// An introducer that knows nobody yet.
    pub fn new() -> IntroducerServer {
        IntroducerServer::default()
    }

    /// How many announcements it keeps, and how many subscribers it has.
    pub fn counts(&self) -> (usize, usize) {
        (self.announcements.len(), self.subscribers.len())
    }

    /// The servers it keeps announcements of, and the numbers of these.
    pub fn announcements(&self) -> impl Iterator<Item = (ServerId, u64)> {
        self.announcements.iter().map(|((_, server), (sequence, _))| (*server, *sequence))
    }

    /// The connections over which it tells of servers.
    pub fn subscribers(&self) -> impl Iterator<Item = ConnId> {
        self.subscribers.keys().copied()
    }

    fn publish(
        &mut self,
        announcement: Announcement,
        signed: SignedAnnouncement,
    ) -> Result<(), IntroducerError> {
        let Announcement { server, service, sequence, .. } = announcement.clone();
        if service != STORAGE_SERVICE {
            return Err(IntroducerError::Unsupported);
        }
        let index = (service.clone(), server);
        match self.announcements.get(&index) {
            Some((_, known)) if *known == signed => return Ok(()),
            Some((known, _)) if *known >= sequence => return Err(IntroducerError::Stale),
            None if self.announcements.len() >= ANNOUNCEMENTS_MAX => return Err(IntroducerError::Full),
            _ => {}
        }
        self.announcements.insert(index, (sequence, signed.clone()));
        self.actions.push_back(IntroducerAction::Learned(announcement));
        for (conn, services) in &self.subscribers {
            if services.contains(&service) {
                let announcements = [signed.clone()].into();
                self.actions.push_back(IntroducerAction::Push { conn: *conn, announcements });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announcement::{AnnouncementKey, ServerInfo};
    use crate::identity::TubId;
    use crate::job;

    fn signed(key: u8, sequence: u64) -> SignedAnnouncement {
        let info = ServerInfo {
            nickname: "n".into(),
            tub_id: TubId([0; 20]),
            permutation_seed: [key; 32].into(),
            service: None,
            program: "p".into(),
        };
        AnnouncementKey::from_bytes(&[key; 32]).announce(sequence, &info, [0; 20])
    }

    fn conn(n: u64) -> ConnId {
        ConnId::Inbound(n)
    }

    /// Hands in a request, runs the jobs, and gives the other actions.
    fn ask(
        introducer: &mut IntroducerServer,
        from: u64,
        request: IntroducerRequest,
    ) -> Vec<IntroducerAction> {
        let mut seen = Vec::new();
        introducer.handle(IntroducerEvent::Request { conn: conn(from), key: from, request }, Now::default());
        while let Some(action) = introducer.poll_action() {
            match action {
                IntroducerAction::Job(id, work) => introducer
                    .handle(IntroducerEvent::JobDone(id, job::run(work, &crate::rsa::NoRsa)), Now::default()),
                other => seen.push(other),
            }
        }
        seen
    }

    fn answer(actions: &[IntroducerAction]) -> Result<(), IntroducerError> {
        let answers: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                IntroducerAction::Answer { result, .. } => Some(result.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(answers.len(), 1);
        answers[0].clone()
    }

    fn pushed(actions: &[IntroducerAction]) -> Vec<(ConnId, usize)> {
        (actions.iter())
            .filter_map(|action| match action {
                IntroducerAction::Push { conn, announcements } => Some((*conn, announcements.len())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn passes_on_what_is_new_and_well_signed() {
        let mut introducer = IntroducerServer::new();
        let subscribe = || IntroducerRequest::Subscribe { service: "storage".into() };
        assert_eq!(pushed(&ask(&mut introducer, 1, subscribe())), [(conn(1), 0)]);
        let first = ask(&mut introducer, 2, IntroducerRequest::Publish(signed(5, 10)));
        assert_eq!((answer(&first), pushed(&first)), (Ok(()), [(conn(1), 1)].into()));
        // Replayed, stale, forged: nothing is passed on.
        let again = ask(&mut introducer, 2, IntroducerRequest::Publish(signed(5, 10)));
        assert_eq!((answer(&again), pushed(&again)), (Ok(()), [].into()));
        let stale = ask(&mut introducer, 2, IntroducerRequest::Publish(signed(5, 9)));
        assert_eq!((answer(&stale), pushed(&stale)), (Err(IntroducerError::Stale), [].into()));
        let mut forged = signed(5, 11);
        forged.message[20] ^= 1;
        let forged = ask(&mut introducer, 2, IntroducerRequest::Publish(forged));
        assert_eq!((answer(&forged), pushed(&forged)), (Err(IntroducerError::BadAnnouncement), [].into()));
        // A late subscriber hears what is known; one that is gone hears nothing.
        assert_eq!(pushed(&ask(&mut introducer, 3, subscribe())), [(conn(3), 1)]);
        introducer.handle(IntroducerEvent::Closed(conn(1)), Now::default());
        let newer = ask(&mut introducer, 2, IntroducerRequest::Publish(signed(5, 11)));
        assert_eq!(pushed(&newer), [(conn(3), 1)]);
        assert_eq!(introducer.counts(), (1, 1));
    }
}
