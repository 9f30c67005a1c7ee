//! Applies edits to a table.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::child::{Child, ChildKind};
use super::edit::{Edit, EditError, EditProblem, Found, Only, Outcome, Replace, Seen};
use super::entry::{Entry, Packed};
use super::metadata::Metadata;
use super::name::Name;
use super::table::{Access, Table};
use crate::limits::{DIRECTORY_ENTRIES_MAX, DIRECTORY_LEN_MAX};
use crate::time::UnixTime;

impl Table {
    /// Applies edits in order; `now` is when the links are made or changed. [`Edit`] has the rules.
    /// If all outcomes are [`Outcome::Already`], the table is the same as before and need not be
    /// stored.
    ///
    /// # Errors
    /// Names the first edit that cannot be applied; then the table is the same as before.
    pub fn apply(&mut self, edits: &[Edit], now: UnixTime) -> Result<Vec<Outcome>, EditError> {
        let (len, count) = (self.packed_len(), self.len());
        let mut draft = Draft { table: self, changed: BTreeMap::new(), len, count, now };
        let mut outcomes = Vec::with_capacity(edits.len());
        for (at, edit) in edits.iter().enumerate() {
            let outcome = draft.apply(edit);
            outcomes.push(outcome.map_err(|(name, problem)| EditError {
                at,
                name: name.clone(),
                problem,
            })?);
        }
        for (name, entry) in draft.changed {
            match entry {
                Some(entry) => self.put(name, entry),
                None => self.remove(&name),
            }
        }
        Ok(outcomes)
    }
}

/// A table with changes that are not yet made.
struct Draft<'t> {
    table: &'t Table,
    /// What the changed names shall hold.
    changed: BTreeMap<Name, Option<Packed>>,
    /// Of the table with the changes.
    len: usize,
    count: usize,
    now: UnixTime,
}

type Applied<'e> = Result<Outcome, (&'e Name, EditProblem)>;

impl Draft<'_> {
    fn apply<'e>(&mut self, edit: &'e Edit) -> Applied<'e> {
        let writable = matches!(self.table.access, Access::Write(_));
        match edit {
            Edit::Link { name, .. }
            | Edit::Unlink { name, .. }
            | Edit::SetMetadata { name, .. }
            | Edit::Rename { from: name, .. }
                if !writable =>
            {
                Err((name, EditProblem::ReadOnly))
            }
            Edit::Link { name, child, metadata, replace, seen } => {
                self.link(name, child, metadata.as_ref(), *replace, seen).map_err(|problem| (name, problem))
            }
            Edit::Unlink { name, must_exist, only, seen } => {
                self.unlink(name, *must_exist, *only, seen).map_err(|problem| (name, problem))
            }
            Edit::Rename { from, to, replace, seen_from, seen_to } => {
                self.rename((from, seen_from), (to, seen_to), *replace)
            }
            Edit::SetMetadata { name, metadata, seen } => {
                self.set_metadata(name, metadata, seen).map_err(|problem| (name, problem))
            }
        }
    }

    fn link(
        &mut self,
        name: &Name,
        child: &Child,
        metadata: Option<&Metadata>,
        replace: Replace,
        seen: &Seen,
    ) -> Result<Outcome, EditProblem> {
        let found = self.find(name);
        let metadata = Metadata::linked(readable(&found), metadata, self.now);
        let child = if metadata.no_write() { &child.read_only() } else { child };
        if let Some(changed) = seen.differs(found.as_ref()) {
            let already = found.is_some_and(|found| found.child.as_ref() == Ok(child));
            return if already { Ok(Outcome::Already) } else { Err(changed) };
        }
        may_take(name, found.as_ref(), replace)?;
        let entry = Packed::of_child(name, child, &metadata, &self.table.access);
        self.put(name, entry)?;
        Ok(done(found))
    }

    fn unlink(
        &mut self,
        name: &Name,
        must_exist: bool,
        only: Only,
        seen: &Seen,
    ) -> Result<Outcome, EditProblem> {
        let Some(found) = self.find(name) else {
            let author_missed_it = !matches!(seen, Seen::Entry(_));
            let wrong = must_exist && author_missed_it;
            return if wrong { Err(EditProblem::NoSuchChild) } else { Ok(Outcome::Already) };
        };
        if let Some(changed) = seen.differs(Some(&found)) {
            return Err(changed);
        }
        match (only, kind(&found)) {
            (Only::Files, ChildKind::Directory) => return Err(EditProblem::NotAFile),
            (Only::Directories, ChildKind::File) => return Err(EditProblem::NotADirectory),
            _ => {}
        }
        self.remove(name);
        Ok(done(Some(found)))
    }

    fn rename<'e>(
        &mut self,
        (from, seen_from): (&'e Name, &Seen),
        (to, seen_to): (&'e Name, &Seen),
        replace: Replace,
    ) -> Applied<'e> {
        let source = self.find(from);
        let target = self.find(to);
        if let Some(changed) = seen_from.differs(source.as_ref()) {
            let already = match (seen_from, &target) {
                (Seen::Entry(seen), Some(target)) if from != to => seen.same_child(target),
                _ => false,
            };
            return if already { Ok(Outcome::Already) } else { Err((from, changed)) };
        }
        let Some(source) = source else { return Err((from, EditProblem::NoSuchChild)) };
        if from == to {
            return Ok(Outcome::Already);
        }
        if let Some(changed) = seen_to.differs(target.as_ref()) {
            return Err((to, changed));
        }
        may_take(to, target.as_ref(), replace).map_err(|problem| (to, problem))?;
        let metadata = source.metadata.clone().unwrap_or_default();
        let metadata = Metadata::linked(readable(&target), Some(&metadata), self.now);
        let entry = source.packed.relinked(to, &metadata, &self.table.access);
        self.remove(from);
        self.put(to, entry).map_err(|problem| (to, problem))?;
        Ok(done(target))
    }

    fn set_metadata(&mut self, name: &Name, wanted: &Metadata, seen: &Seen) -> Result<Outcome, EditProblem> {
        let Some(found) = self.find(name) else {
            return Err(seen.differs(None).unwrap_or(EditProblem::NoSuchChild));
        };
        if let Some(changed) = seen.differs_in_any_way(&found) {
            let already = match seen {
                Seen::Entry(seen) => {
                    let narrowed = wanted.no_write()
                        && found.child == seen.child.as_ref().map(Child::read_only).map_err(|e| *e);
                    (found.same_child(seen) || narrowed)
                        && found.metadata.as_ref().is_ok_and(|there| there.same_apart_from_times(wanted))
                }
                Seen::Unchecked | Seen::Nothing => false,
            };
            return if already { Ok(Outcome::Already) } else { Err(changed) };
        }
        let metadata = Metadata::linked(found.metadata.as_ref().ok(), Some(wanted), self.now);
        let entry = found.packed.relinked(name, &metadata, &self.table.access);
        self.put(name, entry)?;
        Ok(done(Some(found)))
    }

    fn packed(&self, name: &Name) -> Option<&Packed> {
        match self.changed.get(name) {
            Some(changed) => changed.as_ref(),
            None => self.table.entries.get(name),
        }
    }

    fn find(&self, name: &Name) -> Option<Entry> {
        self.packed(name).map(|packed| Entry::open(packed, &self.table.access))
    }

    fn put(&mut self, name: &Name, entry: Packed) -> Result<(), EditProblem> {
        self.remove(name);
        self.len += entry.framed().len();
        self.count += 1;
        if self.len > DIRECTORY_LEN_MAX || self.count > DIRECTORY_ENTRIES_MAX {
            return Err(EditProblem::Full);
        }
        self.changed.insert(name.clone(), Some(entry));
        Ok(())
    }

    fn remove(&mut self, name: &Name) {
        if let Some(old) = self.packed(name) {
            self.len -= old.framed().len();
            self.count -= 1;
            self.changed.insert(name.clone(), None);
        }
    }
}

