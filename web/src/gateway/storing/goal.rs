//! What is to become of a file, and what that means when something is there already.

use super::super::Gateway;
use super::super::changing::of_change;
use super::super::content::Content;
use super::super::redirect::WhenDone;
use super::super::refusal::Refusal;
use super::super::request::{Args, NewFile, Request, place};
use crate::http::{BodyKind, Headers};
use tallac_core::capability::{Capability, MutableCap};
use tallac_core::directory::{Name, Replace};
use tallac_core::drive::{DriveError, Place, Sight};
use tallac_core::machine::ConnId;
use tallac_core::time::Now;

/// Longest name an upload can be watched by.
const HANDLE_LEN_MAX: usize = 64;

/// What is to become of it.
pub(super) struct Goal {
    pub(super) keep: Keep,
    /// If it replaces only a part of a file: where that begins, in bytes.
    pub(super) offset: Option<u64>,
    pub(super) link: Option<Link>,
    /// Its length, if the client said.
    pub(super) len: Option<u64>,
    /// The name by which it is watched.
    pub(super) handle: Option<String>,
    pub(super) when_done: WhenDone,
    /// Of the request.
    pub(super) headers: Headers,
}

pub(super) enum Keep {
    New(NewFile),
    Overwrite(MutableCap),
}

/// Where it is to be linked.
pub(super) struct Link {
    pub(super) place: Place,
    /// If a directory is there: the name that it has in that.
    pub(super) within: Option<String>,
    pub(super) replace: Replace,
    /// Whether the status tells that there was nothing before.
    pub(super) tells_new: bool,
}

impl Gateway {
    /// `PUT /uri`, `PUT /uri/CAP` and `PUT /uri/DIRCAP/PATH` with a file.
    pub(in super::super) fn store(
        &mut self,
        conn: ConnId,
        request: &Request,
        now: Now,
    ) -> Result<(), Refusal> {
        if request.head.headers.contains("Content-Range") {
            return Err(Refusal::new(501, "A file is stored whole; Content-Range is not possible in a PUT."));
        }
        let len = match request.head.body {
            BodyKind::None => Some(0),
            BodyKind::Length(len) => Some(len),
            BodyKind::Chunked | BodyKind::UntilClose => None,
        };
        let new = request.args.new_file()?;
        let mut goal = self.goal(request, new, len)?;
        goal.offset = offset(&request.args)?;
        if !request.is_nowhere() {
            let place = request.place()?;
            if place.path.names().is_empty() {
                goal.keep = Keep::Overwrite(to_overwrite(&place.start, request.args.replace()?)?);
            } else {
                let replace = request.args.replace()?;
                goal.link = Some(Link { place, within: None, replace, tells_new: true });
            }
        }
        self.begin_storing(conn, Content::body(), goal, now)
    }

    /// `POST` with `t=upload`: the file is a field of a form.
    pub(in super::super) fn store_upload(
        &mut self,
        conn: ConnId,
        request: &Request,
        filename: Option<String>,
        content: Content,
        now: Now,
    ) -> Result<(), Refusal> {
        let nowhere = request.is_nowhere();
        if request.t() != "upload" && !(nowhere && request.t().is_empty()) {
            return Err(Refusal::bad("A form with a file needs t=upload, before the file."));
        }
        let args = &request.args;
        let mut goal = self.goal(request, args.new_file()?, None)?;
        goal.offset = offset(args)?;
        if !nowhere {
            let cap = request.cap()?;
            let named = args.get("name").filter(|name| !name.is_empty());
            let filename = filename.filter(|name| !name.is_empty());
            let replace = args.replace()?;
            if request.names().is_empty() && !cap.is_directory() {
                goal.keep = Keep::Overwrite(to_overwrite(&cap, replace)?);
            } else {
                let (place, within) = match named {
                    Some(name) => (request.place_of(name)?, None),
                    None => (request.place()?, filename),
                };
                goal.link = Some(Link { place, within, replace, tells_new: false });
            }
        }
        self.begin_storing(conn, content, goal, now)
    }

    fn goal(&mut self, request: &Request, new: NewFile, len: Option<u64>) -> Result<Goal, Refusal> {
        let handle = request.args.get("ophandle").filter(|h| !h.is_empty() && h.len() <= HANDLE_LEN_MAX);
        if handle.is_some_and(|handle| self.watched.contains_key(handle)) {
            return Err(Refusal::new(
                409,
                "Another upload is watched by this name; choose another `ophandle`.",
            ));
        }
        let when_done = request.when_done()?;
        let headers = request.head.headers.clone();
        let handle = handle.map(str::to_owned);
        Ok(Goal { keep: Keep::New(new), offset: None, link: None, len, handle, when_done, headers })
    }
}

