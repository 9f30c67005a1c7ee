//! Many clients of one web port: 64 downloads at once, 1,000 connections that are kept open. In CI that they
//! all get what they ask for, on each runtime, and what memory it takes; by hand how long it takes, beside the
//! peer:
//!
//! `cargo test --release -p tallac-tests --test web_load -- --ignored --nocapture`
//!
//! Both grids have ten servers and a gateway then, each node a process of its own (the peer's gateway, too),
//! on the same machine at the same time; what is measured alternates between them.

use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};
use tallac_host::unix::allow_open_files;
use tallac_tests::figures::{memory, peak_memory, reset_peak, threads};
use tallac_tests::peer::{self, PeerGrid};
use tallac_tests::web::{KeptAlive, ask, ask_with, escaped};
use tallac_tests::{Grid, Options, content, differs_at};

const MB: f64 = 1e6;
const DOWNLOADS: usize = 64;
const CONNECTIONS: usize = 1_000;
/// Threads that speak for all of them.
const SPEAKERS: usize = 20;
const HTML: &str = "Accept: text/html\r\n";

/// Everybody downloads the same at once; gives how long it takes.
fn download_at_once(authority: &str, path: &str, expected: &[u8]) -> Duration {
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..DOWNLOADS {
            scope.spawn(|| {
                let got = ask(authority, "GET", path, b"");
                assert_eq!(got.status, 200, "{}", got.head);
                assert_eq!(differs_at(&got.body, expected), None, "the first byte that differs");
            });
        }
    });
    begun.elapsed()
}

/// Connections that stay open, in the hands of a few threads.
fn open(authority: &str) -> Vec<Vec<KeptAlive>> {
    let each = CONNECTIONS / SPEAKERS;
    (0..SPEAKERS).map(|_| (0..each).map(|_| KeptAlive::open(authority)).collect()).collect()
}

/// Each asks for each of the paths, one after the other; gives how long it takes.
fn ask_on_all(connections: &mut [Vec<KeptAlive>], paths: &[(String, Vec<u8>)]) -> Duration {
    let begun = Instant::now();
    thread::scope(|scope| {
        for own in connections {
            scope.spawn(move || {
                for (path, expected) in paths {
                    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    own.iter_mut().for_each(|connection| connection.send(request.as_bytes()));
                    for connection in own.iter_mut() {
                        let answer = connection.answer(true);
                        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                        assert!(answer.body == *expected || expected.is_empty(), "{path}: {}", answer.text());
                    }
                }
            });
        }
    });
    begun.elapsed()
}

