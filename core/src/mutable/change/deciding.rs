//! What to write, given what the servers have.

use super::super::map::Map;
use super::super::quorum::{self, Decision, Electorate, Grounds, Tally};
use super::super::writing::Aim;
use super::stage::{Plan, Stage};
use super::{Change, ChangeError, ChangeFile, Consent, PAUSE_FIRST, Purpose, Subject, asking, further};
use crate::identity::ServerId;
use crate::limits::BULK_LEN_MAX;
use crate::mutable::{MutableLayout, Version};
use crate::mutants::{self, Mutant};
use crate::time::Now;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// How often a change waits for another that is under way, before it competes with it.
const WAITS_MAX: u32 = 3;
/// How often it is looked again which of several versions a part is to be put into, or whether it is all there.
pub(super) const DIVIDED_MAX: u32 = 4;
/// How often a version that is there is given to those behind it before the change is made.
const COMPLETED_MAX: u32 = 4;

impl ChangeFile {
    /// Decides what to write, once enough is known of what is there.
    pub(super) fn look(&mut self, known: u64, in_time: bool, now: Now) -> bool {
        let Some(map) = &self.map else { return false };
        if map.is_checking() {
            return false;
        }
        let electorate = self.electorate();
        // Nobody waits for those further along the ring once all who have a say have answered.
        let waiting = map.unheard() > 0;
        let all_answered = {
            let answered: BTreeSet<ServerId> = map.answered().map(|(server, _)| server).collect();
            electorate.known().is_subset(&answered)
        };
        if waiting && !all_answered && (in_time || !self.has_enough_answers(&electorate)) {
            return false;
        }
        if self.asks_further(&electorate) {
            let Some(map) = &mut self.map else { return false };
            map.widen(&mut self.tasks, now.instant);
            self.stage = asking(known, now.instant);
            return false;
        }
        if self.is_nowhere(map) {
            if !waiting {
                let trouble = map.troubles();
                self.fail(ChangeError::NotFound { trouble });
            }
            return false;
        }
        let is_new = matches!(self.setup.subject, Subject::New { .. });
        if is_new && !map.shown().is_subset(&self.given_up) {
            self.fail(ChangeError::AlreadyThere);
            return false;
        }
        self.strangers = electorate.strangers();
        let decision = self.decide(map, &electorate, known);
        let fails = match &decision {
            Decision::Write { bases, .. } => bases.is_empty() && !is_new || self.is_divided(&decision),
            Decision::TooFew(_) | Decision::Unreadable => true,
            Decision::Complete { .. } | Decision::AskAgain { .. } => false,
        };
        if fails && waiting {
            // Whoever has not answered yet may be of help.
            return false;
        }
        self.follow(decision, electorate, now)
    }

    /// Whether nobody who was asked has anything of a file that should be there.
    fn is_nowhere(&self, map: &Map) -> bool {
        map.shown().is_empty() && !matches!(self.setup.subject, Subject::New { .. })
    }

    /// Whether those further along the ring are asked, too.
    fn asks_further(&self, electorate: &Electorate<ServerId>) -> bool {
        let Some(map) = self.map.as_ref().filter(|map| !map.asked_all()) else { return false };
        let is_new = matches!(self.setup.subject, Subject::New { .. });
        // The file may have been made when the ring was another, or with more shares. If more than half of
        // the first servers are others by now, these do not know what was acknowledged last.
        let few = !is_new
            && (map.asked_servers().count() < self.total().into()
                || map.lacks_shares(self.total())
                || map.may_go_on(self.total().into(), further(&self.setup)));
        let is_nowhere = map.versions().is_empty() && !is_new;
        is_nowhere || few || !self.has_enough_answers(electorate)
    }

    fn decide(
        &self,
        map: &Map,
        electorate: &Electorate<ServerId>,
        known: u64,
    ) -> Decision<ServerId, Version> {
        let has_a_say =
            |server: &ServerId| electorate.has(server) || mutants::is_in(Mutant::OutsidersCounted);
        let answers: BTreeMap<_, _> =
            map.answers().into_iter().filter(|(server, _)| has_a_say(server)).collect();
        match self.setup.consent {
            Consent::Majority => {
                let readable = map.readable().into_iter().chain(self.own.keys().copied()).collect();
                let refusing = self.refusing.keys().copied().collect();
                let grounds = Grounds { readable, given_up: self.given_up.clone(), refusing, known };
                quorum::decide(&answers, electorate, &grounds)
            }
            Consent::Servers(needed) if answers.len() < needed => {
                Decision::TooFew(Tally { needed, servers: electorate.len(), agreed: answers.len() })
            }
            Consent::Servers(_) => Decision::Write {
                sequence: highest(map).saturating_add(1),
                bases: map.newest_readable().into_iter().collect(),
                targets: answers.keys().copied().collect(),
                undecided: false,
            },
        }
    }

