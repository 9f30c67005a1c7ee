//! The server's machine by itself.

use super::serve_at_every_split as check;
use super::*;

fn sent_for(message: &str, act: impl FnOnce(&mut ServerConnection)) -> (String, bool) {
    let mut server = ServerConnection::new(Limits::default());
    server.receive(Bytes::copy_from_slice(message.as_bytes()));
    while !matches!(server.poll_event(), Some(ServerEvent::Request(_))) {}
    act(&mut server);
    let mut sent = Vec::new();
    while let Some(bytes) = server.poll_output() {
        sent.extend_from_slice(&bytes);
    }
    let text = String::from_utf8(sent).expect("text");
    let _ = server.poll_event();
    (text, server.should_close())
}

#[test]
fn good_messages_at_every_split() {
    check("", "closed");
    check("\r\n", "closed");
    check("GET /a?b=%20 HTTP/1.1\r\nHost: n\r\n\r\n", "GET /a?b=%20 Http11 None; end; closed");
    check("\r\nGET / HTTP/1.0\r\n\r\n", "GET / Http10 None; end; closed");
    check(
        "PUT /a HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhello",
        "PUT /a Http11 Length(5); 'hello'; end; closed",
    );
    check(
        "PUT /a HTTP/1.1\r\nHost: n\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        "PUT /a Http11 Length(0); end; closed",
    );
    check(
        "PUT /a HTTP/1.1\r\nhost:n\r\ntransfer-ENCODING:\tChunked \r\n\r\n\
         5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
        "PUT /a Http11 Chunked; 'hello world'; end; closed",
    );
    check(
        "POST /a HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\nhi",
        "POST /a Http11 Length(2) continue; 'hi'; end; closed",
    );
    check(
        "GET http://n/a HTTP/1.1\r\nHost: n\r\nX: \u{e9}\r\nEmpty:\r\n\r\n",
        "GET http://n/a Http11 None; end; closed",
    );
    check("POST / HTTP/1.1\r\nHost: n\r\n\r\n", "POST / Http11 None; end; closed");
}

#[test]
fn pipelined_requests_at_every_split() {
    check(
        "GET /1 HTTP/1.1\r\nHost: n\r\n\r\n\
         PUT /2 HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabc\
         PUT /3 HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n\
         GET /5 HTTP/1.1\r\nHost: n\r\n\r\n",
        "GET /1 Http11 None; end; PUT /2 Http11 Length(3); 'abc'; end; \
         PUT /3 Http11 Chunked; 'd'; end; GET /4 Http11 None; end; closed",
    );
}

#[test]
fn responses_on_the_wire() {
    let ok = |body| {
        move |server: &mut ServerConnection| {
            let mut head = ResponseHead::new(200);
            head.headers = Headers::new().with("Content-Type", "text/plain").with("Content-Length", "99");
            server.respond(head, body);
            server.send_body(Bytes::from_static(b"hello "));
            server.send_body(Bytes::from_static(b"world"));
            server.finish();
        }
    };
    let new = "GET / HTTP/1.1\r\nHost: n\r\n\r\n";
    let old = "GET / HTTP/1.0\r\n\r\n";
    let old_kept = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nHost: n\r\n\r\n";
    let start = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    for (request, body, rest, closes) in [
        (new, ResponseBody::Length(11), "Content-Length: 11\r\n\r\nhello world", false),
        (
            new,
            ResponseBody::Streaming,
            "Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
            false,
        ),
        (old, ResponseBody::Length(11), "Content-Length: 11\r\nConnection: close\r\n\r\nhello world", true),
        (old, ResponseBody::Streaming, "Connection: close\r\n\r\nhello world", true),
        (
            old_kept,
            ResponseBody::Length(11),
            "Content-Length: 11\r\nConnection: keep-alive\r\n\r\nhello world",
            false,
        ),
        (old_kept, ResponseBody::Streaming, "Connection: close\r\n\r\nhello world", true),
        (head, ResponseBody::Length(11), "Content-Length: 11\r\n\r\n", false),
        (head, ResponseBody::Streaming, "Transfer-Encoding: chunked\r\n\r\n", false),
        // Too short: the connection closes and nothing is made up.
        (new, ResponseBody::Length(12), "Content-Length: 12\r\n\r\nhello world", true),
    ] {
        let (sent, closed) = sent_for(request, ok(body));
        assert_eq!(sent, format!("{start}{rest}"), "{request:?} {body:?}");
        assert_eq!(closed, closes, "{request:?} {body:?}");
    }
}

