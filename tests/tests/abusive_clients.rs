//! Clients that ask for too much, too early, for what is not theirs, or for nothing that makes sense.

use std::time::Duration;
use tallac_core::disk::StorePath;
use tallac_core::limits::{ADVISORIES_MAX, ANSWER_BACKLOG, CLIENTS_MEMORY_MAX};
use tallac_core::secret::Secret;
use tallac_core::share_set::ShareSet;
use tallac_core::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use tallac_core::storage_index::StorageIndex;
use tallac_core::wire::{Frame, Hello, Kind, Message, Refusal};
use tallac_tests::asking::{self, Answered, ask, read};
use tallac_tests::content;
use tallac_tests::memory_grid::{GridSetup, Honest, MemoryGrid, Stranger, hello};

type Grid = MemoryGrid<Honest>;

/// The server that is abused.
const SERVER: usize = 0;

fn grid() -> Grid {
    MemoryGrid::new(&GridSetup { segment: 64 * 1024, ..GridSetup::new(1, 3) }, Honest)
}

fn index() -> StorageIndex {
    StorageIndex([5; 16])
}

fn request(id: u64, asked: &StorageRequest) -> Frame {
    asking::request(id, asked, &[])
}

fn allocate(secret: u8, shares: &[u16], size: u64) -> StorageRequest {
    StorageRequest::Allocate {
        storage_index: index(),
        renew_secret: Secret::from_bytes([1; 32]),
        cancel_secret: Secret::from_bytes([2; 32]),
        upload_secret: Secret::from_bytes([secret; 32]),
        shares: shares.iter().copied().collect(),
        allocated_size: size,
    }
}

fn write(secret: u8, share: u16, offset: u64) -> StorageRequest {
    let upload_secret = Secret::from_bytes([secret; 32]);
    StorageRequest::Write { storage_index: index(), share, upload_secret, offset }
}

fn read_request(ranges: Vec<(u64, u64)>) -> StorageRequest {
    StorageRequest::Read { storage_index: index(), share: 0, ranges }
}

fn allocated(shares: &[u16]) -> Answered {
    let allocated = shares.iter().copied().collect();
    Ok(StorageAnswer::Allocated { already_have: ShareSet::EMPTY, allocated })
}

/// Whatever was done to the server, an honest client can still use it.
fn still_serves(grid: &mut Grid) {
    let stored = content(9, 200_000);
    let cap = grid.put(&stored).cap();
    (1..3).for_each(|other| grid.switch_off(other));
    let got = grid.get(&cap);
    assert!(got.result.is_ok() && got.content == stored, "{:?}", got.result);
}

/// A share that is there, of so many bytes.
fn store(grid: &mut Grid, stranger: Stranger, len: usize) {
    assert_eq!(ask(grid, stranger, &allocate(1, &[0], len as u64), &[]), allocated(&[0]));
    let written = ask(grid, stranger, &write(1, 0, 0), &content(1, len));
    assert_eq!(written, Ok(StorageAnswer::Written { finished: true }));
}

#[test]
fn greetings() {
    let mut grid = grid();
    let version = request(1, &StorageRequest::Version);
    let garbled = Message::seal(Kind::Hello, 0, &300u16, Vec::new());
    for first in [version.clone(), garbled, Frame::new(vec![255; 30]), Frame::new(vec![0]), Frame::default()]
    {
        let stranger = grid.connect(SERVER);
        grid.say(stranger, first);
        assert!(grid.answers(stranger).is_empty(), "nothing is said to who does not greet");
        assert!(!grid.is_connected(stranger));
    }
    let refused = |grid: &mut Grid, frame: Frame| {
        let stranger = grid.connect(SERVER);
        grid.say(stranger, frame);
        let answers = grid.answers(stranger);
        assert!(answers.len() == 1 && !grid.is_connected(stranger));
        answers[0].body::<Refusal>().expect("a refusal")
    };
    assert_eq!(refused(&mut grid, hello(1)), Refusal::UnknownService);
    let mut later: Hello = Message::open(hello(SERVER)).expect("a message").body().expect("a hello");
    later.versions = (2, 9);
    let later = Message::seal(Kind::Hello, 0, &later, Vec::new());
    assert_eq!(refused(&mut grid, later), Refusal::NoCommonVersion { lowest: 1, highest: 1 });
    // A second hello, and what only a server says.
    let second = [
        hello(SERVER),
        Message::seal(Kind::Welcome, 0, &(), Vec::new()),
        Message::seal(Kind::Answer, 0, &(), Vec::new()),
        Message::seal(Kind::Push, 0, &(), Vec::new()),
        Message::seal(Kind::Later(100), 0, &(), Vec::new()),
        Frame::new(vec![255; 30]),
    ];
    for frame in second {
        let stranger = grid.greet(SERVER);
        grid.say(stranger, frame);
        grid.say(stranger, version.clone());
        assert!(grid.answers(stranger).is_empty() && !grid.is_connected(stranger));
    }
    // Who says nothing is cut; who has greeted may be silent.
    let (silent, greeted) = (grid.connect(SERVER), grid.greet(SERVER));
    grid.run(Duration::from_secs(11));
    assert!(!grid.is_connected(silent) && grid.is_connected(greeted));
    // But not for ever, if it answers no ping.
    grid.run(Duration::from_secs(150));
    assert!(!grid.is_connected(greeted));
    still_serves(&mut grid);
}

