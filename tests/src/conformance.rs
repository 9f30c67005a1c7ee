//! What every runtime must do, and nothing more: the same bodies run on all of them.

use crate::puppet::{Node, PATIENCE, Runtime};
use bytes::Bytes;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tallac_core::disk::{DiskOutput, DiskStep, StorePath};
use tallac_core::job::{Job, JobOutput};
use tallac_core::machine::{Action, ActionId, CloseReason, ConnId, Event, Protocol};
use tallac_core::nurl::{Address, Pin};
use tallac_core::operation::Report;
use tallac_core::wire::Frame;
use tallac_host::setup::Guards;

/// Long enough for what must not happen.
const QUIET: Duration = Duration::from_millis(200);

/// A frame with so much bulk.
fn frame(number: u8, bulk: usize) -> Frame {
    let content: Vec<u8> = (0..bulk).map(|i| (i / 7) as u8 ^ number).collect();
    Frame::with_bulk(vec![number; 9], if bulk == 0 { Vec::new() } else { vec![content.into()] })
}

fn closed(node: &Node) -> (ConnId, CloseReason) {
    node.find(|event| match event {
        Event::Closed { conn, reason } => Some((*conn, reason.clone())),
        _ => None,
    })
}

fn sent(node: &Node, at_least: u64) -> u64 {
    let mut total = 0;
    while total < at_least {
        total += node.find(|event| match event {
            Event::Sent { bytes, .. } => Some(*bytes),
            _ => None,
        });
    }
    total
}

/// Frames of all sizes go both ways, in order, over one connection at once.
pub fn frames_go_both_ways(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let (here, there) = client.join(1, &server);
    client.grant_all(here);
    server.grant_all(there);
    let sizes = [0, 1, 100, 16_375, 16_384, 70_000, 350_000, 1 << 20, 0, 350_000];
    // A first frame is a short hello.
    for (number, size) in sizes.into_iter().enumerate() {
        client.act(Action::Send { conn: here, frame: frame(number as u8, size) });
        server.act(Action::Send { conn: there, frame: frame(number as u8 + 100, size) });
    }
    let total: u64 = sizes.iter().map(|size| frame(0, *size).len()).sum();
    for (node, offset) in [(&server, 0), (&client, 100)] {
        let (mut got, mut partial, mut sent) = (0, 0, 0);
        while got < sizes.len() || sent < total {
            match node.next().0 {
                Event::Frame { frame: came, .. } => {
                    assert!(came == frame(got as u8 + offset, sizes[got]), "frame {got}");
                    got += 1;
                }
                Event::Partial { .. } => partial += 1,
                Event::Sent { bytes, .. } => sent += bytes,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, total);
        assert!(partial >= 20, "{partial} signs of life");
    }
}

/// The other side of a connection sees who came, and through which door.
pub fn somebody_who_connects_is_announced(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    client.connect(1, server.grid, server.pin);
    let _web = TcpStream::connect(server.web).unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (conn, protocol, from) = server.find(|event| match event {
            Event::Accepted { conn, protocol, from } => Some((*conn, *protocol, from.clone())),
            _ => None,
        });
        assert!(matches!(conn, ConnId::Inbound(_)));
        assert!(from.starts_with("127.0.0.1:"), "{from}");
        seen.push(protocol);
    }
    seen.sort();
    assert_eq!(seen, [Protocol::Tallac, Protocol::Web]);
}

/// Each way for a connection not to come about has its reason.
pub fn failed_connections_say_why(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    client.connect(1, server.grid, Pin([9; 32]));
    assert_eq!(closed(&client), (ConnId::Outbound(1), CloseReason::WrongKey));

    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    client.connect(2, nobody, server.pin);
    assert_eq!(closed(&client), (ConnId::Outbound(2), CloseReason::Refused));

    let address = Address { host: "no-such-host.invalid".into(), port: 1 };
    client.act(Action::Connect { conn: ConnId::Outbound(3), address, pin: server.pin });
    assert!(matches!(closed(&client), (ConnId::Outbound(3), CloseReason::Unreachable(_))));

    client.connect(4, server.web, server.pin);
    server.accepted();
    // The web port takes our TLS for a request, and we wait for an answer.
    client.act(Action::Abort { conn: ConnId::Outbound(4) });
    assert_eq!(closed(&client).0, ConnId::Outbound(4));

    let garbage = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    client.connect(5, garbage.local_addr().unwrap(), server.pin);
    garbage.accept().unwrap().0.write_all(b"SSH-2.0-whatever\r\n").unwrap();
    assert!(matches!(closed(&client), (ConnId::Outbound(5), CloseReason::Handshake(_))));

    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    client.connect(6, silent.local_addr().unwrap(), server.pin);
    assert!(matches!(closed(&client), (ConnId::Outbound(6), CloseReason::Handshake(_))));
}

