//! Surveys of trees that go on by themselves: begun with a name, looked at by that name.
//!
//! A name is chosen by the client. Who knows it sees what the survey has found, capabilities too, so it
//! should not be guessed. How long results are kept is the peer's: four days, after they were looked at
//! one, or as `retain-for=` says.

use super::exchange::plain_head;
use super::refusal::Refusal;
use super::request::Request;
use super::tree_json::{Sums, Thing, document, line};
use super::{Gateway, text};
use crate::http::percent::encode_segment;
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tallac_core::drive::{Done, Errand, Found, Surveyed, TreeStats};
use tallac_core::machine::ConnId;
use tallac_core::operation::{Command, OperationId, Report};
use tallac_core::time::{Instant, Now};

/// Names in use at once.
const HANDLES_MAX: usize = 256;
/// Bytes of one name.
const NAME_LEN_MAX: usize = 256;
/// Bytes of all manifests that are kept.
const KEPT_MAX: usize = 128 * 1024 * 1024;
/// How long results are kept that nobody has looked at.
const UNSEEN: Duration = Duration::from_secs(4 * 24 * 60 * 60);
/// How long results are kept after somebody has looked at them.
const SEEN: Duration = Duration::from_secs(24 * 60 * 60);
/// Most that a client may ask for.
const RETAIN_MAX: u64 = 30 * 24 * 60 * 60;

/// All surveys with a name.
#[derive(Default)]
pub(super) struct Handles {
    by_name: BTreeMap<String, Handle>,
    names: BTreeMap<OperationId, String>,
}

/// A survey with a name.
struct Handle {
    id: OperationId,
    kind: Kind,
    origin: String,
    stats: TreeStats,
    manifest: Manifest,
    state: State,
    /// What the client said.
    retain: bool,
    expires: Option<Instant>,
}

/// What of a survey is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Manifest,
    Size,
    Stats,
}

enum State {
    Running,
    Finished,
    Failed(Refusal),
}

/// What a survey has found, if that is wanted.
#[derive(Default)]
struct Manifest {
    things: Vec<(Vec<String>, String)>,
    verify: BTreeSet<String>,
    indexes: BTreeSet<String>,
    len: usize,
}

impl Handles {
    /// Whether it is the operation of a name.
    pub(super) fn have(&self, id: OperationId) -> bool {
        self.names.contains_key(&id)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by_name.values().filter_map(|handle| handle.expires).min()
    }

    fn of(&mut self, id: OperationId) -> Option<&mut Handle> {
        self.by_name.get_mut(self.names.get(&id)?)
    }

    fn remove(&mut self, name: &str) -> Option<OperationId> {
        let handle = self.by_name.remove(name)?;
        self.names.remove(&handle.id);
        matches!(handle.state, State::Running).then_some(handle.id)
    }

    fn kept(&self) -> usize {
        self.by_name.values().map(|handle| handle.manifest.len).sum()
    }
}

impl Gateway {
    /// `POST /uri/DIRCAP/PATH?t=start-manifest&ophandle=NAME` and its like.
    pub(super) fn start_survey(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let kind = match request.t() {
            "start-manifest" => Kind::Manifest,
            "start-deep-size" => Kind::Size,
            _ => Kind::Stats,
        };
        let name = request.args.get("ophandle").filter(|name| !name.is_empty()).ok_or_else(|| {
            Refusal::bad("This takes long: give it a name to ask for it with, by ophandle=.")
        })?;
        if name.len() > NAME_LEN_MAX {
            return Err(Refusal::bad(format!("The name in ophandle= has more than {NAME_LEN_MAX} bytes.")));
        }
        let retain = retention(request)?;
        let place = request.place()?;
        if !place.start.is_directory() {
            return Err(Refusal::bad("This is no directory."));
        }
        let running = |handle: &Handle| matches!(handle.state, State::Running);
        if self.watched.contains_key(name) || self.handles.by_name.get(name).is_some_and(running) {
            return Err(Refusal::new(409, "Something under way has this name in ophandle= already."));
        }
        self.handles.remove(name);
        if self.handles.by_name.len() >= HANDLES_MAX {
            return Err(Refusal::new(503, "Too many results are kept already; release some, or wait."));
        }
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        let handle = Handle {
            id,
            kind,
            origin: String::new(),
            stats: TreeStats::default(),
            manifest: Manifest::default(),
            state: State::Running,
            retain: retain.is_some(),
            expires: retain.map(|retain| now.instant + retain),
        };
        self.handles.by_name.insert(name.to_owned(), handle);
        self.handles.names.insert(id, name.to_owned());
        let errand = Box::new(Errand::Survey { directory: place });
        self.command(Command::Errand { id, errand }, now);
        self.command(Command::SurveyNext { id }, now);
        let output = request.args.get("output").filter(|output| !output.is_empty());
        let output = output.map(|output| format!("?output={}", encode_segment(output))).unwrap_or_default();
        let mut head = plain_head(302, "text/plain; charset=utf-8");
        let to = format!("/operations/{}{output}", encode_segment(name));
        head.headers
            .push("Location", to)
            .map_err(|_| Refusal::bad("The name in ophandle= cannot be used."))?;
        self.answer_with(conn, head, Bytes::new());
        Ok(())
    }

