//! Clients that are slow, idle or many, in virtual time: none of them keeps the node from others, or takes
//! more of it than its share.

use std::time::Duration;
use tallac_core::machine::ConnId;
use tallac_tests::content;
use tallac_tests::lonely::Lonely;

const SECOND: Duration = Duration::from_secs(1);
const CONNECTIONS_MAX: usize = 1_024;

/// Sends bytes at this pace, for so many minutes at most. Returns after how many the node had enough.
fn trickle(lonely: &mut Lonely, conn: ConnId, bytes: &[u8], pause: Duration, minutes: u64) -> Option<u64> {
    let begun = lonely.now.instant;
    for byte in bytes.iter().cycle() {
        lonely.say(conn, &[*byte]);
        lonely.pass(pause);
        let took = lonely.now.instant.since(begun).as_secs() / 60;
        if lonely.client(conn).over {
            return Some(took);
        }
        if took >= minutes {
            return None;
        }
    }
    None
}

fn heard(lonely: &mut Lonely, conn: ConnId) -> String {
    String::from_utf8_lossy(&lonely.client(conn).said).into_owned()
}

/// A slow loris: each byte comes in time, the request never.
#[test]
fn bytes_that_trickle_in() {
    let form = "POST /uri?t=upload HTTP/1.1\r\nHost: here\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n";
    for (begins, goes_on, told) in [
        ("", "GET / HTTP/1.1", Some(true)),
        ("GET / HTTP/1.1\r\nHost: here\r\n", "X: a\r\n", Some(true)),
        // Empty lines before a request are no request, but half of one may be.
        ("", "\r\n", None),
        ("PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n", "x", Some(true)),
        ("PUT /uri HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", Some(true)),
        ("PUT /uri?mutable=true HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n", "x", Some(true)),
        (form, "--b\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n", Some(true)),
        (
            "POST /uri?t=set_children HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n",
            "[",
            Some(true),
        ),
        // Refused long ago; what still comes is thrown away.
        ("PUT /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 50000\r\n\r\n", "x", Some(false)),
    ] {
        for pause in [SECOND, 50 * SECOND] {
            let mut lonely = Lonely::new(3);
            let conn = lonely.connect();
            lonely.say(conn, begins.as_bytes());
            lonely.settle();
            let took = trickle(&mut lonely, conn, goes_on.as_bytes(), pause, 60);
            assert!(took.is_some_and(|minutes| minutes <= 4), "{begins:?} is let go on: {took:?}");
            let heard = heard(&mut lonely, conn);
            let was_told = heard.starts_with("HTTP/1.1 408 ");
            assert!(told.is_none_or(|told| told == was_told), "{begins:?}: {heard}");
            lonely.settle();
            assert!(lonely.disk.files.is_empty(), "{begins:?}");
            assert_eq!(lonely.operations(), (0, 0), "{begins:?}");
        }
    }
}

