//! Downloads from servers that answer with the wrong share, too little, too much, too late or never.

use std::cell::Cell;
use std::time::Duration;
use tallac_core::capability::ChkCap;
use tallac_core::disk::StorePath;
use tallac_core::download::DownloadError;
use tallac_core::share_set::ShareSet;
use tallac_core::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use tallac_core::wire::{Frame, Kind, Message, Refusal, ServiceKind, Welcome};
use tallac_tests::content;
use tallac_tests::liar::{Exchange, Liar, answer_frame};
use tallac_tests::memory_grid::{GridSetup, Honest, MemoryGrid, Passage, Tamper, pass};

/// The time within which a file must be read if k good servers are there.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// The time within which it must be said that too few are.
const FAILS_WITHIN: Duration = Duration::from_secs(30);
/// The server that lies.
const BAD: usize = 0;
const LEN: usize = 20 * 64 - 9;

/// Whether a reader that needs the liar's share can do with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// It is as good as any.
    None,
    /// The download must fail and name the server.
    Named,
}

fn setup() -> GridSetup {
    GridSetup::new(2, 3)
}

/// Stores the file, the same on every grid, and gives the data of its shares.
fn stored<T: Tamper>(grid: &mut MemoryGrid<T>, seed: u64) -> (ChkCap, Vec<Vec<u8>>) {
    let cap = grid.put(&content(seed, LEN)).cap();
    let mut shares = vec![Vec::new(); 3];
    for server in 0..3 {
        for (path, container) in &grid.disk(server).files {
            match path {
                StorePath::Share(index, share) if *index == cap.storage_index() => {
                    shares[usize::from(*share)] = container[12..container.len() - 72].to_vec();
                }
                _ => {}
            }
        }
    }
    assert!(shares.iter().all(|share| !share.is_empty()));
    (cap, shares)
}

/// The bytes of the ranges a read asks for, and their lengths.
fn cut(share: &[u8], ranges: &[(u64, u64)]) -> (Vec<u64>, Vec<u8>) {
    let mut lengths = Vec::new();
    let mut bytes = Vec::new();
    for (offset, len) in ranges {
        let start = (*offset as usize).min(share.len());
        let end = (start + *len as usize).min(share.len());
        lengths.push((end - start) as u64);
        bytes.extend_from_slice(&share[start..end]);
    }
    (lengths, bytes)
}

/// Reads the file with the liar and k good servers, then with the liar and one too few.
fn check<T: Tamper>(name: &str, harm: Harm, liar: impl FnOnce() -> T) {
    // Stored honestly: the tampering begins with the reading.
    let mut grid = MemoryGrid::new(&setup(), Switch { on: false, inner: liar() });
    let (cap, _) = stored(&mut grid, 1);
    grid.tamper.on = true;
    let got = grid.get(&cap);
    assert!(got.result.is_ok(), "{name}: {}", got.result.unwrap_err());
    assert!(got.content == content(1, LEN), "{name}: wrong bytes");
    assert!(got.took <= READ_WITHIN, "{name}: {:?}", got.took);
    grid.switch_off(2);
    let bad = grid.id(BAD);
    let got = grid.get(&cap);
    assert!(content(1, LEN).starts_with(&got.content), "{name}: wrong bytes");
    match (harm, got.result.map_err(|error| *error)) {
        (Harm::None, Ok(())) => assert_eq!(got.content.len(), LEN, "{name}"),
        (Harm::Named, Err(DownloadError::NotEnoughShares { found: 1, trouble, .. })) => {
            assert!(trouble.iter().any(|trouble| trouble.server == bad), "{name}: {trouble:?}");
        }
        (_, other) => panic!("{name}: {other:?}"),
    }
    assert!(got.took <= FAILS_WITHIN, "{name}: {:?}", got.took);
}

struct Switch<T> {
    on: bool,
    inner: T,
}

