//! A web port as a machine, in virtual time: a gateway whose only server is out of reach, its disk, and
//! clients made by hand. Disk and jobs finish when they please; bytes come in pieces of any length.

use crate::memory_grid::{GridSetup, MemoryDisk, config};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tallac_core::entropy::Entropy;
use tallac_core::job;
use tallac_core::machine::{Action, CloseReason, ConnId, Event, Machine, Protocol};
use tallac_core::node::Node;
use tallac_core::time::{Instant, Now, UnixTime};
use tallac_soft_rsa::SoftRsa;
use tallac_web::gateway::Gateway;

/// The gateway and its clients.
pub struct Lonely {
    /// The gateway.
    pub gateway: Gateway,
    /// Its disk.
    pub disk: MemoryDisk,
    /// The time there.
    pub now: Now,
    /// Bytes of a client that come in at once, at most.
    pub piece_max: u64,
    chance: Entropy,
    /// How slow disk and jobs are, out of 20.
    slowness: u64,
    /// What the gateway waits for, in no particular order.
    under_way: Vec<Event>,
    clients: BTreeMap<ConnId, Client>,
    next: u64,
}

/// What is known of a client, and what it wants to say.
#[derive(Debug, Default)]
pub struct Client {
    /// What it has still to say.
    pub to_say: VecDeque<u8>,
    /// What was said to it.
    pub said: Vec<u8>,
    /// Whether it reads nothing.
    pub deaf: bool,
    /// Bytes that were sent to who is deaf, and not read.
    pub unread: u64,
    /// Whether the gateway has ended the connection.
    pub over: bool,
    /// Bytes that the gateway takes of it now.
    granted: u64,
}

impl Lonely {
    /// A gateway, and nobody connected to it yet.
    pub fn new(seed: u64) -> Lonely {
        let now = Now { instant: Instant(1_000_000_000), unix: UnixTime(1_700_000_000) };
        let setup = GridSetup { servers: 1, segment: 128 * 1024, ..GridSetup::new(3, 10) };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut lonely = Lonely {
            gateway: Gateway::new(Node::new(config(1, &setup), bytes, now), now),
            disk: MemoryDisk::default(),
            now,
            piece_max: u64::MAX,
            chance: Entropy::new(bytes),
            slowness: seed % 21,
            under_way: Vec::new(),
            clients: BTreeMap::new(),
            next: 0,
        };
        lonely.carry_out();
        lonely
    }

    /// Somebody connects.
    pub fn connect(&mut self) -> ConnId {
        self.next += 1;
        let conn = ConnId::Inbound(self.next);
        self.clients.insert(conn, Client::default());
        self.handle(Event::Accepted { conn, protocol: Protocol::Web, from: "here".into() });
        conn
    }

    /// A client.
    ///
    /// # Panics
    /// If there never was one of this number.
    pub fn client(&mut self, conn: ConnId) -> &mut Client {
        self.clients.get_mut(&conn).expect("it has connected")
    }

    /// A client is to say this after what it has to say already.
    pub fn say(&mut self, conn: ConnId, bytes: &[u8]) {
        self.client(conn).to_say.extend(bytes);
    }

    /// A client hangs up: it sends no more, or is gone at once.
    pub fn hang_up(&mut self, conn: ConnId, at_once: bool) {
        self.client(conn).to_say.clear();
        self.handle(if at_once {
            Event::Closed { conn, reason: CloseReason::Ended }
        } else {
            Event::ReceivedEnd { conn }
        });
    }

    /// A deaf client reads so many bytes after all.
    pub fn hear(&mut self, conn: ConnId, bytes: u64) {
        let client = self.client(conn);
        let bytes = bytes.min(client.unread);
        client.unread -= bytes;
        self.handle(Event::Sent { conn, bytes });
    }

    /// Hands an event in.
    pub fn handle(&mut self, event: Event) {
        self.gateway.handle(event, self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.gateway.poll_action() {
            let event = match action {
                Action::Disk { id, steps } => Event::DiskDone { id, result: self.disk.run(steps) },
                Action::Job { id, job } => Event::JobDone { id, output: job::run(job, &SoftRsa) },
                Action::SendBytes { conn, data } => {
                    let client = self.client(conn);
                    client.said.extend_from_slice(data.bytes().expect("real bytes"));
                    if client.deaf {
                        client.unread += data.len();
                        continue;
                    }
                    Event::Sent { conn, bytes: data.len() }
                }
                Action::Grant { conn, bytes } => {
                    self.client(conn).granted += bytes;
                    continue;
                }
                Action::Close { conn } | Action::Abort { conn } if self.clients.contains_key(&conn) => {
                    let client = self.client(conn);
                    client.over = true;
                    client.to_say.clear();
                    Event::Closed { conn, reason: CloseReason::Ended }
                }
                _ => continue,
            };
            self.under_way.push(event);
        }
    }

    /// Lets one thing happen that can; `false` if only time can help.
    pub fn step(&mut self) -> bool {
        let may_read = |client: &Client| client.granted.min(client.to_say.len() as u64);
        let speakers: Vec<ConnId> = self
            .clients
            .iter()
            .filter(|(_, client)| !client.over && may_read(client) > 0)
            .map(|(conn, _)| *conn)
            .collect();
        if self.under_way.is_empty() && speakers.is_empty() {
            return false;
        }
        let pick = self.chance.below(self.under_way.len() as u64 + 1) as usize;
        // The slower the disk, the more often a client is quicker.
        let reads =
            !speakers.is_empty() && (pick == self.under_way.len() || self.chance.below(20) < self.slowness);
        if !reads && !self.under_way.is_empty() {
            let event = self.under_way.swap_remove(pick.min(self.under_way.len() - 1));
            self.handle(event);
        } else {
            let conn = speakers[self.chance.below(speakers.len() as u64) as usize];
            let most = may_read(&self.clients[&conn]).min(self.piece_max);
            let len = 1 + self.chance.below(most);
            let client = self.client(conn);
            client.granted -= len;
            let data: Vec<u8> = client.to_say.drain(..len as usize).collect();
            self.handle(Event::Received { conn, data: data.into() });
        }
        true
    }

    /// Lets everything happen that needs no time.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        self.settle();
        while self.pass_to_deadline(end) {
            self.settle();
        }
        self.now.instant = end;
    }

    /// Goes on to the gateway's deadline, unless that is later than `end`.
    fn pass_to_deadline(&mut self, end: Instant) -> bool {
        let due = self.gateway.deadline().filter(|due| *due <= end);
        if let Some(due) = due {
            self.now.instant = self.now.instant.max(due) + Duration::from_millis(1);
            self.handle(Event::Wake);
        }
        due.is_some()
    }

    /// What a client is answered, within a minute at most, as far as it comes without delay.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn answer(&mut self, conn: ConnId) -> String {
        let end = self.now.instant + Duration::from_secs(60);
        loop {
            self.settle();
            let said = std::mem::take(&mut self.client(conn).said);
            if !said.is_empty() {
                return String::from_utf8_lossy(&said).into_owned();
            }
            let unread = self.client(conn).to_say.len();
            assert!(self.pass_to_deadline(end), "no answer; {unread} bytes were not read");
        }
    }

    /// Operations that the node has under way.
    pub fn operations(&self) -> (usize, usize) {
        self.gateway.node().status(0, self.now).operations
    }
}
