//! Browsers that go away in the middle, uploads that are never finished, and a disk that fills under the
//! spool, at a real node: what was begun for nobody ends, and nothing of it is left.

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::time::{Duration, Instant};
use tallac_tests::figures::memory;
use tallac_tests::web::{KeptAlive, escaped};
use tallac_tests::{Grid, Options, content, differs_at};

const MB: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn grid(runtime: &'static str) -> Grid {
    Grid::start(&Options { servers: 3, shares: Some("2,2,3"), ..Options::ten(runtime) })
}

fn activities(grid: &Grid) -> Value {
    serde_json::from_str(&grid.ask("GET", "/status", b"").good()).expect("JSON")
}

fn active(grid: &Grid) -> usize {
    activities(grid)["active"].as_array().expect("a list").len()
}

fn spools(grid: &Grid) -> usize {
    fs::read_dir(grid.path("gw").join("spool")).map_or(0, Iterator::count)
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How somebody goes away.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// Closes, having read everything.
    Closed,
    /// Closes with something unread, which resets the connection.
    Reset,
    /// Says that it sends no more.
    HalfClosed,
}

fn leave(connection: KeptAlive, how: Leaving) -> Option<KeptAlive> {
    match how {
        Leaving::Closed | Leaving::Reset => None,
        Leaving::HalfClosed => {
            connection.socket().shutdown(Shutdown::Write).expect("it is connected");
            Some(connection)
        }
    }
}

fn in_the_middle(grid: &Grid) {
    let big = content(1, 20_000_000);
    let cap = grid.ask("PUT", "/uri", &big).good();
    let directory = format!("/uri/{}", escaped(&grid.ask("POST", "/uri?t=mkdir", b"").good()));
    let form = "Content-Type: multipart/form-data; boundary=XX\r\n";
    let part = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"gone\"\r\n\r\n";
    for how in [Leaving::Closed, Leaving::Reset, Leaving::HalfClosed] {
        // Uploads of every kind.
        for (method, path, headers, begins) in [
            ("PUT", "/uri".to_owned(), "", ""),
            ("PUT", "/uri?key=random".into(), "", ""),
            ("PUT", "/uri?format=mdmf".into(), "", ""),
            ("PUT", format!("{directory}/gone"), "", ""),
            ("POST", format!("{directory}?t=upload"), form, part),
        ] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 20000000\r\n\r\n{begins}"
            );
            let mut connection = KeptAlive::open(&grid.authority("gw"));
            if matches!(how, Leaving::Reset) {
                connection.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            }
            connection.send(head.as_bytes());
            connection.send(&content(2, 3_000_000));
            if ["/uri", "/uri?key=random"].contains(&&*path) {
                until("the upload begins", || active(grid) == 1);
            }
            let _kept = leave(connection, how);
            until("what nobody sends any more is given up", || active(grid) == 0);
            until("a spool is left", || spools(grid) == 0);
        }
        assert_eq!(grid.ask("GET", &format!("{directory}/gone"), b"").status, 404, "{how:?}");
        // A download, of which a part is read.
        let mut connection = KeptAlive::open(&grid.authority("gw"));
        let path = format!("/uri/{}", escaped(&cap));
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let mut begin = vec![0; 100_000];
        let mut socket = connection.socket();
        socket.read_exact(&mut begin).expect("it comes");
        let _kept = leave(connection, how);
        until("what nobody reads any more is given up", || active(grid) == 0);
    }
    let recent = activities(grid)["recent"].clone();
    let cancelled =
        recent.as_array().expect("a list").iter().filter(|entry| entry["status"] == "Cancelled").count();
    assert!(cancelled >= 9, "{cancelled} of {recent}");
    assert_eq!(differs_at(&grid.ask("GET", &format!("/uri/{}", escaped(&cap)), b"").body, &big), None);
}

