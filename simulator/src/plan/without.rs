//! A plan without one kind of fault: to see whether it made a difference.

use super::{Plan, Step};
use crate::faults::Fault;
use crate::hostile::Hostility;

impl Step {
    /// The kind of fault that it is, if it is one.
    pub fn fault(&self) -> Option<Fault> {
        Some(match self {
            Step::Put { .. }
            | Step::Get { .. }
            | Step::Make { .. }
            | Step::Alter { .. }
            | Step::Look { .. }
            | Step::Cancel { .. } => return None,
            Step::Crash { .. } => Fault::Crashes,
            Step::Blackout { .. } | Step::BlackoutAtAck { .. } => Fault::Blackouts,
            Step::Pause { .. } => Fault::Pauses,
            Step::Break { .. } => Fault::Breaks,
            Step::Partition { one_way: false, .. } => Fault::Partitions,
            Step::Partition { one_way: true, .. } => Fault::OneWay,
            Step::SlowDisk { .. } => Fault::SlowDisks,
            Step::FullDisks { .. } => Fault::FullDisks,
            Step::Skew { .. } => Fault::Skews,
            Step::Rot { .. } => Fault::BitRot,
            Step::CutShort { .. } => Fault::ShortFiles,
            Step::ShortReads { .. } => Fault::ShortReads,
            Step::Misdirect { .. } => Fault::Misdirected,
            Step::Swizzle { .. } => Fault::Swizzle,
            Step::Drip { .. } => Fault::Drip,
            Step::Backup { .. } | Step::Restore { .. } => Fault::Backups,
            Step::LoseDisk { .. } => Fault::LostDisks,
            Step::LoseIdentity { .. } => Fault::LostIdentities,
            Step::Twin { .. } => Fault::Twins,
            Step::Hostile { how, .. } => match how {
                Hostility::Altered => Fault::Altered,
                Hostility::WrongShares => Fault::WrongShares,
                Hostility::Deaf => Fault::Deaf,
                Hostility::Silent => Fault::Silent,
                Hostility::Unasked => Fault::Unasked,
                Hostility::OldVersions => Fault::OldVersions,
            },
            Step::LaterVersion { .. } => Fault::Versions,
            Step::FalseIntroducer { .. } => Fault::FalseIntroducer,
            Step::Attack { .. } => Fault::Attacks,
        })
    }
}

impl Plan {
    /// The same without a kind of fault; `None` if it has none of that kind.
    pub fn without(&self, fault: Fault) -> Option<Plan> {
        let mut plan = self.clone();
        plan.steps.retain(|(_, step)| step.fault() != Some(fault));
        let disk = &mut plan.grid.disk;
        match fault {
            Fault::SyncFailures => disk.sync_failures = 0,
            Fault::WriteFailures => disk.write_failures = 0,
            Fault::ReadFailures => disk.read_failures = 0,
            _ => {}
        }
        (plan != *self).then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;

    #[test]
    fn a_plan_without_all_its_faults_has_operations_only() {
        let plan = Plan::draw(1, &Profile::default());
        let bare = Fault::ALL.iter().fold(plan, |plan, fault| plan.without(*fault).unwrap_or(plan));
        assert!(bare.steps.iter().all(|(_, step)| step.fault().is_none()) && !bare.steps.is_empty());
        assert!(Fault::ALL.iter().all(|fault| bare.without(*fault).is_none()));
    }
}