impl Seen {
    /// How what is there differs from what was seen, if it does.
    fn differs(&self, found: Option<&Entry>) -> Option<EditProblem> {
        let found = match (self, found) {
            (Seen::Unchecked, _) | (Seen::Nothing, None) => return None,
            (Seen::Entry(seen), Some(found)) if seen.same_child(found) => return None,
            (Seen::Entry(_), None) => Found::Nothing,
            (Seen::Entry(_) | Seen::Nothing, Some(_)) => Found::OtherChild,
        };
        Some(EditProblem::Changed { found })
    }

    /// The same for edits that are about the metadata, too.
    fn differs_in_any_way(&self, found: &Entry) -> Option<EditProblem> {
        self.differs(Some(found)).or(match self {
            Seen::Entry(seen) if !seen.same_metadata(found) => {
                Some(EditProblem::Changed { found: Found::OtherMetadata })
            }
            _ => None,
        })
    }
}

fn may_take(name: &Name, found: Option<&Entry>, replace: Replace) -> Result<(), EditProblem> {
    match (replace, found) {
        // A name that others have made may stay in use, but we make no such names.
        (_, None) => name.problem().map_or(Ok(()), |problem| Err(EditProblem::Name(problem))),
        (Replace::Nothing, Some(_)) => Err(EditProblem::Exists),
        (Replace::OnlyFiles, Some(found)) if kind(found) == ChildKind::Directory => {
            Err(EditProblem::WouldReplaceDirectory)
        }
        (Replace::OnlyFiles | Replace::Anything, Some(_)) => Ok(()),
    }
}

fn kind(entry: &Entry) -> ChildKind {
    entry.child.as_ref().map_or(ChildKind::Unknown, Child::kind)
}

/// Metadata that cannot be read counts as none, and is replaced.
fn readable(entry: &Option<Entry>) -> Option<&Metadata> {
    entry.as_ref().and_then(|entry| entry.metadata.as_ref().ok())
}

fn done(before: Option<Entry>) -> Outcome {
    Outcome::Done { before: before.map(Box::new) }
}
