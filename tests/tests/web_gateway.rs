//! A node's web port as a machine: requests come in pieces, disk and jobs finish when they please,
//! and every request is answered.

use std::collections::VecDeque;
use std::time::Duration;
use tallac_core::entropy::Entropy;
use tallac_core::job;
use tallac_core::machine::{Action, CloseReason, ConnId, Event, Machine, Protocol};
use tallac_core::node::Node;
use tallac_core::time::{Instant, Now, UnixTime};
use tallac_soft_rsa::SoftRsa;
use tallac_tests::content;
use tallac_tests::memory_grid::{GridSetup, MemoryDisk, config};
use tallac_web::gateway::Gateway;

const CONN: ConnId = ConnId::Inbound(1);

/// A gateway whose only server is out of reach, and a client whose bytes are all ready to be read.
struct Lonely {
    gateway: Gateway,
    disk: MemoryDisk,
    chance: Entropy,
    now: Now,
    /// How slow disk and jobs are, out of 20.
    slowness: u64,
    /// What the client wants to say, and how much of it may be read.
    to_say: VecDeque<u8>,
    granted: u64,
    /// What the gateway waits for, in no particular order.
    under_way: Vec<Event>,
    said: Vec<u8>,
}

impl Lonely {
    fn new(seed: u64) -> Lonely {
        let now = Now { instant: Instant(1_000_000_000), unix: UnixTime(1_700_000_000) };
        let setup = GridSetup { servers: 1, segment: 128 * 1024, ..GridSetup::new(3, 10) };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let gateway = Gateway::new(Node::new(config(1, &setup), bytes, now), now);
        let (disk, chance) = (MemoryDisk::default(), Entropy::new(bytes));
        let (to_say, under_way, said) = (VecDeque::new(), Vec::new(), Vec::new());
        let (slowness, granted) = (seed % 21, 0);
        let mut lonely = Lonely { gateway, disk, chance, now, slowness, to_say, granted, under_way, said };
        lonely.carry_out();
        lonely.handle(Event::Accepted { conn: CONN, protocol: Protocol::Web, from: "here".into() });
        lonely
    }

