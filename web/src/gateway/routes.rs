//! From a request to what is done about it.

use super::exchange::{Download, Exchange, Response, Upload, plain_head, wanted_part};
use super::{Gateway, UploadView, status, text};
use crate::http::percent::{decode_path, parse_query, split_target};
use crate::http::range::{RangeRequest, unsatisfied_content_range};
use crate::http::{BodyKind, Headers, Method, RequestHead, ResponseBody, ResponseHead};
use bytes::Bytes;
use std::ops::Range;
use tallac_core::capability::{Capability, ChkCap, MutableReadCap};
use tallac_core::machine::ConnId;
use tallac_core::operation::{Command, KeyChoice};
use tallac_core::time::Now;

/// Longest name an upload can be watched by.
const HANDLE_LEN_MAX: usize = 64;

struct Query(Vec<(String, String)>);

impl Query {
    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn is_true(&self, name: &str) -> bool {
        self.find(name).is_some_and(|value| ["true", "1", "t", "on", "yes"].contains(&value))
    }
}

impl Gateway {
    pub(super) fn route(&mut self, conn: ConnId, head: RequestHead, now: Now) {
        if let Err(why) = same_origin(&head.headers) {
            return self.answer_text(conn, 403, why);
        }
        let (path, query) = split_target(&head.target);
        let (Ok(path), Ok(query)) = (decode_path(path), parse_query(query.unwrap_or(""))) else {
            return self.answer_text(
                conn,
                400,
                "The address has a % that is not followed by two hex digits, or is not UTF-8.",
            );
        };
        let query = Query(query);
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let reads = matches!(head.method, Method::Get | Method::Head);
        match (segments.as_slice(), &head.method) {
            ([""], _) if reads => self.welcome(conn, &query, now),
            (["uri"] | ["uri", ""], Method::Put) => self.put(conn, &head, &query, now),
            (["uri"], _) if reads && query.find("uri").is_some() => {
                let cap = query.find("uri").unwrap_or_default().to_owned();
                self.read(conn, &head, &cap, now);
            }
            (["uri", cap] | ["file", cap] | ["file", cap, ..], _) if reads => {
                let cap = (*cap).to_owned();
                self.read(conn, &head, &cap, now);
            }
            (["operations", handle], _) if reads => {
                let handle = (*handle).to_owned();
                self.watch(conn, &handle);
            }
            (["private", "make-root"], Method::Post) => self.ask_for_root(conn, &head, now),
            (["private", "make-root"], _) => self.answer_text(conn, 405, "To make the shared root: POST."),
            (["uri", ..] | ["file", ..] | [""] | ["operations", _], _) => self.answer_text(
                conn,
                405,
                &format!("{} is not possible here. To store a file: PUT /uri.", head.method.as_str()),
            ),
            _ => self.answer_text(conn, 404, "There is nothing at this address."),
        }
    }

    fn welcome(&mut self, conn: ConnId, query: &Query, now: Now) {
        let node = self.node.status(10_000, now.unix);
        if query.find("t") == Some("json") {
            let json = status::json(&node, now);
            self.answer(conn, 200, "application/json", text(json));
        } else {
            self.answer(conn, 200, "text/plain; charset=utf-8", text(status::plain(&node)));
        }
    }

