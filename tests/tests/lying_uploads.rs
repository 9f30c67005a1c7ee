//! Uploads to servers that promise and do not keep, or say that they have what they have not.

use std::time::Duration;
use tallac_core::disk::StorePath;
use tallac_core::operation::KeyChoice;
use tallac_core::share_set::ShareSet;
use tallac_core::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use tallac_core::wire::{Kind, Message};
use tallac_tests::content;
use tallac_tests::liar::{Exchange, Liar};
use tallac_tests::memory_grid::{Fault, GridSetup, Honest, MemoryGrid, Passage, Put, Tamper};

/// Long enough that blocks are sent before the end is known.
const LEN: usize = 20 * 16 * 1024 - 9;
const BAD: usize = 0;
/// The time within which an upload must be over.
const OVER_WITHIN: Duration = Duration::from_secs(60);

/// Four servers, of which three will do.
fn setup(happy: usize) -> GridSetup {
    GridSetup { servers: 4, happy: Some(happy), segment: 16 * 1024, ..GridSetup::new(2, 5) }
}

/// What is said of an upload must be so: every share of the plan is on its server's disk, and without
/// the liar the file can be read.
#[track_caller]
fn is_true<T: Tamper>(name: &str, grid: &mut MemoryGrid<T>, put: &Put) {
    let uploaded = put.result.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
    let index = put.cap().storage_index();
    for planned in &uploaded.plan.as_ref().expect("a plan").shares {
        let server = (0..grid.client()).find(|server| grid.id(*server) == planned.server).expect("known");
        let there = grid.disk(server).files.contains_key(&StorePath::Share(index, planned.share));
        assert!(there, "{name}: share {} is said to be on s{server}", planned.share);
    }
    grid.switch_off(BAD);
    let got = grid.get(&put.cap());
    assert!(got.result.is_ok(), "{name}: {}", got.result.unwrap_err());
    assert!(got.content == content(1, LEN), "{name}");
}

/// Stores a file on a grid with a liar: with three servers needed it succeeds, with four it fails and
/// names the liar.
fn check(name: &str, mut lie: impl FnMut(&Exchange) -> Vec<Passage>) {
    for key in [KeyChoice::Convergent, KeyChoice::Random] {
        let mut lying =
            |exchange: Exchange| if exchange.server == BAD { lie(&exchange) } else { exchange.honest() };
        let mut grid = MemoryGrid::new(&setup(3), Liar::new(&mut lying));
        let put = grid.put_with(&content(1, LEN), key);
        assert!(put.took <= OVER_WITHIN, "{name}: {:?}", put.took);
        is_true(name, &mut grid, &put);
        let mut grid = MemoryGrid::new(&setup(4), Liar::new(&mut lying));
        let put = grid.put_with(&content(1, LEN), key);
        let error = put.error();
        assert!(
            error.contains("at least 4 servers, but only 3") && error.contains("s0 ("),
            "{name}: {error}"
        );
        assert!(put.took <= OVER_WITHIN, "{name}: {:?}", put.took);
    }
}

fn check_writes(name: &str, mut lie: impl FnMut(&Exchange) -> Vec<Passage>) {
    check(name, |exchange| match exchange.request {
        StorageRequest::Write { .. } => lie(exchange),
        _ => exchange.honest(),
    });
}

fn check_allocations(name: &str, mut lie: impl FnMut(&Exchange, ShareSet) -> Vec<Passage>) {
    check(name, |exchange| match exchange.request {
        StorageRequest::Allocate { shares, .. } => lie(exchange, shares),
        _ => exchange.honest(),
    });
}

fn errors() -> Vec<StorageError> {
    vec![
        StorageError::NoSuchShare,
        StorageError::WrongSecret,
        StorageError::AlreadyWhole,
        StorageError::Conflict,
        StorageError::PastTheEnd,
        StorageError::Full,
        StorageError::ReadOnly,
        StorageError::BadRequest("no".into()),
        StorageError::Unsupported,
        StorageError::Disk("broken".into()),
    ]
}

