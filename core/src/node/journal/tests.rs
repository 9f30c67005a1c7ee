use super::*;
use crate::operation::KeyChoice;
use crate::upload::UploadError;
use alloc::boxed::Box;

fn now(seconds: u64) -> Now {
    let instant = Instant::ZERO + Duration::from_secs(seconds);
    Now { instant, unix: UnixTime(1_000 + seconds) }
}

fn upload(id: u64) -> Command {
    Command::Upload { id: OperationId(id), len: Some(9), key: KeyChoice::Random }
}

#[test]
fn an_operation_is_active_and_then_recent() {
    let mut journal = Journal::default();
    journal.command(&upload(1), now(0));
    journal.command(&upload(2), now(1));
    let shown: Vec<_> = journal.active().map(|entry| (entry.number, entry.size, entry.begun.0)).collect();
    assert_eq!(shown, [(0, Some(9), 1_000), (1, Some(9), 1_001)]);
    let result = Err(Box::new(UploadError::NoServers));
    journal.report(&Report::Uploaded { id: OperationId(1), result }, now(3));
    journal.command(&Command::Cancel { id: OperationId(2) }, now(4));
    journal.command(&Command::Cancel { id: OperationId(2) }, now(5));
    let took = Duration::from_secs(3);
    let shown: Vec<_> = journal.recent().map(|entry| (entry.number, entry.standing, entry.took)).collect();
    assert_eq!(shown, [(1, Standing::Cancelled, Some(took)), (0, Standing::Failed, Some(took))]);
    assert_eq!(journal.totals(), Totals { failed: 1, cancelled: 1, ..Totals::default() });
}

#[test]
fn the_stages_of_an_upload() {
    use crate::upload::{UploadPlan, UploadProgress};
    let id = OperationId(1);
    let plan = || {
        let (needed, total, happy, happiness, survives) = (1, 1, 1, 1, 0);
        Box::new(UploadPlan { size: 9, needed, total, happy, happiness, shares: Vec::new(), survives })
    };
    let closing = UploadProgress { stage: UploadStage::Closing, confirmed: 9, size: 9 };
    let stages = |end_first: bool| {
        let mut journal = Journal::default();
        journal.command(&upload(1), now(0));
        if end_first {
            journal.command(&Command::UploadEnd { id }, now(2));
        }
        journal.report(&Report::UploadPlanned { id, plan: plan() }, now(3));
        if !end_first {
            journal.command(&Command::UploadEnd { id }, now(4));
        }
        journal.report(&Report::UploadProgress { id, progress: closing }, now(5));
        let entry = journal.active().next().expect("it is under way");
        assert!(entry.remark.contains("survives the loss of none"), "{}", entry.remark);
        entry.stages.iter().map(|(stage, began)| (*stage, began.as_secs())).collect::<Vec<_>>()
    };
    let (receiving, sending) = ((Stage::Receiving, 0), (Stage::Sending, 3));
    assert_eq!(stages(true), [receiving, (Stage::Asking, 2), sending, (Stage::Closing, 5)]);
    // With a random key it is sent while it comes in.
    assert_eq!(stages(false), [receiving, sending, (Stage::Closing, 5)]);
}

/// Each time somebody else was faster, a change goes through its stages again.
#[test]
fn the_stages_of_a_change() {
    use crate::mutable::{Change, Consent};
    use ChangeStage::{Asking, Beaten, Making, Queued, Reading, Writing};
    let (id, mut journal) = (OperationId(1), Journal::default());
    let subject = Subject::New { format: crate::capability::MutableFormat::Sdmf, key: None };
    let change = Change::Overwrite(bytes::Bytes::new().into());
    journal.command(&Command::Change { id, subject, change, consent: Consent::Majority }, now(0));
    let told = [(Queued, 1), (Asking, 1), (Reading, 2), (Making, 2), (Writing, 3), (Beaten, 5), (Asking, 6)];
    for (stage, at) in told.into_iter().chain([(Reading, 8), (Asking, 8), (Writing, 9)]) {
        journal.stage(id, stage, now(at));
    }
    let entry = journal.active().next().expect("it is under way");
    let stages: Vec<_> = entry.stages.iter().map(|(stage, began)| (*stage, began.as_secs())).collect();
    // What took no time is left out.
    let expected = [
        (Stage::Keys, 0),
        (Stage::Asking, 1),
        (Stage::Making, 2),
        (Stage::Writing, 3),
        (Stage::Beaten, 5),
        (Stage::Asking, 6),
        (Stage::Writing, 9),
    ];
    assert_eq!(stages, expected);
    assert_eq!(entry.prepared, Some(Duration::from_secs(3)), "until it was written first");
    for round in 10..500 {
        journal.stage(id, [Asking, Beaten][round as usize % 2], now(round));
    }
    assert_eq!(journal.active().map(|entry| entry.stages.len()).max(), Some(JOURNAL_STAGES_MAX));
}

/// Who may look at the journal may not know what is in directories.
#[test]
fn no_name_stands_in_a_remark() {
    use crate::directory::{ChildError, EditError, EditProblem, Found, Name, NameError, NewTableError};
    use crate::mutable::{Change, ChangeError, Consent};
    let name = || Name::new("divorce.pdf").expect("a good name");
    let problems = [
        EditProblem::ReadOnly,
        EditProblem::NoSuchChild,
        EditProblem::Exists,
        EditProblem::WouldReplaceDirectory,
        EditProblem::NotAFile,
        EditProblem::NotADirectory,
        EditProblem::Changed { found: Found::OtherChild },
        EditProblem::Name(NameError::Slash),
        EditProblem::Child(ChildError::Nothing),
        EditProblem::Full,
    ];
    let edits = problems.map(|problem| ChangeError::edit(EditError { at: 0, name: name(), problem }, false));
    let tables = [
        NewTableError::Name { name: name(), problem: NameError::Slash },
        NewTableError::Child { name: name(), problem: ChildError::Nothing },
        NewTableError::Twice { name: name() },
    ];
    let id = OperationId(1);
    for error in edits.into_iter().chain(tables.map(ChangeError::Children)) {
        assert!(error.to_string().contains("divorce"), "its owner is told: {error}");
        let mut journal = Journal::default();
        let subject = Subject::New { format: crate::capability::MutableFormat::Sdmf, key: None };
        let change = Change::Overwrite(crate::payload::Payload::default());
        journal.command(&Command::Change { id, subject, change, consent: Consent::Majority }, now(0));
        journal.report(&Report::Changed { id, result: Err(Box::new(error)) }, now(1));
        let remark = &journal.recent().next().expect("it is over").remark;
        assert!(!remark.is_empty() && !remark.contains("divorce"), "{remark}");
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut journal = Journal::default();
    for id in 0..2 * JOURNAL_ACTIVE_MAX as u64 {
        journal.command(&upload(id), now(0));
    }
    assert_eq!(journal.active().count(), JOURNAL_ACTIVE_MAX);
    for id in 0..2 * JOURNAL_ACTIVE_MAX as u64 {
        journal.command(&Command::Cancel { id: OperationId(id) }, now(1));
    }
    assert_eq!((journal.active().count(), journal.recent().count()), (0, JOURNAL_RECENT_MAX));
}
