//! Writes in any order, compared with a vector of bytes.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Piece {
    offset: u64,
    len: u64,
    /// Whether its bytes are those every honest piece has.
    honest: bool,
}

fn content(at: u64) -> u8 {
    (at * 37 % 251) as u8
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        let flip = if self.honest { 0 } else { 0x80 };
        (self.offset..self.offset + self.len).map(|at| content(at) ^ flip).collect()
    }
}

fn pieces(honest: bool) -> impl Strategy<Value = Vec<Piece>> {
    let piece = (0u64..2_100, 0u64..700, 0u8..8).prop_map(move |(offset, len, chance)| Piece {
        offset,
        len,
        honest: honest || chance > 0,
    });
    proptest::collection::vec(piece, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn one_after_another(size in 1u64..2_000, pieces in pieces(false)) {
        let mut rig = Rig::new();
        rig.ask(allocate(&[0], size), b"").expect("there is room");
        let mut model: Vec<Option<u8>> = vec![None; size as usize];
        let mut whole = false;
        // Something to fill every gap with in the end; refused where a piece lied before.
        let last = Piece { offset: 0, len: size, honest: true };
        for piece in pieces.iter().chain([&last]) {
            let bytes = piece.bytes();
            let range = piece.offset as usize..(piece.offset + piece.len) as usize;
            let expected = if whole {
                Err(StorageError::AlreadyWhole)
            } else if range.end > model.len() {
                Err(StorageError::PastTheEnd)
            } else if model[range.clone()].iter().zip(&bytes).any(|(old, new)| old.is_some_and(|old| old != *new)) {
                Err(StorageError::Conflict)
            } else {
                model[range].iter_mut().zip(&bytes).for_each(|(place, byte)| *place = Some(*byte));
                whole = model.iter().all(Option::is_some);
                Ok(Written { finished: whole })
            };
            prop_assert_eq!(rig.ask(write(0, piece.offset), &bytes), expected);
        }
        if whole {
            let expected: Vec<u8> = model.into_iter().flatten().collect();
            prop_assert_eq!(rig.read(read(0, &[(0, u64::MAX)])), Ok(vec![expected]));
        } else {
            prop_assert_eq!(rig.ask(list(), b""), Ok(Shares(set(&[]))));
        }
    }

    /// Whatever is asked, in whatever order it is done, and whatever fails.
    #[test]
    fn every_request_is_answered_and_nothing_is_left(seed: u64) {
        let mut dice = Dice::new(seed);
        let mut rig = Rig::new();
        rig.order = Some(Dice::new(seed ^ 1));
        for _ in 0..60 {
            let (owner, share) = (1 + dice.below(2) as u8, dice.below(3) as u16);
            let (offset, len) = (dice.below(70), dice.below(60) as usize);
            let honest = Piece { offset, len: len as u64, honest: !dice.one_in(5) };
            let _ = match dice.below(9) {
                0 | 1 => rig.send(allocate_as(owner, &[share, 2], [0, 60, 100][usize::from(share)]), b""),
                2 => rig.send(abort_as(owner, share), b""),
                3 => rig.send(add_lease(owner), b""),
                4 => rig.send(list(), b""),
                5 => rig.send(read(share, &[(offset, u64::MAX), (0, len as u64)]), b""),
                _ => rig.send(write_as(owner, share, offset), &honest.bytes()),
            };
            if dice.one_in(8) {
                let broken = || DiskError::Failed("broken".into());
                rig.disk.fault = Some(match dice.below(6) {
                    0 => (|step| matches!(step, DiskStep::Sync(_)), broken()),
                    1 => (|step| matches!(step, DiskStep::SyncName(_)), broken()),
                    2 => (|step| matches!(step, DiskStep::Read { .. }), broken()),
                    3 => (|step| matches!(step, DiskStep::Create(_)), broken()),
                    4 => (|step| matches!(step, DiskStep::ListShares(_)), broken()),
                    _ => (|step| matches!(step, DiskStep::Write { .. }), DiskError::Full),
                });
            }
            for _ in 0..dice.below(6) {
                rig.step();
            }
            if dice.one_in(30) {
                rig.pass(INCOMING_IDLE_MAX / 2);
            }
        }
        rig.settle();
        prop_assert_eq!(rig.answers.len(), 60);
        rig.pass(INCOMING_IDLE_MAX * 2);
        let server = &rig.server;
        prop_assert_eq!(server.stats().bytes_promised, 0);
        prop_assert!(server.incoming.is_empty() && server.idle.is_empty() && server.deadline().is_none());
        prop_assert!(server.gates.is_empty() && server.running.is_empty());
        prop_assert!(rig.disk.paths().all(|path| matches!(path, StorePath::Share(..))));
    }

    #[test]
    fn all_at_once(size in 1u64..2_000, pieces in pieces(true), seed: u64) {
        let mut rig = Rig::new();
        rig.order = Some(Dice::new(seed));
        rig.ask(allocate(&[0], size), b"").expect("there is room");
        let last = Piece { offset: 0, len: size, honest: true };
        let keys: Vec<_> = pieces
            .iter()
            .chain([&last])
            .map(|piece| rig.send(write(0, piece.offset), &piece.bytes()))
            .collect();
        rig.settle();
        let mut finished = 0;
        for key in keys {
            match rig.answers.remove(&key).expect("every request is answered").map(|(answer, _)| answer) {
                Ok(Written { finished: true }) => finished += 1,
                Ok(Written { finished: false }) | Err(StorageError::PastTheEnd | StorageError::AlreadyWhole) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(finished, 1);
        let expected: Vec<u8> = (0..size).map(content).collect();
        prop_assert_eq!(rig.read(read(0, &[(0, u64::MAX)])), Ok(vec![expected]));
        prop_assert_eq!(rig.server.stats().bytes_promised, 0);
    }
}
