//! `tallac cp`: trees up and down, twice, interrupted, and what cannot be copied.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use tallac_tests::{User, assert_same, content, tree};

/// Five hundred files with names and sizes that have been trouble somewhere.
fn make_odd_tree(top: &Path) {
    let odd = [
        "plain",
        "with space",
        " leading",
        "trailing ",
        "per%cent",
        "%2e%2e",
        "plus+plus",
        "ha#sh",
        "what?",
        "a&b=c",
        "quo\"te",
        "quo'te",
        "back\\slash",
        "-dash",
        "--help",
        "co:lon",
        "URI:CHK:x",
        "semi;colon",
        "st*r",
        "[br]",
        "til~de",
        "caf\u{e9}",
        "\u{fc}ber",
        "\u{65e5}\u{672c}\u{8a9e}",
        "\u{1f600}",
        "\u{202e}right",
        "...",
        "..a",
        ".hidden",
        "a.",
        "$HOME",
        "`x`",
        "<b>",
        "|pipe",
        "new\u{2028}line",
        "null\u{2400}",
        "{}",
        "@@named=",
        "x,y",
        "^",
    ];
    let long = "n".repeat(200);
    let longest = "\u{e9}".repeat(127);
    let sizes = [0, 1, 55, 56, 1_000, 70_000];
    let mut files = 0;
    for depth in 0..4 {
        let directory = (0..depth).fold(top.to_owned(), |path, level| path.join(odd[level * 7 + 1]));
        for branch in 0..3 {
            let directory = directory.join(format!("{} {branch}", odd[branch + 20]));
            fs::create_dir_all(&directory).expect("a directory");
            for name in odd.iter().copied().chain([long.as_str(), longest.as_str()]) {
                if files < 498 {
                    let len = sizes[files % sizes.len()];
                    fs::write(directory.join(name), content(files as u64, len)).expect("a file");
                    files += 1;
                }
            }
        }
    }
    fs::create_dir(top.join("empty directory")).expect("a directory");
    // Of several segments.
    fs::write(top.join("large"), content(1_000, 3_500_000)).expect("a file");
    fs::write(top.join("larger"), content(1_001, 1 << 21)).expect("a file");
}

#[test]
fn five_hundred_files_with_odd_names_go_up_and_down() {
    let user = User::of_a_grid();
    let up = user.path("up");
    make_odd_tree(&up);
    let all = tree(&up);
    assert_eq!(all.keys().filter(|name| !name.ends_with('/')).count(), 500);
    let said = user.good(&["cp", "-r", "up", "private:"]);
    assert!(said.starts_with("copied 500 files"), "{said}");
    // A file or two for each directory, not one for each file.
    let changes = user.take_changes();
    let linking = changes.iter().filter(|line| line.contains("set_children")).count();
    assert!(linking <= 2 * (all.len() - 500 + 1), "{linking} versions of directories");
    let said = user.good(&["cp", "-r", "private:up", "down"]);
    assert!(said.starts_with("copied 500 files"), "{said}");
    assert_same(&up, &user.path("down/up"));
    assert_eq!(user.take_changes(), Vec::<String>::new());

    // Once more, nothing is left to do: up, down, and up again from what came down.
    let shares = user.shares();
    let said = user.good(&["cp", "-r", "up", "private:"]);
    assert!(said.starts_with("copied 0 files (0 B), 500 there already"), "{said}");
    let said = user.good(&["cp", "-r", "private:up", "down"]);
    assert!(said.starts_with("copied 0 files (0 B), 500 there already"), "{said}");
    let said = user.good(&["cp", "-r", "down/up", "private:"]);
    assert!(said.starts_with("copied 0 files (0 B), 500 there already"), "{said}");
    assert_eq!(user.take_changes(), Vec::<String>::new());
    assert_eq!(user.shares(), shares, "not a byte of a share was written");
}

