//! What a connection is in the middle of, and how the node's reports become responses.

use super::routes::ranged_response;
use super::{Gateway, PLACEMENT_HEADER, SURVIVES_HEADER, text};
use crate::http::{Method, RequestHead, ResponseBody, ResponseHead};
use bytes::Bytes;
use std::collections::VecDeque;
use tallac_core::download::DownloadError;
use tallac_core::machine::{Action, ConnId};
use tallac_core::mutable::{Found, ReadError};
use tallac_core::operation::OperationId;
use tallac_core::payload::Payload;
use tallac_core::upload::{UploadError, Uploaded};

/// What a connection is in the middle of.
pub(super) enum Exchange {
    /// Nothing: the next request may come.
    Idle,
    /// A file is being stored.
    Upload(Upload),
    /// A file is being read.
    Download(Download),
    /// The shared root is being made.
    MakeRoot(OperationId),
}

pub(super) struct Upload {
    pub(super) id: OperationId,
    /// Bytes of the body that the node has not taken yet.
    pub(super) pending: VecDeque<Bytes>,
    /// Bytes that the node takes now.
    pub(super) credit: u64,
    pub(super) body_ended: bool,
    pub(super) end_told: bool,
}

pub(super) struct Download {
    pub(super) id: OperationId,
    /// Granted to the node and not delivered yet.
    pub(super) granted: u64,
    pub(super) response: Response,
}

/// The response to a read.
pub(super) enum Response {
    /// How long a mutable file is shows when it is found.
    Unknown(Box<RequestHead>),
    /// Its head and the length of its body. It waits for the first bytes: a failure before that gets a
    /// status.
    Ready(Box<ResponseHead>, u64),
    /// Its head is out.
    Begun,
}

impl Exchange {
    pub(super) fn operation(&self) -> Option<OperationId> {
        match self {
            Exchange::Idle => None,
            Exchange::Upload(upload) => Some(upload.id),
            Exchange::Download(download) => Some(download.id),
            Exchange::MakeRoot(id) => Some(*id),
        }
    }

    /// Whether more of a request may be looked at. The body of an upload waits for the node.
    pub(super) fn may_take_body(&self) -> bool {
        match self {
            Exchange::Upload(upload) => upload.pending.is_empty(),
            Exchange::Idle | Exchange::Download(_) | Exchange::MakeRoot(_) => true,
        }
    }
}

impl Upload {
    pub(super) fn new(id: OperationId) -> Upload {
        Upload { id, pending: VecDeque::new(), credit: 0, body_ended: false, end_told: false }
    }

    pub(super) fn waits_for_client(&self) -> bool {
        !self.body_ended && self.pending.is_empty() && self.credit > 0
    }
}

impl Gateway {
    /// Answers with a line of text.
    pub(super) fn answer_text(&mut self, conn: ConnId, status: u16, body: &str) {
        let body = text(format!("{body}\n"));
        self.answer(conn, status, "text/plain; charset=utf-8", body);
    }

    /// Answers with a whole body.
    pub(super) fn answer(&mut self, conn: ConnId, status: u16, content_type: &'static str, body: Bytes) {
        let head = plain_head(status, content_type);
        self.answer_with(conn, head, body);
    }

