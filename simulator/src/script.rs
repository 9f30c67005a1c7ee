//! Plans as text that a person can read and change: what went wrong once is kept as a script, and
//! replayed.
//!
//! Scripts are RON; `simulator/regressions/` holds those of failures that must not come back. Times are
//! seconds.

use crate::plan::Plan;
use core::fmt;
use ron::extensions::Extensions;
use ron::ser::PrettyConfig;
use serde::{Deserialize, Serialize};

/// A plan to be kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What it showed when it was saved, for people to read.
    pub shows: String,
    /// The defect that is put into the core while it runs, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// What happens.
    pub plan: Plan,
}

/// Why a text is no script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoScript(String);

impl fmt::Display for NoScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for NoScript {}

impl Script {
    /// Writes it, one line for each thing that happens.
    pub fn write(&self) -> String {
        let style = PrettyConfig::new().depth_limit(3).extensions(Extensions::IMPLICIT_SOME);
        let mut text = ron::ser::to_string_pretty(self, style).expect("nothing in a plan cannot be written");
        text.push('\n');
        text
    }

    /// Reads what [`Script::write`] wrote, or a person changed.
    ///
    /// # Errors
    /// Says where the text makes no sense, or which step is about a node that the grid does not have.
    pub fn read(text: &str) -> Result<Script, NoScript> {
        let script: Script = ron::from_str(text).map_err(|error| NoScript(error.to_string()))?;
        script.plan.check().map_err(NoScript)?;
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Profile, Step, Who};
    use core::time::Duration;
    use proptest::prelude::*;

    fn script(seed: u64) -> Script {
        let plan = Plan::draw(seed, &Profile::default());
        Script { shows: "lost: \"a file\"\nand more".into(), mutant: None, plan }
    }

    proptest! {
        #[test]
        fn a_script_is_read_as_it_was_written(seed: u64) {
            let script = script(seed);
            let text = script.write();
            prop_assert_eq!(&Script::read(&text), &Ok(script.clone()));
            let longest = text.lines().count();
            let steps = script.plan.steps.len() + script.plan.slot_faults.len();
            prop_assert!(longest < steps + 60, "one line for each step: {longest} lines, {steps} steps");
        }

        #[test]
        fn any_time_survives(nanos in 0..2_592_000_000_000_000u64) {
            let mut script = script(1);
            let at = Duration::from_nanos(nanos);
            script.plan.steps = vec![(at, Step::Blackout { down: at })];
            prop_assert_eq!(&Script::read(&script.write()), &Ok(script.clone()));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let text = script(1).write();
        let refused = |text: &str| Script::read(text).expect_err("it makes no sense").to_string();
        for (from, to, why) in [
            ("servers: 10", "servers: 100000", ""),
            ("servers: 10", "server: 10", "server"),
            ("servers: 10", "servers: 0", "servers"),
            ("latency_max: 0", "latency_max: -0", "no time"),
            ("steps: [", "steps: [ (NaN, Blackout(down: 1.0)),", "no time"),
            ("steps: [", "steps: [ (1.0, Blackout(down: inf)),", "no time"),
            ("steps: [", "steps: [ (1e300, Blackout(down: 1.0)),", "no time"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let said = refused(&changed);
            assert!(said.contains(why), "{to}: {said}");
        }
        assert!(Script::read("").is_err());
        for len in (0..text.len() - 2).step_by(97) {
            assert!(Script::read(&text[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn steps_are_of_nodes_that_are_there() {
        let crash = |who| Step::Crash { who, how: crate::Crash::Kill, down: Duration::ZERO };
        let wrong = [
            crash(Who::Server(10)),
            crash(Who::Client(2)),
            crash(Who::Introducer(1)),
            Step::Get { client: 2, pick: 0, whole: true },
            Step::SlowDisk { server: 10, factor: 1, pause: Duration::ZERO },
        ];
        for step in wrong {
            let mut script = script(1);
            script.plan.steps = vec![(Duration::ZERO, step.clone())];
            let error = Script::read(&script.write()).expect_err("there is no such node");
            assert!(error.to_string().contains("no such"), "{step:?}: {error}");
        }
    }
}
