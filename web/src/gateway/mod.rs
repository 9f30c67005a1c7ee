//! A node with its web port: one machine that a runtime drives like a bare node.
//!
//! The paths are those of Tahoe-LAFS's web API: `PUT /uri` stores a file and answers its
//! capability, `GET /uri/CAP` reads it (ranges, HEAD), `/uri/DIRCAP/PATH` is something in a directory,
//! `GET /?t=json` tells how the node stands. `PUT /uri?ophandle=NAME` makes the progress of the upload
//! visible at `GET /operations/NAME`. `POST /private/make-root` is for the
//! owner of a vdrive server only. `web/API.md` has all of it.
//!
//! A `connection` hands its requests to `routes`; what takes several steps is an `exchange` of it, each kind in
//! its own file. `reports` passes on what the node tells meanwhile.

mod changing;
mod choosing;
mod connection;
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
mod reports;
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

use bytes::Bytes;
use connection::Connection;
use drive_pages::Pages;
use entering::Counted;
use handles::Handles;
use patience::Turn;
use reports::UploadView;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tallac_core::machine::{Action, ActionId, ConnId, Event, Machine, Protocol};
use tallac_core::node::Node;
use tallac_core::operation::{OperationId, Report};
use tallac_core::time::{Instant, Now};
use tickets::Tickets;

/// Header of the answer to a `PUT`: where the shares are, in words.
pub const PLACEMENT_HEADER: &str = "Tallac-Placement";
/// Header of the answer to a `PUT`: the file outlives the loss of any this many servers.
pub const SURVIVES_HEADER: &str = "Tallac-Survives";
/// Header of the answer to a read: what was read is not the newest version; a sentence for people.
pub const OUTDATED_HEADER: &str = "Tallac-Outdated";

/// Bytes of a response that may lie unsent before no more of the file is asked for.
const WRITE_AHEAD: u64 = 4 * 1024 * 1024;
/// Bytes of bodies that are held in memory for all clients together.
const HELD_MAX: u64 = 512 * 1024 * 1024;

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
}

/// A short text as the body of a response.
fn text(body: impl Into<String>) -> Bytes {
    Bytes::from(body.into().into_bytes())
}
