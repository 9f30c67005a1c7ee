//! Shares in progress: writing, finishing, giving up.

use super::{Outputs, RequestKey, Running, ShareKey, StorageServer, lost};
use crate::disk::{DiskError, DiskFailure, DiskResult, DiskStep, StorePath};
use crate::job::Job;
use crate::limits::{INCOMING_IDLE_MAX, SYNC_EARLY, WRITTEN_PIECES_MAX};
use crate::mutants::{self, Mutant};
use crate::secret::UploadSecret;
use crate::storage::container::HEADER_LEN;
use crate::storage::gate::Task;
use crate::storage::incoming::{Incoming, OwnerRequest, PendingWrite, Removal, Stage};
use crate::storage::protocol::{StorageAnswer, StorageError};
use alloc::vec;
use alloc::vec::Vec;

impl StorageServer {
    /// A request that needs the upload secret.
    pub(super) fn owner_request(
        &mut self,
        to: RequestKey,
        key: ShareKey,
        secret: UploadSecret,
        request: OwnerRequest,
    ) {
        let Some(share) = self.incoming.get_mut(&key) else {
            // It may be whole, or about to be allocated by a request that waits for its turn.
            return self.enter(key.0, Task::Owner { to, share: key.1, secret, request });
        };
        if share.secret != secret {
            return self.answer(to, Err(StorageError::WrongSecret));
        }
        share.touched = self.now.instant;
        match (&mut share.stage, request) {
            (Stage::Failed(_), OwnerRequest::Abort) => {
                self.forget(key);
                self.answer(to, Ok(StorageAnswer::Done));
            }
            (Stage::Removing(removal), OwnerRequest::Abort) => {
                removal.remember = false;
                removal.aborts.push(to);
            }
            (Stage::Failed(error), OwnerRequest::Write(_)) => {
                let error = error.clone();
                self.answer(to, Err(error));
            }
            (Stage::Removing(removal), OwnerRequest::Write(_)) => {
                let error = removal.why.clone();
                self.answer(to, Err(error));
            }
            (Stage::Open, OwnerRequest::Abort) => self.give_up(key, Some(to)),
            (_, OwnerRequest::Write(write)) if ends_past(&write, share.size) => {
                self.answer(to, Err(StorageError::PastTheEnd));
            }
            (Stage::Creating | Stage::Open | Stage::Finishing { .. }, request) => {
                share.waiting.push_back((to, request));
                self.advance(key);
            }
        }
    }

    pub(super) fn create(&mut self, key: ShareKey, secret: UploadSecret, size: u64, steps: Vec<DiskStep>) {
        let now = self.now.instant;
        let share = Incoming::new(secret, size, now);
        self.promised += share.promised;
        self.idle.insert((now, key));
        self.incoming.insert(key, share);
        self.disk(Running::Create { key }, steps);
    }

    pub(super) fn created(&mut self, key: ShareKey, result: DiskResult) {
        let share = self.share(key);
        match result {
            Ok(_) => {
                share.stage = Stage::Open;
                self.allocated(key, None);
                self.advance(key);
            }
            Err(DiskFailure { error, .. }) => {
                let error = lost(error);
                self.lose(key, error.clone(), false);
                self.allocated(key, Some(error));
            }
        }
    }

    /// Does whatever a share in progress is ready for.
    fn advance(&mut self, key: ShareKey) {
        loop {
            let share = self.share(key);
            match &mut share.stage {
                Stage::Open => match share.waiting.pop_front() {
                    Some((to, OwnerRequest::Write(write))) if share.is_claimed(&write.range()) => {
                        share.waiting.push_front((to, OwnerRequest::Write(write)));
                        return;
                    }
                    Some((to, OwnerRequest::Write(write))) => self.start_write(to, key, write),
                    Some((to, OwnerRequest::Abort)) => return self.give_up(key, Some(to)),
                    None => return self.sync_early(key),
                },
                Stage::Finishing { asked, .. } if share.busy == 0 && !*asked => {
                    *asked = true;
                    return self.enter(key.0, Task::Finish { share: key.1 });
                }
                Stage::Removing(removal) if share.busy == 0 && !removal.begun => {
                    return self.start_removal(key, StorePath::Incoming(key.0, key.1), false);
                }
                Stage::Creating | Stage::Finishing { .. } | Stage::Removing(_) | Stage::Failed(_) => return,
            }
        }
    }

