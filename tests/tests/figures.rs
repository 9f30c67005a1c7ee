//! What it costs, measured on grids of real processes. Run by hand, in release:
//!
//! `cargo test --release -p tallac-tests --test figures -- --ignored --nocapture --test-threads 1`

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;
use tallac_tests::figures::{peak_memory, reset_peak};
use tallac_tests::{Grid, Options};

const RUNTIMES: [&str; 3] = ["blocking", "async-std", "smol"];
/// Processor seconds of 100 MB at the limit of this kind of machine (two Zen 4 cores): the sum of
/// every hash, cipher, code, copy and TLS record that cannot be avoided.
const BOUND_PUT: f64 = 0.54;
const BOUND_GET: f64 = 0.17;

/// Random bytes from the system, written piece by piece.
fn random_file(path: &Path, len: u64) {
    let mut source = fs::File::open("/dev/urandom").expect("randomness").take(len);
    let mut file = fs::File::create(path).expect("a file");
    std::io::copy(&mut source, &mut file).expect("it is written");
}

/// A web request without anything around it: gives the body of the answer, or throws it away.
fn http(authority: &str, head: &str, body: Option<&Path>, keep: bool) -> (String, u64) {
    let mut stream = TcpStream::connect(authority).expect("the gateway listens");
    stream.write_all(head.as_bytes()).expect("it reads");
    if let Some(body) = body {
        let mut file = fs::File::open(body).expect("a file");
        std::io::copy(&mut file, &mut stream).expect("it reads");
    }
    let (mut kept, mut total, mut buffer) = (Vec::new(), 0u64, vec![0; 1 << 20]);
    loop {
        match stream.read(&mut buffer).expect("it answers") {
            0 => break,
            len => {
                total += len as u64;
                if keep {
                    kept.extend_from_slice(&buffer[..len]);
                }
            }
        }
    }
    (String::from_utf8_lossy(&kept).into_owned(), total)
}

fn put(authority: &str, file: &Path, query: &str) -> String {
    let len = fs::metadata(file).expect("a file").len();
    let head = format!(
        "PUT /uri{query} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
    );
    let (answer, _) = http(authority, &head, Some(file), true);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.rsplit("\r\n\r\n").next().expect("a body").trim().to_owned()
}

fn get(authority: &str, cap: &str) -> u64 {
    http(
        authority,
        &format!("GET /uri/{cap} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"),
        None,
        false,
    )
    .1
}

fn authority(grid: &Grid) -> String {
    let url = fs::read_to_string(grid.path("gw").join("node.url")).expect("it runs");
    url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[test]
#[ignore = "takes a minute, and the machine for itself"]
fn a_hundred_megabytes() {
    println!("100 MB, ten servers, files synced; medians of 5");
    for runtime in RUNTIMES {
        let grid = Grid::start(&Options::ten(runtime));
        let (authority, file) = (authority(&grid), grid.path("gw").join("content"));
        let mut figures: [Vec<f64>; 4] = Default::default();
        for _ in 0..5 {
            random_file(&file, 100_000_000);
            let (cpu, started) = (grid.cpu_seconds(), Instant::now());
            let cap = put(&authority, &file, "");
            figures[0].push(grid.cpu_seconds() - cpu);
            figures[1].push(started.elapsed().as_secs_f64());
            let (cpu, started) = (grid.cpu_seconds(), Instant::now());
            assert!(get(&authority, &cap) > 100_000_000);
            figures[2].push(grid.cpu_seconds() - cpu);
            figures[3].push(started.elapsed().as_secs_f64());
        }
        let [put_cpu, put_wall, get_cpu, get_wall] = figures.map(median);
        println!(
            "{runtime:10} PUT {put_cpu:.2} CPU s ({:.1} x the bound), {put_wall:.2} s; GET {get_cpu:.2} CPU s ({:.1} x), {get_wall:.2} s",
            put_cpu / BOUND_PUT,
            get_cpu / BOUND_GET
        );
        assert!(put_cpu <= 2.5, "{runtime}: PUT took {put_cpu} CPU seconds");
        assert!(get_cpu <= 0.8, "{runtime}: GET took {get_cpu} CPU seconds");
    }
}

#[test]
#[ignore = "takes minutes and 5 GB of disk"]
fn memory_of_a_gibibyte() {
    const LEN: u64 = 1 << 30;
    println!("1 GiB of random bytes; peak memory (VmHWM) in MB");
    for runtime in RUNTIMES {
        let grid = Grid::start(&Options::ten(runtime));
        let (authority, file) = (authority(&grid), grid.path("gw").join("content"));
        random_file(&file, LEN);
        for query in ["", "?key=random"] {
            grid.pids().into_iter().for_each(reset_peak);
            let started = Instant::now();
            let cap = put(&authority, &file, query);
            let put_wall = started.elapsed().as_secs_f64();
            let (put_gateway, put_server) = peaks(&grid);
            grid.pids().into_iter().for_each(reset_peak);
            let started = Instant::now();
            assert!(get(&authority, &cap) > LEN);
            let get_wall = started.elapsed().as_secs_f64();
            let (get_gateway, get_server) = peaks(&grid);
            println!(
                "{runtime:10} {query:12} PUT gateway {put_gateway:.0}, servers up to {put_server:.0} ({put_wall:.1} s); GET gateway {get_gateway:.0}, servers up to {get_server:.0} ({get_wall:.1} s)"
            );
            assert!(put_gateway.max(get_gateway) < 150.0 && put_server.max(get_server) < 100.0);
        }
    }
}

/// Peak memory of the gateway, and the largest of the servers', in megabytes.
fn peaks(grid: &Grid) -> (f64, f64) {
    let peaks: Vec<f64> = grid.pids().into_iter().map(|pid| peak_memory(pid) as f64 / 1e6).collect();
    (peaks[0], peaks[1..].iter().copied().fold(0.0, f64::max))
}
