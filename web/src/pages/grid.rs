//! The pages about other nodes: the servers of the grid, drawn, and what an introducer tells whom.

use super::figures::span;
use super::map::{Spot, draw};
use super::welcome::{Server, state};
use super::{Frame, shown};
use askama::Template;
use std::collections::BTreeMap;
use tallac_core::identity::ServerId;
use tallac_core::node::{Introducing, NodeStatus, ServerView};
use tallac_core::peers::LinkStatus;
use tallac_core::time::Now;

/// The servers of the grid, drawn.
#[derive(Template)]
#[template(path = "grid.html")]
pub(crate) struct Grid {
    frame: Frame,
    map: String,
    connected: usize,
    known: usize,
    rows: Vec<Row>,
    placed: u64,
}

struct Row {
    server: Server,
    shares: u64,
}

impl Grid {
    pub(crate) fn new(frame: Frame, node: &NodeStatus, placed: &BTreeMap<ServerId, u64>, now: Now) -> Grid {
        let of = |server: &ServerView| placed.get(&server.server).copied().unwrap_or_default();
        let spot = |server: &ServerView| {
            let up = matches!(server.link, LinkStatus::Up { .. });
            let (count, state) = (of(server), state(&server.link));
            Spot {
                name: server.nickname.clone(),
                count,
                class: match (up, count) {
                    (false, _) => "silent",
                    (true, 0) => "none",
                    (true, _) => "holds",
                },
                says: format!("{}: {state}; {count} shares of new files", server.nickname),
            }
        };
        let spots: Vec<Spot> = node.servers.iter().map(spot).collect();
        let total: u64 = node.servers.iter().map(of).sum();
        let middle = [format!("{total} shares"), "put there".to_owned()];
        let label = format!(
            "The {} servers of the grid, and how many shares of new files were put on each",
            node.servers.len()
        );
        Grid {
            frame,
            map: draw(label, middle, &spots),
            connected: node.connected,
            known: node.servers.len(),
            rows: node
                .servers
                .iter()
                .map(|server| Row { shares: of(server), server: Server::new(server, now) })
                .collect(),
            placed: total,
        }
    }
}

/// What an introducer knows, and whom it tells.
#[derive(Template)]
#[template(path = "introducer.html")]
pub(crate) struct Introducer {
    frame: Frame,
    announcements: Vec<[String; 5]>,
    subscribers: Vec<[String; 3]>,
    /// There are more than are listed.
    more: bool,
}

impl Introducer {
    pub(crate) fn new(frame: Frame, told: &Introducing, listed_max: usize, now: Now) -> Introducer {
        let announcements = told.announcements.iter().take(listed_max).map(|server| {
            let addresses: Vec<String> = server.addresses.iter().map(ToString::to_string).collect();
            [
                shown(&server.nickname),
                server.server.short(),
                shown(&addresses.join(", ")),
                shown(&server.program),
                server.sequence.to_string(),
            ]
        });
        let subscribers = told
            .subscribers
            .iter()
            .take(listed_max)
            .map(|node| [shown(&node.from), shown(&node.program), span(now.instant.since(node.since))]);
        Introducer {
            frame,
            announcements: announcements.collect(),
            subscribers: subscribers.collect(),
            more: told.announcements.len() > listed_max || told.subscribers.len() > listed_max,
        }
    }
}
