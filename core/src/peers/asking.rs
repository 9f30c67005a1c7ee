//! Asking servers: a question goes out on the server's connection, its answer, or why there is
//! none, comes back to who asked.

use super::link::{ConnEvent, Link, LinkError, LinkEvent, LinkStatus, PONG_PATIENCE};
use super::table::ServerTable;
use crate::identity::ServerId;
use crate::io::Io;
use crate::limits::REQUESTS_PER_CONNECTION_MAX;
use crate::machine::ConnId;
use crate::operation::OperationId;
use crate::payload::Payload;
use crate::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use crate::time::{Instant, Now};
use crate::wire::{Kind, Message, ServiceKind};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
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

/// However many signs of life come, an answer is waited for no longer than this many times the
/// asker's patience.
const PATIENCE_TIMES_MAX: u32 = 3;

/// Who asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Asker {
    Upload(OperationId),
    Download(OperationId),
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
    /// Bytes it said it can take, when last asked.
    pub available_space: Option<u64>,
}

struct Ask {
    token: AskToken,
    request: StorageRequest,
    bulk: Vec<Payload>,
    sent: bool,
    effort: Effort,
    attempt: Attempt,
    asked_at: Instant,
    patience: Duration,
}

/// How often it has been tried to get a question answered.
///
/// ```text
/// First ──(silence)──▶ Probing ──(the connection broke)──▶ Second
///   └────────────────(the connection broke)──────────────────▲
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    First,
    /// Nothing came back, and the connection is being probed: perhaps it is dead and the server
    /// is not.
    Probing,
    /// It was sent before, on a connection that broke.
    Second,
}

impl Ask {
    /// Whether it does no harm to ask twice. The bulk of a write is gone once it was sent.
    fn is_repeatable(&self) -> bool {
        !self.sent || !matches!(self.request, StorageRequest::Write { .. })
    }

    /// Each sign of life starts the wait anew, but not for ever: a server that only says that it
    /// lives is as good as silent.
    fn patience_ends(&self, heard: Instant) -> Instant {
        (self.asked_at.max(heard) + self.patience).min(self.asked_at + self.patience * PATIENCE_TIMES_MAX)
    }
}

struct ServerLink {
    link: Link,
    asks: BTreeMap<u64, Ask>,
    /// No question runs out of patience before this. Signs of life and answers put that off, but it
    /// is only looked at again when it has come: there may be hundreds of questions.
    look_at: Option<Instant>,
    /// Asks that wait to be sent, first come first. May name some that were abandoned.
    unsent: VecDeque<u64>,
    /// Requests that the server has not answered, whether anybody still waits for that or not.
    unanswered: BTreeSet<u64>,
    last_used: Instant,
    /// When to ask again what the server can take.
    version_due: Instant,
    available_space: Option<u64>,
}

impl ServerLink {
    /// Whether a question has run out of patience. Each sign of life starts the wait anew: a slow
    /// server is not a silent one.
    fn is_silent(&mut self, now: Now) -> bool {
        if self.look_at.is_none_or(|at| now.instant < at) {
            return false;
        }
        self.look_again();
        self.look_at.is_some_and(|at| now.instant >= at)
    }

    fn look_again(&mut self) {
        let heard = self.link.last_heard().unwrap_or(Instant::ZERO);
        self.look_at = self.asks.values().map(|ask| ask.patience_ends(heard)).min();
    }

    fn new(link: Link, now: Now) -> ServerLink {
        ServerLink {
            link,
            asks: BTreeMap::new(),
            look_at: None,
            unsent: VecDeque::new(),
            unanswered: BTreeSet::new(),
            last_used: now.instant,
            version_due: now.instant + VERSION_EVERY,
            available_space: None,
        }
    }

