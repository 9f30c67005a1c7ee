//! The map by itself: what it asks, what it believes, what it keeps.

use super::*;
use crate::capability::{MutableCap, MutableFormat};
use crate::identity::TubId;
use crate::mutable::{MutableEncoding, build_all, parse_header};
use crate::rsa::PublicKey;
use crate::rsa::{PrivateKey, Rsa, SIGNATURE_LEN};
use crate::secret::Secret;
use crate::storage::protocol::StorageRequest;
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;

/// Signatures that are the key's fingerprint, eight times. Real ones are tested where providers are.
struct Pretend;

impl Rsa for Pretend {
    fn generate(&self, _: &Secret<32>) -> Option<PrivateKey> {
        None
    }

    fn sign(&self, key: &PrivateKey, _: &[u8]) -> Option<Vec<u8>> {
        Some(key.public_key().fingerprint().0.repeat(SIGNATURE_LEN / 32))
    }

    fn verify(&self, key: &PublicKey, _: &[u8], signature: &[u8]) -> bool {
        signature == key.fingerprint().0.repeat(SIGNATURE_LEN / 32)
    }
}

fn key(number: usize) -> PrivateKey {
    let pool: [&[u8]; 2] = [
        include_bytes!("../../../../soft-rsa/keys/0.der"),
        include_bytes!("../../../../soft-rsa/keys/1.der"),
    ];
    PrivateKey::from_pkcs8(pool[number]).expect("a good key")
}

fn shares(format: MutableFormat, sequence: u64, size: usize) -> (MutableCap, Vec<Vec<u8>>) {
    let encoding = MutableEncoding::for_writing(format, 2, 4, size as u64).expect("possible");
    let content = vec![sequence as u8; size];
    build_all(&key(0), &encoding, sequence, || [9; 16], &content, &Pretend).expect("can be made")
}

fn id(server: u8) -> ServerId {
    ServerId([server; 32])
}

/// A map, and what it asked for.
struct Bench {
    map: Map,
    tasks: Tasks<MapTask>,
    /// Questions that have not been answered, and jobs.
    asked: Vec<(u64, Task)>,
    checks: usize,
}

impl Bench {
    fn new(cap: &MutableCap, servers: u8, batch: usize) -> Bench {
        Bench::with_lost(cap, servers, batch, &[])
    }

    /// One in which these servers were lost long ago.
    fn with_lost(cap: &MutableCap, servers: u8, batch: usize, lost: &[u8]) -> Bench {
        let candidate = |server| Candidate {
            server: id(server),
            tub_id: TubId([0; 20]),
            nickname: String::from("s"),
            read_only: false,
            lost: lost.contains(&server),
        };
        let mut tasks = Tasks::new();
        let ring = (0..servers).map(candidate).collect();
        let map = Map::new(cap.verify_cap(), ring, batch, &mut tasks, Instant::ZERO);
        let mut bench = Bench { map, tasks, asked: Vec::new(), checks: 0 };
        bench.take();
        bench
    }

    /// Takes what the map asks for, and does its jobs.
    fn take(&mut self) {
        while let Some((id, task)) = self.tasks.poll() {
            if let Task::Job(job) = task {
                self.checks += 1;
                let output = crate::job::run(job, &Pretend);
                self.finish(id, Outcome::Job(output));
            } else {
                self.asked.push((id, task));
            }
        }
    }

    fn finish(&mut self, id: u64, outcome: Outcome) {
        let task = self.tasks.finish(id).expect("a task of the map");
        self.map.finished(task, outcome, &mut self.tasks);
    }

