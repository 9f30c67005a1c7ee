//! A node that has stopped leaves no threads and no sockets. A test binary of its own, so that
//! nothing else in the process comes and goes.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tallac_core::machine::Action;
use tallac_core::wire::Frame;
use tallac_tests::puppet::{Node, Runtime};

/// A node's life: connections of all kinds, some of them open at the end.
fn live(runtime: Runtime) {
    let (client, server) = (Node::start(runtime), Node::start(runtime));
    for conn in 0..5 {
        let (here, there) = client.join(conn, &server);
        client.act(Action::Send { conn: here, frame: Frame::new(vec![1; 1000]) });
        server.grant_all(there);
        server.frame();
    }
    let (_stranger, _web) =
        (TcpStream::connect(server.grid).unwrap(), TcpStream::connect(server.web).unwrap());
    server.accepted();
    client.stop();
    server.stop();
}

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_stopped_node_leaves_nothing() {
    for runtime in [Runtime::Blocking, Runtime::AsyncStd, Runtime::Smol] {
        // Threads that belong to the process come with the first use of a runtime.
        live(runtime);
        // Those of `blocking` leave after half a second.
        std::thread::sleep(Duration::from_millis(1500));
        let before = (count("/proc/self/task"), count("/proc/self/fd"));
        (0..3).for_each(|_| live(runtime));
        let started = Instant::now();
        loop {
            let after = (count("/proc/self/task"), count("/proc/self/fd"));
            if after == before {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(3), "{runtime:?}: {before:?}, then {after:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
