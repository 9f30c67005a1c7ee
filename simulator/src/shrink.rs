//! Makes a failing plan shorter: leaves out steps as long as it still goes wrong.

use crate::plan::Plan;
use crate::run::run_plan;

/// The shortest plan found that goes wrong in the same way; `None` if this one does not go wrong.
/// `told` hears of each success: how many steps are left, and what goes wrong.
pub fn shrink(plan: &Plan, mut told: impl FnMut(usize, &str)) -> Option<Plan> {
    let kind = kind_of(&wrong(plan)?).to_owned();
    let mut best = plan.clone();
    let mut chunk = best.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        let mut smaller = false;
        while from < best.steps.len() {
            let mut candidate = best.clone();
            candidate.steps.drain(from..(from + chunk).min(best.steps.len()));
            match wrong(&candidate).filter(|wrong| kind_of(wrong) == kind) {
                Some(wrong) => {
                    told(candidate.steps.len(), &wrong);
                    (best, smaller) = (candidate, true);
                }
                None => from += chunk,
            }
        }
        if !smaller {
            chunk /= 2;
        }
    }
    Some(best)
}

fn wrong(plan: &Plan) -> Option<String> {
    run_plan(plan, None).wrong.into_iter().next()
}

/// What a complaint says before it comes to numbers.
fn kind_of(wrong: &str) -> &str {
    wrong.split([':', '(', '0']).next().unwrap_or(wrong)
}
