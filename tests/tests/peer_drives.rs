//! Directories that cross over: the storage directories of ten stopped servers of the peer are served by
//! Tallac, which reads and changes what is there, and then by the peer again.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use tallac_tests::peer::{self, Peer};
use tallac_tests::web::{Answer, ask, escaped};
use tallac_tests::{Grid, Options, content};

/// Names that are easily spoilt on the way.
const ODD: [&str; 6] = ["plain", "with space", "Größe", "50% #?&+", "naïve\u{301}", "'quoted\" <b>"];

/// What a tree holds: for each path the content of a file, or nothing for a directory.
type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// A gateway of either side.
struct Gateway(String);

impl Gateway {
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        ask(&self.0, method, path, body)
    }

    #[track_caller]
    fn make(&self, format: &str) -> String {
        self.ask("POST", &format!("/uri?t=mkdir&format={format}"), b"").good()
    }

    #[track_caller]
    fn put(&self, path: &str, content: &[u8], format: &str) -> String {
        self.ask("PUT", &format!("{path}?format={format}"), content).good()
    }

    #[track_caller]
    fn list(&self, cap: &str) -> Value {
        let json = self.ask("GET", &format!("/uri/{}?t=json", escaped(cap)), b"").good();
        serde_json::from_str(&json).expect("JSON")
    }

    /// All that is below a directory.
    #[track_caller]
    fn read(&self, cap: &str) -> Tree {
        let mut tree = Tree::new();
        let mut left = vec![(String::new(), cap.to_owned())];
        while let Some((path, cap)) = left.pop() {
            let json = self.list(&cap);
            assert_eq!(json[0], "dirnode", "{path}");
            for (name, child) in json[1]["children"].as_object().expect("children") {
                let path = format!("{path}/{name}");
                let cap = child[1]["rw_uri"].as_str().or(child[1]["ro_uri"].as_str()).expect("a capability");
                let is_dated = child[1]["metadata"]["tahoe"]["linkmotime"].is_number();
                assert_eq!(json[1]["mutable"], is_dated, "{path}: {child}");
                match child[0].as_str() {
                    Some("dirnode") => {
                        tree.insert(path.clone(), None);
                        left.push((path, cap.to_owned()));
                    }
                    Some("filenode") => {
                        let answer = self.ask("GET", &format!("/uri/{}", escaped(cap)), b"");
                        assert_eq!(answer.status, 200, "{path}: {}", answer.head);
                        tree.insert(path, Some(answer.body));
                    }
                    _ => panic!("{path}: {child}"),
                }
            }
        }
        tree
    }
}

