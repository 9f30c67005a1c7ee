//! Asking servers: a question goes out on the server's connection, its answer, or why there is
//! none, comes back to who asked.

use super::link::{ConnEvent, Link, LinkError, LinkEvent, LinkStatus, PONG_PATIENCE};
use super::questions::{Question, Questions};
use super::table::ServerTable;
use crate::identity::ServerId;
use crate::io::Io;
use crate::machine::ConnId;
use crate::operation::OperationId;
use crate::payload::Payload;
use crate::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use crate::time::{Instant, Now};
use crate::wire::{Kind, Message, ServiceKind};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;

/// A server that let a connection attempt run out of patience is not tried again for this long by
/// those who can do without it.
const AVOID_SILENT: Duration = Duration::from_secs(60);

/// A connection that stays silent this long although a sign of life was asked for is made anew, if
/// the server is needed.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// A connected server is asked this often how much it can take.
const VERSION_EVERY: Duration = Duration::from_secs(60);

/// Who asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Asker {
    Upload(OperationId),
    Download(OperationId),
    /// A change of a mutable file.
    Change(OperationId),
    /// A download of a mutable file.
    Read(OperationId),
    /// Somebody who wants to see where shares are.
    Locate(OperationId),
    /// The node itself wants to know what a server is.
    Node(ServerId),
}

/// Names a question: who asked, and the asker's number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AskToken {
    pub(crate) asker: Asker,
    pub(crate) id: u64,
}

/// How much an asker needs this very server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Effort {
    /// Others would do: a server that was silent lately is not waited for.
    Normal,
    /// Try to connect, whatever happened before.
    Insist,
}

/// What came of a question: the answer with its bulk bytes.
pub type Answer = Result<(StorageAnswer, Payload), AskError>;

/// Why a question has no answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AskError {
    /// There is no connection to the server.
    Link(LinkError),
    /// The connection stands, but nothing came back within the time given.
    Silent(Duration),
    /// The server answered that it cannot.
    Server(StorageError),
    /// The server is not known (any more).
    Unknown,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Link(error) => error.fmt(f),
            AskError::Silent(patience) => {
                write!(f, "it did not answer within {} seconds", patience.as_secs_f32())
            }
            AskError::Server(error) => error.fmt(f),
            AskError::Unknown => f.write_str("no address of it is known"),
        }
    }
}

/// Settings of the connections to servers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeersConfig {
    /// Most connections to servers kept at once. A grid of at most this many servers stays
    /// connected; in a larger one connections are made on demand.
    pub connections_max: usize,
    /// The program and its version, as told to servers.
    pub program: String,
}

/// A server and how its connection stands, for people.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServerStatus {
    /// Which server.
    pub server: ServerId,
    /// Its connection.
    pub link: LinkStatus,
    /// Since when it could not be reached.
    pub down_since: Option<Instant>,
    /// Bytes it said it can take, when last asked.
    pub available_space: Option<u64>,
}

struct ServerLink {
    link: Link,
    questions: Questions,
    last_used: Instant,
    /// When to ask again what the server can take.
    version_due: Instant,
    available_space: Option<u64>,
}

impl ServerLink {
    fn new(link: Link, now: Now) -> ServerLink {
        ServerLink {
            link,
            questions: Questions::default(),
            last_used: now.instant,
            version_due: now.instant + VERSION_EVERY,
            available_space: None,
        }
    }
}

pub(crate) struct Peers {
    pub(crate) table: ServerTable,
    config: PeersConfig,
    links: BTreeMap<ServerId, Box<ServerLink>>,
    conns: BTreeMap<ConnId, ServerId>,
    tokens: BTreeMap<AskToken, (ServerId, u64)>,
    next_ask: u64,
    answers: VecDeque<(AskToken, ServerId, Answer)>,
    stopped: bool,
    /// The deadline, as long as nothing happens that may change it: it is asked for several times at each
    /// event of the node, and there may be hundreds of connections.
    due: Cell<Option<Option<Instant>>>,
}

impl Peers {
    pub(crate) fn new(table: ServerTable, config: PeersConfig) -> Peers {
        Peers {
            table,
            config,
            links: BTreeMap::new(),
            conns: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_ask: 0,
            answers: VecDeque::new(),
            stopped: false,
            due: Cell::new(None),
        }
    }

    pub(crate) fn poll_answer(&mut self) -> Option<(AskToken, ServerId, Answer)> {
        self.answers.pop_front()
    }