#[test]
fn what_has_changed_is_copied_and_nothing_else() {
    let user = User::of_a_grid();
    let top = user.path("tree");
    fs::create_dir_all(top.join("sub")).expect("a directory");
    for name in ["a", "b", "c", "sub/d"] {
        fs::write(top.join(name), content(1, 500)).expect("a file");
    }
    let copy = |from: &str, to: &str| user.good(&["cp", "-r", from, to]);
    assert!(copy("tree", "private:").starts_with("copied 4 files"));
    // Another content with the length and the time of the first.
    let modified = fs::metadata(top.join("a")).expect("a file").modified().expect("a time");
    fs::write(top.join("a"), content(2, 500)).expect("a file");
    File::options()
        .write(true)
        .open(top.join("a"))
        .and_then(|file| file.set_times(fs::FileTimes::new().set_modified(modified)))
        .expect("a time");
    assert!(copy("tree", "private:").starts_with("copied 1 file (500 B), 3 there already"));
    // One that somebody else has replaced, and one that somebody has removed.
    user.good(&["put", "-q", "tree/a", "private:tree/b"]);
    user.good(&["rm", "private:tree/sub/d"]);
    assert!(
        copy("tree", "private:").starts_with("copied 2 files (1000 B), 2 there already"),
        "the entry counts, too"
    );
    assert!(copy("private:tree", "down").starts_with("copied 4 files"));
    assert_same(&top, &user.path("down/tree"));
    fs::write(user.path("down/tree/c"), "mine").expect("a file");
    fs::remove_file(user.path("down/tree/b")).expect("a file");
    assert!(copy("private:tree", "down").starts_with("copied 2 files (1000 B), 2 there already"));
    assert_same(&top, &user.path("down/tree"));
}

#[test]
fn targets_are_chosen_as_ever() {
    let user = User::of_a_grid();
    fs::create_dir_all(user.path("d/e")).expect("a directory");
    fs::write(user.path("d/f"), "one").expect("a file");
    fs::write(user.path("g"), "two").expect("a file");
    let ls = |path: &str| user.good(&["ls", "-F", path]).replace('\n', " ");
    user.good(&["cp", "g", "private:"]);
    user.good(&["cp", "g", "private:h"]);
    user.good(&["cp", "g", "d/f", "private:new"]);
    user.good(&["cp", "-r", "d", "private:dirs"]);
    user.good(&["cp", "-r", "d/", "private:"]);
    user.good(&["cp", "g", "private:x/y/z"]);
    assert_eq!(ls("private:"), "d/ dirs/ g h new/ x/");
    assert_eq!(ls("new"), "f g");
    assert_eq!(ls("dirs"), "d/");
    assert_eq!(ls("x/y"), "z");
    // A capability has no name: what is in it is copied.
    let cap = user.good(&["share", "d"]);
    user.good(&["cp", "-r", &cap, "out"]);
    assert_same(&user.path("d"), &user.path("out"));
    user.good(&["cp", "private:g", "h"]);
    assert_eq!(fs::read(user.path("h")).expect("a file"), b"two");
    user.good(&["cp", "private:g", "private:new/f", "out"]);
    assert_eq!(fs::read(user.path("out/g")).expect("a file"), b"two");
    // What makes no sense is told before anything is done.
    user.take_changes();
    user.bad(&["cp", "d", "private:"], 2, "add -r");
    user.bad(&["cp", "-r", "d", "private:g"], 2, "no directory");
    user.bad(&["cp", "g", "d/f", "private:g"], 2, "no directory");
    user.bad(&["cp", "g", "private:g/"], 2, "no directory");
    user.bad(&["cp", "g", "d/f", "d/../g", "private:"], 2, "two sources have the name");
    user.bad(&["cp", &user.good(&["ls", "--uri", "g"]).replacen("g  ", "", 1), "private:"], 2, "has no name");
    user.bad(&["cp", "-r", &cap, "g", "private:"], 2, "copy it alone");
    user.bad(&["cp", "g", "h"], 2, "nothing of this is in the grid");
    user.bad(&["cp", "g", "private:g", "d"], 2, "cannot be copied to this machine");
    user.bad(&["cp", "nothing", "private:"], 2, "cannot be read");
    user.bad(&["cp", "private:nothing", "d"], 2, "private:nothing is not there");
    user.bad(&["cp", "private:g", "no/such/place"], 2, "cannot be used");
    user.bad(&["cp", "--caps-only", "g", "private:"], 2, "--caps-only");
    user.bad(&["cp", "g", "nobody:x"], 2, "no alias \"nobody\"");
    user.bad(&["cp", "g", &cap], 2, "only read");
    assert_eq!(user.take_changes(), Vec::<String>::new());
}