    /// Answers the oldest question to a server, which has these shares.
    fn answer(&mut self, server: u8, held: &[(u16, &[u8])]) {
        let of = |(_, task): &(u64, Task)| matches!(task, Task::Ask { server: of, .. } if *of == id(server));
        let (number, task) = self.asked.remove(self.asked.iter().position(of).expect("it was asked"));
        let Task::Ask { request: StorageRequest::ReadSlot { shares: wanted, ranges, .. }, .. } = task else {
            panic!("no question about a slot: {task:?}");
        };
        let (mut lengths, mut bulk) = (Vec::new(), Vec::new());
        for (share, data) in held.iter().filter(|(share, _)| wanted.is_empty() || wanted.contains(*share)) {
            let mut of_share = Vec::new();
            for (start, len) in &ranges {
                let start = (*start as usize).min(data.len());
                let end = (start + *len as usize).min(data.len());
                bulk.extend_from_slice(&data[start..end]);
                of_share.push((end - start) as u64);
            }
            lengths.push((*share, of_share));
        }
        self.finish(number, Outcome::Answer(Ok((StorageAnswer::Slot(lengths), bulk.into()))));
        self.take();
    }

    fn state(&self, server: u8, share: u16) -> ShareState {
        self.map.share(id(server), share).expect("it is there").state()
    }
}

#[test]
fn asks_in_batches_and_keeps_what_is_there() {
    let (cap, shares) = shares(MutableFormat::Sdmf, 5, 100);
    let mut bench = Bench::new(&cap, 5, 2);
    assert_eq!((bench.asked.len(), bench.map.waiting().count(), bench.map.asked_all()), (2, 2, false));
    bench.answer(0, &[(0, &shares[0]), (2, &shares[2])]);
    assert_eq!(bench.map.newest_readable().map(|version| version.sequence), Some(5));
    bench.answer(1, &[]);
    assert!(bench.map.is_settled());
    assert!(bench.map.widen(&mut bench.tasks, Instant::ZERO));
    bench.take();
    bench.answer(3, &[(2, &shares[2]), (3, b"junk")]);
    let version = parse_header(&shares[0]).expect("good").0;
    let seen = &bench.map.versions()[&version];
    assert_eq!(seen.shares, [(0, [id(0)].into()), (2, [id(0), id(3)].into())].into());
    assert!(bench.map.recoverable(&version));
    assert_eq!(bench.map.holders(), [id(0), id(3)].into());
    assert_eq!(bench.map.answers()[&id(1)], BTreeMap::new());
    assert_eq!(bench.map.answers()[&id(3)], [(version, 5)].into());
    // One signature was looked at, for three shares.
    assert_eq!(bench.checks, 1);
    let troubles: Vec<Trouble> = bench.map.troubles().into_iter().map(|t| t.trouble).collect();
    let junk = MutableShareError::Version { version: b'j' };
    assert_eq!(troubles, [Trouble::NoShares, Trouble::BadMutableShare { share: 3, why: junk }]);
    assert_eq!(bench.map.share(id(3), 3).expect("kept").first_bytes(), b"junk");
    assert!(bench.map.widen(&mut bench.tasks, Instant::ZERO));
    assert!(bench.map.asked_all() && !bench.map.widen(&mut bench.tasks, Instant::ZERO));
}

#[test]
fn asking_again_forgets_shares_and_keeps_trust() {
    let (cap, old) = shares(MutableFormat::Sdmf, 5, 100);
    let (_, new) = shares(MutableFormat::Sdmf, 6, 100);
    let mut bench = Bench::new(&cap, 2, 2);
    bench.answer(0, &[(0, &old[0])]);
    bench.map.ask_again(&mut bench.tasks, Instant::ZERO);
    // The answer to the first round comes late, and counts for nothing.
    bench.answer(1, &[(1, &old[1])]);
    bench.take();
    assert_eq!((bench.map.highest_sequence(), bench.map.waiting().count()), (0, 2));
    let known = old[0].clone();
    bench.answer(0, &[(0, &known), (1, &new[1])]);
    assert_eq!((bench.state(0, 0), bench.state(0, 1), bench.checks), (ShareState::Good, ShareState::Good, 2));
    assert_eq!(bench.map.highest_sequence(), 6);
    // What a write's answer shows takes the place of what was known.
    let first = &new[2][..new[2].len().min(FIRST_BYTES as usize)];
    let lengths = vec![(2, vec![first.len() as u64])];
    bench.map.put(id(0), lengths, first.to_vec().into(), &mut bench.tasks);
    assert!(bench.map.share(id(0), 0).is_none());
    assert_eq!(bench.state(0, 2), ShareState::Good);
    bench.map.condemn(id(0), 2, MutableShareError::ShareHashes);
    assert_eq!(bench.map.highest_sequence(), 0);
}