    fn handle(&mut self, event: Event) {
        self.gateway.handle(event, self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.gateway.poll_action() {
            let event = match action {
                Action::Disk { id, steps } => Event::DiskDone { id, result: self.disk.run(steps) },
                Action::Job { id, job } => Event::JobDone { id, output: job::run(job, &SoftRsa) },
                Action::SendBytes { conn, data } => {
                    self.said.extend_from_slice(data.bytes().expect("real bytes"));
                    Event::Sent { conn, bytes: data.len() }
                }
                Action::Grant { bytes, .. } => {
                    self.granted += bytes;
                    continue;
                }
                _ => continue,
            };
            self.under_way.push(event);
        }
    }

    /// Lets one thing happen that can; `false` if only time can help.
    fn step(&mut self) -> bool {
        let may_read = self.granted.min(self.to_say.len() as u64);
        if self.under_way.is_empty() && may_read == 0 {
            return false;
        }
        let pick = self.chance.below(self.under_way.len() as u64 + 1) as usize;
        // The slower the disk, the more often the client is quicker.
        let reads = may_read > 0 && (pick == self.under_way.len() || self.chance.below(20) < self.slowness);
        if !reads && !self.under_way.is_empty() {
            let event = self.under_way.swap_remove(pick.min(self.under_way.len() - 1));
            self.handle(event);
        } else {
            let len = 1 + self.chance.below(may_read);
            self.granted -= len;
            let data: Vec<u8> = self.to_say.drain(..len as usize).collect();
            self.handle(Event::Received { conn: CONN, data: data.into() });
        }
        true
    }

    /// Runs until there is an answer, for a minute of the gateway's time at most.
    fn answer(&mut self) -> String {
        let end = self.now.instant + Duration::from_secs(60);
        loop {
            while self.step() {}
            if !self.said.is_empty() {
                return String::from_utf8_lossy(&std::mem::take(&mut self.said)).into_owned();
            }
            let due = self.gateway.deadline().filter(|due| *due <= end);
            let due = due.unwrap_or_else(|| panic!("no answer; {} bytes were not read", self.to_say.len()));
            self.now.instant = self.now.instant.max(due) + Duration::from_millis(1);
            self.handle(Event::Wake);
        }
    }
}

/// The whole body is taken in, however it is cut and however late the disk is: only then can it be
/// said that nobody is there to store it.
#[test]
fn a_body_is_read_to_its_end() {
    for seed in 0..40 {
        for len in [0, 55, 56, 1_000_000, 1_048_577, 4_300_000 + seed as usize * 30_000] {
            let mut lonely = Lonely::new(seed);
            lonely
                .to_say
                .extend(format!("PUT /uri HTTP/1.1\r\nHost: here\r\nContent-Length: {len}\r\n\r\n").bytes());
            lonely.to_say.extend(content(seed, len));
            let answer = lonely.answer();
            let expected = if len <= 55 { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
            assert!(answer.starts_with(expected), "seed {seed}, {len} bytes: {answer}");
            assert_eq!(lonely.to_say.len(), 0, "seed {seed}, {len} bytes: {answer}");
            let spools = lonely.disk.files.len();
            while lonely.step() {}
            assert!(lonely.disk.files.is_empty(), "{spools} spools after seed {seed}, {len} bytes");
        }
    }
}

/// A body in chunks has no length; what is refused early leaves no spool, whatever the disk is at.
#[test]
fn who_leaves_in_the_middle_leaves_nothing() {
    for seed in 0..60 {
        let mut lonely = Lonely::new(seed);
        lonely.to_say.extend(b"PUT /uri HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in 0..30 {
            lonely.to_say.extend(b"30000\r\n");
            lonely.to_say.extend(content(chunk, 0x30000));
            lonely.to_say.extend(b"\r\n");
        }
        for _ in 0..seed * 3 {
            lonely.step();
        }
        lonely.to_say.clear();
        lonely.handle(Event::ReceivedEnd { conn: CONN });
        while lonely.step() {}
        assert!(lonely.disk.files.is_empty(), "seed {seed} leaves {:?}", lonely.disk.files.keys());
    }
}

/// Every kind of request that has a body, and what is answered when no server can be reached. One after
/// the other on one connection, in pieces of any length: the answers are the same.
#[test]
fn requests_in_any_pieces() {
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
    let exchanges = [
        (request("POST", "/uri?t=mkdir-immutable", "", children), "200", "URI:DIR2-LIT:"),
        (request("POST", "/uri", form, "t=mkdir-immutable"), "400", "JSON"),
        (request("POST", "/uri?t=mkdir", "", ""), "503", "servers"),
        (request("PUT", "/uri?format=sdmf", "", "content"), "503", "not stored"),
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
    ];
    for seed in 0..30 {
        let mut lonely = Lonely::new(seed);
        for (request, status, words) in &exchanges {
            lonely.to_say.extend(request.bytes());
            let mut answer = lonely.answer();
            // The head may come before the body.
            while lonely.step() {}
            answer.push_str(&String::from_utf8_lossy(&std::mem::take(&mut lonely.said)));
            let line = format!("HTTP/1.1 {status}");
            assert!(
                answer.starts_with(&line) && answer.contains(words),
                "seed {seed}, {request:.80}: {answer}"
            );
        }
        assert!(lonely.disk.files.is_empty(), "seed {seed}");
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
            lonely.to_say.extend(head.bytes());
            lonely.to_say.extend(content(seed, 150_000));
            for _ in 0..seed {
                lonely.step();
            }
            lonely.to_say.clear();
            lonely.handle(if seed % 2 == 0 {
                Event::ReceivedEnd { conn: CONN }
            } else {
                Event::Closed { conn: CONN, reason: CloseReason::Ended }
            });
            while lonely.step() {}
            assert!(lonely.disk.files.is_empty(), "seed {seed}, {head:.40}");
            let under_way = lonely.gateway.node().status(0, lonely.now.unix).operations;
            assert_eq!(under_way, (0, 0), "seed {seed}, {head:.40}");
        }
    }
}
