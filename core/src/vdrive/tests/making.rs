//! The server by itself: when it has the root made, and what it says.

use crate::capability::{MutableCap, MutableFormat};
use crate::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep, StorePath};
use crate::entropy::Entropy;
use crate::hash::Hash;
use crate::machine::Machine;
use crate::mutable::ChangeError;
use crate::operation::{NoticeLevel, OperationId};
use crate::secret::Secret;
use crate::time::{Instant, Now};
use crate::vdrive::{
    MakeRootError, RootMade, RootRights, RootStage, SharedRoot, VdriveAction, VdriveAnswer, VdriveEvent,
    VdriveRequest, VdriveServer,
};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

pub(super) fn cap(key: u8) -> MutableCap {
    MutableCap {
        format: MutableFormat::Sdmf,
        write_key: Secret::from_bytes([key; 16]),
        fingerprint: Hash([key; 32]),
    }
}

pub(super) fn at(seconds: u64) -> Now {
    Now { instant: Instant::ZERO + Duration::from_secs(seconds), ..Now::default() }
}

fn failure(step: usize, error: DiskError) -> DiskResult {
    Err(DiskFailure { step, error })
}

fn content(text: &str) -> DiskResult {
    Ok([DiskOutput::Data(text.as_bytes().to_vec().into())].into())
}

/// A server that wants three servers, and what it has said.
struct Test {
    server: VdriveServer,
    notices: Vec<(NoticeLevel, String)>,
}

impl Test {
    /// A server that has asked for its file.
    fn new() -> Test {
        let mut test = Test { server: VdriveServer::new(3, Entropy::new([1; 32])), notices: Vec::new() };
        let steps = test.disk();
        let names = [StorePath::VdriveRoot];
        assert!(matches!(&steps[0], DiskStep::Read { path, offset: 0, .. } if names.contains(path)));
        assert_eq!(steps[1..], [DiskStep::SyncName(StorePath::VdriveRoot)]);
        test
    }

    /// One that has found no file.
    fn fresh() -> Test {
        let mut test = Test::new();
        assert!(test.handle(VdriveEvent::DiskDone(failure(0, DiskError::NotFound)), 0).is_empty());
        test
    }

    /// Hands in an event and gives the actions, but for notices.
    fn handle(&mut self, event: VdriveEvent, seconds: u64) -> Vec<VdriveAction> {
        self.server.handle(event, at(seconds));
        self.actions()
    }

    fn actions(&mut self) -> Vec<VdriveAction> {
        let mut actions = Vec::new();
        while let Some(action) = self.server.poll_action() {
            match action {
                VdriveAction::Notice(level, text) => self.notices.push((level, text)),
                other => actions.push(other),
            }
        }
        actions
    }

    /// The steps of the one disk action that it asks for.
    fn disk(&mut self) -> Vec<DiskStep> {
        let mut actions = self.actions();
        match (actions.pop(), actions.is_empty()) {
            (Some(VdriveAction::Disk(steps)), true) => steps,
            other => panic!("{other:?} is not one disk action"),
        }
    }

    fn root(&mut self, rights: RootRights) -> Option<SharedRoot> {
        let mut actions =
            self.handle(VdriveEvent::Request { key: 7, rights, request: VdriveRequest::Root }, 0);
        match actions.pop() {
            Some(VdriveAction::Answer { key: 7, result: Ok(VdriveAnswer::Root(text)) }) => {
                Some(SharedRoot::parse(text.expose()).expect("a root"))
            }
            Some(VdriveAction::Answer { key: 7, result: Ok(VdriveAnswer::NotYet) }) => None,
            other => panic!("{other:?} is no answer"),
        }
    }

    fn warnings(&self) -> usize {
        self.notices.iter().filter(|(level, _)| *level == NoticeLevel::Warning).count()
    }
}

fn wants_root(actions: &[VdriveAction]) -> bool {
    matches!(actions, [VdriveAction::MakeRoot])
}