    pub(super) fn answer_with(&mut self, conn: ConnId, head: ResponseHead, body: Bytes) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.exchange = Exchange::Idle;
        connection.http.respond(head, ResponseBody::Length(body.len() as u64));
        connection.http.send_body(body);
        connection.http.finish();
        self.dirty.insert(conn);
    }

    pub(super) fn uploaded(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<Box<Uploaded>, Box<UploadError>>,
    ) {
        self.end_operation(id);
        match result {
            Ok(uploaded) => {
                let cap = uploaded.cap.to_string();
                let mut head = plain_head(200, "text/plain; charset=utf-8");
                if let Some(plan) = &uploaded.plan {
                    let _ = head.headers.push(PLACEMENT_HEADER, plan.to_string());
                    let _ = head.headers.push(SURVIVES_HEADER, plan.survives.to_string());
                }
                self.answer_with(conn, head, text(cap));
            }
            Err(error) => {
                let status = match &*error {
                    UploadError::SourceTooShort { .. } | UploadError::SourceTooLong { .. } => 400,
                    UploadError::TooLarge { .. } => 413,
                    UploadError::SpoolFull { .. } => 507,
                    UploadError::Spool(_) | UploadError::SpoolDamaged => 500,
                    UploadError::NoServers | UploadError::Unhappy { .. } | UploadError::Stopping => 503,
                };
                self.answer_text(conn, status, &format!("The file was not stored: {error}."));
            }
        }
    }

    pub(super) fn download_data(&mut self, conn: ConnId, data: Payload) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Download(download) = &mut connection.exchange else { return };
        if let Response::Ready(head, len) = std::mem::replace(&mut download.response, Response::Begun) {
            connection.http.respond(*head, ResponseBody::Length(len));
        }
        download.granted = download.granted.saturating_sub(data.len());
        if let Some(bytes) = data.into_bytes() {
            connection.http.send_body(bytes);
        }
    }

    /// The newest version of a mutable file is known, and with it what the response says.
    pub(super) fn mutable_found(&mut self, conn: ConnId, id: OperationId, found: &Found) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Download(download) = &mut connection.exchange else { return };
        let Response::Unknown(head) = &download.response else { return };
        let range = wanted_part(head);
        let Some((response, range)) = ranged_response(range, found.size()) else {
            self.end_operation(id);
            return self.unsatisfiable(conn, found.size());
        };
        let len = range.end - range.start;
        if head.method == Method::Head {
            connection.exchange = Exchange::Idle;
            connection.http.respond(response, ResponseBody::Length(len));
            connection.http.finish();
            return self.end_operation(id);
        }
        download.response = Response::Ready(Box::new(response), len);
    }

    pub(super) fn downloaded(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<(), Box<DownloadError>>,
    ) {
        let status = |error: &DownloadError| match error {
            DownloadError::NotEnoughShares { .. } => 410,
            DownloadError::Inconsistent { .. } => 500,
            DownloadError::Stopping => 503,
        };
        self.read_ended(conn, id, result.map_err(|error| (status(&error), error.to_string())));
    }

    pub(super) fn mutable_read(&mut self, conn: ConnId, id: OperationId, result: Result<(), Box<ReadError>>) {
        let status = |error: &ReadError| match error {
            ReadError::NotFound { .. } | ReadError::NotEnoughShares { .. } => 410,
            ReadError::Inconsistent { .. } => 500,
            ReadError::Changed | ReadError::Stopping => 503,
        };
        self.read_ended(conn, id, result.map_err(|error| (status(&error), error.to_string())));
    }

    /// A read is over; if it failed, with a status and the reason.
    fn read_ended(&mut self, conn: ConnId, id: OperationId, result: Result<(), (u16, String)>) {
        self.end_operation(id);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Download(download) = &mut connection.exchange else { return };
        let response = std::mem::replace(&mut download.response, Response::Begun);
        connection.exchange = Exchange::Idle;
        match (result, response) {
            (Ok(()), Response::Begun) => connection.http.finish(),
            // Every byte of nothing was delivered.
            (Ok(()), Response::Ready(head, _)) => self.answer_with(conn, *head, Bytes::new()),
            (Ok(()), Response::Unknown(_)) => {
                self.answer_text(conn, 500, "The file was read, but not found.")
            }
            (Err((status, error)), Response::Ready(..) | Response::Unknown(_)) => {
                self.answer_text(conn, status, &format!("The file cannot be read: {error}."));
            }
            (Err((_, error)), Response::Begun) => {
                // The status is out already: only a body cut short tells the client.
                connection.http.abort();
                self.actions.push_back(Action::Report(tallac_core::operation::Report::Notice(
                    tallac_core::operation::Notice {
                        level: tallac_core::operation::NoticeLevel::Warning,
                        text: format!("a download broke off half-way: {error}"),
                    },
                )));
            }
        }
    }
}

/// The `Range` header of a request for a mutable file. One that counts from the end is ignored, as any
/// may be: how long the file is shows only when it is being read.
pub(super) fn wanted_part(head: &RequestHead) -> Option<&[u8]> {
    let counts_from_end = |value: &&[u8]| {
        let from = value.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
        value[from..].trim_ascii_start().first() == Some(&b'-')
    };
    head.headers.get("Range").filter(|value| !counts_from_end(value))
}

/// The headers that every response has.
pub(super) fn plain_head(status: u16, content_type: &'static str) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    head.headers = head
        .headers
        .with("Content-Type", content_type)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
        .with("X-Frame-Options", "DENY")
        .with("Cache-Control", "no-store");
    head
}