    fn put(&mut self, conn: ConnId, head: &RequestHead, query: &Query, now: Now) {
        let immutable =
            matches!(query.find("format").map(str::to_ascii_lowercase).as_deref(), None | Some("chk"));
        if !immutable || query.is_true("mutable") {
            return self.answer_text(
                conn,
                501,
                "Mutable files are not there yet; leave `format` and `mutable` out.",
            );
        }
        if head.headers.contains("Content-Range") {
            return self.answer_text(
                conn,
                501,
                "A file is stored whole; Content-Range is not possible in a PUT.",
            );
        }
        let len = match head.body {
            BodyKind::None => Some(0),
            BodyKind::Length(len) => Some(len),
            BodyKind::Chunked | BodyKind::UntilClose => None,
        };
        let key = if query.find("key") == Some("random") { KeyChoice::Random } else { KeyChoice::Convergent };
        let handle = query.find("ophandle").filter(|h| !h.is_empty() && h.len() <= HANDLE_LEN_MAX);
        if let Some(handle) = handle
            && self.watched.contains_key(handle)
        {
            return self.answer_text(
                conn,
                409,
                "Another upload is watched by this name; choose another `ophandle`.",
            );
        }
        let id = self.new_operation(conn);
        if let Some(handle) = handle {
            self.watched.insert(handle.to_owned(), id);
        }
        let view = UploadView { handle: handle.map(str::to_owned), size: len, ..UploadView::default() };
        self.views.insert(id, view);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if head.expects_continue {
            connection.http.send_continue();
        }
        connection.exchange = Exchange::Upload(Upload::new(id));
        self.command(Command::Upload { id, len, key }, now);
    }

    fn read(&mut self, conn: ConnId, head: &RequestHead, cap: &str, now: Now) {
        match cap.parse::<Capability>() {
            Ok(Capability::Literal(cap)) => {
                let data = Bytes::copy_from_slice(cap.data());
                match self.response_for(conn, head, data.len() as u64, None) {
                    Some((response, range)) => {
                        let body = data.slice(range.start as usize..range.end as usize);
                        self.answer_with(conn, response, body);
                    }
                    None => self.unsatisfiable(conn, data.len() as u64),
                }
            }
            Ok(Capability::Chk(cap)) => self.read_chk(conn, head, cap, now),
            Ok(Capability::ChkVerify(_)) => self.answer_text(
                conn,
                400,
                "This is a verify capability: it can check the file, but not read it. Reading needs the URI:CHK: capability.",
            ),
            Ok(Capability::MutableVerify(_)) => self.answer_text(
                conn,
                400,
                "This is a verify capability: it can check the file, but not read it.",
            ),
            Ok(Capability::Mutable(cap)) => self.read_mutable(conn, head, cap.read_cap(), now),
            Ok(Capability::MutableRead(cap)) => self.read_mutable(conn, head, cap, now),
            Ok(Capability::Directory(_)) => {
                self.answer_text(conn, 501, "Directories are not there yet.");
            }
            Ok(Capability::Unknown(unknown)) => self.answer_text(
                conn,
                501,
                &format!("Capabilities of the kind {} are not there yet.", unknown.kind().unwrap_or("unknown")),
            ),
            Err(error) => self.answer_text(conn, 400, &format!("That is not a capability: {error}.")),
        }
    }

    fn read_chk(&mut self, conn: ConnId, head: &RequestHead, cap: ChkCap, now: Now) {
        let Some((response, range)) = self.response_for(conn, head, cap.size, Some(&cap)) else {
            return self.unsatisfiable(conn, cap.size);
        };
        let len = range.end - range.start;
        if response.status == 304 {
            return self.answer_with(conn, response, Bytes::new());
        }
        if head.method == Method::Head {
            // The capability holds the size: nobody needs to be asked.
            if let Some(connection) = self.connections.get_mut(&conn) {
                connection.http.respond(response, ResponseBody::Length(len));
                connection.http.finish();
            }
            return;
        }
        let id = self.new_operation(conn);
        if let Some(connection) = self.connections.get_mut(&conn) {
            let response = Response::Ready(Box::new(response), len);
            connection.exchange = Exchange::Download(Download { id, granted: 0, response });
        }
        self.command(Command::Download { id, cap, range }, now);
    }

