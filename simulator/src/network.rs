//! Connections between nodes: bytes with latency, limited bandwidth, small buffers, and faults.
//!
//! Each side of a connection is a queue of bytes to send, the bytes that have arrived and wait for
//! a grant, and a decoder that cuts them into frames: the real codec, fed in pieces. Where content
//! may be a stand-in ([`Fidelity`]), frames are handed over as values and only their lengths travel,
//! to the same time. What travels in one direction stays in order. A partition holds back what
//! travels until it is healed, as TCP does; a lost connection swallows it.

mod line;
mod links;
mod side;

use crate::NodeId;
use crate::chance::Chance;
use crate::fidelity::Fidelity;
use crate::form;
use crate::record::{Record, Said, name_of};
use crate::schedule::Schedule;
use crate::world::Item;
use core::time::Duration;
use line::Cargo;
use links::{Link, Links};
use serde::{Deserialize, Serialize};
use side::{Side, Stage};
use std::collections::{BTreeMap, BTreeSet};
use tallac_core::machine::{CloseReason, ConnId, Event};
use tallac_core::nurl::Pin;
use tallac_core::wire::Frame;

/// What the network is like.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// The one-way latency between two nodes lies below this; each pair has its own.
    #[serde(with = "form::seconds")]
    pub latency_max: Duration,
    /// A parcel is late by up to this much more.
    #[serde(with = "form::seconds")]
    pub jitter: Duration,
    /// One in this many parcels is late by up to a second; 0 for none.
    pub stragglers: u64,
    /// Bytes per second of one direction of one connection.
    pub bandwidth: u64,
    /// Bytes on their way in one direction of a connection at once: what buffers hold.
    pub buffer: u64,
    /// Longest parcel in bytes.
    pub parcel: u64,
}

impl Default for NetworkSettings {
    fn default() -> NetworkSettings {
        NetworkSettings {
            latency_max: Duration::from_millis(20),
            jitter: Duration::from_millis(1),
            stragglers: 0,
            bandwidth: 100 * 1000 * 1000,
            buffer: 256 * 1024,
            parcel: 64 * 1024,
        }
    }
}

/// Names a connection; the world numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LinkId(u64);

/// A side of a connection: the one that asked for it, or the one that accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum End {
    Caller,
    Callee,
}

impl End {
    fn other(self) -> End {
        match self {
            End::Caller => End::Callee,
            End::Callee => End::Caller,
        }
    }
}

/// What travels.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// The other side accepted.
    Established,
    /// There is no connection.
    Declined(CloseReason),
    Data(Cargo),
    Fin,
    Reset,
}

/// What the network did, for those who watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetworkCounts {
    /// Connections asked for.
    pub connects: u64,
    /// Connections that were refused, unreachable or of the wrong key.
    pub declined: u64,
    /// Connections broken by a fault.
    pub broken: u64,
    /// Parcels held back by a partition.
    pub held: u64,
    /// Times a reader had bytes but no grant.
    pub ungranted: u64,
    /// Frames that came in several parcels and reported life in between.
    pub partial: u64,
    /// Bytes that arrived.
    pub bytes: u64,
}

/// All connections.
pub(crate) struct Network {
    settings: NetworkSettings,
    seed: u64,
    chance: Chance,
    fidelity: Fidelity,
    links: Links,
    /// The connections of each node.
    ends: Vec<BTreeMap<ConnId, (LinkId, End)>>,
    blocked: BTreeSet<(NodeId, NodeId)>,
    /// Nodes that send a byte at a time, and the time between two.
    dripping: BTreeMap<NodeId, Duration>,
    /// Nodes whose words are altered: the world tells them what they sent.
    altered: BTreeSet<NodeId>,
    /// Connection attempts that a partition or a silent host holds up.
    calls: Vec<LinkId>,
    pub(crate) counts: NetworkCounts,
    /// What was said, if somebody wants to know.
    pub(crate) record: Option<Record>,
}

type Items = Schedule<Item>;

impl Network {
    pub(crate) fn new(settings: NetworkSettings, fidelity: Fidelity, seed: u64) -> Network {
        Network {
            settings,
            fidelity,
            seed,
            chance: Chance::named(seed, "network"),
            links: Links::default(),
            ends: Vec::new(),
            blocked: BTreeSet::new(),
            dripping: BTreeMap::new(),
            altered: BTreeSet::new(),
            calls: Vec::new(),
            counts: NetworkCounts::default(),
            record: None,
        }
    }