#[test]
fn requests_that_make_no_sense() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    let bodies: [Vec<u8>; 4] = [vec![], vec![200], vec![255; 300], vec![5, 0, 0]];
    for body in bodies {
        // Kind 3 is a request, 9 its id.
        grid.say(stranger, Frame::new([&[3, 9][..], &body].concat()));
        let answers = grid.answers(stranger);
        assert_eq!(
            answers.iter().map(read).collect::<Vec<_>>(),
            [Err(StorageError::Unsupported)],
            "{body:?}"
        );
    }
    let bad = |answered: Answered| matches!(answered, Err(StorageError::BadRequest(_)));
    assert!(bad(ask(&mut grid, stranger, &StorageRequest::Version, &[1])));
    assert!(bad(ask(&mut grid, stranger, &StorageRequest::List { storage_index: index() }, &[1])));
    assert!(bad(ask(&mut grid, stranger, &read_request(vec![(0, 1); 65]), &[])));
    assert!(bad(ask(&mut grid, stranger, &read_request(vec![(0, 0); 20_000]), &[])));
    let advise = |reason| StorageRequest::AdviseCorrupt { storage_index: index(), share: 0, reason };
    assert!(bad(ask(&mut grid, stranger, &advise("x".repeat(32_766)), &[])));
    let missing = Err(StorageError::NoSuchShare);
    assert_eq!(ask(&mut grid, stranger, &advise("x".into()), &[]), missing);
    assert_eq!(ask(&mut grid, stranger, &read_request(vec![(0, 1)]), &[]), missing);
    assert_eq!(ask(&mut grid, stranger, &write(1, 0, 0), &[1]), missing);
    assert_eq!(ask(&mut grid, stranger, &write(1, 60_000, u64::MAX), &[1]), missing);
    assert!(grid.is_connected(stranger));
    still_serves(&mut grid);
}

#[test]
fn writes_where_they_do_not_belong() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    let other = grid.greet(SERVER);
    assert_eq!(ask(&mut grid, stranger, &allocate(1, &[0, 1], 100), &[]), allocated(&[0, 1]));
    // Somebody else's upload of the same share is under way.
    assert_eq!(ask(&mut grid, other, &allocate(2, &[0, 1], 100), &[]), allocated(&[]));
    assert_eq!(ask(&mut grid, other, &write(2, 0, 0), &[1; 100]), Err(StorageError::WrongSecret));
    let abort = |secret| StorageRequest::Abort {
        storage_index: index(),
        share: 0,
        upload_secret: Secret::from_bytes([secret; 32]),
    };
    assert_eq!(ask(&mut grid, other, &abort(2), &[]), Err(StorageError::WrongSecret));
    for (offset, len) in [(0, 101), (100, 1), (99, 2), (u64::MAX, 1), (u64::MAX - 5, 100), (1 << 63, 1)] {
        let answered = ask(&mut grid, stranger, &write(1, 0, offset), &content(1, len));
        assert_eq!(answered, Err(StorageError::PastTheEnd), "{len} bytes at {offset}");
    }
    let unfinished = Ok(StorageAnswer::Written { finished: false });
    assert_eq!(ask(&mut grid, stranger, &write(1, 0, 10), &[3; 20]), unfinished);
    assert_eq!(ask(&mut grid, stranger, &write(1, 0, 20), &[4; 20]), Err(StorageError::Conflict));
    assert_eq!(ask(&mut grid, stranger, &write(1, 0, 20), &[]), unfinished);
    // What is in progress can be neither read nor listed.
    assert_eq!(ask(&mut grid, other, &read_request(vec![(0, 1)]), &[]), Err(StorageError::NoSuchShare));
    let list = StorageRequest::List { storage_index: index() };
    assert_eq!(ask(&mut grid, other, &list, &[]), Ok(StorageAnswer::Shares(ShareSet::EMPTY)));
    // What is whole stays as it is.
    let finished = Ok(StorageAnswer::Written { finished: true });
    assert_eq!(ask(&mut grid, stranger, &write(1, 1, 0), &[5; 100]), finished);
    assert_eq!(ask(&mut grid, stranger, &write(1, 1, 0), &[6; 100]), Err(StorageError::AlreadyWhole));
    assert_eq!(ask(&mut grid, other, &list, &[]), Ok(StorageAnswer::Shares([1].into_iter().collect())));
    still_serves(&mut grid);
}

