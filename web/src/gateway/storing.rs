//! Storing a file, from the body of a request to the link in a directory.
//!
//! ```text
//! Looking ──────▶ Streaming (immutable) ──────▶ Linking ──▶ answered
//! what is there     ▲ or Holding ──▶ Changing     ▲
//!    │              │  (mutable)        │         │
//!    └──────────────┘                   └─────────┘ or answered, if there is no link to make
//! ```
//!
//! Nothing is read of the body before it is known where it goes. A mutable file that is there is
//! overwritten in place: its capability stays, and the directory is not touched.

mod goal;

use goal::{Go, Goal, Keep};

use super::changing::{of_change, split};
use super::content::{Content, Piece};
use super::exchange::{Exchange, plain_head};
use super::redirect::WhenDone;
use super::refusal::Refusal;
use super::request::NewFile;
use super::{Gateway, PLACEMENT_HEADER, SURVIVES_HEADER, UploadView};
use crate::http::Headers;
use tallac_core::capability::{Capability, MutableFormat};
use tallac_core::directory::{Child, DirectoryKind, Edit, Outcome, Replace, Seen};
use tallac_core::drive::{Done, DriveError, Errand, Parents};
use tallac_core::encoding::SEGMENT_SIZE_MAX;
use tallac_core::machine::ConnId;
use tallac_core::mutable::{Change, ChangeError, Changed, Consent, Edits, Subject};
use tallac_core::operation::{Command, OperationId};
use tallac_core::payload::Payload;
use tallac_core::time::Now;
use tallac_core::upload::{UploadError, Uploaded};

/// Bytes of an MDMF file that are taken into memory to be written. What the format and the number of
/// shares allow may be less; the core knows that.
const MDMF_LEN_MAX: u64 = 128 * 1024 * 1024;

/// A file that is being stored.
pub(super) struct Storing {
    content: Content,
    goal: Goal,
    stage: Stage,
}

enum Stage {
    /// Finding out what is there.
    Looking(OperationId),
    /// It goes to the node as it comes.
    Streaming {
        id: OperationId,
        /// Bytes that the node takes now.
        credit: u64,
        end_told: bool,
    },
    /// It is gathered, up to what may be written to a file in this format at once.
    Holding { bytes: Vec<u8>, format: MutableFormat },
    /// A mutable file is being written, of so many bytes.
    Changing { id: OperationId, len: u64 },
    /// What was stored is being linked: its capability, and what is told of its shares.
    Linking { id: OperationId, cap: Capability, told: Headers },
}

impl Storing {
    pub(super) fn operation(&self) -> Option<OperationId> {
        match &self.stage {
            Stage::Looking(id)
            | Stage::Streaming { id, .. }
            | Stage::Changing { id, .. }
            | Stage::Linking { id, .. } => Some(*id),
            Stage::Holding { .. } => None,
        }
    }

    pub(super) fn may_take_body(&self) -> bool {
        match self.stage {
            Stage::Looking(_) => false,
            Stage::Streaming { .. } | Stage::Holding { .. } => self.content.is_hungry(),
            Stage::Changing { .. } | Stage::Linking { .. } => true,
        }
    }

    pub(super) fn waits_for_client(&self) -> bool {
        match self.stage {
            Stage::Streaming { credit, .. } => credit > 0 && self.content.waits_for_client(),
            Stage::Holding { .. } => self.content.waits_for_client(),
            Stage::Looking(_) | Stage::Changing { .. } | Stage::Linking { .. } => false,
        }
    }

    pub(super) fn held(&self) -> u64 {
        match &self.stage {
            Stage::Holding { bytes, .. } => bytes.len() as u64,
            Stage::Changing { len, .. } => *len,
            Stage::Looking(_) | Stage::Streaming { .. } | Stage::Linking { .. } => 0,
        }
    }

    pub(super) fn content(&mut self) -> &mut Content {
        &mut self.content
    }

    /// The node takes more.
    pub(super) fn granted(&mut self, bytes: u64) {
        if let Stage::Streaming { credit, .. } = &mut self.stage {
            *credit += bytes;
        }
    }
}

impl Gateway {
    fn begin_storing(&mut self, conn: ConnId, content: Content, goal: Goal, now: Now) -> Result<(), Refusal> {
        match &goal.link {
            Some(_) => self.look_first(conn, content, goal, now),
            None => self.take_content(conn, content, goal, now)?,
        }
        Ok(())
    }

    fn look_first(&mut self, conn: ConnId, content: Content, goal: Goal, now: Now) {
        let Some(link) = &goal.link else { return };
        let errand = Errand::Look { place: link.place.clone(), list: false };
        let id = self.new_operation(conn);
        let storing = Storing { content, goal, stage: Stage::Looking(id) };
        self.set_exchange(conn, Exchange::Storing(Box::new(storing)));
        self.command(Command::Errand { id, errand: Box::new(errand) }, now);
    }

