//! A node type of one's own in the same world: whatever is a `Machine` of the core's events and actions
//! gets virtual time, network, disk, crashes and a trace. Here: one that calls another and counts what it
//! hears.

use core::time::Duration;
use std::collections::VecDeque;
use tallac_core::machine::{Action, ConnId, Event, Machine};
use tallac_core::nurl::{Address, Pin};
use tallac_core::time::{Instant, Now};
use tallac_core::wire::Frame;
use tallac_simulator::chance::Chance;
use tallac_simulator::disk::{Disk, DiskSettings};
use tallac_simulator::{Crash, NetworkSettings, NodeSetup, World};

/// Calls `peer` if it has one; answers every frame with the next number until ten.
struct Counter {
    peer: Option<(Address, Pin)>,
    heard: u8,
    actions: VecDeque<Action>,
    begun: bool,
}

impl Machine for Counter {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, event: Event, _: Now) {
        match event {
            Event::Wake if !self.begun => {
                self.begun = true;
                if let Some((address, pin)) = self.peer.clone() {
                    self.actions.push_back(Action::Connect { conn: ConnId::Outbound(0), address, pin });
                }
            }
            Event::Connected { conn } => {
                self.actions.push_back(Action::Grant { conn, bytes: 1_000 });
                self.actions.push_back(Action::Send { conn, frame: Frame::new(vec![1]) });
            }
            Event::Accepted { conn, .. } => self.actions.push_back(Action::Grant { conn, bytes: 1_000 }),
            Event::Frame { conn, frame } => {
                self.heard = frame.message[0];
                if self.heard < 10 {
                    self.actions.push_back(Action::Send { conn, frame: Frame::new(vec![self.heard + 1]) });
                }
            }
            _ => {}
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.begun { None } else { Some(Instant::ZERO) }
    }
}

fn main() {
    let seed = 5;
    let mut world = World::new(seed, NetworkSettings::default());
    let address = Address { host: "callee".into(), port: 1 };
    let peers = [("caller", Pin([1; 32]), Some((address, Pin([2; 32])))), ("callee", Pin([2; 32]), None)];
    let nodes = peers.map(|(name, pin, peer)| {
        let make = move |_| Counter { peer: peer.clone(), heard: 0, actions: VecDeque::new(), begun: false };
        let disk = Disk::new(DiskSettings::default(), Chance::named(seed, name));
        world.add(NodeSetup { name: name.into(), pin, disk, make: Box::new(make) })
    });
    nodes.iter().rev().for_each(|node| world.start(*node));
    while world.next_at().is_some_and(|next| next < Duration::from_secs(10)) {
        world.step();
    }
    let heard = nodes.map(|node| world.machine(node).expect("it runs").heard);
    assert_eq!(heard, [10, 9]);
    world.crash(nodes[1], Crash::PowerCut);
    println!("{heard:?} heard, trace {}", world.trace().hash());
}
