use super::*;
use crate::tls::Identity;
use std::io::IoSlice;
use std::sync::OnceLock;

const CLIENT: ConnId = ConnId::Outbound(1);
const SERVER: ConnId = ConnId::Inbound(1);

fn tls() -> &'static Tls {
    static TLS: OnceLock<Tls> = OnceLock::new();
    TLS.get_or_init(|| Tls::new(&Identity::ephemeral().unwrap()))
}

/// One side of a connection in memory, with what its socket would do.
struct End {
    connection: Connection,
    read: ReadBuffer,
    batch: WriteBuffer,
    reading: Result<Reading, CloseReason>,
    writing: Writing,
    events: Vec<Event>,
    sent: u64,
    read_bytes: usize,
    /// On the way to this end.
    wire: VecDeque<u8>,
}

impl End {
    fn new(connection: Connection) -> End {
        End {
            connection,
            read: ReadBuffer::new(),
            batch: WriteBuffer::new(),
            reading: Ok(Reading::Wait),
            writing: Writing::Wait,
            events: Vec::new(),
            sent: 0,
            read_bytes: 0,
            wire: VecDeque::new(),
        }
    }

    fn order(&mut self, order: Order) {
        self.connection.order(order);
    }

    /// One read of at most `most` bytes, if there is to be one. Returns whether anything came.
    fn receive(&mut self, most: usize) -> bool {
        self.reading = self.connection.receive(&mut self.read, &mut self.events);
        if self.reading != Ok(Reading::Read) || self.wire.is_empty() {
            return false;
        }
        let space = self.read.space();
        let len = most.min(space.len()).min(self.wire.len());
        space[..len].iter_mut().for_each(|byte| *byte = self.wire.pop_front().unwrap());
        self.read.filled(len);
        self.read_bytes += len;
        self.reading = self.connection.receive(&mut self.read, &mut self.events);
        true
    }

    /// Writes everything there is to write.
    fn send(&mut self, wire: &mut VecDeque<u8>) -> bool {
        let before = wire.len();
        loop {
            self.writing = self.connection.send(&mut self.batch).unwrap();
            if self.writing != Writing::Write {
                return wire.len() > before;
            }
            loop {
                let mut slices = [IoSlice::new(&[]); 4];
                let used = self.batch.slices(&mut slices);
                let len = slices[..used].iter().map(|slice| slice.len()).sum();
                if len == 0 {
                    break;
                }
                slices[..used].iter().for_each(|slice| wire.extend(slice.iter()));
                self.batch.advance(len);
            }
            self.sent += self.batch.payload();
        }
    }

    fn frames(&self) -> Vec<(Bytes, Vec<u8>)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Frame { frame, .. } => Some(flat(frame)),
                _ => None,
            })
            .collect()
    }
}

fn flat(frame: &Frame) -> (Bytes, Vec<u8>) {
    (frame.message.clone(), frame.bulk.iter().flat_map(|bulk| bulk.bytes().unwrap().to_vec()).collect())
}

struct Pair {
    client: End,
    server: End,
}

impl Pair {
    fn new() -> Pair {
        let client = Connection::connect(CLIENT, tls(), tls().pin());
        Pair { client: End::new(client), server: End::new(Connection::accept_grid(SERVER, tls())) }
    }

    /// Both ends joined, handshake done, and any amount granted.
    fn joined() -> Pair {
        let mut pair = Pair::new();
        pair.run(usize::MAX);
        assert!(pair.client.connection.is_open() && pair.server.connection.is_open());
        pair.client.order(Order::Grant(u64::MAX));
        pair.server.order(Order::Grant(u64::MAX));
        pair
    }

    /// Lets everything happen that can, with reads of at most `most` bytes.
    fn run(&mut self, most: usize) {
        loop {
            let mut busy = self.client.receive(most) | self.server.receive(most);
            busy |= self.client.send(&mut self.server.wire) | self.server.send(&mut self.client.wire);
            if !busy {
                return;
            }
        }
    }
}

fn frame(message: usize, bulk: &[usize]) -> Frame {
    let fill = |len: usize| (0..len).map(|i| (i * 31 + len) as u8).collect::<Vec<u8>>();
    Frame::with_bulk(fill(message), bulk.iter().map(|len| fill(*len).into()).collect())
}