    fn start_write(&mut self, to: RequestKey, key: ShareKey, mut write: PendingWrite) {
        let share = self.share(key);
        if write.data.is_empty() {
            // Only a share without bytes is finished by no bytes.
            return self.after_write(to, key);
        }
        if share.pieces() >= WRITTEN_PIECES_MAX {
            return self.refuse(to, "the share is written in too many pieces");
        }
        write.unchecked = share.written.within(write.range());
        write.unchecked.reverse();
        share.claim(write.range());
        self.continue_write(to, key, write);
    }

    /// Compares the next part that was written before, or writes the parts that were not.
    fn continue_write(&mut self, to: RequestKey, key: ShareKey, write: PendingWrite) {
        let path = StorePath::Incoming(key.0, key.1);
        if let Some(part) = write.unchecked.last() {
            let (offset, len) = (HEADER_LEN + part.start, part.end - part.start);
            return self
                .disk(Running::Compare { to, key, write }, vec![DiskStep::Read { path, offset, len }]);
        }
        let share = self.share(key);
        let parts = share.written.missing(write.range());
        if parts.is_empty() {
            share.release(&write.range());
            return self.after_write(to, key);
        }
        let steps = parts
            .iter()
            .map(|part| DiskStep::Write {
                path: path.clone(),
                offset: HEADER_LEN + part.start,
                data: write.part(part),
            })
            .collect();
        self.disk(Running::Write { to, key, write }, steps);
    }

    /// What was written before has been read again.
    pub(super) fn reread(&mut self, to: RequestKey, key: ShareKey, write: PendingWrite, result: DiskResult) {
        match result {
            Ok(outputs) => {
                let before = Outputs::new(outputs).data();
                let part = write.unchecked.last().expect("it was read to be compared");
                let job = Job::SameContent(before, write.part(part));
                self.job(Running::Compare { to, key, write }, job);
            }
            Err(DiskFailure { error, .. }) => self.write_failed(to, key, &write, lost(error)),
        }
    }

    pub(super) fn compared(&mut self, to: RequestKey, key: ShareKey, mut write: PendingWrite, same: bool) {
        let share = self.share(key);
        if let Stage::Removing(removal) = &share.stage {
            let error = removal.why.clone();
            return self.write_failed(to, key, &write, error);
        }
        if same {
            write.unchecked.pop();
            self.continue_write(to, key, write);
        } else {
            share.release(&write.range());
            self.answer(to, Err(StorageError::Conflict));
        }
        self.advance(key);
    }

    pub(super) fn wrote(&mut self, to: RequestKey, key: ShareKey, write: PendingWrite, result: DiskResult) {
        if let Err(DiskFailure { error, .. }) = result
            && !(error == DiskError::Full && mutants::is_in(Mutant::FullDiskIgnored))
        {
            return self.write_failed(to, key, &write, lost(error));
        }
        let share = self.share(key);
        share.release(&write.range());
        let taken: u64 = share.written.missing(write.range()).iter().map(|part| part.end - part.start).sum();
        share.written.insert(write.range());
        share.unsynced += taken;
        share.promised -= taken;
        self.promised -= taken;
        self.consumed += taken;
        self.after_write(to, key);
        self.advance(key);
    }

    fn write_failed(&mut self, to: RequestKey, key: ShareKey, write: &PendingWrite, error: StorageError) {
        self.share(key).release(&write.range());
        self.answer(to, Err(error.clone()));
        self.lose(key, error, true);
    }

