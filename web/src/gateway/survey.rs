//! A manifest told as it comes: a line for each file and directory of a tree, then their sums.
//!
//! No more of the tree is looked at than the client takes: the next directory is read when most of what
//! was told of the last one is sent.

use super::exchange::{Exchange, plain_head};
use super::refusal::Refusal;
use super::request::Request;
use super::tree_json::{Thing, stats_line};
use super::{Gateway, WRITE_AHEAD, text};
use crate::http::ResponseBody;
use std::collections::VecDeque;
use tallac_core::directory::{Child, Name};
use tallac_core::drive::{Done, DriveError, Errand, Found, Surveyed, TreeStats};
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
}

impl Gateway {
    /// `POST /uri/DIRCAP/PATH?t=stream-manifest`.
    pub(super) fn stream_manifest(
        &mut self,
        conn: ConnId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let errand = Errand::Survey { directory: request.place()? };
        let id = self.new_operation(conn);
        let (lines, path, children) = Default::default();
        let manifest = Manifest { id, lines, path, children, asked: false, begun: false, over: None };
        self.set_exchange(conn, Exchange::Manifest(Box::new(manifest)));
        self.command(Command::Errand { id, errand: Box::new(errand) }, now);
        Ok(())
    }

    /// Something was found for a manifest.
    pub(super) fn surveyed(&mut self, conn: ConnId, found: Surveyed) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Manifest(manifest) = &mut connection.exchange else { return };
        match found.found {
            Found::Directory => {
                manifest.lines.push_back(Thing::directory(&found.path, &found.directory).line());
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
                connection
                    .http
                    .respond(plain_head(200, "text/plain; charset=utf-8"), ResponseBody::Streaming);
            }
            connection.http.send_body(text(body));
            self.dirty.insert(conn);
        }
        if !manifest.lines.is_empty() || !manifest.children.is_empty() {
            return;
        }
        if let Some(result) = manifest.over.take() {
            let last = match result {
                Ok(stats) => stats_line(&stats),
                Err(refusal) => format!("ERROR: {}\n", refusal.text),
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
            Some(Thing::child(&self.path, &name, &child).line())
        })
    }
}