fn many_clients(runtime: &'static str) {
    // Each connection has two ends, of which one is here.
    let needed = CONNECTIONS as u64 + 200;
    if allow_open_files(needed) < needed {
        eprintln!("SKIPPED: this process may not have {needed} connections open: see ulimit -Hn");
        return;
    }
    let mut grid = Grid::start(&Options { servers: 3, shares: Some("2,2,3"), ..Options::ten(runtime) });
    // What systems give to a process unless told otherwise: it is for the node to ask for more.
    grid.stop("gw");
    grid.run_by("gw", &["sh", "-c", "ulimit -Sn 1024 && exec \"$0\" \"$@\""]);
    grid.wait_connected("gw", 3);
    let (authority, pid) = (grid.authority("gw"), grid.pid("gw"));
    let (large, small) = (content(1, 5_000_000), content(2, 2_000));
    let path = |cap: &str| format!("/uri/{}", escaped(cap));
    let (large_path, small_path) = (path(&grid.put(&large)), path(&grid.put(&small)));

    let before = memory(pid);
    reset_peak(pid);
    let took = download_at_once(&authority, &large_path, &large);
    let peak = peak_memory(pid).saturating_sub(before);
    println!(
        "{runtime}: {DOWNLOADS} downloads of {} MB at once in {took:.1?}, {:.0} MB more at the peak",
        large.len() as f64 / MB,
        peak as f64 / MB
    );
    assert!((peak as f64) < 600.0 * MB, "{DOWNLOADS} downloads take {:.0} MB", peak as f64 / MB);

    let before = memory(pid);
    let mut connections = open(&authority);
    let paths = [
        ("/health".into(), b"The node is running.\n".to_vec()),
        (small_path.clone(), small.clone()),
        ("/?t=json".into(), Vec::new()),
        ("/uri/URI%3ALIT%3Akrugkidfnzsc4".into(), b"The end.".to_vec()),
        (small_path, small),
    ];
    let took = ask_on_all(&mut connections, &paths);
    let grown = memory(pid).saturating_sub(before) as f64;
    let statistics = grid.ask("GET", "/statistics?t=json", b"").good();
    let statistics: Value = serde_json::from_str(&statistics).expect("JSON");
    let open = statistics["stats"]["web.connections"].as_u64().expect("a number");
    println!(
        "{runtime}: {} requests on {CONNECTIONS} connections in {took:.1?}, {:.0} MB more, {} threads",
        CONNECTIONS * paths.len(),
        grown / MB,
        threads(pid)
    );
    assert!(open >= CONNECTIONS as u64, "{open} connections are open");
    assert!(grown < 150.0 * MB, "{CONNECTIONS} connections take {:.0} MB", grown / MB);
    // All of them are still good, and leave nothing behind.
    ask_on_all(&mut connections, &paths[..1]);
    drop(connections);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let statistics = grid.ask("GET", "/statistics?t=json", b"").good();
        let statistics: Value = serde_json::from_str(&statistics).expect("JSON");
        if statistics["stats"]["web.connections"].as_u64().is_some_and(|open| open <= 1) {
            break;
        }
        assert!(Instant::now() < deadline, "{statistics}");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!grid.log("gw").contains("panicked"));
}

#[test]
fn blocking() {
    many_clients("blocking");
}

#[test]
fn async_std() {
    many_clients("async-std");
}

#[test]
fn smol() {
    many_clients("smol");
}

/// A gateway, and the addresses of what is fetched from it.
struct Side {
    authority: String,
    small: String,
    middle: String,
    large: String,
    directory: String,
    page: String,
}

/// Between two requests that are measured.
const REST: Duration = Duration::from_millis(10);
const SMALL: usize = 2_000;
const MIDDLE: usize = 2_000_000;
const LARGE: usize = 10_000_000;
const CHILDREN: usize = 300;

impl Side {
    fn fill(authority: String) -> Side {
        let put =
            |content: &[u8]| format!("/uri/{}", escaped(&ask(&authority, "PUT", "/uri", content).good()));
        let [small, middle, large] =
            [(2, SMALL), (3, MIDDLE), (1, LARGE)].map(|(seed, len)| put(&content(seed, len)));
        let child = json!(["filenode", { "ro_uri": "URI:LIT:krugkidfnzsc4", "metadata": {} }]);
        let all: serde_json::Map<String, Value> =
            (0..CHILDREN).map(|number| (format!("child {number:05}"), child.clone())).collect();
        let all = Value::Object(all).to_string();
        let directory = ask(&authority, "POST", "/uri?t=mkdir-with-children", all.as_bytes()).good();
        let directory = format!("/uri/{}", escaped(&directory));
        // Ours sends a browser on to the page.
        let browser = format!("{HTML}Sec-Fetch-Mode: navigate\r\n");
        let shown = ask_with(&authority, "GET", &directory, &browser, b"");
        let page = shown.header("Location").unwrap_or(&directory).to_owned();
        Side { authority, small, middle, large, directory, page }
    }

    /// Seconds that a request takes, of which the answer is as long as this at least.
    fn time(&self, path: &str, headers: &str, len_min: usize) -> f64 {
        let begun = Instant::now();
        let answer = ask_with(&self.authority, "GET", path, headers, b"");
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.body.len() >= len_min, "{path}: {} bytes", answer.body.len());
        took
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Measures something on both sides, in turn; prints the medians. Whether ours is quicker.
fn compare(what: &str, sides: [&Side; 2], rounds: usize, mut measure: impl FnMut(&Side) -> f64) -> bool {
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (side, figures) in sides.iter().zip(&mut figures) {
            // What one side still has to do after its answer is not to be counted to the other.
            thread::sleep(REST);
            figures.push(measure(side));
        }
    }
    let best = |figures: &[f64]| figures.iter().copied().fold(f64::INFINITY, f64::min) * 1e3;
    let [our_best, their_best] = [0, 1].map(|side| best(&figures[side]));
    let [ours, theirs] = figures.map(|figures| median(figures) * 1e3);
    println!(
        "{what:<44} {ours:>10.1} ms {theirs:>10.1} ms {:>8.1} x   (best {our_best:.1}, {their_best:.1})",
        theirs / ours
    );
    ours < theirs
}