    /// Everything a write wanted is in the file.
    fn after_write(&mut self, to: RequestKey, key: ShareKey) {
        let share = self.share(key);
        match &share.stage {
            Stage::Removing(removal) => {
                let error = removal.why.clone();
                self.answer(to, Err(error));
            }
            Stage::Open if share.written.covers(share.size) => {
                share.stage = Stage::Finishing { last: to, asked: false };
            }
            _ => self.answer(to, Ok(StorageAnswer::Written { finished: false })),
        }
    }

    /// Begins to sync a long share before its end, so that its last write is not kept waiting.
    fn sync_early(&mut self, key: ShareKey) {
        let share = self.share(key);
        if share.unsynced >= SYNC_EARLY && !share.syncing {
            share.unsynced = 0;
            share.syncing = true;
            share.busy += 1;
            self.disk(Running::SyncEarly { key }, vec![DiskStep::Sync(StorePath::Incoming(key.0, key.1))]);
        }
    }

    pub(super) fn synced_early(&mut self, key: ShareKey, result: DiskResult) {
        let share = self.share(key);
        share.busy -= 1;
        share.syncing = false;
        match result {
            Ok(_) => self.advance(key),
            Err(DiskFailure { error, .. }) => self.lose(key, lost(error), true),
        }
    }

    /// The heart of the matter: content first, then the name, then the name's durability.
    pub(super) fn start_finish(&mut self, (index, share): ShareKey) {
        let (from, to) = (StorePath::Incoming(index, share), StorePath::Share(index, share));
        let mut steps = vec![
            DiskStep::Sync(from.clone()),
            DiskStep::Rename(from, to.clone()),
            DiskStep::SyncName(to.clone()),
        ];
        if mutants::is_in(Mutant::ShareUnsynced) {
            steps.remove(0);
        } else if mutants::is_in(Mutant::ShareNameUnsynced) {
            steps.truncate(2);
        } else if mutants::is_in(Mutant::RenameFirst) {
            steps.swap(0, 1);
            steps[1] = DiskStep::Sync(to);
        }
        self.disk(Running::Finish { key: (index, share) }, steps);
    }

    pub(super) fn finished(&mut self, key: ShareKey, result: DiskResult) {
        let (index, number) = key;
        match result {
            Ok(_) => {
                // One of an earlier attempt that could not be removed is replaced.
                self.doubtful.remove(&key);
                let share = self.forget(key);
                let Stage::Finishing { last, .. } = share.stage else { unreachable!("it was finishing") };
                self.consumed += share.promised;
                self.stats.shares_finished += 1;
                self.stats.bytes_finished += share.size;
                self.answer(last, Ok(StorageAnswer::Written { finished: true }));
                for (to, _) in share.waiting {
                    self.answer(to, Err(StorageError::AlreadyWhole));
                }
                self.leave(index);
            }
            Err(DiskFailure { step: 0, .. }) if mutants::is_in(Mutant::SyncTriedAgain) => {
                self.start_finish(key);
            }
            Err(DiskFailure { step, error }) => {
                self.mark_lost(key, lost(error), true);
                let renamed = step >= 2;
                let path = if renamed {
                    // Until it is removed it looks like a good one.
                    self.doubtful.insert(key);
                    StorePath::Share(index, number)
                } else {
                    StorePath::Incoming(index, number)
                };
                self.start_removal(key, path, true);
            }
        }
    }

    /// Its owner gave it up, or was silent for too long.
    fn give_up(&mut self, key: ShareKey, abort: Option<RequestKey>) {
        self.stats.shares_abandoned += 1;
        self.become_removing(key, StorageError::NoSuchShare, false);
        if let Stage::Removing(removal) = &mut self.share(key).stage {
            removal.aborts.extend(abort);
        }
        self.advance(key);
    }

    /// The disk failed it. Nothing is tried again.
    fn lose(&mut self, key: ShareKey, error: StorageError, remember: bool) {
        self.mark_lost(key, error, remember);
        self.advance(key);
    }