    /// Sends what waits, no more at once than the server bears.
    fn send(&mut self, now: Now, io: &mut Io) {
        while self.link.is_up()
            && self.unanswered.len() < REQUESTS_PER_CONNECTION_MAX
            && let Some(id) = self.unsent.pop_front()
        {
            if let Some(ask) = self.asks.get_mut(&id) {
                (ask.sent, ask.asked_at) = (true, now.instant);
                self.link.send(Kind::Request, id, &ask.request, core::mem::take(&mut ask.bulk), io);
                self.unanswered.insert(id);
            }
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
        let id = self.next_ask;
        self.next_ask += 1;
        if let Err(error) = self.ready(server, effort, now, io) {
            self.answers.push_back((token, server, Err(error)));
            return;
        }
        let entry = self.links.get_mut(&server).expect("a ready server has a link");
        let asked_at = now.instant;
        let (sent, attempt) = (false, Attempt::First);
        let ask = Ask { token, request, bulk, sent, effort, attempt, asked_at, patience };
        if !matches!(token.asker, Asker::Node(_)) {
            entry.last_used = now.instant;
        }
        let ends = ask.patience_ends(Instant::ZERO);
        entry.look_at = Some(entry.look_at.map_or(ends, |at| at.min(ends)));
        entry.asks.insert(id, ask);
        entry.unsent.push_back(id);
        entry.send(now, io);
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
            let idle = self.links.iter().filter(|(_, entry)| entry.asks.is_empty());
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
            entry.asks.remove(&id);
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
        let closed = matches!(event, ConnEvent::Closed(_));
        if let Some(entry) = self.links.get_mut(&server) {
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
                self.table.heard(server, None, now.unix);
                entry.unsent = entry.asks.keys().copied().collect();
                entry.send(now, io);
            }
            Some(LinkEvent::Down(error)) => self.link_down(server, error, now, io),
            Some(LinkEvent::Message(message)) => {
                let result = read_answer(&message);
                match result {
                    // An answer nobody waits for (any more) is dropped.
                    Some(answer) => {
                        entry.unanswered.remove(&message.envelope.id);
                        entry.send(now, io);
                        if let Some(ask) = entry.asks.remove(&message.envelope.id) {
                            self.tokens.remove(&ask.token);
                            let answer = answer.map(|answer| (answer, message.bulk));
                            self.note_space(server, &answer, now);
                            self.answers.push_back((ask.token, server, answer.map_err(AskError::Server)));
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
        // A connection that had requests under way stood, and did not fail to be made.
        let stood = !entry.unanswered.is_empty();
        let broke = matches!(error, LinkError::Closed(_));
        entry.unanswered.clear();
        entry.unsent.clear();
        let again = |ask: &Ask| match ask.attempt {
            Attempt::First => stood && ask.is_repeatable() && (broke || ask.effort == Effort::Insist),
            Attempt::Probing => true,
            Attempt::Second => false,
        };
        for (_, ask) in entry.asks.extract_if(.., |_, ask| !again(ask)) {
            self.tokens.remove(&ask.token);
            self.answers.push_back((ask.token, server, Err(AskError::Link(error.clone()))));
        }
        for ask in entry.asks.values_mut() {
            (ask.sent, ask.attempt, ask.asked_at) = (false, Attempt::Second, now.instant);
        }
        if !entry.asks.is_empty()
            && let Err(error) = self.ready(server, Effort::Insist, now, io)
        {
            let entry = self.links.get_mut(&server).expect("looked up above");
            for (_, ask) in core::mem::take(&mut entry.asks) {
                self.tokens.remove(&ask.token);
                self.answers.push_back((ask.token, server, Err(error.clone())));
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
            self.table.heard(server, Some(*available_space == 0), now.unix);
            if let Some(entry) = self.links.get_mut(&server) {
                entry.available_space = Some(*available_space);
            }
        }
    }

    pub(crate) fn wake(&mut self, now: Now, io: &mut Io) {
        self.keep_connected(now, io);
        let servers: Vec<ServerId> = self.links.keys().copied().collect();
        for server in servers {
            let entry = self.links.get_mut(&server).expect("links do not vanish here");
            if entry.link.deadline().is_some_and(|at| now.instant >= at) {
                let event = entry.link.wake(now, io);
                self.link_event(server, ConnId::Outbound(u64::MAX), event, now, io);
            }
            let entry = self.links.get_mut(&server).expect("links do not vanish here");
            if entry.is_silent(now) {
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
        let heard = entry.link.last_heard().unwrap_or(Instant::ZERO);
        let is_late = |ask: &Ask| now.instant >= ask.patience_ends(heard);
        let mut patience = PONG_PATIENCE;
        for ask in entry.asks.values_mut().filter(|ask| is_late(ask)) {
            let first = ask.attempt == Attempt::First && ask.sent;
            if first && ask.effort == Effort::Insist && ask.is_repeatable() {
                (ask.attempt, ask.asked_at) = (Attempt::Probing, now.instant);
                patience = PROBE_PATIENCE.min(ask.patience);
            }
        }
        for (_, ask) in entry.asks.extract_if(.., |_, ask| is_late(ask)) {
            self.tokens.remove(&ask.token);
            self.answers.push_back((ask.token, server, Err(AskError::Silent(ask.patience))));
        }
        entry.look_again();
        entry.link.ping(patience, now, io);
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
            for (_, ask) in entry.asks {
                self.tokens.remove(&ask.token);
                self.answers.push_back((ask.token, server, Err(AskError::Unknown)));
            }
        }
        self.keep_connected(now, io);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let kept = self.table.len() <= self.config.connections_max && !self.stopped;
        let links = self.links.values().flat_map(|entry| {
            let retry = entry.link.is_down() && kept;
            let version = entry.link.is_up().then_some(entry.version_due);
            [entry.link.deadline(), entry.look_at, entry.link.retry_at().filter(|_| retry), version]
        });
        links.flatten().min()
    }

    pub(crate) fn stop(&mut self, io: &mut Io) {
        self.stopped = true;
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