    /// A survey with a name has something to tell.
    pub(super) fn handle_report(&mut self, report: Report, now: Now) {
        let kept = self.handles.kept();
        let Some(id) = report.operation() else { return };
        let Some(handle) = self.handles.of(id) else { return };
        match report {
            Report::Surveyed { found, .. } => {
                let goes_on = matches!(found.found, Found::Children(_));
                handle.take(*found);
                if kept > KEPT_MAX {
                    let why = "The manifest is too large to be kept; t=stream-manifest tells it as it comes.";
                    handle.end(State::Failed(Refusal::new(413, why)), now);
                    self.command(Command::Cancel { id }, now);
                } else if goes_on {
                    self.command(Command::SurveyNext { id }, now);
                }
            }
            Report::Errand { result, .. } => {
                let state = match result.map(|done| *done) {
                    Ok(Done::Surveyed(stats)) => {
                        handle.stats = *stats;
                        State::Finished
                    }
                    Ok(_) => State::Failed(Refusal::new(500, "The node did something else than was asked.")),
                    Err(error) => State::Failed(Refusal::from(&*error)),
                };
                handle.end(state, now);
            }
            _ => {}
        }
    }

    /// `GET /operations/NAME`.
    pub(super) fn show_handle(
        &mut self,
        conn: ConnId,
        name: &str,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let retain = retention(request)?;
        let release = request.args.is_true("release-after-complete")?;
        let Some(handle) = self.handles.by_name.get_mut(name) else {
            return Err(Refusal::new(404, "Nothing is known by this name, or no longer."));
        };
        if let Some(retain) = retain {
            (handle.retain, handle.expires) = (true, Some(now.instant + retain));
        }
        let running = matches!(handle.state, State::Running);
        let shown = handle.show(request.args.get("output").unwrap_or(""));
        if !running && release {
            self.handles.remove(name);
        } else if !running && retain.is_none() {
            handle.expires = Some(now.instant + SEEN);
        }
        let (content_type, body) = shown?;
        let mut head = plain_head(200, content_type);
        head.headers = head.headers.with("Content-Security-Policy", super::listing::POLICY);
        self.answer_with(conn, head, text(body));
        Ok(())
    }

    /// `POST /operations/NAME?t=cancel`: what was found so far is told once more.
    pub(super) fn cancel_handle(
        &mut self,
        conn: ConnId,
        name: &str,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        if request.t() != "cancel" {
            return self.show_handle(conn, name, request, now);
        }
        let Some(handle) = self.handles.by_name.get(name) else {
            return Err(Refusal::new(404, "Nothing is known by this name, or no longer."));
        };
        let shown = handle.show(request.args.get("output").unwrap_or(""));
        if let Some(id) = self.handles.remove(name) {
            self.command(Command::Cancel { id }, now);
        }
        let (content_type, body) = shown?;
        self.answer(conn, 200, content_type, text(body));
        Ok(())
    }

    /// Forgets results whose time has come, and gives up surveys that nobody wants any more.
    pub(super) fn forget_handles(&mut self, now: Now) {
        let due = |handle: &Handle| handle.expires.is_some_and(|at| now.instant >= at);
        let late = self.handles.by_name.iter().filter(|(_, handle)| due(handle));
        for name in late.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Some(id) = self.handles.remove(&name) {
                self.command(Command::Cancel { id }, now);
            }
        }
    }
}

impl Handle {
    fn take(&mut self, found: Surveyed) {
        let Surveyed { path, directory, found, stats } = found;
        self.stats = stats;
        if self.origin.is_empty() && path.is_empty() {
            let cap = tallac_core::capability::Capability::Directory(directory.clone());
            self.origin = cap.storage_index().map(|index| index.to_string()).unwrap_or_default();
        }
        if self.kind != Kind::Manifest {
            return;
        }
        match &found {
            Found::Directory => self.manifest.add(&Thing::directory(&path, &directory)),
            Found::Children(children) => {
                children
                    .iter()
                    .for_each(|(name, child)| self.manifest.add(&Thing::child(&path, name, child)));
            }
        }
    }