#[test]
fn a_root_is_made_once_there_are_enough_servers() {
    let mut test = Test::fresh();
    assert!(test.handle(VdriveEvent::Servers(2), 1).is_empty());
    assert_eq!((test.server.deadline(), test.server.stage()), (None, RootStage::Waiting(3)));
    assert!(test.handle(VdriveEvent::Servers(3), 2).is_empty(), "others may come right after");
    assert!(test.handle(VdriveEvent::Servers(2), 3).is_empty(), "one of them is gone again");
    assert!(test.handle(VdriveEvent::Wake, 10).is_empty());
    assert!(test.handle(VdriveEvent::Servers(5), 11).is_empty());
    assert_eq!(test.server.deadline(), Some(at(13).instant));
    assert!(wants_root(&test.handle(VdriveEvent::Wake, 13)));
    assert!(test.handle(VdriveEvent::Servers(5), 20).is_empty(), "once is enough");
    assert_eq!(test.root(RootRights::Write), None);
    test.server.handle(VdriveEvent::Made(Ok(cap(1))), at(21));
    let root = SharedRoot::Write(cap(1));
    assert_eq!(test.disk(), [DiskStep::Replace(StorePath::VdriveRoot, root.to_file())]);
    assert_eq!(test.root(RootRights::Write), None, "not before it is durable");
    let ready = test.handle(VdriveEvent::DiskDone(Ok(Vec::new())), 22);
    assert!(matches!(&ready[..], [VdriveAction::Ready(of)] if *of == root), "{ready:?}");
    assert_eq!(test.root(RootRights::Write), Some(root.clone()));
    assert_eq!(test.root(RootRights::ReadOnly), Some(root.read_only()));
    assert_eq!((test.server.deadline(), test.server.stage()), (None, RootStage::Ready));
    let root = root.text();
    let secret = &root.expose()[9..35];
    assert!(test.notices.iter().all(|(_, text)| !text.contains(secret)), "{:?}", test.notices);
}

#[test]
fn who_is_told_to_does_not_wait_for_servers() {
    let mut test = Test::new();
    // Told before the file was read: nobody knows yet whether there is one.
    assert!(test.handle(VdriveEvent::Make(OperationId(1)), 0).is_empty());
    assert!(wants_root(&test.handle(VdriveEvent::DiskDone(failure(0, DiskError::NotFound)), 0)));
    assert!(test.handle(VdriveEvent::Make(OperationId(2)), 0).is_empty());
    assert!(test.handle(VdriveEvent::Make(OperationId(3)), 0).is_empty());
    test.server.forget(OperationId(3));
    let failed = test.handle(VdriveEvent::Made(Err(Box::new(ChangeError::NoServers))), 1);
    let [
        VdriveAction::Told { id: OperationId(1), result: Err(MakeRootError::Change(_)) },
        VdriveAction::Told { id: OperationId(2), result: Err(MakeRootError::Change(_)) },
    ] = &failed[..]
    else {
        panic!("{failed:?}");
    };
    assert!(wants_root(&test.handle(VdriveEvent::Make(OperationId(4)), 1)), "without a pause");
    test.handle(VdriveEvent::Made(Ok(cap(1))), 2);
    let done = test.handle(VdriveEvent::DiskDone(Ok(Vec::new())), 3);
    let told = |actions: &[VdriveAction], id, made| {
        actions.iter().any(|action| {
            matches!(action, VdriveAction::Told { id: of, result: Ok(what) } if (*of, *what) == (id, made))
        })
    };
    assert!(told(&done, OperationId(4), RootMade::New), "{done:?}");
    let before = test.handle(VdriveEvent::Make(OperationId(5)), 4);
    assert!(told(&before, OperationId(5), RootMade::Before) && before.len() == 1, "{before:?}");
}

#[test]
fn a_failure_is_followed_by_longer_and_longer_pauses() {
    let mut test = Test::fresh();
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..12 {
        test.handle(VdriveEvent::Servers(9), now);
        let due = test.server.deadline().expect("enough servers are there");
        let next = due.0.div_ceil(1_000_000_000);
        pauses.push(next - now);
        now = next;
        assert!(wants_root(&test.handle(VdriveEvent::Wake, now)));
        assert!(test.handle(VdriveEvent::Made(Err(Box::new(ChangeError::NoKeys))), now).is_empty());
    }
    assert_eq!(pauses[0], 2);
    assert!(pauses.iter().all(|pause| *pause <= 15 * 60), "{pauses:?}");
    assert!(pauses[8..].iter().all(|pause| *pause >= 5 * 60), "{pauses:?}");
    assert_eq!(test.warnings(), 12);
}

