//! Requests to the web port of a real node that are odd, wrong or hostile, on each runtime: what is good in
//! them is answered, what is bad is refused, and the node goes on.

use std::io::Write;
use std::time::{Duration, Instant};
use tallac_tests::figures::memory;
use tallac_tests::web::{KeptAlive, ask_with, escaped};
use tallac_tests::{Grid, Options, content, differs_at};

const MB: u64 = 1_000_000;

struct Web {
    grid: Grid,
    authority: String,
}

impl Web {
    fn start(runtime: &'static str) -> Web {
        let grid = Grid::start(&Options { servers: 3, shares: Some("2,2,3"), ..Options::ten(runtime) });
        let authority = grid.authority("gw");
        Web { grid, authority }
    }

    fn open(&self) -> KeptAlive {
        KeptAlive::open(&self.authority)
    }

    /// What is answered to bytes, of which the last may not be read, until the node hangs up.
    fn say(&self, bytes: &[u8]) -> String {
        let mut connection = self.open();
        // Who refuses early does not read the rest.
        let _ = connection.socket().write_all(bytes);
        String::from_utf8_lossy(&connection.rest()).into_owned()
    }

    /// The same by who sends no more after that.
    fn say_all(&self, bytes: &[u8]) -> String {
        let mut connection = self.open();
        let _ = connection.socket().write_all(bytes);
        connection.end();
        String::from_utf8_lossy(&connection.rest()).into_owned()
    }

    #[track_caller]
    fn is_well(&self) {
        let begun = Instant::now();
        assert_eq!(self.open().ask("GET", "/health", "", b"").good(), "The node is running.\n");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

fn statuses(said: &str) -> Vec<&str> {
    let lines = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]);
    lines.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// Each byte of a request in a packet of its own.
fn byte_by_byte(web: &Web) {
    let body = content(1, 200);
    let mut connection = web.open();
    let head = "PUT /uri HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n";
    for byte in [head.as_bytes(), &body].concat() {
        connection.send(&[byte]);
    }
    let cap = connection.answer(true).good();
    let get = format!("GET /uri/{} HTTP/1.1\r\nHost: x\r\n\r\n", escaped(&cap));
    for byte in get.bytes() {
        connection.send(&[byte]);
    }
    assert_eq!(differs_at(&connection.answer(true).body, &body), None);
}

/// Heads that are too much of something.
fn heads_without_measure(web: &Web) {
    let before = memory(web.grid.pid("gw"));
    let head = |headers: &str| format!("GET /health HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let many = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    for (request, status) in [
        (head(&many(99)), "200"),
        (head(&many(100)), "431"),
        (head(&many(50_000)), "431"),
        (head(&format!("X: {}\r\n", "y".repeat(8_000))), "200"),
        (head(&format!("X: {}\r\n", "y".repeat(9_000))), "431"),
        (head(&format!("X: {}\r\n", "y".repeat(5_000_000))), "431"),
        (head(&format!("{}: y\r\n", "x".repeat(300))), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(8_000)), "404"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(9_000)), "414"),
        ("x".repeat(5_000_000), "414"),
        (format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "X".repeat(9_000)), "414"),
    ] {
        let said = web.say_all(request.as_bytes());
        // A reset may overtake the answer to somebody who is still sending.
        let may_be_lost = request.len() > 100_000 && said.is_empty();
        assert!(statuses(&said) == [status] || may_be_lost, "{request:.60}, {}: {said}", request.len());
    }
    // A flood without an end: what comes after the refusal is thrown away for a moment, then it is cut.
    let connection = web.open();
    connection.socket().set_write_timeout(Some(Duration::from_secs(10))).expect("a duration");
    let (flood, begun) = (many(1_000), Instant::now());
    connection.socket().write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").expect("it reads");
    while connection.socket().write_all(flood.as_bytes()).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it reads for ever");
    }
    let grown = memory(web.grid.pid("gw")).saturating_sub(before);
    assert!(grown < 60 * MB, "heads without measure cost {} MB", grown / MB);
}

