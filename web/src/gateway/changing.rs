//! Changes of directories: every verb becomes an errand, and its outcome an answer.

use super::Gateway;
use super::choosing::Choosing;
use super::drive_pages::PageRequest;
use super::exchange::Exchange;
use super::information::Informing;
use super::looking::Measured;
use super::node_json::read_children;
use super::redirect::WhenDone;
use super::refusal::Refusal;
use super::request::{Request, parse_cap, place};
use bytes::Bytes;
use tallac_core::capability::Capability;
use tallac_core::directory::{Child, DirectoryKind, Edit, Name, Only, Outcome, Path, Replace, Seen};
use tallac_core::drive::{Done, DriveError, Errand, Keep, NewDirectory, Parents, Place};
use tallac_core::machine::ConnId;
use tallac_core::mutable::Edits;
use tallac_core::operation::{Command, OperationId};
use tallac_core::time::Now;

/// Something that is being done, and how it is answered.
pub(super) struct Waiting {
    pub(super) id: OperationId,
    pub(super) then: Then,
    /// Bytes of the request's body: what was made of it is in memory.
    pub(super) held: u64,
}

/// What becomes of the outcome.
pub(super) enum Then {
    /// Something is shown.
    Show(Request),
    /// The description of a mutable file is shown, with its size.
    Measure(Measured),
    /// It is shown in a page.
    Page(Box<PageRequest>),
    /// It is a folder that something may be moved to.
    Choose(Box<Choosing>),
    /// Its shares are being looked for, to be shown in a page.
    Inform(Box<Informing>),
    /// It becomes the personal drive.
    Personal,
    /// A directory is told by its capability. If it was there before, that may be a conflict.
    Made { must_be_new: bool, when_done: WhenDone },
    /// A directory that was made is to take this place.
    Link { place: Place, when_done: WhenDone },
    /// An edit is told.
    Edited { tell: Tell, when_done: WhenDone },
}

/// What is told of an edit.
pub(super) enum Tell {
    /// This.
    Text(String),
    /// The capability of what was there before.
    Before,
}

impl Gateway {
    /// `DELETE /uri/DIRCAP/PATH`.
    pub(super) fn delete(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let (directory, name) = split(&request.place()?)?;
        let edit = unlink(name);
        let then = Then::Edited { tell: Tell::Before, when_done: WhenDone::Tell };
        self.errand(conn, Errand::edit(directory, edit), then, now);
        Ok(())
    }

    /// A request whose body is there; the fields of a form are among its arguments.
    pub(super) fn act(
        &mut self,
        conn: ConnId,
        request: &Request,
        body: &Bytes,
        now: Now,
    ) -> Result<(), Refusal> {
        let nowhere = request.is_nowhere();
        match request.t() {
            "mkdir" | "mkdir-p" if !body.trim_ascii().is_empty() => {
                Err(Refusal::bad("t=mkdir takes no children; t=mkdir-with-children does."))
            }
            "mkdir" | "mkdir-p" | "mkdir-with-children" | "mkdir-immutable" => {
                self.mkdir(conn, request, body, now)
            }
            "" | "upload" => Err(Refusal::bad("The form has no field `file` with something to store.")),
            "check" | "start-deep-check" | "stream-deep-check" => {
                Err(Refusal::new(501, "Checking is not possible yet."))
            }
            _ if nowhere => {
                Err(Refusal::bad("At /uri, t= is upload, mkdir, mkdir-with-children or mkdir-immutable."))
            }
            "stream-manifest" => self.stream_manifest(conn, request, now),
            "start-manifest" | "start-deep-size" | "start-deep-stats" => {
                self.start_survey(conn, request, now)
            }
            "set_children" | "set-children" => self.set_children(conn, request, body, now),
            "uri" => self.link_cap(conn, request, body, now),
            "unlink" | "delete" => self.unlink(conn, request, now),
            "rename" | "relink" => self.relink(conn, request, now),
            _ => Err(Refusal::bad(
                "The argument t= is upload, mkdir, mkdir-with-children, mkdir-immutable, set_children, uri, unlink, \
                 rename or relink here.",
            )),
        }
    }

