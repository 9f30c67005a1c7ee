//! What is read of mutable files and directories when the newest version is damaged: an older one, and
//! the reader is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tallac_tests::web::escaped;
use tallac_tests::{Grid, Options};

/// Servers that are put back to an earlier state, as after a restored backup.
const OLD: [&str; 2] = ["s2", "s3"];
/// The server whose shares of the newest version are damaged; two shares are needed.
const DAMAGED: &str = "s1";

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(status.success());
}

/// The files below a directory.
fn files(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Flips a bit of the block in a container with an SDMF share: it begins after 468 bytes, and has the
/// place of its block after 87.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a share");
    let place: [u8; 4] = bytes[468 + 87..][..4].try_into().expect("four bytes");
    bytes[468 + u32::from_be_bytes(place) as usize] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn an_older_version_is_told() {
    let runtimes = vec!["blocking", "async-std", "smol"];
    let mut grid = Grid::start(&Options { servers: 4, runtimes, shares: Some("2,2,4"), vdrive: false });
    let directory = format!("/uri/{}", escaped(&grid.ask("POST", "/uri?t=mkdir", b"").good()));
    let link = |name: &str| format!("{directory}?t=uri&name={name}&uri=URI:LIT:me");
    grid.ask("POST", &link("first"), b"").good();
    let stored = grid.ask("PUT", "/uri?format=sdmf", b"one");
    assert_eq!(stored.header("Tallac-Placement"), Some("4 of 4 shares on 4 servers"));
    let file = stored.good();
    let (file_path, cap) = (format!("/uri/{}", escaped(&file)), file);

    let kept = |name: &str| grid.path(&format!("kept-{name}"));
    let (kept, shares) = (OLD.map(kept), OLD.map(|name| grid.path(name).join("storage/shares")));
    OLD.iter().for_each(|name| grid.stop(name));
    shares.iter().zip(&kept).for_each(|(shares, kept)| copy(shares, kept));
    OLD.iter().for_each(|name| grid.run(name));
    grid.wait_connected("gw", 4);
    grid.ask("POST", &link("second"), b"").good();
    grid.ask("PUT", &file_path, b"two!").good();
    let newest = grid.ask("GET", &format!("{directory}?t=json"), b"");
    assert_eq!(newest.header("Tallac-Outdated"), None);
    assert!(newest.good().contains("second"));

    OLD.iter().for_each(|name| grid.stop(name));
    shares.iter().zip(&kept).for_each(|(shares, kept)| copy(kept, shares));
    files(&grid.path(DAMAGED).join("storage/shares")).iter().for_each(|path| damage(path));
    OLD.iter().for_each(|name| grid.run(name));
    grid.wait_connected("gw", 4);
    for path in [format!("{directory}?t=json"), directory.clone(), format!("{directory}/first?t=json")] {
        let answer = grid.ask("GET", &path, b"");
        assert!(answer.header("Tallac-Outdated").is_some_and(|why| why.contains("newer version")), "{path}");
        let text = answer.good();
        assert!(!text.contains("second"), "too few good shares of that are there: {text}");
    }
    assert!(grid.ask("GET", &file_path, b"").header("Tallac-Outdated").is_some());
    assert_eq!(grid.ask("GET", &file_path, b"").good(), "one");
    // What has nothing to do with it is not marked, on a connection of its own or on the same.
    assert_eq!(grid.ask("GET", "/uri/URI:LIT:me", b"").header("Tallac-Outdated"), None);

    for args in [vec!["ls", &directory[5..].replace("%3A", ":")], vec!["get", &cap]] {
        let output = grid.command("gw", &args, b"");
        assert!(output.stderr.contains("warning: this is an older version"), "{args:?}: {}", output.stderr);
    }
}
