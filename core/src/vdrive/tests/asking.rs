//! The client against a server made by hand: good answers, bad ones, none.

use super::making::{at, cap};
use crate::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep, StorePath};
use crate::entropy::Entropy;
use crate::io::Io;
use crate::machine::{Action, ActionId, CloseReason, ConnId};
use crate::nurl::Service;
use crate::operation::{Notice, NoticeLevel, Report};
use crate::peers::ConnEvent;
use crate::vdrive::{RootText, SharedRoot, VdriveAnswer, VdriveClient, VdriveError, VdriveRequest};
use crate::wire::{Frame, Kind, Message, PROTOCOL_VERSION, ServiceKind, Welcome};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

const HASH: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A client, and what it has done.
struct Test {
    client: VdriveClient,
    io: Io,
    now: u64,
    /// The disk action under way.
    disk: Option<(ActionId, Vec<DiskStep>)>,
    /// The connections it has asked for, and those of them that it has ended.
    conns: Vec<ConnId>,
    ended: Vec<ConnId>,
    questions: usize,
    notices: Vec<(NoticeLevel, String)>,
}

impl Test {
    /// A client of so many servers that reads its pin.
    fn new(servers: usize) -> Test {
        let furls: String = (0..servers).map(|n| format!("pb://{HASH}@v{n}:1/s{n}#v=1\n")).collect();
        let mut io = Io::new(Entropy::new([3; 32]));
        let client = VdriveClient::new(Service::parse_furl_file(&furls).unwrap(), "test", &mut io);
        let (conns, ended, notices) = (Vec::new(), Vec::new(), Vec::new());
        let mut test = Test { client, io, now: 0, disk: None, conns, ended, questions: 0, notices };
        test.collect();
        assert!(matches!(&test.disk, Some((_, steps))
            if matches!(&steps[..], [DiskStep::Read { path: StorePath::SharedRoot, .. }])));
        test
    }

    /// A client without a pin that is connected to its one server and has asked.
    fn asking() -> Test {
        let mut test = Test::new(1);
        test.disk_done(not_found());
        test.wake();
        test.welcome(0);
        assert_eq!(test.questions, 1);
        test
    }

    /// A client that keeps a root.
    fn keeping(root: &SharedRoot) -> Test {
        let mut test = Test::new(1);
        test.disk_done(content(root));
        test.wake();
        test
    }

    fn collect(&mut self) {
        while let Some(action) = self.io.poll() {
            match action {
                Action::Disk { id, steps } => {
                    assert!(self.disk.is_none(), "one after another");
                    self.disk = Some((id, steps));
                }
                Action::Connect { conn, .. } => self.conns.push(conn),
                Action::Close { conn } | Action::Abort { conn } => self.ended.push(conn),
                Action::Send { frame, .. } => {
                    let message = Message::open(frame).unwrap();
                    if message.envelope.kind == Kind::Request {
                        assert_eq!(message.body(), Ok(VdriveRequest::Root));
                        self.questions += 1;
                    }
                }
                Action::Report(Report::Notice(Notice { level, text })) => self.notices.push((level, text)),
                Action::Grant { .. } => {}
                other => panic!("{other:?} is not for a client of vdrive servers"),
            }
        }
    }

    fn wake(&mut self) {
        self.client.wake(at(self.now), &mut self.io);
        self.collect();
    }

    /// Goes on to the next deadline, which must come within so many seconds.
    fn sleep(&mut self, most: u64) {
        let due = self.client.deadline().expect("there is something to do");
        let due = due.0.div_ceil(1_000_000_000).max(self.now);
        assert!(due - self.now <= most, "{} seconds", due - self.now);
        self.now = due;
        self.wake();
    }

    fn event(&mut self, conn: usize, event: ConnEvent) {
        self.client.handle(self.conns[conn], event, at(self.now), &mut self.io);
        self.collect();
    }

    fn frame(&mut self, conn: usize, frame: Frame) {
        self.event(conn, ConnEvent::Frame(frame));
    }

