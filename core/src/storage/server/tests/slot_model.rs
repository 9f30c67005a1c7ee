//! Random requests to a slot, compared with vectors of bytes.

use super::slots::{WRITTEN, share};
use super::*;
use crate::storage::protocol::{ShareVectors, SlotTest};
use alloc::collections::BTreeMap;
use proptest::prelude::*;

/// What is asked of one share. Tests are made to hold unless they lie.
#[derive(Clone, Debug)]
struct Asked {
    tests: Vec<(u64, u64, bool)>,
    writes: Vec<(u64, Vec<u8>)>,
    new_length: Option<u64>,
}

#[derive(Clone, Debug)]
struct Request {
    shares: BTreeMap<u16, Asked>,
    reads: Vec<(u64, u64)>,
    owner: u8,
}

fn asked() -> impl Strategy<Value = Asked> {
    let place = 0u64..1_500;
    let test = (place.clone(), 0u64..40, prop::bool::weighted(0.9));
    let write = (place.clone(), prop::collection::vec(1u8.., 0..600));
    let new_length = prop_oneof![6 => Just(None), 1 => Just(Some(0)), 3 => place.prop_map(Some)];
    (prop::collection::vec(test, 0..3), prop::collection::vec(write, 0..4), new_length)
        .prop_map(|(tests, writes, new_length)| Asked { tests, writes, new_length })
}

fn request() -> impl Strategy<Value = Request> {
    let shares = prop::collection::btree_map(0u16..4, asked(), 0..4);
    let reads = prop::collection::vec((0u64..1_600, 0u64..200), 0..3);
    (shares, reads, prop_oneof![30 => Just(1u8), 1 => Just(2u8)]).prop_map(|(shares, reads, owner)| Request {
        shares,
        reads,
        owner,
    })
}

#[derive(Default)]
struct Model {
    owner: u8,
    shares: BTreeMap<u16, Vec<u8>>,
}

fn range(data: &[u8], offset: u64, len: u64) -> Vec<u8> {
    data.iter().skip(offset as usize).take(len as usize).copied().collect()
}

impl Model {
    fn expected(&self, share: u16, (offset, len, honest): (u64, u64, bool)) -> SlotTest {
        let mut expected = range(self.shares.get(&share).map_or(&[], |data| data), offset, len);
        if !honest {
            expected.push(1);
        }
        SlotTest { offset, len, expected }
    }