#[test]
fn a_root_in_the_file_is_handed_out_and_none_is_made() {
    let root = SharedRoot::Write(cap(4));
    let mut test = Test::new();
    test.handle(VdriveEvent::Make(OperationId(1)), 0);
    let line = root.to_file();
    let text = core::str::from_utf8(line.bytes().unwrap()).unwrap();
    let actions = test.handle(VdriveEvent::DiskDone(content(text)), 0);
    assert!(matches!(
        &actions[..],
        [VdriveAction::Ready(_), VdriveAction::Told { result: Ok(RootMade::Before), .. }]
    ));
    assert_eq!(test.root(RootRights::Write), Some(root));
    assert!(test.handle(VdriveEvent::Servers(50), 100).is_empty());
}

#[test]
fn what_cannot_be_read_is_never_written_over() {
    let read_only = SharedRoot::Write(cap(4)).read_only().text();
    for result in [
        failure(0, DiskError::Failed("the disk is broken".into())),
        failure(0, DiskError::ReadOnly),
        // It was read, but may be gone after a power failure.
        failure(1, DiskError::Failed("no sync".into())),
        failure(1, DiskError::NotFound),
        content(""),
        content("\n"),
        content("URI:DIR2:cut"),
        content("URI:LIT:krugkidfnzsc4"),
        content(read_only.expose()),
        content(&"x".repeat(10_000)),
        Ok(Vec::new()),
    ] {
        let mut test = Test::new();
        let told = test.handle(VdriveEvent::Make(OperationId(1)), 0);
        assert!(told.is_empty());
        let told = test.handle(VdriveEvent::DiskDone(result.clone()), 0);
        let [VdriveAction::Told { result: Err(error @ MakeRootError::Unreadable(_)), .. }] = &told[..] else {
            panic!("{result:?}: {told:?}");
        };
        assert!(alloc::format!("{error}").contains("private/vdrive-root.cap"));
        assert_eq!((test.warnings(), test.server.stage()), (1, RootStage::Unreadable), "{result:?}");
        assert_eq!(test.root(RootRights::Write), None);
        // However many servers there are, all it does is to read again.
        for round in 1..20 {
            let now = round * 10_000;
            let servers = test.handle(VdriveEvent::Servers(50), now);
            let steps = servers.into_iter().chain(test.handle(VdriveEvent::Wake, now));
            for action in steps {
                let VdriveAction::Disk(steps) = action else { panic!("{action:?}") };
                assert!(matches!(&steps[..], [DiskStep::Read { .. }, DiskStep::SyncName(_)]), "{steps:?}");
            }
            test.handle(VdriveEvent::DiskDone(result.clone()), now);
        }
        // The file comes back.
        test.handle(VdriveEvent::Make(OperationId(2)), 300_000);
        let line = SharedRoot::Write(cap(4)).text();
        test.handle(VdriveEvent::DiskDone(content(line.expose())), 300_000);
        assert_eq!(test.root(RootRights::Write), Some(SharedRoot::Write(cap(4))));
    }
}

#[test]
fn a_root_that_cannot_be_stored_is_stored_again_and_not_made_again() {
    let mut test = Test::fresh();
    test.handle(VdriveEvent::Make(OperationId(1)), 0);
    test.handle(VdriveEvent::Made(Ok(cap(1))), 0);
    let told = test.handle(VdriveEvent::DiskDone(failure(0, DiskError::Full)), 1);
    assert!(matches!(&told[..], [VdriveAction::Told { result: Err(MakeRootError::Unstored(_)), .. }]));
    assert_eq!(test.root(RootRights::Write), None);
    assert!(test.handle(VdriveEvent::Servers(50), 2).iter().all(|a| !matches!(a, VdriveAction::MakeRoot)));
    let again = test.handle(VdriveEvent::Wake, 100);
    let file = SharedRoot::Write(cap(1)).to_file();
    let expected = [DiskStep::Replace(StorePath::VdriveRoot, file)];
    assert!(matches!(&again[..], [VdriveAction::Disk(steps)] if *steps == expected), "{again:?}");
    test.handle(VdriveEvent::DiskDone(Ok(Vec::new())), 101);
    assert_eq!(test.root(RootRights::Write), Some(SharedRoot::Write(cap(1))));
}