/// A host name is resolved, and all its addresses are tried.
pub fn host_names_are_resolved(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let address = Address { host: "localhost".into(), port: server.grid.port() };
    client.act(Action::Connect { conn: ConnId::Outbound(1), address, pin: server.pin });
    assert!(matches!(client.next().0, Event::Connected { conn: ConnId::Outbound(1) }));
}

/// Strangers who do not get as far as a handshake are cut off, and the machine never hears of them.
pub fn strangers_are_cut_off(runtime: Runtime) {
    let guards = Guards { handshake: Duration::from_millis(300), ..Guards::default() };
    let server = Node::start_with(runtime, guards);
    let started = Instant::now();
    let connect = |bytes: &[u8]| {
        let mut socket = TcpStream::connect(server.grid).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(bytes).unwrap();
        socket
    };
    let ends = |mut socket: TcpStream| {
        let mut rest = Vec::new();
        match socket.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        rest
    };
    // One that says nothing, one that stops in the middle.
    let (silent, half) = (connect(b""), connect(b"\x16\x03\x01\x02\x00\x01"));
    assert_eq!(ends(connect(b"GET /id/abcdef HTTP/1.1\r\n")), b"");
    assert_eq!(ends(connect(b"garbage of all kinds")), b"");
    ends(connect(b"\x16\x03\x01\x00\x05hello"));
    assert!(started.elapsed() < Duration::from_millis(250), "these are known at once");
    ends(half);
    ends(silent);
    assert!(started.elapsed() >= Duration::from_millis(290), "the patience is 300 ms");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(server.next_within(QUIET).is_none());
}

/// Nothing is delivered beyond the grant, and a sender does not get rid of more than a bounded
/// amount.
pub fn grants_are_honoured(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let (here, there) = client.join(1, &server);
    client.act(Action::Send { conn: here, frame: frame(0, 0) });
    sent(&client, 17);
    assert!(server.next_within(QUIET).is_none(), "nothing is granted yet");
    server.act(Action::Grant { conn: there, bytes: 1 });
    assert!(server.frame() == frame(0, 0), "a frame is read to its end");

    // 100 MB, of which the server takes two frames.
    let big = frame(1, 1 << 20);
    let count = 100;
    client.act_all((0..count).map(|_| Action::Send { conn: here, frame: big.clone() }));
    server.act(Action::Grant { conn: there, bytes: big.len() + 1 });
    let mut frames = 0;
    while let Some((event, _)) = server.next_within(Duration::from_secs(1)) {
        frames += usize::from(matches!(event, Event::Frame { .. }));
    }
    assert_eq!(frames, 2);
    let mut gone = 0;
    while let Some((event, _)) = client.next_within(QUIET) {
        if let Event::Sent { bytes, .. } = event {
            gone += bytes;
        }
    }
    // What is gone lies in the buffers of the operating system, besides those two frames.
    assert!(gone < 30_000_000, "{gone} bytes have left the sender");
    server.grant_all(there);
    while frames < count {
        server.frame();
        frames += 1;
    }
    assert_eq!(gone + sent(&client, big.len() * count as u64 - gone), big.len() * count as u64);
}