impl<T: Tamper> Tamper for Switch<T> {
    fn frame(&mut self, from: usize, to: usize, frame: Frame) -> Vec<Passage> {
        if self.on { self.inner.frame(from, to, frame) } else { pass(frame) }
    }
}

/// Has the bad server answer reads otherwise.
fn lie_about_reads(
    name: &str,
    harm: Harm,
    mut lie: impl FnMut(&Exchange, u16, &[(u64, u64)]) -> Vec<Passage>,
) {
    let lie = |exchange: Exchange| match &exchange.request {
        StorageRequest::Read { share, ranges, .. } if exchange.server == BAD => {
            lie(&exchange, *share, ranges)
        }
        _ => exchange.honest(),
    };
    check(name, harm, || Liar::new(lie));
}

/// Has the bad server answer everything otherwise.
fn lie_about_all(name: &str, harm: Harm, mut lie: impl FnMut(&Exchange) -> Vec<Passage>) {
    let lie = |exchange: Exchange| if exchange.server == BAD { lie(&exchange) } else { exchange.honest() };
    check(name, harm, || Liar::new(lie));
}

fn lie_about_lists(name: &str, harm: Harm, mut lie: impl FnMut(&Exchange) -> Vec<Passage>) {
    lie_about_all(name, harm, |exchange| match exchange.request {
        StorageRequest::List { .. } => lie(exchange),
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
fn the_wrong_share() {
    let mut honest = MemoryGrid::new(&setup(), Honest);
    let (cap, shares) = stored(&mut honest, 1);
    let (other_cap, others) = stored(&mut honest, 2);
    assert_ne!(cap, other_cap);
    let another = |share: u16| usize::from((share + 1) % 3);
    lie_about_reads("another share", Harm::Named, |exchange, share, ranges| {
        let (lengths, bytes) = cut(&shares[another(share)], ranges);
        exchange.answer(StorageAnswer::Data(lengths), &bytes)
    });
    lie_about_reads("another file", Harm::Named, |exchange, share, ranges| {
        let (lengths, bytes) = cut(&others[usize::from(share)], ranges);
        exchange.answer(StorageAnswer::Data(lengths), &bytes)
    });
    // The metadata is right, what follows is another share's.
    let mut opened = false;
    lie_about_reads("another share's blocks", Harm::Named, |exchange, share, ranges| {
        if !std::mem::replace(&mut opened, true) {
            return exchange.honest();
        }
        let (lengths, bytes) = cut(&shares[another(share)], ranges);
        exchange.answer(StorageAnswer::Data(lengths), &bytes)
    });
}

#[test]
fn too_little_and_too_much() {
    let data = |exchange: &Exchange, lengths: Vec<u64>, bytes: &[u8]| {
        exchange.answer(StorageAnswer::Data(lengths), bytes)
    };
    let lengths = |exchange: &Exchange| match &exchange.result {
        Ok(StorageAnswer::Data(lengths)) => lengths.clone(),
        other => panic!("{other:?}"),
    };
    lie_about_reads("nothing", Harm::Named, |exchange, _, _| data(exchange, vec![], &[]));
    lie_about_reads("empty ranges", Harm::Named, |exchange, _, ranges| {
        data(exchange, vec![0; ranges.len()], &[])
    });
    lie_about_reads("lengths without bytes", Harm::Named, |exchange, _, _| {
        data(exchange, lengths(exchange), &[])
    });
    lie_about_reads("bytes without lengths", Harm::Named, |exchange, _, _| {
        data(exchange, vec![], &exchange.bytes())
    });
    lie_about_reads("a byte too few", Harm::Named, |exchange, _, _| {
        let bytes = exchange.bytes();
        data(exchange, lengths(exchange), &bytes[..bytes.len() - 1])
    });
    lie_about_reads("a byte too many", Harm::Named, |exchange, _, _| {
        data(exchange, lengths(exchange), &[exchange.bytes(), vec![0]].concat())
    });
    // The extension block, and each block, is cut short.
    lie_about_reads("a last range too short", Harm::Named, |exchange, _, _| {
        let (mut lengths, bytes) = (lengths(exchange), exchange.bytes());
        *lengths.last_mut().expect("a range") -= 1;
        data(exchange, lengths, &bytes[..bytes.len() - 1])
    });
    lie_about_reads("a last range too long", Harm::Named, |exchange, _, ranges| {
        let (mut lengths, mut bytes) = (lengths(exchange), exchange.bytes());
        let surplus = ranges.last().expect("a range").1 + 1000 - lengths.last().expect("a range");
        *lengths.last_mut().expect("a range") += surplus;
        bytes.resize(bytes.len() + surplus as usize, 0);
        data(exchange, lengths, &bytes)
    });
    lie_about_reads("a range more", Harm::Named, |exchange, _, _| {
        data(exchange, [lengths(exchange), vec![0]].concat(), &exchange.bytes())
    });
    lie_about_reads("a hundred thousand ranges", Harm::Named, |exchange, _, _| {
        data(exchange, vec![0; 100_000], &[])
    });
    lie_about_reads("lengths beyond all numbers", Harm::Named, |exchange, _, ranges| {
        data(exchange, vec![u64::MAX; ranges.len()], &exchange.bytes())
    });
    lie_about_reads("sixteen megabytes", Harm::Named, |exchange, _, ranges| {
        let mut lengths = vec![0; ranges.len()];
        lengths[0] = 16 << 20;
        data(exchange, lengths, &vec![0; 16 << 20])
    });
}

#[test]
fn lists_of_shares_that_are_not_there() {
    let shares = |set: ShareSet| StorageAnswer::Shares(set);
    lie_about_lists("no shares", Harm::Named, |exchange| exchange.answer(shares(ShareSet::EMPTY), &[]));
    lie_about_lists("every share there can be", Harm::None, |exchange| {
        exchange.answer(shares(ShareSet::first(256)), &[])
    });
    lie_about_lists("only shares past the last", Harm::Named, |exchange| {
        exchange.answer(shares((3..256).collect()), &[])
    });
    lie_about_lists("no list", Harm::Named, |exchange| exchange.answer(StorageAnswer::Done, &[]));
    lie_about_lists("a list and a megabyte", Harm::None, |exchange| match &exchange.result {
        Ok(list) => exchange.answer(list.clone(), &vec![0; 1 << 20]),
        Err(_) => exchange.honest(),
    });
    lie_about_lists("a list of another kind of thing", Harm::Named, |exchange| {
        exchange.answer(StorageAnswer::Data(vec![1, 2, 3]), &[1; 6])
    });
}

#[test]
fn errors_of_each_kind() {
    for error in errors() {
        lie_about_lists(&format!("{error:?} to a list"), Harm::Named, |exchange| {
            exchange.fail(error.clone())
        });
        lie_about_reads(&format!("{error:?} to a read"), Harm::Named, |exchange, _, _| {
            exchange.fail(error.clone())
        });
    }
    // The share opens, and then nothing of it can be read.
    let mut opened = false;
    lie_about_reads("a disk that breaks", Harm::Named, |exchange, _, _| {
        if !std::mem::replace(&mut opened, true) {
            return exchange.honest();
        }
        exchange.fail(StorageError::Disk("broken".into()))
    });
}

#[test]
fn answers_that_fit_no_question() {
    let deliver = |frame: Frame| Passage::Deliver(Duration::ZERO, frame);
    lie_about_all("answers to questions never asked", Harm::None, |exchange| {
        let stray = |id| deliver(answer_frame(id, &StorageAnswer::Done, &[7; 100]));
        vec![stray(exchange.id + 1_000), stray(u64::MAX), deliver(exchange.frame.clone())]
    });
    lie_about_all("every answer twice", Harm::None, |exchange| {
        vec![deliver(exchange.frame.clone()), deliver(exchange.frame.clone())]
    });
    lie_about_all("an answer, then an error", Harm::None, |exchange| {
        let error = Message::seal(Kind::Failure, exchange.id, &StorageError::Full, Vec::new());
        vec![deliver(exchange.frame.clone()), deliver(error)]
    });
    lie_about_all("messages of a later version that may be ignored", Harm::None, |exchange| {
        let later = [128, 200, 255].map(|kind| deliver(Message::seal(Kind::Later(kind), 1, &(), Vec::new())));
        [later.to_vec(), vec![deliver(exchange.frame.clone())]].concat()
    });
    lie_about_all("answers with more fields than we know", Harm::None, |exchange| {
        let mut frame = exchange.frame.clone();
        frame.message = [&frame.message[..], &[1, 2, 3, 4, 5]].concat().into();
        pass(frame)
    });
    for kind in [9, 77, 127] {
        lie_about_all(&format!("a message of the kind {kind}"), Harm::Named, |exchange| {
            vec![
                deliver(Message::seal(Kind::Later(kind), 1, &(), Vec::new())),
                deliver(exchange.frame.clone()),
            ]
        });
    }
    for kind in [Kind::Hello, Kind::Welcome, Kind::Refusal, Kind::Request, Kind::Push] {
        lie_about_all(&format!("a {kind:?}"), Harm::Named, |exchange| {
            vec![deliver(Message::seal(kind, 0, &7u64, Vec::new())), deliver(exchange.frame.clone())]
        });
    }
    lie_about_all("no envelope", Harm::Named, |_| pass(Frame::new(vec![200])));
    lie_about_all("an answer without a body", Harm::Named, |exchange| {
        pass(Message::seal(Kind::Answer, exchange.id, &(), Vec::new()))
    });
    lie_about_all("an answer that is none", Harm::Named, |exchange| {
        pass(Message::seal(Kind::Answer, exchange.id, &[255u8; 32], Vec::new()))
    });
    lie_about_all("an error that is none", Harm::Named, |exchange| {
        pass(Message::seal(Kind::Failure, exchange.id, &[255u8; 32], Vec::new()))
    });
    lie_about_all("the end of the connection", Harm::Named, |_| vec![Passage::Cut]);
}

#[test]
fn greetings_that_are_none() {
    let welcome = |version, service| {
        let program = "\u{1b}[31mred\n".repeat(50);
        Message::seal(Kind::Welcome, 0, &Welcome { version, service, program }, Vec::new())
    };
    let refusal = |refusal| Message::seal(Kind::Refusal, 0, &refusal, Vec::new());
    let greetings = [
        ("a welcome to another service", welcome(1, ServiceKind::Introducer), "a welcome to something else"),
        ("a welcome in another version", welcome(2, ServiceKind::Storage), "a welcome to something else"),
        ("an unknown service", refusal(Refusal::UnknownService), "no service by the swissnum"),
        (
            "no common version",
            refusal(Refusal::NoCommonVersion { lowest: 5, highest: 9 }),
            "versions 5 to 9 of the protocol",
        ),
        ("too busy", refusal(Refusal::Busy), "as many connections as it allows"),
        ("an answer", answer_frame(0, &StorageAnswer::Done, &[]), "no welcome"),
        ("nonsense", Frame::new(vec![255; 100]), "a message without an envelope"),
    ];
    for (name, greeting, words) in greetings {
        let mut honest = MemoryGrid::new(&setup(), Honest);
        let (cap, _) = stored(&mut honest, 1);
        let greets = |from, _, frame: Frame| {
            let is_welcome = |frame: &Frame| {
                Message::open(frame.clone()).is_ok_and(|message| message.envelope.kind == Kind::Welcome)
            };
            pass(if from == BAD && is_welcome(&frame) { greeting.clone() } else { frame })
        };
        let mut grid = MemoryGrid::new(&setup(), greets);
        // The two good servers get what they have stored on the other grid.
        for server in 0..3 {
            *grid.disk(server) = honest.disk(server).clone();
        }
        let got = grid.get(&cap);
        assert!(got.result.is_ok() && got.content == content(1, LEN), "{name}: {:?}", got.result);
        assert!(got.took <= READ_WITHIN, "{name}: {:?}", got.took);
        grid.switch_off(2);
        let got = grid.get(&cap);
        let error = got.result.expect_err(name).to_string();
        assert!(error.contains("s0 (") && error.contains(words), "{name}: {error}");
        assert!(got.took <= FAILS_WITHIN, "{name}: {:?}", got.took);
    }
}

#[test]
fn too_late_and_never() {
    for millis in [1_100, 1_300, 4_000] {
        let name = format!("everything {millis} ms late");
        lie_about_all(&name, Harm::None, |exchange| exchange.late(Duration::from_millis(millis)));
    }
    lie_about_all("everything a minute late", Harm::Named, |exchange| exchange.late(Duration::from_secs(60)));
    lie_about_all("silence", Harm::Named, |_| Vec::new());
    lie_about_reads("silence after a list", Harm::Named, |_, _, _| Vec::new());
    let mut opened = false;
    lie_about_reads("silence after the metadata", Harm::Named, |exchange, _, _| {
        if std::mem::replace(&mut opened, true) { Vec::new() } else { exchange.honest() }
    });
}

#[test]
fn signs_of_life_are_no_answers() {
    // A server whose disk hangs still answers pings. Nobody may wait for ever for that.
    let chatter = |exchange: &Exchange, kind: Kind| {
        let alive = |second| {
            Passage::Deliver(Duration::from_secs(second), Message::seal(kind, exchange.id, &(), Vec::new()))
        };
        (0..500).map(alive).collect::<Vec<_>>()
    };
    lie_about_reads("pings instead of answers", Harm::Named, |exchange, _, _| chatter(exchange, Kind::Ping));
    lie_about_reads("chatter instead of answers", Harm::Named, |exchange, _, _| {
        chatter(exchange, Kind::Later(200))
    });
    // Nor are parts of long frames, if the frames are no answers in the end.
    lie_about_reads("long chatter instead of answers", Harm::Named, |_, _, _| long_chatter());
}

/// Frames that nobody asked for and that are looked at only when they are whole.
fn long_chatter() -> Vec<Passage> {
    let junk = |second| {
        let frame = Message::seal(Kind::Later(200), 0, &(), vec![vec![0; 40_000].into()]);
        Passage::Deliver(Duration::from_secs(second), frame)
    };
    (0..500).step_by(2).map(junk).collect()
}

#[test]
fn junk_without_end_holds_up_no_upload() {
    // A question that was never answered makes the parts of long frames look like an answer to it.
    let lie = |exchange: Exchange| match exchange.request {
        _ if exchange.server != BAD => exchange.honest(),
        StorageRequest::Read { .. } => long_chatter(),
        StorageRequest::Allocate { .. } => Vec::new(),
        _ => exchange.honest(),
    };
    let setup = GridSetup { servers: 5, happy: Some(3), ..setup() };
    let mut grid = MemoryGrid::new(&setup, Switch { on: false, inner: Liar::new(lie) });
    let cap = grid.put(&content(1, LEN)).cap();
    grid.tamper.on = true;
    assert!(grid.get(&cap).result.is_ok());
    let put = grid.put(&content(2, LEN));
    assert!(put.result.is_ok() && put.took <= READ_WITHIN, "{:?} after {:?}", put.result, put.took);
}

#[test]
fn slow_lies_are_not_believed_for_long() {
    // It says that it has all of the hundred shares, and takes its time to give each of them wrongly.
    let lie = |exchange: Exchange| match exchange.request {
        _ if exchange.server != BAD => exchange.honest(),
        StorageRequest::List { .. } => exchange.answer(StorageAnswer::Shares(ShareSet::first(256)), &[]),
        StorageRequest::Read { .. } => {
            let nonsense = answer_frame(exchange.id, &StorageAnswer::Data(vec![]), &[]);
            vec![Passage::Deliver(Duration::from_millis(1_150), nonsense)]
        }
        _ => exchange.honest(),
    };
    let setup = GridSetup { servers: 4, ..GridSetup::new(3, 100) };
    let mut grid = MemoryGrid::new(&setup, Switch { on: false, inner: Liar::new(lie) });
    let cap = grid.put(&content(1, LEN)).cap();
    grid.tamper.on = true;
    let got = grid.get(&cap);
    assert!(got.result.is_ok() && got.content == content(1, LEN), "{:?}", got.result);
    assert!(got.took <= READ_WITHIN, "{:?}", got.took);
}

#[test]
fn one_server_with_every_share_is_not_overrun() {
    // Many small segments: more questions at once than a server allows one client.
    let setup = GridSetup { servers: 1, happy: Some(1), ..GridSetup::new(3, 10) };
    let mut grid = MemoryGrid::new(&setup, Honest);
    let stored = content(1, 30_000);
    let cap = grid.put(&stored).cap();
    let got = grid.get(&cap);
    assert!(got.result.is_ok(), "{}", got.result.unwrap_err());
    assert!(got.content == stored);
}

#[test]
fn ranges_of_every_kind() {
    let mut grid = MemoryGrid::new(&setup(), Honest);
    let (cap, _) = stored(&mut grid, 1);
    let (content, len) = (content(1, LEN), LEN as u64);
    let ends = [0, 1, 63, 64, 65, 127, 128, 129, len - 65, len - 1, len];
    for start in ends {
        for end in ends.into_iter().filter(|end| *end >= start) {
            let got = grid.get_range(&cap, start..end);
            assert!(got.result.is_ok(), "{start}..{end}: {}", got.result.unwrap_err());
            assert!(got.content == content[start as usize..end as usize], "{start}..{end}");
        }
    }
}

/// Counts the messages of a kind that the client sends to the bad server.
fn count(said: &Cell<usize>, kind: Kind, to: usize, frame: &Frame) {
    let sent = Message::open(frame.clone()).is_ok_and(|message| message.envelope.kind == kind);
    said.set(said.get() + usize::from(to == BAD && sent));
}

#[test]
fn a_server_that_always_breaks_is_tried_less_and_less() {
    let hellos = Cell::new(0);
    let breaks = |from, to, frame: Frame| {
        count(&hellos, Kind::Hello, to, &frame);
        let answers = Message::open(frame.clone()).is_ok_and(|m| m.envelope.kind == Kind::Answer);
        if from == BAD && answers { vec![Passage::Cut] } else { pass(frame) }
    };
    let mut grid = MemoryGrid::new(&setup(), breaks);
    grid.run(Duration::from_secs(600));
    let before = hellos.get();
    grid.run(Duration::from_secs(600));
    // Two addresses are tried each time. By now there are two minutes between, give or take one.
    let late = hellos.get() - before;
    assert!((4..=22).contains(&late), "{late} connections in ten minutes, after {before} before");
    assert!((10..40).contains(&before), "{before} connections in the first ten minutes");
}

#[test]
fn pings_without_end_are_not_all_answered() {
    let pongs = Cell::new(0);
    let floods = |from, to, frame: Frame| {
        count(&pongs, Kind::Pong, to, &frame);
        let ping = |id| Passage::Deliver(Duration::ZERO, Message::seal(Kind::Ping, id, &(), Vec::new()));
        let pings = if from == BAD { 10_000 } else { 0 };
        [pass(frame), (0..pings).map(ping).collect()].concat()
    };
    let mut grid = MemoryGrid::new(&setup(), floods);
    grid.run(Duration::from_secs(100));
    assert!((1..200).contains(&pongs.get()), "{} pongs", pongs.get());
}
