//! The new version is given to the servers, and what they say is weighed.

use super::super::making::Made;
use super::super::map::{FIRST_RANGE, Map};
use super::super::patching::Retreat;
use super::super::writing::{self, Target, Verdict, WriteRights, Writing};
use super::stage::{Aim, Plan, Stage};
use super::{ChangeError, ChangeFile, Changed, Consent, Placed, begins, too_few};
use crate::lease::LeaseSecrets;
use crate::peers::Candidate;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl ChangeFile {
    /// Sends the new version to the servers.
    pub(super) fn begin_writing(&mut self, plan: &Plan, made: Made) {
        let (Some(map), Some(cap)) = (&self.map, &self.cap) else { return };
        let leases = LeaseSecrets::new(&self.setup.lease_secret, &cap.storage_index());
        let rights = WriteRights::new(&cap.write_key, leases);
        let target = |candidate: &Candidate| {
            let (_, shares) = map.answered().find(|(server, _)| *server == candidate.server)?;
            let there = shares.iter().map(|(number, share)| (*number, begins(share.first_bytes()))).collect();
            Some(Target { candidate: candidate.clone(), there })
        };
        let chosen = map.ring().iter().filter(|candidate| plan.targets.contains(&candidate.server));
        let targets: Vec<Target> = chosen.filter_map(target).collect();
        if made.content.is_none() && !writing::fits(&made, &targets) {
            // As a whole, shares can go to others, too.
            return self.retreat(Retreat::Whole);
        }
        let reads = [(FIRST_RANGE.start, FIRST_RANGE.end - FIRST_RANGE.start)];
        // Nobody else writes to a file that is new, or has only one writer.
        let gated = self.setup.consent == Consent::Majority && !plan.bases.is_empty();
        if plan.aim != Aim::Complete {
            if let Some(content) = &made.content {
                self.own.insert(made.version, content.clone());
            }
            self.given_up.insert(made.version);
        }
        let electorate = plan.electorate.clone();
        let order = writing::Order { targets: &targets, electorate, aim: plan.aim, gated };
        let writing = Writing::new(made, order, &rights, &reads, &mut self.tasks);
        self.stage = Stage::Writing { writing: Box::new(writing) };
    }

    /// All servers have said what they think of the new version.
    pub(super) fn weigh(&mut self, now: Now) {
        let stage = core::mem::replace(&mut self.stage, Stage::Done);
        let Stage::Writing { writing } = stage else { return };
        let (electorate, aim) = (writing.electorate.clone(), writing.aim);
        let version = writing.made.version;
        let taken = writing.taken();
        let answers = self.map.as_ref().map(Map::answers).unwrap_or_default();
        let accepted = taken.keys().filter(|server| answers.contains_key(server)).copied().collect();
        let accepted = self.tally(&electorate, &accepted);
        let distinct: BTreeSet<u16> = taken.values().flatten().copied().collect();
        let mut beaten = false;
        let Some(map) = &mut self.map else { return };
        for (server, verdict) in writing.verdicts {
            match verdict {
                Verdict::Taken(_) => {}
                Verdict::Beaten(shares, bulk) => {
                    beaten = true;
                    map.put(server, shares, bulk, &mut self.tasks);
                }
                Verdict::Failed(trouble) => map.fail(server, trouble),
            }
        }
        // What completes another's version does not hold the change.
        let counts = aim != Aim::Complete;
        if counts && accepted.is_enough() && distinct.len() >= usize::from(version.needed) {
            let trouble = map.troubles();
            let cap = self.cap.clone().expect("a file that was written has a capability");
            let (outcomes, total) = (core::mem::take(&mut self.outcomes), version.total);
            let placed = taken.into_iter().map(|(server, shares)| Placed { server, shares }).collect();
            let voters = electorate.len();
            let changed = Changed { cap, version, total, placed, voters, outcomes, trouble };
            return self.end(Ok(Box::new(changed)));
        }
        if !beaten {
            let trouble = map.troubles();
            let error = too_few(accepted, &electorate, trouble);
            if aim != Aim::Win && !taken.is_empty() {
                // There were too few to win; but now more have a version with this number, so that the
                // next can be made of it and written to all.
                return self.again(error, now);
            }
            return self.fail(error);
        }
        self.again(ChangeError::Beaten { attempts: self.attempts + 1 }, now);
    }
}