/// What a browser and the web API's clients ask for, of a node on this runtime and of the peer in turn.
fn requests_beside_the_peer(runtime: &'static str) {
    let needed = 2 * CONNECTIONS as u64;
    assert!(allow_open_files(needed) >= needed, "too few connections may be open");
    let python = peer::python().expect("the peer can be had");
    let peer = PeerGrid::start(python);
    let theirs = Side::fill(peer.gateway.authority().to_owned());

    let mut slower = Vec::new();
    let grid = Grid::start(&Options::ten(runtime));
    let ours = Side::fill(grid.authority("gw"));
    let sides = [&ours, &theirs];
    println!("\n{:<44} {:>13} {:>13}", format!("{runtime}, medians"), "tallac", "peer");
    let mut note = |what: &str, rounds: usize, measure: &mut dyn FnMut(&Side) -> f64| {
        if !compare(what, sides, rounds, measure) {
            slower.push(format!("{runtime}: {what}"));
        }
    };
    note("status page", 51, &mut |side| side.time("/", HTML, 1_000));
    note("status as JSON", 51, &mut |side| side.time("/?t=json", "", 100));
    note("page of 300 children", 15, &mut |side| side.time(&side.page, HTML, 10_000));
    note("JSON of 300 children", 15, &mut |side| {
        side.time(&format!("{}?t=json", side.directory), "", 10_000)
    });
    note("file of 2 kB", 15, &mut |side| side.time(&side.small, "", SMALL));
    note("file of 10 MB", 7, &mut |side| side.time(&side.large, "", LARGE));
    let middle = content(3, MIDDLE);
    let pids = [grid.pid("gw"), peer.gateway.pid()];
    let before = pids.map(memory);
    pids.iter().for_each(|pid| reset_peak(*pid));
    note("64 downloads of 2 MB at once", 1, &mut |side| {
        download_at_once(&side.authority, &side.middle, &middle).as_secs_f64()
    });
    let [mine, its] = [0, 1].map(|side| peak_memory(pids[side]).saturating_sub(before[side]) as f64 / MB);
    println!("{:<44} {mine:>10.0} MB {its:>10.0} MB", "  memory beyond that before, at the peak");
    let before = pids.map(memory);
    let mut kept = [Vec::new(), Vec::new()];
    let paths = |side: &Side| [(side.small.clone(), content(2, SMALL))];
    note("a file of 2 kB on each of 1,000 connections", 3, &mut |side| {
        // Anew each time: who is silent while the other side answers is cut off some time.
        let kept = &mut kept[usize::from(side.authority != ours.authority)];
        kept.clear();
        *kept = open(&side.authority);
        ask_on_all(kept, &paths(side)).as_secs_f64()
    });
    let [mine, its] = [0, 1].map(|side| memory(pids[side]).saturating_sub(before[side]) as f64 / MB);
    println!("{:<44} {mine:>10.0} MB {its:>10.0} MB", "  memory beyond that before");
    assert!(slower.is_empty(), "slower than the peer: {slower:?}");
}

#[test]
#[ignore = "takes minutes, and the machine for itself"]
fn requests_beside_the_peer_on_blocking() {
    requests_beside_the_peer("blocking");
}

#[test]
#[ignore = "takes minutes, and the machine for itself"]
fn requests_beside_the_peer_on_async_std() {
    requests_beside_the_peer("async-std");
}

#[test]
#[ignore = "takes minutes, and the machine for itself"]
fn requests_beside_the_peer_on_smol() {
    requests_beside_the_peer("smol");
}
