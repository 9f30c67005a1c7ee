//! Reading files: ranges, tags, names, and how the node's reports become a response.

use super::exchange::{Exchange, head_framed_by, plain_head};
use super::refusal::Refusal;
use super::{Gateway, text};
use crate::http::percent::encode_segment;
use crate::http::range::{RangeRequest, unsatisfied_content_range};
use crate::http::{Headers, Method, RequestHead, ResponseBody, ResponseHead};
use bytes::Bytes;
use std::ops::Range;
use tallac_core::capability::{Capability, ChkCap, MutableReadCap};
use tallac_core::download::DownloadError;
use tallac_core::machine::{Action, ConnId};
use tallac_core::mutable::{Found, ReadError};
use tallac_core::operation::{Command, Notice, NoticeLevel, OperationId, Report};
use tallac_core::payload::Payload;
use tallac_core::time::Now;

/// How often a file is looked at anew because its size changes before its end can be read.
const LOOKS_MAX: usize = 4;

pub(super) struct Download {
    pub(super) id: OperationId,
    /// Granted to the node and not delivered yet.
    pub(super) granted: u64,
    response: Response,
}

/// The response to a read.
enum Response {
    /// How long a mutable file is shows when it is found.
    Unknown(Box<MutableRead>),
    /// Its head and the length of its body. It waits for the first bytes: a failure before that gets a
    /// status.
    Ready(Box<ResponseHead>, u64),
    /// Its head is out.
    Begun,
}

/// A mutable file that is being found.
struct MutableRead {
    cap: MutableReadCap,
    wanted: Wanted,
    /// What was asked of the node; all, if `None`.
    asked: Option<Range<u64>>,
    looks: usize,
}

/// What a client wants of a file.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) head: RequestHead,
    /// What the file is called, if that is known.
    pub(super) name: Option<String>,
    /// Whether a browser is to keep it rather than show it.
    pub(super) save: bool,
    /// What of it a page of this node shows.
    pub(super) shown: Shown,
}

/// How a file is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    /// By itself.
    Alone,
    /// Within a page of this node.
    InPage,
    /// The same, as text whatever it is.
    InPageAsText,
}

impl Gateway {
    /// Answers with a file.
    pub(super) fn read(
        &mut self,
        conn: ConnId,
        cap: &Capability,
        wanted: Wanted,
        now: Now,
    ) -> Result<(), Refusal> {
        match cap {
            Capability::Literal(cap) => {
                let data = Bytes::copy_from_slice(cap.data());
                match wanted.response(data.len() as u64, None) {
                    Some((response, range)) => {
                        let body = data.slice(range.start as usize..range.end as usize);
                        self.answer_with(conn, response, body);
                    }
                    None => self.unsatisfiable(conn, data.len() as u64),
                }
            }
            Capability::Chk(cap) => self.read_chk(conn, cap.clone(), &wanted, now),
            Capability::Mutable(cap) => self.read_mutable(conn, cap.read_cap(), wanted, now),
            Capability::MutableRead(cap) => self.read_mutable(conn, cap.clone(), wanted, now),
            Capability::ChkVerify(_) | Capability::MutableVerify(_) => {
                return Err(Refusal::bad(
                    "This is a verify capability: it can check the file, but not read it.",
                ));
            }
            Capability::Directory(_) => {
                return Err(Refusal::bad("This is a directory: it is read at /uri, not at /file."));
            }
            Capability::Unknown(_) => return Err(unknown_kind(cap)),
        }
        Ok(())
    }

    fn read_chk(&mut self, conn: ConnId, cap: ChkCap, wanted: &Wanted, now: Now) {
        let Some((response, range)) = wanted.response(cap.size, Some(&cap)) else {
            return self.unsatisfiable(conn, cap.size);
        };
        let len = range.end - range.start;
        if response.status == 304 {
            return self.answer_with(conn, response, Bytes::new());
        }
        if wanted.head.method == Method::Head {
            // The capability holds the size: nobody needs to be asked.
            return self.answer_head(conn, response, len);
        }
        let id = self.new_operation(conn);
        if let Some(connection) = self.connections.get_mut(&conn) {
            let response = Response::Ready(Box::new(response), len);
            connection.exchange = Exchange::Download(Download { id, granted: 0, response });
        }
        self.command(Command::Download { id, cap, range }, now);
    }