#[test]
fn within_the_grid_files_are_linked() {
    let user = User::of_a_grid();
    fs::write(user.path("f"), content(1, 1_000)).expect("a file");
    fs::write(user.path("m"), "before").expect("a file");
    user.good(&["cp", "f", "private:a/sub/f"]);
    user.good(&["put", "-q", "--mutable", "m", "private:a/m"]);
    let uri = |path: &str| user.good(&["ls", "--uri", path]).rsplit("  ").next().expect("a cell").to_owned();
    let mutable = uri("a/m");
    user.take_changes();
    let said = user.good(&["cp", "-r", "private:a", "private:b"]);
    assert!(said.contains("copied 1 file (6 B), linked 1, made 3 directories"), "{said}");
    assert_eq!(uri("b/a/sub/f"), uri("a/sub/f"));
    assert_ne!(uri("b/a/m"), mutable, "a copy of what it holds now");
    assert_eq!(user.good(&["cp", "-r", "private:a", "private:b"]), "copied 0 files (0 B), 2 there already");
    user.good(&["cp", "-r", "--caps-only", "private:a", "private:c"]);
    assert_eq!(uri("c/a/m"), mutable);
    // A mutable file keeps its capability, and is written only if its content is another.
    fs::write(user.path("m"), "after").expect("a file");
    user.take_changes();
    user.good(&["cp", "m", "private:a/m"]);
    assert_eq!(user.take_changes().len(), 1);
    user.good(&["cp", "m", "private:a/m"]);
    user.good(&["cp", "m", &mutable]);
    assert_eq!(user.take_changes(), Vec::<String>::new());
    assert_eq!((uri("a/m"), user.good(&["get", "-q", "a/m"])), (mutable, "after".into()));
    // Capabilities instead of contents.
    user.good(&["cp", "-r", "--caps-only", "private:a", "caps"]);
    assert_eq!(fs::read_to_string(user.path("caps/a/sub/f")).expect("a file"), uri("a/sub/f"));
    // A directory that is copied into itself.
    let output = user.run(&["cp", "-r", "private:a", "private:a/sub"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("not copied into itself"), "{}", output.stderr);
}

#[test]
fn walks_of_cycles_end() {
    let user = User::of_a_grid();
    fs::write(user.path("f"), "x").expect("a file");
    user.good(&["cp", "f", "private:a/b/f"]);
    user.good(&["ln", "a", "a/b/a"]);
    user.good(&["ln", "a/b", "a/b/itself"]);
    for to in ["down", "private:copy"] {
        let output = user.run(&["cp", "-r", "private:a", to]);
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        assert_eq!(output.stderr.matches("it is itself in").count(), 2, "{}", output.stderr);
        assert!(output.line().starts_with(if to == "down" {
            "copied 1 file"
        } else {
            "copied 0 files (0 B), linked 1"
        }));
    }
    assert_eq!(tree(&user.path("down")).keys().collect::<Vec<_>>(), ["a/", "a/b/", "a/b/f"]);
}

#[test]
fn what_cannot_be_copied_is_told_and_the_rest_is_copied() {
    let user = User::of_a_grid();
    let top = user.path("tree");
    fs::create_dir_all(top.join("sub")).expect("a directory");
    fs::write(top.join("good"), "good").expect("a file");
    symlink("good", top.join("link")).expect("a link");
    let _socket = UnixListener::bind(top.join("socket")).expect("a socket");
    assert!(Command::new("mkfifo").arg(top.join("pipe")).status().expect("mkfifo runs").success());
    let output = user.run(&["cp", "-r", "tree", "private:"]).good();
    assert_eq!(output.stderr.matches("skipped: ").count(), 2, "{}", output.stderr);
    assert!(
        output.line().ends_with("copied 2 files (8 B), made 2 directories, skipped 2"),
        "{}",
        output.line()
    );
    user.bad(&["cp", "tree/pipe", "private:"], 2, "neither a file nor a directory");

    symlink(&top, top.join("sub/loop")).expect("a link");
    symlink("nowhere", top.join("dangling")).expect("a link");
    fs::write(top.join(OsStr::from_bytes(b"\xff\xfe")), "x").expect("a file");
    fs::write(top.join("e\u{301}"), "one").expect("a file");
    fs::write(top.join("\u{e9}"), "other").expect("a file");
    fs::write(top.join("sub/f"), "f").expect("a file");
    user.good(&["mkdir", "private:tree/sub/f"]);
    let output = user.run(&["cp", "-r", "tree", "private:"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    for words in
        ["leads back", "leads nowhere", "not in Unicode", "normal form", "a directory is where the file"]
    {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
    assert!(output.line().ends_with("skipped 2, 5 failed"), "{}", output.line());
    assert_eq!(user.good(&["ls", "private:tree"]), "good\nlink\nsub\n\u{e9}");

    // The other way round.
    fs::create_dir_all(user.path("down/tree/good")).expect("a directory");
    fs::write(user.path("down/tree/sub"), "a file").expect("a file");
    let output = user.run(&["cp", "-r", "private:tree", "down"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.line().ends_with("copied 2 files (7 B), 2 failed"), "{}{}", output.line(), output.stderr);
}

#[test]
fn a_file_that_changes_all_the_time_is_not_copied() {
    let user = User::of_a_grid();
    fs::write(user.path("log"), content(1, 20_000_000)).expect("a file");
    let over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut log = File::options().append(true).open(user.path("log")).expect("a file");
                while !over.load(Ordering::Relaxed) {
                    log.write_all(b"\n").expect("a file");
                }
            });
        }
        let output = user.run(&["cp", "log", "private:"]);
        over.store(true, Ordering::Relaxed);
        output
    });
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("while it was read; nothing was stored"), "{}", output.stderr);
    assert_eq!(user.good(&["ls"]), "");
    user.good(&["cp", "log", "private:"]);
}

