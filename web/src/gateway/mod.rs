//! A node with its web port: one machine that a runtime drives like a bare node.
//!
//! The paths are those of Tahoe-LAFS's web API: `PUT /uri` stores a file and answers its
//! capability, `GET /uri/CAP` reads it (ranges, HEAD), `/uri/DIRCAP/PATH` is something in a directory,
//! `GET /?t=json` tells how the node stands. `PUT /uri?ophandle=NAME` makes the progress of the upload
//! visible at `GET /operations/NAME`. `POST /private/make-root` is for the
//! owner of a vdrive server only. `web/API.md` has all of it.
//!
//! A request goes through `routes`; what takes several steps is an `exchange` of its connection,
//! each kind in its own file.

mod changing;
mod choosing;
mod content;
mod drive_pages;
mod entering;
mod exchange;
mod gathering;
mod handles;
mod information;
mod listing;
mod login;
mod looking;
mod naming;
mod node_json;
mod node_pages;
mod operating;
mod patience;
mod private;
mod reading;
mod redirect;
mod refusal;
mod request;
mod routes;
mod status;
mod storing;
mod survey;
mod tickets;
mod tree_json;

pub use login::LoginToken;
pub(crate) use node_json::{format_of, size_in};
pub use private::ApiToken;

use crate::http::{Limits, ResponseBody, ResponseHead, ServerConnection, ServerEvent};
use bytes::Bytes;
use drive_pages::{Face, Pages};
use entering::Counted;
use exchange::Exchange;
use handles::Handles;
use patience::{Patience, Turn};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tallac_core::machine::{Action, ActionId, ConnId, Event, Machine, Protocol};
use tallac_core::node::Node;
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::time::{Instant, Now};
use tallac_core::upload::{UploadPlan, UploadProgress};
use tickets::Tickets;

/// Header of the answer to a `PUT`: where the shares are, in words.
pub const PLACEMENT_HEADER: &str = "Tallac-Placement";
/// Header of the answer to a `PUT`: the file outlives the loss of any this many servers.
pub const SURVIVES_HEADER: &str = "Tallac-Survives";
/// Header of the answer to a read: what was read is not the newest version; a sentence for people.
pub const OUTDATED_HEADER: &str = "Tallac-Outdated";
/// What it says.
const OUTDATED: &str = "a newer version exists, but too few of its shares can be reached now";

/// Bytes that a connection may send before the gateway has worked off what came before.
const READ_AHEAD: u64 = 256 * 1024;
/// Bytes of a response that may lie unsent before no more of the file is asked for.
const WRITE_AHEAD: u64 = 4 * 1024 * 1024;
/// Bytes of responses that may lie unsent when the next request is looked at.
const UNREAD_MAX: u64 = 256 * 1024;
/// Bytes of bodies that are held in memory for all clients together.
const HELD_MAX: u64 = 512 * 1024 * 1024;
/// Most connections at once. For one more, that which is idle for longest is cut.
const CONNECTIONS_MAX: usize = 1_024;

/// A node and its web port.
pub struct Gateway {
    node: Node,
    connections: BTreeMap<ConnId, Connection>,
    operations: BTreeMap<OperationId, ConnId>,
    /// The uploads that are watched by name.
    watched: BTreeMap<String, OperationId>,
    views: BTreeMap<OperationId, UploadView>,
    /// The surveys that go on by themselves.
    handles: Handles,
    /// What these told and was not looked at yet.
    handle_reports: VecDeque<Report>,
    next_operation: u64,
    started: Instant,
    /// What the node's owner shows.
    token: Option<ApiToken>,
    /// What everybody shows, if the node asks who uses it.
    login: Option<LoginToken>,
    /// What browsers may be let in with.
    tickets: Tickets,
    /// Without them there are no pages.
    pages: Option<Pages>,
    /// The next number of a disk action of the gateway's own.
    next_disk: u64,
    /// Reads the personal drive's capability at the start.
    first_look: Option<ActionId>,
    /// What is stored at the node.
    counted: Counted,
    /// Names that browsers may know the node by, beside those that nobody else can give it.
    names: Vec<String>,
    /// Connections for which something has changed.
    dirty: BTreeSet<ConnId>,
    /// What the node told and was not looked at yet.
    reports: VecDeque<(ConnId, Report)>,
    actions: VecDeque<Action>,
}

/// What is known of an upload under way.
#[derive(Debug, Default)]
struct UploadView {
    handle: Option<String>,
    received: u64,
    size: Option<u64>,
    plan: Option<Box<UploadPlan>>,
    progress: Option<UploadProgress>,
}