    /// `PUT` and `POST` with `t=mkdir...`.
    pub(super) fn mkdir(
        &mut self,
        conn: ConnId,
        request: &Request,
        body: &Bytes,
        now: Now,
    ) -> Result<(), Refusal> {
        let (t, args) = (request.t(), &request.args);
        let when_done = request.when_done()?;
        let (keep, kind) = match t {
            "mkdir-immutable" => (Keep::Immutable, DirectoryKind::Immutable),
            _ => (Keep::Mutable(args.directory_format()?, args.private_key()?), DirectoryKind::Mutable),
        };
        let children = match t {
            "mkdir-with-children" | "mkdir-immutable" => read_children(body, kind)?,
            _ => Vec::new(),
        };
        let children =
            children.into_iter().map(|new| (new.name, new.child, new.metadata.unwrap_or_default())).collect();
        let new = NewDirectory { keep, children };
        if request.is_nowhere() {
            let then = Then::Made { must_be_new: false, when_done };
            self.errand(conn, Errand::Make { place: None, new }, then, now);
            return Ok(());
        }
        let named = args.get("name").filter(|name| !name.is_empty());
        let path = args.get("path").filter(|_| t == "mkdir-p");
        let place = match (named, path) {
            (Some(name), _) => request.place_of(name)?,
            (None, Some(path)) => {
                let names = request.names().iter().map(String::as_str);
                place(request.cap()?, names.chain(path.split('/').filter(|name| !name.is_empty())))?
            }
            (None, None) => request.place()?,
        };
        // Making nothing of what is there, without having been told to, would lose it.
        let told_to_replace = named.is_some() && t == "mkdir" && args.get("replace").is_some();
        match args.replace()? {
            Replace::Anything if told_to_replace => {
                split(&place)?;
                self.errand(conn, Errand::Make { place: None, new }, Then::Link { place, when_done }, now);
            }
            replace => {
                // What is there has a key already.
                let has_key = matches!(&new.keep, Keep::Mutable(_, Some(_)));
                let must_be_new =
                    has_key || t.starts_with("mkdir-") && t != "mkdir-p" || replace == Replace::Nothing;
                let then = Then::Made { must_be_new, when_done };
                self.errand(conn, Errand::Make { place: Some(place), new }, then, now);
            }
        }
        Ok(())
    }

    /// `PUT ...?t=uri`: the body is a capability.
    pub(super) fn put_cap(
        &mut self,
        conn: ConnId,
        request: &Request,
        body: &Bytes,
        now: Now,
    ) -> Result<(), Refusal> {
        let cap = std::str::from_utf8(body).map_err(|_| Refusal::bad("The body is not a capability."))?;
        let (directory, name) = split(&request.place()?)?;
        self.link(conn, directory, name, cap.trim(), request, now)
    }

    /// `POST ...?t=uri&name=&uri=`.
    fn link_cap(&mut self, conn: ConnId, request: &Request, _body: &Bytes, now: Now) -> Result<(), Refusal> {
        let (cap, name) = (request.args.need("uri")?, request.args.need("name")?);
        let (directory, name) = split(&request.place_of(name)?)?;
        self.link(conn, directory, name, cap.trim(), request, now)
    }

    fn link(
        &mut self,
        conn: ConnId,
        directory: Place,
        name: Name,
        cap: &str,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        let child = Child::new(Some(cap), None, DirectoryKind::Mutable)
            .map_err(|problem| Refusal::bad(format!("That cannot be linked: {problem}.")))?;
        let when_done = request.when_done()?;
        let tell = Tell::Text(strongest(&child));
        let replace = request.args.replace()?;
        let edits = Edits(vec![Edit::Link { name, child, metadata: None, replace, seen: Seen::Unchecked }]);
        let errand = Errand::Edit { directory, parents: Parents::Make, edits };
        self.errand(conn, errand, Then::Edited { tell, when_done }, now);
        Ok(())
    }

