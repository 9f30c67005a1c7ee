//! Somebody else's TLS as judge. Skipped where there is no openssl.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tallac_core::machine::{Action, Event};
use tallac_core::wire::Frame;
use tallac_tests::puppet::{Node, Runtime};

fn client(node: &Node, alpn: &[&str]) -> Option<Child> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_3", "-connect", &node.grid.to_string()]).args(alpn);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().ok()
}

fn bytes(text: &str) -> Vec<u8> {
    Frame::new(text.into()).pieces().flatten().collect()
}

#[test]
fn keys_are_updated_when_asked() {
    let node = Node::start(Runtime::Blocking);
    let Some(mut client) = client(&node, &["-alpn", "tallac/1"]) else { return };
    let conn = node.accepted();
    node.grant_all(conn);
    let mut input = client.stdin.take().unwrap();
    let mut say = |bytes: &[u8]| {
        input.write_all(bytes).unwrap();
        // Each write is a line of its own to openssl.
        std::thread::sleep(Duration::from_millis(300));
    };
    say(&bytes("hello"));
    assert_eq!(node.frame().message, "hello");
    // `K` on a line means: new keys for us, and the other side should have new ones, too.
    for (word, answer) in [("first", "the first answer"), ("second", "the second answer")] {
        say(b"K\n");
        say(&bytes(word));
        assert_eq!(node.frame().message, word);
        node.act(Action::Send { conn, frame: Frame::new(answer.into()) });
        node.find(|event| matches!(event, Event::Sent { .. }).then_some(()));
    }
    node.act(Action::Close { conn });
    drop(input);
    let mut output = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    client.wait().unwrap();
    let output = String::from_utf8_lossy(&output);
    for part in ["the first answer", "the second answer", "TLS_AES_128_GCM_SHA256", "ALPN protocol: tallac/1"]
    {
        assert!(output.contains(part), "{part}: {output}");
    }
}

#[test]
fn who_does_not_speak_our_protocol_is_turned_away() {
    let node = Node::start(Runtime::Blocking);
    let Some(mut client) = client(&node, &[]) else { return };
    let mut output = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    client.wait().unwrap();
    let output = String::from_utf8_lossy(&output);
    assert!(output.contains("No ALPN negotiated"), "the handshake was made: {output}");
    assert!(output.contains("closed"), "and the connection closed: {output}");
    assert!(node.next_within(Duration::from_millis(200)).is_none());
}