    /// Whether a part would have to be put into several versions: these cannot be put together.
    fn is_divided(&self, decision: &Decision<ServerId, Version>) -> bool {
        matches!(decision, Decision::Write { undecided: true, .. })
            && matches!(self.setup.change, Change::Patch { .. })
    }

    /// Does as decided. `true` if it may go on further at once.
    fn follow(
        &mut self,
        decision: Decision<ServerId, Version>,
        electorate: Electorate<ServerId>,
        now: Now,
    ) -> bool {
        let is_divided = self.is_divided(&decision);
        let told = self.map.as_ref().map(Map::answers).unwrap_or_default().into_keys().collect();
        let Some(map) = &mut self.map else { return false };
        let highest = highest(map);
        let is_new = matches!(self.setup.subject, Subject::New { .. });
        match decision {
            Decision::Write { bases, .. } if bases.is_empty() && !is_new => {
                self.fail(self.unreadable());
            }
            Decision::Write { .. } if is_divided => {
                // Whoever wrote them may come to an end.
                self.divided += 1;
                if self.divided > DIVIDED_MAX {
                    let (may_show_up, trouble) = (self.may_show_up, self.troubles());
                    self.fail(ChangeError::Divided { may_show_up, trouble });
                } else {
                    self.give_way(1 << self.divided, now);
                }
            }
            // Somebody has begun to write a version; better let him finish than compete.
            Decision::Write { sequence, .. } if sequence == highest && self.waits < WAITS_MAX => {
                self.waits += 1;
                self.give_way(2, now);
            }
            Decision::Complete { .. } if self.waits < WAITS_MAX => {
                self.waits += 1;
                self.give_way(2, now);
            }
            Decision::Write { sequence, bases, mut targets, .. } => {
                if sequence > highest {
                    // Damaged shares are replaced, though nobody counts on who has them; and who refused what
                    // was for those behind may take this.
                    targets.extend(map.holders().into_iter().filter(|server| electorate.has(server)));
                }
                let aim = if sequence > highest { Aim::Win } else { Aim::Compete };
                self.begin(Plan { electorate, told, aim, sequence, bases, targets });
                return true;
            }
            Decision::Complete { version, .. }
                if self.completed >= COMPLETED_MAX || !can_be_made_whole(&version) =>
            {
                self.fail(self.unreadable());
            }
            Decision::Complete { version, targets } => {
                self.completed += 1;
                let (sequence, bases) = (version.sequence, Vec::from([version]));
                self.begin(Plan { electorate, told, aim: Aim::Complete, sequence, bases, targets });
                return true;
            }
            Decision::TooFew(tally) => {
                self.fail(self.too_few(tally, &electorate));
            }
            Decision::AskAgain { known } => {
                map.ask_again(&mut self.tasks, now.instant);
                self.stage = asking(known, now.instant);
            }
            Decision::Unreadable => {
                self.fail(self.unreadable());
            }
        }
        false
    }

    fn begin(&mut self, plan: Plan) {
        if let Some(map) = &self.map {
            self.alarms.judge(&map.shown());
        }
        // What comes late is not of this plan.
        self.tasks.forget(|purpose| matches!(purpose, Purpose::Gather(_)));
        self.stage = Stage::Gathering { plan, gather: None, contents: Vec::new() };
    }

    /// Lets others go on for so many times the first pause, and looks again.
    pub(super) fn give_way(&mut self, pauses: u32, now: Now) {
        let pause = self.entropy.jitter(PAUSE_FIRST * pauses);
        self.stage = Stage::Pausing { until: now.instant + pause, beaten: false };
    }
}

/// The highest sequence number that anybody shows; 0 if nobody shows any.
fn highest(map: &Map) -> u64 {
    map.shown().iter().map(|version| version.sequence).max().unwrap_or(0)
}

/// Whether a share of it fits into one request, with keys of the usual lengths.
pub(super) fn can_be_made_whole(version: &Version) -> bool {
    const PUBLIC_KEY_LEN: usize = 294;
    const PRIVATE_KEY_LEN: usize = 1_220;
    let layout = version
        .encoding()
        .ok()
        .and_then(|encoding| MutableLayout::for_writing(&encoding, PUBLIC_KEY_LEN, PRIVATE_KEY_LEN).ok());
    layout.is_some_and(|layout| layout.share_len() <= BULK_LEN_MAX as u64)
}