    fn end(&mut self, state: State, now: Now) {
        if matches!(state, State::Failed(_)) {
            self.manifest = Manifest::default();
        }
        self.state = state;
        if !self.retain {
            self.expires = Some(now.instant + UNSEEN);
        }
    }

    /// What it has come to, with its content type.
    fn show(&self, output: &str) -> Result<(&'static str, String), Refusal> {
        let finished = match &self.state {
            State::Running => false,
            State::Finished => true,
            State::Failed(refusal) => return Err(refusal.clone()),
        };
        let json = output.eq_ignore_ascii_case("json") || self.kind == Kind::Stats;
        if !json && !["", "html", "text"].iter().any(|known| output.eq_ignore_ascii_case(known)) {
            return Err(Refusal::bad("The argument output= is json, html or text."));
        }
        if json {
            return Ok(("text/plain; charset=utf-8", self.json(finished)));
        }
        let plain = self.plain(finished);
        if output.eq_ignore_ascii_case("text") || self.kind == Kind::Size {
            return Ok(("text/plain; charset=utf-8", plain));
        }
        // Whoever leaves the page open sees when it is done.
        let again = if finished { "" } else { "<meta http-equiv=\"refresh\" content=\"60\">" };
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\">{again}<title>Manifest</title>\n\
             <h1>Manifest</h1>\n<pre>{}</pre>\n</html>\n",
            super::listing::escape_lines(&plain)
        );
        Ok(("text/html; charset=utf-8", page))
    }

    fn plain(&self, finished: bool) -> String {
        let mut out = format!("finished: {}\n", if finished { "yes" } else { "no" });
        match self.kind {
            Kind::Size if finished => {
                let size = self.stats.size_immutable_files.saturating_add(self.stats.size_directories);
                out += &format!("size: {size}\n");
            }
            Kind::Size | Kind::Stats => {}
            Kind::Manifest => {
                for (path, cap) in &self.manifest.things {
                    out += &format!("{} {cap}\n", path.join("/"));
                }
            }
        }
        out
    }

    fn json(&self, finished: bool) -> String {
        #[derive(Serialize)]
        struct Stats {
            #[serde(flatten)]
            sums: Sums,
            finished: bool,
        }
        #[derive(Serialize)]
        struct Size {
            finished: bool,
            size: Sums,
        }
        #[derive(Serialize)]
        struct Whole<'a> {
            stats: Sums,
            finished: bool,
            origin: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            manifest: Option<&'a Vec<(Vec<String>, String)>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            verifycaps: Option<&'a BTreeSet<String>>,
            #[serde(rename = "storage-index", skip_serializing_if = "Option::is_none")]
            indexes: Option<&'a BTreeSet<String>>,
        }
        let sums = Sums::from(&self.stats);
        match self.kind {
            Kind::Stats => document(&Stats { sums, finished }),
            // The peer's has all sums there, too.
            Kind::Size => line(&Size { finished, size: sums }).trim_end().to_owned(),
            Kind::Manifest => document(&Whole {
                stats: sums,
                finished,
                origin: &self.origin,
                manifest: finished.then_some(&self.manifest.things),
                verifycaps: finished.then_some(&self.manifest.verify),
                indexes: finished.then_some(&self.manifest.indexes),
            }),
        }
    }
}

impl Manifest {
    fn add(&mut self, thing: &Thing<'_>) {
        let path = thing.path();
        self.len += path.iter().map(|name| name.len() + 24).sum::<usize>()
            + thing.cap.len()
            + thing.verify.len()
            + thing.index.len()
            + 200;
        self.things.push((path, thing.cap.clone()));
        self.verify.extend((!thing.verify.is_empty()).then(|| thing.verify.clone()));
        self.indexes.extend((!thing.index.is_empty()).then(|| thing.index.clone()));
    }
}

/// `retain-for=`, in seconds.
fn retention(request: &Request) -> Result<Option<Duration>, Refusal> {
    let Some(text) = request.args.get("retain-for") else { return Ok(None) };
    let seconds: u64 =
        text.parse().map_err(|_| Refusal::bad("The argument retain-for= is a number of seconds."))?;
    Ok(Some(Duration::from_secs(seconds.min(RETAIN_MAX))))
}