    fn welcome(&mut self, conn: usize) {
        self.event(conn, ConnEvent::Connected);
        let (service, program) = (ServiceKind::Vdrive, "p".into());
        let welcome = Welcome { version: PROTOCOL_VERSION, service, program };
        self.frame(conn, Message::seal(Kind::Welcome, 0, &welcome, Vec::new()));
    }

    fn say(&mut self, conn: usize, kind: Kind, body: &impl Serialize) {
        self.frame(conn, Message::seal(kind, 0, body, Vec::new()));
    }

    fn offer(&mut self, conn: usize, root: &SharedRoot) {
        self.say(conn, Kind::Answer, &VdriveAnswer::Root(root.text()));
    }

    fn disk_done(&mut self, result: DiskResult) {
        let (id, _) = self.disk.take().expect("a disk action");
        assert!(self.client.disk_done(id, &result, at(self.now), &mut self.io));
        self.collect();
    }

    /// What it wants to store.
    fn stores(&self) -> Option<&DiskStep> {
        self.disk.as_ref().map(|(_, steps)| &steps[0])
    }

    fn warnings(&self) -> usize {
        self.notices.iter().filter(|(level, _)| *level == NoticeLevel::Warning).count()
    }
}

fn not_found() -> DiskResult {
    Err(DiskFailure { step: 0, error: DiskError::NotFound })
}

fn content(root: &SharedRoot) -> DiskResult {
    Ok([DiskOutput::Data(root.to_file())].into())
}

fn write(key: u8) -> SharedRoot {
    SharedRoot::Write(cap(key))
}

fn replace(root: &SharedRoot) -> DiskStep {
    DiskStep::Replace(StorePath::SharedRoot, root.to_file())
}

#[test]
fn the_first_root_is_stored_and_then_used() {
    let mut test = Test::asking();
    test.offer(0, &write(1));
    assert_eq!(test.stores(), Some(&replace(&write(1))));
    assert_eq!(test.client.root(), None, "not before it is durable");
    assert_eq!(test.ended, [test.conns[0]], "the server is not needed any more");
    test.disk_done(Ok(Vec::new()));
    assert_eq!(test.client.root(), Some(&write(1)));
    assert_eq!(test.client.status().writable, Some(true));
    let shown = format!("{:?} {:?}", test.notices, test.client.status());
    assert!(!shown.contains(&write(1).text().expose()[9..35]), "{shown}");
    assert_eq!(test.warnings(), 0);
}

#[test]
fn who_asks_too_early_asks_again() {
    let mut test = Test::asking();
    for asked in 2..20 {
        test.say(0, Kind::Answer, &VdriveAnswer::NotYet);
        test.sleep(24);
        assert_eq!(test.questions, asked);
    }
    assert!(test.now > 60, "the pauses grow");
    assert_eq!(test.conns.len(), 1, "on one connection");
    test.offer(0, &write(1).read_only());
    test.disk_done(Ok(Vec::new()));
    assert_eq!(test.client.status().writable, Some(false));
}

#[test]
fn the_pin_is_kept_and_another_root_only_warned_of() {
    let mut test = Test::keeping(&write(1));
    assert_eq!(test.client.root(), Some(&write(1)), "before any server was asked");
    for (day, other) in [write(2), write(3).read_only()].iter().enumerate() {
        test.welcome(day);
        test.offer(day, other);
        assert_eq!((test.client.root(), test.stores()), (Some(&write(1)), None));
        assert_eq!(test.warnings(), 1, "once");
        let closed = ConnEvent::Closed(CloseReason::Ended);
        test.event(day, closed);
        test.sleep(36 * 60 * 60 + 60);
    }
    let (_, warning) = &test.notices[0];
    assert!(warning.contains("another shared root"), "{warning}");
    assert!(!warning.contains("URI:"), "{warning}");
}

#[test]
fn the_same_root_with_fewer_rights_is_the_same_root() {
    let mut test = Test::keeping(&write(1));
    test.welcome(0);
    test.offer(0, &write(1).read_only());
    assert_eq!((test.client.root(), test.stores(), test.warnings()), (Some(&write(1)), None, 0));
}

