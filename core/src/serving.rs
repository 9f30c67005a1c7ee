//! Accepted connections: the greeting, then requests to a service, worked on at the same time and
//! answered as they are done.
//!
//! Memory is bounded from both sides: a client may send as much as was granted, and a request's
//! bytes are granted anew when it is answered; answers that lie unsent hold back further requests.

use crate::introducer::{IntroducerError, IntroducerRequest};
use crate::io::Io;
use crate::limits::{
    ANSWER_BACKLOG, BULK_LEN_MAX, CLIENTS_MEMORY_MAX, HELLO_LEN_MAX, INBOUND_MAX, PEER_WINDOW,
    READ_RANGES_MAX, REQUESTS_PER_CONNECTION_MAX, SLOT_READS_MAX,
};
use crate::machine::ConnId;
use crate::nurl::Swissnum;
use crate::payload::Payload;
use crate::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use crate::time::{Instant, Now};
use crate::vdrive::{RootRights, VdriveAnswer, VdriveError, VdriveRequest};
use crate::wire::{Frame, Hello, Kind, Message, PROTOCOL_VERSION, Refusal, ServiceKind, Welcome};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use serde::Serialize;

/// How long a stranger may take to say hello.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// A connection that has been silent for this long is pinged.
const PING_AFTER: Duration = Duration::from_secs(90);
/// A ping unanswered for this long means the other side is gone.
const PONG_PATIENCE: Duration = Duration::from_secs(30);

/// A request for a service of this node.
pub(crate) enum Inquiry {
    Storage { key: u64, request: StorageRequest, bulk: Payload },
    Introducer { conn: ConnId, key: u64, request: IntroducerRequest },
    Vdrive { key: u64, rights: RootRights, request: VdriveRequest },
}

/// What one swissnum of this node gives a right to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Storage,
    Introducer,
    Vdrive(RootRights),
}

impl Access {
    fn service(self) -> ServiceKind {
        match self {
            Access::Storage => ServiceKind::Storage,
            Access::Introducer => ServiceKind::Introducer,
            Access::Vdrive(_) => ServiceKind::Vdrive,
        }
    }
}

struct Client {
    /// Where it comes from, and what it says it is; for people.
    from: String,
    program: String,
    service: Option<Access>,
    since: Instant,
    last_heard: Instant,
    pinged: Option<Instant>,
    /// Requests being worked on.
    at_work: usize,
    /// Bytes of answers that are being made or have not left yet.
    backlog: u64,
    /// Requests held back until answers have left.
    held: VecDeque<(Message, u64)>,
    /// Bytes of its requests that are held back or worked on.
    asked: u64,
    /// It is being thrown out; what it still says is not heard.
    expelled: bool,
}

impl Client {
    /// Bytes that are kept because of it.
    fn memory(&self) -> u64 {
        self.asked.saturating_add(self.backlog)
    }
}

/// A request being worked on.
struct AtWork {
    conn: ConnId,
    id: u64,
    /// Bytes to grant when it is answered.
    granted: u64,
    /// Bytes set aside for its answer.
    reserved: u64,
}

pub(crate) struct Serving {
    services: Vec<(Access, Swissnum)>,
    program: String,
    clients: BTreeMap<ConnId, Client>,
    at_work: BTreeMap<u64, AtWork>,
    next_key: u64,
    /// Bytes of requests that are being worked on for clients that are gone.
    orphaned: u64,
    inquiries: VecDeque<Inquiry>,
    stopped: bool,
}

impl Serving {
    pub(crate) fn new(services: Vec<(Access, Swissnum)>, program: String) -> Serving {
        Serving {
            services,
            program,
            clients: BTreeMap::new(),
            at_work: BTreeMap::new(),
            next_key: 0,
            orphaned: 0,
            inquiries: VecDeque::new(),
            stopped: false,
        }
    }

    pub(crate) fn owns(&self, conn: ConnId) -> bool {
        self.clients.contains_key(&conn)
    }

