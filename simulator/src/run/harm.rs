//! Harm that lasts: copies of disks, lost identities, twins, hostile servers, introducers and clients.

use super::storm::node_of;
use crate::chance::Chance;
use crate::disk::Disk;
use crate::grid::{Identity, Role};
use crate::hostile::{self, Attack, FalseIntroducer, HostileServer, LaterVersion, Plain, Tally};
use crate::plan::{Plan, Step};
use crate::probes::Probe;
use crate::{Grid, GridSpec, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use tallac_core::storage_index::StorageIndex;

pub(super) struct Harm {
    seed: u64,
    spec: GridSpec,
    chance: Chance,
    backups: BTreeMap<NodeId, Disk>,
    identities: u32,
    attacker: Option<NodeId>,
    pub(super) squatted: BTreeSet<StorageIndex>,
    pub(super) tally: Tally,
}

impl Harm {
    pub(super) fn new(plan: &Plan) -> Harm {
        Harm {
            seed: plan.seed,
            spec: plan.grid.clone(),
            chance: Chance::named(plan.seed, "harm"),
            backups: BTreeMap::new(),
            identities: 0,
            attacker: None,
            squatted: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// A hostile client, if the plan has attacks: a node that nobody uses.
    pub(super) fn prepare(&mut self, plan: &Plan, grid: &mut Grid) {
        let servers = grid.servers.clone().into_iter().enumerate();
        for (_, node) in servers.filter(|(number, _)| *number < 64 && plan.fallible >> number & 1 == 1) {
            grid.operations.distrust(node);
        }
        if plan.steps.iter().any(|(_, step)| matches!(step, Step::Attack { .. })) {
            let identity = Identity::new(self.seed, "attacker".into());
            let node = grid.add(identity, Role::Client, &self.spec);
            grid.world.set_mouth(node, Box::new(Plain));
            self.attacker = Some(node);
        }
    }

    /// Changes a server while it is down.
    pub(super) fn change(&mut self, step: &Step, node: NodeId, grid: &mut Grid) -> Option<Probe> {
        match step {
            Step::Restore { .. } => {
                let backup = self.backups.get(&node)?.clone();
                grid.world.disk(node).restore(backup);
                Some(Probe::BackupsRestored)
            }
            Step::LoseDisk { .. } => {
                grid.world.disk(node).wipe();
                Some(Probe::DisksLost)
            }
            Step::LoseIdentity { .. } => {
                self.identities += 1;
                let name = grid.world.name(node).to_owned();
                let identity = Identity::another(self.seed, name, self.identities);
                grid.be_another(node, &identity);
                Some(Probe::IdentitiesLost)
            }
            _ => None,
        }
    }

    /// Does what is so from now on.
    pub(super) fn begin(&mut self, step: &Step, grid: &mut Grid) -> Option<Probe> {
        let server = |server: &u16, grid: &Grid| grid.servers[usize::from(*server)];
        match step {
            Step::Backup { server: number } => {
                let node = server(number, grid);
                let mut copy = grid.world.disk(node).clone();
                // What was not synced is not in the copy, or in part.
                copy.power_cut();
                self.backups.insert(node, copy);
                None
            }
            Step::Misdirect { server: number } => {
                grid.world.disk(server(number, grid)).misdirect();
                None
            }
            Step::Twin { server: number } => {
                let name = grid.world.name(server(number, grid)).to_owned();
                let twin = grid.add(Identity::new(self.seed, name), Role::Server, &self.spec);
                grid.world.start(twin);
                Some(Probe::Twins)
            }
            Step::Hostile { server: number, how } => {
                let mouth = HostileServer::new(*how, self.tally.clone());
                grid.world.set_mouth(server(number, grid), Box::new(mouth));
                None
            }
            Step::LaterVersion { who } => {
                grid.world.set_mouth(node_of(*who, grid), Box::new(LaterVersion::new(self.tally.clone())));
                None
            }
            Step::FalseIntroducer { introducer } => {
                let node = grid.introducers[usize::from(*introducer)];
                grid.world.set_mouth(node, Box::new(FalseIntroducer::new(self.tally.clone())));
                None
            }
            Step::Attack { pick, kind } => self.attack(*pick, *kind, grid),
            _ => None,
        }
    }

    fn attack(&mut self, pick: u64, kind: Attack, grid: &mut Grid) -> Option<Probe> {
        let attacker = self.attacker?;
        let mut known: Vec<StorageIndex> =
            grid.operations.files().iter().filter_map(|file| file.cap.storage_index()).collect();
        if !matches!(kind, Attack::Squat | Attack::HalfOpen) {
            // The slots of others, too.
            known.extend(grid.changes.indexes());
        }
        // Sometimes of no file at all.
        let index = match known.as_slice() {
            known if !known.is_empty() && pick & 3 != 0 => known[(pick >> 8) as usize % known.len()],
            _ => StorageIndex([pick as u8; 16]),
        };
        let standing = grid.world.standing(attacker);
        if standing.is_empty() {
            return None;
        }
        if matches!(kind, Attack::Squat | Attack::HalfOpen) {
            self.squatted.insert(index);
        }
        // A flood is of one server: it costs what it sends.
        let victims = if kind == Attack::Flood { 1 } else { standing.len() };
        let first = (pick >> 32) as usize % standing.len();
        for (conn, _) in standing.into_iter().cycle().skip(first).take(victims) {
            for frame in hostile::attack(kind, index, &mut self.chance) {
                grid.world.inject(attacker, conn, &frame);
            }
        }
        Some(match kind {
            Attack::ForeignWrites => Probe::ForeignWrites,
            Attack::Squat => Probe::Squats,
            Attack::HalfOpen => Probe::HalfOpen,
            Attack::Nonsense => Probe::Nonsense,
            Attack::FalseAlarms => Probe::FalseAlarms,
            Attack::Flood => Probe::Floods,
        })
    }
}