#[test]
fn a_right_to_write_is_taken_for_the_root_that_is_kept_only() {
    let mut test = Test::keeping(&write(1).read_only());
    test.welcome(0);
    test.offer(0, &write(1));
    assert_eq!(test.stores(), Some(&replace(&write(1))));
    assert_eq!(test.client.root(), Some(&write(1).read_only()), "the old right is good meanwhile");
    // The disk does not take it now, but later.
    test.disk_done(Err(DiskFailure { step: 0, error: DiskError::Full }));
    assert_eq!((test.client.root(), test.warnings()), (Some(&write(1).read_only()), 1));
    test.sleep(91);
    assert_eq!(test.stores(), Some(&replace(&write(1))));
    test.disk_done(Ok(Vec::new()));
    assert_eq!(test.client.root(), Some(&write(1)));

    let mut test = Test::keeping(&write(1).read_only());
    test.welcome(0);
    test.offer(0, &write(2));
    assert_eq!((test.stores(), test.warnings()), (None, 1));
}

#[test]
fn who_holds_both_furls_may_write_whichever_answers_first() {
    for first_fails in [false, true] {
        let mut test = Test::new(2);
        test.disk_done(not_found());
        test.wake();
        test.welcome(0);
        test.welcome(1);
        test.offer(0, &write(1).read_only());
        test.offer(1, &write(1));
        assert_eq!(test.stores(), Some(&replace(&write(1).read_only())));
        let failed = Err(DiskFailure { step: 0, error: DiskError::Full });
        test.disk_done(if first_fails { failed } else { Ok(Vec::new()) });
        assert_eq!(test.stores(), Some(&replace(&write(1))));
        test.disk_done(Ok(Vec::new()));
        assert_eq!(test.client.root(), Some(&write(1)));
    }
}

#[test]
fn a_second_root_offered_while_the_first_is_stored_is_another_one() {
    let mut test = Test::new(2);
    test.disk_done(not_found());
    test.wake();
    test.welcome(0);
    test.welcome(1);
    test.offer(0, &write(1));
    test.offer(1, &write(2));
    assert_eq!((test.stores(), test.warnings()), (Some(&replace(&write(1))), 1));
    test.disk_done(Err(DiskFailure { step: 0, error: DiskError::Full }));
    test.sleep(91);
    assert_eq!(test.stores(), Some(&replace(&write(1))), "the first stays the first");
}

#[test]
fn nonsense_is_warned_of_and_not_kept() {
    let long = "x".repeat(200_000);
    for text in [
        "",
        "URI:DIR2:x:y",
        "URI:LIT:krugkidfnzsc4",
        "URI:CHK:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:3:10:100",
        &format!("{}", cap(1)),
        &format!("{}\n", write(1).text().expose()),
        &long,
    ] {
        let mut test = Test::asking();
        test.say(0, Kind::Answer, &VdriveAnswer::Root(RootText::new(text)));
        assert_eq!((test.client.root(), test.stores(), test.warnings()), (None, None, 1));
        assert!(test.notices.iter().all(|(_, notice)| text.is_empty() || !notice.contains(text)));
        // It is asked again, but not at once; and may mend its ways.
        assert_eq!(test.ended.len(), 1);
        test.event(0, ConnEvent::Closed(CloseReason::Ended));
        test.sleep(100 * 60);
        assert!(test.now > 20 * 60);
        test.welcome(1);
        test.offer(1, &write(1));
        assert_eq!(test.stores(), Some(&replace(&write(1))));
    }
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let frames = [
        Message::seal(Kind::Answer, 0, &77u8, Vec::new()),
        // A text that is said to be longer than the message.
        Message::seal(Kind::Answer, 0, &(1u8, u64::MAX), Vec::new()),
        Message::seal(Kind::Answer, 0, &(1u8, 3u8, 0xffff_ffffu32), Vec::new()),
        Message::seal(Kind::Push, 0, &VdriveAnswer::NotYet, Vec::new()),
        Message::seal(Kind::Request, 0, &VdriveRequest::Root, Vec::new()),
        Frame::new([200, 200].into()),
    ];
    for frame in frames {
        let mut test = Test::asking();
        test.frame(0, frame.clone());
        assert_eq!(test.ended, [test.conns[0]], "{frame:?}");
        assert_eq!((test.client.root(), test.stores()), (None, None));
        test.event(0, ConnEvent::Closed(CloseReason::Ended));
        test.sleep(2);
        assert_eq!(test.conns.len(), 2, "and is tried again");
    }
    // An answer to nothing: it has been answered already.
    let mut test = Test::asking();
    test.say(0, Kind::Answer, &VdriveAnswer::NotYet);
    test.offer(0, &write(1));
    assert_eq!((test.stores(), test.ended.len()), (None, 1));
}

