//! Directories on the command line: paths, drives, aliases, sharing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};
use tallac_tests::web::ask;
use tallac_tests::{Grid, Options, User, program};

#[test]
fn directories_are_made_listed_and_changed() {
    let user = User::of_a_grid();
    fs::write(user.path("f"), "content").expect("a file");
    let made = user.good(&["mkdir", "a/b"]);
    assert!(made.starts_with("URI:DIR2:"));
    assert_eq!(user.good(&["mkdir", "-p", "private:a/b/"]), made, "one that is there stays");
    assert!(user.good(&["mkdir", "--format=MDMF", "large"]).starts_with("URI:DIR2-MDMF:"));
    assert!(user.good(&["mkdir"]).starts_with("URI:DIR2:"));
    user.good(&["put", "-q", "f", "a/f"]);
    user.good(&["put", "-q", "f", "a/b/"]);
    user.good(&["put", "-q", "-m", "f", "a/m"]);
    let output = user.run_with(&["put", "-q", "-", "a/ from stdin"], b"typed").good();
    assert!(output.line().starts_with("URI:LIT:"));
    assert_eq!(user.good(&["ls", "-F", "a"]), " from stdin\nb/\nf\nm*");
    assert_eq!(user.good(&["get", "a/ from stdin"]), "typed");
    assert_eq!(user.good(&["get", &format!("{made}/f")]), "content");
    let long = user.good(&["ls", "-l", "a"]);
    let lines: Vec<&str> = long.lines().collect();
    assert!(lines[0].starts_with("-r--  5  20") && lines[0].ends_with("  from stdin"), "{long}");
    assert!(lines[1].starts_with("drwx  -  20"), "{long}");
    assert!(user.good(&["ls", "--uri", "a"]).contains(&format!("b            {made}")));
    assert!(!user.good(&["ls", "--readonly-uri", "a"]).contains("URI:DIR2:"));
    let json: serde_json::Value = serde_json::from_str(&user.good(&["ls", "--json", "a"])).expect("JSON");
    assert_eq!(json[1]["children"]["b"][1]["rw_uri"], made.as_str());

    // A mutable file is changed in place, by its path and by its capability.
    fs::write(user.path("f"), "other").expect("a file");
    let mutable = user.good(&["put", "-q", "f", "a/m"]);
    assert_eq!(user.good(&["get", "a/m"]), "other");
    fs::write(user.path("f"), "third").expect("a file");
    assert_eq!(user.good(&["put", "-q", "f", &mutable]), mutable);
    assert_eq!(user.good(&["get", "-q", "a/m"]), "third");

    // Whoever says that it is to be mutable may say in which format.
    assert!(user.good(&["put", "-q", "-m", "--format=MDMF", "f"]).starts_with("URI:MDMF:"));
    assert!(user.good(&["put", "-q", "-m", "--format=sdmf", "f"]).starts_with("URI:SSK:"));
    user.bad(&["put", "-q", "-m", "--format=chk", "f"], 2, "can never be changed");

    user.good(&["mv", "a/f", "a/g"]);
    user.good(&["mv", "a/g", "a/b/"]);
    user.good(&["mv", "a/b/g", "new/above/h"]);
    user.good(&["mv", "new/above/h", "new/above/ h "]);
    user.good(&["mv", "new/above/ h ", "new/above/ h "]);
    assert_eq!(user.good(&["ls", "new/above"]), " h ");
    user.good(&["ln", "a/b", "new/"]);
    assert_eq!(user.good(&["ls", "new/b"]), "f");
    user.good(&["ln", &made, "c"]);
    user.good(&["ln", "new/above/ h ", "new/b/f"]);
    assert_eq!(user.good(&["get", "c/f"]), "content");
    user.good(&["rm", "new/b"]);
    user.good(&["unlink", "c/f"]);
    assert_eq!(user.good(&["ls", "a/b"]), "");
}

