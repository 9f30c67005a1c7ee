//! The client's machine by itself.

use super::*;

fn check_method(method: Method, message: &str, expected: &str) {
    for split in every_split(message.as_bytes()) {
        let trace = fetch(method.clone(), &split, &Limits::default());
        assert_eq!(trace, expected, "{message:?} in {} parts", split.len());
    }
}

fn check(message: &str, expected: &str) {
    check_method(Method::Get, message, expected);
}

#[test]
fn good_responses_at_every_split() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 Length(5); 'hello'; end; reusable");
    check(
        "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "200 Chunked; 'hello'; end; reusable",
    );
    check("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "200 Length(0); end");
    check("HTTP/1.0 200 OK\r\n\r\nhello", "200 UntilClose; 'hello'; end");
    check("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nh", "200 Length(1); 'h'; end");
    check("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204 None; end; reusable");
    check("HTTP/1.1 304 Not Modified\r\n\r\n", "304 None; end; reusable");
    check_method(Method::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 None; end; reusable");
    check(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx",
        "continue; 404 Length(1); 'x'; end; reusable",
    );
}

#[test]
fn short_bodies_are_errors() {
    check("", "NoResponse");
    check("HTTP/1.1 200 OK\r\nContent", "HeadCutShort");
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "200 Length(5); 'hell'; BodyCutShort");
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 Length(5); BodyCutShort");
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "200 Chunked; 'hello'; BodyCutShort",
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "200 Chunked; 'hello'; BodyCutShort",
    );
}

#[test]
fn bad_responses() {
    for (message, error) in [
        ("SSH-2.0-x\r\n", "BadStatusLine"),
        ("HTTP/2.0 200 OK\r\n\r\n", "UnsupportedVersion"),
        ("Http/1.1 200 OK\r\n\r\n", "BadStatusLine"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "BadStatusLine"),
        ("HTTP/1.1 099 OK\r\n\r\n", "BadStatusLine"),
        ("HTTP/1.1 600 OK\r\n\r\n", "BadStatusLine"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "BadStatusLine"),
        ("HTTP/1.1 200 OK\n\n", "BareLineFeed"),
        ("HTTP/1.1 101 Upgrade\r\n\r\n", "UnexpectedUpgrade"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "LengthAndTransferEncoding",
        ),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "BadHeader"),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "BadHeader"),
    ] {
        check(message, error);
    }
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(9);
    check(&interim, "TooManyInterimResponses");
}

#[test]
fn leftover_bytes_are_an_error() {
    let message: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n";
    let trace = fetch(Method::Get, &[message], &Limits::default());
    assert_eq!(trace, "200 Length(1); 'x'; end; UnexpectedInput");
}

#[test]
fn requests_on_the_wire() {
    let sent = |head: &RequestHead| {
        let mut client = ClientConnection::new(Limits::default());
        client.request(head)?;
        let bytes: Vec<Bytes> = std::iter::from_fn(|| client.poll_output()).collect();
        Ok(String::from_utf8(bytes.concat()).expect("text"))
    };
    let mut head = get(Method::Put);
    assert_eq!(sent(&head).as_deref(), Ok("PUT / HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n\r\n"));
    head.body = BodyKind::Length(5);
    head.expects_continue = true;
    head.headers = head.headers.with("Connection", "close").with("content-length", "9");
    assert_eq!(
        sent(&head).as_deref(),
        Ok("PUT / HTTP/1.1\r\nHost: node\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\
            Connection: close\r\n\r\n")
    );
    head.body = BodyKind::UntilClose;
    assert_eq!(sent(&head), Err(ApiMisuse::InvalidBody));
    for target in ["", "a", "/ b", "/a\r\nX: y", "/\u{e9}"] {
        let mut head = get(Method::Get);
        head.target = target.to_owned();
        assert_eq!(sent(&head), Err(ApiMisuse::InvalidTarget), "{target:?}");
    }
    for method in ["", "G T", "GET\r\n", "CONNECT"] {
        let head = get(Method::from(method));
        assert_eq!(sent(&head), Err(ApiMisuse::InvalidMethod), "{method:?}");
    }
    let head = RequestHead::new(Method::Get, "/");
    assert_eq!(sent(&head), Err(ApiMisuse::InvalidHost));
}

#[test]
fn one_request_at_a_time() {
    let mut client = ClientConnection::new(Limits::default());
    assert_eq!(client.request(&get(Method::Get)), Ok(()));
    assert_eq!(client.request(&get(Method::Get)), Err(ApiMisuse::Busy));
    client.receive_eof();
    assert_eq!(client.poll_event(), Some(ClientEvent::Bad(HttpError::NoResponse)));
    assert_eq!(client.request(&get(Method::Get)), Err(ApiMisuse::NotReusable));
}

#[test]
fn short_upload_closes() {
    let mut client = ClientConnection::new(Limits::default());
    let mut head = get(Method::Put);
    head.body = BodyKind::Length(5);
    client.request(&head).expect("a good request");
    client.send_body(Bytes::from_static(b"hell"));
    client.finish_body();
    assert!(client.should_close());
}

#[test]
fn headers_cannot_be_injected() {
    let mut headers = Headers::new();
    for value in ["a\r\nb", "a\nb", "a\0", " a", "a\t", "\u{7f}"] {
        assert_eq!(headers.push("X", value), Err(InvalidHeader::Value), "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r\n", "\u{e9}"] {
        assert_eq!(headers.push(name, "x"), Err(InvalidHeader::Name), "{name:?}");
    }
    assert_eq!(headers.push("X-Caf\u{65}", "caf\u{e9}"), Ok(()));
    assert_eq!(headers.get_str("x-cafe"), Some("caf\u{e9}"));
    let secret = Headers::new().with("Authorization", "Bearer abc");
    assert!(!format!("{secret:?}").contains("abc"));
}