    fn read_mutable(&mut self, conn: ConnId, cap: MutableReadCap, wanted: Wanted, now: Now) {
        // A part that counts from the end can be read only when the size is known.
        let asked = match wanted.range(None).map(|value| RangeRequest::parse(value, u64::MAX)) {
            _ if wanted.head.method == Method::Head => Some(0..0),
            Some(RangeRequest::Part(part)) if part.first() > u64::MAX / 2 => Some(0..0),
            Some(RangeRequest::Part(part)) => Some(part.first()..part.last().saturating_add(1)),
            Some(RangeRequest::Unsatisfiable) => Some(0..0),
            Some(RangeRequest::Whole) | None => None,
        };
        self.find_mutable(conn, MutableRead { cap, wanted, asked, looks: 0 }, now);
    }

    fn find_mutable(&mut self, conn: ConnId, read: MutableRead, now: Now) {
        let id = self.new_operation(conn);
        let (cap, range) = (read.cap.clone(), read.asked.clone());
        if let Some(connection) = self.connections.get_mut(&conn) {
            let response = Response::Unknown(Box::new(read));
            connection.exchange = Exchange::Download(Download { id, granted: 0, response });
        }
        self.command(Command::ReadMutable { id, cap, range }, now);
    }

    pub(super) fn answer_head(&mut self, conn: ConnId, response: ResponseHead, len: u64) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.exchange = Exchange::Idle;
            connection.respond(response, ResponseBody::Length(len));
            connection.http.finish();
            self.dirty.insert(conn);
        }
    }

    fn unsatisfiable(&mut self, conn: ConnId, size: u64) {
        let mut head = plain_head(416, "text/plain; charset=utf-8");
        let _ = head.headers.push("Content-Range", unsatisfied_content_range(size));
        let body = text(format!("The range lies outside the file, which has {size} bytes.\n"));
        self.answer_with(conn, head, body);
    }

    pub(super) fn download_data(&mut self, conn: ConnId, data: Payload) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Download(download) = &mut connection.exchange else { return };
        download.granted = download.granted.saturating_sub(data.len());
        if let Response::Ready(head, len) = std::mem::replace(&mut download.response, Response::Begun) {
            connection.respond(*head, ResponseBody::Length(len));
        }
        if let Some(bytes) = data.into_bytes() {
            connection.http.send_body(bytes);
        }
    }

    /// The newest version of a mutable file is known, and with it what the response says.
    pub(super) fn mutable_found(&mut self, conn: ConnId, id: OperationId, found: &Found, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Download(download) = &mut connection.exchange else { return };
        let Response::Unknown(read) = &mut download.response else { return };
        connection.outdated |= !found.is_newest();
        let Some((response, range)) = read.wanted.response(found.size(), None) else {
            self.drop_operation(id, now);
            return self.unsatisfiable(conn, found.size());
        };
        let len = range.end - range.start;
        if read.wanted.head.method == Method::Head {
            self.drop_operation(id, now);
            return self.answer_head(conn, response, len);
        }
        if found.range == range || len == 0 {
            download.response = Response::Ready(Box::new(response), len);
            return;
        }
        // It counts from the end, which was not where it was thought.
        let Response::Unknown(read) = std::mem::replace(&mut download.response, Response::Begun) else {
            return;
        };
        self.drop_operation(id, now);
        if read.looks == LOOKS_MAX {
            let text = "The file changes all the time: its end cannot be read now.";
            return self.answer_text(conn, 503, text);
        }
        self.find_mutable(conn, MutableRead { asked: Some(range), looks: read.looks + 1, ..*read }, now);
    }

    pub(super) fn downloaded(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<(), Box<DownloadError>>,
    ) {
        self.read_ended(conn, id, result.map_err(|error| ((&*error).into(), error.to_string())));
    }

    pub(super) fn mutable_read(&mut self, conn: ConnId, id: OperationId, result: Result<(), Box<ReadError>>) {
        self.read_ended(conn, id, result.map_err(|error| ((&*error).into(), error.to_string())));
    }

    /// A read is over; if it failed, with how that is told, and the bare reason.
    fn read_ended(&mut self, conn: ConnId, id: OperationId, result: Result<(), (Refusal, String)>) {
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
            (Err((refusal, _)), Response::Ready(..) | Response::Unknown(_)) => self.refuse(conn, &refusal),
            (Err((_, error)), Response::Begun) => {
                // The status is out already: only a body cut short tells the client.
                connection.http.abort();
                let text = format!("a download broke off half-way: {error}");
                let notice = Notice { level: NoticeLevel::Warning, text };
                self.actions.push_back(Action::Report(Report::Notice(notice)));
            }
        }
    }
}