    fn read_mutable(&mut self, conn: ConnId, head: &RequestHead, cap: MutableReadCap, now: Now) {
        let range = match wanted_part(head).map(|value| RangeRequest::parse(value, u64::MAX)) {
            _ if head.method == Method::Head => Some(0..0),
            Some(RangeRequest::Part(part)) => Some(part.first()..part.last().saturating_add(1)),
            Some(RangeRequest::Unsatisfiable) => Some(0..0),
            Some(RangeRequest::Whole) | None => None,
        };
        let id = self.new_operation(conn);
        if let Some(connection) = self.connections.get_mut(&conn) {
            let response = Response::Unknown(Box::new(head.clone()));
            connection.exchange = Exchange::Download(Download { id, granted: 0, response });
        }
        self.command(Command::ReadMutable { id, cap, range }, now);
    }

    /// The head of the response to a read, and which bytes it is about. `None` if the range asked
    /// for lies outside the file.
    fn response_for(
        &self,
        _conn: ConnId,
        head: &RequestHead,
        size: u64,
        cap: Option<&ChkCap>,
    ) -> Option<(ResponseHead, Range<u64>)> {
        let etag = cap.map(|cap| format!("\"{}-\"", cap.storage_index()));
        if let Some(etag) = &etag
            && head.headers.get_all("If-None-Match").any(|value| matches(value, etag))
        {
            return Some((not_modified(etag), 0..0));
        }
        let (mut response, range) = ranged_response(head.headers.get("Range"), size)?;
        if let Some(etag) = etag {
            let _ = response.headers.push("ETag", etag);
        }
        Some((response, range))
    }

    pub(super) fn unsatisfiable(&mut self, conn: ConnId, size: u64) {
        let mut head = plain_head(416, "text/plain; charset=utf-8");
        let _ = head.headers.push("Content-Range", unsatisfied_content_range(size));
        let body = text(format!("The range lies outside the file, which has {size} bytes.\n"));
        self.answer_with(conn, head, body);
    }

    fn watch(&mut self, conn: ConnId, handle: &str) {
        let view = self.watched.get(handle).and_then(|id| self.views.get(id));
        match view {
            Some(view) => {
                let json = status::upload_json(view);
                self.answer(conn, 200, "application/json", text(json));
            }
            None => self.answer_text(conn, 404, "No upload under way is watched by this name."),
        }
    }
}

/// The head of the response to a read of a content of known size, given the `Range` header, and which
/// bytes it is about. `None` if these lie outside the content.
pub(super) fn ranged_response(range: Option<&[u8]>, size: u64) -> Option<(ResponseHead, Range<u64>)> {
    let range = range.map_or(RangeRequest::Whole, |value| RangeRequest::parse(value, size));
    let (mut response, range) = match range {
        RangeRequest::Whole => (plain_head(200, "application/octet-stream"), 0..size),
        RangeRequest::Part(part) => {
            let mut response = plain_head(206, "application/octet-stream");
            let _ = response.headers.push("Content-Range", part.content_range());
            (response, part.first()..part.last() + 1)
        }
        RangeRequest::Unsatisfiable => return None,
    };
    // What is stored may be a web page: it gets no origin to speak of.
    response.headers = response
        .headers
        .with("Accept-Ranges", "bytes")
        .with("Content-Security-Policy", "sandbox; default-src 'none'");
    Some((response, range))
}

fn matches(value: &[u8], etag: &str) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    value.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
}

fn not_modified(etag: &str) -> ResponseHead {
    let mut head = ResponseHead::new(304);
    let _ = head.headers.push("ETag", etag);
    head
}

/// Refuses what a page of another site makes a browser send.
fn same_origin(headers: &Headers) -> Result<(), &'static str> {
    const WHY: &str = "This request was made by a page of another site.";
    if let Some(site) = headers.get_str("Sec-Fetch-Site")
        && !["same-origin", "none"].contains(&site)
        && headers.get_str("Sec-Fetch-Mode") != Some("navigate")
    {
        return Err(WHY);
    }
    let Some(origin) = headers.get_str("Origin") else { return Ok(()) };
    let host = headers.get_str("Host").unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    if same { Ok(()) } else { Err(WHY) }
}