#[test]
fn room_that_is_refused_later() {
    for error in errors() {
        check_writes(&format!("{error:?} to writes"), |exchange| exchange.fail(error.clone()));
        check_allocations(&format!("{error:?} to an allocation"), |exchange, _| exchange.fail(error.clone()));
    }
}

#[test]
fn shares_that_end_too_early_or_never() {
    let written = |finished| StorageAnswer::Written { finished };
    check_writes("finished at once", |exchange| exchange.answer(written(true), &[]));
    check_writes("never finished", |exchange| exchange.answer(written(false), &[]));
    check_writes("silence", |_| Vec::new());
    check_writes("the end of the connection", |_| vec![Passage::Cut]);
    check_writes("no answer to a write", |exchange| exchange.answer(StorageAnswer::Done, &[]));
    check_writes("a late answer", |exchange| exchange.late(Duration::from_secs(50)));
    check_writes("pings instead of answers", |exchange| {
        let ping = |second| {
            let frame = Message::seal(Kind::Ping, exchange.id, &(), Vec::new());
            Passage::Deliver(Duration::from_secs(second), frame)
        };
        (0..500).map(ping).collect()
    });
}

#[test]
fn allocations_that_are_none() {
    let allocated = |already_have, allocated| StorageAnswer::Allocated { already_have, allocated };
    let all = ShareSet::first(256);
    check_allocations("nothing", |exchange, _| {
        exchange.answer(allocated(ShareSet::EMPTY, ShareSet::EMPTY), &[])
    });
    check_allocations("has everything", |exchange, _| exchange.answer(allocated(all, ShareSet::EMPTY), &[]));
    check_allocations("has what it is asked to take", |exchange, shares| {
        exchange.answer(allocated(shares, ShareSet::EMPTY), &[])
    });
    check_allocations("silence", |_, _| Vec::new());
    check_allocations("the end of the connection", |_, _| vec![Passage::Cut]);
    check_allocations("no answer to an allocation", |exchange, _| exchange.answer(StorageAnswer::Done, &[]));
    // Now it says this, now that; some of it may be so.
    let mut odd = false;
    let lie = |exchange: Exchange| match exchange.request {
        StorageRequest::Allocate { shares, .. } if exchange.server == BAD => {
            odd = !odd;
            let (some, others) = shares.iter().partition::<Vec<u16>, _>(|share| (share % 2 == 1) == odd);
            exchange.answer(allocated(some.into_iter().collect(), others.into_iter().collect()), &[])
        }
        _ => exchange.honest(),
    };
    let mut grid = MemoryGrid::new(&setup(3), Liar::new(lie));
    let put = grid.put(&content(1, LEN));
    is_true("now this, now that", &mut grid, &put);
}

#[test]
fn shares_that_a_server_says_it_has() {
    let all = StorageAnswer::Shares(ShareSet::first(256));
    // What it lists is not there, but it takes what it is asked to take.
    let list = |exchange: Exchange| match exchange.request {
        StorageRequest::List { .. } if exchange.server == BAD => exchange.answer(all.clone(), &[]),
        _ => exchange.honest(),
    };
    for key in [KeyChoice::Convergent, KeyChoice::Random] {
        let mut grid = MemoryGrid::new(&setup(3), Liar::new(list));
        let put = grid.put_with(&content(1, LEN), key);
        is_true("lists everything", &mut grid, &put);
    }
    check("lists everything and takes nothing", |exchange| match exchange.request {
        StorageRequest::List { .. } => exchange.answer(all.clone(), &[]),
        StorageRequest::Allocate { shares, .. } => {
            let answer = StorageAnswer::Allocated { already_have: shares, allocated: ShareSet::EMPTY };
            exchange.answer(answer, &[])
        }
        _ => exchange.honest(),
    });
    check("lists everything and gives nothing", |exchange| match exchange.request {
        StorageRequest::List { .. } => exchange.answer(all.clone(), &[]),
        StorageRequest::Read { .. } => Vec::new(),
        _ => exchange.fail(StorageError::ReadOnly),
    });
}

