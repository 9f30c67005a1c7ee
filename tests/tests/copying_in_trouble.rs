//! `tallac cp` when something is against it: files that change or vanish, full disks, other commands, and
//! gateways that lie.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tallac_tests::{User, assert_same, content, program, tree};

#[test]
fn two_copies_at_once_lose_nothing_of_each_other() {
    let user = User::of_a_grid();
    for tree in ["one", "two"] {
        for directory in 0..20 {
            let directory = user.path(tree).join(format!("photos/d{directory}"));
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(directory.join(tree), tree).expect("a file");
        }
    }
    user.good(&["mkdir", "all"]);
    let commands = ["one/photos", "two/photos"].map(|from| user.spawn(&["cp", "-r", from, "private:all"]));
    for child in commands {
        let output = child.wait_with_output().expect("a child can be waited for");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let directories = user.good(&["ls", "all/photos"]);
    assert_eq!(directories.lines().count(), 20);
    for directory in directories.lines() {
        assert_eq!(user.good(&["ls", &format!("all/photos/{directory}")]), "one\ntwo", "{directory}");
    }
    // The record that both have written to at once knows the files of both.
    user.take_changes();
    for from in ["one/photos", "two/photos"] {
        let said = user.good(&["cp", "-r", from, "private:all"]);
        assert!(said.starts_with("copied 0 files (0 B), 20 there already"), "{said}");
    }
    assert_eq!(user.take_changes(), Vec::<String>::new());
}

#[test]
fn a_mutable_file_is_not_overwritten_with_a_mixture() {
    let user = User::of_a_grid();
    fs::write(user.path("before"), "before").expect("a file");
    fs::write(user.path("log"), content(1, 4_000_000)).expect("a file");
    user.good(&["put", "-q", "--mutable", "before", "private:m"]);
    let over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            let log = File::options().write(true).open(user.path("log")).expect("a file");
            for index in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                // The length stays.
                log.write_all_at(&[index as u8], index % 4_000_000).expect("a file");
            }
        });
        let output = user.run(&["cp", "log", "private:m"]);
        over.store(true, Ordering::Relaxed);
        output
    });
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("while it was read; nothing was stored"), "{}", output.stderr);
    assert_eq!(user.good(&["get", "-q", "m"]), "before");
    user.good(&["cp", "log", "private:m"]);
}

#[test]
fn files_that_vanish_or_cannot_be_read_are_told() {
    let user = User::of_a_grid();
    let top = user.path("tree");
    fs::create_dir(&top).expect("a directory");
    for index in 0..60 {
        fs::write(top.join(format!("f{index:02}")), content(index, 2_000)).expect("a file");
    }
    // The system says that it is a file without content, and that it cannot be read.
    symlink("/proc/self/mem", top.join("bad")).expect("a link");
    user.good(&["ls"]);
    user.take_changes();
    let child = user.spawn(&["cp", "-r", "tree", "private:"]);
    user.wait_requests(8);
    for index in 50..60 {
        fs::remove_file(top.join(format!("f{index}"))).expect("a file");
    }
    let output = child.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("it vanished").count(), 10, "{said}");
    assert!(said.contains("tree/bad: "), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("copied 50 files"));
    assert_eq!(user.good(&["ls", "tree"]).lines().count(), 50, "nothing stands for what was not read");
}