#[test]
fn one_good_copy_of_key_and_signature_is_enough() {
    let (cap, shares) = shares(MutableFormat::Sdmf, 5, 100);
    let layout = parse_header(&shares[0]).expect("good").1;
    for (range, why) in [
        (layout.public_key_range(), MutableShareError::OtherPublicKey),
        (layout.signature_range(), MutableShareError::Signature),
    ] {
        let mut damaged = shares[0].clone();
        damaged[range.start as usize + 20] ^= 4;
        for damaged_first in [true, false] {
            let mut bench = Bench::new(&cap, 2, 2);
            if damaged_first {
                bench.answer(0, &[(0, &damaged)]);
                assert_eq!(bench.state(0, 0), ShareState::Bad(why));
                assert_eq!(bench.map.highest_sequence(), 0);
            }
            bench.answer(1, &[(1, &shares[1])]);
            if !damaged_first {
                bench.answer(0, &[(0, &damaged)]);
            }
            assert_eq!((bench.state(0, 0), bench.state(1, 1)), (ShareState::Good, ShareState::Good));
        }
    }
}

/// A share whose parts lie so much further back.
fn moved(share: &[u8], by: u64) -> Vec<u8> {
    let mut header = share[..123].to_vec();
    for offset in header[59..].as_chunks_mut::<8>().0 {
        *offset = (u64::from_be_bytes(*offset) + by).to_be_bytes();
    }
    [&header, &vec![0; by as usize][..], &share[123..]].concat()
}

#[test]
fn what_lies_further_back_is_asked_for() {
    let (cap, shares) = shares(MutableFormat::Mdmf, 5, 100);
    let far = moved(&shares[0], 9_000);
    let mut bench = Bench::new(&cap, 3, 3);
    bench.answer(0, &[(0, &far)]);
    assert_eq!(bench.state(0, 0), ShareState::Reading);
    assert!(bench.map.unheard() == 3 && !bench.map.is_settled());
    bench.answer(0, &[(0, &far)]);
    assert_eq!((bench.state(0, 0), bench.checks), (ShareState::Good, 1));
    // Once its version is known there is nothing to ask.
    bench.answer(1, &[(0, &far)]);
    assert_eq!((bench.state(1, 0), bench.asked.len()), (ShareState::Good, 1));

    // A share that is gone, or ends too early, when the rest is asked for.
    for held in [&[][..], &[(0, &far[..5_000])], &[(0, &far[..10_500])]] {
        let mut bench = Bench::new(&cap, 1, 1);
        bench.answer(0, &[(0, &far)]);
        bench.answer(0, held);
        assert!(matches!(bench.state(0, 0), ShareState::Bad(MutableShareError::TooShort { .. })));
        assert!(bench.map.is_settled() && bench.asked.is_empty());
    }
}