    fn write(&mut self, request: &Request) {
        for (share, asked) in &request.shares {
            if asked.new_length == Some(0) {
                self.shares.remove(share);
                continue;
            }
            let data = self.shares.entry(*share).or_default();
            for (offset, bytes) in &asked.writes {
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                data.resize(data.len().max(end), 0);
                data[start..end].copy_from_slice(bytes);
            }
            data.truncate(asked.new_length.map_or(usize::MAX, |len| len as usize));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_slot_is_vectors_of_bytes(requests in prop::collection::vec(request(), 1..20)) {
        let mut rig = Rig::new();
        let mut model = Model::default();
        for request in requests {
            rig.now.unix.0 += 1;
            let shares: Vec<_> = request.shares.iter().map(|(number, asked)| {
                let pieces: Vec<_> = asked.writes.iter().map(|(offset, data)| (*offset, &data[..])).collect();
                let (vectors, bulk) = share(*number, &pieces);
                let tests = asked.tests.iter().map(|test| model.expected(*number, *test)).collect();
                (ShareVectors { tests, new_length: asked.new_length, ..vectors }, bulk)
            }).collect();
            if model.shares.is_empty() {
                model.owner = request.owner;
            }
            let answer = rig.slot_write_as(request.owner, &shares, &request.reads);
            if request.owner != model.owner {
                let refused = matches!(answer, Err(StorageError::WrongWriteEnabler { .. }));
                prop_assert!(refused, "{:?}", answer);
                continue;
            }
            let before = model.shares.iter().map(|(number, data)| {
                (*number, request.reads.iter().map(|(offset, len)| range(data, *offset, *len)).collect())
            }).collect();
            let honest = request.shares.values().flat_map(|asked| &asked.tests).all(|(_, _, honest)| *honest);
            prop_assert_eq!(answer, Ok((honest, before)));
            if honest {
                model.write(&request);
            }
            prop_assert_eq!(rig.slot(), model.shares.clone().into_iter().collect::<Vec<_>>());
        }
        let server = &rig.server;
        prop_assert!(server.gates.is_empty() && server.running.is_empty());
        prop_assert_eq!(server.stats().bytes_promised, 0);
        prop_assert!(rig.disk.paths().all(|path| matches!(path, StorePath::Share(..))));
    }

    /// Whatever is asked at once of slots and uploads, and whatever fails.
    #[test]
    fn every_request_is_answered_and_nothing_is_left(seed: u64) {
        let mut dice = Dice::new(seed);
        let mut rig = Rig::new();
        rig.order = Some(Dice::new(seed ^ 1));
        for _ in 0..60 {
            let (owner, number) = (1 + u8::from(dice.one_in(8)), dice.below(3) as u16);
            let pieces = [(dice.below(900), &[5u8; 300][..dice.below(300) as usize])];
            let _ = match dice.below(10) {
                0 => rig.send(allocate_as(owner, &[number], 60), b""),
                1 => rig.send(abort_as(owner, number), b""),
                2 => rig.send(add_lease(owner), b""),
                3 => rig.send(list(), b""),
                4 => rig.send(read(number, &[(0, 9)]), b""),
                5 => rig.send(write_as(owner, number, 0), &[7; 60]),
                6 => rig.send(StorageRequest::ReadSlot {
                    storage_index: INDEX, shares: set(&[]), ranges: vec![(0, 2_000)],
                }, b""),
                more => {
                    let mut shares = vec![share(number, &pieces)];
                    if more == 9 {
                        shares.push(super::slots::cut((number + 1) % 3, dice.below(3) * 50));
                    }
                    let (request, bulk) = super::slots::slot_write_as(owner, &shares, &[(0, 10)]);
                    rig.send(request, &bulk)
                }
            };
            if dice.one_in(12) {
                let broken = || DiskError::Failed("broken".into());
                rig.disk.fault = Some(match dice.below(6) {
                    0 => (|step| matches!(step, DiskStep::Sync(_)), broken()),
                    1 => (|step| matches!(step, DiskStep::SyncName(_)), broken()),
                    2 => (|step| matches!(step, DiskStep::Read { .. }), broken()),
                    3 => (|step| matches!(step, DiskStep::Create(_)), broken()),
                    4 => (|step| matches!(step, DiskStep::Remove(_)), broken()),
                    _ => (|step| matches!(step, DiskStep::Write { .. }), DiskError::Full),
                });
            }
            for _ in 0..dice.below(8) {
                rig.step();
            }
        }
        rig.settle();
        prop_assert_eq!(rig.answers.len(), 60);
        rig.disk.fault = None;
        rig.pass(INCOMING_IDLE_MAX * 3);
        let server = &rig.server;
        prop_assert_eq!(server.stats().bytes_promised, 0);
        prop_assert!(server.incoming.is_empty() && server.gates.is_empty() && server.running.is_empty());
    }
}

#[test]
fn the_model_is_not_trivial() {
    let mut rig = Rig::new();
    assert_eq!(rig.slot_write(&[share(0, &[(2, b"ab")])], &[]), WRITTEN);
    let mut model = Model::default();
    let asked = Asked { tests: vec![], writes: vec![(2, b"ab".to_vec())], new_length: None };
    model.write(&Request { shares: [(0, asked)].into(), reads: vec![], owner: 1 });
    assert_eq!(model.shares[&0], b"\0\0ab");
    assert!(!model.expected(0, (0, 2, false)).expected.is_empty());
}