#[test]
fn a_disk_that_is_full_is_told_and_nothing_half_written_stays() {
    let user = User::of_a_grid();
    for (name, len) in [("small", 1_000), ("large", 300_000)] {
        fs::create_dir_all(user.path("tree")).expect("a directory");
        fs::write(user.path("tree").join(name), content(1, len)).expect("a file");
    }
    user.good(&["cp", "-r", "tree", "private:"]);
    // No file may become longer than 64 kB; the signal that goes with it is ignored.
    let limited = |args: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 128; exec \"$0\" -d \"$1\" {args}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program()).arg(user.node()).current_dir(user.path(""));
        command.output().expect("sh runs")
    };
    for (args, into) in [("cp -r private:tree down", "down/tree"), ("get private:tree/large out", "")] {
        let output = limited(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("large") || said.contains("out"), "{said}");
        assert!(said.contains("File too large"), "{said}");
        let left = fs::read_dir(user.path(into)).expect("a directory").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "small").collect();
        assert!(left.iter().all(|name| ["node", "tree", "down"].iter().any(|good| name == good)), "{left:?}");
    }
    user.good(&["cp", "-r", "private:tree", "down"]);
    assert_same(&user.path("tree"), &user.path("down/tree"));
    // What a command has to say is not lost without a word either.
    for args in [
        vec!["get", "-q", "tree/large"],
        vec!["share", "tree"],
        vec!["ls"],
        vec!["cp", "tree/small", "private:"],
    ] {
        let full = File::options().write(true).open("/dev/full").expect("it is there");
        let mut command = Command::new(program());
        let output =
            command.arg("-d").arg(user.node()).args(&args).current_dir(user.path("")).stdout(full).output();
        let output = output.expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("No space left"), "{args:?}: {said}");
    }
}

#[test]
fn what_a_crash_left_is_taken_away() {
    let user = User::of_a_grid();
    fs::create_dir_all(user.path("down/tree")).expect("a directory");
    fs::create_dir_all(user.path("tree")).expect("a directory");
    fs::write(user.path("tree/f"), "x").expect("a file");
    user.good(&["cp", "-r", "tree", "private:"]);
    let litter = |name: &str, age: u64| {
        let file = File::create(user.path("down/tree").join(name)).expect("a file");
        let modified = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_times(fs::FileTimes::new().set_modified(modified)).expect("a time");
        file
    };
    litter(".tallac-part-old", 1_000);
    litter(".tallac-part-young", 0);
    litter("mine", 1_000);
    let held = litter(".tallac-part-held", 1_000);
    held.lock().expect("it can be locked");
    user.good(&["cp", "-r", "private:tree", "down"]);
    let left: Vec<String> = tree(&user.path("down/tree")).into_keys().collect();
    assert_eq!(left, [".tallac-part-held", ".tallac-part-young", "f", "mine"]);
}