#[test]
fn the_private_key_is_found() {
    // In MDMF it is among the first bytes, in a larger SDMF share it is not.
    for (format, size, reads) in [(MutableFormat::Mdmf, 100, 0), (MutableFormat::Sdmf, 20_000, 1)] {
        let (cap, shares) = shares(format, 5, size);
        let layout = parse_header(&shares[0]).expect("good").1;
        let mut damaged = shares[0].clone();
        damaged[layout.private_key_range().start as usize + 9] ^= 1;
        let mut bench = Bench::new(&cap, 2, 2);
        assert!(matches!(bench.map.private_key(&cap, &mut bench.tasks), KeySearch::Nowhere));
        bench.answer(0, &[(0, &damaged)]);
        for _ in 0..reads {
            assert!(matches!(bench.map.private_key(&cap, &mut bench.tasks), KeySearch::Searching));
            bench.take();
            assert!(matches!(bench.map.private_key(&cap, &mut bench.tasks), KeySearch::Searching));
            // The other server's answer is still to come, so that the newest question is asked last.
            assert_eq!(bench.asked.len(), 2);
            bench.answer(0, &[(0, &damaged)]);
        }
        assert!(matches!(bench.map.private_key(&cap, &mut bench.tasks), KeySearch::Nowhere));
        bench.answer(1, &[(1, &shares[1])]);
        for _ in 0..reads {
            assert!(matches!(bench.map.private_key(&cap, &mut bench.tasks), KeySearch::Searching));
            bench.take();
            bench.answer(1, &[(1, &shares[1])]);
        }
        let KeySearch::Found(found) = bench.map.private_key(&cap, &mut bench.tasks) else { panic!() };
        assert_eq!(found, key(0));
        bench.map.ask_again(&mut bench.tasks, Instant::ZERO);
        assert!(matches!(bench.map.private_key(&cap, &mut bench.tasks), KeySearch::Found(_)));
    }
}

#[test]
fn answers_that_make_no_sense() {
    let (cap, shares) = shares(MutableFormat::Sdmf, 5, 100);
    let bulk = || Payload::from(shares[0].clone());
    let len = shares[0].len() as u64;
    let slot = |shares| Outcome::Answer(Ok((StorageAnswer::Slot(shares), bulk())));
    for outcome in [
        slot(vec![]),
        slot(vec![(0, vec![len - 1])]),
        slot(vec![(0, vec![len + 1])]),
        slot(vec![(0, vec![u64::MAX]), (1, vec![len + 1])]),
        slot(vec![(0, vec![])]),
        slot(vec![(0, vec![len, 0])]),
        slot(vec![(0, vec![len]), (0, vec![0])]),
        slot(vec![(1, vec![len]), (0, vec![0])]),
        slot(vec![(256, vec![len])]),
        Outcome::Answer(Ok((StorageAnswer::Done, Payload::empty()))),
    ] {
        let mut bench = Bench::new(&cap, 1, 1);
        let (number, _) = bench.asked.remove(0);
        bench.finish(number, outcome.clone());
        let troubles = bench.map.troubles();
        assert!(matches!(troubles[..], [ref t] if matches!(t.trouble, Trouble::Nonsense(_))), "{outcome:?}");
        assert!(bench.map.is_settled());
    }
    // More than was asked for.
    let long = vec![0; FIRST_BYTES as usize + 1];
    let mut bench = Bench::new(&cap, 1, 1);
    bench.map.put(id(0), vec![(0, vec![long.len() as u64])], long.into(), &mut bench.tasks);
    assert_eq!(bench.map.troubles().len(), 1);
}

proptest! {
    #[test]
    fn nothing_unsigned_is_believed(
        at in 0usize..3_000,
        bytes in proptest::collection::vec(any::<u8>(), 1..40),
        mdmf: bool,
    ) {
        let format = if mdmf { MutableFormat::Mdmf } else { MutableFormat::Sdmf };
        let (cap, shares) = shares(format, 5, 1_500);
        let good = parse_header(&shares[0]).expect("good").0;
        let mut altered = shares[0].clone();
        let at = at.min(altered.len() - bytes.len());
        altered[at..at + bytes.len()].copy_from_slice(&bytes);
        let mut bench = Bench::new(&cap, 1, 1);
        bench.answer(0, &[(0, &altered), (1, &bytes)]);
        while !bench.asked.is_empty() {
            bench.answer(0, &[(0, &altered), (1, &bytes)]);
        }
        prop_assert!(bench.map.is_settled());
        // The pretended signatures do not depend on what is signed, so only their own bytes and the
        // key's show; a version that differs must have been signed by them.
        for (version, _) in bench.map.versions() {
            let layout = parse_header(&altered).expect("it is good").1;
            let read = |range: Range<u64>| altered[range.start as usize..range.end as usize].to_vec();
            prop_assert!(read(layout.public_key_range()) == key(0).public_key().spki());
            prop_assert!(Pretend.verify(key(0).public_key(), &[], &read(layout.signature_range())));
            prop_assert!(at < 75 || version == good);
        }
    }
}