    pub(crate) fn poll_inquiry(&mut self) -> Option<Inquiry> {
        self.inquiries.pop_front()
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Where a client comes from, the program it says it is, and since when it is here.
    pub(crate) fn client(&self, conn: ConnId) -> Option<(&str, &str, Instant)> {
        let client = self.clients.get(&conn)?;
        Some((&client.from, &client.program, client.since))
    }

    pub(crate) fn accepted(&mut self, conn: ConnId, from: String, now: Now, io: &mut Io) {
        if self.stopped || self.services.is_empty() {
            io.abort(conn);
            return;
        }
        if self.clients.len() >= INBOUND_MAX {
            io.send(conn, Message::seal(Kind::Refusal, 0, &Refusal::Busy, Vec::new()));
            io.close(conn);
            return;
        }
        let (since, last_heard) = (now.instant, now.instant);
        let client = Client {
            from,
            program: String::new(),
            service: None,
            since,
            last_heard,
            pinged: None,
            at_work: 0,
            backlog: 0,
            held: VecDeque::new(),
            asked: 0,
            expelled: false,
        };
        self.clients.insert(conn, client);
        io.grant(conn, HELLO_LEN_MAX as u64);
    }

    /// The connection is gone; requests of it that are being worked on go on unanswered.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        if let Some(client) = self.clients.remove(&conn) {
            let held: u64 = client.held.iter().map(|(_, granted)| granted).sum();
            self.orphaned = self.orphaned.saturating_add(client.asked.saturating_sub(held));
        }
    }

    pub(crate) fn partial(&mut self, conn: ConnId, now: Now) {
        if let Some(client) = self.clients.get_mut(&conn) {
            (client.last_heard, client.pinged) = (now.instant, None);
        }
    }

    pub(crate) fn sent(&mut self, conn: ConnId, bytes: u64, io: &mut Io) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.backlog = client.backlog.saturating_sub(bytes);
            self.release(conn, io);
            self.bound_memory(conn, io);
        }
    }

    pub(crate) fn frame(&mut self, conn: ConnId, frame: Frame, now: Now, io: &mut Io) {
        let len = frame.len();
        let Some(client) = self.clients.get_mut(&conn).filter(|client| !client.expelled) else { return };
        (client.last_heard, client.pinged) = (now.instant, None);
        let Ok(message) = Message::open(frame) else { return self.expel(conn, io) };
        match (client.service, message.envelope.kind) {
            (None, Kind::Hello) => self.greet(conn, &message, io),
            (Some(_), Kind::Request | Kind::Ping) => {
                if client.at_work + client.held.len() >= REQUESTS_PER_CONNECTION_MAX {
                    return self.expel(conn, io);
                }
                client.held.push_back((message, len));
                client.asked += len;
                self.release(conn, io);
                self.bound_memory(conn, io);
            }
            (Some(_), Kind::Pong) => io.grant(conn, len),
            (Some(_), Kind::Later(number)) if number >= 128 => io.grant(conn, len),
            _ => self.expel(conn, io),
        }
    }

    fn greet(&mut self, conn: ConnId, message: &Message, io: &mut Io) {
        let Ok(hello) = message.body::<Hello>() else { return self.expel(conn, io) };
        // Every name is compared, so that the time taken does not tell which one came close.
        let mut found = None;
        for (access, swissnum) in &self.services {
            if *swissnum == hello.swissnum {
                found = Some(*access);
            }
        }
        let (lowest, highest) = hello.versions;
        let refusal = match found {
            None => Some(Refusal::UnknownService),
            Some(_) if lowest > PROTOCOL_VERSION || highest < PROTOCOL_VERSION => {
                Some(Refusal::NoCommonVersion { lowest: PROTOCOL_VERSION, highest: PROTOCOL_VERSION })
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            io.send(conn, Message::seal(Kind::Refusal, 0, &refusal, Vec::new()));
            io.close(conn);
            return;
        }
        let access = found.expect("checked above");
        let (service, program) = (access.service(), self.program.clone());
        let welcome = Welcome { version: PROTOCOL_VERSION, service, program };
        self.send(conn, Message::seal(Kind::Welcome, 0, &welcome, Vec::new()), io);
        io.grant(conn, PEER_WINDOW);
        if let Some(client) = self.clients.get_mut(&conn) {
            client.service = Some(access);
            client.program = hello.program.chars().filter(|char| !char.is_control()).take(100).collect();
        }
    }

    /// Hands on the requests of a client that need not wait.
    fn release(&mut self, conn: ConnId, io: &mut Io) {
        loop {
            let Some(client) = self.clients.get_mut(&conn) else { return };
            if client.backlog >= ANSWER_BACKLOG {
                return;
            }
            let Some((message, granted)) = client.held.pop_front() else { return };
            let (id, key) = (message.envelope.id, self.next_key);
            if message.envelope.kind == Kind::Ping {
                // Answered in its turn: who floods and does not read holds back himself.
                client.asked = client.asked.saturating_sub(granted);
                self.send(conn, Message::seal(Kind::Pong, id, &(), Vec::new()), io);
                io.grant(conn, granted);
                continue;
            }
            self.next_key += 1;
            client.at_work += 1;
            let mut work = AtWork { conn, id, granted, reserved: 0 };
            match client.service {
                Some(Access::Storage) => match message.body::<StorageRequest>() {
                    Ok(request) => {
                        work.reserved = answer_len(&request);
                        client.backlog = client.backlog.saturating_add(work.reserved);
                        self.at_work.insert(key, work);
                        self.inquiries.push_back(Inquiry::Storage { key, request, bulk: message.bulk });
                    }
                    Err(_) => {
                        self.at_work.insert(key, work);
                        self.answer_storage(key, Err(StorageError::Unsupported), io);
                    }
                },
                Some(Access::Introducer) => {
                    self.at_work.insert(key, work);
                    match message.body::<IntroducerRequest>() {
                        Ok(request) => self.inquiries.push_back(Inquiry::Introducer { conn, key, request }),
                        Err(_) => self.answer_introducer(key, Err(IntroducerError::Unsupported), io),
                    }
                }
                Some(Access::Vdrive(rights)) => {
                    self.at_work.insert(key, work);
                    match message.body::<VdriveRequest>() {
                        Ok(request) => self.inquiries.push_back(Inquiry::Vdrive { key, rights, request }),
                        Err(_) => self.answer_vdrive(key, Err(VdriveError::Unsupported), io),
                    }
                }
                None => return,
            }
        }
    }

    pub(crate) fn answer_storage(
        &mut self,
        key: u64,
        result: Result<(StorageAnswer, Vec<Payload>), StorageError>,
        io: &mut Io,
    ) {
        match result {
            Ok((answer, bulk)) => self.answer(key, Kind::Answer, &answer, bulk, io),
            Err(error) => self.answer(key, Kind::Failure, &error, Vec::new(), io),
        }
    }

    pub(crate) fn answer_introducer(&mut self, key: u64, result: Result<(), IntroducerError>, io: &mut Io) {
        match result {
            Ok(()) => self.answer(key, Kind::Answer, &(), Vec::new(), io),
            Err(error) => self.answer(key, Kind::Failure, &error, Vec::new(), io),
        }
    }

    pub(crate) fn answer_vdrive(&mut self, key: u64, result: Result<VdriveAnswer, VdriveError>, io: &mut Io) {
        match result {
            Ok(answer) => self.answer(key, Kind::Answer, &answer, Vec::new(), io),
            Err(error) => self.answer(key, Kind::Failure, &error, Vec::new(), io),
        }
    }

    fn answer(&mut self, key: u64, kind: Kind, body: &impl Serialize, bulk: Vec<Payload>, io: &mut Io) {
        let Some(AtWork { conn, id, granted, reserved }) = self.at_work.remove(&key) else { return };
        let Some(client) = self.clients.get_mut(&conn) else {
            self.orphaned = self.orphaned.saturating_sub(granted);
            return;
        };
        let frame = Message::seal(kind, id, body, bulk);
        client.at_work -= 1;
        client.asked = client.asked.saturating_sub(granted);
        client.backlog = client.backlog.saturating_sub(reserved);
        self.send(conn, frame, io);
        io.grant(conn, granted);
        self.release(conn, io);
        self.bound_memory(conn, io);
    }

    /// Sees to it that all clients together do not fill the memory: the one that fills most has to go.
    /// It may come again; its requests can be repeated, or others be asked.
    fn bound_memory(&mut self, conn: ConnId, io: &mut Io) {
        let light = |client: &Client| client.memory() < CLIENTS_MEMORY_MAX / INBOUND_MAX as u64;
        if self.clients.get(&conn).is_none_or(light) {
            return;
        }
        let all = self.clients.values().map(Client::memory).sum::<u64>().saturating_add(self.orphaned);
        if all <= CLIENTS_MEMORY_MAX {
            return;
        }
        // While those who left without waiting fill it, nobody else's going would help.
        let present = self.clients.iter().filter(|(_, client)| !client.expelled);
        let heaviest = present.max_by_key(|(_, client)| client.memory()).map(|(conn, _)| *conn);
        let goes = if self.orphaned > CLIENTS_MEMORY_MAX { Some(conn) } else { heaviest };
        if let Some(goes) = goes {
            self.expel(goes, io);
        }
    }

    /// Tells a client something it did not ask for just now.
    pub(crate) fn push(&mut self, conn: ConnId, body: &impl Serialize, io: &mut Io) {
        if let Some(client) = self.clients.get_mut(&conn) {
            let frame = Message::seal(Kind::Push, 0, body, Vec::new());
            // A subscriber that does not read is no subscriber.
            if client.backlog > 16 * ANSWER_BACKLOG {
                return self.expel(conn, io);
            }
            self.send(conn, frame, io);
        }
    }

    /// Sends a frame and counts it until it has left.
    fn send(&mut self, conn: ConnId, frame: Frame, io: &mut Io) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.backlog = client.backlog.saturating_add(frame.len());
        }
        io.send(conn, frame);
    }

    /// Closes the connection of a client that breaks the protocol.
    fn expel(&mut self, conn: ConnId, io: &mut Io) {
        if let Some(client) = self.clients.get_mut(&conn)
            && !core::mem::replace(&mut client.expelled, true)
        {
            // What is being worked on stays in memory until it is done.
            let held: u64 = client.held.drain(..).map(|(_, granted)| granted).sum();
            client.asked = client.asked.saturating_sub(held);
            client.backlog = 0;
            io.abort(conn);
        }
    }

    pub(crate) fn wake(&mut self, now: Now, io: &mut Io) {
        let mut gone = Vec::new();
        for (conn, client) in self.clients.iter_mut().filter(|(_, client)| !client.expelled) {
            let late = |since: Instant, patience| now.instant >= since + patience;
            match (client.service, client.pinged) {
                (None, _) if late(client.since, GREETING_PATIENCE) => gone.push(*conn),
                (Some(_), Some(pinged)) if late(pinged, PONG_PATIENCE) => gone.push(*conn),
                (Some(_), None) if late(client.last_heard, PING_AFTER) => {
                    let ping = Message::seal(Kind::Ping, 0, &(), Vec::new());
                    client.pinged = Some(now.instant);
                    client.backlog = client.backlog.saturating_add(ping.len());
                    io.send(*conn, ping);
                }
                _ => {}
            }
        }
        gone.into_iter().for_each(|conn| self.expel(conn, io));
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let client = |client: &Client| match (client.service, client.pinged) {
            (None, _) => client.since + GREETING_PATIENCE,
            (Some(_), Some(pinged)) => pinged + PONG_PATIENCE,
            (Some(_), None) => client.last_heard + PING_AFTER,
        };
        self.clients.values().filter(|client| !client.expelled).map(client).min()
    }

    pub(crate) fn stop(&mut self, io: &mut Io) {
        self.stopped = true;
        self.clients.keys().for_each(|conn| io.close(*conn));
        self.inquiries.clear();
        self.at_work.clear();
    }
}

