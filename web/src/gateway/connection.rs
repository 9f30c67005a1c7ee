//! The connections of the web port: how they begin and end, and how far each is taken.

use super::drive_pages::Face;
use super::exchange::Exchange;
use super::patience::{Patience, Turn};
use super::{Gateway, OUTDATED_HEADER};
use crate::http::{Limits, ResponseBody, ResponseHead, ServerConnection, ServerEvent};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tallac_core::machine::{Action, ConnId};
use tallac_core::operation::Command;
use tallac_core::time::{Instant, Now};

/// What [`OUTDATED_HEADER`] says.
const OUTDATED: &str = "a newer version exists, but too few of its shares can be reached now";
/// Bytes that a connection may send before the gateway has worked off what came before.
const READ_AHEAD: u64 = 256 * 1024;
/// Bytes of responses that may lie unsent when the next request is looked at.
const UNREAD_MAX: u64 = 256 * 1024;
/// Most connections at once. For one more, that which is idle for longest is cut.
const CONNECTIONS_MAX: usize = 1_024;

/// A client, and what it is in the middle of.
pub(super) struct Connection {
    pub(super) http: ServerConnection,
    pub(super) exchange: Exchange,
    /// Who is answered.
    pub(super) face: Face,
    /// Where it comes from; nowhere, if that makes no sense.
    pub(super) from: IpAddr,
    /// Whether it comes from this machine, whose owner is taken to be the node's.
    pub(super) from_here: bool,
    /// Granted to be read and not come in yet.
    pub(super) granted: u64,
    /// Given to be sent and not gone yet.
    pub(super) unsent: u64,
    pub(super) patience: Patience,
    pub(super) closing: bool,
    /// What is about to be answered was read in a version that is not the newest.
    pub(super) outdated: bool,
}

impl Gateway {
    pub(super) fn accepted(&mut self, conn: ConnId, from: &str, now: Now) {
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

    pub(super) fn closed(&mut self, conn: ConnId, now: Now) {
        if let Some(connection) = self.connections.remove(&conn)
            && let Some(id) = connection.exchange.operation()
        {
            self.end_operation(id);
            self.command(Command::Cancel { id }, now);
        }
    }

    pub(super) fn with_connection(&mut self, conn: ConnId, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            change(connection);
            self.dirty.insert(conn);
        }
    }

    pub(super) fn wake(&mut self, now: Now) {
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

    /// Takes a connection as far as it can go: requests are read, answers written, reading granted.
    pub(super) fn advance(&mut self, conn: ConnId, now: Now) {
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

    pub(super) fn cancel_exchange(&mut self, conn: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let exchange = std::mem::replace(&mut connection.exchange, Exchange::Idle);
        if let Some(id) = exchange.operation() {
            self.end_operation(id);
            self.command(Command::Cancel { id }, now);
        }
    }
}

impl Connection {
    /// Begins a response.
    pub(super) fn respond(&mut self, mut head: ResponseHead, body: ResponseBody) {
        if std::mem::take(&mut self.outdated) {
            let _ = head.headers.push(OUTDATED_HEADER, OUTDATED);
        }
        self.http.respond(head, body);
    }

    /// When it has kept us waiting for too long. Waiting for the node does not count.
    pub(super) fn deadline(&self) -> Option<Instant> {
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