    pub(crate) fn owns(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// Asks a server. Exactly one answer for `token` comes out of [`Peers::poll_answer`], unless it
    /// is abandoned first.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn ask(
        &mut self,
        token: AskToken,
        server: ServerId,
        request: StorageRequest,
        bulk: Vec<Payload>,
        patience: Duration,
        effort: Effort,
        now: Now,
        io: &mut Io,
    ) {
        self.due.set(None);
        let id = self.next_ask;
        self.next_ask += 1;
        if let Err(error) = self.ready(server, effort, now, io) {
            self.answers.push_back((token, server, Err(error)));
            return;
        }
        let entry = self.links.get_mut(&server).expect("a ready server has a link");
        if !matches!(token.asker, Asker::Node(_)) {
            entry.last_used = now.instant;
        }
        entry.questions.add(id, Question::new(token, request, bulk, patience, effort, now));
        entry.questions.send(&mut entry.link, now, io);
        self.tokens.insert(token, (server, id));
    }

    /// Makes sure there is a link that stands or is being made.
    fn ready(&mut self, server: ServerId, effort: Effort, now: Now, io: &mut Io) -> Result<(), AskError> {
        let record = self.table.find(&server).ok_or(AskError::Unknown)?;
        let service = record.info.service.clone().ok_or(AskError::Unknown)?;
        if self.stopped {
            return Err(AskError::Unknown);
        }
        if !self.links.contains_key(&server) {
            self.make_room(io);
            let link = Link::new(service, ServiceKind::Storage, self.config.program.clone());
            self.links.insert(server, Box::new(ServerLink::new(link, now)));
        }
        let entry = self.links.get_mut(&server).expect("just made");
        if entry.link.is_down() {
            let silent = matches!(entry.link.last_error(), Some(LinkError::Silent));
            let avoid = entry.link.retry_at().is_some_and(|at| now.instant < at + AVOID_SILENT);
            if silent && avoid && effort == Effort::Normal {
                return Err(AskError::Link(LinkError::Silent));
            }
            for conn in entry.link.connect(now, io) {
                self.conns.insert(conn, server);
            }
        }
        Ok(())
    }

    /// Drops the link that has been idle for longest, if there are as many as allowed.
    fn make_room(&mut self, io: &mut Io) {
        while self.links.len() >= self.config.connections_max.max(1) {
            let idle = self.links.iter().filter(|(_, entry)| entry.questions.is_empty());
            let oldest = idle.min_by_key(|(server, entry)| (entry.last_used, **server));
            let Some(server) = oldest.map(|(server, _)| *server) else { return };
            let mut entry = self.links.remove(&server).expect("just found");
            entry.link.drop_now(io);
            self.conns.retain(|_, owner| *owner != server);
        }
    }

    /// The answer to a question is no longer wanted.
    pub(crate) fn abandon(&mut self, token: AskToken) {
        if let Some((server, id)) = self.tokens.remove(&token)
            && let Some(entry) = self.links.get_mut(&server)
        {
            entry.questions.abandon(id);
        }
    }

    /// Abandons every question of an asker.
    pub(crate) fn abandon_all(&mut self, asker: Asker) {
        let first = AskToken { asker, id: 0 };
        let last = AskToken { asker, id: u64::MAX };
        let tokens: Vec<AskToken> = self.tokens.range(first..=last).map(|(token, _)| *token).collect();
        tokens.into_iter().for_each(|token| self.abandon(token));
        self.answers.retain(|(token, _, _)| token.asker != asker);
    }

    pub(crate) fn handle(&mut self, conn: ConnId, event: ConnEvent, now: Now, io: &mut Io) {
        let Some(&server) = self.conns.get(&conn) else { return };
        self.due.set(None);
        let closed = matches!(event, ConnEvent::Closed(_));
        if let Some(entry) = self.links.get_mut(&server) {
            match &event {
                ConnEvent::Partial => entry.questions.part(now),
                ConnEvent::Sent(bytes) => entry.questions.left(*bytes, now),
                _ => {}
            }
            let happened = entry.link.handle(conn, event, now, io);
            self.link_event(server, conn, happened, now, io);
        }
        if closed {
            self.conns.remove(&conn);
        }
    }