/// The bytes to set aside for an answer.
fn answer_len(request: &StorageRequest) -> u64 {
    match request {
        StorageRequest::Read { ranges, .. } => read_len(ranges.iter().take(READ_RANGES_MAX), 1),
        StorageRequest::ReadSlot { shares, ranges, .. } => {
            let shares = if shares.is_empty() { 256 } else { shares.len() as u64 };
            read_len(ranges.iter().take(SLOT_READS_MAX), shares)
        }
        StorageRequest::ReadTestWrite { reads, .. } => read_len(reads.iter().take(SLOT_READS_MAX), 256),
        _ => 0,
    }
}

/// The most bytes that reading these ranges of so many shares gives. No answer is longer than a frame
/// may be.
fn read_len<'a>(ranges: impl Iterator<Item = &'a (u64, u64)>, shares: u64) -> u64 {
    let each = ranges.fold(0u64, |sum, (_, len)| sum.saturating_add(*len));
    each.saturating_mul(shares).min(BULK_LEN_MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use crate::machine::Action;

    #[test]
    fn who_is_thrown_out_wakes_nobody() {
        let mut io = Io::new(Entropy::new([0; 32]));
        let swissnum = Swissnum::new("abc").unwrap();
        let mut serving = Serving::new([(Access::Storage, swissnum)].into(), "p".into());
        let at = |seconds| Now { instant: Instant::ZERO + Duration::from_secs(seconds), ..Now::default() };
        serving.accepted(ConnId::Inbound(0), String::new(), at(0), &mut io);
        assert_eq!(serving.deadline(), Some(at(10).instant));
        while io.poll().is_some() {}
        for _ in 0..2 {
            // The host takes its time to close the connection.
            serving.wake(at(10), &mut io);
            assert_eq!(serving.deadline(), None);
        }
        assert!(matches!(io.poll(), Some(Action::Abort { conn: ConnId::Inbound(0) })));
        assert!(io.poll().is_none(), "once is enough");
    }
}