    pub(crate) fn connect(
        &mut self,
        (from, life): (NodeId, u32),
        to: Option<NodeId>,
        conn: ConnId,
        pin: Pin,
        items: &mut Items,
    ) {
        self.counts.connects += 1;
        let (frames, callee) = (self.fidelity == Fidelity::Protocol, to.unwrap_or(from));
        let (caller, callee) =
            (Side::new(from, life, Some(conn), frames), Side::new(callee, 0, None, frames));
        let latency = self.latency(from, callee.node);
        let link = Link { caller, callee, pin, lost: false, knocked: [false; 2], latency };
        let id = self.links.add(link);
        self.ends_of(from).insert(conn, (id, End::Caller));
        match to {
            // A handshake of TCP and half of one of TLS.
            Some(_) => items.after(3 * latency, Item::Call(id)),
            None => {
                let reason = CloseReason::Unreachable("no such host".into());
                items
                    .after(Duration::from_millis(1), Item::Parcel(id, End::Caller, Parcel::Declined(reason)));
            }
        }
    }

    /// Who is called with which pin, if anybody still calls. `None` after noting that the call is
    /// held up.
    pub(crate) fn call(&mut self, id: LinkId) -> Option<(NodeId, Pin)> {
        let link = self.links.get_mut(id)?;
        if !link.caller.is_live() {
            self.forget_if_over(id);
            return None;
        }
        let (from, to) = (link.caller.node, link.callee.node);
        if self.blocked.contains(&(from, to)) || self.blocked.contains(&(to, from)) {
            self.counts.held += 1;
            self.calls.push(id);
            return None;
        }
        Some((to, link.pin))
    }

    /// Nobody answers the call for now.
    pub(crate) fn hold_call(&mut self, id: LinkId) {
        self.calls.push(id);
    }

    pub(crate) fn decline(&mut self, id: LinkId, reason: CloseReason, items: &mut Items) {
        self.counts.declined += 1;
        self.post(id, End::Caller, Parcel::Declined(reason), items);
    }

    /// Gives the name of the caller, for people.
    pub(crate) fn accept(&mut self, id: LinkId, conn: ConnId, life: u32, items: &mut Items) -> NodeId {
        let link = self.links.get_mut(id).expect("calls are of links");
        let (caller, callee) = (link.caller.node, link.callee.node);
        link.callee.accept(conn, life);
        self.ends_of(callee).insert(conn, (id, End::Callee));
        self.post(id, End::Caller, Parcel::Established, items);
        caller
    }

    /// The connections of a node.
    fn ends_of(&mut self, node: NodeId) -> &mut BTreeMap<ConnId, (LinkId, End)> {
        if self.ends.len() <= node.index() {
            self.ends.resize_with(node.index() + 1, BTreeMap::new);
        }
        &mut self.ends[node.index()]
    }

    fn end_of(&self, node: NodeId, conn: ConnId) -> Option<(LinkId, End)> {
        self.ends.get(node.index())?.get(&conn).copied()
    }

    pub(crate) fn send(&mut self, node: NodeId, conn: ConnId, frame: Frame, items: &mut Items) {
        let Some((id, end)) = self.end_of(node, conn) else { return };
        let link = self.links.get_mut(id).expect("ends are of links");
        if link.side(end).queue(&frame) {
            let other = link.side(end.other());
            other.inlet.expect(frame);
            if self.record.is_some() {
                other.sent_at.push_back(items.now());
            }
            self.pump(id, end, items);
        }
    }

    pub(crate) fn grant(&mut self, node: NodeId, conn: ConnId, bytes: u64, items: &mut Items) {
        let Some((id, end)) = self.end_of(node, conn) else { return };
        let link = self.links.get_mut(id).expect("ends are of links");
        link.side(end).granted += bytes as i64;
        self.drain(id, end, items);
    }

    pub(crate) fn close(&mut self, node: NodeId, conn: ConnId, items: &mut Items) {
        let Some((id, end)) = self.end_of(node, conn) else { return };
        self.links.get_mut(id).expect("ends are of links").side(end).closing = true;
        self.pump(id, end, items);
    }