/// What to do after having looked.
pub(super) enum Go {
    Store,
    /// In the directory that was found.
    Look,
}

impl Goal {
    /// Something is there already.
    pub(super) fn found(&mut self, sight: &Sight) -> Result<Go, Refusal> {
        let Some(link) = &mut self.link else { return Ok(Go::Store) };
        match sight.child.capability() {
            Some(Capability::Directory(_)) => match link.within.take() {
                Some(name) => {
                    let names = link.place.path.names().iter().map(Name::as_str);
                    link.place = place(link.place.start.clone(), names.chain([name.as_str()]))?;
                    Ok(Go::Look)
                }
                None if link.place.path.names().is_empty() => {
                    Err(Refusal::bad("The file needs a name: send name=, or a file name."))
                }
                None => Err(Refusal::new(409, "A directory is there, which a file does not replace.")),
            },
            _ if link.replace == Replace::Nothing => {
                Err(Refusal::new(409, "There is something of this name already."))
            }
            Some(Capability::Mutable(cap)) => {
                if let Keep::New(NewFile::Mutable(_, Some(key))) = &self.keep
                    && key.write_key() != cap.write_key
                {
                    return Err(Refusal::new(409, "A file with another private key is there."));
                }
                self.keep = Keep::Overwrite(cap.clone());
                self.link = None;
                Ok(Go::Store)
            }
            Some(Capability::MutableRead(_)) => Err(Refusal::bad(
                "A mutable file is there that can only be read; unlink it first to put another in its place.",
            )),
            _ => Ok(Go::Store),
        }
    }

    /// Nothing can be found there: that is good, if only the last names are missing.
    pub(super) fn missing(&self, error: &DriveError) -> Result<(), Refusal> {
        let (DriveError::NoSuchChild { at, .. }, Some(link)) = (error, &self.link) else {
            return Err(of_change(error));
        };
        // All of what would be refused after the whole file had come.
        if !link.place.start.is_writable() {
            return Err(of_change(&DriveError::ReadOnly { at: 0 }));
        }
        let names = link.place.path.names().get(*at..).unwrap_or_default();
        match names.iter().find_map(|name| Some((name, name.problem()?))) {
            Some((name, problem)) => Err(of_change(&DriveError::Name { name: name.clone(), problem })),
            None => Ok(()),
        }
    }

    /// What a form said after the file.
    pub(super) fn hear_late(&mut self, content: &mut Content) -> Result<(), Refusal> {
        let late = content.take_late();
        if !late.is_empty() && self.when_done == WhenDone::Tell {
            let mut args = Args::default();
            args.extend(late);
            self.when_done = WhenDone::of(&args, &self.headers)?;
        }
        Ok(())
    }
}

/// The file that a capability lets one overwrite.
fn to_overwrite(cap: &Capability, replace: Replace) -> Result<MutableCap, Refusal> {
    match cap {
        Capability::Mutable(_) if replace == Replace::Nothing => {
            Err(Refusal::new(409, "The file is there, and replace=false was asked for."))
        }
        Capability::Mutable(cap) => Ok(cap.clone()),
        Capability::MutableRead(_) => {
            Err(Refusal::bad("This capability lets one read the file, but not change it."))
        }
        Capability::Literal(_) | Capability::Chk(_) => Err(Refusal::bad("This file can never change.")),
        Capability::Unknown(_) => Err(super::super::reading::unknown_kind(cap)),
        Capability::ChkVerify(_) | Capability::MutableVerify(_) => {
            Err(Refusal::bad("This is a verify capability: it can check the file, but not change it."))
        }
        Capability::Directory(_) => {
            Err(Refusal::bad("This is a directory, not a file: put a name after its capability."))
        }
    }
}

/// Where the part of a mutable file begins that the body replaces, in bytes.
fn offset(args: &Args) -> Result<Option<u64>, Refusal> {
    let parse = |offset: &str| {
        offset
            .parse()
            .map_err(|_| Refusal::bad("The argument offset= is a number of bytes from the beginning."))
    };
    args.get("offset").map(parse).transpose()
}
