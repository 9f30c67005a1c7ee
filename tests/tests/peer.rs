//! Tallac and Tahoe-LAFS 1.20: each takes over whole node directories of the other, keys, shares,
//! leases and all, and goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tallac_core::announcement::{self, AnnouncementKey, ServerInfo, SignedAnnouncement};
use tallac_core::base32;
use tallac_core::identity::TubId;
use tallac_core::nurl::Service;
use tallac_tests::peer::{self, Peer, script};
use tallac_tests::{Grid, Options, content};

const SEGMENT: usize = 1 << 20;
/// The longest that the capability itself holds, the shortest that is stored, and both sides of
/// every border of a segment.
const SIZES: [usize; 7] = [55, 56, 100_000, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3_000_000];
const LEASE_SECONDS: u64 = 31 * 24 * 60 * 60;
/// What a node is known by, and what it must never lose.
const KEPT: [&str; 8] = [
    "my_nodeid",
    "node.pubkey",
    "permutation-seed",
    "private/convergence",
    "private/node.pem",
    "private/node.privkey",
    "private/secret",
    "private/storage.furl",
];

/// The leases of one share, as the peer reads them.
#[derive(PartialEq, Debug)]
struct Leases {
    sha256: String,
    ends: Vec<u64>,
    /// Whether each lease belongs to the gateway.
    ours: Vec<bool>,
}

/// By server, storage index and share number.
type Shares = BTreeMap<(String, String, u64), Leases>;

