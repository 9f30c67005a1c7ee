//! Drawing single faults.

use super::{Profile, STORM, Step, Who};
use crate::chance::Chance;
use crate::changes::{Alteration, Thing};
use crate::faults::{Fault, Faults};
use crate::hostile::{Attack, Hostility};
use core::time::Duration;
use tallac_core::capability::MutableFormat;

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
                | OldVersions
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
        Fault::Partitions => {
            // Some are cut off; or the grid falls into halves, and long enough for both to give the other up.
            let few = chance.one_in(2);
            let sides = if few { chance.draw() & chance.draw() } else { chance.draw() };
            Step::Partition { sides, one_way: false, pause: if few { pause } else { pause * 2 } }
        }
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
        Fault::ShortReads => {
            Step::ShortReads { server: lossy, one_in: *chance.pick(&[2, 10, 50]), pause: pause * 2 }
        }
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
            let kind = *chance.pick(&[ForeignWrites, Squat, HalfOpen, Nonsense, FalseAlarms, Flood]);
            Step::Attack { pick: chance.draw(), kind }
        }
    })
}

/// Directories and mutable files that are made, changed by several at once, and read.
pub(super) fn changes(chance: &mut Chance, profile: &Profile) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    if profile.changes == 0 {
        return steps;
    }
    let client = |chance: &mut Chance| chance.below(profile.clients.into()) as u16;
    let len = |chance: &mut Chance| {
        let longest = *chance.pick(&[0, 50, 2_000, 2_000, 10_000, 60_000]);
        chance.below(longest + 1)
    };
    let things: &[Thing] = match chance.below(3) {
        0 => &[Thing::Directory, Thing::Directory],
        1 => &[Thing::Directory],
        _ => &[Thing::Directory, Thing::File],
    };
    for thing in things.iter().copied() {
        let at = chance.duration(Duration::from_secs(1)..STORM / 6);
        let format = if chance.one_in(3) { MutableFormat::Mdmf } else { MutableFormat::Sdmf };
        let (client, seed, len) = (client(chance), chance.draw(), len(chance));
        steps.push((at, Step::Make { client, thing, format, seed, len }));
    }
    let mut at = STORM / 10;
    let pause = STORM * 3 / 4 / profile.changes as u32;
    for _ in 0..profile.changes {
        use Alteration::*;
        at += chance.duration(Duration::ZERO..pause * 2);
        if chance.one_in(5) {
            steps.push((at, Step::Look { client: client(chance), pick: chance.draw() }));
            continue;
        }
        // Mostly somebody else changes the same at the same time, more or less; sometimes one client does
        // so several times, and writes the edits of a directory together.
        let pick = chance.draw();
        let first = client(chance);
        let together = chance.one_in(4);
        let others = if together { 4 } else { u64::from(profile.clients) };
        for other in 0..1 + chance.below(others) as u16 {
            let client = if together { first } else { (first + other) % profile.clients };
            let how = if things.contains(&Thing::File) && pick & 4 == 4 {
                Overwrite
            } else {
                *chance.pick(&[Add, Add, Add, Replace, Replace, Rename, Unlink])
            };
            let spread = *chance.pick(&[1, 50, 500]);
            let at = at + Duration::from_millis(chance.below(spread));
            let (seed, len) = (chance.draw(), len(chance));
            steps.push((at, Step::Alter { client, pick, how, seed, len }));
        }
        if chance.one_in(6) {
            // Which may be one of several that wait for each other.
            let at = at + Duration::from_millis(chance.below(700));
            steps.push((at, Step::Cancel { client: first, pick: chance.draw() }));
        }
    }
    steps
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
        (Fault::OldVersions, Hostility::OldVersions),
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