/// Where the liar would do most harm: it is one of three, and says that it has all ten shares.
#[test]
fn one_squatter_of_three_cannot_make_a_file_unreadable() {
    let lie = |exchange: Exchange| match exchange.request {
        StorageRequest::List { .. } if exchange.server == BAD => {
            exchange.answer(StorageAnswer::Shares(ShareSet::first(10)), &[])
        }
        StorageRequest::Allocate { shares, .. } if exchange.server == BAD => exchange
            .answer(StorageAnswer::Allocated { already_have: shares, allocated: ShareSet::EMPTY }, &[]),
        _ => exchange.honest(),
    };
    for key in [KeyChoice::Convergent, KeyChoice::Random] {
        for happy in [2, 3] {
            let setup = GridSetup { servers: 3, happy: Some(happy), ..GridSetup::new(3, 10) };
            let mut grid = MemoryGrid::new(&setup, Liar::new(lie));
            let put = grid.put_with(&content(1, LEN), key);
            if happy == 3 {
                let error = put.error();
                assert!(
                    error.contains("at least 3 servers, but only 2") && error.contains("s0 ("),
                    "{error}"
                );
            } else {
                is_true("a squatter", &mut grid, &put);
            }
        }
    }
}

/// Plants something in the place of every share of the file on the bad server.
fn planted(happy: usize, plant: impl Fn(&[u8], usize) -> Vec<u8>) -> (MemoryGrid<Honest>, Put) {
    let mut source = MemoryGrid::new(&setup(3), Honest);
    let index = source.put(&content(1, LEN)).cap().storage_index();
    let mut shares = Vec::new();
    for server in 0..4 {
        shares.extend(source.disk(server).shares().map(|(share, container)| (share, container.clone())));
    }
    let mut grid = MemoryGrid::new(&setup(happy), Honest);
    for (share, container) in shares {
        let file = plant(&container, container.len());
        grid.disk(BAD).files.insert(StorePath::Share(index, share), file);
    }
    let put = grid.put(&content(1, LEN));
    (grid, put)
}

/// Makes a planted share of a good one and its length.
type Plant<'a> = &'a dyn Fn(&[u8], usize) -> Vec<u8>;