impl Wanted {
    /// The head of the response to a read of so many bytes, and which of them it is about. `None` if
    /// these lie outside the file.
    fn response(&self, size: u64, cap: Option<&ChkCap>) -> Option<(ResponseHead, Range<u64>)> {
        let etag = cap.map(|cap| etag(&cap.storage_index().to_string(), ""));
        if let Some(etag) = &etag
            && is_known(&self.head.headers, etag)
        {
            return Some((not_modified(etag), 0..0));
        }
        let range = self.range(etag.as_deref());
        let range = range.map_or(RangeRequest::Whole, |value| RangeRequest::parse(value, size));
        let content_type = self.content_type();
        let (frames, policy) = match self.shown {
            Shown::Alone => ("DENY", "sandbox; default-src 'none'"),
            // What is stored has an origin of its own in a sandbox, and so can frame nothing of ours.
            Shown::InPage | Shown::InPageAsText => {
                ("SAMEORIGIN", "sandbox; default-src 'none'; frame-ancestors 'self'")
            }
        };
        let (mut response, range) = match range {
            RangeRequest::Whole => (head_framed_by(200, &content_type, frames), 0..size),
            RangeRequest::Part(part) => {
                let mut response = head_framed_by(206, &content_type, frames);
                let _ = response.headers.push("Content-Range", part.content_range());
                (response, part.first()..part.last() + 1)
            }
            RangeRequest::Unsatisfiable => return None,
        };
        // What is stored may be a web page: it gets no origin to speak of.
        response.headers = response
            .headers
            .with("Accept-Ranges", "bytes")
            .with("Content-Security-Policy", policy)
            .with("Cross-Origin-Resource-Policy", "same-origin");
        if let Some(etag) = etag {
            let _ = response.headers.push("ETag", etag);
        }
        if self.save {
            let _ = response.headers.push("Content-Disposition", disposition(self.name.as_deref()));
        }
        Some((response, range))
    }

    /// Which part is wanted of a file with this tag. Who has begun with another file, or with one that may
    /// have changed since (`If-Range`), gets all of it.
    fn range(&self, etag: Option<&str>) -> Option<&[u8]> {
        let headers = &self.head.headers;
        let continues = |begun: &[u8]| etag.is_some_and(|etag| begun.trim_ascii() == etag.as_bytes());
        headers.get("Range").filter(|_| headers.get("If-Range").is_none_or(continues))
    }

    fn content_type(&self) -> String {
        if self.shown == Shown::InPageAsText {
            return "text/plain; charset=utf-8".into();
        }
        let name = self.name.as_deref().unwrap_or_default();
        mime_guess::from_path(name).first_or_octet_stream().essence_str().to_owned()
    }
}

/// How a browser is told to keep a file under a name: once for those that take UTF-8 (RFC 6266, RFC
/// 8187), once for the others.
fn disposition(name: Option<&str>) -> String {
    let Some(name) = name else { return "attachment".into() };
    let plain = |char: char| char.is_ascii_graphic() && !matches!(char, '"' | '\\' | '/' | '%');
    let ascii: String =
        name.chars().map(|char| if plain(char) || char == ' ' { char } else { '_' }).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", encode_segment(name))
}

/// The tag of something that never changes, shown in one of its forms.
pub(super) fn etag(index: &str, form: &str) -> String {
    format!("\"{index}-{form}\"")
}

/// Whether the client has what the tag names.
pub(super) fn is_known(headers: &Headers, etag: &str) -> bool {
    headers.get_all("If-None-Match").filter_map(|value| std::str::from_utf8(value).ok()).any(|value| {
        value.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
    })
}

pub(super) fn not_modified(etag: &str) -> ResponseHead {
    let mut head = ResponseHead::new(304);
    let _ = head.headers.push("ETag", etag);
    head
}

pub(super) fn unknown_kind(cap: &Capability) -> Refusal {
    let kind = match cap {
        Capability::Unknown(unknown) => unknown.kind().unwrap_or("unknown"),
        _ => "unknown",
    };
    Refusal::new(501, format!("Capabilities of the kind {kind} are not known here; a newer version may."))
}
