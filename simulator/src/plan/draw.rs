//! Drawing single faults.

use super::{Profile, STORM, Step, Who};
use crate::chance::Chance;
use crate::faults::{Fault, Faults};
use crate::hostile::{Attack, Hostility};
use core::time::Duration;

/// Who is struck: mostly a server.
pub(super) fn who(chance: &mut Chance, profile: &Profile) -> Who {
    match chance.below(10) {
        0 => Who::Introducer(0),
        1 | 2 => Who::Client(chance.below(profile.clients.into()) as u16),
        _ => Who::Server(chance.below(profile.servers.into()) as u16),
    }
}

/// One of the servers that may lose shares, if there is one.
fn fallible_server(chance: &mut Chance, fallible: u64) -> Option<u16> {
    let servers: Vec<u16> = (0..64).filter(|server| fallible >> server & 1 == 1).collect();
    if servers.is_empty() { None } else { Some(*chance.pick(&servers)) }
}

/// A fault of one of the kinds that are on; `None` if no kind can strike.
pub(super) fn fault(chance: &mut Chance, profile: &Profile, faults: &Faults, fallible: u64) -> Option<Step> {
    // The others are in the settings of disks, or there from a beginning.
    let strikes = |fault: &Fault| {
        use Fault::*;
        let is_elsewhere = matches!(
            fault,
            Crashes
                | Blackouts
                | SyncFailures
                | WriteFailures
                | ReadFailures
                | Versions
                | FalseIntroducer
                | Altered
                | WrongShares
                | Deaf
                | Silent
                | Unasked
                | Twins
        );
        !(is_elsewhere || fault.costs_shares() && fallible == 0)
    };
    let kinds: Vec<Fault> = faults.iter().filter(strikes).collect();
    if kinds.is_empty() {
        return None;
    }
    let pause = chance.duration(Duration::from_millis(100)..Duration::from_secs(30));
    let server = chance.below(profile.servers.into()) as u16;
    let lossy = fallible_server(chance, fallible).unwrap_or(server);
    Some(match chance.pick(&kinds) {
        Fault::Breaks => Step::Break { count: 1 + chance.below(6), pick: chance.draw() },
        Fault::Pauses => Step::Pause { who: who(chance, profile), pause },
        Fault::Partitions => Step::Partition { sides: chance.draw() & chance.draw(), one_way: false, pause },
        Fault::OneWay => Step::Partition { sides: chance.draw() & chance.draw(), one_way: true, pause },
        Fault::Swizzle => {
            let gap = chance.duration(Duration::from_millis(10)..Duration::from_secs(3));
            Step::Swizzle { sides: chance.draw() & chance.draw(), gap }
        }
        Fault::Drip => Step::Drip { server: lossy, pause: pause * 3 },
        Fault::Backups if chance.one_in(2) => Step::Backup { server: lossy },
        Fault::Backups => Step::Restore { server: lossy, down: pause },
        Fault::LostDisks => Step::LoseDisk { server: lossy, down: pause },
        Fault::LostIdentities => Step::LoseIdentity { server: lossy, down: pause },
        Fault::FullDisks => {
            let room_max = *chance.pick(&[500, 5_000, 100_000]);
            Step::FullDisks { sides: chance.draw(), room: chance.below(room_max), pause }
        }
        Fault::SlowDisks => Step::SlowDisk { server, factor: 1 + chance.below(200) as u32, pause },
        Fault::BitRot => Step::Rot { pick: chance.draw() },
        Fault::ShortFiles => Step::CutShort { pick: chance.draw() },
        Fault::Misdirected => Step::Misdirect { server: lossy },
        Fault::Skews => {
            // A day or so; in one of three cases years.
            let longest = *chance.pick(&[100_000, 100_000, 300_000_000]);
            Step::Skew {
                who: who(chance, profile),
                seconds: chance.below(2 * longest) as i64 - longest as i64,
            }
        }
        _ => {
            use Attack::*;
            let kind = *chance.pick(&[ForeignWrites, Squat, HalfOpen, Nonsense, FalseAlarms]);
            Step::Attack { pick: chance.draw(), kind }
        }
    })
}

/// What is so from some point on: hostile servers, twins, false introducers, later versions.
pub(super) fn beginnings(
    chance: &mut Chance,
    profile: &Profile,
    faults: &Faults,
    fallible: u64,
) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    let hostilities = [
        (Fault::Altered, Hostility::Altered),
        (Fault::WrongShares, Hostility::WrongShares),
        (Fault::Deaf, Hostility::Deaf),
        (Fault::Silent, Hostility::Silent),
        (Fault::Unasked, Hostility::Unasked),
    ];
    let hows: Vec<Hostility> =
        hostilities.iter().filter(|(fault, _)| faults.has(*fault)).map(|(_, how)| *how).collect();
    for server in (0..64).filter(|server| fallible >> server & 1 == 1) {
        // Sometimes from the first moment, sometimes in the middle.
        let at = *chance.pick(&[Duration::ZERO, STORM / 3, STORM / 2]);
        if !hows.is_empty() && !chance.one_in(3) {
            steps.push((at, Step::Hostile { server, how: *chance.pick(&hows) }));
        } else if faults.has(Fault::Twins) {
            steps.push((at, Step::Twin { server }));
        }
    }
    if faults.has(Fault::FalseIntroducer) {
        steps.push((Duration::ZERO, Step::FalseIntroducer { introducer: 1 }));
    }
    if faults.has(Fault::Versions) {
        let server = chance.below(profile.servers.into()) as u16;
        steps.push((Duration::ZERO, Step::LaterVersion { who: Who::Client(0) }));
        if fallible >> server & 1 == 0 {
            steps.push((Duration::ZERO, Step::LaterVersion { who: Who::Server(server) }));
        }
    }
    steps
}