    fn link_event(
        &mut self,
        server: ServerId,
        conn: ConnId,
        event: Option<LinkEvent>,
        now: Now,
        io: &mut Io,
    ) {
        let Some(entry) = self.links.get_mut(&server) else { return };
        match event {
            None => {}
            Some(LinkEvent::Up) => {
                self.table.heard(server, None, now);
                entry.questions.up();
                entry.questions.send(&mut entry.link, now, io);
            }
            Some(LinkEvent::Down(error)) => self.link_down(server, error, now, io),
            Some(LinkEvent::Message(message)) => {
                let result = read_answer(&message);
                match result {
                    // An answer nobody waits for (any more) is dropped.
                    Some(answer) => {
                        let question = entry.questions.answered(message.envelope.id, now);
                        entry.questions.send(&mut entry.link, now, io);
                        if let Some(Question { token, .. }) = question {
                            self.tokens.remove(&token);
                            let answer = answer.map(|answer| (answer, message.bulk));
                            self.note_space(server, &answer, now);
                            self.answers.push_back((token, server, answer.map_err(AskError::Server)));
                        }
                    }
                    None => {
                        let event = entry.link.misbehaved(conn, "an answer that makes no sense", now, io);
                        self.link_event(server, conn, event, now, io);
                    }
                }
            }
        }
    }

    /// A connection broke or could not be made. What can be asked twice is asked again, once: an
    /// idle connection to a server that was restarted meanwhile breaks when it is next used.
    fn link_down(&mut self, server: ServerId, error: LinkError, now: Now, io: &mut Io) {
        let Some(entry) = self.links.get_mut(&server) else { return };
        let broke = matches!(error, LinkError::Closed(_));
        let tried_at = entry.link.tried_at();
        for Question { token, .. } in entry.questions.down(broke, tried_at, now) {
            self.tokens.remove(&token);
            self.answers.push_back((token, server, Err(AskError::Link(error.clone()))));
        }
        if !entry.questions.is_empty()
            && let Err(error) = self.ready(server, Effort::Insist, now, io)
        {
            let entry = self.links.get_mut(&server).expect("looked up above");
            for Question { token, .. } in entry.questions.take_all() {
                self.tokens.remove(&token);
                self.answers.push_back((token, server, Err(error.clone())));
            }
        }
    }

    fn note_space(
        &mut self,
        server: ServerId,
        answer: &Result<(StorageAnswer, Payload), StorageError>,
        now: Now,
    ) {
        if let Ok((StorageAnswer::Version { available_space, .. }, _)) = answer {
            self.table.heard(server, Some(*available_space == 0), now);
            if let Some(entry) = self.links.get_mut(&server) {
                entry.available_space = Some(*available_space);
            }
        }
    }

    pub(crate) fn wake(&mut self, now: Now, io: &mut Io) {
        self.due.set(None);
        self.keep_connected(now, io);
        let servers: Vec<ServerId> = self.links.keys().copied().collect();
        for server in servers {
            let entry = self.links.get_mut(&server).expect("links do not vanish here");
            if entry.link.deadline().is_some_and(|at| now.instant >= at) {
                let event = entry.link.wake(now, io);
                self.link_event(server, ConnId::Outbound(u64::MAX), event, now, io);
            }
            let entry = self.links.get_mut(&server).expect("links do not vanish here");
            if entry.questions.look_at().is_some_and(|at| now.instant >= at) {
                self.silent(server, now, io);
            }
            let entry = self.links.get_mut(&server).expect("links do not vanish here");
            if entry.link.is_up() && now.instant >= entry.version_due {
                self.ask_version(server, now, io);
            }
        }
    }

    /// Answers the questions of a server that have waited long enough, and asks for a sign of life.
    /// Where no other server will do, the connection gets a short time to show that it is alive.
    fn silent(&mut self, server: ServerId, now: Now, io: &mut Io) {
        let entry = self.links.get_mut(&server).expect("called for a server with a link");
        let (late, probe) = entry.questions.late(now);
        if probe || !late.is_empty() {
            entry.link.ping(if probe { PROBE_PATIENCE } else { PONG_PATIENCE }, now, io);
        }
        for Question { token, patience, .. } in late {
            self.tokens.remove(&token);
            self.answers.push_back((token, server, Err(AskError::Silent(patience))));
        }
    }

