//! A node's web port as a machine: requests come in pieces, disk and jobs finish when they please,
//! and every request is answered.

use tallac_core::disk::StorePath;
use tallac_core::machine::ConnId;
use tallac_tests::content;
use tallac_tests::lonely::Lonely;
use tallac_tests::memory_grid::Fault;

/// The whole body is taken in, however it is cut and however late the disk is: only then can it be
/// said that nobody is there to store it.
#[test]
fn a_body_is_read_to_its_end() {
    for seed in 0..40 {
        for len in [0, 55, 56, 1_000_000, 1_048_577, 4_300_000 + seed as usize * 30_000] {
            let mut lonely = Lonely::new(seed);
            let conn = lonely.connect();
            let head = format!("PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: {len}\r\n\r\n");
            lonely.say(conn, head.as_bytes());
            lonely.say(conn, &content(seed, len));
            let answer = lonely.answer(conn);
            let expected = if len <= 55 { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
            assert!(answer.starts_with(expected), "seed {seed}, {len} bytes: {answer}");
            assert_eq!(lonely.client(conn).to_say.len(), 0, "seed {seed}, {len} bytes: {answer}");
            let spools = lonely.disk.files.len();
            lonely.settle();
            assert!(lonely.disk.files.is_empty(), "{spools} spools after seed {seed}, {len} bytes");
        }
    }
}

/// A body in chunks has no length; what is refused early leaves no spool, whatever the disk is at.
#[test]
fn who_leaves_in_the_middle_leaves_nothing() {
    for seed in 0..60 {
        let mut lonely = Lonely::new(seed);
        let conn = lonely.connect();
        lonely.say(conn, b"PUT /uri HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in 0..30 {
            lonely.say(conn, b"30000\r\n");
            lonely.say(conn, &content(chunk, 0x30000));
            lonely.say(conn, b"\r\n");
        }
        for _ in 0..seed * 3 {
            lonely.step();
        }
        lonely.hang_up(conn, false);
        lonely.settle();
        assert!(lonely.disk.files.is_empty(), "seed {seed} leaves {:?}", lonely.disk.files.keys());
    }
}

/// Every kind of request that has a body, and what is answered when no server can be reached: its status
/// and some words of it.
fn exchanges() -> Vec<(String, &'static str, &'static str)> {
    let directory = format!("URI%3ADIR2%3A{}%3A{}", "a".repeat(26), "a".repeat(52));
    let immutable = "URI%3ADIR2-LIT%3A";
    let request = |method: &str, target: &str, kind: &str, body: &str| {
        let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let len = body.len();
        format!("{method} {target} HTTP/1.1\r\nHost: here\r\n{kind}Content-Length: {len}\r\n\r\n{body}")
    };
    let form = "application/x-www-form-urlencoded";
    let parts = "multipart/form-data; boundary=bb";
    let part = |name: &str, rest: &str, content: &str| {
        format!("--bb\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n{content}\r\n")
    };
    let small = format!("{}{}--bb--\r\n", part("t", "", "upload"), part("file", "; filename=\"f\"", "short"));
    let large = part("file", "; filename=\"f\"", &"long\r\n--b".repeat(20_000)) + "--bb--\r\n";
    let children = r#"{"x": ["filenode", {"ro_uri": "URI:LIT:me"}]}"#;
    let chunked = "PUT /uri HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nsh\r\n3\r\nort\r\n0\r\nX: y\r\n\r\n";
    vec![
        (request("POST", "/uri?t=mkdir-immutable", "", children), "200", "URI:DIR2-LIT:"),
        (request("POST", "/uri", form, "t=mkdir-immutable"), "400", "JSON"),
        (request("POST", "/uri?t=mkdir", "", ""), "503", "servers"),
        (request("PUT", "/uri?format=sdmf", "", "content"), "503", "not stored"),
        (chunked.into(), "200", "URI:LIT:"),
        (request("POST", "/uri", parts, &small), "200", "URI:LIT:"),
        (request("POST", "/uri?t=upload", parts, &large), "503", "not stored"),
        (request("PUT", &format!("/uri/{directory}/x"), "", &"x".repeat(1_000)), "410", "server"),
        (request("PUT", &format!("/uri/{immutable}/x"), "", "x"), "400", "read-only"),
        (request("PUT", &format!("/uri/{immutable}/x?t=uri"), "", "URI:LIT:me"), "400", "read-only"),
        (request("GET", &format!("/uri/{immutable}?t=json"), "", ""), "200", "\"children\": {"),
        (request("GET", &format!("/uri/{immutable}/x"), "", ""), "404", "x"),
        (request("POST", &format!("/uri/{directory}?t=set_children"), "", children), "410", "server"),
        (request("POST", &format!("/uri/{directory}"), form, "t=unlink&name=x"), "410", "server"),
        (request("POST", &format!("/uri/{directory}?t=set_children"), form, "[[["), "400", "children"),
    ]
}

#[track_caller]
fn is_answered(lonely: &mut Lonely, conn: ConnId, exchange: &(String, &str, &str), how: &str) {
    let (request, status, words) = exchange;
    let mut answer = lonely.answer(conn);
    // The head may come before the body.
    lonely.settle();
    answer.push_str(&String::from_utf8_lossy(&std::mem::take(&mut lonely.client(conn).said)));
    let line = format!("HTTP/1.1 {status}");
    assert!(answer.starts_with(&line) && answer.contains(words), "{how}, {request:.80}: {answer}");
}

/// One after the other on one connection, in pieces of any length: the answers are the same.
#[test]
fn requests_in_any_pieces() {
    for seed in 0..30 {
        let mut lonely = Lonely::new(seed);
        let conn = lonely.connect();
        for exchange in &exchanges() {
            lonely.say(conn, exchange.0.as_bytes());
            is_answered(&mut lonely, conn, exchange, &format!("seed {seed}"));
        }
        assert!(lonely.disk.files.is_empty(), "seed {seed}");
    }
}

/// Cut in two at every byte, and in single bytes.
#[test]
fn requests_split_at_every_byte() {
    for exchange in &exchanges() {
        let request = exchange.0.as_bytes();
        let (head, _) = exchange.0.split_once("\r\n\r\n").expect("a head");
        // A long body is all the same from some byte on.
        for at in (1..request.len()).filter(|at| *at < head.len() + 300 || *at > request.len() - 20) {
            let mut lonely = Lonely::new(at as u64 % 7);
            let conn = lonely.connect();
            lonely.say(conn, &request[..at]);
            lonely.settle();
            lonely.say(conn, &request[at..]);
            is_answered(&mut lonely, conn, exchange, &format!("cut at {at}"));
        }
        let mut lonely = Lonely::new(20);
        lonely.piece_max = 1;
        let conn = lonely.connect();
        lonely.say(conn, request);
        is_answered(&mut lonely, conn, exchange, "byte by byte");
    }
}

/// Who hangs up in the middle of anything leaves nothing, and breaks nothing.
#[test]
fn hanging_up_anywhere() {
    let directory = format!("URI%3ADIR2%3A{}%3A{}", "a".repeat(26), "a".repeat(52));
    let form = "--bb\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    let kind = "Content-Type: multipart/form-data; boundary=bb\r\n";
    for head in [
        format!("PUT /uri/{directory}/x HTTP/1.1\r\nHost: here\r\nContent-Length: 200000\r\n\r\n"),
        "PUT /uri?format=mdmf HTTP/1.1\r\nHost: here\r\nContent-Length: 200000\r\n\r\n".into(),
        format!("POST /uri?t=upload HTTP/1.1\r\nHost: here\r\n{kind}Content-Length: 200000\r\n\r\n{form}"),
        format!(
            "POST /uri/{directory}?t=set_children HTTP/1.1\r\nHost: here\r\nContent-Length: 200000\r\n\r\n"
        ),
        format!("GET /uri/{directory}?t=json HTTP/1.1\r\nHost: here\r\n\r\n"),
        format!("DELETE /uri/{directory}/x HTTP/1.1\r\nHost: here\r\n\r\n"),
    ] {
        for seed in 0..40 {
            let mut lonely = Lonely::new(seed);
            let conn = lonely.connect();
            lonely.say(conn, head.as_bytes());
            lonely.say(conn, &content(seed, 150_000));
            for _ in 0..seed {
                lonely.step();
            }
            lonely.hang_up(conn, seed % 2 == 1);
            lonely.settle();
            assert!(lonely.disk.files.is_empty(), "seed {seed}, {head:.40}");
            assert_eq!(lonely.operations(), (0, 0), "seed {seed}, {head:.40}");
        }
    }
}

/// A disk that fills under the spool is told as such, whatever the client is at, and what was written is
/// removed. So is one that says that it has no room for what was announced.
#[test]
fn a_disk_that_fills_under_the_spool() {
    let chunked = "PUT /uri HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n4c4b40\r\n";
    let long = "PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: 5000000\r\n\r\n";
    for (head, seed) in [long, chunked].iter().flat_map(|head| (0..30).map(move |seed| (head, seed))) {
        let mut lonely = Lonely::new(seed);
        let conn = lonely.connect();
        lonely.say(conn, head.as_bytes());
        lonely.say(conn, &content(seed, 5_000_000));
        lonely.say(conn, b"\r\n0\r\n\r\n");
        let spooled = |lonely: &Lonely| {
            let spools = lonely.disk.files.iter().filter(|(path, _)| matches!(path, StorePath::Spool(_)));
            spools.map(|(_, file)| file.len()).sum::<usize>()
        };
        while spooled(&lonely) < seed as usize * 100_000 && lonely.step() {}
        if seed % 2 == 0 {
            lonely.disk.fault = Some(Fault::Full);
        } else {
            lonely.disk.free = 1_000_000;
        }
        let answer = lonely.answer(conn);
        assert!(answer.starts_with("HTTP/1.1 507 "), "seed {seed}: {answer}");
        lonely.settle();
        assert!(lonely.disk.files.is_empty(), "seed {seed} leaves {:?}", lonely.disk.files.keys());
        assert_eq!(lonely.operations(), (0, 0), "seed {seed}");
        // Once there is room again, files are spooled as before: only the servers are still missing.
        (lonely.disk.fault, lonely.disk.free) = (None, 1 << 40);
        let conn = lonely.connect();
        lonely.say(conn, b"PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n");
        lonely.say(conn, &content(seed, 100));
        assert!(lonely.answer(conn).starts_with("HTTP/1.1 503 "), "seed {seed}");
    }
}