#[test]
fn sizes_beyond_all_disks() {
    const FREE: u64 = 1 << 20;
    let mut grid = grid();
    grid.disk(SERVER).free = FREE;
    let stranger = grid.greet(SERVER);
    for size in [u64::MAX, u64::MAX - 83, u64::MAX - 84, 1 << 63, 1 << 60, FREE + 1] {
        assert_eq!(ask(&mut grid, stranger, &allocate(1, &[0, 1], size), &[]), allocated(&[]), "{size}");
    }
    // All the space there is, for who then writes nothing: an hour later it is free again.
    let most = FREE - 12 - 72;
    assert_eq!(ask(&mut grid, stranger, &allocate(1, &[0, 1, 2], most), &[]), allocated(&[0]));
    assert_eq!(ask(&mut grid, stranger, &allocate(2, &[5], 1_000), &[]), allocated(&[]));
    grid.run(Duration::from_secs(3_600));
    let stranger = grid.greet(SERVER);
    assert_eq!(ask(&mut grid, stranger, &allocate(2, &[5], 1_000), &[]), allocated(&[5]));
    let incoming = |path: &&StorePath| matches!(path, StorePath::Incoming(..));
    assert_eq!(grid.disk(SERVER).files.keys().filter(incoming).count(), 1);
    still_serves(&mut grid);
}

#[test]
fn half_open_uploads_are_given_up() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    let all: Vec<u16> = (0..256).collect();
    assert_eq!(ask(&mut grid, stranger, &allocate(1, &all, 1_000), &[]), allocated(&all));
    for share in 0..100 {
        let answered = ask(&mut grid, stranger, &write(1, share, 0), &[7; 500]);
        assert_eq!(answered, Ok(StorageAnswer::Written { finished: false }));
    }
    grid.run(Duration::from_secs(3_600));
    assert!(grid.disk(SERVER).files.is_empty());
    let stats = grid.node(SERVER).status(0, grid.now()).storage.expect("it serves");
    assert_eq!((stats.shares_in_progress, stats.bytes_promised), (0, 0));
    still_serves(&mut grid);
}

#[test]
fn reads_of_everything() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    store(&mut grid, stranger, 1_000);
    let lengths = |grid: &mut Grid, ranges| match ask(grid, stranger, &read_request(ranges), &[]) {
        Ok(StorageAnswer::Data(lengths)) => lengths,
        other => panic!("{other:?}"),
    };
    assert!(lengths(&mut grid, vec![]).is_empty());
    assert_eq!(lengths(&mut grid, vec![(0, u64::MAX)]), [1_000]);
    assert_eq!(lengths(&mut grid, vec![(0, u64::MAX); 64]), [1_000; 64]);
    assert_eq!(lengths(&mut grid, vec![(999, 5), (1_000, 5), (5_000, 5), (u64::MAX, 5)]), [1, 0, 0, 0]);
    assert_eq!(lengths(&mut grid, vec![(u64::MAX, u64::MAX), (1, 0)]), [0, 0]);
    // Several at once: what is set aside for answers must not run over.
    for id in 0..20 {
        grid.say(stranger, request(id, &read_request(vec![(0, 1)])));
        grid.say(stranger, request(id, &read_request(vec![(0, u64::MAX); 3])));
    }
    assert_eq!(grid.answers(stranger).len(), 40);
    still_serves(&mut grid);
}