#[test]
fn a_server_that_does_not_know_the_question_is_left_alone() {
    let mut test = Test::asking();
    test.say(0, Kind::Failure, &VdriveError::Unsupported);
    assert_eq!((test.ended.len(), test.warnings()), (1, 1));
    test.event(0, ConnEvent::Closed(CloseReason::Ended));
    test.sleep(100 * 60);
    assert!(test.now > 20 * 60);
}

#[test]
fn a_silent_server_is_connected_to_anew() {
    let mut test = Test::asking();
    while test.ended.is_empty() {
        // Pings are answered, the question is not.
        test.sleep(40);
        if test.ended.is_empty() {
            test.say(0, Kind::Pong, &());
        }
    }
    assert!((60..90).contains(&test.now), "after {} seconds", test.now);
    test.event(0, ConnEvent::Closed(CloseReason::Ended));
    test.sleep(30);
    assert_eq!(test.conns.len(), 2);
}

#[test]
fn a_server_out_of_reach_alarms_only_who_needs_it() {
    let refused = || ConnEvent::Closed(CloseReason::Refused);
    let mut needing = Test::new(1);
    needing.disk_done(not_found());
    needing.wake();
    for attempt in 0..10 {
        needing.event(attempt, refused());
        needing.sleep(200);
        assert_eq!(needing.conns.len(), attempt + 2);
    }
    assert_eq!(needing.warnings(), 1);
    let mut keeping = Test::keeping(&write(1));
    for attempt in 0..10 {
        keeping.event(attempt, refused());
        let before = keeping.now;
        keeping.sleep(100 * 60);
        assert!(keeping.now - before > 20 * 60);
    }
    assert_eq!((keeping.warnings(), keeping.client.root()), (0, Some(&write(1))));
}

#[test]
fn a_pin_that_cannot_be_read_is_never_written_over() {
    let data = |bytes: &[u8]| Ok([DiskOutput::Data(bytes.to_vec().into())].into());
    for result in [
        Err(DiskFailure { step: 0, error: DiskError::Failed("the disk is broken".into()) }),
        data(b""),
        data(b"URI:DIR2:cut"),
        data(&[0xff; 300]),
        data(&[b'x'; 20_000]),
        Ok(Vec::new()),
    ] {
        let mut test = Test::new(1);
        test.client.offered_by_self(write(9), &mut test.io);
        test.disk_done(result);
        test.wake();
        assert_eq!((test.warnings(), test.client.deadline()), (1, None));
        assert!(test.conns.is_empty() && test.stores().is_none());
        assert!(test.notices[0].1.contains("private/shared-root.cap"));
    }
}

#[test]
fn the_node_that_hands_a_root_out_keeps_it_too() {
    for early in [true, false] {
        let mut test = Test::new(0);
        if early {
            test.client.offered_by_self(write(1), &mut test.io);
        }
        test.disk_done(not_found());
        if !early {
            test.client.offered_by_self(write(1), &mut test.io);
            test.collect();
        }
        assert_eq!(test.stores(), Some(&replace(&write(1))));
        test.disk_done(Ok(Vec::new()));
        assert_eq!(test.client.root(), Some(&write(1)));
        assert_eq!(test.client.deadline(), None);
    }
}