    fn set_children(
        &mut self,
        conn: ConnId,
        request: &Request,
        body: &Bytes,
        now: Now,
    ) -> Result<(), Refusal> {
        let when_done = request.when_done()?;
        let replace = request.args.replace()?;
        let link = |new: super::node_json::NewChild| {
            let (name, child, metadata) = (new.name, new.child, new.metadata);
            Edit::Link { name, child, metadata, replace, seen: Seen::Unchecked }
        };
        let edits: Vec<Edit> = read_children(body, DirectoryKind::Mutable)?.into_iter().map(link).collect();
        let directory = request.place()?;
        let tell = Tell::Text(format!("{} children are linked.\n", edits.len()));
        let errand = Errand::Edit { directory, parents: Parents::Expect, edits: Edits(edits) };
        self.errand(conn, errand, Then::Edited { tell, when_done }, now);
        Ok(())
    }

    fn unlink(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let when_done = request.when_done()?;
        let name = existing(request.args.need("name")?)?;
        let tell = Tell::Text("It is unlinked.\n".into());
        let errand = Errand::edit(request.place()?, unlink(name));
        self.errand(conn, errand, Then::Edited { tell, when_done }, now);
        Ok(())
    }

    /// `t=rename` within a directory, `t=relink` to any.
    fn relink(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let args = &request.args;
        let when_done = request.when_done()?;
        let from_name = args.need("from_name")?;
        let renames = request.t() == "rename";
        let given = if renames { Some(args.need("to_name")?) } else { args.get("to_name") };
        // A form of a page names what is there, whatever others have called it.
        let written = Some(from_name).filter(|_| request.page.is_none());
        for (name, value) in [("from_name", written), ("to_name", given)] {
            if value.is_some_and(|value| value.contains('/')) {
                return Err(Refusal::bad(format!("The name in {name}= cannot have a slash.")));
            }
        }
        let to_name = given.unwrap_or(from_name);
        let to = match args.get("to_dir") {
            _ if let Some(to) = &request.to => {
                let names = to.path.names().iter().map(Name::as_str);
                place(to.start.clone(), names.chain([to_name]))?
            }
            None => request.place_of(to_name)?,
            Some(_) if renames => {
                return Err(Refusal::bad("t=rename stays in the directory; t=relink takes to_dir=."));
            }
            Some(to) => {
                let mut parts = to.trim().split('/');
                let cap = parse_cap(parts.next().unwrap_or_default())?;
                place(cap, parts.filter(|name| !name.is_empty()).chain([to_name]))?
            }
        };
        let errand = Errand::Move { from: request.place_of(from_name)?, to, replace: args.replace()? };
        let tell = Tell::Text("It is moved.\n".into());
        self.errand(conn, errand, Then::Edited { tell, when_done }, now);
        Ok(())
    }

    /// Sends an errand; `then` is what becomes of it.
    pub(super) fn errand(&mut self, conn: ConnId, errand: Errand, then: Then, now: Now) {
        let id = self.new_operation(conn);
        self.set_exchange(conn, Exchange::Waiting(Box::new(Waiting { id, then, held: 0 })));
        self.command(Command::Errand { id, errand: Box::new(errand) }, now);
    }

    /// An errand is over.
    pub(super) fn errand_done(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<Box<Done>, Box<DriveError>>,
        now: Now,
    ) {
        self.end_operation(id);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if matches!(connection.exchange, Exchange::Manifest(_)) {
            return self.surveyed_all(conn, result).unwrap_or_else(|refusal| self.refuse(conn, &refusal));
        }
        let answered = match std::mem::replace(&mut connection.exchange, Exchange::Idle) {
            Exchange::Waiting(waiting) => self.outcome(conn, waiting.then, result, now),
            Exchange::Storing(storing) => self.storing_errand_done(conn, *storing, result, now),
            _ => Ok(()),
        };
        answered.unwrap_or_else(|refusal| self.refuse(conn, &refusal));
    }