#[test]
fn bad_input_is_told_in_one_sentence() {
    let user = User::of_a_grid();
    fs::write(user.path("f"), "content").expect("a file");
    user.good(&["mkdir", "a/b"]);
    user.good(&["put", "-q", "f", "f"]);
    let read_only = user.good(&["share", "a"]);
    let file = user.good(&["share", "f"]);
    user.take_changes();
    user.bad(&["ls", "nothing"], 2, "private:nothing is not there");
    user.bad(&["ls", "/a"], 2, "begin with a slash");
    user.bad(&["ls", "a//b"], 2, "cannot be empty");
    user.bad(&["ls", "URI:DIR2:nonsense"], 2, "not a capability");
    user.bad(&["ls", "elsewhere:x"], 2, "no alias \"elsewhere\"");
    user.bad(&["ls", "global:x"], 2, "vdrive.furl");
    user.bad(&["get", "a"], 2, "private:a is a directory");
    user.bad(&["get", "nothing"], 2, "is not there");
    user.bad(&["get", "f/"], 2, "leave the slash");
    user.bad(&["mkdir", "private:"], 2, "there already");
    user.bad(&["mkdir", "a/.."], 2, "\"..\"");
    user.bad(&["mkdir", "a/x\ny"], 2, "control characters");
    user.bad(&["mkdir", &format!("a/{}", "x".repeat(2_000))], 2, "longer than");
    user.bad(&["put", "f", &file], 2, "cannot be written to");
    user.bad(&["put", "f", &format!("{read_only}/x")], 2, "");
    user.bad(&["mv", "private:", "a/"], 2, "has no name");
    user.bad(&["mv", "a", "a/b/"], 2, "into itself");
    user.bad(&["mv", "f", "a"], 2, "is a directory that is there");
    user.bad(&["mv", "nothing", "x"], 2, "is not there");
    user.bad(&["ln", "f", "a"], 2, "is a directory that is there");
    user.bad(&["ln", &file, "a/"], 2, "has no name");
    user.bad(&["rm", "a/nothing"], 2, "is not there");
    user.bad(&["rm", "private:"], 2, "not in a directory");
    user.bad(&["share", "--write", "f"], 2, "can never be changed");
    user.bad(&["share", "--write", &read_only], 2, "you can only read it");
    assert_eq!(user.good(&["ls", "-F"]), "a/\nf");
}

#[test]
fn what_is_shared_only_reads_unless_asked() {
    let user = User::of_a_grid();
    fs::write(user.path("f"), "content").expect("a file");
    let write = user.good(&["mkdir", "a/b"]);
    user.good(&["put", "-q", "f", "a/b/f"]);
    let shared = user.run(&["share", "a/b"]).good();
    assert!(
        shared.line().starts_with("URI:DIR2-RO:") && shared.stderr.contains("can read"),
        "{}",
        shared.stderr
    );
    assert_eq!(user.good(&["share", "--write", "a/b"]), write);
    // A friend, with a drive of their own, reads all of it and changes nothing.
    assert_eq!(user.good(&["get", &format!("{}/f", shared.line())]), "content");
    user.bad(&["rm", &format!("{}/f", shared.line())], 2, "");
    assert_eq!(user.good(&["ls", "a/b"]), "f");
}