/// A line of 2 kbit/s is slow, but honest.
#[test]
fn a_slow_line_is_waited_for() {
    let mut lonely = Lonely::new(3);
    let conn = lonely.connect();
    let len = 500_000;
    let head = format!("PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: {len}\r\n\r\n");
    lonely.say(conn, head.as_bytes());
    for piece in content(1, len).chunks(2_500) {
        assert!(heard(&mut lonely, conn).is_empty());
        lonely.say(conn, piece);
        lonely.pass(10 * SECOND);
    }
    assert!(lonely.answer(conn).starts_with("HTTP/1.1 503 "), "all of it has come");
    // It may be idle for a while, and ask again.
    lonely.pass(100 * SECOND);
    lonely.say(conn, b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(lonely.answer(conn).starts_with("HTTP/1.1 200 "));
    lonely.pass(100 * SECOND);
    assert!(!lonely.client(conn).over);
    lonely.pass(30 * SECOND);
    assert!(lonely.client(conn).over, "who is idle for two minutes is let go");
    assert!(heard(&mut lonely, conn).is_empty(), "quietly");
}

/// Nor does it help to read a byte now and then.
#[test]
fn answers_that_trickle_out() {
    for pause in [SECOND, 300 * SECOND] {
        let mut lonely = Lonely::new(3);
        let conn = lonely.connect();
        lonely.client(conn).deaf = true;
        lonely.say(conn, b"GET /statistics HTTP/1.1\r\nHost: here\r\n\r\n");
        lonely.settle();
        let begun = lonely.now.instant;
        while !lonely.client(conn).over {
            lonely.pass(pause);
            lonely.hear(conn, 1);
            let took = lonely.now.instant.since(begun);
            assert!(took < Duration::from_secs(20 * 60), "{took:?}");
        }
    }
}

/// Requests are not answered for who does not read the answers to those before.
#[test]
fn who_asks_and_never_reads_is_not_answered() {
    let mut lonely = Lonely::new(3);
    let conn = lonely.connect();
    lonely.client(conn).deaf = true;
    let requests = b"GET /statistics HTTP/1.1\r\nHost: here\r\n\r\n".repeat(20_000);
    lonely.say(conn, &requests);
    lonely.settle();
    let (unread, left) = (lonely.client(conn).unread, lonely.client(conn).to_say.len());
    assert!(unread < 300_000, "{unread} bytes wait for somebody who does not read");
    assert!(left > requests.len() / 2, "{left} bytes were left where they came from");
    // If it reads after all, it gets the rest.
    while lonely.client(conn).unread > 0 {
        lonely.hear(conn, 100_000);
        lonely.settle();
    }
    let answers = heard(&mut lonely, conn).matches("HTTP/1.1 200 ").count();
    assert_eq!((answers, lonely.client(conn).to_say.len()), (20_000, 0));
}

/// With as many connections as there may be, one more takes the place of who is idle for longest. Nobody
/// who is in the middle of something has to go.
#[test]
fn a_full_house() {
    let mut lonely = Lonely::new(3);
    let upload = lonely.connect();
    lonely.say(upload, b"PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nbegun");
    lonely.pass(SECOND);
    let mut idle = Vec::new();
    for number in 1..CONNECTIONS_MAX {
        let conn = lonely.connect();
        // Some have been answered, some have begun to ask, some have said nothing.
        let said: &[u8] = match number % 3 {
            0 => b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n",
            1 => b"GET /hea",
            _ => b"",
        };
        lonely.say(conn, said);
        lonely.pass(Duration::from_millis(10));
        idle.push(conn);
    }
    assert!(idle.iter().all(|conn| !lonely.client(*conn).over));
    for number in 0..100 {
        let conn = lonely.connect();
        lonely.say(conn, b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n");
        assert!(lonely.answer(conn).starts_with("HTTP/1.1 200 "), "{number}");
        assert!(lonely.client(idle[number]).over && !lonely.client(idle[number + 1]).over, "{number}");
        lonely.pass(Duration::from_millis(10));
    }
    lonely.say(upload, &content(1, 995));
    assert!(lonely.answer(upload).starts_with("HTTP/1.1 503 "), "it was let finish");

    // All in the middle of something: there is no room.
    let mut lonely = Lonely::new(3);
    let uploads: Vec<ConnId> = (0..CONNECTIONS_MAX)
        .map(|_| {
            let conn = lonely.connect();
            lonely.say(conn, b"PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nbegun");
            lonely.settle();
            conn
        })
        .collect();
    let late = lonely.connect();
    assert!(lonely.client(late).over);
    assert!(uploads.iter().all(|conn| !lonely.client(*conn).over));
    // But not for ever.
    lonely.pass(Duration::from_secs(150));
    assert!(uploads.iter().all(|conn| lonely.client(*conn).over));
    lonely.settle();
    assert_eq!(lonely.operations(), (0, 0));
    let conn = lonely.connect();
    lonely.say(conn, b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(lonely.answer(conn).starts_with("HTTP/1.1 200 "));
}