/// A hundred uploads that have begun and do not go on.
fn half_open_uploads(grid: &Grid) {
    let before = memory(grid.pid("gw"));
    let content = content(3, 200_000);
    let uploads: Vec<KeptAlive> = (0..100)
        .map(|number| {
            let mut connection = KeptAlive::open(&grid.authority("gw"));
            let query = ["", "?key=random", "?mutable=true"][number % 3];
            let head = format!("PUT /uri{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n");
            connection.send(&[head.as_bytes(), &content].concat());
            connection
        })
        .collect();
    // Those of files that can change are not operations before they are complete.
    until("not all are under way", || active(grid) == 67);
    let begun = Instant::now();
    let cap = grid.ask("PUT", "/uri", &content).good();
    let got = grid.ask("GET", &format!("/uri/{}", escaped(&cap)), b"").body;
    assert_eq!(differs_at(&got, &content), None);
    let took = begun.elapsed();
    let grown = memory(grid.pid("gw")).saturating_sub(before);
    println!("100 half-open uploads: {} MB, a file stored and read meanwhile in {took:?}", grown / MB);
    assert!(grown < 100 * MB, "100 half-open uploads cost {} MB", grown / MB);
    assert!(took < Duration::from_secs(20), "{took:?}");
    drop(uploads);
    until("they are given up", || active(grid) == 0);
    until("a spool is left", || spools(grid) == 0);
    until("they are forgotten", || {
        let json: Value =
            serde_json::from_str(&grid.ask("GET", "/statistics?t=json", b"").good()).expect("JSON");
        json["stats"]["web.connections"].as_u64().is_some_and(|count| count <= 1)
    });
}

#[test]
fn blocking() {
    let grid = grid("blocking");
    in_the_middle(&grid);
    half_open_uploads(&grid);
}

#[test]
fn async_std() {
    let grid = grid("async-std");
    in_the_middle(&grid);
    half_open_uploads(&grid);
}

#[test]
fn smol() {
    let grid = grid("smol");
    in_the_middle(&grid);
    half_open_uploads(&grid);
}

/// The node's spool is on a file system of its own, of 16 MB. Skipped where such a thing cannot be made
/// without being asked for a password.
#[test]
fn a_full_disk_under_the_spool() {
    let mut grid = grid("blocking");
    let spool = grid.path("gw").join("spool");
    fs::create_dir_all(&spool).expect("a directory");
    let mount = format!("mount -t tmpfs -o size=16m none {} && exec \"$0\" \"$@\"", spool.display());
    let by = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &mount];
    if !Command::new(by[0]).args(&by[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no small file system can be made here: user namespaces are not allowed");
        return;
    }
    grid.stop("gw");
    grid.run_by("gw", &by);
    grid.wait_connected("gw", 3);
    let directory = format!("/uri/{}", escaped(&grid.ask("POST", "/uri?t=mkdir", b"").good()));

    let big = content(1, 30_000_000);
    for path in ["/uri".to_owned(), format!("{directory}/file")] {
        let refused = grid.ask("PUT", &path, &big);
        assert_eq!(refused.status, 507, "{}", refused.text());
        assert!(refused.text().ends_with("the disk is full.\n"), "{}", refused.text());
        assert_eq!(active(&grid), 0);
    }
    // Nobody knows how long it will be: it fills then.
    let mut connection = KeptAlive::open(&grid.authority("gw"));
    connection.send(b"PUT /uri HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut socket = connection.socket();
    for chunk in big.chunks(1 << 20) {
        // It may hang up, having said why.
        let _ = socket.write_all(format!("{:x}\r\n", chunk.len()).as_bytes());
        let _ = socket.write_all(chunk);
        let _ = socket.write_all(b"\r\n");
    }
    let said = String::from_utf8_lossy(&connection.rest()).into_owned();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 507 "), "{said}");
    until("it is given up", || active(&grid) == 0);

    // The node goes on: what needs no spool, and what fits, is stored. Nothing is left of what did not.
    let cap = grid.ask("PUT", "/uri?key=random", &big).good();
    assert_eq!(differs_at(&grid.ask("GET", &format!("/uri/{}", escaped(&cap)), b"").body, &big), None);
    for round in 0..5 {
        let fits = content(round, 8_000_000);
        let cap = grid.ask("PUT", &format!("{directory}/file"), &fits).good();
        assert_eq!(differs_at(&grid.ask("GET", &format!("/uri/{}", escaped(&cap)), b"").body, &fits), None);
    }
    assert!(!grid.log("gw").contains("panicked"));
}