#[test]
fn floods_of_requests() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    for id in 0..10_000 {
        grid.say(stranger, request(id, &StorageRequest::Version));
    }
    assert!(grid.answers(stranger).len() <= 256 && !grid.is_connected(stranger));
    // As many as are allowed are answered, each once.
    let stranger = grid.greet(SERVER);
    for id in 0..256 {
        grid.say(stranger, request(id, &StorageRequest::Version));
    }
    let mut ids: Vec<u64> = grid.answers(stranger).iter().map(|message| message.envelope.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..256).collect::<Vec<_>>());
    still_serves(&mut grid);
}

#[test]
fn who_does_not_read_is_not_answered_without_end() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    store(&mut grid, stranger, 4_000_000);
    grid.become_deaf(stranger);
    for id in 0..200 {
        grid.say(stranger, request(id, &read_request(vec![(0, u64::MAX)])));
    }
    grid.run(Duration::from_secs(5));
    assert!(grid.unread(stranger) < ANSWER_BACKLOG + 5_000_000, "{}", grid.unread(stranger));
    for id in 0..50_000 {
        grid.say(stranger, Message::seal(Kind::Ping, id, &(), Vec::new()));
    }
    grid.run(Duration::from_secs(5));
    assert!(grid.unread(stranger) < ANSWER_BACKLOG + 5_000_000, "{}", grid.unread(stranger));
    still_serves(&mut grid);
}

#[test]
fn many_who_do_not_read_do_not_fill_the_memory() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    store(&mut grid, stranger, 4_000_000);
    let deaf: Vec<Stranger> = (0..100)
        .map(|_| {
            let stranger = grid.greet(SERVER);
            grid.become_deaf(stranger);
            (0..4).for_each(|id| grid.say(stranger, request(id, &read_request(vec![(0, u64::MAX)]))));
            grid.run(Duration::from_secs(1));
            stranger
        })
        .collect();
    let kept: u64 = deaf.iter().filter(|s| grid.is_connected(**s)).map(|s| grid.unread(*s)).sum();
    assert!((CLIENTS_MEMORY_MAX / 2..CLIENTS_MEMORY_MAX + 5_000_000).contains(&kept), "{kept}");
    still_serves(&mut grid);
}

#[test]
fn pings_of_who_does_not_read_are_not_answered_without_end() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    grid.become_deaf(stranger);
    for id in 0..100_000 {
        grid.say(stranger, Message::seal(Kind::Ping, id, &(), Vec::new()));
    }
    grid.run(Duration::from_secs(5));
    assert!(grid.unread(stranger) < ANSWER_BACKLOG, "{} bytes wait", grid.unread(stranger));
    still_serves(&mut grid);
}

#[test]
fn reports_without_end() {
    let mut grid = grid();
    let stranger = grid.greet(SERVER);
    store(&mut grid, stranger, 10);
    for id in 0..2_000 {
        let (storage_index, reason) = (index(), format!("report {id}"));
        let advise = StorageRequest::AdviseCorrupt { storage_index, share: 0, reason };
        grid.say(stranger, request(id, &advise));
        if id % 100 == 99 {
            assert_eq!(grid.answers(stranger).len(), 100);
        }
    }
    let reports = grid.disk(SERVER).files.keys().filter(|path| matches!(path, StorePath::Advisory(..)));
    assert_eq!(reports.count() as u64, ADVISORIES_MAX);
    still_serves(&mut grid);
}

#[test]
fn nonsense_of_every_kind() {
    let mut grid = grid();
    // The disk is in memory, and nonsense is written far out.
    grid.disk(SERVER).free = 1 << 26;
    let mut stranger = grid.greet(SERVER);
    let noise = content(77, 400_000);
    let mut rest = &noise[..];
    let mut cut = 0;
    while rest.len() > 400 {
        let (kind, len) = (rest[0] % 12, usize::from(rest[1]));
        // Mostly requests, some with bulk.
        let kind = if rest[2] < 220 { 3 } else { kind };
        let message = [&[kind, rest[3] % 100, rest[4] % 12][..], &rest[5..][..len]].concat();
        let bulk =
            if rest[2].is_multiple_of(4) { vec![rest[5..][..len].to_vec().into()] } else { Vec::new() };
        grid.say(stranger, Frame::with_bulk(message, bulk));
        rest = &rest[5 + len..];
        if rest[0] < 40 {
            grid.answers(stranger);
        }
        if !grid.is_connected(stranger) {
            cut += 1;
            stranger = grid.greet(SERVER);
        }
    }
    assert!(cut > 10, "{cut}");
    // What was promised in the course of it is given up.
    grid.run(Duration::from_secs(3_600));
    still_serves(&mut grid);
}
