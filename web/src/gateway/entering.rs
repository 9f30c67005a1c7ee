//! The node's own drives: `/drive/personal` and `/drive/shared` lead to their pages, and the personal one is
//! made. What the gateway itself has done on the disk is here.

use super::Gateway;
use super::changing::Then;
use super::drive_pages::way_to;
use super::exchange::Exchange;
use super::refusal::Refusal;
use crate::pages::details::code;
use crate::pages::personal::{MadeDrive, MakeDrive};
use crate::pages::render;
use std::time::Duration;
use tallac_core::capability::{CAPABILITY_LEN_MAX, Capability, MutableFormat};
use tallac_core::disk::{DiskError, DiskOutput, DiskResult, DiskStep, StorePath};
use tallac_core::drive::{Errand, NewDirectory};
use tallac_core::machine::{Action, ActionId, ConnId};
use tallac_core::time::{Instant, Now};

/// Set in the ids of disk actions that are the gateway's own. The node counts its own up from zero.
const OURS: u64 = 1 << 63;

/// What is stored is counted at most this often: that means to look at every share.
const COUNT_EVERY: Duration = Duration::from_secs(10 * 60);

/// A way into the personal drive.
pub(super) struct PersonalRead {
    id: ActionId,
    step: Step,
}

enum Step {
    /// Its capability is being read. If there is none, the drive is made, or offered to be.
    Reading { names: Vec<String>, make: bool },
    /// Its directory has been made, and its capability is being kept.
    Keeping(Capability),
}

/// What the shares at this node come to: how many, and how many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    /// They were not counted, or not lately.
    Not { before: Option<(u64, u64)> },
    /// They are being counted.
    Counting { id: ActionId, before: Option<(u64, u64)> },
    /// They were counted.
    Done { shares: u64, bytes: u64, at: Instant },
}

/// Whether a disk action is the gateway's own.
pub(super) fn is_ours(id: ActionId) -> bool {
    id.0 & OURS != 0
}

impl Gateway {
    /// `/drive/personal` and `/drive/shared`: they lead to the pages under a handle.
    pub(super) fn enter(&mut self, conn: ConnId, personal: bool, names: Vec<String>) -> Result<(), Refusal> {
        self.check_owner(conn)?;
        if personal {
            return self.read_personal(conn, names, false);
        }
        let root = self.node.shared_root().ok_or_else(|| {
            Refusal::new(
                503,
                "The shared drive is not known yet. It is once a vdrive server has told where it is: see the \
                 first page for how these stand.",
            )
        })?;
        let base = self.page_of(&Capability::Directory(root.directory())).unwrap_or_default();
        self.send_to(conn, &way_to(&base, &names));
        Ok(())
    }

    /// `POST /drive/personal`: makes the drive, unless it is there.
    pub(super) fn make_personal(&mut self, conn: ConnId) -> Result<(), Refusal> {
        self.read_personal(conn, Vec::new(), true)
    }

    fn read_personal(&mut self, conn: ConnId, names: Vec<String>, make: bool) -> Result<(), Refusal> {
        self.check_owner(conn)?;
        let len = CAPABILITY_LEN_MAX as u64 + 64;
        let id = self.disk(vec![DiskStep::Read { path: StorePath::PersonalRoot, offset: 0, len }]);
        let step = Step::Reading { names, make };
        self.set_exchange(conn, Exchange::Personal(Box::new(PersonalRead { id, step })));
        Ok(())
    }

    /// Only for who sits at this machine, or has logged in: there is no capability to show.
    pub(super) fn check_owner(&self, conn: ConnId) -> Result<(), Refusal> {
        let from_here = self.connections.get(&conn).is_some_and(|connection| connection.from_here);
        if from_here || self.login.is_some() {
            return Ok(());
        }
        Err(Refusal::new(
            403,
            "The drives of this node are opened at the machine it runs on. From elsewhere, open a capability.",
        ))
    }

    /// Has something done on the disk for the gateway itself.
    fn disk(&mut self, steps: Vec<DiskStep>) -> ActionId {
        let id = ActionId(OURS | self.next_disk);
        self.next_disk += 1;
        self.actions.push_back(Action::Disk { id, steps });
        id
    }

    /// At the start: is there a personal drive, and what is stored?
    pub(super) fn look_around(&mut self) {
        let len = CAPABILITY_LEN_MAX as u64 + 64;
        let id = self.disk(vec![DiskStep::Read { path: StorePath::PersonalRoot, offset: 0, len }]);
        self.first_look = Some(id);
        if self.node.storage_settings().is_some() {
            let id = self.disk(vec![DiskStep::CountShares]);
            self.counted = Counted::Counting { id, before: None };
        }
    }

