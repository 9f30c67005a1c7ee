//! A client and a server joined in memory.

use super::*;

/// Both machines, with pipes that hand over `step` bytes at a time.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    step: usize,
    server_events: Vec<ServerEvent>,
    client_events: Vec<ClientEvent>,
}

impl Pair {
    fn new(step: usize) -> Self {
        Self {
            client: ClientConnection::new(Limits::default()),
            server: ServerConnection::new(Limits::default()),
            step,
            server_events: Vec::new(),
            client_events: Vec::new(),
        }
    }

    /// Moves bytes and events until nothing moves any more.
    fn drive(&mut self) {
        loop {
            let mut moved = false;
            while let Some(bytes) = self.client.poll_output() {
                for part in bytes.chunks(self.step) {
                    self.server.receive(bytes.slice_ref(part));
                    self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
                }
                moved = true;
            }
            while let Some(bytes) = self.server.poll_output() {
                for part in bytes.chunks(self.step) {
                    self.client.receive(bytes.slice_ref(part));
                    self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
                }
                moved = true;
            }
            self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
            self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
            if !moved {
                return;
            }
        }
    }

    fn request(&self) -> &RequestHead {
        self.server_events
            .iter()
            .rev()
            .find_map(|event| match event {
                ServerEvent::Request(head) => Some(head),
                _ => None,
            })
            .expect("a request has come")
    }

    fn response(&self) -> (u16, BodyKind) {
        self.client_events
            .iter()
            .rev()
            .find_map(|event| match event {
                ClientEvent::Response(head, body) => Some((head.status, *body)),
                _ => None,
            })
            .expect("a response has come")
    }

    fn uploaded(&self) -> Vec<u8> {
        let parts = self.server_events.iter().map(|event| match event {
            ServerEvent::Body(bytes) => bytes.clone(),
            _ => Bytes::new(),
        });
        parts.collect::<Vec<_>>().concat()
    }

    fn downloaded(&self) -> Vec<u8> {
        let parts = self.client_events.iter().map(|event| match event {
            ClientEvent::Body(bytes) => bytes.clone(),
            _ => Bytes::new(),
        });
        parts.collect::<Vec<_>>().concat()
    }
}

const STEPS: [usize; 4] = [1, 2, 7, 100_000];

#[test]
fn get_and_head_on_one_connection() {
    for step in STEPS {
        let mut pair = Pair::new(step);
        for (method, kind, body) in [
            (Method::Get, BodyKind::Length(5), &b"hello"[..]),
            (Method::Head, BodyKind::None, b""),
            (Method::Get, BodyKind::Length(5), b"hello"),
        ] {
            pair.client_events.clear();
            pair.client.request(&get(method.clone())).expect("reusable");
            pair.drive();
            assert_eq!(pair.request().method, method);
            pair.server.respond(ResponseHead::new(200), ResponseBody::Length(5));
            pair.server.send_body(Bytes::from_static(b"hello"));
            pair.server.finish();
            pair.drive();
            assert_eq!(pair.response(), (200, kind));
            assert_eq!(pair.downloaded(), body);
            assert_eq!(pair.client_events.last(), Some(&ClientEvent::BodyEnd));
        }
        assert!(pair.client.is_reusable() && !pair.server.should_close());
    }
}

#[test]
fn put_both_ways() {
    let content: Vec<u8> = (0..30_000_u32).map(|number| (number % 251) as u8).collect();
    for step in STEPS {
        for kind in [BodyKind::Length(30_000), BodyKind::Chunked] {
            let mut pair = Pair::new(step);
            let mut head = get(Method::Put);
            head.body = kind;
            pair.client.request(&head).expect("reusable");
            pair.server_events.clear();
            for part in content.chunks(4096) {
                pair.client.send_body(Bytes::copy_from_slice(part));
                pair.drive();
            }
            pair.client.finish_body();
            pair.drive();
            assert_eq!(pair.request().body, kind);
            assert_eq!(pair.uploaded(), content);
            assert_eq!(pair.server_events.last(), Some(&ServerEvent::BodyEnd));

            pair.server.respond(ResponseHead::new(201), ResponseBody::Streaming);
            for part in content.chunks(5000) {
                pair.server.send_body(Bytes::copy_from_slice(part));
                pair.drive();
            }
            pair.server.finish();
            pair.drive();
            assert_eq!(pair.response(), (201, BodyKind::Chunked));
            assert_eq!(pair.downloaded(), content);
            assert!(pair.client.is_reusable());
        }
    }
}

#[test]
fn expectation_met_and_refused() {
    for step in STEPS {
        let mut pair = Pair::new(step);
        let mut head = get(Method::Put);
        head.body = BodyKind::Length(5);
        head.expects_continue = true;
        pair.client.request(&head).expect("reusable");
        pair.drive();
        assert!(pair.request().expects_continue);
        assert_eq!(pair.client_events, []);
        pair.server.send_continue();
        pair.drive();
        assert_eq!(pair.client_events, [ClientEvent::Continue]);
        pair.client.send_body(Bytes::from_static(b"hello"));
        pair.client.finish_body();
        pair.drive();
        assert_eq!(pair.uploaded(), b"hello");
        pair.server.respond(ResponseHead::new(204), ResponseBody::Empty);
        pair.server.finish();
        pair.drive();
        assert!(pair.client.is_reusable());

        pair.client.request(&head).expect("reusable");
        pair.drive();
        pair.server.respond(ResponseHead::new(413), ResponseBody::Empty);
        pair.server.finish();
        pair.drive();
        assert_eq!(pair.response(), (413, BodyKind::Length(0)));
        assert!(pair.client.should_close() && pair.server.should_close());
    }
}

#[test]
fn short_response_is_seen() {
    for body in [ResponseBody::Length(9), ResponseBody::Streaming] {
        let mut pair = Pair::new(3);
        pair.client.request(&get(Method::Get)).expect("reusable");
        pair.drive();
        pair.server.respond(ResponseHead::new(200), body);
        pair.server.send_body(Bytes::from_static(b"hello"));
        if body == ResponseBody::Streaming {
            pair.server.abort();
        } else {
            pair.server.finish();
        }
        pair.drive();
        assert!(pair.server.should_close());
        pair.client.receive_eof();
        pair.drive();
        let end = pair.client_events.last();
        assert_eq!(end, Some(&ClientEvent::Bad(HttpError::BodyCutShort)));
    }
}

#[test]
fn client_that_leaves_is_seen() {
    let mut pair = Pair::new(3);
    let mut head = get(Method::Put);
    head.body = BodyKind::Chunked;
    pair.client.request(&head).expect("reusable");
    pair.client.send_body(Bytes::from_static(b"hello"));
    pair.drive();
    pair.server.receive_eof();
    pair.drive();
    let end = pair.server_events.last();
    assert_eq!(end, Some(&ServerEvent::Bad(HttpError::BodyCutShort)));
}

#[test]
fn early_refusal_of_an_upload() {
    let mut pair = Pair::new(100);
    let mut head = get(Method::Put);
    head.body = BodyKind::Length(1_000_000);
    pair.client.request(&head).expect("reusable");
    pair.client.send_body(Bytes::from(vec![0; 1000]));
    pair.drive();
    pair.server.respond(ResponseHead::new(507), ResponseBody::Empty);
    pair.server.finish();
    pair.drive();
    assert_eq!(pair.response(), (507, BodyKind::Length(0)));
    assert!(pair.client.should_close());
    pair.client.send_body(Bytes::from(vec![0; 1000]));
    pair.client.finish_body();
    assert_eq!(pair.client.output_len(), 0);
}
