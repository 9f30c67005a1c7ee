//! Several people add names to one directory at the same moment, each through a node of their own.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tallac_tests::web::{ask, escaped};
use tallac_tests::{Grid, Options};

const LITERAL: &str = "URI:LIT:krugkidfnzsc4";
const NAMES: usize = 100;

/// Every name that was acknowledged is there in the end, and what was there before.
fn together(grid: &Grid, writers: usize) {
    let foreign = json!({
        "a file": ["filenode", { "ro_uri": LITERAL, "metadata": { "whose": "mine" } }],
        "of a kind to come": ["unknown", { "ro_uri": "ro.URI:FUTURE:nobody-knows", "metadata": {} }],
    });
    let made = grid.ask("POST", "/uri?t=mkdir-with-children", foreign.to_string().as_bytes());
    let cap = made.good();
    let write = |writer: usize| {
        let authority = grid.authority(&format!("s{writer}"));
        let mut acknowledged = Vec::new();
        for number in 0..NAMES {
            let name = format!("{writer}-{number}");
            let path = format!("/uri/{}/{name}?t=uri&replace=false", escaped(&cap));
            let answer = ask(&authority, "PUT", &path, LITERAL.as_bytes());
            match answer.status {
                200 | 201 => acknowledged.push(name),
                // Others were faster again and again: it says so, and may be there or not.
                409 | 503 => eprintln!("{name}: {}", String::from_utf8_lossy(&answer.body).trim()),
                _ => panic!("{name}: {}\n{}", answer.head, String::from_utf8_lossy(&answer.body)),
            }
        }
        acknowledged
    };
    let acknowledged: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers).map(|writer| scope.spawn(move || write(writer))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a writer ends well")).collect()
    });
    let list = grid.ask("GET", &format!("/uri/{}?t=json", escaped(&cap)), b"").good();
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let children = list[1]["children"].as_object().expect("children");
    for name in &acknowledged {
        assert!(children.contains_key(name), "{name} was acknowledged and is gone");
    }
    assert_eq!(children["a file"][1]["metadata"]["whose"], "mine");
    assert_eq!(children["of a kind to come"][0], "unknown");
    assert!(acknowledged.len() * 100 >= writers * NAMES * 95, "only {} acknowledged", acknowledged.len());
}

#[test]
fn two_and_five_writers() {
    let grid =
        Grid::start(&Options { runtimes: vec!["blocking", "async-std", "smol"], ..Options::ten("blocking") });
    (0..5).for_each(|writer| grid.wait_connected(&format!("s{writer}"), 10));
    for writers in [2, 5] {
        let begun = std::time::Instant::now();
        together(&grid, writers);
        println!("{writers} writers, {NAMES} names each: {:.1?}", begun.elapsed());
    }
}
