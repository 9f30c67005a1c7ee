//! Where the content of the new version comes from: what is there, and what becomes of it.

use super::super::gather::Gather;
use super::super::making::{MakeError, MakeTask, Making};
use super::super::map::KeySearch;
use super::super::patching::{Patch, PatchTask, Patching, Retreat, spliced};
use super::super::{MUTABLE_SHARES_MAX, MutableEncoding};
use super::{Change, ChangeError, ChangeFile, Edits, Purpose, Stage};
use crate::directory::{Access, Edit, Table};
use crate::job::JobOutput;
use crate::payload::Payload;
use crate::task::Outcome;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::vec::Vec;

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
                }
                Some(Err(())) => {
                    // Somebody may have written meanwhile, so that other bytes were read than seen.
                    let trouble = map.troubles();
                    self.again(ChangeError::Unreadable { trouble }, now);
                    return false;
                }
            }
        }
        let in_parts = matches!(self.setup.change, Change::Patch { .. }) && !self.whole && self.attempts == 0;
        let matters = matches!(self.setup.change, Change::Edit(_) | Change::Patch { .. }) && !in_parts;
        if matters && let Some(version) = plan.bases.get(contents.len()) {
            if let Some(content) = self.own.get(version).and_then(|content| content.bytes().cloned()) {
                contents.push(content);
                return true;
            }
            *gather = Some(Box::new(Gather::new(&cap.read_cap(), *version)));
            return true;
        }
        if self.key.is_none() {
            match map.private_key(cap, &mut self.tasks) {
                KeySearch::Found(key) => self.key = Some(key),
                KeySearch::Searching => return false,
                KeySearch::Nowhere => {
                    let trouble = map.troubles();
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

    /// Makes the new content from the bases, and begins to make the new version.
    fn make(&mut self, now: Now) {
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Gathering { plan, contents, .. } = stage else { return };
        let (Some(cap), Some(key)) = (self.cap.clone(), self.key.clone()) else { return };
        let content = match &mut self.setup.change {
            Change::Overwrite(content) => content.clone(),
            Change::Patch { offset, data } => {
                let patch = Patch { offset: *offset, data: data.clone() };
                let base = contents.last().cloned().unwrap_or_default();
                match spliced(&base, &patch) {
                    Some(content) => content,
                    None => {
                        let (offset, size) = (*offset, base.len() as u64);
                        return self.fail(ChangeError::PastEnd { offset, size });
                    }
                }
            }
            Change::Children(children) => {
                let access = Access::Write(cap.write_key.clone());
                match Table::with_children(access, children.0.iter().cloned()) {
                    Ok(table) => Payload::from(table.pack()),
                    Err(error) => return self.fail(ChangeError::Children(error)),
                }
            }
            Change::Edit(edits) => {
                let access = Access::Write(cap.write_key.clone());
                // Where they differ what was linked last prevails, or else the greatest, which comes last.
                let mut table = Table::empty(access.clone());
                for content in contents.into_iter().rev() {
                    match Table::unpack(content, access.clone()) {
                        Ok(other) => table.absorb(&other),
                        Err(error) => return self.fail(ChangeError::NoDirectory(error)),
                    }
                }
                if !core::mem::replace(&mut self.pinned, true) {
                    Edit::pin(&mut edits.0, &table);
                }
                match table.apply(&edits.0, now.unix) {
                    Ok(outcomes) => self.outcomes = outcomes,
                    Err(error) => {
                        let edits = Edits(core::mem::take(&mut edits.0));
                        return self.fail(ChangeError::Edit { error, edits });
                    }
                }
                Payload::from(table.pack())
            }
        };
        let (needed, total) = match plan.bases.last() {
            Some(version) => (version.needed, version.total),
            None => {
                let total = self.setup.params.total().min(MUTABLE_SHARES_MAX) as u8;
                ((self.setup.params.needed() as u8).min(total), total)
            }
        };
        let encoding = MutableEncoding::for_writing(cap.format, needed, total, content.len());
        let making = encoding.map_err(MakeError::Encoding).and_then(|encoding| {
            Making::new(key, encoding, plan.sequence, &content, &mut self.entropy, &mut self.tasks)
        });
        match making {
            Ok(making) => self.stage = Stage::Making { plan, making: Box::new(making) },
            Err(error) => self.fail(ChangeError::Make(error)),
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
        self.begin_writing(&plan, made);
    }
}
