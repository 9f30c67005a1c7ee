//! A manifest told as it comes: a line for each file and directory of a tree, then their sums.
//!
//! No more of the tree is looked at than the client takes: the next directory is read when most of what
//! was told of the last one is sent.

use super::drive_pages::{PageRequest, address, page_head};
use super::exchange::{Exchange, plain_head};
use super::refusal::Refusal;
use super::request::Request;
use super::tree_json::{Thing, stats_line};
use super::{Gateway, WRITE_AHEAD, text};
use crate::http::ResponseBody;
use crate::pages::manifest::{Around, Row};
use crate::pages::render;
use std::collections::VecDeque;
use tallac_core::directory::{Child, Name};
use tallac_core::drive::{Done, DriveError, Errand, Found, Place, Surveyed, TreeStats};
use tallac_core::machine::ConnId;
use tallac_core::operation::{Command, OperationId};
use tallac_core::time::Now;

/// A manifest that is being told.
pub(super) struct Manifest {
    pub(super) id: OperationId,
    /// What is to be told next.
    lines: VecDeque<String>,
    /// What was found in a directory and is not written as lines yet; the last is the next.
    path: Vec<Name>,
    children: Vec<(Name, Child)>,
    /// The next directory may be read.
    asked: bool,
    begun: bool,
    over: Option<Result<Box<TreeStats>, Refusal>>,
    /// The page it is told in, if it is for a person, and the address of its tree.
    page: Option<Box<(Around, String)>>,
}

impl Gateway {
    /// `POST /uri/DIRCAP/PATH?t=stream-manifest`.
    pub(super) fn stream_manifest(
        &mut self,
        conn: ConnId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        self.tell_manifest(conn, request.place()?, None, now);
        Ok(())
    }

    /// `GET /drive/HANDLE/PATH?t=manifest`.
    pub(super) fn manifest_page(
        &mut self,
        conn: ConnId,
        page: &PageRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        let title = format!("All that is in {}", self.name_of(page));
        let around = Around::new(self.frame_at(&page.start, &title), self.crumbs(page), page.here());
        self.tell_manifest(conn, page.place()?, Some(Box::new((around, page.here()))), now);
        Ok(())
    }

    fn tell_manifest(
        &mut self,
        conn: ConnId,
        directory: Place,
        page: Option<Box<(Around, String)>>,
        now: Now,
    ) {
        let id = self.new_operation(conn);
        let (lines, path, children) = Default::default();
        let manifest = Manifest { id, lines, path, children, asked: false, begun: false, over: None, page };
        self.set_exchange(conn, Exchange::Manifest(Box::new(manifest)));
        self.command(Command::Errand { id, errand: Box::new(Errand::Survey { directory }) }, now);
    }

    /// Something was found for a manifest.
    pub(super) fn surveyed(&mut self, conn: ConnId, found: Surveyed) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Manifest(manifest) = &mut connection.exchange else { return };
        match found.found {
            Found::Directory => {
                let line = manifest.line(&Thing::directory(&found.path, &found.directory));
                manifest.lines.push_back(line);
            }
            Found::Children(mut children) => {
                children.reverse();
                (manifest.path, manifest.children, manifest.asked) = (found.path, children, false);
            }
        }
    }

    /// The survey for a manifest is over.
    pub(super) fn surveyed_all(
        &mut self,
        conn: ConnId,
        result: Result<Box<Done>, Box<DriveError>>,
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(()) };
        let Exchange::Manifest(manifest) = &mut connection.exchange else { return Ok(()) };
        let result = match result.map(|done| *done) {
            Ok(Done::Surveyed(stats)) => Ok(stats),
            Ok(_) => Err(Refusal::new(500, "The node did something else than was asked.")),
            Err(error) if manifest.begun || !manifest.lines.is_empty() => Err(Refusal::from(&*error)),
            Err(error) => return Err(Refusal::from(&*error)),
        };
        manifest.over = Some(result);
        Ok(())
    }

    /// Tells as much of a manifest as the client takes now, and has more of it found.
    pub(super) fn feed_manifest(&mut self, conn: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Manifest(manifest) = &mut connection.exchange else { return };
        let room = WRITE_AHEAD.saturating_sub(connection.unsent + connection.http.output_len() as u64);
        let mut body = String::new();
        while (body.len() as u64) < room
            && let Some(line) = manifest.next_line()
        {
            body.push_str(&line);
        }
        if !body.is_empty() {
            if !std::mem::replace(&mut manifest.begun, true) {
                let head = match &manifest.page {
                    Some(page) => {
                        body.insert_str(0, &page.0.before);
                        page_head(200)
                    }
                    None => plain_head(200, "text/plain; charset=utf-8"),
                };
                connection.http.respond(head, ResponseBody::Streaming);
            }
            connection.http.send_body(text(body));
            self.dirty.insert(conn);
        }
        if !manifest.lines.is_empty() || !manifest.children.is_empty() {
            return;
        }
        if let Some(result) = manifest.over.take() {
            let last = match (result, &manifest.page) {
                (Ok(stats), Some(page)) => page.0.end(Ok(&stats)),
                (Err(refusal), Some(page)) => page.0.end(Err(&refusal.text)),
                (Ok(stats), None) => stats_line(&stats),
                (Err(refusal), None) => format!("ERROR: {}\n", refusal.text),
            };
            connection.http.send_body(text(last));
            connection.http.finish();
            connection.exchange = Exchange::Idle;
            self.dirty.insert(conn);
        } else if !std::mem::replace(&mut manifest.asked, true) {
            let id = manifest.id;
            self.command(Command::SurveyNext { id }, now);
        }
    }
}

impl Manifest {
    fn next_line(&mut self) -> Option<String> {
        self.lines.pop_front().or_else(|| {
            let (name, child) = self.children.pop()?;
            Some(self.line(&Thing::child(&self.path, &name, &child)))
        })
    }

    /// Something, as a program or a page has it.
    fn line(&self, thing: &Thing<'_>) -> String {
        let Some(page) = &self.page else { return thing.line() };
        let names = thing.path();
        let reachable =
            thing.kind != "unknown" && !names.iter().any(|name| ["", ".", ".."].contains(&&**name));
        let href = if reachable { address(&page.1, &names) } else { String::new() };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let kind = if thing.kind == "directory" { "folder" } else { thing.kind };
        render(&Row::new(&names, href, kind, thing.bytes, &thing.index)) + "\n"
    }
}
