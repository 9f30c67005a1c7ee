//! Every address of a real node's web port that issue and documentation name is there, and answers as it
//! should: for programs, for service managers, and for who runs the node.

use serde_json::Value;
use std::time::{Duration, Instant};
use tallac_tests::web::{Answer, ask, ask_with, escaped};
use tallac_tests::{Grid, Options, content};

struct Web {
    grid: Grid,
    /// A directory with a file, a mutable file and a directory in it.
    root: String,
}

impl Web {
    fn start() -> Web {
        let options = Options { servers: 3, shares: Some("2,2,3"), ..Options::ten("blocking") };
        let grid = Grid::start(&options);
        let root = format!("/uri/{}", escaped(&grid.ask("POST", "/uri?t=mkdir", b"").good()));
        grid.ask("PUT", &format!("{root}/file"), &content(1, 100_000)).good();
        grid.ask("PUT", &format!("{root}/mutable?mutable=true"), b"changing").good();
        grid.ask("PUT", &format!("{root}/sub/deeper/small"), b"small").good();
        Web { grid, root }
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        self.grid.ask("GET", path, b"")
    }

    #[track_caller]
    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).good()).expect("JSON")
    }
}

#[test]
fn information_and_manifests() {
    let web = Web::start();
    let root = &web.root;
    // What something is.
    for (path, words) in [
        (root.clone(), vec!["directory"]),
        (format!("{root}/file"), vec!["100000", "never changes"]),
        (format!("{root}/mutable"), vec!["SDMF", "8"]),
        (format!("{root}/sub"), vec!["directory"]),
    ] {
        for names in [path.clone(), path.replacen("/uri", "/cap", 1)] {
            let info = web.get(&format!("{names}?t=info")).good();
            let info = info.to_lowercase();
            for word in &words {
                assert!(info.contains(&word.to_lowercase()), "{word} is missing in {info}");
            }
        }
    }
    assert_eq!(web.get(&format!("{root}/none?t=info")).status, 404);

    // A tree, as it is found.
    let manifest = web.grid.ask("POST", &format!("{root}?t=stream-manifest"), b"").good();
    let lines: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (stats, things) = lines.split_last().expect("lines");
    assert_eq!(things.len(), 6, "{manifest}");
    let paths: Vec<String> = things.iter().map(|thing| thing["path"].to_string()).collect();
    assert!(paths.contains(&r#"["sub","deeper","small"]"#.to_owned()), "{paths:?}");
    assert!(things.iter().all(|thing| thing["cap"].is_string() && thing["type"].is_string()));
    let sums = |stats: &Value| {
        [
            "count-directories",
            "count-files",
            "count-immutable-files",
            "count-mutable-files",
            "count-literal-files",
        ]
        .map(|name| stats[name].as_u64().expect("a number"))
    };
    assert_eq!(sums(&stats["stats"]), [3, 3, 1, 1, 1], "{stats}");

    // The same, by a name to ask with.
    for (t, output) in [("start-manifest", "json"), ("start-deep-size", "json"), ("start-deep-stats", "json")]
    {
        let started = web.grid.ask("POST", &format!("{root}?t={t}&ophandle={t}&output={output}"), b"");
        assert_eq!(
            (started.status, started.header("Location")),
            (302, Some(&*format!("/operations/{t}?output=json")))
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        let found = loop {
            let found = web.json(&format!("/operations/{t}?output=json"));
            if found["finished"] == true {
                break found;
            }
            assert!(Instant::now() < deadline, "{found}");
            std::thread::sleep(Duration::from_millis(20));
        };
        match t {
            "start-manifest" => {
                assert_eq!(found["manifest"].as_array().map(Vec::len), Some(6), "{found}");
                assert_eq!(sums(&found["stats"]), [3, 3, 1, 1, 1]);
                for list in ["verifycaps", "storage-index"] {
                    assert!(found[list].as_array().is_some_and(|list| list.len() >= 4), "{list}: {found}");
                }
            }
            // The documentation of the peer promises a number; it gives all sums, and so do we.
            "start-deep-size" => {
                assert_eq!(sums(&found["size"]), [3, 3, 1, 1, 1]);
                assert_eq!(found["size"]["size-immutable-files"], 100_000);
            }
            _ => assert_eq!(sums(&found), [3, 3, 1, 1, 1]),
        }
        for output in ["html", "text"] {
            web.get(&format!("/operations/{t}?output={output}")).good();
        }
        web.get(&format!("/operations/{t}?output=json&release-after-complete=true")).good();
        assert_eq!(web.get(&format!("/operations/{t}?output=json")).status, 404, "it was released");
    }
    web.grid.ask("POST", &format!("{root}?t=start-manifest&ophandle=gone"), b"");
    web.grid.ask("POST", "/operations/gone?t=cancel", b"").good();
    assert_eq!(web.get("/operations/gone").status, 404);
    // What would make no sense.
    for (path, status) in [
        (format!("{root}?t=start-manifest"), 400),
        (format!("{root}/file?t=stream-manifest"), 400),
        (format!("{root}/none?t=stream-manifest"), 404),
        ("/uri?t=stream-manifest".into(), 400),
        (format!("{root}?t=check"), 501),
        (format!("{root}?t=start-deep-check&ophandle=x"), 501),
        (format!("{root}?t=stream-deep-check"), 501),
    ] {
        assert_eq!(web.grid.ask("POST", &path, b"").status, status, "{path}");
    }
}

#[test]
fn who_runs_the_node() {
    let web = Web::start();
    // Operations: one that is under way, and those that were.
    let part = web.json("/status");
    let kinds: Vec<&str> = part["recent"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["type"].as_str())
        .collect();
    assert!(["upload", "publish"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    for entry in part["recent"].as_array().expect("a list") {
        assert_eq!(entry["status"], "Finished", "{entry}");
        assert!(entry["started"].as_u64() > Some(1_600_000_000) && entry["seconds"].as_f64().is_some());
    }
    assert_eq!(web.get("/status/").status, 200);

    // Sums, in two languages.
    let sums = web.json("/statistics?t=json");
    assert!(sums["counters"]["uploader.files_uploaded"].as_u64() >= Some(1), "{sums}");
    assert_eq!(sums["stats"]["node.connected_servers"], 3, "{sums}");
    for path in ["/statistics?t=openmetrics", "/metrics"] {
        let metrics = web.get(path);
        let kind = metrics.header("Content-Type").expect("a type").to_owned();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        let text = metrics.good();
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, number) = line.split_once(' ').expect("a name and a number");
            let good = |char: char| char.is_ascii_alphanumeric() || char == '_';
            assert!(name.chars().all(good) && number.parse::<f64>().is_ok(), "{line}");
        }
        assert!(text.lines().any(|line| line == "tahoe_stats_node_connected_servers 3"), "{text}");
    }
    assert_eq!(web.get("/statistics").status, 200);
    assert_eq!(web.get("/statistics?t=nonsense").status, 400);

    // The storage service, of who has one.
    assert_eq!(web.get("/storage").status, 404);
    let stored = ask(&web.grid.authority("s0"), "GET", "/storage", b"").good();
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    assert!(stored["counters"]["shares_finished"].as_u64() >= Some(1), "{stored}");
    assert_eq!(stored["stats"]["storage_server.accepting_immutable_shares"], 1, "{stored}");
    assert_eq!(ask(&web.grid.authority("s0"), "GET", "/storage/", b"").status, 200);

    // The node itself, in JSON, in words and as a page.
    let node = web.json("/?t=json");
    assert_eq!(node["connected_servers"], 3, "{node}");
    assert!(web.get("/").header("Content-Type").is_some_and(|kind| kind.starts_with("text/plain")));
    let page = ask_with(&web.grid.authority("gw"), "GET", "/", "Accept: text/html\r\n", b"");
    assert!(page.header("Content-Type").is_some_and(|kind| kind.starts_with("text/html")));

    // No capability in anything that is told to who has shown none.
    for path in ["/", "/?t=json", "/status", "/statistics", "/metrics", "/health", "/ready"] {
        let told = web.get(path).text();
        assert!(!told.contains("URI:"), "{path}: {told}");
    }
    // What is only read takes nothing else.
    for path in ["/status", "/statistics", "/metrics", "/storage", "/health", "/ready"] {
        for method in ["PUT", "POST", "DELETE"] {
            let answer = web.grid.ask(method, path, b"");
            assert!([404, 405].contains(&answer.status), "{method} {path}: {}", answer.status);
        }
        let head = web.grid.ask("HEAD", path, b"");
        assert!(head.body.is_empty() && [200, 404].contains(&head.status), "{path}: {}", head.status);
    }
}

/// An upload that is watched, and whether one would be taken.
#[test]
fn watching_and_readiness() {
    let mut web = Web::start();
    let mut upload = tallac_tests::web::KeptAlive::open(&web.grid.authority("gw"));
    upload.send(b"PUT /uri?ophandle=up HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    upload.send(&content(5, 2_000_000));
    let deadline = Instant::now() + Duration::from_secs(30);
    let seen = loop {
        let answer = web.get("/operations/up");
        if answer.status == 200 {
            let seen: Value = serde_json::from_str(&answer.good()).expect("JSON");
            if seen["received"].as_u64() > Some(1_000_000) {
                break seen;
            }
        }
        assert!(Instant::now() < deadline, "the upload is not seen");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(seen["size"], 3_000_000, "{seen}");
    let active = web.json("/status")["active"].clone();
    assert_eq!(
        (&active[0]["type"], &active[0]["total-size"]),
        (&"upload".into(), &3_000_000.into()),
        "{active}"
    );
    upload.send(&content(6, 1_000_000));
    upload.answer(true).good();
    assert_eq!(web.get("/operations/up").status, 404, "it is over");

    assert_eq!(web.get("/health").good(), "The node is running.\n");
    let ready = "Ready: 3 servers that take files are connected; storing a file needs 2.\n";
    assert_eq!(web.get("/ready").good(), ready);
    web.grid.kill("s0");
    web.grid.kill("s1");
    let deadline = Instant::now() + Duration::from_secs(60);
    while web.get("/ready").status != 503 {
        assert!(Instant::now() < deadline, "it is ready without servers");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(web.get("/health").status, 200);
    let not = web.get("/ready").text();
    assert!(not.contains("1 server that takes files is connected; storing a file needs 2"), "{not}");
    web.grid.run("s1");
    web.grid.wait_connected("gw", 2);
    assert_eq!(web.get("/ready").status, 200);
}