/// Ends a command as Ctrl-C does.
#[track_caller]
fn interrupt(mut child: Child) {
    assert!(
        Command::new("kill").arg("-INT").arg(child.id().to_string()).status().expect("kill runs").success()
    );
    assert_eq!(child.wait().expect("a child can be waited for").code(), Some(130));
}

#[test]
fn an_interrupted_copy_is_taken_up_again() {
    let user = User::of_a_grid();
    let top = user.path("tree");
    for index in 0..120 {
        let directory = top.join(format!("d{}", index % 4));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join(format!("f{index}")), content(index, 2_000)).expect("a file");
    }
    user.good(&["ls"]);
    user.take_changes();
    let child = user.spawn(&["cp", "-r", "tree", "private:"]);
    user.wait_requests(40);
    interrupt(child);
    let stored = user.take_changes().iter().filter(|line| line.starts_with("PUT ")).count();
    assert!((10..120).contains(&stored), "{stored} of 120 were begun");
    let said = user.good(&["cp", "-r", "tree", "private:"]);
    let again = user.take_changes().iter().filter(|line| line.starts_with("PUT ")).count();
    assert!(stored + again <= 120 + 6, "{stored} and then {again}, of 120 with 6 at once; {said}");
    assert!(said.contains("there already"), "{said}");

    let child = user.spawn(&["cp", "-r", "private:tree", "down"]);
    user.wait_requests(40);
    interrupt(child);
    assert!(tree(&user.path("down")).keys().all(|name| !name.contains(".tallac")), "litter");
    let some = tree(&user.path("down"));
    assert!(
        some.iter().all(|(name, content)| name.ends_with('/') || content.len() == 2_000),
        "whole files only"
    );
    user.good(&["cp", "-r", "private:tree", "down"]);
    assert_same(&top, &user.path("down/tree"));
}
