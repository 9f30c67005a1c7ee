//! The program in the hands of a person, good input and bad.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tallac_tests::{Grid, Options, content, program};

fn three() -> Options {
    Options { servers: 3, ..Options::ten("blocking") }
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program()).args(args).output().expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn files_of_every_size_come_back() {
    let grid = Grid::start(&three());
    let segment = 1 << 20;
    for len in [0, 1, 55, 56, 57, 10_000, segment - 1, segment, segment + 1, 3 * segment + 5] {
        let stored = content(len as u64, len);
        let cap = grid.put(&stored);
        assert_eq!(cap.starts_with("URI:LIT:"), len <= 55, "{len} bytes");
        grid.check(&cap, &stored);
    }
}

#[test]
fn standard_input_random_keys_and_files() {
    let grid = Grid::start(&three());
    let stored = content(1, 2_500_000);
    let from_stdin = grid.command("gw", &["put", "-"], &stored).good().line();
    assert_eq!(from_stdin, grid.put(&stored), "the same content is the same file");
    let file = grid.path("gw").join("file");
    fs::write(&file, &stored).expect("a file");
    let file = file.to_str().expect("text");
    let random = |args: &[&str], stdin: &[u8]| grid.command("gw", args, stdin).good().line();
    let first = random(&["put", "--random-key", file], &[]);
    let second = random(&["put", "--random-key", file], &[]);
    let third = random(&["put", "--random-key", "-"], &stored);
    assert!(first != second && second != third && first != from_stdin);
    for cap in [&from_stdin, &first, &second, &third] {
        grid.check(cap, &stored);
    }
    let out = grid.path("gw").join("out");
    grid.command("gw", &["get", &first, out.to_str().expect("text")], &[]).good();
    assert_eq!(fs::read(&out).expect("it was written"), stored);
    let json = grid.command("gw", &["put", "--json", file], &[]).good().line();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON")["cap"], from_stdin.as_str());
}

#[test]
fn bad_input_is_told_apart() {
    let grid = Grid::start(&three());
    let cap = grid.put(&content(1, 1_000));
    let verify = "URI:CHK-Verifier:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:3:10:1000";
    let (last, rest) = (cap.chars().last().expect("a character"), &cap[..cap.len() - 1]);
    let cases: Vec<(String, i32, &str)> = vec![
        ("nonsense".into(), 2, "not a capability"),
        ("URI:CHK:".into(), 2, "not a capability"),
        (cap.replace("URI:CHK:", "URI:CHK:A"), 2, "not a capability"),
        (format!("{cap}:1"), 2, "not a capability"),
        (cap.replace(":3:10:", ":11:10:"), 2, "not a capability"),
        (verify.into(), 2, "verify capability"),
        (
            "URI:DIR2:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".into(),
            2,
            "is a directory",
        ),
        // A size that is not the file's.
        (format!("{rest}{}", if last == '1' { '2' } else { '1' }), 4, "contradicts the capability"),
    ];
    for (cap, code, words) in cases {
        let output = grid.get(&cap);
        assert_eq!(output.code, Some(code), "{cap}: {}", output.stderr);
        assert!(output.stderr.contains(words), "{cap}: {}", output.stderr);
    }
    let missing = grid.command("gw", &["put", "/nowhere/at/all"], &[]);
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    let directory = grid.command("gw", &["put", "/tmp"], &[]);
    assert!(directory.stderr.contains("is a directory"), "{}", directory.stderr);
    let out = grid.command("gw", &["get", &cap, "/nowhere/out"], &[]);
    assert_eq!(out.code, Some(1), "{}", out.stderr);
}

#[test]
fn a_failed_get_leaves_no_file() {
    let mut grid = Grid::start(&three());
    let cap = grid.put(&content(1, 1_000_000));
    (0..3).for_each(|index| grid.kill(&format!("s{index}")));
    let folder = grid.path("gw").join("folder");
    fs::create_dir(&folder).expect("a directory");
    let out = folder.join("out");
    let output = grid.command("gw", &["get", &cap, out.to_str().expect("text")], &[]);
    assert_eq!(output.code, Some(4), "{}", output.stderr);
    assert_eq!(fs::read_dir(&folder).expect("a directory").count(), 0);
}