fn shares(python: &Path, grid: &Grid, servers: &[String]) -> Shares {
    let mut args = vec!["leases".to_owned(), grid.path("gw").display().to_string()];
    args.extend(servers.iter().map(|name| grid.path(name).display().to_string()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let told = script(python, "containers.py", &args, "");
    let share = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| line[key].as_str().expect("text").to_owned();
        let list = |key: &str| line[key].as_array().expect("a list").clone();
        let right = list("renew").into_iter().zip(list("cancel"));
        let leases = Leases {
            sha256: text("sha256"),
            ends: list("ends").iter().map(|end| end.as_u64().expect("a date")).collect(),
            ours: right.map(|(renew, cancel)| renew == true && cancel == true).collect(),
        };
        ((text("server"), text("index"), line["share"].as_u64().expect("a number")), leases)
    };
    told.iter().map(share).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// One lease each, the gateway's, made or renewed since `since`.
fn assert_leased(shares: &Shares, since: u64) {
    for (share, leases) in shares {
        assert_eq!(leases.ours, [true], "{share:?}");
        let end = leases.ends[0];
        assert!(since + LEASE_SECONDS <= end && end <= now() + LEASE_SECONDS, "{share:?} ends {end}");
    }
}

fn assert_same_shares(before: &Shares, after: &Shares) {
    let content = |shares: &Shares| -> Vec<(String, String, u64, String)> {
        shares.iter().map(|((a, b, c), leases)| (a.clone(), b.clone(), *c, leases.sha256.clone())).collect()
    };
    assert_eq!(content(before), content(after));
}

fn kept(grid: &Grid, names: &[String]) -> Vec<(String, Vec<u8>)> {
    let file =
        |name: &String, file| (format!("{name}/{file}"), fs::read(grid.path(name).join(file)).expect(file));
    names.iter().flat_map(|name| KEPT.map(|of| file(name, of))).collect()
}

fn names(servers: usize) -> Vec<String> {
    (0..servers).map(|index| format!("s{index}")).collect()
}

#[test]
fn the_peer_takes_over_from_tallac() {
    let Some(python) = peer::python() else { return };
    let servers = names(10);
    let mut grid = Grid::start(&Options::ten("blocking"));
    let started = now();
    let files = SIZES.map(|len| content(len as u64, len));
    let caps = files.each_ref().map(|file| grid.put(file));

    // The peer's command line, talking to our gateway.
    let path = grid.path("peers-copy");
    let tahoe = |args: &[&str]| {
        let mut command = Command::new(python);
        command
            .args(["-m", "allmydata", "-d"])
            .arg(grid.path("gw"))
            .args(args)
            .arg(&path)
            .stdin(Stdio::null());
        let output = command.output().expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    tahoe(&["get", &caps[6]]);
    assert_eq!(fs::read(&path).expect("it was fetched"), files[6]);
    assert_eq!(tahoe(&["put"]), caps[6]);

    let stop = ["gw", "introducer"].into_iter().chain(servers.iter().map(String::as_str));
    stop.for_each(|name| grid.stop(name));
    let before = shares(python, &grid, &servers);
    assert_eq!(before.len(), 10 * (SIZES.len() - 1), "all but the one that the capability holds");
    assert_leased(&before, started);

    // Every file of the directories, read with the peer's functions.
    let all: Vec<String> = servers.iter().cloned().chain(["gw".into()]).collect();
    let with_introducer = all.iter().map(String::as_str).chain(["introducer"]);
    let paths: Vec<String> = with_introducer.map(|name| grid.path(name).display().to_string()).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let read = script(python, "directory.py", &paths, "");
    let read: Vec<serde_json::Value> =
        read.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (name, directory) in all.iter().zip(&read) {
        assert_eq!(directory["secrets"], serde_json::json!([32, 32]), "{name}");
        assert_eq!(directory["seed"], 32, "{name}");
        let hint = format!("tcp:127.0.0.1:{}", grid.port(name));
        assert_eq!(directory["hints"], serde_json::json!([hint]), "{name}");
        assert!(directory["sequence"].as_u64() >= Some(1), "{name}");
    }

    // The peer's nodes run in the very same directories. Which servers there are its gateway learns
    // from what ours had heard.
    let cached = read[10]["cached"].as_object().expect("an object");
    assert_eq!(cached.len(), servers.len());
    let secrets = kept(&grid, &all);
    let mut peer = Peer::start(python, &grid.path(""));
    for name in &servers {
        let directory = grid.path(name);
        peer::configure_server(&directory, grid.port(name));
        let told = peer.run(&directory);
        let ours = &cached[told["id"].as_str().expect("an id")];
        for key in ["nickname", "permutation-seed-base32", "anonymous-storage-NURLs"] {
            assert_eq!(told["announcement"][key], ours[key], "{name}: {key}");
        }
    }
    peer::configure_gateway(&grid.path("gw"), [3, 7, 10], cached);
    peer.run_gateway(&grid.path("gw"), servers.len());
    let renewed = now();
    for (cap, file) in caps.iter().zip(&files) {
        peer.check(cap, file);
        assert_eq!(peer.put(file), *cap, "{} bytes", file.len());
        let found = peer.verify(cap);
        assert_eq!(found["results"]["healthy"], true, "{found}");
        if file.len() > 55 {
            assert_eq!(found["results"]["count-shares-good"], 10, "{found}");
        }
    }
    // Our command line, talking to the peer's gateway.
    grid.check(&caps[6], &files[6]);
    assert_eq!(grid.put(&files[6]), caps[6]);
    peer.stop();

    assert_eq!(kept(&grid, &all), secrets, "the peer found nothing to correct");
    // It found every share in its place, and knew the leases for its own.
    let after = shares(python, &grid, &servers);
    assert_same_shares(&before, &after);
    assert_leased(&after, renewed);
}

#[test]
fn tallac_takes_over_from_the_peer() {
    let Some(python) = peer::python() else { return };
    let servers = names(4);
    let options = Options { servers: 4, shares: Some("2,4,4"), ..Options::ten("blocking") };
    let mut grid = Grid::create(&options);
    let all: Vec<String> = servers.iter().cloned().chain(["gw".into()]).collect();
    // Of what `create-node` made only the configuration stays: the keys are to be the peer's.
    for name in &all {
        let private = grid.path(name).join("private");
        for entry in fs::read_dir(&private).expect("a directory") {
            let path = entry.expect("an entry").path();
            if !path.ends_with("introducers.furl") {
                fs::remove_file(path).expect("a file");
            }
        }
    }
    let mut peer = Peer::start(python, &grid.path(""));
    let mut announcements = serde_json::Map::new();
    for name in &servers {
        let directory = grid.path(name);
        peer::configure_server(&directory, grid.port(name));
        let told = peer.run(&directory);
        announcements.insert(told["id"].as_str().expect("an id").into(), told["announcement"].clone());
    }
    peer::configure_gateway(&grid.path("gw"), [2, 4, 4], &announcements);
    peer.run_gateway(&grid.path("gw"), servers.len());
    let started = now();
    let files = SIZES.map(|len| content(len as u64, len));
    let caps = files.each_ref().map(|file| peer.put(file));
    peer.stop();
    let before = shares(python, &grid, &servers);
    assert_eq!(before.len(), 4 * (SIZES.len() - 1));
    assert_leased(&before, started);
    let secrets = kept(&grid, &servers);

    let nodes = ["introducer", "gw"].into_iter().chain(servers.iter().map(String::as_str));
    nodes.clone().for_each(|name| grid.run(name));
    grid.wait_connected("gw", servers.len());
    for name in &servers {
        let status = grid.status(name).expect("it runs");
        assert!(announcements.contains_key(status["nodeid"].as_str().expect("an id")), "{name}");
    }
    let renewed = now();
    for (cap, file) in caps.iter().zip(&files) {
        grid.check(cap, file);
        assert_eq!(grid.put(file), *cap, "{} bytes", file.len());
    }
    nodes.for_each(|name| grid.stop(name));

    assert_eq!(kept(&grid, &servers), secrets);
    let after = shares(python, &grid, &servers);
    assert_same_shares(&before, &after);
    assert_leased(&after, renewed);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    text.as_bytes().chunks(2).map(digits).collect()
}

#[test]
fn announcements_are_signed_alike() {
    let Some(python) = peer::python() else { return };
    let secret = [42; 32];
    let key = AnnouncementKey::from_bytes(&secret);

    let lines =
        |host: &str| format!("pb://{}@{host}/swissnum#v=1", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    let nurls = [lines("127.0.0.1:5"), lines("[::1]:6")];
    let info = ServerInfo {
        nickname: "Jürgen's \"box\"".into(),
        tub_id: TubId([7; 20]),
        permutation_seed: vec![9; 32],
        service: Service::gather(nurls.each_ref().map(|nurl| nurl.parse().expect("a NURL"))).pop(),
        program: "tallac/0.1.0".into(),
    };
    let ours = key.announce(12, &info, [1; 20]);
    let stdin = [&ours.message, &ours.signature, &ours.key].map(|part| hex(part)).join("\n");
    let told = script(python, "announcements.py", &["check"], &stdin);
    let told: serde_json::Value = serde_json::from_str(&told[0]).expect("JSON");
    let expected = serde_json::json!({
        "key": key.server_id().to_string(),
        "nickname": info.nickname,
        "permutation_seed": hex(&info.permutation_seed),
        "tub_id": hex(&info.tub_id.0),
        "tub_id_text": info.tub_id.to_string(),
        "nurls": nurls,
        "service": "storage",
        "sequence": 12,
    });
    assert_eq!(told, expected);

    let text = format!("priv-v0-{}", base32::encode(&secret));
    let theirs = script(python, "announcements.py", &["sign", &text], "");
    let [message, signature, public] = theirs.as_slice() else { panic!("three lines: {theirs:?}") };
    let theirs =
        SignedAnnouncement { message: unhex(message), signature: unhex(signature), key: unhex(public) };
    let read = announcement::verify(&theirs).expect("it is good");
    assert_eq!((read.server, read.sequence), (key.server_id(), 12));
    assert_eq!(read.service, announcement::STORAGE_SERVICE);
    assert_eq!(read.info.nickname, "näme");
    assert_eq!(read.info.permutation_seed, b"abc");
    assert_eq!(read.info.tub_id, TubId([0; 20]));
    assert_eq!(read.info.program, "tahoe-lafs/1.20.0");
    let nurls: Vec<String> =
        read.info.service.expect("a service").nurls().map(|nurl| nurl.to_string()).collect();
    assert_eq!(nurls, [format!("pb://{}@127.0.0.1:1234/swissnum#v=1", "A".repeat(43))]);
}
