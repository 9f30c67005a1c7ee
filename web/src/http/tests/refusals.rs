//! What the server refuses, and with which error.

use super::serve_at_every_split as check;
use super::*;

/// A request with these headers is refused so.
fn check_refused(headers: &str, expected: HttpError) {
    let message = format!("PUT /x HTTP/1.1\r\nHost: n\r\n{headers}\r\n\r\nGET /inner HTTP/1.1\r\n");
    check(&message, &format!("{expected:?}; closed"));
}

#[test]
fn smuggling() {
    use HttpError::*;
    for (headers, error) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", LengthAndTransferEncoding),
        ("Transfer-Encoding: xchunked\r\nContent-Length: 5", LengthAndTransferEncoding),
        ("Content-Length: 5\r\nContent-Length: 6", ConflictingContentLength),
        ("Content-Length: 5, 5", BadContentLength),
        ("Content-Length: +5", BadContentLength),
        ("Content-Length: -5", BadContentLength),
        ("Content-Length: 0x5", BadContentLength),
        ("Content-Length: 5 5", BadContentLength),
        ("Content-Length:", BadContentLength),
        ("Content-Length: 18446744073709551616", BadContentLength),
        ("Content-Length: \u{665}", BadContentLength),
        ("Transfer-Encoding:", BadTransferEncoding),
        ("Transfer-Encoding: identity", BadTransferEncoding),
        ("Transfer-Encoding: xchunked", BadTransferEncoding),
        ("Transfer-Encoding: \"chunked\"", BadTransferEncoding),
        ("Transfer-Encoding: chunked;q=1", BadTransferEncoding),
        ("Transfer-Encoding: chunked, gzip", BadTransferEncoding),
        ("Transfer-Encoding: chunked, chunked", BadTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BadTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", BadTransferEncoding),
        ("Transfer-Encoding: gzip, chunked", UnsupportedTransferCoding),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", UnsupportedTransferCoding),
        ("Transfer-Encoding : chunked", BadHeader),
        (" Transfer-Encoding: chunked", BadHeader),
        ("Content-Length\t: 5", BadHeader),
        ("X: a\r\n Transfer-Encoding: chunked", BadHeader),
        ("X: a\r\n\tb", BadHeader),
        ("X: a\rTransfer-Encoding: chunked", BadHeader),
        ("X: a\nTransfer-Encoding: chunked", BareLineFeed),
        ("X: a\0b", BadHeader),
        ("X", BadHeader),
        (": x", BadHeader),
        ("Tr\u{e0}nsfer: x", BadHeader),
        ("Host: other", BadHost),
        ("Expect: 200-ok", UnknownExpectation),
    ] {
        check_refused(headers, error);
    }
    check(
        "PUT / HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\ncontent-length: 02\r\n\r\nhi",
        "PUT / Http11 Length(2); 'hi'; end; closed",
    );
    check("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "BadTransferEncoding; closed");
    // The body of a GET is body, not the next request.
    check(
        "GET / HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\nGET /x HT",
        "GET / Http11 Length(9); 'GET /x HT'; end; closed",
    );
}

#[test]
fn bad_request_lines() {
    for (line, error) in [
        ("GET / HTTP/2.0\r\n", "UnsupportedVersion"),
        ("GET / HTTP/1.2\r\n", "UnsupportedVersion"),
        ("PRI * HTTP/2.0\r\n", "UnsupportedVersion"),
        ("GET / HTTP/11\r\n", "BadRequestLine"),
        ("GET / http/1.1\r\n", "BadRequestLine"),
        ("GET /\r\n", "BadRequestLine"),
        ("GET  / HTTP/1.1\r\n", "BadRequestLine"),
        ("GET / HTTP/1.1 \r\n", "BadRequestLine"),
        ("GET / a HTTP/1.1\r\n", "BadRequestLine"),
        (" GET / HTTP/1.1\r\n", "BadRequestLine"),
        ("G\u{e9}T / HTTP/1.1\r\n", "BadRequestLine"),
        ("GET /\u{e9} HTTP/1.1\r\n", "BadTarget"),
        ("GET a/b HTTP/1.1\r\n", "BadTarget"),
        ("GET ftp://n/ HTTP/1.1\r\n", "BadTarget"),
        ("CONNECT n:443 HTTP/1.1\r\n", "TunnelRefused"),
        ("CONNECT / HTTP/1.1\r\n", "TunnelRefused"),
        ("GET / HTTP/1.1\n", "BareLineFeed"),
        ("\nGET / HTTP/1.1\r\n", "BadRequestLine"),
        ("\rGET / HTTP/1.1\r\n", "BadRequestLine"),
        ("\u{16}\u{3}\u{1}", "BadRequestLine"),
    ] {
        check(&format!("{line}Host: n\r\n\r\n"), &format!("{error}; closed"));
    }
    check("GET / HTTP/1.1\r\n\r\n", "BadHost; closed");
}

#[test]
fn bad_chunks() {
    for (chunks, error) in [
        ("+5\r\nhello\r\n0\r\n\r\n", "BadChunk"),
        ("\r\n", "BadChunk"),
        ("5\nhello", "BadChunk"),
        ("5\r\nhelloX", "'hello'; BadChunk"),
        ("5\r\nhello\n0\r\n\r\n", "'hello'; BadChunk"),
        ("5\r\nhello\rX", "'hello'; BadChunk"),
        ("5\r\nhello\r\n\r\n", "'hello'; BadChunk"),
        ("10000000000000000\r\n", "BadChunk"),
        ("0\r\nbad trailer\r\n\r\n", "BadTrailers"),
        ("0\r\nX: a\r\n b\r\n\r\n", "BadTrailers"),
        ("0\r\nX: a\n\r\n", "BareLineFeed"),
        ("5\r\nhel", "'hel'; BodyCutShort"),
        ("5\r\nhello\r\n", "'hello'; BodyCutShort"),
        ("5\r\nhello\r\n0\r\n", "'hello'; BodyCutShort"),
        ("ffffffffffffffff\r\nhel", "'hel'; BodyCutShort"),
    ] {
        check(
            &format!("PUT / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
            &format!("PUT / Http11 Chunked; {error}; closed"),
        );
    }
}

#[test]
fn cut_short() {
    check("GET / HTT", "HeadCutShort; closed");
    check("GET / HTTP/1.1\r\nHost: n\r\n", "HeadCutShort; closed");
    check(
        "PUT / HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhell",
        "PUT / Http11 Length(5); 'hell'; BodyCutShort; closed",
    );
}

#[test]
fn limits_at_every_split() {
    let limits = Limits {
        head: 128,
        headers: 3,
        header_name: 8,
        header_value: 16,
        target: 20,
        chunk_line: 10,
        trailers: 20,
        trailer_lines: 2,
        body: 8,
        ..Limits::default()
    };
    let check = |message: String, expected: &str| serve_within(&limits, &message, expected);
    let get = |headers: &str| format!("GET / HTTP/1.1\r\nHost: n\r\n{headers}\r\n");
    let chunked =
        |chunks: &str| format!("PUT / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");

    check(format!("GET /{} HTTP/1.1\r\nHost: n\r\n\r\n", "a".repeat(20)), "TargetTooLong; closed");
    check(format!("GET /{}", "a".repeat(200)), "TargetTooLong; closed");
    check("A".repeat(200), "TargetTooLong; closed");
    check(get("A: 1\r\nB: 2\r\nC: 3\r\n"), "TooManyHeaders; closed");
    check(get("Aaaaaaaaa: 1\r\n"), "HeaderTooLong; closed");
    check(get("A: 12345678901234567\r\n"), "HeaderTooLong; closed");
    check(get(&format!("A: {}\r\n", "1".repeat(200))), "HeadTooLarge; closed");
    check(get(&format!("{}\r\n", "1".repeat(200))), "HeadTooLarge; closed");
    check(get("Content-Length: 9\r\n"), "HeaderTooLong; closed");

    let long_names = Limits { header_name: 20, ..limits.clone() };
    let check = |message: String, expected: &str| serve_within(&long_names, &message, expected);
    check(get("Content-Length: 9\r\n"), "BodyTooLarge; closed");
    check(chunked("9\r\n"), "PUT / Http11 Chunked; BodyTooLarge; closed");
    check(chunked("8\r\n12345678\r\n1\r\n9\r\n"), "PUT / Http11 Chunked; '12345678'; BodyTooLarge; closed");
    check(chunked("0;12345678"), "PUT / Http11 Chunked; ChunkLineTooLong; closed");
    check(chunked("00000000000"), "PUT / Http11 Chunked; ChunkLineTooLong; closed");
    check(chunked("0;123456\r\n\r\n"), "PUT / Http11 Chunked; end; closed");
    check(chunked("0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), "PUT / Http11 Chunked; TrailersTooLarge; closed");
    check(chunked("0\r\nA: 1234567890123456789\r\n\r\n"), "PUT / Http11 Chunked; TrailersTooLarge; closed");
}

#[test]
fn endless_head_stays_small() {
    let mut server = ServerConnection::new(Limits::default());
    server.receive(Bytes::from_static(b"GET / HTTP/1.1\r\nX: "));
    let mut bytes = 0;
    let error = loop {
        if let Some(event) = server.poll_event() {
            break event;
        }
        server.receive(Bytes::from_static(b"a"));
        bytes += 1;
        assert!(server.buffered() <= 1 && bytes < 20_000);
    };
    assert_eq!(error, ServerEvent::Bad(HttpError::HeadTooLarge));
    assert!(!server.wants_input());
}