#[test]
fn frames_survive_every_split_both_ways() {
    let frames = [frame(3, &[]), frame(10, &[100, 7]), frame(1, &[]), frame(200, &[20_000])];
    for most in (1..400).chain([1000, 4096, 16_383, 16_384, 16_385, 100_000]) {
        let mut pair = Pair::new();
        pair.client.order(Order::Grant(u64::MAX));
        pair.server.order(Order::Grant(u64::MAX));
        for frame in &frames {
            pair.client.order(Order::Send(frame.clone()));
            pair.server.order(Order::Send(frame.clone()));
        }
        pair.run(most);
        let want: Vec<_> = frames.iter().map(flat).collect();
        let sent: u64 = frames.iter().map(Frame::len).sum();
        for end in [&pair.client, &pair.server] {
            assert_eq!(end.frames(), want, "reads of {most}");
            assert_eq!(end.sent, sent, "reads of {most}");
            assert_eq!(end.reading, Ok(Reading::Read));
        }
    }
}

#[test]
fn long_frames_come_through_and_show_life() {
    let mut pair = Pair::joined();
    // A hello first, as the protocol wants it.
    let frames = [frame(5, &[]), frame(1, &[1 << 20, 1]), frame(70_000, &[350_000]), frame(1, &[])];
    for frame in &frames {
        pair.client.order(Order::Send(frame.clone()));
    }
    pair.run(usize::MAX);
    assert_eq!(pair.server.frames(), frames.iter().map(flat).collect::<Vec<_>>());
    let partial = pair.server.events.iter().filter(|event| matches!(event, Event::Partial { .. })).count();
    assert!((15..=120).contains(&partial), "{partial} signs of life");
}

#[test]
fn another_key_is_told_apart() {
    let mut pair = Pair::new();
    pair.client.connection = Connection::connect(CLIENT, tls(), Pin([7; 32]));
    pair.run(usize::MAX);
    assert_eq!(pair.client.reading, Err(CloseReason::WrongKey));
    // The other side gets an alert.
    let mut batch = WriteBuffer::new();
    pair.client.connection.turn_away(&mut batch);
    pair.run(usize::MAX);
    assert!(matches!(&pair.server.reading, Err(CloseReason::Handshake(why)) if why.contains("alert")));
}

#[test]
fn a_key_of_the_reference_is_good_enough() {
    let pem = include_bytes!("../tls/testdata/reference-node.pem");
    let reference = Tls::new(&Identity::from_pem(pem).unwrap());
    let mut pair = Pair::new();
    pair.client.connection = Connection::connect(CLIENT, tls(), reference.pin());
    pair.server.connection = Connection::accept_grid(SERVER, &reference);
    pair.run(usize::MAX);
    assert!(pair.client.connection.is_open() && pair.server.connection.is_open());
}

#[test]
fn nothing_is_delivered_or_read_beyond_the_grant() {
    let mut pair = Pair::new();
    pair.run(usize::MAX);
    let small = frame(92, &[]);
    for _ in 0..100_000 {
        pair.client.order(Order::Send(small.clone()));
    }
    pair.run(usize::MAX);
    assert_eq!(pair.server.events.len(), 0);
    assert_eq!(pair.server.reading, Ok(Reading::Wait));
    assert!(pair.server.read_bytes < 28_000, "{} bytes were read", pair.server.read_bytes);
    // Each frame has 100 bytes. A grant of 1001 begins an eleventh.
    pair.server.order(Order::Grant(1001));
    pair.run(usize::MAX);
    assert_eq!(pair.server.frames().len(), 11);
    pair.server.order(Order::Grant(1_000_000));
    pair.run(usize::MAX);
    assert_eq!(pair.server.frames().len(), 11 + 10_000);
    assert!(pair.server.read_bytes < 1_020_000 + 32 * 1024, "{} bytes were read", pair.server.read_bytes);
    assert_eq!(pair.client.sent, 10_000_000, "the sender does not know");
}

#[test]
fn sending_goes_on_while_reading_waits() {
    let mut pair = Pair::joined();
    pair.server.connection.credit = 0;
    for _ in 0..100 {
        pair.client.order(Order::Send(frame(1000, &[])));
    }
    pair.run(usize::MAX);
    assert_eq!(pair.server.reading, Ok(Reading::Wait));
    for _ in 0..10 {
        pair.server.order(Order::Send(frame(1000, &[])));
        pair.run(usize::MAX);
    }
    assert_eq!(pair.client.frames().len(), 10);
    assert_eq!(pair.server.frames().len(), 0);
    pair.server.order(Order::Grant(u64::MAX));
    pair.run(usize::MAX);
    assert_eq!(pair.server.frames().len(), 100);
}

#[test]
fn closing_sends_everything_first() {
    let mut pair = Pair::joined();
    pair.client.order(Order::Send(frame(1, &[])));
    pair.client.order(Order::Send(frame(1, &[1_000_000])));
    pair.client.order(Order::Close);
    pair.client.order(Order::Send(frame(99, &[])));
    pair.run(10_000);
    assert_eq!(pair.server.frames().len(), 2);
    assert_eq!(pair.server.reading, Err(CloseReason::Ended));
    assert_eq!(pair.client.writing, Writing::Over);
    // What still comes in is thrown away.
    pair.client.wire.extend([1; 100]);
    pair.run(usize::MAX);
    assert_eq!(pair.client.reading, Ok(Reading::Read));
    assert_eq!(pair.client.events.len(), 0);
}