    fn mark_lost(&mut self, key: ShareKey, error: StorageError, remember: bool) {
        if !matches!(self.share(key).stage, Stage::Removing(_)) {
            self.stats.shares_failed += 1;
            self.become_removing(key, error, remember);
        }
    }

    fn become_removing(&mut self, key: ShareKey, why: StorageError, remember: bool) {
        let share = self.share(key);
        let removal = Removal { why: why.clone(), remember, aborts: Vec::new(), begun: false };
        let before = core::mem::replace(&mut share.stage, Stage::Removing(removal));
        let waiting = core::mem::take(&mut share.waiting);
        if let Stage::Finishing { last, .. } = before {
            self.answer(last, Err(why.clone()));
        }
        for (to, request) in waiting {
            match (request, &mut self.share(key).stage) {
                (OwnerRequest::Abort, Stage::Removing(removal)) => {
                    removal.remember = false;
                    removal.aborts.push(to);
                }
                _ => self.answer(to, Err(why.clone())),
            }
        }
    }

    fn start_removal(&mut self, key: ShareKey, path: StorePath, gated: bool) {
        if let Stage::Removing(removal) = &mut self.share(key).stage {
            removal.begun = true;
        }
        self.disk(Running::Remove { key, gated }, vec![DiskStep::Remove(path)]);
    }

    /// Whether the file could be removed makes a difference only if it had its final name already: see
    /// `doubtful`.
    pub(super) fn removed(&mut self, key: ShareKey, gated: bool, is_gone: bool) {
        if is_gone {
            self.doubtful.remove(&key);
        }
        let share = self.share(key);
        let promised = core::mem::take(&mut share.promised);
        let Stage::Removing(removal) = core::mem::replace(&mut share.stage, Stage::Open) else {
            unreachable!("it was being removed")
        };
        if !mutants::is_in(Mutant::PromiseKept) {
            self.promised -= promised;
        }
        if removal.remember {
            self.share(key).stage = Stage::Failed(removal.why);
        } else {
            self.forget(key);
        }
        for to in removal.aborts {
            self.answer(to, Ok(StorageAnswer::Done));
        }
        if gated {
            self.leave(key.0);
        }
    }

    /// Gives up shares whose owners were silent for too long.
    ///
    /// A share is filed under the time at which it was last looked at; only when that is long ago
    /// is it looked at again, so that writes need not file it anew.
    pub(super) fn drop_idle(&mut self) {
        while let Some(&(filed, key)) = self.idle.first() {
            let now = self.now.instant;
            if filed + INCOMING_IDLE_MAX > now || mutants::is_in(Mutant::IdleKept) {
                return;
            }
            let share = self.share(key);
            if share.is_resting() && share.touched + INCOMING_IDLE_MAX <= now {
                if let Stage::Failed(_) = share.stage {
                    self.forget(key);
                    continue;
                }
                self.refile(key, now);
                self.give_up(key, None);
            } else {
                let touched = if share.is_resting() { share.touched } else { now };
                self.refile(key, touched);
            }
        }
    }

    fn refile(&mut self, key: ShareKey, filed: crate::time::Instant) {
        let share = self.share(key);
        let before = core::mem::replace(&mut share.filed, filed);
        self.idle.remove(&(before, key));
        self.idle.insert((filed, key));
    }

    pub(super) fn share(&mut self, key: ShareKey) -> &mut Incoming {
        self.incoming.get_mut(&key).expect("what is under way keeps its share")
    }

    pub(super) fn forget(&mut self, key: ShareKey) -> Incoming {
        let share = self.incoming.remove(&key).expect("it is there to be forgotten");
        self.idle.remove(&(share.filed, key));
        self.promised -= share.promised;
        share
    }
}

fn ends_past(write: &PendingWrite, size: u64) -> bool {
    write.offset.checked_add(write.data.len()).is_none_or(|end| end > size)
}
