//! Where the content of the new version comes from: what is there, and what becomes of it.

use super::super::gather::Gather;
use super::super::making::{Content, MakeError, MakeTask, Making};
use super::super::map::KeySearch;
use super::super::patching::{Patch, PatchTask, Patching, Retreat, spliced};
use super::super::writing::Aim;
use super::super::{MUTABLE_SHARES_MAX, MutableEncoding};
use super::deciding::{DIVIDED_MAX, can_be_made_whole};
use super::stage::{Plan, Stage};
use super::{Change, ChangeError, ChangeFile, Edits, Purpose};
use crate::capability::MutableCap;
use crate::directory::{Access, Edit, Table};
use crate::job::JobOutput;
use crate::payload::Payload;
use crate::task::Outcome;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;

impl ChangeFile {
    /// Reads the bases as far as their contents matter, and finds the key.
    pub(super) fn gather(&mut self, now: Now) -> bool {
        let Stage::Gathering { plan, gather, contents } = &mut self.stage else { return false };
        let (Some(map), Some(cap)) = (&mut self.map, &self.cap) else { return false };
        if let Some(under_way) = gather {
            match under_way.advance(map, &mut self.tasks, now.instant) {
                None => return false,
                Some(Ok(content)) => {
                    contents.push(content);
                    *gather = None;
                    self.tasks.forget(|purpose| matches!(purpose, Purpose::Gather(_)));
                }
                Some(Err(())) => {
                    self.tasks.forget(|purpose| matches!(purpose, Purpose::Gather(_)));
                    // Somebody may have written meanwhile, so that other bytes were read than seen.
                    self.again(self.unreadable(), now);
                    return false;
                }
            }
        }
        let completes = plan.aim == Aim::Complete;
        let is_patch = matches!(self.setup.change, Change::Patch { .. });
        let in_parts = is_patch && !completes && !self.whole;
        let matters = completes || is_patch && !in_parts || matches!(self.setup.change, Change::Edit(_));
        if matters && let Some(version) = plan.bases.get(contents.len()) {
            if let Some(content) = self.own.get(version).filter(|content| content.bytes.bytes().is_some()) {
                contents.push(content.clone());
                return true;
            }
            if is_patch && !completes && !can_be_made_whole(version) {
                let too_large = MakeError::too_large(version.size, version.needed);
                self.lacks_parts(ChangeError::Make(too_large), now);
                return false;
            }
            *gather = Some(Box::new(Gather::new(&cap.read_cap(), *version)));
            return true;
        }
        if self.key.is_none() {
            match map.private_key(cap, &mut self.tasks) {
                KeySearch::Found(key) => self.key = Some(key),
                KeySearch::Searching => return false,
                KeySearch::Nowhere => {
                    let trouble = self.troubles();
                    self.again(ChangeError::NoPrivateKey { trouble }, now);
                    return false;
                }
            }
        }
        if in_parts {
            self.begin_patch();
        } else {
            self.make(now);
        }
        true
    }

    /// Not all parts of what is to be changed are where it is to be written, or some did not come, and it cannot
    /// be made without. If another is being written, or a server is late, they may be there in a moment.
    fn lacks_parts(&mut self, error: ChangeError, now: Now) {
        if self.divided < DIVIDED_MAX {
            self.divided += 1;
            self.whole = false;
            return self.give_way(1 << self.divided, now);
        }
        self.fail(error);
    }

    /// Begins to make the new version from what changes, if that is possible.
    fn begin_patch(&mut self) {
        self.whole = true;
        let Stage::Gathering { plan, .. } = &self.stage else { return };
        let (Some(map), Some(cap), Some(key)) = (&self.map, &self.cap, &self.key) else { return };
        // Parts are nothing to a server that has no share: if too few have one, all of it must be written.
        let in_place = map.holders().intersection(&plan.targets).copied().collect();
        if !self.tally(&plan.electorate, &in_place).is_enough() {
            return;
        }
        let (Change::Patch { offset, data }, [base]) = (&self.setup.change, &plan.bases[..]) else { return };
        let patch = Patch { offset: *offset, data: data.clone() };
        let (read_cap, base, sequence) = (cap.read_cap(), *base, plan.sequence);
        let patching = Patching::new(
            (read_cap, key.clone()),
            (base, sequence),
            patch,
            map,
            &plan.targets,
            &mut self.tasks,
        );
        if let Some(patching) = patching {
            self.stage = Stage::Patching { plan: plan.clone(), patching: Box::new(patching) };
        }
    }

    pub(super) fn patched(&mut self, task: PatchTask, outcome: Outcome) {
        let Stage::Patching { plan, patching } = &mut self.stage else { return };
        match patching.finished(task, outcome, &mut self.tasks) {
            None => {}
            Some(Ok(made)) => {
                let plan = plan.clone();
                self.begin_writing(&plan, made);
            }
            Some(Err(retreat)) => self.retreat(retreat),
        }
    }

