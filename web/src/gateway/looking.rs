//! Looking at what is at an address: its content, its description, its capabilities.

use super::changing::{Then, Waiting};
use super::exchange::{Exchange, plain_head};
use super::reading::{Shown, Wanted, etag, is_known, not_modified, unknown_kind};
use super::refusal::Refusal;
use super::request::{Request, parse_cap};
use super::{Gateway, listing, node_json, text};
use crate::http::percent::{encode_query, encode_segment};
use bytes::Bytes;
use tallac_core::capability::{Capability, DirectoryCap};
use tallac_core::directory::{Child, DirectoryKind, Metadata, Table};
use tallac_core::drive::{DriveError, Errand, Sight};
use tallac_core::machine::ConnId;
use tallac_core::mutable::{Found, ReadError};
use tallac_core::operation::{Command, OperationId};
use tallac_core::time::Now;

/// What a client wants to see of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum View {
    Content,
    Json,
    Cap,
    ReadCap,
    Info,
}

/// A mutable file whose size is being found out, because its description has it.
pub(super) struct Measured {
    child: Child,
    metadata: Option<Metadata>,
    info: bool,
}

impl View {
    fn of(request: &Request) -> Result<View, Refusal> {
        Ok(match request.t() {
            "" => View::Content,
            "json" => View::Json,
            "uri" => View::Cap,
            "readonly-uri" => View::ReadCap,
            "info" => View::Info,
            _ => return Err(Refusal::bad("The argument t= is json, uri, readonly-uri or info here.")),
        })
    }
}

impl Gateway {
    /// `GET /uri?uri=CAP`: the address of the same without that argument.
    pub(super) fn send_to_cap(&mut self, conn: ConnId, request: &Request) -> Result<(), Refusal> {
        let cap = request.args.need("uri")?;
        parse_cap(cap)?;
        let query = encode_query(request.args.without("uri"));
        let mark = if query.is_empty() { "" } else { "?" };
        let mut head = plain_head(302, "text/plain; charset=utf-8");
        let to = format!("/uri/{}{mark}{query}", encode_segment(cap));
        head.headers.push("Location", to).map_err(|_| Refusal::bad("That is not a capability."))?;
        self.answer_with(conn, head, Bytes::new());
        Ok(())
    }

    /// `GET /file/CAP/.../NAME`: a file under a name.
    pub(super) fn look_at_file(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let cap = request.cap()?;
        let last = request.names().last().filter(|name| *name != "@@named=").cloned();
        let name = request.args.get("filename").map(str::to_owned).or(last);
        let save = request.args.is_true("save")?;
        if View::of(request)? != View::Content {
            return self.look_at_cap(conn, request, &cap, now);
        }
        self.read(conn, &cap, Wanted { head: request.head.clone(), name, save, shown: Shown::Alone }, now)
    }

    /// `GET /uri/CAP/PATH`.
    pub(super) fn look(&mut self, conn: ConnId, request: Request, now: Now) -> Result<(), Refusal> {
        let view = View::of(&request)?;
        let place = request.place()?;
        let at_start = place.path.names().is_empty();
        if at_start && !place.start.is_directory() {
            return self.look_at_cap(conn, &request, &place.start, now);
        }
        if at_start
            && let Some(etag) = tag(&place.start, &request)
            && is_known(&request.head.headers, &etag)
        {
            self.answer_with(conn, not_modified(&etag), Bytes::new());
            return Ok(());
        }
        let list = matches!(view, View::Content | View::Json);
        self.errand(conn, Errand::Look { place, list }, Then::Show(request), now);
        Ok(())
    }

    /// Something that is named by its capability alone, and is no directory.
    fn look_at_cap(
        &mut self,
        conn: ConnId,
        request: &Request,
        cap: &Capability,
        now: Now,
    ) -> Result<(), Refusal> {
        let view = View::of(request)?;
        match (view, cap) {
            (View::Content, _) => {
                let name = request.args.get("filename").map(str::to_owned);
                let save = request.args.is_true("save")?;
                return self.read(
                    conn,
                    cap,
                    Wanted { head: request.head.clone(), name, save, shown: Shown::Alone },
                    now,
                );
            }
            (View::Json, Capability::Unknown(_)) => {
                self.show_text(conn, node_json::unknown(cap), None);
                return Ok(());
            }
            (View::Info, Capability::Unknown(_)) => {
                self.answer_text(conn, 200, "Something of a kind that is not known here.");
                return Ok(());
            }
            (View::Cap | View::ReadCap, Capability::Unknown(_)) => return Err(unknown_kind(cap)),
            _ => {}
        }
        let child = Child::of(cap.clone(), DirectoryKind::Mutable)
            .ok()
            .filter(|child| child.capability().is_some())
            .ok_or_else(|| Refusal::bad("With a verify capability one can check, but not look."))?;
        self.show_child(conn, request, &child, None, now)
    }

    /// Something was found at the end of a path.
    pub(super) fn looked(
        &mut self,
        conn: ConnId,
        request: &Request,
        result: Result<Sight, &DriveError>,
        now: Now,
    ) -> Result<(), Refusal> {
        let Sight { child, link, table, outdated } = result.map_err(Refusal::from)?;
        if outdated && let Some(connection) = self.connections.get_mut(&conn) {
            connection.outdated = true;
        }
        if let (Some(Capability::Directory(cap)), Some(table)) = (child.capability(), &table) {
            return self.show_directory(conn, request, cap, table);
        }
        let metadata = link.and_then(|link| link.entry.metadata.ok());
        self.show_child(conn, request, &child, metadata, now)
    }