    /// Where the file goes is known: its content may come.
    fn take_content(
        &mut self,
        conn: ConnId,
        content: Content,
        mut goal: Goal,
        now: Now,
    ) -> Result<(), Refusal> {
        let format = match &goal.keep {
            Keep::New(_) if goal.offset.is_some() => {
                return Err(Refusal::bad("The argument offset= is for a mutable file that is there."));
            }
            Keep::New(NewFile::Immutable(key)) => {
                let (key, len, handle) = (*key, goal.len, goal.handle.take());
                let id = self.new_operation(conn);
                if let Some(handle) = &handle {
                    self.watched.insert(handle.clone(), id);
                }
                self.views.insert(id, UploadView { handle, size: len, ..UploadView::default() });
                let stage = Stage::Streaming { id, credit: 0, end_told: false };
                self.begin_content(conn, Storing { content, goal, stage });
                self.command(Command::Upload { id, len, key }, now);
                return Ok(());
            }
            Keep::New(NewFile::Mutable(format, _)) => *format,
            Keep::Overwrite(cap) => cap.format,
        };
        if let Some(len) = goal.len {
            check_len(format, len)?;
        }
        self.check_room()?;
        let stage = Stage::Holding { bytes: Vec::new(), format };
        self.begin_content(conn, Storing { content, goal, stage });
        Ok(())
    }