#[test]
fn directories_from_nowhere() {
    let empty = tempfile::tempdir().expect("a directory");
    let path = empty.path().to_str().expect("text");
    let check = |args: &[&str], code: i32, words: &str| {
        let (got, errors) = run(args);
        assert_eq!(got, Some(code), "{args:?}: {errors}");
        assert!(errors.contains(words), "{args:?}: {errors}");
    };
    check(&["run", path], 2, "is no node directory");
    check(&["-d", path, "status"], 3, "was its node ever started");
    fs::write(empty.path().join("something"), "").expect("a file");
    check(&["create-node", path], 2, "not empty");
    let node = empty.path().join("node");
    let node = node.to_str().expect("text");
    check(&["create-node", node, "--introducer", "pb://nonsense"], 2, "introducer's furl");
    check(&["create-node", node, "--introducer", "/no/file"], 2, "neither a furl nor a file");
    check(&["create-node", node, "--shares", "3,7"], 2, "K,H,N");
    check(&["create-node", node, "--shares", "11,7,10"], 2, "not possible");
    check(&["create-node", node, "--shares", "3,11,10"], 2, "not possible");
    check(&["create-node", node, "--shares", "3,7,257"], 2, "not possible");
    check(&["create-node", node, "--reserved-space", "lots"], 2, "no size");
    check(&["create-node", node, "--listen", "here"], 2, "no address to listen on");
    let foolscap = "pb://abcdefghijklmnopqrstuvwxyz234567@tcp:127.0.0.1:1/name";
    check(&["create-node", node, "--introducer", foolscap], 2, "Foolscap");
    assert!(!Path::new(node).exists(), "a refused command makes nothing");
    let (code, errors) = run(&["create-node", node, "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(0), "{errors}");
    fs::write(Path::new(node).join("private/introducers.furl"), "what is this\n").expect("a file");
    check(&["run", node], 2, "introducers.furl, line 1");
    fs::write(Path::new(node).join("tallac.toml"), "nickname = 5").expect("a file");
    check(&["run", node], 2, "tallac.toml");
}

#[test]
fn ports_locks_and_signals() {
    let mut grid = Grid::start(&three());
    // A second node on the same directory.
    let path = grid.path("s0");
    let (code, errors) = run(&["run", path.to_str().expect("text")]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("another node runs on"), "{errors}");
    // Secrets are nobody else's.
    for file in [
        "private/node.pem",
        "private/node.privkey",
        "private/secret",
        "private/convergence",
        "private/storage.furl",
        "private/introducers.furl",
        "node.url",
    ] {
        let mode = fs::metadata(path.join(file)).expect(file).permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
    assert_eq!(fs::metadata(path.join("private")).expect("a directory").permissions().mode() & 0o077, 0);
    // SIGTERM and Ctrl-C stop cleanly.
    for (name, signal) in [("s0", "TERM"), ("s1", "INT"), ("introducer", "TERM")] {
        grid.signal(name, signal);
        assert_eq!(grid.wait_end(name, Duration::from_secs(10)), Some(0), "{}", grid.log(name));
    }
    // A port in use.
    let config = fs::read_to_string(path.join("tallac.toml")).expect("a configuration");
    let port =
        config.lines().find_map(|line| line.strip_prefix("listen = \"127.0.0.1:")).expect("an address");
    let port: u16 = port.trim_end_matches('"').parse().expect("a port");
    let _taken = TcpListener::bind(("127.0.0.1", port)).expect("the node has ended");
    let (code, errors) = run(&["run", path.to_str().expect("text")]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("another program uses the port"), "{errors}");
}

#[test]
fn a_key_survives_a_restart_and_no_secret_is_logged() {
    let mut grid = Grid::start(&three());
    let stored = content(1, 100_000);
    let cap = grid.put(&stored);
    grid.check(&cap, &stored);
    let id = grid.status("s0").expect("it runs")["nodeid"].clone();
    grid.kill("s0");
    grid.run("s0");
    grid.wait_until("s0", |status| status["nodeid"] == id);
    grid.wait_connected("gw", 3);
    grid.check(&cap, &stored);
    let mut secrets: Vec<String> = cap.split(':').skip(2).take(2).map(str::to_owned).collect();
    for name in ["gw", "s0"] {
        for file in ["node.privkey", "secret", "convergence", "storage.furl"] {
            let text = fs::read_to_string(grid.path(name).join("private").join(file)).expect(file);
            secrets.push(text.trim().rsplit('/').next().expect("a last part").to_owned());
        }
    }
    for name in ["gw", "s0", "s1", "introducer"] {
        let log = grid.log(name);
        for secret in &secrets {
            assert!(!log.contains(secret.as_str()), "{name} logged a secret");
        }
    }
}

/// Says something over HTTP and gives the whole answer.
fn http(grid: &Grid, request: &str) -> String {
    let url = fs::read_to_string(grid.path("gw").join("node.url")).expect("the node runs");
    let authority = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&authority).expect("it listens");
    let request = request.replace("HOST", &authority);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_web_api_answers_programs() {
    let grid = Grid::start(&three());
    let stored: Vec<u8> = (0..200_000u32).map(|i| b'a' + (i % 26) as u8).collect();
    let cap = grid.put(&stored);
    let get = |headers: &str| {
        http(&grid, &format!("GET /uri/{cap} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n{headers}\r\n"))
    };
    let check = |answer: String, starts: &str, parts: &[&str]| {
        assert!(answer.starts_with(starts), "{answer}");
        parts.iter().for_each(|part| assert!(answer.contains(part), "{part:?} in {answer}"));
    };
    check(
        get("Range: bytes=26-30\r\n"),
        "HTTP/1.1 206",
        &["Content-Range: bytes 26-30/200000", "\r\n\r\nabcde"],
    );
    check(get("Range: bytes=-3\r\n"), "HTTP/1.1 206", &["bytes 199997-199999/200000"]);
    check(get("Range: bytes=199999-\r\n"), "HTTP/1.1 206", &["Content-Length: 1\r\n"]);
    check(get("Range: bytes=200000-\r\n"), "HTTP/1.1 416", &["bytes */200000"]);
    check(get("Range: bytes=7-3\r\n"), "HTTP/1.1 200", &["Content-Length: 200000"]);
    let head = format!("HEAD /uri/{cap} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n");
    let head = http(&grid, &head);
    assert!(
        head.starts_with("HTTP/1.1 200")
            && head.contains("Content-Length: 200000")
            && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let etag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an ETag").to_owned();
    check(get(&format!("If-None-Match: {etag}\r\n")), "HTTP/1.1 304", &[]);
    let other = |line: &str, headers: &str| {
        http(&grid, &format!("{line} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n{headers}\r\n"))
    };
    check(other("GET /?t=json", ""), "HTTP/1.1 200", &["\"connection_status\": \"connected\""]);
    check(other("GET /nothing", ""), "HTTP/1.1 404", &[]);
    check(other("DELETE /uri", ""), "HTTP/1.1 405", &[]);
    check(
        other("PUT /uri", "Content-Length: 2\r\nOrigin: http://elsewhere\r\n"),
        "HTTP/1.1 403",
        &["another site"],
    );
    check(other("PUT /uri?format=sdmf", "Content-Length: 0\r\n"), "HTTP/1.1 200", &["\r\n\r\nURI:SSK:"]);
    check(other("PUT /uri?format=zip", "Content-Length: 0\r\n"), "HTTP/1.1 400", &["format="]);
    check(other("GET /uri/%zz", ""), "HTTP/1.1 400", &[]);
    // A body that ends early is no file.
    let url = fs::read_to_string(grid.path("gw").join("node.url")).expect("the node runs");
    let authority = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&authority).expect("it listens");
    stream.write_all(b"PUT /uri HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nshort").expect("it reads");
    stream.shutdown(std::net::Shutdown::Write).expect("it can be shut down");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.starts_with("HTTP/1.1 20"), "{answer}");
}

/// Shells and manuals are told what the command line takes, whatever it takes by then.
#[test]
fn shells_and_manuals_are_told() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(program()).args(["completions", shell]).output().expect("the program runs");
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(script.contains("create-introducer") && script.contains("caps-only"), "{shell}");
    }
    let bash = format!("source <({} completions bash) && complete -p tallac", program().display());
    let complete = Command::new("bash").args(["-c", &bash]).output().expect("bash runs");
    let said = String::from_utf8_lossy(&complete.stdout).into_owned();
    assert!(said.contains("-F _tallac"), "{said} {}", String::from_utf8_lossy(&complete.stderr));

    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man1");
    let (code, errors) = run(&["man-pages", pages.to_str().expect("text")]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let page = |name: &str| fs::read_to_string(pages.join(name)).expect("there is a page");
    assert!(page("tallac.1").contains("tallac\\-cp(1)"), "{}", page("tallac.1"));
    assert!(page("tallac-cp.1").contains("caps\\-only"), "{}", page("tallac-cp.1"));
    let nowhere = pages.join("tallac.1").join("deeper");
    let (code, errors) = run(&["man-pages", nowhere.to_str().expect("text")]);
    assert!(code == Some(1) && errors.contains("making"), "{errors}");
}