#[test]
fn shares_that_are_there_and_bad() {
    let bad: [(&str, Plant<'_>); 6] = [
        ("nothing", &|_, _| Vec::new()),
        ("zeroes", &|_, len| vec![0; len]),
        ("zeroes in a container", &|share, len| [&share[..12], &vec![0; len - 12]].concat()),
        ("a share cut short", &|share, len| share[..len - 100].to_vec()),
        ("a damaged extension block", &|share, len| {
            let mut share = share.to_vec();
            share[len - 72 - 10] ^= 1;
            share
        }),
        ("damaged blocks", &|share, _| {
            let mut share = share.to_vec();
            share[12 + 36..][..20 * 8192 - 9].iter_mut().for_each(|byte| *byte ^= 1);
            share
        }),
    ];
    for (name, plant) in bad {
        let (mut grid, put) = planted(3, plant);
        is_true(name, &mut grid, &put);
        let plan = put.result.as_ref().expect("it succeeded").plan.clone().expect("a plan");
        assert!(!plan.shares.iter().any(|share| share.already_there), "{name}: {plan:?}");
        let (_, put) = planted(4, plant);
        assert!(put.error().contains("s0 ("), "{name}: {}", put.error());
    }
}

#[test]
fn shares_that_are_there_and_good_are_not_sent_again() {
    let mut grid = MemoryGrid::new(&setup(4), Honest);
    let first = grid.put(&content(1, LEN));
    assert_eq!(first.result.as_ref().expect("stored").pushed, 5);
    let second = grid.put(&content(1, LEN));
    assert_eq!(second.cap(), first.cap());
    let uploaded = second.result.expect("stored");
    assert_eq!(uploaded.pushed, 0);
    assert!(uploaded.plan.expect("a plan").shares.iter().all(|share| share.already_there));
    // One of them rots: it is noticed, and the share is stored anew elsewhere or the like.
    for (_, share) in grid.disk(BAD).shares() {
        share[12 + 36..][..20 * 8192 - 9].fill(7);
    }
    let third = grid.put(&content(1, LEN));
    match &third.result {
        Ok(_) => is_true("rot", &mut grid, &third),
        Err(error) => assert!(error.to_string().contains("s0 ("), "{error}"),
    }
}

#[test]
fn disks_that_fail() {
    for fault in [Fault::Full, Fault::ReadOnly, Fault::Failing, Fault::Unsyncable] {
        for key in [KeyChoice::Convergent, KeyChoice::Random] {
            let mut grid = MemoryGrid::new(&setup(3), Honest);
            grid.disk(BAD).fault = Some(fault);
            let put = grid.put_with(&content(1, LEN), key);
            // Without a spool there is no second pass, and a failed sync comes after the last byte.
            if fault == Fault::Unsyncable && key == KeyChoice::Random && put.result.is_err() {
                assert!(put.error().contains("s0 ("), "{}", put.error());
                continue;
            }
            is_true(&format!("{fault:?}"), &mut grid, &put);
            let mut grid = MemoryGrid::new(&setup(4), Honest);
            grid.disk(BAD).fault = Some(fault);
            let put = grid.put_with(&content(1, LEN), key);
            assert!(put.error().contains("s0 ("), "{fault:?}: {}", put.error());
            // Nothing half is left where it could be removed.
            if matches!(fault, Fault::Full | Fault::Unsyncable) {
                grid.run(Duration::from_secs(5));
                let left =
                    grid.disk(BAD).files.keys().filter(|p| matches!(p, StorePath::Incoming(..))).count();
                assert_eq!(left, 0, "{fault:?}");
            }
        }
    }
    let mut grid = MemoryGrid::new(&setup(3), Honest);
    grid.disk(BAD).free = 1_000;
    let put = grid.put(&content(1, LEN));
    is_true("no space", &mut grid, &put);
}

/// A server lists a share and cannot make its name durable: it says so when it is asked to keep it.
#[test]
fn a_share_in_place_that_cannot_be_made_to_last_does_not_count() {
    let mut grid = MemoryGrid::new(&setup(4), Honest);
    let put = grid.put(&content(1, LEN));
    is_true("before", &mut grid, &put);
    grid.switch_on(BAD);
    grid.disk(BAD).fault = Some(Fault::Unsyncable);
    let error = grid.put(&content(1, LEN)).error();
    assert!(error.contains("at least 4 servers, but only 3") && error.contains("s0 ("), "{error}");
}

#[test]
fn a_read_only_server_is_not_chosen() {
    for happy in [3, 4] {
        let setup = GridSetup { read_only: vec![BAD], ..setup(happy) };
        let mut grid = MemoryGrid::new(&setup, Honest);
        let put = grid.put(&content(1, LEN));
        if happy == 3 {
            is_true("read only", &mut grid, &put);
            assert_eq!(grid.disk(BAD).files.len(), 0);
        } else {
            let error = put.error();
            assert!(error.contains("s0 (") && error.contains("it has no space for a share"), "{error}");
        }
    }
}

#[test]
fn servers_that_vanish_on_the_way() {
    // After so many frames of it the server is gone for good.
    for frames in 0..30 {
        let mut left = frames;
        check_quietly(move |exchange| {
            if exchange.server != BAD {
                return exchange.honest();
            }
            if left == 0 {
                return vec![Passage::Cut];
            }
            left -= 1;
            exchange.honest()
        });
    }
}

fn check_quietly(lie: impl FnMut(Exchange) -> Vec<Passage>) {
    let mut grid = MemoryGrid::new(&setup(3), Liar::new(lie));
    let put = grid.put(&content(1, LEN));
    assert!(put.took <= OVER_WITHIN, "{:?}", put.took);
    is_true("gone", &mut grid, &put);
}