#[test]
fn bodiless_statuses() {
    for status in [204, 304] {
        let (sent, closed) = sent_for("GET / HTTP/1.1\r\nHost: n\r\n\r\n", |server| {
            server.respond(ResponseHead::new(status), ResponseBody::Streaming);
            server.send_body(Bytes::from_static(b"x"));
            server.finish();
        });
        assert!(sent.ends_with("\r\n\r\n") && !sent.contains("ength"), "{sent}");
        assert!(!closed);
    }
}

#[test]
#[cfg(not(debug_assertions))]
fn too_much_is_cut_off() {
    let (sent, _) = sent_for("GET / HTTP/1.1\r\nHost: n\r\n\r\n", |server| {
        server.respond(ResponseHead::new(200), ResponseBody::Length(2));
        server.send_body(Bytes::from_static(b"abc"));
        server.send_body(Bytes::from_static(b"d"));
        server.finish();
    });
    assert!(sent.ends_with("\r\n\r\nab"));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "3 bytes sent where 2 were declared")]
fn too_much_is_a_bug() {
    sent_for("GET / HTTP/1.1\r\nHost: n\r\n\r\n", |server| {
        server.respond(ResponseHead::new(200), ResponseBody::Length(2));
        server.send_body(Bytes::from_static(b"abc"));
    });
}