struct Connection {
    http: ServerConnection,
    exchange: Exchange,
    /// Who is answered.
    face: Face,
    /// Where it comes from; nowhere, if that makes no sense.
    from: IpAddr,
    /// Whether it comes from this machine, whose owner is taken to be the node's.
    from_here: bool,
    /// Granted to be read and not come in yet.
    granted: u64,
    /// Given to be sent and not gone yet.
    unsent: u64,
    patience: Patience,
    closing: bool,
    /// What is about to be answered was read in a version that is not the newest.
    outdated: bool,
}

impl Machine for Gateway {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Accepted { conn, protocol: Protocol::Web, from } => self.accepted(conn, &from, now),
            Event::Received { conn, data } if self.connections.contains_key(&conn) => {
                self.with_connection(conn, |connection| {
                    connection.granted = connection.granted.saturating_sub(data.len());
                    connection.patience.earn(Turn::Sender, data.len(), now.instant);
                    if let Some(bytes) = data.into_bytes() {
                        connection.http.receive(bytes);
                    }
                });
            }
            Event::ReceivedEnd { conn } if self.connections.contains_key(&conn) => {
                if self.connections[&conn].exchange.operation().is_some() {
                    // Programs that only close their sending side are rarer than users who hang up:
                    // what is under way for nobody is given up.
                    self.cancel_exchange(conn, now);
                    self.actions.push_back(Action::Abort { conn });
                } else {
                    self.with_connection(conn, |connection| connection.http.receive_eof());
                }
            }
            Event::Sent { conn, bytes } if self.connections.contains_key(&conn) => {
                self.with_connection(conn, |connection| {
                    connection.unsent = connection.unsent.saturating_sub(bytes);
                    connection.patience.earn(Turn::Reader, bytes, now.instant);
                });
            }
            Event::Closed { conn, .. } if self.connections.contains_key(&conn) => self.closed(conn, now),
            Event::DiskDone { id, result } if entering::is_ours(id) => {
                self.disk_done(id, result, now);
            }
            Event::Wake => {
                self.wake(now);
                self.forget_handles(now);
                self.node.handle(Event::Wake, now);
            }
            other => self.node.handle(other, now),
        }
        self.collect();
        self.advance_all(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        let connections = self.connections.values().filter_map(Connection::deadline).min();
        [self.node.deadline(), self.handles.deadline(), connections].into_iter().flatten().min()
    }
}

impl Gateway {
    /// Puts a web side around a node.
    pub fn new(node: Node, now: Now) -> Gateway {
        let mut gateway = Gateway {
            node,
            connections: BTreeMap::new(),
            operations: BTreeMap::new(),
            watched: BTreeMap::new(),
            views: BTreeMap::new(),
            handles: Handles::default(),
            handle_reports: VecDeque::new(),
            next_operation: 0,
            started: now.instant,
            token: None,
            login: None,
            tickets: Tickets::default(),
            pages: None,
            next_disk: 0,
            first_look: None,
            counted: Counted::Not { before: None },
            names: Vec::new(),
            dirty: BTreeSet::new(),
            reports: VecDeque::new(),
            actions: VecDeque::new(),
        };
        gateway.collect();
        gateway.advance_all(now);
        gateway
    }

    /// Answers to these host names, too. Others that anybody could have led here are refused.
    #[must_use]
    pub fn with_names(mut self, names: Vec<String>) -> Gateway {
        self.names = names;
        self
    }

    /// The node inside.
    pub fn node(&self) -> &Node {
        &self.node
    }

    fn accepted(&mut self, conn: ConnId, from: &str, now: Now) {
        if self.connections.len() >= CONNECTIONS_MAX && !self.make_room() {
            self.actions.push_back(Action::Abort { conn });
            return;
        }
        let from = from.parse().map(|from: SocketAddr| from.ip().to_canonical());
        let connection = Connection {
            http: ServerConnection::new(Limits::default()),
            exchange: Exchange::Idle,
            face: Face::Program,
            from_here: from.as_ref().is_ok_and(IpAddr::is_loopback),
            from: from.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            granted: 0,
            unsent: 0,
            patience: Patience::new(now.instant),
            closing: false,
            outdated: false,
        };
        self.connections.insert(conn, connection);
        self.dirty.insert(conn);
    }

    /// Cuts the connection that has been idle for longest. Whoever is in the middle of a request, once all
    /// of its head has come, stays. Returns whether there was one.
    fn make_room(&mut self) -> bool {
        let idle = self.connections.iter().filter(|(_, connection)| connection.is_idle());
        let Some(conn) = idle.min_by_key(|(_, idle)| idle.patience.since()).map(|(conn, _)| *conn) else {
            return false;
        };
        self.connections.remove(&conn);
        self.actions.push_back(Action::Abort { conn });
        true
    }

    fn closed(&mut self, conn: ConnId, now: Now) {
        if let Some(connection) = self.connections.remove(&conn)
            && let Some(id) = connection.exchange.operation()
        {
            self.end_operation(id);
            self.command(Command::Cancel { id }, now);
        }
    }