    /// Something was done on the disk for the gateway.
    pub(super) fn disk_done(&mut self, id: ActionId, result: DiskResult, now: Now) {
        if let Counted::Counting { id: counting, before } = self.counted
            && counting == id
        {
            self.counted = match result.as_deref() {
                Ok([DiskOutput::Stored { shares, bytes }]) => {
                    Counted::Done { shares: *shares, bytes: *bytes, at: now.instant }
                }
                _ => Counted::Not { before },
            };
            return;
        }
        if self.first_look == Some(id) {
            if let (Some(pages), Ok(outputs)) = (&mut self.pages, result) {
                pages.personal = personal_cap(outputs);
            }
            return;
        }
        let waits = |exchange: &Exchange| matches!(exchange, Exchange::Personal(read) if read.id == id);
        let found = self.connections.iter_mut().find(|(_, connection)| waits(&connection.exchange));
        let Some((&conn, connection)) = found else { return };
        let Exchange::Personal(read) = std::mem::replace(&mut connection.exchange, Exchange::Idle) else {
            return;
        };
        let done = match read.step {
            Step::Reading { names, make } => self.personal_read(conn, &names, make, result, now),
            Step::Keeping(cap) => self.personal_kept(conn, cap, result),
        };
        done.unwrap_or_else(|refusal| self.refuse(conn, &refusal));
    }

    /// The file with the personal drive's capability was read.
    fn personal_read(
        &mut self,
        conn: ConnId,
        names: &[String],
        make: bool,
        result: DiskResult,
        now: Now,
    ) -> Result<(), Refusal> {
        let damaged = || {
            Refusal::new(
                500,
                "private/personal-root.cap in the node's directory cannot be used: restore it from a copy.",
            )
        };
        match result {
            Ok(outputs) => {
                let cap = personal_cap(outputs).ok_or_else(damaged)?;
                let base = self.page_of(&cap).unwrap_or_default();
                if let Some(pages) = &mut self.pages {
                    pages.personal = Some(cap);
                }
                self.send_to(conn, &way_to(&base, names));
                Ok(())
            }
            Err(failure) if failure.error == DiskError::NotFound => {
                if make {
                    let new = NewDirectory::empty(MutableFormat::Sdmf);
                    self.errand(conn, Errand::Make { place: None, new }, Then::Personal, now);
                } else {
                    let frame = self.frame("My drive");
                    self.answer_page(conn, 404, render(&MakeDrive { frame }));
                }
                Ok(())
            }
            Err(_) => Err(damaged()),
        }
    }

    /// The directory is there. It becomes the drive when its capability is kept: nothing is used before.
    pub(super) fn personal_made(&mut self, conn: ConnId, cap: Capability) {
        let line = format!("{cap}\n").into_bytes();
        let id = self.disk(vec![DiskStep::Make(StorePath::PersonalRoot, line.into())]);
        let step = Step::Keeping(cap);
        self.set_exchange(conn, Exchange::Personal(Box::new(PersonalRead { id, step })));
    }

    fn personal_kept(&mut self, conn: ConnId, cap: Capability, result: DiskResult) -> Result<(), Refusal> {
        match result {
            Ok(_) => {
                let (frame, text) = (self.frame("My drive"), cap.to_string());
                let html = render(&MadeDrive { frame, code: code(&text), cap: text });
                if let Some(pages) = &mut self.pages {
                    pages.personal = Some(cap);
                }
                self.answer_page(conn, 200, html);
                Ok(())
            }
            // Somebody else has made one meanwhile: that is the drive, and ours is empty.
            Err(failure) if failure.error == DiskError::Exists => self.read_personal(conn, Vec::new(), false),
            Err(failure) => Err(Refusal::new(
                500,
                format!(
                    "The drive was not made: its capability cannot be kept in the node's directory ({}).",
                    failure.error
                ),
            )),
        }
    }

    /// Has the shares of the node counted, if that was not done lately.
    pub(super) fn count_stored(&mut self, now: Now) {
        if self.node.storage_settings().is_none() {
            return;
        }
        let before = match self.counted {
            Counted::Not { before } => before,
            Counted::Done { shares, bytes, at } if now.instant >= at + COUNT_EVERY => Some((shares, bytes)),
            Counted::Counting { .. } | Counted::Done { .. } => return,
        };
        let id = self.disk(vec![DiskStep::CountShares]);
        self.counted = Counted::Counting { id, before };
    }
}

fn personal_cap(outputs: Vec<DiskOutput>) -> Option<Capability> {
    let Some(DiskOutput::Data(data)) = outputs.into_iter().next() else { return None };
    let bytes = data.into_bytes()?;
    let cap: Capability = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
    cap.is_directory().then_some(cap)
}