    fn show_directory(
        &mut self,
        conn: ConnId,
        request: &Request,
        cap: &DirectoryCap,
        table: &Table,
    ) -> Result<(), Refusal> {
        let any = Capability::Directory(cap.clone());
        let tag = tag(&any, request);
        if View::of(request)? == View::Json {
            self.show_text(conn, node_json::directory(cap, table), tag);
            return Ok(());
        }
        let here = request.segments.last().map_or("", String::as_str);
        let page = listing::page(here, any.is_writable(), table);
        let mut head = plain_head(200, "text/html; charset=utf-8");
        head.headers = head.headers.with("Content-Security-Policy", listing::POLICY);
        if let Some(tag) = tag {
            let _ = head.headers.push("ETag", tag);
        }
        self.answer_with(conn, head, text(page));
        Ok(())
    }

    /// Shows a file, or what can be said of anything without looking into it.
    fn show_child(
        &mut self,
        conn: ConnId,
        request: &Request,
        child: &Child,
        metadata: Option<Metadata>,
        now: Now,
    ) -> Result<(), Refusal> {
        let view = View::of(request)?;
        let cap = child.capability();
        let tag = cap.and_then(|cap| tag(cap, request));
        if view != View::Content
            && let Some(tag) = &tag
            && is_known(&request.head.headers, tag)
        {
            self.answer_with(conn, not_modified(tag), Bytes::new());
            return Ok(());
        }
        let unknown =
            || Refusal::new(501, "It is of a kind that is not known here; a newer version may know it.");
        match (view, cap) {
            (View::Content, Some(cap)) => {
                let own = request.names().last().cloned();
                let name = request.args.get("filename").map(str::to_owned).or(own);
                let save = request.args.is_true("save")?;
                return self.read(
                    conn,
                    cap,
                    Wanted { head: request.head.clone(), name, save, shown: Shown::Alone },
                    now,
                );
            }
            (View::Content, None) => return Err(unknown()),
            (View::Cap, Some(cap)) => self.show_text(conn, cap.to_string(), tag),
            (View::Cap, None) => {
                let cap = child.write_cap().or_else(|| child.read_cap()).ok_or_else(unknown)?;
                self.show_text(conn, cap.to_string(), None);
            }
            (View::ReadCap, _) => {
                self.show_text(conn, child.read_cap().ok_or_else(unknown)?.to_string(), tag);
            }
            (View::Json | View::Info, Some(Capability::Mutable(_) | Capability::MutableRead(_))) => {
                self.measure(conn, child, metadata, view == View::Info, now);
            }
            (View::Json, _) => self.show_text(conn, node_json::file(child, None, metadata.as_ref()), tag),
            (View::Info, _) => self.answer_text(conn, 200, &info(child, None)),
        }
        Ok(())
    }

    /// Finds out how long a mutable file is.
    fn measure(&mut self, conn: ConnId, child: &Child, metadata: Option<Metadata>, info: bool, now: Now) {
        let cap = match child.capability() {
            Some(Capability::Mutable(cap)) => cap.read_cap(),
            Some(Capability::MutableRead(cap)) => cap.clone(),
            _ => return,
        };
        let id = self.new_operation(conn);
        let then = Then::Measure(Measured { child: child.clone(), metadata, info });
        self.set_exchange(conn, Exchange::Waiting(Box::new(Waiting { id, then, held: 0 })));
        self.command(Command::ReadMutable { id, cap, range: Some(0..0) }, now);
    }

    /// The size of a mutable file is known, or it cannot be found.
    pub(super) fn measured(
        &mut self,
        conn: ConnId,
        id: OperationId,
        found: Result<&Found, &ReadError>,
        now: Now,
    ) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Waiting(waiting) = std::mem::replace(&mut connection.exchange, Exchange::Idle) else {
            return;
        };
        connection.outdated |= found.is_ok_and(|found| !found.is_newest());
        self.drop_operation(id, now);
        let Then::Measure(Measured { child, metadata, info: wants_info }) = waiting.then else { return };
        match found {
            Ok(found) if wants_info => self.answer_text(conn, 200, &info(&child, Some(found.size()))),
            Ok(found) => {
                let json = node_json::file(&child, Some(found.size()), metadata.as_ref());
                self.show_text(conn, json, None);
            }
            Err(error) => self.refuse(conn, &error.into()),
        }
    }

    fn show_text(&mut self, conn: ConnId, body: String, tag: Option<String>) {
        let mut head = plain_head(200, "text/plain; charset=utf-8");
        if let Some(tag) = tag {
            let _ = head.headers.push("ETag", tag);
        }
        self.answer_with(conn, head, text(body));
    }
}

/// The tag of what a request shows, if that never changes.
fn tag(cap: &Capability, request: &Request) -> Option<String> {
    let form = request.t();
    if cap.is_mutable() || form == "info" {
        return None;
    }
    let index = cap.storage_index()?;
    let kind = if cap.is_directory() { "DIR:" } else { "" };
    Some(etag(&format!("{kind}{index}"), form))
}

/// What something is, in a line.
fn info(child: &Child, size: Option<u64>) -> String {
    let Some(cap) = child.capability() else {
        return "Something of a kind that is not known here.".into();
    };
    let rights = match (cap.is_mutable(), cap.is_writable()) {
        (true, true) => "it can be changed",
        (true, false) => "others may change it, here it is read-only",
        (false, _) => "it never changes",
    };
    let index = cap.storage_index().map(|index| format!("; storage index {index}")).unwrap_or_default();
    if cap.is_directory() {
        return format!("A directory; {rights}{index}.");
    }
    let size = size.or_else(|| node_json::size_in(cap)).map(|size| format!(" of {size} bytes"));
    format!("A file{} ({}); {rights}{index}.", size.unwrap_or_default(), node_json::format_of(cap))
}