#[test]
fn a_goodbye_behind_the_grant_comes_after_it() {
    let mut pair = Pair::new();
    pair.run(usize::MAX);
    pair.client.order(Order::Send(frame(92, &[])));
    pair.client.order(Order::Close);
    pair.run(usize::MAX);
    pair.server.connection.end_input();
    assert!(!pair.server.receive(0));
    assert_eq!(pair.server.reading, Ok(Reading::Wait));
    pair.server.order(Order::Grant(100));
    pair.run(usize::MAX);
    assert_eq!((pair.server.frames().len(), &pair.server.reading), (1, &Err(CloseReason::Ended)));
}

#[test]
fn ends_of_all_kinds_are_told_apart() {
    let check = |spoil: &dyn Fn(&mut Pair), want: &dyn Fn(&CloseReason) -> bool| {
        let mut pair = Pair::joined();
        pair.client.order(Order::Send(frame(1, &[])));
        pair.run(usize::MAX);
        spoil(&mut pair);
        pair.run(usize::MAX);
        let reason = pair.server.reading.clone().unwrap_err();
        assert!(want(&reason), "{reason:?}");
    };
    // Cut off without a goodbye.
    check(&|pair| pair.server.connection.end_input(), &|r| matches!(r, CloseReason::Lost(_)));
    // A goodbye in the middle of a frame.
    check(
        &|pair| {
            let mut pieces = frame(100, &[]).pieces().collect::<VecDeque<_>>();
            pieces.pop_back();
            pair.client.connection.queue = pieces;
            pair.client.order(Order::Close);
        },
        &|r| matches!(r, CloseReason::BadFrame(_)),
    );
    // A frame too long.
    check(&|pair| pair.client.connection.queue.push_back(Bytes::from_static(&[255; 8])), &|r| {
        matches!(r, CloseReason::BadFrame(_))
    });
    // A flipped bit.
    check(
        &|pair| {
            pair.client.order(Order::Send(frame(100, &[])));
            pair.client.send(&mut pair.server.wire);
            pair.server.wire[50] ^= 1;
        },
        &|r| matches!(r, CloseReason::Lost(_)),
    );
    // A socket that broke, found by the writer.
    check(
        &|pair| {
            pair.server.connection.break_down(CloseReason::Lost("reset".into()));
            pair.server.connection.end_input();
        },
        &|r| *r == CloseReason::Lost("reset".into()),
    );
}

#[test]
fn a_broken_socket_still_delivers_what_came_in() {
    let mut pair = Pair::joined();
    for _ in 0..1000 {
        pair.client.order(Order::Send(frame(1000, &[])));
    }
    pair.client.send(&mut pair.server.wire);
    pair.server.connection.break_down(CloseReason::Lost("reset".into()));
    pair.run(1000);
    pair.server.connection.end_input();
    pair.run(1000);
    assert_eq!(pair.server.frames().len(), 1000);
    assert_eq!(pair.server.reading, Err(CloseReason::Lost("reset".into())));
}

#[test]
fn every_flipped_bit_of_the_handshake_fails_it() {
    // Which bytes the two sides send differs from run to run, the sizes hardly.
    for position in (0..2500).step_by(61) {
        let mut pair = Pair::new();
        let mut passed = 0;
        for _ in 0..10 {
            pair.client.receive(usize::MAX);
            pair.client.send(&mut pair.server.wire);
            if (passed..passed + pair.server.wire.len()).contains(&position) {
                pair.server.wire[position - passed] ^= 1;
            }
            passed += pair.server.wire.len();
            pair.server.receive(usize::MAX);
            pair.server.send(&mut pair.client.wire);
            if (passed..passed + pair.client.wire.len()).contains(&position) {
                pair.client.wire[position - passed] ^= 1;
            }
            passed += pair.client.wire.len();
        }
        let joined = pair.client.connection.is_open() && pair.server.connection.is_open();
        // The version in a record's header is ignored by those who receive it (RFC 8446, 5.1).
        assert!(!joined || position >= passed || position == 0, "byte {position} of {passed}");
    }
}