/// Close lets everything out first; the other side gets it all and then the end.
pub fn closing_flushes(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let (here, there) = client.join(1, &server);
    // The server has something on its way to us that we shall not read.
    server.act_all([0, 300_000].map(|size| Action::Send { conn: there, frame: frame(0, size) }));
    let frames = [0, 1 << 20, 1 << 20, 1 << 20];
    client.act_all(frames.map(|size| Action::Send { conn: here, frame: frame(1, size) }));
    client.act(Action::Close { conn: here });
    std::thread::sleep(QUIET);
    server.grant_all(there);
    for size in frames {
        assert!(server.frame() == frame(1, size));
    }
    let (conn, reason) = closed(&server);
    assert_eq!((conn, reason), (there, CloseReason::Ended));
    let mut sent = 0;
    loop {
        match client.next().0 {
            Event::Sent { bytes, .. } => sent += bytes,
            Event::Closed { reason, .. } => break assert_eq!(reason, CloseReason::Ended),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent, frames.map(|size| frame(1, size).len()).iter().sum::<u64>());
    assert!(client.next_within(QUIET).is_none(), "nothing follows the end");
}

/// Abort drops everything, even when the other side does not read.
pub fn aborting_is_prompt(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let (here, there) = client.join(1, &server);
    client.act(Action::Send { conn: here, frame: frame(0, 0) });
    client.act_all((0..100).map(|i| Action::Send { conn: here, frame: frame(i, 1 << 20) }));
    std::thread::sleep(QUIET);
    client.act(Action::Close { conn: here });
    let started = Instant::now();
    client.act(Action::Abort { conn: here });
    assert_eq!(closed(&client), (here, CloseReason::Ended));
    assert!(started.elapsed() < QUIET);
    assert!(client.next_within(QUIET).is_none());
    // Orders for a connection that is gone are no fault: the machine may not know yet.
    client.act(Action::Send { conn: here, frame: frame(0, 0) });
    client.act(Action::Abort { conn: here });
    client.act(Action::Close { conn: here });
    client.act(Action::Grant { conn: here, bytes: 5 });
    assert!(client.next_within(QUIET).is_none());
    server.grant_all(there);
    let (conn, reason) = closed(&server);
    assert_eq!(conn, there);
    assert_ne!(reason, CloseReason::Ended, "the other side can tell that it has not got everything");
}

/// A connection attempt can be given up.
pub fn attempts_can_be_given_up(runtime: Runtime) {
    let client = Node::start(runtime);
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    for (conn, action) in
        [(1, Action::Abort { conn: ConnId::Outbound(1) }), (2, Action::Close { conn: ConnId::Outbound(2) })]
    {
        client.connect(conn, silent.local_addr().unwrap(), client.pin);
        let (mut socket, _) = silent.accept().unwrap();
        client.act(action);
        assert_eq!(closed(&client), (ConnId::Outbound(conn), CloseReason::Ended));
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    assert!(client.next_within(QUIET).is_none());
}

/// The end of the other side is noticed without any grant.
pub fn the_end_of_the_other_side_is_noticed(runtime: Runtime) {
    let server = Node::start(runtime);
    let (client, dropped) = (Node::start(runtime), Node::start(runtime));
    let (here, there) = client.join(1, &server);
    client.act(Action::Close { conn: here });
    assert_eq!(closed(&server), (there, CloseReason::Ended));
    let (here, there) = dropped.join(1, &server);
    dropped.act(Action::Abort { conn: here });
    let (conn, reason) = closed(&server);
    assert_eq!(conn, there);
    assert!(matches!(reason, CloseReason::Lost(_)), "{reason:?}");
}

/// Bytes that are no frame end a connection.
pub fn bad_frames_end_a_connection(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let (here, there) = client.join(1, &server);
    server.grant_all(there);
    client.grant_all(here);
    // The first frame must be short.
    client.act(Action::Send { conn: here, frame: frame(0, 100_000) });
    let (conn, reason) = closed(&server);
    assert_eq!(conn, there);
    assert!(matches!(reason, CloseReason::BadFrame(_)), "{reason:?}");
    assert_eq!(closed(&client).0, here);
}

/// The web port passes bytes on as they come, both ways, each direction ending by itself.
pub fn the_web_port_passes_bytes(runtime: Runtime) {
    let server = Node::start(runtime);
    let mut socket = TcpStream::connect(server.web).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let conn = server.accepted();
    let sent_bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i / 5) as u8).collect();
    let sending = {
        let (mut socket, bytes) = (socket.try_clone().unwrap(), sent_bytes.clone());
        std::thread::spawn(move || {
            socket.write_all(&bytes).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
        })
    };
    assert!(server.next_within(QUIET).is_none(), "nothing is granted yet");
    let mut received = Vec::new();
    let mut granted = 0;
    for grant in [1, 10, 100_000, 4_000_000] {
        server.act(Action::Grant { conn, bytes: grant });
        granted += grant;
        while (received.len() as u64) < granted.min(3_000_000) {
            match server.next().0 {
                Event::Received { data, .. } => {
                    assert!(!data.is_empty() && data.len() <= 256 * 1024);
                    received.extend_from_slice(data.bytes().expect("real bytes"));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(received.len() as u64 <= granted);
    }
    sending.join().unwrap();
    assert!(received == sent_bytes);
    assert!(matches!(server.next().0, Event::ReceivedEnd { .. }));
    // The answer goes out after the question has ended.
    let answer: Vec<Bytes> = [0, 5, 700_000, 1, 300_000].map(|len| vec![len as u8; len].into()).to_vec();
    let total = answer.iter().map(Bytes::len).sum::<usize>();
    server.act_all(answer.iter().map(|data| Action::SendBytes { conn, data: data.clone().into() }));
    server.act(Action::Close { conn });
    let mut came = Vec::new();
    socket.read_to_end(&mut came).unwrap();
    assert!(came == answer.concat());
    assert_eq!(sent(&server, total as u64), total as u64);
    assert_eq!(closed(&server), (conn, CloseReason::Ended));
}

/// A web client that goes away while it is answered is noticed.
pub fn a_web_client_that_leaves_is_noticed(runtime: Runtime) {
    let server = Node::start(runtime);
    let socket = TcpStream::connect(server.web).unwrap();
    let conn = server.accepted();
    drop(socket);
    assert!(matches!(server.next().0, Event::ReceivedEnd { .. }));
    server.act_all((0..20).map(|_| Action::SendBytes { conn, data: vec![1; 1 << 20].into() }));
    let (gone, reason) = closed(&server);
    assert_eq!(gone, conn);
    assert!(matches!(reason, CloseReason::Lost(_)), "{reason:?}");
}

/// Disk actions and jobs come back, each once, many at a time.
pub fn disk_and_jobs_come_back(runtime: Runtime) {
    let node = Node::start(runtime);
    let steps = vec![DiskStep::Read { path: StorePath::Spool(1), offset: 0, len: 5 }, DiskStep::FreeSpace];
    let hasher = tallac_core::hash::block_hasher;
    let count = 100;
    node.act_all((0..count).flat_map(|id| {
        let job = Job::Hash { hasher: hasher(), data: vec![vec![id as u8; 100_000].into()] };
        [Action::Disk { id: ActionId(id), steps: steps.clone() }, Action::Job { id: ActionId(id), job }]
    }));
    let (mut disks, mut jobs) = (Vec::new(), Vec::new());
    while disks.len() + jobs.len() < 2 * count as usize {
        match node.next().0 {
            Event::DiskDone { id, result } => {
                assert_eq!(result.unwrap(), [DiskOutput::Data(vec![7; 5].into()), DiskOutput::Free(1 << 40)]);
                disks.push(id.0);
            }
            Event::JobDone { id, output: JobOutput::Hashed(_) } => jobs.push(id.0),
            other => panic!("{other:?}"),
        }
    }
    disks.sort();
    jobs.sort();
    assert_eq!((disks, jobs), ((0..count).collect(), (0..count).collect()));
}

/// A panic in the pool is not lost: the node must not wait for ever for an outcome.
pub fn a_panic_ends_the_run(runtime: Runtime) {
    let node = Node::start(runtime);
    node.act(Action::Disk { id: ActionId(1), steps: vec![DiskStep::Length(StorePath::Spool(1))] });
    node.crash();
}

/// Only so many strangers at a time.
pub fn strangers_are_few(runtime: Runtime) {
    let guards = Guards { handshakes: 2, ..Guards::default() };
    let (client, server) = (Node::start(runtime), Node::start_with(runtime, guards));
    let strangers = [0, 1].map(|_| TcpStream::connect(server.grid).unwrap());
    std::thread::sleep(QUIET);
    client.connect(1, server.grid, server.pin);
    assert!(matches!(closed(&client).1, CloseReason::Handshake(_) | CloseReason::Lost(_)));
    // The web port has its own door.
    let _web = TcpStream::connect(server.web).unwrap();
    server.accepted();
    drop(strangers);
    std::thread::sleep(QUIET);
    for conn in 2..6 {
        client.join(conn, &server);
    }
}

/// The machine is woken at its deadline, not before, and not much later; a deadline in the past
/// is at once.
pub fn deadlines_are_kept(runtime: Runtime) {
    let node = Node::start(runtime);
    for wait in [0, 1, 50, 200] {
        let wait = Duration::from_millis(wait);
        let deadline = node.now().instant + wait;
        node.set_deadline(deadline);
        let (event, now) = node.next();
        assert!(matches!(event, Event::Wake));
        let late = now.instant.since(deadline);
        assert!(now.instant >= deadline && late < Duration::from_millis(100), "{late:?} late");
    }
    let date = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(node.now().unix.0.abs_diff(date) <= 1);
    // Inputs that never end do not keep a deadline from coming.
    node.set_deadline(node.now().instant + Duration::from_millis(50));
    let started = Instant::now();
    loop {
        (0..100).for_each(|_| node.pull());
        if let Some((event, _)) = node.next_within(Duration::ZERO) {
            break assert!(matches!(event, Event::Wake));
        }
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

/// Reports arrive, and `Stopped` ends the run: what was to be sent is sent.
pub fn stopping_flushes(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let (here, there) = client.join(1, &server);
    server.grant_all(there);
    let frames = [0, 1 << 20, 1 << 20];
    client.act_all(
        frames
            .map(|size| Action::Send { conn: here, frame: frame(3, size) })
            .into_iter()
            .chain([Action::Report(Report::Stopped)]),
    );
    for size in frames {
        assert!(server.frame() == frame(3, size));
    }
    assert_eq!(closed(&server), (there, CloseReason::Ended));
    assert!(matches!(client.reports.recv_timeout(PATIENCE), Ok(Report::Stopped)));
    client.stop();
}

/// Stopping does not wait for anybody else: not for strangers, not for those who do not read.
pub fn stopping_is_prompt(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let (here, _) = client.join(1, &server);
    client.act(Action::Send { conn: here, frame: frame(0, 0) });
    client.act_all((0..100).map(|i| Action::Send { conn: here, frame: frame(i, 1 << 20) }));
    let _stranger = TcpStream::connect(client.grid).unwrap();
    let _web = TcpStream::connect(client.web).unwrap();
    client.accepted();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    client.connect(2, silent.local_addr().unwrap(), client.pin);
    std::thread::sleep(Duration::from_millis(50));
    let (grid, started) = (client.grid, Instant::now());
    client.stop();
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    assert!(TcpStream::connect(grid).is_err(), "nobody listens any more");
}

/// Many connections at once, each with its own conversation.
pub fn many_connections_at_once(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    let count = 100;
    for conn in 0..count {
        client.connect(conn, server.grid, server.pin);
    }
    let (mut connected, mut answered) = (0, 0);
    for _ in 0..count {
        let conn = server.accepted();
        server.grant_all(conn);
    }
    while connected < count {
        let conn = client.find(|event| match event {
            Event::Connected { conn } => Some(*conn),
            Event::Closed { .. } => panic!("{event:?}"),
            _ => None,
        });
        client.grant_all(conn);
        client.act(Action::Send { conn, frame: frame(connected as u8, 0) });
        connected += 1;
    }
    while answered < count {
        let (conn, frame) = server.find(|event| match event {
            Event::Frame { conn, frame } => Some((*conn, frame.clone())),
            _ => None,
        });
        server.act(Action::Send { conn, frame });
        answered += 1;
    }
    for _ in 0..count {
        client.frame();
    }
    let started = Instant::now();
    client.stop();
    assert!(started.elapsed() < Duration::from_secs(3));
    for _ in 0..count {
        assert_eq!(closed(&server).1, CloseReason::Ended);
    }
}
