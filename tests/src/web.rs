//! Requests to a web port, by hand: whoever answers, ours or the peer's.

use crate::Grid;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
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

/// A connection that stays open for more than one request.
pub struct KeptAlive {
    stream: BufReader<TcpStream>,
    authority: String,
}

impl KeptAlive {
    /// Connects.
    #[track_caller]
    pub fn open(authority: &str) -> KeptAlive {
        let stream = TcpStream::connect(authority).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a duration");
        stream.set_nodelay(true).expect("a socket can be told not to wait");
        KeptAlive { stream: BufReader::new(stream), authority: authority.to_owned() }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("it reads");
    }

    /// Ends what is sent.
    pub fn end(&self) {
        // It fails if the other side was faster.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// One request, and its answer.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {len}\r\n\r\n",
            self.authority
        );
        self.send(&[head.as_bytes(), body].concat());
        self.answer(method != "HEAD")
    }

    /// The next answer, with a body if one belongs to it.
    #[track_caller]
    pub fn answer(&mut self, has_body: bool) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let len = self.stream.read_line(&mut head).expect("an answer");
            assert!(len > 0, "the answer ends in its head: {head:?}");
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        if !has_body || [100, 204, 304].contains(&status) {
            return answer;
        }
        match answer.header("Content-Length").map(|len| len.parse().expect("a number")) {
            Some(len) => {
                answer.body = vec![0; len];
                self.stream.read_exact(&mut answer.body).expect("all of the body");
            }
            None => {
                let mut chunks = Vec::new();
                while !chunks.ends_with(b"\r\n0\r\n\r\n") && chunks != b"0\r\n\r\n" {
                    let len = self.stream.read_until(b'\n', &mut chunks).expect("a chunk");
                    assert!(len > 0, "the answer ends in its body");
                }
                answer.body = unchunk(&chunks);
            }
        }
        answer
    }

    /// What still comes until the other side hangs up, politely or not.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut piece = [0; 16 * 1024];
        while let Ok(len @ 1..) = self.stream.read(&mut piece) {
            rest.extend_from_slice(&piece[..len]);
        }
        rest
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
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
