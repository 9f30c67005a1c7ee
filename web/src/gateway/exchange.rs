//! What a connection is in the middle of, and how the node's reports become responses.

use super::{Gateway, PLACEMENT_HEADER, SURVIVES_HEADER, text};
use crate::http::{ResponseBody, ResponseHead};
use bytes::Bytes;
use std::collections::VecDeque;
use tallac_core::download::DownloadError;
use tallac_core::machine::{Action, ConnId};
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
    /// The response, until the first bytes are there: a failure before that gets a status.
    pub(super) head: Option<(ResponseHead, u64)>,
}

impl Exchange {
    pub(super) fn operation(&self) -> Option<OperationId> {
        match self {
            Exchange::Idle => None,
            Exchange::Upload(upload) => Some(upload.id),
            Exchange::Download(download) => Some(download.id),
        }
    }

    /// Whether more of a request may be looked at. The body of an upload waits for the node.
    pub(super) fn may_take_body(&self) -> bool {
        match self {
            Exchange::Upload(upload) => upload.pending.is_empty(),
            Exchange::Idle | Exchange::Download(_) => true,
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
        if let Some((head, len)) = download.head.take() {
            connection.http.respond(head, ResponseBody::Length(len));
        }
        download.granted = download.granted.saturating_sub(data.len());
        if let Some(bytes) = data.into_bytes() {
            connection.http.send_body(bytes);
        }
    }

    pub(super) fn downloaded(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<(), Box<DownloadError>>,
    ) {
        self.end_operation(id);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Download(download) = &mut connection.exchange else { return };
        let head = download.head.take();
        connection.exchange = Exchange::Idle;
        match (result, head) {
            (Ok(()), None) => connection.http.finish(),
            // Every byte of nothing was delivered.
            (Ok(()), Some((head, _))) => self.answer_with(conn, head, Bytes::new()),
            (Err(error), Some(_)) => {
                let status = match &*error {
                    DownloadError::NotEnoughShares { .. } => 410,
                    DownloadError::Inconsistent { .. } => 500,
                    DownloadError::Stopping => 503,
                };
                self.answer_text(conn, status, &format!("The file cannot be read: {error}."));
            }
            (Err(error), None) => {
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
