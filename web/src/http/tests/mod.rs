//! Tests of both machines, apart and joined in memory.

mod client;
mod pair;
mod properties;
mod refusals;
mod server;

use bytes::Bytes;

use super::*;

/// Feeds the chunks to a new server that answers every request after its body with 200 and `ok`,
/// and every bad one with its status; what it says, one line per event, bodies joined.
fn serve(chunks: &[&[u8]], limits: &Limits) -> (String, Vec<u8>) {
    let mut server = ServerConnection::new(limits.clone());
    let mut trace = Trace::default();
    let mut sent = Vec::new();
    for chunk in chunks {
        if server.wants_input() {
            server.receive(Bytes::copy_from_slice(chunk));
        }
        step(&mut server, &mut trace, &mut sent);
    }
    server.receive_eof();
    step(&mut server, &mut trace, &mut sent);
    assert!(server.should_close());
    (trace.text, sent)
}

/// The message at every split gives these events.
fn serve_at_every_split(message: &str, expected: &str) {
    serve_within(&Limits::default(), message, expected);
}

fn serve_within(limits: &Limits, message: &str, expected: &str) {
    for split in every_split(message.as_bytes()) {
        let (trace, _) = serve(&split, limits);
        assert_eq!(trace, expected, "{message:?} in {} parts", split.len());
    }
}

fn step(server: &mut ServerConnection, trace: &mut Trace, sent: &mut Vec<u8>) {
    loop {
        while let Some(event) = server.poll_event() {
            match &event {
                ServerEvent::Request(head) => trace.line(&format!(
                    "{} {} {:?} {:?}{}",
                    head.method.as_str(),
                    head.target,
                    head.version,
                    head.body,
                    if head.expects_continue { " continue" } else { "" }
                )),
                ServerEvent::Body(bytes) => trace.body(bytes),
                ServerEvent::BodyEnd => trace.line("end"),
                ServerEvent::Bad(error) => trace.line(&format!("{error:?}")),
                ServerEvent::Closed => trace.line("closed"),
            }
            match event {
                ServerEvent::BodyEnd => {
                    server.respond(ResponseHead::new(200), ResponseBody::Length(2));
                    server.send_body(Bytes::from_static(b"ok"));
                    server.finish();
                }
                ServerEvent::Bad(error) => {
                    assert!(server.awaits_response());
                    server.respond(ResponseHead::new(error.status()), ResponseBody::Empty);
                    server.finish();
                }
                ServerEvent::Request(_) => server.send_continue(),
                ServerEvent::Body(_) | ServerEvent::Closed => {}
            }
        }
        let before = sent.len();
        while let Some(bytes) = server.poll_output() {
            sent.extend_from_slice(&bytes);
        }
        if sent.len() == before {
            return;
        }
    }
}

/// Feeds the chunks to a client that has made a request; what it says.
fn fetch(method: Method, chunks: &[&[u8]], limits: &Limits) -> String {
    let mut client = ClientConnection::new(limits.clone());
    client.request(&get(method)).expect("a good request");
    while client.poll_output().is_some() {}
    let mut trace = Trace::default();
    for chunk in chunks {
        if client.wants_input() {
            client.receive(Bytes::copy_from_slice(chunk));
        }
        listen(&mut client, &mut trace);
    }
    if client.is_reusable() {
        trace.line("reusable");
    }
    client.receive_eof();
    listen(&mut client, &mut trace);
    assert!(client.should_close());
    trace.text
}

fn listen(client: &mut ClientConnection, trace: &mut Trace) {
    while let Some(event) = client.poll_event() {
        match event {
            ClientEvent::Continue => trace.line("continue"),
            ClientEvent::Response(head, body) => trace.line(&format!("{} {body:?}", head.status)),
            ClientEvent::Body(bytes) => trace.body(&bytes),
            ClientEvent::BodyEnd => trace.line("end"),
            ClientEvent::Bad(error) => trace.line(&format!("{error:?}")),
        }
    }
}

fn get(method: Method) -> RequestHead {
    let mut head = RequestHead::new(method, "/");
    head.headers = Headers::new().with("Host", "node");
    head
}

/// The message whole, byte by byte, and cut in two at every place.
fn every_split(message: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut splits = vec![vec![message], message.chunks(1).collect()];
    splits.extend((1..message.len()).map(|at| vec![&message[..at], &message[at..]]));
    splits
}

/// Events in words, bodies joined.
#[derive(Default)]
struct Trace {
    text: String,
    in_body: bool,
}

impl Trace {
    fn line(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.text.push_str(if self.in_body { "'; " } else { "; " });
        }
        self.in_body = false;
        self.text.push_str(line);
    }

    fn body(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        if !self.in_body {
            self.line("'");
            self.in_body = true;
        }
        self.text.push_str(&bytes.escape_ascii().to_string());
    }
}
