//! Connections that no node made: what is said on them is said by hand.

use super::{LATENCY, MemoryGrid, STRANGER, Tamper, swissnum};
use std::time::Duration;
use tallac_core::machine::{ConnId, Event};
use tallac_core::wire::{Frame, Hello, Kind, Message};

/// A connection to a server that is made by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stranger(ConnId);

impl<T: Tamper> MemoryGrid<T> {
    /// Connects to a server by hand. Nothing is said.
    pub fn connect(&mut self, server: usize) -> Stranger {
        let conn = ConnId::Outbound(self.next_conn);
        self.heard.insert(conn, Vec::new());
        self.join(STRANGER, conn, server);
        Stranger(conn)
    }

    /// Connects to a server by hand and greets it as a client should.
    pub fn greet(&mut self, server: usize) -> Stranger {
        let stranger = self.connect(server);
        self.say(stranger, hello(server));
        assert_eq!(self.answers(stranger).len(), 1, "a welcome");
        stranger
    }

    /// Sends a frame by hand; nothing tampers with it.
    pub fn say(&mut self, stranger: Stranger, frame: Frame) {
        if let Some((server, conn)) = self.wires.get(&(STRANGER, stranger.0)).copied() {
            self.at(LATENCY, server, Event::Frame { conn, frame });
        }
    }

    /// Waits a moment and gives what was said to a stranger since it was last asked for.
    pub fn answers(&mut self, stranger: Stranger) -> Vec<Message> {
        self.run(Duration::from_millis(50));
        self.heard.get_mut(&stranger.0).map(std::mem::take).unwrap_or_default()
    }

    /// Whether a stranger is still connected.
    pub fn is_connected(&self, stranger: Stranger) -> bool {
        self.wires.contains_key(&(STRANGER, stranger.0))
    }

    /// From now on a stranger reads nothing.
    pub fn become_deaf(&mut self, stranger: Stranger) {
        self.deaf.insert(stranger.0, 0);
    }

    /// Bytes that wait to be sent to a deaf stranger.
    pub fn unread(&self, stranger: Stranger) -> u64 {
        self.deaf.get(&stranger.0).copied().unwrap_or(0)
    }

    pub(super) fn stranger(&mut self, event: Event) {
        if let Event::Frame { conn, frame } = event {
            let message = Message::open(frame).expect("servers send messages");
            self.heard.entry(conn).or_default().push(message);
        }
    }
}

/// What a client says first to a server.
pub fn hello(server: usize) -> Frame {
    let (proof, program) = (Vec::new(), "by hand".into());
    let hello = Hello { versions: (1, 1), swissnum: swissnum(server), proof, program };
    Message::seal(Kind::Hello, 0, &hello, Vec::new())
}
