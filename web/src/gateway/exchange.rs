//! What a connection is in the middle of, and how it is answered.

use super::changing::Waiting;
use super::drive_pages::Face;
use super::entering::PersonalRead;
use super::gathering::Gathering;
use super::reading::Download;
use super::redirect::WhenDone;
use super::refusal::Refusal;
use super::storing::Storing;
use super::survey::Manifest;
use super::{Gateway, text};
use crate::http::percent::encode_segment;
use crate::http::{ResponseBody, ResponseHead};
use bytes::Bytes;
use tallac_core::machine::ConnId;
use tallac_core::operation::OperationId;

/// What a connection is in the middle of.
pub(super) enum Exchange {
    /// Nothing: the next request may come.
    Idle,
    /// The body of a request is needed before anything can be done.
    Gathering(Box<Gathering>),
    /// A file is being stored.
    Storing(Box<Storing>),
    /// Something else is being done, and will be answered in one piece.
    Waiting(Box<Waiting>),
    /// A tree is gone through, and told as it comes.
    Manifest(Box<Manifest>),
    /// A file is being read.
    Download(Download),
    /// The shared root is being made.
    MakeRoot(OperationId),
    /// The capability of the personal drive is being read or kept.
    Personal(Box<PersonalRead>),
}

impl Exchange {
    pub(super) fn operation(&self) -> Option<OperationId> {
        match self {
            Exchange::Idle | Exchange::Gathering(_) | Exchange::Personal(_) => None,
            Exchange::Storing(storing) => storing.operation(),
            Exchange::Waiting(waiting) => Some(waiting.id),
            Exchange::Manifest(manifest) => Some(manifest.id),
            Exchange::Download(download) => Some(download.id),
            Exchange::MakeRoot(id) => Some(*id),
        }
    }

    /// Whether more of a request may be looked at. A file to be stored waits for the node.
    pub(super) fn may_take_body(&self) -> bool {
        match self {
            Exchange::Storing(storing) => storing.may_take_body(),
            Exchange::Idle
            | Exchange::Gathering(_)
            | Exchange::Waiting(_)
            | Exchange::Manifest(_)
            | Exchange::Download(_)
            | Exchange::MakeRoot(_)
            | Exchange::Personal(_) => true,
        }
    }

    /// Whether it is the client's turn.
    pub(super) fn waits_for_client(&self) -> bool {
        match self {
            Exchange::Idle | Exchange::Gathering(_) => true,
            Exchange::Storing(storing) => storing.waits_for_client(),
            Exchange::Waiting(_)
            | Exchange::Manifest(_)
            | Exchange::Download(_)
            | Exchange::MakeRoot(_)
            | Exchange::Personal(_) => false,
        }
    }

    /// Bytes of a body that are held in memory.
    pub(super) fn held(&self) -> u64 {
        match self {
            Exchange::Gathering(gathering) => gathering.held(),
            Exchange::Storing(storing) => storing.held(),
            Exchange::Waiting(waiting) => waiting.held,
            Exchange::Idle
            | Exchange::Manifest(_)
            | Exchange::Download(_)
            | Exchange::MakeRoot(_)
            | Exchange::Personal(_) => 0,
        }
    }
}

impl Gateway {
    /// Answers with a line of text.
    pub(super) fn answer_text(&mut self, conn: ConnId, status: u16, body: &str) {
        let body = text(format!("{body}\n"));
        self.answer(conn, status, "text/plain; charset=utf-8", body);
    }

    /// Answers with why not.
    pub(super) fn refuse(&mut self, conn: ConnId, refusal: &Refusal) {
        match self.connections.get(&conn).map(|connection| &connection.face) {
            Some(Face::Page { back }) => {
                let back = back.clone();
                self.answer_message(conn, refusal.status, "That was not possible", &refusal.text, &back);
            }
            _ => self.answer_text(conn, refusal.status, &refusal.text),
        }
    }

    /// Answers with a whole body.
    pub(super) fn answer(&mut self, conn: ConnId, status: u16, content_type: &'static str, body: Bytes) {
        let head = plain_head(status, content_type);
        self.answer_with(conn, head, body);
    }

    pub(super) fn answer_with(&mut self, conn: ConnId, head: ResponseHead, body: Bytes) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.exchange = Exchange::Idle;
        connection.respond(head, ResponseBody::Length(body.len() as u64));
        connection.http.send_body(body);
        connection.http.finish();
        self.dirty.insert(conn);
    }

    /// Answers a change with what came of it, often a capability, or sends the browser on.
    pub(super) fn answer_done(&mut self, conn: ConnId, status: u16, result: String, when_done: &WhenDone) {
        let head = plain_head(status, "text/plain; charset=utf-8");
        self.answer_done_with(conn, head, result, when_done);
    }

    /// The same with more in the head.
    pub(super) fn answer_done_with(
        &mut self,
        conn: ConnId,
        mut head: ResponseHead,
        result: String,
        when_done: &WhenDone,
    ) {
        let (status, location) = match when_done {
            WhenDone::Tell => return self.answer_with(conn, head, text(result)),
            WhenDone::Go(to) => (302, to.replace("%(uri)s", &encode_segment(&result))),
            WhenDone::GoToResult => (303, format!("/uri/{}", encode_segment(&result))),
            WhenDone::Script => return self.answer_with(conn, head, Bytes::new()),
            WhenDone::Page(to) => return self.send_to(conn, to),
            WhenDone::PageOfResult => {
                let to = result.parse().ok().and_then(|cap| self.page_of(&cap));
                return self.send_to(conn, &format!("{}?t=share", to.unwrap_or_default()));
            }
        };
        head.status = status;
        match head.headers.push("Location", location) {
            Ok(()) => self.answer_with(conn, head, text(result)),
            Err(_) => self.answer_text(conn, 400, "The address in when_done= cannot stand in a header."),
        }
    }
}

/// The headers that every response has.
pub(super) fn plain_head(status: u16, content_type: &str) -> ResponseHead {
    head_framed_by(status, content_type, "DENY")
}

/// The same with a word on which pages may show it in a frame.
pub(super) fn head_framed_by(status: u16, content_type: &str, frames: &'static str) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    // A type guessed from a name is a token, too; if it were not, it would be left out.
    let _ = head.headers.push("Content-Type", content_type);
    head.headers = head
        .headers
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
        .with("X-Frame-Options", frames)
        .with("Cache-Control", "no-store");
    head
}