    fn begin_content(&mut self, conn: ConnId, storing: Storing) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.http.send_continue();
            connection.exchange = Exchange::Storing(Box::new(storing));
            self.dirty.insert(conn);
        }
    }

    /// Passes on what came of a file, no more than the node takes. Returns whether that was anything, or
    /// left nothing of what had come: there is room for more of it then.
    pub(super) fn feed(&mut self, conn: ConnId, now: Now) -> bool {
        let takes_body = |gateway: &Gateway| {
            gateway.connections.get(&conn).is_some_and(|connection| connection.exchange.may_take_body())
        };
        let before = takes_body(self);
        let mut moved = false;
        loop {
            match self.feed_once(conn, now) {
                Ok(true) => moved = true,
                Ok(false) => return moved || (!before && takes_body(self)),
                Err(refusal) => {
                    self.cancel_exchange(conn, now);
                    self.refuse(conn, &refusal);
                    return true;
                }
            }
        }
    }

    fn feed_once(&mut self, conn: ConnId, now: Now) -> Result<bool, Refusal> {
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(false) };
        let Exchange::Storing(storing) = &mut connection.exchange else { return Ok(false) };
        let Storing { content, goal, stage } = &mut **storing;
        match stage {
            Stage::Streaming { id, credit, end_told: end_told @ false } => {
                let id = *id;
                match content.next()? {
                    Piece::Bytes(bytes) if *credit == 0 => content.put_back(bytes),
                    Piece::Bytes(mut bytes) => {
                        let take = bytes.len().min(usize::try_from(*credit).unwrap_or(usize::MAX));
                        let front = bytes.split_to(take);
                        if !bytes.is_empty() {
                            content.put_back(bytes);
                        }
                        *credit -= take as u64;
                        if let Some(view) = self.views.get_mut(&id) {
                            view.received += take as u64;
                        }
                        self.command(Command::UploadData { id, data: front.into() }, now);
                        return Ok(true);
                    }
                    Piece::End => {
                        *end_told = true;
                        goal.hear_late(content)?;
                        self.command(Command::UploadEnd { id }, now);
                    }
                    Piece::NotYet => {}
                }
                Ok(false)
            }
            Stage::Holding { bytes, format } => match content.next()? {
                Piece::Bytes(more) => {
                    check_len(*format, (bytes.len() + more.len()) as u64)?;
                    bytes.extend_from_slice(&more);
                    self.check_room()?;
                    Ok(true)
                }
                Piece::End => {
                    goal.hear_late(content)?;
                    let content = Payload::from(std::mem::take(bytes));
                    self.write(conn, content, now);
                    Ok(false)
                }
                Piece::NotYet => Ok(false),
            },
            _ => Ok(false),
        }
    }

    /// The whole content of a mutable file is there.
    fn write(&mut self, conn: ConnId, content: Payload, now: Now) {
        let id = self.new_operation(conn);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Storing(storing) = &mut connection.exchange else { return };
        storing.stage = Stage::Changing { id, len: content.len() };
        let subject = match &storing.goal.keep {
            Keep::New(NewFile::Mutable(format, key)) => Subject::New { format: *format, key: key.clone() },
            Keep::Overwrite(cap) => Subject::Existing(cap.clone()),
            Keep::New(NewFile::Immutable(_)) => return,
        };
        let change = match storing.goal.offset {
            Some(offset) => Change::Patch { offset, data: content },
            None => Change::Overwrite(content),
        };
        let consent = Consent::Majority;
        self.command(Command::Change { id, subject, change, consent }, now);
    }

    pub(super) fn uploaded(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<Box<Uploaded>, Box<UploadError>>,
        now: Now,
    ) {
        self.end_operation(id);
        match result {
            Ok(uploaded) => {
                let mut told = Headers::new();
                if let Some(plan) = &uploaded.plan {
                    let _ = told.push(PLACEMENT_HEADER, plan.to_string());
                    let _ = told.push(SURVIVES_HEADER, plan.survives.to_string());
                }
                self.stored(conn, uploaded.cap, told, now);
            }
            Err(error) => self.refuse(conn, &(&*error).into()),
        }
    }

    pub(super) fn changed(
        &mut self,
        conn: ConnId,
        id: OperationId,
        result: Result<Box<Changed>, Box<ChangeError>>,
        now: Now,
    ) {
        self.end_operation(id);
        match result {
            Ok(changed) => {
                let mut told = Headers::new();
                let (shares, servers) = (changed.shares_placed(), changed.placed.len());
                let placement = format!("{shares} of {} shares on {servers} servers", changed.total);
                let _ = told.push(PLACEMENT_HEADER, placement);
                self.stored(conn, Capability::Mutable(changed.cap), told, now);
            }
            Err(error) => {
                self.refuse(conn, &Refusal::from(&*error).after("The file was not stored."));
            }
        }
    }

    /// The file is stored; it may have to be linked.
    fn stored(&mut self, conn: ConnId, cap: Capability, told: Headers, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Storing(mut storing) = std::mem::replace(&mut connection.exchange, Exchange::Idle)
        else {
            return;
        };
        let Some(link) = &storing.goal.link else {
            return self.answer_stored(conn, 200, &cap, &told, &storing.goal.when_done);
        };
        let edits = split(&link.place).and_then(|(directory, name)| {
            let child = Child::of(cap.clone(), DirectoryKind::Mutable);
            let child = child.map_err(|problem| Refusal::of(400, &problem))?;
            // A file never takes the place of a directory, not even of one made meanwhile.
            let replace = match link.replace {
                Replace::Anything | Replace::OnlyFiles => Replace::OnlyFiles,
                Replace::Nothing => Replace::Nothing,
            };
            let edit = Edit::Link { name, child, metadata: None, replace, seen: Seen::Unchecked };
            Ok((directory, Edits(vec![edit])))
        });
        match edits {
            Ok((directory, edits)) => {
                let id = self.new_operation(conn);
                storing.stage = Stage::Linking { id, cap, told };
                self.set_exchange(conn, Exchange::Storing(storing));
                let errand = Errand::Edit { directory, parents: Parents::Make, edits };
                self.command(Command::Errand { id, errand: Box::new(errand) }, now);
            }
            Err(refusal) => self.refuse(conn, &refusal.after(NOT_LINKED)),
        }
    }

    /// What was there was looked for, or the link was made.
    pub(super) fn storing_errand_done(
        &mut self,
        conn: ConnId,
        storing: Storing,
        result: Result<Box<Done>, Box<DriveError>>,
        now: Now,
    ) -> Result<(), Refusal> {
        let Storing { content, mut goal, stage } = storing;
        match (stage, result.map(|done| *done)) {
            (Stage::Looking(_), Ok(Done::Seen(sight))) => match goal.found(&sight)? {
                Go::Store => self.take_content(conn, content, goal, now),
                Go::Look => {
                    self.look_first(conn, content, goal, now);
                    Ok(())
                }
            },
            (Stage::Looking(_), Err(error)) => {
                goal.missing(&error)?;
                self.take_content(conn, content, goal, now)
            }
            (Stage::Linking { cap, told, .. }, Ok(Done::Edited { outcomes, .. })) => {
                let new = matches!(outcomes.first(), Some(Outcome::Done { before: None }));
                let tells_new = goal.link.as_ref().is_some_and(|link| link.tells_new);
                let status = if new && tells_new { 201 } else { 200 };
                self.answer_stored(conn, status, &cap, &told, &goal.when_done);
                Ok(())
            }
            (Stage::Linking { .. }, Err(error)) => Err(of_change(&error).after(NOT_LINKED)),
            _ => Err(Refusal::new(500, "The node did something else than was asked.")),
        }
    }

    fn answer_stored(
        &mut self,
        conn: ConnId,
        status: u16,
        cap: &Capability,
        told: &Headers,
        when_done: &WhenDone,
    ) {
        let mut head = plain_head(status, "text/plain; charset=utf-8");
        for (name, value) in told.iter() {
            let _ = head.headers.push(name, value);
        }
        self.answer_done_with(conn, head, cap.to_string(), when_done);
    }
}

const NOT_LINKED: &str = "The file was stored, but is not linked.";

/// Whether so many bytes may be written to a mutable file at once.
fn check_len(format: MutableFormat, len: u64) -> Result<(), Refusal> {
    let len_max = match format {
        MutableFormat::Sdmf => SEGMENT_SIZE_MAX.into(),
        MutableFormat::Mdmf => MDMF_LEN_MAX,
    };
    if len <= len_max {
        return Ok(());
    }
    let why = match format {
        MutableFormat::Sdmf => format!(
            "A file in the format sdmf can have {len_max} bytes at most; one in the format mdmf can have more."
        ),
        MutableFormat::Mdmf => format!(
            "At most {len_max} bytes can be written to a file in the format mdmf at once; the web API adds more with \
             offset=, and a file that is never changed can be larger."
        ),
    };
    Err(Refusal::new(413, why))
}