/// Servers that are lost leave seats empty as long as shares are missing that nobody else can have.
#[test]
fn what_only_lost_servers_can_have() {
    let (cap, shares) = shares(MutableFormat::Sdmf, 1, 100);
    let held = |numbers: &[u16]| -> Vec<(u16, Vec<u8>)> {
        numbers.iter().map(|number| (*number, shares[usize::from(*number)].clone())).collect()
    };
    let with_lost = |answers: &[(u8, &[u16])]| {
        let mut bench = Bench::with_lost(&cap, 4, 4, &[2, 3]);
        for (server, numbers) in answers {
            let held = held(numbers);
            let held: Vec<(u16, &[u8])> = held.iter().map(|(number, data)| (*number, &data[..])).collect();
            bench.answer(*server, &held);
        }
        bench.map.with_lost(4)
    };
    assert_eq!(with_lost(&[(0, &[0]), (1, &[1])]), 2);
    // Another is silent, and can have no more than those that answer.
    assert_eq!(with_lost(&[(0, &[0])]), 2);
    // Once those that are there have all shares, it does not matter who is silent.
    assert_eq!(with_lost(&[(0, &[0, 2]), (1, &[1, 3])]), 0);
    assert_eq!(with_lost(&[(0, &[0, 2])]), 0);
    assert_eq!(with_lost(&[(1, &[1, 3])]), 0);
}

/// A share that proved bad is not believed again, but what it was of stays known: its server is not behind.
#[test]
fn what_a_bad_share_was_of_stays_known() {
    let (cap, old) = shares(MutableFormat::Sdmf, 5, 100);
    let (_, new) = shares(MutableFormat::Sdmf, 6, 100);
    let (before, after) = (parse_header(&old[0]).expect("good").0, parse_header(&new[0]).expect("good").0);
    let mut bench = Bench::new(&cap, 3, 3);
    for times in 0..4 {
        bench.answer(0, &[(0, &new[0]), (1, &old[1])]);
        bench.answer(1, &[(2, &new[2])]);
        bench.answer(2, &[(1, &old[1]), (2, b"junk")]);
        // A disk may fail once.
        let is_good = times < 2;
        assert_eq!(bench.map.share(id(0), 0).expect("kept").good().is_some(), is_good, "{times}");
        assert_eq!(bench.map.recoverable(&after), is_good, "{times}");
        bench.map.condemn(id(0), 0, MutableShareError::ShareHashes);
        let answers = bench.map.answers();
        assert_eq!(answers[&id(0)], [(before, 5), (after, 6)].into());
        assert_eq!(answers[&id(1)], [(after, 6)].into());
        // What the third has taken it has taken as a whole.
        assert_eq!(answers[&id(2)], [(before, 5)].into());
        assert_eq!(bench.map.shown(), [before, after].into());
        bench.map.ask_again(&mut bench.tasks, Instant::ZERO);
        bench.take();
    }
    // Another version in its place is as good as any.
    bench.answer(0, &[(0, &old[0])]);
    assert_eq!(bench.state(0, 0), ShareState::Good);
    // Nobody knows what a server has taken last of which nothing else can be read, or that has a damaged share
    // which may be large, or that does not say what it is.
    let large = [b"junk".to_vec(), vec![0; FIRST_BYTES as usize]].concat();
    for shares in [&[(2, &b"junk"[..])][..], &[(1, &old[1]), (2, &large)], &[(1, &old[1]), (2, b"")]] {
        bench.answer(2, shares);
        assert!(!bench.map.answers().contains_key(&id(2)));
        bench.map.ask_again(&mut bench.tasks, Instant::ZERO);
        bench.take();
    }
}