    fn with_connection(&mut self, conn: ConnId, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            change(connection);
            self.dirty.insert(conn);
        }
    }

    fn wake(&mut self, now: Now) {
        let due = |connection: &Connection| connection.deadline().is_some_and(|at| now.instant >= at);
        let late: Vec<ConnId> =
            self.connections.iter().filter(|(_, c)| due(c)).map(|(conn, _)| *conn).collect();
        for conn in late {
            let connection = self.connections.get_mut(&conn).expect("just listed");
            connection.patience.begin_anew(now.instant);
            if connection.unsent > 0 || connection.closing {
                self.actions.push_back(Action::Abort { conn });
            } else {
                self.with_connection(conn, |connection| connection.http.receive_timeout());
            }
        }
    }

    fn advance_all(&mut self, now: Now) {
        loop {
            if let Some((conn, report)) = self.reports.pop_front() {
                self.report(conn, report, now);
                self.dirty.insert(conn);
            } else if let Some(report) = self.handle_reports.pop_front() {
                self.handle_report(report, now);
            } else if let Some(conn) = self.dirty.pop_first() {
                self.advance(conn, now);
            } else {
                return;
            }
        }
    }

    /// Takes a connection as far as it can go: requests are read, answers written, reading granted.
    fn advance(&mut self, conn: ConnId, now: Now) {
        loop {
            let Some(connection) = self.connections.get_mut(&conn) else { return };
            let mut moved = false;
            while let Some(bytes) = connection.http.poll_output() {
                connection.unsent += bytes.len() as u64;
                self.actions.push_back(Action::SendBytes { conn, data: bytes.into() });
                moved = true;
            }
            if connection.may_take_more()
                && let Some(event) = connection.http.poll_event()
            {
                self.http_event(conn, event, now);
                moved = true;
            }
            moved |= self.feed(conn, now);
            self.grant_download(conn, now);
            self.feed_manifest(conn, now);
            if !moved {
                break;
            }
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.http.should_close() && !connection.closing {
            connection.closing = true;
            self.actions.push_back(Action::Close { conn });
        } else if connection.http.wants_input() && connection.granted < READ_AHEAD / 2 && !connection.closing
        {
            let bytes = READ_AHEAD - connection.granted;
            connection.granted += bytes;
            self.actions.push_back(Action::Grant { conn, bytes });
        }
        connection.patience.turn(connection.whose_turn(), now.instant);
    }

    fn http_event(&mut self, conn: ConnId, event: ServerEvent, now: Now) {
        if matches!(event, ServerEvent::Request(_) | ServerEvent::BodyEnd)
            && let Some(connection) = self.connections.get_mut(&conn)
        {
            connection.patience.renew_for_sender(now.instant);
        }
        match event {
            ServerEvent::Request(head) => self.route(conn, head, now),
            ServerEvent::Body(bytes) => self.body(conn, Some(bytes), now),
            ServerEvent::BodyEnd => self.body(conn, None, now),
            ServerEvent::Bad(error) => {
                self.cancel_exchange(conn, now);
                let Some(connection) = self.connections.get_mut(&conn) else { return };
                if connection.http.awaits_response() {
                    self.answer_text(conn, error.status(), &error.to_string());
                } else {
                    connection.http.abort();
                }
            }
            ServerEvent::Closed => {}
        }
    }

    /// More of a body, or its end.
    fn body(&mut self, conn: ConnId, bytes: Option<Bytes>, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match (&mut connection.exchange, bytes) {
            (Exchange::Storing(storing), Some(bytes)) => storing.content().push(bytes),
            (Exchange::Storing(storing), None) => storing.content().end(),
            (Exchange::Gathering(_), bytes) => self.gathered(conn, bytes, now),
            // Nobody wants it.
            (
                Exchange::Idle
                | Exchange::Waiting(_)
                | Exchange::Manifest(_)
                | Exchange::Download(_)
                | Exchange::MakeRoot(_)
                | Exchange::Personal(_),
                _,
            ) => {}
        }
    }

    /// Asks for more of a file while the client keeps reading.
    fn grant_download(&mut self, conn: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let unsent = connection.unsent + connection.http.output_len() as u64;
        if let Exchange::Download(download) = &mut connection.exchange {
            let outstanding = download.granted + unsent;
            let more = WRITE_AHEAD.saturating_sub(outstanding);
            if more >= WRITE_AHEAD / 4 {
                download.granted += more;
                let id = download.id;
                self.command(Command::DownloadGrant { id, bytes: more }, now);
            }
        }
    }

    fn cancel_exchange(&mut self, conn: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let exchange = std::mem::replace(&mut connection.exchange, Exchange::Idle);
        if let Some(id) = exchange.operation() {
            self.end_operation(id);
            self.command(Command::Cancel { id }, now);
        }
    }

    fn new_operation(&mut self, conn: ConnId) -> OperationId {
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        self.operations.insert(id, conn);
        id
    }

    fn end_operation(&mut self, id: OperationId) {
        self.operations.remove(&id);
        if let Some(handle) = self.views.remove(&id).and_then(|view| view.handle) {
            self.watched.remove(&handle);
        }
    }

    /// Gives an operation up whose answer is known already.
    fn drop_operation(&mut self, id: OperationId, now: Now) {
        self.end_operation(id);
        self.command(Command::Cancel { id }, now);
    }

    fn command(&mut self, command: Command, now: Now) {
        // The node's actions must be taken before its next event.
        self.collect();
        self.node.handle(Event::Command(command), now);
        self.collect();
    }

    /// Takes the node's actions: reports are for the web side, the rest for the host.
    fn collect(&mut self) {
        while let Some(action) = self.node.poll_action() {
            let Action::Report(report) = action else {
                self.actions.push_back(action);
                continue;
            };
            match report.operation() {
                Some(id) if self.handles.have(id) => self.handle_reports.push_back(report),
                Some(id) => {
                    let conn = self.operations.get(&id);
                    self.reports.extend(conn.map(|conn| (*conn, report)));
                }
                None => {
                    if matches!(report, Report::Stopped) {
                        self.actions
                            .extend(self.connections.keys().map(|conn| Action::Close { conn: *conn }));
                    }
                    self.actions.push_back(Action::Report(report));
                }
            }
        }
    }

    /// The node tells something about the operation of a connection.
    fn report(&mut self, conn: ConnId, report: Report, now: Now) {
        // It may have been given up since.
        let under_way = report.operation().filter(|id| self.operations.get(id) == Some(&conn));
        let (Some(id), Some(connection)) = (under_way, self.connections.get_mut(&conn)) else { return };
        let measures = matches!(connection.exchange, Exchange::Waiting(_));
        match report {
            Report::UploadGrant { bytes, .. } => {
                if let Exchange::Storing(storing) = &mut connection.exchange {
                    storing.granted(bytes);
                }
            }
            Report::UploadPlanned { plan, .. } => {
                if let Some(view) = self.views.get_mut(&id) {
                    view.plan = Some(plan);
                }
            }
            Report::UploadProgress { progress, .. } => {
                if let Some(view) = self.views.get_mut(&id) {
                    view.progress = Some(progress);
                }
            }
            Report::Uploaded { result, .. } => self.uploaded(conn, id, result, now),
            Report::Changed { result, .. } => self.changed(conn, id, result, now),
            Report::Errand { result, .. } => self.errand_done(conn, id, result, now),
            Report::Surveyed { found, .. } => self.surveyed(conn, *found),
            Report::Located { locations, .. } => self.located(conn, id, &locations),
            Report::DownloadData { data, .. } => self.download_data(conn, data),
            Report::Downloaded { result, .. } => self.downloaded(conn, id, result),
            Report::MutableFound { found, .. } if measures => self.measured(conn, id, Ok(&found), now),
            Report::MutableFound { found, .. } => self.mutable_found(conn, id, &found, now),
            Report::MutableRead { result: Err(error), .. } if measures => {
                self.measured(conn, id, Err(&error), now);
            }
            Report::RootMade { result, .. } => self.root_made(conn, id, result),
            Report::MutableRead { result, .. } => self.mutable_read(conn, id, result),
            Report::Notice(_) | Report::Stopped => {}
        }
    }
}