    fn outcome(
        &mut self,
        conn: ConnId,
        then: Then,
        result: Result<Box<Done>, Box<DriveError>>,
        now: Now,
    ) -> Result<(), Refusal> {
        let result = result.map(|done| *done);
        match (then, result) {
            (Then::Show(request), Ok(Done::Seen(sight))) => self.looked(conn, &request, Ok(*sight), now),
            (Then::Page(page), Ok(Done::Seen(sight))) => self.show_page(conn, *page, *sight, now),
            (Then::Choose(choosing), Ok(Done::Seen(sight))) => self.show_choice(conn, choosing, &sight, now),
            (Then::Personal, Ok(Done::Made { cap, .. })) => {
                self.personal_made(conn, Capability::Directory(cap));
                Ok(())
            }
            (Then::Show(request), Err(error)) => self.looked(conn, &request, Err(&error), now),
            (Then::Made { must_be_new: true, .. }, Ok(Done::Made { existed: true, .. })) => {
                Err(Refusal::new(409, "There is a directory of this name already."))
            }
            (Then::Made { when_done, .. }, Ok(Done::Made { cap, .. })) => {
                let cap = Capability::Directory(cap).to_string();
                self.answer_done(conn, 200, cap, &when_done);
                Ok(())
            }
            (Then::Link { place, when_done }, Ok(Done::Made { cap, .. })) => {
                let cap = Capability::Directory(cap);
                let (directory, name) = split(&place)?;
                let tell = Tell::Text(cap.to_string());
                let child = Child::of(cap, DirectoryKind::Mutable)
                    .map_err(|problem| Refusal::bad(format!("That cannot be linked: {problem}.")))?;
                let (metadata, replace, seen) = (None, Replace::Anything, Seen::Unchecked);
                let edits = Edits(vec![Edit::Link { name, child, metadata, replace, seen }]);
                let errand = Errand::Edit { directory, parents: Parents::Make, edits };
                self.errand(conn, errand, Then::Edited { tell, when_done }, now);
                Ok(())
            }
            (Then::Edited { tell, when_done }, Ok(Done::Edited { outcomes, .. })) => {
                let told = match (tell, outcomes.into_iter().next()) {
                    (Tell::Text(text), _) => text,
                    (Tell::Before, Some(Outcome::Done { before: Some(entry) })) => {
                        entry.child.as_ref().map(strongest).unwrap_or_default()
                    }
                    (Tell::Before, _) => String::new(),
                };
                self.answer_done(conn, 200, told, &when_done);
                Ok(())
            }
            (_, Err(error)) => Err(of_change(&error)),
            (_, Ok(_)) => Err(Refusal::new(500, "The node did something else than was asked.")),
        }
    }

    pub(super) fn set_exchange(&mut self, conn: ConnId, exchange: Exchange) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.exchange = exchange;
        }
    }
}

/// Why a change was not made. What stands in the way of one is a conflict.
pub(super) fn of_change(error: &DriveError) -> Refusal {
    let refusal = Refusal::from(error);
    match error {
        DriveError::NotADirectory { at } if *at > 0 => Refusal { status: 409, ..refusal },
        _ => refusal,
    }
}

/// The directory that a place is in, and its name there.
pub(super) fn split(place: &Place) -> Result<(Place, Name), Refusal> {
    let start = place.start.clone();
    match place.path.split_last() {
        Some((names, last)) => {
            let path = Path::new(names.iter().map(Name::as_str))?;
            Ok((Place { start, path }, last.clone()))
        }
        None if start.is_directory() => {
            Err(Refusal::bad("This is the directory itself: a name is missing after its capability."))
        }
        None if start.kind().is_none() => Err(super::reading::unknown_kind(&start)),
        None => Err(Refusal::bad("This is not a place in a directory: it is the capability of a file.")),
    }
}

/// The strongest capability of a child, as text.
pub(super) fn strongest(child: &Child) -> String {
    let cap = child.write_cap().or_else(|| child.read_cap());
    cap.map(|cap| cap.to_string()).unwrap_or_default()
}

fn existing(name: &str) -> Result<Name, Refusal> {
    Name::existing(name).map_err(|problem| Refusal::of(400, &problem))
}

fn unlink(name: Name) -> Edit {
    Edit::Unlink { name, must_exist: true, only: Only::Anything, seen: Seen::Unchecked }
}
