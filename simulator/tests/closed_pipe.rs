//! Whoever reads no more of what a command prints, such as `head`, has enough: the command ends, and says nothing.

use std::process::{Command, Stdio};

/// Runs a command whose output nobody reads.
fn unread(arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallac-simulator"));
    command.args(arguments).stdout(writer).stderr(Stdio::piped());
    let output = command.output().expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn commands_end_quietly_when_nobody_reads() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/content-not-synced.ron");
    for arguments in [
        &["run", "--seeds", "0..1"][..],
        &["trace", "--seed", "1"],
        &["hash", "--seed", "1"],
        &["plan", "--seed", "1"],
        &["replay", file, "--trace"],
        &["shrink", "--seed", "1"],
        &["size", "--servers", "20", "--clients", "1", "--files", "1", "--len", "1000"],
        &["writers", "--seeds", "0..1"],
        &["exhaust", "--turns", "0"],
    ] {
        let (code, said) = unread(arguments);
        assert_eq!((code, said.as_str()), (Some(141), ""), "{arguments:?}");
    }
}