#[test]
fn bodies_are_not_copied() {
    let mut server = ServerConnection::new(Limits::default());
    let message = Bytes::from_static(
        b"PUT / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    server.receive(message.clone());
    let mut found = None;
    while let Some(event) = server.poll_event() {
        if let ServerEvent::Body(bytes) = event {
            found = Some(bytes);
        }
    }
    let body = found.expect("a body");
    assert!(message.as_ptr_range().contains(&body.as_ptr()));

    server.respond(ResponseHead::new(200), ResponseBody::Streaming);
    server.send_body(body.clone());
    server.finish();
    let outgoing: Vec<Bytes> = std::iter::from_fn(|| server.poll_output()).collect();
    assert!(outgoing.iter().any(|chunk| chunk.as_ptr() == body.as_ptr()));
}

#[test]
fn early_answer_drains_or_closes() {
    let answer = |server: &mut ServerConnection| {
        server.respond(ResponseHead::new(401), ResponseBody::Empty);
        server.finish();
        while server.poll_output().is_some() {}
    };
    let mut server = ServerConnection::new(Limits::default());
    server.receive(Bytes::from_static(b"PUT / HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhe"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    answer(&mut server);
    assert_eq!(server.poll_event(), None);
    assert!(!server.should_close() && server.wants_input());
    server.receive(Bytes::from_static(b"lloGET / HTTP/1.1\r\nHost: n\r\n\r\n"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));

    // Too much is left to throw away.
    let mut server = ServerConnection::new(Limits::default());
    server.receive(Bytes::from_static(b"PUT / HTTP/1.1\r\nHost: n\r\nContent-Length: 70000\r\n\r\nhe"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    answer(&mut server);
    assert!(server.should_close());
    assert_eq!(server.poll_event(), Some(ServerEvent::Closed));

    // Chunks are bounded with their framing.
    let mut server = ServerConnection::new(Limits::default());
    server.receive(Bytes::from_static(b"PUT / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    answer(&mut server);
    let mut drained = 0;
    while server.wants_input() {
        let chunk = Bytes::from_static(b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n");
        drained += chunk.len();
        server.receive(chunk);
        let event = server.poll_event();
        assert!(matches!(event, None | Some(ServerEvent::Closed)));
    }
    assert!(drained < 66_000 && server.should_close());
}

#[test]
fn unanswered_expectation_closes() {
    let request = "PUT / HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let refuse = |server: &mut ServerConnection| {
        server.respond(ResponseHead::new(413), ResponseBody::Empty);
        server.finish();
    };
    let (sent, closed) = sent_for(request, refuse);
    assert!(sent.contains("Connection: close") && closed);

    let (sent, closed) = sent_for(request, |server| {
        server.send_continue();
        server.send_continue();
        refuse(server);
    });
    assert!(sent.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 "));
    assert!(!sent.contains("Connection") && !closed);
}

#[test]
fn next_request_waits_for_the_output() {
    let mut server = ServerConnection::new(Limits::default());
    server
        .receive(Bytes::from_static(b"GET /1 HTTP/1.1\r\nHost: n\r\n\r\nGET /2 HTTP/1.1\r\nHost: n\r\n\r\n"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    assert_eq!(server.poll_event(), Some(ServerEvent::BodyEnd));
    assert_eq!(server.poll_event(), None);
    server.respond(ResponseHead::new(200), ResponseBody::Empty);
    server.finish();
    assert_eq!(server.poll_event(), None);
    while server.poll_output().is_some() {}
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
}

#[test]
fn back_pressure_holds_the_driver() {
    let mut server = ServerConnection::new(Limits::default());
    server.receive(Bytes::from_static(b"PUT / HTTP/1.1\r\nHost: n\r\nContent-Length: 1000000\r\n\r\n"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    let mut reads = 0;
    while server.wants_input() {
        server.receive(Bytes::from(vec![0; 16 * 1024]));
        reads += 1;
    }
    assert_eq!((reads, server.buffered()), (4, 64 * 1024));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Body(_))));
    assert!(server.wants_input());
}

#[test]
fn half_closed_clients_are_answered() {
    let (trace, sent) = serve(&[b"GET / HTTP/1.1\r\nHost: n\r\n\r\n"], &Limits::default());
    assert_eq!(trace, "GET / Http11 None; end; closed");
    assert!(sent.ends_with(b"ok"));
}

#[test]
fn patience() {
    let mut server = ServerConnection::new(Limits::default());
    server.receive_timeout();
    assert_eq!(server.poll_event(), Some(ServerEvent::Closed));

    let mut server = ServerConnection::new(Limits::default());
    server.receive(Bytes::from_static(b"GET"));
    assert_eq!(server.poll_event(), None);
    server.receive_timeout();
    assert_eq!(server.poll_event(), Some(ServerEvent::Bad(HttpError::TimedOut)));
    server.respond(ResponseHead::new(408), ResponseBody::Empty);
    server.finish();
    assert!(server.poll_output().is_some());
    assert_eq!(server.poll_event(), Some(ServerEvent::Closed));
}

#[test]
fn patience_with_a_client_that_owes_nothing() {
    for headers in ["", "Content-Length: 5\r\nExpect: 100-continue\r\n"] {
        let message = format!("PUT / HTTP/1.1\r\nHost: n\r\n{headers}\r\n");
        let mut server = ServerConnection::new(Limits::default());
        server.receive(Bytes::from(message));
        assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
        server.receive_timeout();
        assert!(!matches!(server.poll_event(), Some(ServerEvent::Bad(_))));
        server.send_continue();
        server.receive_timeout();
        let owes = !headers.is_empty();
        let bad = Some(ServerEvent::Bad(HttpError::TimedOut));
        assert_eq!(server.poll_event() == bad, owes);
    }
}

#[test]
fn abort_leaves_the_body_incomplete() {
    let (sent, closed) = sent_for("GET / HTTP/1.1\r\nHost: n\r\n\r\n", |server| {
        server.respond(ResponseHead::new(200), ResponseBody::Streaming);
        server.send_body(Bytes::from_static(b"abc"));
        server.abort();
        server.send_body(Bytes::from_static(b"late"));
        server.finish();
    });
    assert!(sent.ends_with("3\r\nabc\r\n") && closed);
}
