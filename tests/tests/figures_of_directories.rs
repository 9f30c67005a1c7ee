//! What directories cost, beside the peer. Run by hand, in release:
//!
//! `cargo test --release -p tallac-tests --test figures_of_directories -- --ignored --nocapture`
//!
//! Both grids have ten servers and a gateway, each node a process of its own, on the same machine at the
//! same time; what is measured alternates between them.

use serde_json::{Value, json};
use std::time::Instant;
use tallac_tests::peer::{self, PeerGrid};
use tallac_tests::web::{ask, escaped};
use tallac_tests::{Grid, Options};

const LITERAL: &str = "URI:LIT:krugkidfnzsc4";
const SIZES: [usize; 3] = [1, 300, 3_000];

/// A gateway, and what to call it.
struct Side {
    name: &'static str,
    authority: String,
}

impl Side {
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> String {
        ask(&self.authority, method, path, body).good()
    }

    fn make(&self) -> String {
        self.ask("POST", "/uri?t=mkdir", b"")
    }

    /// A directory with so many children.
    fn filled(&self, children: usize) -> String {
        let child = json!(["filenode", { "ro_uri": LITERAL, "metadata": {} }]);
        let all: serde_json::Map<String, Value> =
            (0..children).map(|number| (format!("child {number:05}"), child.clone())).collect();
        self.ask("POST", "/uri?t=mkdir-with-children", Value::Object(all).to_string().as_bytes())
    }

    fn add(&self, cap: &str, name: &str) {
        self.ask("PUT", &format!("/uri/{}/{}?t=uri", escaped(cap), escaped(name)), LITERAL.as_bytes());
    }

    fn list(&self, cap: &str, children: usize) {
        let json: Value =
            serde_json::from_str(&self.ask("GET", &format!("/uri/{}?t=json", escaped(cap)), b""))
                .expect("JSON");
        assert_eq!(json[1]["children"].as_object().map(serde_json::Map::len), Some(children));
    }
}

/// Seconds that something takes.
fn time(what: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    what();
    begun.elapsed().as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Measures something on both sides, in turn; prints and gives the medians.
fn compare(
    what: &str,
    sides: &[Side; 2],
    rounds: usize,
    mut measure: impl FnMut(&Side, usize) -> f64,
) -> [f64; 2] {
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (side, figures) in sides.iter().zip(&mut figures) {
            figures.push(measure(side, round));
        }
    }
    let medians = figures.map(median);
    let [ours, theirs] = medians.map(|seconds| seconds * 1e3);
    println!("{what:<34} {ours:>10.1} ms {theirs:>10.1} ms {:>8.1} x", theirs / ours);
    medians
}

#[test]
#[ignore = "takes minutes, and the machine for itself"]
fn directories_beside_the_peer() {
    let python = peer::python().expect("the peer can be had");
    let grid = Grid::start(&Options::ten("blocking"));
    let peer = PeerGrid::start(python);
    let sides = [
        Side { name: "tallac", authority: grid.authority("gw") },
        Side { name: "peer", authority: peer.gateway.authority().to_owned() },
    ];

    println!("{:<34} {:>13} {:>13}", "medians", sides[0].name, sides[1].name);
    let mut slower = Vec::new();
    let mut note = |what: &str, [ours, theirs]: [f64; 2]| {
        if ours > theirs {
            slower.push(what.to_owned());
        }
    };
    note("mkdir", compare("make a directory", &sides, 11, |side, _| time(|| drop(side.make()))));
    for size in SIZES {
        let caps = [0, 1].map(|side| sides[side].filled(size));
        let cap = |side: &Side| if side.name == "tallac" { &caps[0] } else { &caps[1] };
        let rounds = if size > 1_000 { 5 } else { 9 };
        let what = format!("add a child to {size}");
        let figures = compare(&what, &sides, rounds, |side, round| {
            time(|| side.add(cap(side), &format!("another {round}")))
        });
        note(&what, figures);
        let what = format!("list {size} children");
        note(&what, compare(&what, &sides, rounds, |side, _| time(|| side.list(cap(side), size + rounds))));
        let what = format!("make a directory of {size}");
        note(&what, compare(&what, &sides, 3, |side, _| time(|| drop(side.filled(size)))));
    }
    let [ours, theirs] = compare("300 children, one by one", &sides, 1, |side, _| {
        let cap = side.make();
        time(|| (0..300).for_each(|number| side.add(&cap, &format!("child {number}"))))
    });
    assert!(slower.is_empty(), "slower than the peer: {slower:?}");
    assert!(theirs / ours >= 3.0, "300 children: {ours} s and {theirs} s");
}
