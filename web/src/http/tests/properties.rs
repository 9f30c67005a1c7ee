//! Hostile input, generated.

use proptest::prelude::*;

use super::*;

/// Texts between good and nonsense: pieces of messages in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET / HTTP/1.1\r\n".to_owned()),
        Just("PUT /a HTTP/1.1\r\nHost: n\r\n".to_owned()),
        Just("HTTP/1.1 200 OK\r\n".to_owned()),
        Just("HTTP/1.0 100 Continue\r\n\r\n".to_owned()),
        Just("Host: n\r\n".to_owned()),
        Just("Content-Length: 5\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Connection: close\r\n".to_owned()),
        Just("Expect: 100-continue\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("5\r\nhello\r\n".to_owned()),
        Just("0\r\n\r\n".to_owned()),
        Just("ffffffffffffffff\r\n".to_owned()),
        Just("\n".to_owned()),
        "[ -~]{0,8}",
        any::<String>(),
    ];
    prop_oneof![
        3 => proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at((*size).min(rest.len()));
        parts.push(part);
        rest = after;
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn server_takes_anything_at_any_split(
        bytes in soup(),
        sizes in proptest::collection::vec(1_usize..40, 1..5),
    ) {
        let limits = Limits { head: 100, headers: 5, target: 40, drain: 20, ..Limits::default() };
        let whole = serve(&[&bytes], &limits);
        let parts = serve(&cut(&bytes, &sizes), &limits);
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn client_takes_anything_at_any_split(
        bytes in soup(),
        sizes in proptest::collection::vec(1_usize..40, 1..5),
        head in any::<bool>(),
    ) {
        let method = if head { Method::Head } else { Method::Get };
        let limits = Limits { head: 100, headers: 5, ..Limits::default() };
        let mut bytes = bytes;
        if !bytes.starts_with(b"HTTP") {
            bytes.splice(0..0, *b"HTTP/1.1 200 OK\r\n");
        }
        // Whether a connection can be used again depends on when leftover bytes come.
        let strip = |trace: String| trace.replace("; reusable", "").replace("; UnexpectedInput", "");
        let whole = strip(fetch(method.clone(), &[&bytes], &limits));
        let parts = strip(fetch(method, &cut(&bytes, &sizes), &limits));
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn server_holds_no_more_than_its_limit(
        chunks in proptest::collection::vec(soup(), 0..40),
        polls in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let limits = Limits { input: 256, ..Limits::default() };
        let mut server = ServerConnection::new(limits.clone());
        for (chunk, poll) in chunks.into_iter().zip(polls) {
            let size = chunk.len();
            if server.wants_input() {
                server.receive(Bytes::from(chunk));
            }
            prop_assert!(server.buffered() < limits.input + size.max(1) || !server.wants_input());
            prop_assert!(server.buffered() <= limits.input + 4000);
            if poll {
                // A consumer that never answers.
                while server.poll_event().is_some() {}
                prop_assert_eq!(server.output_len(), 0);
            }
        }
    }

    /// Calls in any order neither panic in release nor produce output from nowhere; in debug the
    /// assertions tell misuse, so that only sensible orders are tried there.
    #[test]
    fn abandoned_exchanges_end(bytes in soup(), answers in proptest::collection::vec(0_u8..4, 20)) {
        let mut server = ServerConnection::new(Limits::default());
        server.receive(Bytes::from(bytes));
        server.receive_eof();
        for answer in answers {
            while server.poll_event().is_some() {}
            match answer {
                0 if server.awaits_response() => {
                    server.respond(ResponseHead::new(200), ResponseBody::Streaming);
                    server.finish();
                }
                1 if server.awaits_response() => {
                    server.respond(ResponseHead::new(500), ResponseBody::Length(9));
                    server.finish();
                }
                2 => server.send_continue(),
                3 => server.receive_timeout(),
                _ => {}
            }
            while server.poll_output().is_some() {}
        }
        server.abort();
        while server.poll_event().is_some() {}
        while server.poll_output().is_some() {}
        prop_assert!(server.should_close());
    }
}