    pub(crate) fn abort(&mut self, node: NodeId, conn: ConnId, items: &mut Items) {
        let Some((id, end)) = self.end_of(node, conn) else { return };
        self.post(id, end.other(), Parcel::Reset, items);
        self.end(id, end, CloseReason::Ended, items);
    }

    /// Something arrives at a side. `up`: whether that side's node runs.
    pub(crate) fn arrive(&mut self, id: LinkId, at: End, parcel: Parcel, up: bool, items: &mut Items) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (from, to) = (link.side(at.other()).node, link.side(at).node);
        if link.lost {
            return;
        }
        if !self.blocked.is_empty() && self.blocked.contains(&(from, to)) || !link.side(at).held.is_empty() {
            self.counts.held += 1;
            link.side(at).held.push_back(parcel);
            return;
        }
        if !link.side(at).is_live() {
            if let (Stage::Dead, false) = (link.side(at).stage, up) {
                link.knocked[at as usize] = true;
            } else if !matches!(parcel, Parcel::Reset | Parcel::Fin | Parcel::Declined(_)) {
                self.post(id, at.other(), Parcel::Reset, items);
            }
            return self.forget_if_over(id);
        }
        match parcel {
            Parcel::Established => {
                let side = link.side(at);
                side.stage = Stage::Open;
                let conn = side.conn.expect("a caller has a number");
                items.after(Duration::ZERO, Item::event(to, side.life, Event::Connected { conn }));
            }
            Parcel::Declined(reason) => {
                link.side(at.other()).stage = Stage::Closed;
                self.end(id, at, reason, items);
            }
            Parcel::Data(cargo) => {
                link.side(at).inlet.arrive(cargo);
                self.drain(id, at, items);
            }
            Parcel::Fin => {
                link.side(at).fin = true;
                self.drain(id, at, items);
            }
            Parcel::Reset => self.end(id, at, CloseReason::Lost("reset by the other side".into()), items),
        }
    }

    /// A node's program is gone. Its connections end; the other sides learn it now if the system
    /// around it lives on, else when they next send something and the node is back.
    pub(crate) fn died(&mut self, node: NodeId, told: bool, items: &mut Items) {
        // The next life numbers its connections anew.
        let numbers: Vec<ConnId> = self.ends_of(node).keys().copied().collect();
        for number in numbers {
            // A connection to itself ends with its first end.
            let Some((id, end)) = self.ends_of(node).remove(&number) else { continue };
            let link = self.links.get_mut(id).expect("ends are of links");
            link.side(end).die();
            if told && link.side(end.other()).is_live() {
                self.post(id, end.other(), Parcel::Reset, items);
            }
            self.forget_if_over(id);
        }
    }

    /// A node is back: calls go on, and who knocked meanwhile is told off.
    pub(crate) fn back(&mut self, node: NodeId, items: &mut Items) {
        let knocked: Vec<(LinkId, End)> = (self.links.iter())
            .flat_map(|(id, link)| {
                let ends = [(End::Caller, &link.caller), (End::Callee, &link.callee)];
                ends.into_iter().map(move |(end, side)| (id, end, side.node, link.knocked[end as usize]))
            })
            .filter(|(_, _, at, knocked)| *at == node && *knocked)
            .map(|(id, end, _, _)| (id, end))
            .collect();
        for (id, end) in knocked {
            self.post(id, end.other(), Parcel::Reset, items);
        }
        self.call_again(items);
    }

    fn call_again(&mut self, items: &mut Items) {
        for id in core::mem::take(&mut self.calls) {
            let pause = self.chance.duration(Duration::ZERO..Duration::from_secs(1));
            items.after(pause, Item::Call(id));
        }
    }

    /// Nothing gets from one node to another.
    pub(crate) fn block(&mut self, from: NodeId, to: NodeId) {
        self.blocked.insert((from, to));
    }

    /// Every node reaches every other again.
    pub(crate) fn heal(&mut self, items: &mut Items) {
        self.blocked.clear();
        for id in self.links.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            for end in [End::Caller, End::Callee] {
                let Some(link) = self.links.get_mut(id) else { continue };
                for parcel in core::mem::take(&mut link.side(end).held) {
                    self.post(id, end, parcel, items);
                }
            }
        }
        self.call_again(items);
    }

    /// A node reaches, and is reached by, every other again.
    pub(crate) fn rejoin(&mut self, node: NodeId, items: &mut Items) {
        self.blocked.retain(|(from, to)| *from != node && *to != node);
        let of_node = |link: &Link| link.caller.node == node || link.callee.node == node;
        let links: Vec<LinkId> = self.links.iter().filter(|(_, l)| of_node(l)).map(|(id, _)| id).collect();
        for id in links {
            for end in [End::Caller, End::Callee] {
                let Some(link) = self.links.get_mut(id) else { continue };
                for parcel in core::mem::take(&mut link.side(end).held) {
                    self.post(id, end, parcel, items);
                }
            }
        }
        self.call_again(items);
    }

    /// From now on a node sends a byte at a time, with this pause after each; as usual, without one.
    pub(crate) fn drip(&mut self, node: NodeId, pause: Option<Duration>) {
        match pause {
            Some(pause) => drop(self.dripping.insert(node, pause)),
            None => drop(self.dripping.remove(&node)),
        }
    }

    /// A node's words are altered from now on.
    pub(crate) fn alter(&mut self, node: NodeId) {
        self.altered.insert(node);
    }

    /// The connections that a node made or accepted, and that stand, with who is at the other end.
    pub(crate) fn standing(&self, node: NodeId) -> Vec<(ConnId, NodeId)> {
        let ends = self.ends.get(node.index()).into_iter().flatten();
        ends.filter_map(|(conn, (id, end))| {
            let link = self.links.get(*id)?;
            let (here, there) = match end {
                End::Caller => (&link.caller, &link.callee),
                End::Callee => (&link.callee, &link.caller),
            };
            (here.stage == Stage::Open && there.stage == Stage::Open).then_some((*conn, there.node))
        })
        .collect()
    }

    /// Breaks a connection that stands, chosen by `pick`. Each side learns it in its own time.
    pub(crate) fn break_one(&mut self, pick: u64, items: &mut Items) -> bool {
        let open = |link: &Link| !link.lost && link.caller.is_live() && link.callee.is_live();
        let candidates: Vec<LinkId> = self.links.iter().filter(|(_, l)| open(l)).map(|(id, _)| id).collect();
        if candidates.is_empty() {
            return false;
        }
        let id = candidates[(pick % candidates.len() as u64) as usize];
        self.counts.broken += 1;
        if let Some(link) = self.links.get_mut(id) {
            link.lost = true;
        }
        for end in [End::Caller, End::Callee] {
            let longest = if self.chance.one_in(4) { 60_000 } else { 300 };
            let pause = Duration::from_millis(self.chance.below(longest));
            items.after(pause, Item::Broken(id, end));
        }
        true
    }

    /// A side learns that its connection is broken.
    pub(crate) fn learn_broken(&mut self, id: LinkId, end: End, items: &mut Items) {
        if self.links.get(id).is_some() {
            self.end(id, end, CloseReason::Lost("connection timed out".into()), items);
        }
    }

    /// Whose side it is.
    pub(crate) fn node_at(&self, id: LinkId, end: End) -> Option<NodeId> {
        let link = self.links.get(id)?;
        Some(match end {
            End::Caller => link.caller.node,
            End::Callee => link.callee.node,
        })
    }

    /// How many connections a node has.
    pub(crate) fn count(&self, node: NodeId) -> usize {
        self.ends.get(node.index()).map_or(0, BTreeMap::len)
    }

    /// Moves bytes from a side's queue onto the line, as far as buffers allow.
    fn pump(&mut self, id: LinkId, end: End, items: &mut Items) {
        let Some(link) = self.links.get_mut(id) else { return };
        let side = link.side(end);
        if side.stage != Stage::Open {
            return;
        }
        let (node, life, conn) = (side.node, side.life, side.conn);
        let drip = self.dripping.get(&node).copied();
        let (buffer, parcel) =
            if drip.is_some() { (1, 1) } else { (self.settings.buffer, self.settings.parcel) };
        let mut parcels = Vec::new();
        let mut sent = 0;
        while let Some((cargo, len)) = side.next_parcel(buffer, parcel) {
            sent += len;
            parcels.push((cargo, len));
        }
        let finished = side.has_finished();
        if sent > 0 && !self.altered.contains(&node) {
            let conn = conn.expect("an open side has a number");
            items.after(Duration::ZERO, Item::event(node, life, Event::Sent { conn, bytes: sent }));
        }
        for (cargo, len) in parcels {
            let busy = Duration::from_nanos(len * 1_000_000_000 / self.settings.bandwidth.max(1));
            let busy = drip.unwrap_or(busy);
            let side = self.links.get_mut(id).expect("still there").side(end);
            side.line_free = side.line_free.max(items.now()) + busy;
            self.post(id, end.other(), Parcel::Data(cargo), items);
        }
        if finished {
            self.post(id, end.other(), Parcel::Fin, items);
            self.end(id, end, CloseReason::Ended, items);
        }
    }

    /// Hands arrived bytes to a side's decoder, as far as granted.
    fn drain(&mut self, id: LinkId, end: End, items: &mut Items) {
        let Some(link) = self.links.get_mut(id) else { return };
        let from = link.side(end.other()).node;
        let side = link.side(end);
        if side.stage != Stage::Open {
            return;
        }
        let read = side.read();
        self.counts.bytes += read.bytes;
        self.counts.ungranted += u64::from(!side.inlet.is_empty());
        let over = side.fin && side.inlet.is_empty();
        for event in read.events {
            self.counts.partial += u64::from(matches!(event, Event::Partial { .. }));
            if let Event::Frame { frame, .. } = &event {
                let sent = side.sent_at.pop_front().unwrap_or_default();
                if let Some(record) = &mut self.record
                    && let Some(what) = name_of(frame)
                {
                    record.said(Said { from, to: side.node, sent, arrived: items.now(), what });
                }
            }
            items.after(Duration::ZERO, Item::event(side.node, side.life, event));
        }
        link.side(end.other()).on_line -= read.bytes;
        if let Some(error) = read.error {
            self.post(id, end.other(), Parcel::Reset, items);
            self.end(id, end, CloseReason::BadFrame(error), items);
        } else if over {
            self.end(id, end, CloseReason::Ended, items);
        }
        if read.bytes > 0 {
            self.pump(id, end.other(), items);
        }
    }

    /// Sends something to a side, behind everything sent there before.
    fn post(&mut self, id: LinkId, to: End, parcel: Parcel, items: &mut Items) {
        let Some(link) = self.links.get(id) else { return };
        let mut pause = link.latency;
        if !self.settings.jitter.is_zero() {
            pause += self.chance.duration(Duration::ZERO..self.settings.jitter);
        }
        if self.settings.stragglers > 0 && self.chance.one_in(self.settings.stragglers) {
            pause += self.chance.duration(Duration::ZERO..Duration::from_secs(1));
        }
        let link = self.links.get_mut(id).expect("looked up above");
        let departs = link.side(to.other()).line_free.max(items.now());
        let side = link.side(to);
        side.last_arrival = side.last_arrival.max(departs + pause);
        items.at(side.last_arrival, Item::Parcel(id, to, parcel));
    }

    /// The connection is over for one side, which is told so once.
    fn end(&mut self, id: LinkId, end: End, reason: CloseReason, items: &mut Items) {
        let Some(link) = self.links.get_mut(id) else { return };
        let side = link.side(end);
        if side.is_live() {
            let (node, life) = (side.node, side.life);
            if let Some(conn) = side.conn {
                items.after(Duration::ZERO, Item::event(node, life, Event::Closed { conn, reason }));
            }
            side.close();
        }
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let never_met = link.callee.conn.is_none() && !link.caller.is_live();
        if never_met || !(link.caller.is_live() || link.callee.is_live()) {
            let link = self.links.remove(id).expect("looked up above");
            for side in [&link.caller, &link.callee] {
                let Some(conn) = side.conn else { continue };
                if self.end_of(side.node, conn).is_some_and(|(l, _)| l == id) {
                    self.ends_of(side.node).remove(&conn);
                }
            }
        }
    }

    /// The one-way latency between two nodes: their distance, the same all along.
    fn latency(&self, a: NodeId, b: NodeId) -> Duration {
        let (low, high) = (a.min(b), a.max(b));
        let pair = self.seed ^ (u64::from(low.0) << 32) ^ u64::from(high.0);
        let longest = self.settings.latency_max.max(Duration::from_micros(20));
        Chance::new(pair).duration(Duration::from_micros(10)..longest)
    }
}