#[test]
fn one_personal_drive_is_made_by_many_commands_at_once() {
    let user = User::of_a_grid();
    let commands: Vec<_> = (0..5).map(|index| user.spawn(&["mkdir", &format!("d{index}")])).collect();
    let outputs =
        commands.into_iter().map(|child| child.wait_with_output().expect("a child can be waited for"));
    let said = outputs.map(|output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    let told = said.filter(|said| said.contains("Keep a copy")).count();
    assert_eq!(told, 1, "it is made once and told once");
    assert_eq!(user.good(&["ls", "-F"]), "d0/\nd1/\nd2/\nd3/\nd4/");
    let made = user.take_changes().iter().filter(|line| line.starts_with("POST /uri?")).count();
    assert_eq!(made, 1, "no second root was made");
    let path = user.node().join("private/personal-root.cap");
    assert_eq!(fs::metadata(&path).expect("it is kept").permissions().mode() & 0o777, 0o600);
    let cap = fs::read_to_string(&path).expect("it is kept");
    assert!(cap.starts_with("URI:DIR2:") && cap.lines().count() == 1);
    // Damaged, it is not replaced.
    fs::write(&path, "nothing").expect("a file");
    user.bad(&["ls"], 2, "is damaged");
    // Carried over, it is the same drive.
    fs::write(&path, &cap).expect("a file");
    assert_eq!(user.good(&["ls", &cap]), user.good(&["ls"]));
}

#[test]
fn aliases_name_directories() {
    let user = User::of_a_grid();
    user.good(&["create-alias", "work:"]);
    user.good(&["mkdir", "work:x/y"]);
    let shared = user.good(&["share", "work:x"]);
    let output = user.run_with(&["add-alias", "friend", "-"], shared.as_bytes()).good();
    assert!(output.line().contains("friend"));
    assert_eq!(user.good(&["ls", "friend:"]), "y");
    for (name, words) in [
        ("work", "already"),
        ("global", "shared drive"),
        ("private", "personal drive"),
        ("a b", "white space"),
    ] {
        user.bad(&["create-alias", name], 2, words);
        user.bad(&["add-alias", name, &shared], 2, words);
    }
    user.bad(&["add-alias", "x", "URI:LIT:krugkidfnzsa"], 2, "not that of a directory");
    let text = fs::read_to_string(user.node().join("private/aliases")).expect("a file");
    let listed = user.good(&["list-aliases"]);
    assert!(text.contains(&format!("friend: {shared}\n")) && listed.contains(&format!("friend: {shared}")));
    assert!(listed.contains("  work: URI:DIR2:"), "{listed}");
    assert!(!user.good(&["list-aliases", "--readonly-uri"]).contains("URI:DIR2:"));
    let json: serde_json::Value =
        serde_json::from_str(&user.good(&["list-aliases", "--json"])).expect("JSON");
    assert_eq!(json["friend"]["readonly"], shared.as_str());
    // Where no browser is, the address is told, and that it is a secret.
    let output = user.run(&["webopen", "work:x"]).good();
    if user.is_of_another() {
        assert!(output.line().ends_with("/x") && output.stderr.contains("capability"), "{}", output.stderr);
        return;
    }
    let address = output.line();
    assert!(output.stderr.contains("good once") && !address.contains("URI"), "{output:?}");
    let rest = address.strip_prefix("http://").expect("an address");
    let (authority, path) = rest.split_once('/').expect("a path");
    let led = ask(authority, "GET", &format!("/{path}"), b"");
    let to = led.header("Location").expect("a page");
    assert!(to.starts_with("/drive/") && to.trim_end_matches('/').ends_with("/x"), "{to}");
    assert_eq!(ask(authority, "GET", &format!("/{path}"), b"").status, 403, "it was good once");
}

#[test]
fn the_shared_drive_is_global() {
    let grid =
        Grid::start(&Options { servers: 3, shares: Some("1,1,3"), vdrive: true, ..Options::ten("blocking") });
    let node = grid.path("gw");
    fs::copy(grid.path("introducer/vdrive.furl"), node.join("vdrive.furl")).expect("a furl");
    let run = |args: &[&str]| {
        let output =
            Command::new(program()).arg("-d").arg(&node).args(args).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).trim_end().to_owned(), said)
    };
    // It learns of the drive at its next start.
    assert_eq!(run(&["ls", "global:"]).0, Some(2));
    let cap = grid.path("introducer/private/vdrive-root.cap");
    let begun = Instant::now();
    while !cap.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no shared root is made");
        std::thread::sleep(Duration::from_millis(50));
    }
    let cap = fs::read_to_string(cap).expect("a capability");
    fs::write(node.join("private/shared-root.cap"), &cap).expect("a file");
    let file = node.join("f");
    fs::write(&file, "for all").expect("a file");
    let file = file.to_str().expect("text");
    assert_eq!(run(&["mkdir", "global:talks"]).0, Some(0));
    assert_eq!(run(&["put", "-q", file, "global:talks/a"]).0, Some(0));
    assert_eq!(run(&["cp", "private:", "global:x"]).0, Some(2));
    assert_eq!(run(&["cp", file, "global:talks/b"]).0, Some(0));
    assert_eq!(run(&["mv", "global:talks/b", "c"]).0, Some(0));
    assert_eq!(run(&["ls", "global:talks"]).1, "a");
    assert_eq!(run(&["get", "global:talks/a"]).1, "for all");
    assert_eq!(run(&["ls", cap.trim()]).1, "talks");
    // With the right to read alone, nothing is changed or handed on for changing.
    let (code, shared, said) = run(&["share", "global:"]);
    assert_eq!(code, Some(0), "{said}");
    fs::write(node.join("private/shared-root.cap"), shared).expect("a file");
    assert_eq!(run(&["get", "global:talks/a"]).1, "for all");
    for args in [
        vec!["rm", "global:talks/a"],
        vec!["put", file, "global:b"],
        vec!["share", "--write", "global:talks"],
    ] {
        let (code, _, said) = run(&args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains("only read"), "{args:?}: {said}");
    }
}

#[test]
fn directories_are_no_files() {
    let user = User::of_a_grid();
    fs::write(user.path("f"), "content").expect("a file");
    fs::create_dir(user.path("d")).expect("a directory");
    let cap = user.good(&["mkdir", "a"]);
    user.bad(&["get", &cap], 2, "is a directory; list it with ls, fetch it with cp -r");
    user.bad(&["get", "private:"], 2, "is a directory");
    user.bad(&["put", "-q", "d", "b"], 2, "cp -r copies trees");
    user.bad(
        &["put", "-q", "f", "a"],
        2,
        "private:a is a directory; to put the file in it, end the path with a slash",
    );
    assert_eq!(user.good(&["ls", "-F"]), "a/");
    user.bad(&["share", "--write", &format!("{}/", user.good(&["share", "a"]))], 2, "only read");
    // What is typed wrongly is not repeated if it may be a key.
    user.bad(&["ls", &format!(":{cap}")], 2, "no alias before the colon");
    let help = user.good(&["webopen", "-h"]);
    assert!(help.contains("history") && help.contains("capability"), "{help}");
}
