//! Requests to a web port, by hand: whoever answers, ours or the peer's.

use crate::Grid;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let line =
            |line: &'_ str| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head
            .lines()
            .find(|found| line(found))
            .and_then(|found| found.split_once(": "))
            .map(|(_, value)| value)
    }

    /// The body as text, whatever the status.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success, as text.
    #[track_caller]
    pub fn good(self) -> String {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        assert!((200..300).contains(&self.status), "{}\n{body}", self.head);
        body
    }
}

/// One request on a connection of its own.
#[track_caller]
pub fn ask(authority: &str, method: &str, path: &str, body: &[u8]) -> Answer {
    ask_with(authority, method, path, "", body)
}

/// The same with more header lines, each with its end.
#[track_caller]
pub fn ask_with(authority: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(authority).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a duration");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    // Who refuses early may not read all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let mut body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer).into_owned();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("the length of a chunk");
        let len = std::str::from_utf8(&rest[..end]).ok().and_then(|len| usize::from_str_radix(len, 16).ok());
        let len = len.expect("a number");
        if len == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + len]);
        rest = &rest[end + 2 + len + 2..];
    }
}

/// Percent-encodes one part of a path.
pub fn escaped(part: &str) -> String {
    part.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl Grid {
    /// Where a running node's web port is.
    pub fn authority(&self, name: &str) -> String {
        let url = fs::read_to_string(self.path(name).join("node.url")).expect("it runs");
        url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    /// Asks the gateway.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        ask(&self.authority("gw"), method, path, body)
    }
}
