//! Makes a failing plan shorter: leaves out steps and faults, and makes what is left plainer, as long as
//! it still goes wrong in the same way.

use crate::NetworkSettings;
use crate::disk::DiskSettings;
use crate::plan::{Plan, Step};
use crate::run::run_plan;
use core::time::Duration;
use tallac_core::operation::KeyChoice;

/// The shortest plan found that goes wrong in the same way; `None` if this one does not go wrong.
/// `told` hears of each success: how many steps are left, and what goes wrong.
pub fn shrink(plan: &Plan, told: impl FnMut(usize, &str)) -> Option<Plan> {
    let kind = kind_of(&wrong(plan)?);
    let mut shrinking = Shrinking { best: plan.clone(), kind, told };
    shrinking.leave_out();
    shrinking.make_plainer();
    // What is plainer may need less.
    shrinking.leave_out();
    Some(shrinking.best)
}

struct Shrinking<T> {
    best: Plan,
    kind: String,
    told: T,
}

impl<T: FnMut(usize, &str)> Shrinking<T> {
    /// Takes a candidate if it goes wrong in the same way.
    fn keeps(&mut self, candidate: Plan) -> bool {
        if candidate == self.best {
            return false;
        }
        match wrong(&candidate).filter(|wrong| kind_of(wrong) == self.kind) {
            Some(wrong) => {
                (self.told)(len(&candidate), &wrong);
                self.best = candidate;
                true
            }
            None => false,
        }
    }

    /// Leaves out runs of steps, long ones first.
    fn leave_out(&mut self) {
        let mut chunk = len(&self.best).div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            let mut smaller = false;
            while from < len(&self.best) {
                if self.keeps(without(&self.best, from, chunk)) {
                    smaller = true;
                } else {
                    from += chunk;
                }
            }
            if !smaller {
                chunk /= 2;
            }
        }
    }

    /// Replaces what is drawn by what is usual.
    fn make_plainer(&mut self) {
        let network = NetworkSettings::default();
        let mut plain = self.best.clone();
        plain.grid.network = network;
        self.keeps(plain);
        let mut plain = self.best.clone();
        plain.grid.disk = DiskSettings { lie: plain.grid.disk.lie, ..DiskSettings::default() };
        self.keeps(plain);
        for index in 0..self.best.steps.len() {
            for plainer in plainer(&self.best.steps[index].1) {
                let mut candidate = self.best.clone();
                candidate.steps[index].1 = plainer;
                if self.keeps(candidate) {
                    break;
                }
            }
        }
    }
}

/// How many things happen in a plan.
fn len(plan: &Plan) -> usize {
    plan.steps.len() + plan.slot_faults.len()
}

/// A plan without some of what happens, counted over the steps and then the slots' faults.
fn without(plan: &Plan, from: usize, count: usize) -> Plan {
    let (mut plan, steps) = (plan.clone(), plan.steps.len());
    let gone = |index: usize| (from..from + count).contains(&index);
    let mut index = 0;
    plan.steps.retain(|_| (!gone(index), index += 1).0);
    index = steps;
    plan.slot_faults.retain(|_| (!gone(index), index += 1).0);
    plan
}

/// Plainer steps in place of one, the plainest first.
fn plainer(step: &Step) -> Vec<Step> {
    const SECOND: Duration = Duration::from_secs(1);
    match step {
        Step::Put { client, seed, len, .. } => {
            let put =
                |len| Step::Put { client: *client, seed: *seed, len, key: KeyChoice::Random, tell_len: true };
            [100, 1_000, 10_000, *len].into_iter().filter(|shorter| shorter <= len).map(put).collect()
        }
        Step::Get { client, .. } => vec![Step::Get { client: *client, pick: 0, whole: true }],
        Step::Crash { who, how, .. } => vec![Step::Crash { who: *who, how: *how, down: SECOND }],
        Step::Blackout { .. } => vec![Step::Blackout { down: SECOND }],
        Step::BlackoutAtAck { .. } => vec![Step::BlackoutAtAck { down: SECOND }],
        _ => Vec::new(),
    }
}

fn wrong(plan: &Plan) -> Option<String> {
    run_plan(plan).wrong.into_iter().next()
}

/// What a complaint is about: its beginning, without numbers. A panic says when it struck first.
pub(crate) fn kind_of(wrong: &str) -> String {
    let about = match wrong.split_once(": ") {
        Some((panic, message)) if panic.starts_with("panic at") => message,
        _ => wrong,
    };
    about.chars().filter(|c| !c.is_ascii_digit()).take(36).collect()
}