    /// The new version cannot be made from parts.
    pub(super) fn retreat(&mut self, retreat: Retreat) {
        self.tasks.forget(|purpose| matches!(purpose, Purpose::Patch(_) | Purpose::Gather(_)));
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        match (retreat, stage) {
            (Retreat::Whole, Stage::Patching { plan, .. }) => {
                self.stage = Stage::Gathering { plan, gather: None, contents: Vec::new() };
            }
            (Retreat::Impossible(error), _) => self.fail(ChangeError::Make(error)),
            (Retreat::Whole, _) => {}
        }
    }

    /// Begins to make the version, once the bases are read.
    fn make(&mut self, now: Now) {
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Gathering { plan, mut contents, .. } = stage else { return };
        let Some(key) = self.key.clone() else { return };
        let made = match (plan.aim, &plan.bases[..]) {
            (Aim::Complete, [version]) => {
                let content = contents.pop().expect("what is to be completed was read");
                version.encoding().map_err(MakeError::Encoding).map(|encoding| (encoding, content))
            }
            _ => {
                let contents = contents.into_iter().filter_map(|content| content.bytes.into_bytes());
                match self.new_content(contents.collect(), now) {
                    Ok(bytes) => self
                        .encoding(&plan, bytes.len())
                        .map(|encoding| (encoding, Content::new(bytes, &encoding, &mut self.entropy))),
                    Err(error) => return self.fail(error),
                }
            }
        };
        let making = made.and_then(|(encoding, content)| {
            Making::new(key, encoding, plan.sequence, content, &mut self.tasks)
        });
        match making {
            // It was made in parts, and is too large to be made as a whole.
            Err(_) if plan.aim == Aim::Complete => self.fail(self.unreadable()),
            Ok(making) => self.stage = Stage::Making { plan, making: Box::new(making) },
            Err(error) => self.fail(ChangeError::Make(error)),
        }
    }

    /// How a new version of so many bytes is cut up: with as many shares as the last base has.
    fn encoding(&self, plan: &Plan, size: u64) -> Result<MutableEncoding, MakeError> {
        let cap = self.cap.as_ref().expect("who makes a version has a capability");
        let (needed, total) = match plan.bases.last() {
            Some(version) => (version.needed, version.total),
            None => {
                let total = self.setup.params.total().min(MUTABLE_SHARES_MAX) as u8;
                ((self.setup.params.needed() as u8).min(total), total)
            }
        };
        MutableEncoding::for_writing(cap.format, needed, total, size).map_err(MakeError::Encoding)
    }

    /// What becomes of the bases.
    fn new_content(&mut self, mut contents: Vec<Bytes>, now: Now) -> Result<Payload, ChangeError> {
        let access = |cap: &MutableCap| Access::Write(cap.write_key.clone());
        let cap = self.cap.as_ref().expect("who makes a version has a capability");
        match &mut self.setup.change {
            Change::Overwrite(content) => Ok(content.clone()),
            Change::Patch { offset, data } => {
                let patch = Patch { offset: *offset, data: data.clone() };
                let base = contents.pop().unwrap_or_default();
                let past_end = ChangeError::PastEnd { offset: *offset, size: base.len() as u64 };
                spliced(&base, &patch).ok_or(past_end)
            }
            Change::Children(children) => {
                let table = Table::with_children(access(cap), children.0.iter().cloned());
                Ok(Payload::from(table.map_err(ChangeError::Children)?.pack()))
            }
            Change::Edit(edits) => {
                // Where they differ what was linked last prevails, or else the greatest, which comes last.
                let mut table = Table::empty(access(cap));
                for content in contents.into_iter().rev() {
                    table.absorb(&Table::unpack(content, access(cap)).map_err(ChangeError::NoDirectory)?);
                }
                if !core::mem::replace(&mut self.pinned, true) {
                    Edit::pin(&mut edits.0, &table);
                }
                let (applied, may_show_up) = (table.apply(&edits.0, now.unix), self.may_show_up);
                self.outcomes = applied.map_err(|error| {
                    let edits = Edits(core::mem::take(&mut edits.0));
                    ChangeError::Edit { error, edits, may_show_up }
                })?;
                Ok(Payload::from(table.pack()))
            }
        }
    }

    pub(super) fn made(&mut self, task: MakeTask, output: JobOutput) {
        let Stage::Making { making, .. } = &mut self.stage else { return };
        let made = match making.finished(task, output, &mut self.tasks) {
            Ok(None) => return,
            Ok(Some(made)) => made,
            Err(error) => return self.fail(ChangeError::Make(error)),
        };
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Making { plan, .. } = stage else { return };
        if plan.aim == Aim::Complete && plan.bases != [made.version] {
            // Who wrote it made it in a way that is not known here.
            return self.fail(self.unreadable());
        }
        self.begin_writing(&plan, made);
    }
}