fn lengths_that_are_wrong(web: &Web) {
    let put = |headers: &str, body: &str| format!("PUT /uri HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}");
    for (request, expected) in [
        (put("Content-Length: x\r\n", "abc"), &["400"][..]),
        (put("Content-Length: -1\r\n", "abc"), &["400"]),
        (put("Content-Length: +3\r\n", "abc"), &["400"]),
        (put("Content-Length: 99999999999999999999\r\n", "abc"), &["400"]),
        (put("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), &["400"]),
        (put("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "abc"), &["400"]),
        (put("Transfer-Encoding: gzip, chunked\r\n", "abc"), &["501"]),
        (put("Transfer-Encoding: chunked\r\n", "x\r\nabc"), &["400"]),
        (put("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\nabc"), &["400"]),
        (put("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n"), &["400"]),
        // All of it, then what is no request.
        (put("Content-Length: 3\r\n", "abcd\r\n\r\n"), &["200", "400"]),
        (put("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\nd\r\n\r\n"), &["200", "400"]),
        // Nothing is stored of what was announced as longer: who hangs up is told nothing.
        (put("Content-Length: 4\r\n", "abc"), &[]),
        // More than any disk has.
        (put("Content-Length: 18446744073709551615\r\n", "abc"), &["507"]),
        (put("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"), &[]),
    ] {
        let cut_short = expected.is_empty();
        let said = if cut_short { web.say_all(request.as_bytes()) } else { web.say(request.as_bytes()) };
        assert_eq!(statuses(&said), expected, "{request}: {said}");
    }
}

fn what_is_no_request(web: &Web) {
    let good = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let hello = "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}";
    for (garbage, status) in [
        ("garbage\r\n\r\n", "400"),
        ("\0\0\0\0\r\n\r\n", "400"),
        (hello, "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        ("GET / HTTP/9.9\r\nHost: x\r\n\r\n", "505"),
        ("GET /health HTTP/1.1\r\n\r\n", "400"),
        ("GET /health HTTP/1.1\nHost: x\n\n", "400"),
        ("CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "501"),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
        ("BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /static/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
    ] {
        let alone = web.say_all(garbage.as_bytes());
        assert_eq!(statuses(&alone), [status], "{garbage:?}: {alone}");
        // After others on the same connection these are answered as ever.
        let behind = web.say_all(format!("{good}{good}{garbage}").as_bytes());
        assert_eq!(statuses(&behind), ["200", "200", status], "{garbage:?}: {behind}");
    }
    // What comes after garbage is not looked at: it could be what another program meant for a third.
    let said = web.say(format!("{good}garbage\r\n\r\n{good}").as_bytes());
    assert_eq!(statuses(&said), ["200", "400"], "{said}");
    // Requests may come without waiting for answers, and are answered in their order.
    let mixed: String = (0..500)
        .map(|number| if number % 7 == 0 { "GET /none HTTP/1.1\r\nHost: x\r\n\r\n" } else { good })
        .collect();
    let said = web.say_all(mixed.as_bytes());
    let expected: Vec<&str> = (0..500).map(|number| if number % 7 == 0 { "404" } else { "200" }).collect();
    assert_eq!(statuses(&said), expected);
}

/// Somebody asks without end and reads nothing.
fn who_never_reads(web: &Web) {
    let before = memory(web.grid.pid("gw"));
    let requests = b"GET /statistics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let deaf: Vec<KeptAlive> = (0..20)
        .map(|_| {
            let connection = web.open();
            connection.socket().set_write_timeout(Some(Duration::from_millis(500))).expect("a duration");
            let mut sent = 0;
            while let Ok(len) = connection.socket().write(&requests) {
                sent += len;
                assert!(sent < 200_000_000, "it reads for ever");
            }
            connection
        })
        .collect();
    web.is_well();
    let grown = memory(web.grid.pid("gw")).saturating_sub(before);
    assert!(grown < 60 * MB, "20 clients that do not read cost {} MB", grown / MB);
    drop(deaf);
    web.is_well();
}

/// Half a request from each of many: nobody else waits for them.
fn who_never_finishes(web: &Web) {
    let before = memory(web.grid.pid("gw"));
    let halves: Vec<KeptAlive> = (0..300)
        .map(|number| {
            let mut connection = web.open();
            connection.send(match number % 3 {
                0 => b"",
                1 => b"GET /health HT",
                _ => b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow:",
            });
            connection
        })
        .collect();
    for _ in 0..20 {
        web.is_well();
    }
    let grown = memory(web.grid.pid("gw")).saturating_sub(before);
    assert!(grown < 60 * MB, "300 clients that begin to ask cost {} MB", grown / MB);
    // They may go on.
    for (number, mut connection) in halves.into_iter().enumerate() {
        connection.send(match number % 3 {
            0 => b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
            1 => b"TP/1.1\r\nHost: x\r\n\r\n",
            _ => b" y\r\n\r\n",
        });
        assert_eq!(connection.answer(true).status, 200);
    }
}

/// Several requests on one connection, of every kind.
fn kept_alive(web: &Web) {
    let body = content(2, 300_000);
    let mut connection = web.open();
    let cap = connection.ask("PUT", "/uri", "", &body).good();
    let path = format!("/uri/{}", escaped(&cap));
    let whole = connection.ask("GET", &path, "", b"");
    assert_eq!((whole.status, differs_at(&whole.body, &body)), (200, None));
    let etag = whole.header("ETag").expect("a tag").to_owned();
    let head = connection.ask("HEAD", &path, "", b"");
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("300000")));
    // Conditional requests.
    for (condition, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: \"other\", W/{etag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"other\"\r\n".into(), 200),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".into(), 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = connection.ask(method, &path, &condition, b"");
            assert_eq!(answer.status, status, "{method} {condition}");
            assert_eq!(answer.header("ETag"), Some(&*etag));
        }
    }
    // Parts, and what they depend on.
    let part = connection.ask("GET", &path, "Range: bytes=100-199\r\n", b"");
    assert_eq!((part.status, &part.body[..]), (206, &body[100..200]));
    assert_eq!(part.header("Content-Range"), Some("bytes 100-199/300000"));
    let same = format!("Range: bytes=-100\r\nIf-Range: {etag}\r\n");
    let part = connection.ask("GET", &path, &same, b"");
    assert_eq!((part.status, &part.body[..]), (206, &body[299_900..]));
    for begun in ["\"other\"", &format!("W/{etag}"), "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let answer = connection.ask("GET", &path, &format!("Range: bytes=0-9\r\nIf-Range: {begun}\r\n"), b"");
        assert_eq!((answer.status, answer.body.len()), (200, 300_000), "{begun}");
    }
    assert_eq!(connection.ask("GET", &path, "Range: bytes=300000-\r\n", b"").status, 416);
    assert_eq!(connection.ask("GET", "/none", "", b"").status, 404);
    // A directory has a tag, too, when it cannot change.
    let child = r#"["filenode", {"ro_uri": "URI:LIT:krugkidfnzsc4"}]"#;
    let children = format!("{{\"one\": {child}, \"two\": {child}, \"three\": {child}}}");
    let fixed = connection.ask("POST", "/uri?t=mkdir-immutable", "", children.as_bytes()).good();
    let listed = connection.ask("GET", &format!("/uri/{}?t=json", escaped(&fixed)), "", b"");
    let tag = format!("If-None-Match: {}\r\n", listed.header("ETag").expect("a tag"));
    assert_eq!(connection.ask("GET", &format!("/uri/{}?t=json", escaped(&fixed)), &tag, b"").status, 304);
    // In chunks.
    let mut chunks = Vec::new();
    for chunk in body.chunks(70_001) {
        chunks.extend(format!("{:x};ext=1\r\n", chunk.len()).bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    connection.send(b"PUT /uri HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send(&chunks);
    connection.send(b"0\r\nX-Trailer: y\r\n\r\n");
    assert_eq!(connection.answer(true).good(), cap, "the same content is the same file");
    // Until one of them has had enough.
    let last = connection.ask("GET", "/health", "Connection: close\r\n", b"");
    assert_eq!(last.header("Connection"), Some("close"));
    assert!(connection.rest().is_empty());
    assert_eq!(web.say(b"GET /health HTTP/1.0\r\n\r\n").matches("HTTP/1.1 200").count(), 1);
    let mut old = web.open();
    for _ in 0..2 {
        old.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(old.answer(true).header("Connection"), Some("keep-alive"));
    }
}

/// Who asks first whether a body is welcome.
fn expect_continue(web: &Web) {
    let head = |target: &str, len: usize| {
        format!("PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\nExpect: 100-continue\r\n\r\n")
    };
    let mut connection = web.open();
    for _ in 0..2 {
        connection.send(head("/uri", 5).as_bytes());
        assert_eq!(connection.answer(true).status, 100);
        connection.send(b"hello");
        assert_eq!(connection.answer(true).good(), "URI:LIT:nbswy3dp");
    }
    // Nobody has to send what is refused anyhow.
    for (target, len, status) in
        [("/none", 5, 404), ("/uri/nonsense/x", 5, 400), ("/uri?format=sdmf", 200_000_000, 413)]
    {
        let mut connection = web.open();
        connection.send(head(target, len).as_bytes());
        let answer = connection.answer(true);
        assert_eq!((answer.status, answer.header("Connection")), (status, Some("close")), "{target}");
        assert!(connection.rest().is_empty());
    }
    let mut connection = web.open();
    connection.send(b"PUT /uri HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: miracles\r\n\r\n");
    assert_eq!(connection.answer(true).status, 417);
    // It may also lose its patience, and send.
    let mut connection = web.open();
    connection.send(format!("{}hello", head("/uri", 5)).as_bytes());
    let first = connection.answer(true);
    let answer = if first.status == 100 { connection.answer(true) } else { first };
    assert_eq!(answer.good(), "URI:LIT:nbswy3dp");
}

fn all(runtime: &'static str) {
    let web = Web::start(runtime);
    for (name, test) in [
        ("byte_by_byte", byte_by_byte as fn(&Web)),
        ("heads_without_measure", heads_without_measure),
        ("lengths_that_are_wrong", lengths_that_are_wrong),
        ("what_is_no_request", what_is_no_request),
        ("who_never_reads", who_never_reads),
        ("who_never_finishes", who_never_finishes),
        ("kept_alive", kept_alive),
        ("expect_continue", expect_continue),
    ] {
        println!("{runtime}: {name}");
        test(&web);
        web.is_well();
    }
    assert!(!web.grid.log("gw").contains("panicked"));
    let answer = ask_with(&web.authority, "GET", "/status", "", b"").good();
    let status: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(status["active"].as_array().map(Vec::len), Some(0), "{status}");
}

#[test]
fn blocking() {
    all("blocking");
}

#[test]
fn async_std() {
    all("async-std");
}

#[test]
fn smol() {
    all("smol");
}
