//! Scripts of failures that were found once, in `regressions/`, and how scripts are made and replayed.

use std::path::Path;
use std::process::{Command, Output};
use tallac_simulator::disk::Lie;
use tallac_simulator::plan::{Plan, Profile};
use tallac_simulator::run::run_plan;
use tallac_simulator::script::Script;
use tallac_simulator::shrink::shrink;

fn program(words: &[&str], file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallac-simulator"));
    command.args(words).arg(file).output().expect("the program runs")
}

/// What went wrong once goes well.
#[test]
fn regressions_stay_mended() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut scripts = 0;
    for entry in std::fs::read_dir(directory).expect("the scripts are there") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "ron") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let script = Script::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(script.mutant, None, "{}: defects are put in elsewhere", path.display());
        let outcome = run_plan(&script.plan);
        assert!(outcome.is_good(), "{} showed {}: {outcome}", path.display(), script.shows);
        scripts += 1;
    }
    assert!(scripts > 0, "no script was found");
}

/// A failing seed becomes a short script, and the script fails in the same way, here and in the program.
#[test]
fn a_failing_seed_becomes_a_script() {
    let profile = Profile { lie: Lie::NoContentSync, looks_under_acks: false, ..Profile::default() };
    let lost =
        |plan: &Plan| run_plan(plan).wrong.first().is_some_and(|wrong| wrong.starts_with("lost: a file"));
    let plan = (0..20).map(|seed| Plan::draw(seed, &profile)).find(lost).expect("disks that lie lose files");
    let before = plan.steps.len();
    let small = shrink(&plan, |_, _| {}).expect("it goes wrong");
    let shows = run_plan(&small).wrong.remove(0);
    assert!(shows.starts_with("lost: a file"), "{shows}");
    assert!(small.steps.len() <= 5 && small.steps.len() < before, "{:#?}", small.steps);
    assert!(small.slot_faults.is_empty(), "{:#?}", small.slot_faults);

    let directory = tempfile::tempdir().expect("room for a file");
    let file = directory.path().join("lost.ron");
    std::fs::write(&file, Script { shows: shows.clone(), mutant: None, plan: small }.write()).expect("room");
    let output = program(&["replay"], &file);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&shows), "{said}");

    // Told event by event, and drawn.
    let page = directory.path().join("lost.html");
    let page_option = format!("--timeline={}", page.display());
    let output = program(&["replay", "--trace", &page_option], &file);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&shows) && said.contains("crash NodeId"), "{said}");
    let page = std::fs::read_to_string(page).expect("it was drawn");
    assert!(page.contains("tr class=wrong") && page.contains("server9"), "{page}");
}

#[test]
fn what_is_no_script_is_refused_in_a_sentence() {
    let directory = tempfile::tempdir().expect("room for a file");
    let file = directory.path().join("odd.ron");
    for text in ["", "(", "(shows: 1)", "#![enable(implicit_some)]"] {
        std::fs::write(&file, text).expect("room");
        let output = program(&["replay"], &file);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("odd.ron") && !said.contains("panicked"), "{said}");
    }
    let output = program(&["replay"], Path::new("/nowhere/at-all.ron"));
    assert_eq!(output.status.code(), Some(2));
}