impl Connection {
    /// Begins a response.
    fn respond(&mut self, mut head: ResponseHead, body: ResponseBody) {
        if std::mem::take(&mut self.outdated) {
            let _ = head.headers.push(OUTDATED_HEADER, OUTDATED);
        }
        self.http.respond(head, body);
    }

    /// When it has kept us waiting for too long. Waiting for the node does not count.
    fn deadline(&self) -> Option<Instant> {
        self.patience.ends()
    }

    fn whose_turn(&self) -> Turn {
        if self.unsent > 0 {
            Turn::Reader
        } else if self.exchange.waits_for_client() {
            Turn::Sender
        } else {
            Turn::Node
        }
    }

    /// Whether more of a request may be looked at. The next waits until most of what was answered before
    /// is read: somebody who asks and never reads would fill the memory with answers.
    fn may_take_more(&self) -> bool {
        let between = matches!(self.exchange, Exchange::Idle);
        self.exchange.may_take_body() && !(between && self.unsent > UNREAD_MAX)
    }

    /// Whether it is between two requests: nothing is lost with it.
    fn is_idle(&self) -> bool {
        self.unsent == 0 && !self.closing && self.http.awaits_request()
    }
}

/// A short text as the body of a response.
fn text(body: impl Into<String>) -> Bytes {
    Bytes::from(body.into().into_bytes())
}