/// What a gateway tells of a whole tree, in every way there is.
#[track_caller]
fn surveyed(gateway: &Gateway, root: &str) -> Vec<String> {
    let at = format!("/uri/{}", escaped(root));
    let mut told = vec![gateway.ask("POST", &format!("{at}?t=stream-manifest"), b"").good()];
    for kind in ["start-manifest", "start-deep-size", "start-deep-stats"] {
        let name = format!("{kind}-{}", told.len());
        let begun = gateway.ask("POST", &format!("{at}?t={kind}&ophandle={name}"), b"");
        assert_eq!(begun.status, 302, "{}", begun.head);
        let look =
            |output: &str| gateway.ask("GET", &format!("/operations/{name}?output={output}"), b"").good();
        let mut json: Value = loop {
            let json: Value = serde_json::from_str(&look("json")).expect("JSON");
            if json["finished"] == true {
                break json;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        // The texts are compared where nothing in them is in an order by chance.
        if kind == "start-manifest" {
            for set in ["verifycaps", "storage-index"] {
                let list = json[set].as_array_mut().expect("a list");
                list.sort_by_key(ToString::to_string);
            }
            told.push(json.to_string());
        } else {
            told.push(look("json"));
        }
        if kind != "start-deep-stats" {
            told.push(look("text"));
        }
        gateway
            .ask("GET", &format!("/operations/{name}?output=json&release-after-complete=true"), b"")
            .good();
        assert_eq!(gateway.ask("GET", &format!("/operations/{name}"), b"").status, 404);
    }
    told
}

/// Puts files and directories of every kind below `root`, with names that begin with `who`.
fn furnish(gateway: &Gateway, root: &str, who: &str, tree: &mut Tree) {
    for (number, odd) in ODD.iter().enumerate() {
        let number = number as u64;
        for (format, len) in
            [("chk", 100_000 + number as usize), ("chk", 20), ("sdmf", 3_000), ("mdmf", 200_000)]
        {
            let (name, data) = (format!("{who} {odd} {format} {len}"), content(number, len));
            gateway.put(&format!("/uri/{}/{}", escaped(root), escaped(&name)), &data, format);
            tree.insert(format!("/{}", normal(&name)), Some(data));
        }
    }
    for format in ["sdmf", "mdmf"] {
        let name = format!("{who} directory {format}");
        let path = format!("/uri/{}/{}", escaped(root), escaped(&name));
        gateway.ask("PUT", &format!("{path}?t=mkdir&format={format}"), b"").good();
        tree.insert(format!("/{name}"), None);
        gateway.put(&format!("{path}/inner/file"), name.as_bytes(), "chk");
        tree.insert(format!("/{name}/inner"), None);
        tree.insert(format!("/{name}/inner/file"), Some(name.into_bytes()));
    }
    // One that never changes.
    let file = gateway.put("/uri", &content(99, 5_000), "chk");
    let children = serde_json::json!({ "kept": ["filenode", { "ro_uri": file }] }).to_string();
    let name = format!("{who} immutable");
    let path = format!("/uri/{}?t=mkdir-immutable&name={}", escaped(root), escaped(&name));
    gateway.ask("POST", &path, children.as_bytes()).good();
    tree.insert(format!("/{name}"), None);
    tree.insert(format!("/{name}/kept"), Some(content(99, 5_000)));
}

/// The one name above that is not in normal form.
fn normal(name: &str) -> String {
    name.replace("e\u{301}", "é")
}

/// Changes some of what `who` has put there.
fn change(gateway: &Gateway, root: &str, who: &str, tree: &mut Tree) {
    let at = |name: &str| format!("/uri/{}/{}", escaped(root), escaped(name));
    for (format, len) in [("sdmf", 3_000), ("mdmf", 200_000)] {
        // In place: the capability stays.
        let name = format!("{who} plain {format} {len}");
        let cap = |gateway: &Gateway| {
            let json = gateway.ask("GET", &format!("{}?t=json", at(&name)), b"").good();
            let json: Value = serde_json::from_str(&json).expect("JSON");
            json[1]["rw_uri"].as_str().expect("a capability").to_owned()
        };
        let (before, data) = (cap(gateway), content(7, len + 1_000));
        gateway.ask("PUT", &at(&name), &data).good();
        assert_eq!(cap(gateway), before);
        tree.insert(format!("/{name}"), Some(data));
    }
    let gone = format!("{who} plain chk 20");
    gateway.ask("DELETE", &at(&gone), b"").good();
    tree.remove(&format!("/{gone}")).expect("it was there");
    for format in ["sdmf", "mdmf"] {
        let directory = format!("{who} directory {format}");
        gateway.put(&format!("{}/inner/more", at(&directory)), b"more", "chk");
        tree.insert(format!("/{directory}/inner/more"), Some(b"more".to_vec()));
        let path = format!("{}/inner?t=rename&from_name=file&to_name=renamed", at(&directory));
        gateway.ask("POST", &path, b"").good();
        let data = tree.remove(&format!("/{directory}/inner/file")).expect("it was there");
        tree.insert(format!("/{directory}/inner/renamed"), data);
    }
}

#[track_caller]
fn assert_same(read: &Tree, expected: &Tree) {
    assert_eq!(read.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (path, data) in expected {
        assert!(read[path] == *data, "{path} has changed");
    }
}

#[test]
fn trees_cross_over_and_back() {
    let Some(python) = peer::python() else { return };
    let servers: Vec<String> = (0..10).map(|index| format!("s{index}")).collect();
    let mut grid = Grid::create(&Options::ten("async-std"));
    let all: Vec<String> = servers.iter().cloned().chain(["gw".into()]).collect();
    // Of what `create-node` made only the configuration stays: the keys are to be the peer's.
    for name in &all {
        for entry in fs::read_dir(grid.path(name).join("private")).expect("a directory") {
            let path = entry.expect("an entry").path();
            if !path.ends_with("introducers.furl") {
                fs::remove_file(path).expect("a file");
            }
        }
    }

    // The peer makes a tree in its ten directories, and stops.
    let mut peer = Peer::start(python, &grid.path(""));
    let mut announcements = serde_json::Map::new();
    for name in &servers {
        let directory = grid.path(name);
        peer::configure_server(&directory, grid.port(name));
        let told = peer.run(&directory);
        announcements.insert(told["id"].as_str().expect("an id").into(), told["announcement"].clone());
    }
    peer::configure_gateway(&grid.path("gw"), [3, 7, 10], &announcements);
    peer.run_gateway(&grid.path("gw"), servers.len());
    let theirs = Gateway(peer.authority().to_owned());
    let mut expected = Tree::new();
    let root = theirs.make("sdmf");
    furnish(&theirs, &root, "peer", &mut expected);
    assert_same(&theirs.read(&root), &expected);
    peer.stop();

    // Tallac reads it, changes it, and adds to it.
    let nodes = ["introducer", "gw"].into_iter().chain(servers.iter().map(String::as_str));
    nodes.clone().for_each(|name| grid.run(name));
    grid.wait_connected("gw", servers.len());
    let ours = Gateway(grid.authority("gw"));
    assert_same(&ours.read(&root), &expected);
    change(&ours, &root, "peer", &mut expected);
    furnish(&ours, &root, "tallac", &mut expected);
    assert_same(&ours.read(&root), &expected);
    let told = surveyed(&ours, &root);
    nodes.for_each(|name| grid.stop(name));

    // The peer finds all of it in order, and goes on.
    let mut peer = Peer::start(python, &grid.path(""));
    servers.iter().for_each(|name| drop(peer.run(&grid.path(name))));
    peer.run_gateway(&grid.path("gw"), servers.len());
    let theirs = Gateway(peer.authority().to_owned());
    assert_same(&theirs.read(&root), &expected);
    // Files of the same content are one.
    assert!(told[0].lines().count() > 30, "{}", told[0]);
    for (theirs, ours) in surveyed(&theirs, &root).iter().zip(&told) {
        let differs = theirs.lines().zip(ours.lines()).find(|(theirs, ours)| theirs != ours);
        assert!(theirs == ours, "the first line that differs: {differs:?}");
    }
    let found = peer.verify(&root);
    assert_eq!(found["results"]["healthy"], true, "{found}");
    change(&theirs, &root, "tallac", &mut expected);
    assert_same(&theirs.read(&root), &expected);
    peer.stop();
}