    /// While the grid is small enough, every server stays connected.
    fn keep_connected(&mut self, now: Now, io: &mut Io) {
        if self.table.len() > self.config.connections_max || self.stopped {
            return;
        }
        let wanted: Vec<ServerId> = self.table.iter().map(|(server, _)| *server).collect();
        for server in wanted {
            let due = match self.links.get(&server) {
                None => true,
                Some(entry) => {
                    entry.link.is_down() && entry.link.retry_at().is_none_or(|at| now.instant >= at)
                }
            };
            if due && self.ready(server, Effort::Insist, now, io).is_ok() {
                self.ask_version(server, now, io);
            }
        }
    }

    fn ask_version(&mut self, server: ServerId, now: Now, io: &mut Io) {
        if let Some(entry) = self.links.get_mut(&server) {
            entry.version_due = now.instant + VERSION_EVERY;
        }
        let token = AskToken { asker: Asker::Node(server), id: self.next_ask };
        let patience = Duration::from_secs(30);
        self.ask(token, server, StorageRequest::Version, Vec::new(), patience, Effort::Insist, now, io);
    }

    /// The table has changed: connects to new servers and to new addresses of known ones.
    pub(crate) fn table_changed(&mut self, now: Now, io: &mut Io) {
        self.due.set(None);
        let moved: Vec<ServerId> = (self.links.iter())
            .filter(|(server, entry)| {
                self.table.find(server).and_then(|r| r.info.service.as_ref()) != Some(entry.link.service())
            })
            .map(|(server, _)| *server)
            .collect();
        for server in moved {
            let mut entry = self.links.remove(&server).expect("just listed");
            entry.link.drop_now(io);
            self.conns.retain(|_, owner| *owner != server);
            for Question { token, .. } in entry.questions.take_all() {
                self.tokens.remove(&token);
                self.answers.push_back((token, server, Err(AskError::Unknown)));
            }
        }
        self.keep_connected(now, io);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.due.get().unwrap_or_else(|| self.first_due());
        debug_assert_eq!(due, self.first_due(), "something changed the deadline unnoticed");
        self.due.set(Some(due));
        due
    }

    fn first_due(&self) -> Option<Instant> {
        let kept = self.table.len() <= self.config.connections_max && !self.stopped;
        let links = self.links.values().flat_map(|entry| {
            let retry = entry.link.is_down() && kept;
            let version = entry.link.is_up().then_some(entry.version_due);
            [
                entry.link.deadline(),
                entry.questions.look_at(),
                entry.link.retry_at().filter(|_| retry),
                version,
            ]
        });
        links.flatten().min()
    }

    pub(crate) fn stop(&mut self, io: &mut Io) {
        self.stopped = true;
        self.due.set(None);
        for entry in self.links.values_mut() {
            // What was just sent still goes out: shares in progress are being given up.
            entry.link.close(io);
        }
        self.links.clear();
        self.tokens.clear();
        self.answers.clear();
    }

    /// How many servers are connected.
    pub(crate) fn connected(&self) -> usize {
        self.links.values().filter(|entry| entry.link.is_up()).count()
    }

    /// How many servers that take shares can be reached: those connected, as far as all known ones
    /// are kept connected, else those known.
    pub(crate) fn writable(&self, now: Now) -> usize {
        if self.table.len() > self.config.connections_max {
            return self.table.writable(now);
        }
        let up = self.links.iter().filter(|(_, entry)| entry.link.is_up());
        up.filter(|(server, _)| self.table.find(server).is_some_and(|record| !record.read_only)).count()
    }

    /// Whether a server's first connection attempt has not ended yet.
    pub(crate) fn undecided(&self) -> bool {
        self.table.len() <= self.config.connections_max
            && self
                .links
                .values()
                .any(|e| matches!(e.link.status(), LinkStatus::Connecting) && e.link.last_error().is_none())
    }

    pub(crate) fn status(&self, server: &ServerId) -> ServerStatus {
        let entry = self.links.get(server);
        ServerStatus {
            server: *server,
            link: entry.map_or(LinkStatus::Down(None), |entry| entry.link.status()),
            down_since: entry.and_then(|entry| entry.link.down_since()),
            available_space: entry.and_then(|entry| entry.available_space),
        }
    }
}

/// `None` if the message is no answer at all. What an answer says is checked by who asked.
fn read_answer(message: &Message) -> Option<Result<StorageAnswer, StorageError>> {
    match message.envelope.kind {
        Kind::Answer => message.body().ok().map(Ok),
        Kind::Failure => Some(Err(message.body().map_or(StorageError::Unsupported, StorageError::printable))),
        _ => None,
    }
}