#[test]
fn no_tampering_is_believed_or_deadly() {
    let mut dice = 1u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    for round in 0..300 {
        let mut pair = Pair::joined();
        // A hello first.
        pair.client.order(Order::Send(frame(20, &[])));
        for _ in 0..20 {
            pair.client.order(Order::Send(frame(20, &[roll(20_000)])));
        }
        pair.client.send(&mut pair.server.wire);
        let at = roll(pair.server.wire.len());
        match round % 4 {
            0 => pair.server.wire[at] ^= 1 << roll(8),
            1 => drop(pair.server.wire.remove(at)),
            2 => pair.server.wire.insert(at, roll(256) as u8),
            _ => (0..8).for_each(|i| pair.server.wire[at / 2 + i] = roll(256) as u8),
        }
        let most = 1 + roll(30_000);
        while pair.server.receive(most) {}
        // Answers still go out as far as there is anybody to get them.
        pair.server.order(Order::Send(frame(5, &[])));
        let mut batch = WriteBuffer::new();
        let _ = pair.server.connection.send(&mut batch);
        // What came through is a beginning of what was sent.
        assert!(pair.server.frames().len() < 21, "round {round}");
        let waits = pair.server.reading == Ok(Reading::Read);
        assert!(pair.server.reading.is_err() || waits, "round {round}: {:?}", pair.server.reading);
    }
}

#[test]
fn a_stranger_is_told_by_the_first_bytes() {
    assert_eq!(sniff(b""), Incoming::NeedMore);
    assert_eq!(sniff(b"GET /id"), Incoming::NeedMore);
    assert_eq!(sniff(b"GET /id/"), Incoming::Foolscap);
    assert_eq!(sniff(b"GET /id/abc HTTP/1.1"), Incoming::Foolscap);
    assert_eq!(sniff(b"GET / HTTP"), Incoming::Other);
    assert_eq!(sniff(b"\x16"), Incoming::NeedMore);
    assert_eq!(sniff(b"\x16\x03\x01\x02"), Incoming::Tls);
    assert_eq!(sniff(b"\x16\x04"), Incoming::Other);
    assert_eq!(sniff(b"SSH-2.0-"), Incoming::Other);
    for bytes in [&b"GET /id/abc"[..], b"garbage", b"\x16\x03\x01\x00\x05hello"] {
        let mut end = End::new(Connection::accept_grid(SERVER, tls()));
        end.wire.extend(bytes);
        end.receive(usize::MAX);
        assert!(matches!(end.reading, Err(CloseReason::Handshake(_))), "{:?}", end.reading);
    }
}

#[test]
fn the_web_port_passes_bytes_on() {
    let mut end = End::new(Connection::accept_web(SERVER));
    end.wire.extend(b"GET / HTTP/1.1\r\n\r\n");
    while end.receive(usize::MAX) {}
    assert_eq!((end.events.len(), &end.reading), (0, &Ok(Reading::Wait)));
    end.order(Order::Grant(5));
    end.receive(usize::MAX);
    end.order(Order::Grant(100));
    end.receive(usize::MAX);
    let data: Vec<Bytes> = std::mem::take(&mut end.events)
        .into_iter()
        .map(|event| match event {
            Event::Received { data, .. } => data.into_bytes().expect("real bytes"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(data, [&b"GET /"[..], b" HTTP/1.1\r\n\r\n"]);
    end.connection.end_input();
    end.receive(usize::MAX);
    end.receive(usize::MAX);
    assert!(matches!(end.events[..], [Event::ReceivedEnd { conn: SERVER }]));
    // The answer still goes out.
    let mut wire = VecDeque::new();
    end.order(Order::SendBytes(Bytes::from_static(b"HTTP/1.1 200 OK\r\n")));
    end.order(Order::SendBytes(vec![9; 600_000].into()));
    end.order(Order::Close);
    end.send(&mut wire);
    assert_eq!((wire.len(), end.sent, end.writing), (600_017, 600_017, Writing::Over));
}

#[test]
fn who_sends_no_more_gets_the_last_batch() {
    let mut end = End::new(Connection::accept_web(SERVER));
    end.order(Order::Grant(100));
    end.order(Order::SendBytes(Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    end.order(Order::Close);
    assert_eq!(end.connection.send(&mut end.batch), Ok(Writing::Write));
    // While that is on its way to the socket.
    end.connection.end_input();
    end.receive(usize::MAX);
    assert_eq!(end.reading, Ok(Reading::Wait));
    assert_eq!(end.connection.send(&mut end.batch), Ok(Writing::Over));
    end.receive(usize::MAX);
    assert_eq!(end.reading, Err(CloseReason::Ended));
}

#[test]
fn a_last_batch_that_the_socket_does_not_take_ends_the_connection() {
    let mut end = End::new(Connection::accept_web(SERVER));
    end.order(Order::SendBytes(Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    end.order(Order::Close);
    assert_eq!(end.connection.send(&mut end.batch), Ok(Writing::Write));
    end.connection.end_input();
    end.connection.break_down(CloseReason::Lost("reset".into()));
    end.receive(usize::MAX);
    assert_eq!(end.reading, Err(CloseReason::Lost("reset".into())));
}