#[test]
fn who_may_read_a_file_stays_when_its_content_changes() {
    let user = User::of_a_grid();
    fs::write(user.path("f"), "new").expect("a file");
    user.good(&["cp", "f", "private:"]);
    for name in ["mine", "also"] {
        fs::write(user.path(name), "old").expect("a file");
        fs::set_permissions(user.path(name), fs::Permissions::from_mode(0o600)).expect("a file");
    }
    user.good(&["cp", "private:f", "mine"]);
    user.good(&["get", "-q", "private:f", "also"]);
    for name in ["mine", "also"] {
        assert_eq!(fs::read(user.path(name)).expect("a file"), b"new");
        assert_eq!(fs::metadata(user.path(name)).expect("a file").permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn ten_thousand_files_in_one_directory() {
    let user = User::of_a_grid();
    let top = user.path("many");
    fs::create_dir(&top).expect("a directory");
    for index in 0..10_000 {
        fs::write(top.join(format!("file number {index}")), format!("{index}")).expect("a file");
    }
    let begun = Instant::now();
    let timed = |what: &str, args: &[&str]| {
        let begun = Instant::now();
        let said = user.good(args);
        println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        said
    };
    let said = timed("up", &["cp", "-r", "many", "private:"]);
    assert!(said.starts_with("copied 10000 files"), "{said}");
    assert!(timed("up again", &["cp", "-r", "many", "private:"]).contains("10000 there already"));
    assert!(timed("down", &["cp", "-r", "private:many", "down"]).starts_with("copied 10000 files"));
    assert_same(&top, &user.path("down/many"));
    assert!(timed("down again", &["cp", "-r", "private:many", "down"]).contains("10000 there already"));
    assert_eq!(timed("ls -l", &["ls", "-l", "many"]).lines().count(), 10_000);
    assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", begun.elapsed());
}

/// A gateway whose only directory has these children, and whose every file is the same.
fn lying_gateway(children: serde_json::Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it listens").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let mut directory = serde_json::json!(["dirnode", { "ro_uri": DIRECTORY, "children": children }]);
            let writable = DIRECTORY.replace("-RO", "");
            if line.contains("DIR2%3A") {
                directory[1]["rw_uri"] = writable.into();
            }
            let body = if line.contains("t=json") { directory.to_string() } else { "owned".to_owned() };
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    address
}

const DIRECTORY: &str =
    "URI:DIR2-RO:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn names_from_the_grid_lead_nowhere_else() {
    let file = serde_json::json!(["filenode", { "ro_uri": "URI:LIT:n53w4zle", "size": 5 }]);
    let names = ["..", ".", "", "../up", "/tmp/tallac-owned", "a/b", "nul\0", &"x".repeat(256), "good"];
    let mut children: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| ((*name).to_owned(), file.clone())).collect();
    children.insert("back".into(), serde_json::json!(["dirnode", { "ro_uri": DIRECTORY }]));
    let user = User::of_gateway(&lying_gateway(children.into()));
    let output = user.run(&["cp", "-r", DIRECTORY, "in/down"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(
        output.line().contains("copied 1 file") && output.line().ends_with("9 failed"),
        "{}",
        output.line()
    );
    let found = tree(&user.path("in"));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["down/", "down/good"]);
    // And none of them plays with the terminal.
    assert!(!output.stderr.contains('\0'));
}

#[test]
fn a_gateway_that_goes_away_ends_the_copy() {
    let user = User::of_gateway("127.0.0.1:1");
    fs::write(user.path("f"), "x").expect("a file");
    let output = user.run(&["cp", "f", "private:"]);
    assert!(matches!(output.code, Some(1 | 3 | 5)), "{:?} {}", output.code, output.stderr);
}

#[test]
fn what_is_of_a_kind_not_known_is_not_replaced() {
    let future = serde_json::json!({ "f": ["unknown", { "ro_uri": "imm.URI:FUTURE:x" }] });
    let user = User::of_gateway(&lying_gateway(future));
    fs::write(user.path("f"), "mine").expect("a file");
    let to = DIRECTORY.replace("-RO", "");
    user.bad(&["cp", "f", &to], 2, "of a kind that this node does not know");
    assert_eq!(user.take_changes(), Vec::<String>::new());
}

#[test]
fn names_of_the_grid_that_are_one_in_normal_form_are_told() {
    let file = |cap: &str| serde_json::json!(["filenode", { "ro_uri": cap }]);
    let children = serde_json::json!({ "e\u{301}": file("URI:LIT:ae"), "\u{e9}": file("URI:LIT:ai") });
    let user = User::of_gateway(&lying_gateway(children));
    let to = DIRECTORY.replace("-RO:a", ":b");
    let output = user.run(&["cp", "-r", DIRECTORY, &to]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert_eq!(output.stderr.matches("normal form").count(), 1, "{}", output.stderr);
    assert!(output.line().ends_with("linked 1, 1 failed"), "{}", output.line());
}

/// A gateway with a chain of directories, each linked twice in the one before: a few directories, and more
/// ways to them than anybody could walk.
fn branching_gateway() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it listens").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let letter = line.split("%3A").nth(2).and_then(|key| key.bytes().next()).unwrap_or(b'a');
            let next = serde_json::json!(["dirnode", { "ro_uri": directory(letter + 1) }]);
            let children = if letter < b'n' {
                serde_json::json!({ "x": next, "y": next })
            } else {
                serde_json::json!({})
            };
            let body = serde_json::json!(["dirnode", { "ro_uri": directory(letter), "children": children }]);
            let body = body.to_string();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    address
}

fn directory(letter: u8) -> String {
    DIRECTORY.replacen(":a", &format!(":{}", char::from(letter)), 1)
}

#[test]
fn a_tree_with_more_branches_than_can_be_copied_ends() {
    let user = User::of_gateway(&branching_gateway());
    let output = user.run(&["cp", "-r", &directory(b'a'), "down"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("more than 1000 places"), "{}", output.stderr);
    assert!(tree(&user.path("down")).len() < 14 * 2_000);
}
