//! The new version is given to the servers, and what they say is weighed.

use super::super::making::Made;
use super::super::map::{FIRST_RANGE, HeldShare};
use super::super::patching::Retreat;
use super::super::writing::{self, Aim, Target, Verdict, WriteRights, Writing};
use super::deciding::can_be_made_whole;
use super::stage::{Plan, Stage};
use super::{ChangeError, ChangeFile, Changed, Consent, PAUSE_FIRST, Placed, begins};
use crate::identity::ServerId;
use crate::lease::LeaseSecrets;
use crate::peers::{AskError, Candidate};
use crate::task::Trouble;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// The contents of so many versions that were made here are kept: each may be as large as the file.
const OWN_MAX: usize = 3;

impl ChangeFile {
    /// Sends the new version to the servers.
    pub(super) fn begin_writing(&mut self, plan: &Plan, made: Made) {
        let (Some(map), Some(cap)) = (&self.map, &self.cap) else { return };
        let leases = LeaseSecrets::new(&self.setup.lease_secret, &cap.storage_index());
        let rights = WriteRights::new(&cap.write_key, leases);
        self.alarms.note(&map.shown());
        let target = |candidate: &Candidate| {
            let (_, shares) = map.answered().find(|(server, _)| *server == candidate.server)?;
            let there = shares.iter().map(|(number, share)| (*number, begins(share.first_bytes()))).collect();
            let len = |(number, share): (&u16, &HeldShare)| Some((*number, share.stored_len()?));
            Some(Target {
                candidate: candidate.clone(),
                there,
                lens: shares.iter().filter_map(len).collect(),
            })
        };
        let targets_of = |chosen: &BTreeSet<ServerId>| -> Vec<Target> {
            let chosen = map.ring().iter().filter(|candidate| chosen.contains(&candidate.server));
            let mut targets: Vec<Target> = chosen.filter_map(target).collect();
            targets.sort_by_key(|target| self.alarms.are_false(&target.candidate.server));
            targets
        };
        let targets = targets_of(&plan.targets);
        let placed = match plan.aim {
            Aim::Win | Aim::Complete => writing::places(&made, &targets),
            // If what competes does not win, it is written again to all of them.
            Aim::Compete => {
                let all = &plan.electorate.known() & &(&plan.told | &map.holders());
                writing::places(&made, &targets_of(&all))
            }
        };
        let can_be_read = placed >= usize::from(made.version.needed);
        if made.content.is_none() && !(can_be_read && writing::fits(&made, &targets)) {
            // As a whole, shares can go to others, too.
            return self.retreat(Retreat::Whole);
        }
        if plan.aim != Aim::Complete && !can_be_read {
            let (size, needed, may_show_up) = (made.version.size, made.version.needed, self.may_show_up);
            let trouble = self.troubles();
            return self.fail(ChangeError::NoRoom { size, needed, placed, may_show_up, trouble });
        }
        let homes = writing::homes(&made, &targets, plan.aim);
        let reads = [(FIRST_RANGE.start, FIRST_RANGE.end - FIRST_RANGE.start)];
        // Nobody else writes to a file that is new, or has only one writer.
        let gated = self.setup.consent == Consent::Majority && !plan.bases.is_empty();
        if plan.aim != Aim::Complete {
            if let Some(content) = &made.content {
                self.own.insert(made.version, content.clone());
                if self.own.len() > OWN_MAX {
                    // Rather one of which nobody shows a share.
                    let shown = map.shown();
                    let others = self.own.keys().filter(|version| **version != made.version).copied();
                    let least = others.min_by_key(|version| (shown.contains(version), *version));
                    least.and_then(|version| self.own.remove(&version));
                }
            }
            self.given_up.insert(made.version);
        }
        let electorate = plan.electorate.clone();
        let willing = plan.told.iter().filter(|server| !self.refusing.contains_key(server));
        let (told, willing, aim) = (plan.told.clone(), willing.copied().collect(), plan.aim);
        let order = writing::Order { targets: &targets, homes, electorate, told, willing, aim, gated };
        let writing = Writing::new(made, order, &rights, &reads, &mut self.tasks);
        self.stage = Stage::Writing { writing: Box::new(writing) };
    }

    /// All servers have said what they think of the new version.
    pub(super) fn weigh(&mut self, now: Now) {
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Writing { writing } = stage else { return };
        let (electorate, aim) = (writing.electorate.clone(), writing.aim);
        let version = writing.made.version;
        let (taken, is_of_use) = (writing.taken(), writing.is_of_use());
        let accepted = taken.keys().filter(|server| writing.told.contains(server)).copied().collect();
        let accepted = self.tally(&electorate, &accepted);
        let distinct: BTreeSet<u16> = taken.values().flatten().copied().collect();
        let (mut beaten, mut newly_refused, mut nobody_has_it) = (false, false, true);
        // What completes another's version does not hold the change.
        let counts = aim != Aim::Complete;
        let Some(map) = &mut self.map else { return };
        for (server, verdict) in writing.verdicts {
            match verdict {
                Verdict::Taken(_) => {
                    self.refusing.remove(&server);
                    self.may_show_up |= counts;
                    nobody_has_it = false;
                }
                Verdict::Beaten(shares, bulk) => {
                    beaten = true;
                    self.alarms.ring(server);
                    map.put(server, shares, bulk, &mut self.tasks);
                }
                Verdict::Failed(trouble) => {
                    // Unless it said so it may have taken it.
                    let is_sure =
                        matches!(&trouble, Trouble::Ask(AskError::Server(why)) if why.leaves_all_as_it_was());
                    self.may_show_up |= counts && !is_sure;
                    nobody_has_it &= is_sure;
                    if aim != Aim::Win {
                        newly_refused |= self.refusing.insert(server, trouble.clone()).is_none();
                    }
                    map.fail(server, trouble);
                }
            }
        }
        if counts && accepted.is_enough() && distinct.len() >= usize::from(version.needed) {
            let cap = self.cap.clone().expect("a file that was written has a capability");
            let (outcomes, total) = (core::mem::take(&mut self.outcomes), version.total);
            let placed = taken.into_iter().map(|(server, shares)| Placed { server, shares }).collect();
            let (voters, trouble) = (electorate.len(), self.troubles());
            let changed = Changed { cap, version, total, placed, voters, outcomes, trouble };
            return self.end(Ok(Box::new(changed)));
        }
        if counts && nobody_has_it {
            self.own.remove(&version);
        }
        if beaten {
            self.beaten += 1;
            // What is too large to be made as a whole is made in parts again.
            self.whole &= can_be_made_whole(&version);
            let (attempts, may_show_up) = (self.beaten, self.may_show_up);
            return self.again(ChangeError::Beaten { attempts, may_show_up }, now);
        }
        let error = match aim {
            Aim::Win | Aim::Compete => self.too_few(accepted, &electorate),
            Aim::Complete => self.unreadable(),
        };
        match aim {
            // There were too few to win; but now fewer are behind, or they are known to refuse, so that the
            // next version can be written to all.
            Aim::Compete if is_of_use && (newly_refused || !taken.is_empty()) => self.again(error, now),
            Aim::Complete if is_of_use && (newly_refused || !taken.is_empty()) => self.look_again(now),
            Aim::Win | Aim::Compete | Aim::Complete => self.fail(error),
        }
    }

    /// Looks what is there now, after a moment. It is no further attempt.
    fn look_again(&mut self, now: Now) {
        let pause = self.entropy.jitter(PAUSE_FIRST);
        self.stage = Stage::Pausing { until: now.instant + pause, beaten: false };
    }
}
