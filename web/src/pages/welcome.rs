//! The first page: how the node and its grid stand, and where to go from here.

use super::figures::{size, span};
use super::{Frame, PageKeys, shown};
use askama::Template;
use tallac_core::node::{NodeStatus, ServerView};
use tallac_core::peers::LinkStatus;
use tallac_core::storage::StorageStats;
use tallac_core::time::{Instant, Now};

/// Most servers that are listed.
pub(crate) const LISTED_MAX: usize = 1_000;

/// The first page.
#[derive(Template)]
#[template(path = "welcome.html")]
pub(crate) struct Welcome {
    frame: Frame,
    /// Whether files can be stored now.
    ready: bool,
    health: String,
    /// Whether the personal drive has been made, as far as is known.
    personal: bool,
    /// Whether one can log out.
    login: bool,
    introducer: bool,
    shared: &'static str,
    connected: usize,
    servers: Vec<Server>,
    more: bool,
    id: String,
    program: String,
    roles: String,
    links: Vec<(String, String)>,
    storage: String,
    under_way: String,
}

/// A server in a table.
pub(crate) struct Server {
    pub(crate) nickname: String,
    pub(crate) id: String,
    pub(crate) up: bool,
    pub(crate) state: String,
    pub(crate) free: String,
    pub(crate) program: String,
}

impl Server {
    pub(crate) fn new(server: &ServerView, now: Now) -> Server {
        let free = match (server.read_only, server.available_space) {
            (true, _) => "takes nothing".into(),
            (false, space) => space.map(size).unwrap_or_default(),
        };
        Server {
            nickname: shown(&server.nickname),
            id: server.server.short(),
            up: matches!(server.link, LinkStatus::Up { .. }),
            state: since(&server.link, server.down_since, now),
            free,
            program: shown(&server.program),
        }
    }
}

/// What is stored at this node, as far as it was counted.
pub(crate) struct Stored {
    /// Whole shares, and the bytes of their files; `None` until they have been counted.
    pub(crate) counted: Option<(u64, u64)>,
    /// Bytes that are left free.
    pub(crate) reserved: u64,
}

impl Welcome {
    pub(crate) fn new(
        node: &NodeStatus,
        keys: &PageKeys,
        personal: bool,
        stored: Option<Stored>,
        login: bool,
        now: Now,
    ) -> Welcome {
        let listed = node.servers.iter().take(LISTED_MAX);
        let servers: Vec<Server> = listed.map(|server| Server::new(server, now)).collect();
        let takers = takers(node);
        let ready = takers > 0 && takers >= node.happy;
        let root = node.shared_root.as_ref().and_then(|root| root.writable);
        let introducers = node.introducers.iter().map(|introducer| {
            let address = introducer.addresses.first().map(ToString::to_string).unwrap_or_default();
            (format!("Introducer {address}"), since(&introducer.link, introducer.down_since, now))
        });
        let vdrives = node.shared_root.iter().flat_map(|root| &root.servers).map(|server| {
            let address = server.addresses.first().map(ToString::to_string).unwrap_or_default();
            // Once the root is kept there is no connection most of the time, which is no trouble.
            let known = root.is_some() && !matches!(server.link, LinkStatus::Up { .. });
            let state = if known { "not needed now".into() } else { state(&server.link) };
            (format!("Vdrive server {address}"), state)
        });
        let links = introducers.chain(vdrives).collect();
        let mut roles = vec!["client".to_owned()];
        if node.storage.is_some() {
            roles.push("storage server".into());
        }
        if let Some((announcements, subscribers)) = node.introducer {
            roles.push(format!("introducer of {announcements} servers to {subscribers} nodes"));
        }
        if node.vdrive.is_some() {
            roles.push("vdrive server".into());
        }
        let storage = node.storage.as_ref().zip(stored).map(|(stats, stored)| storage(stats, &stored));
        Welcome {
            frame: Frame::new("Welcome", &node.nickname, keys),
            ready,
            health: health(node, takers),
            personal,
            login,
            introducer: node.introducer.is_some(),
            shared: match root {
                Some(true) => "What everybody in this grid shares; you can add to it",
                Some(false) => "What everybody in this grid shares; you can read it",
                None => "Not known yet: no vdrive server has told where it is",
            },
            connected: node.connected,
            more: node.servers.len() > servers.len(),
            servers,
            id: node.server_id.to_string(),
            program: shown(&node.program),
            roles: roles.join(", "),
            links,
            storage: storage.unwrap_or_default(),
            under_way: format!("{} uploads, {} downloads", node.operations.0, node.operations.1),
        }
    }
}

/// Servers that are connected and take shares.
fn takers(node: &NodeStatus) -> usize {
    let takes = |server: &&ServerView| matches!(server.link, LinkStatus::Up { .. }) && !server.read_only;
    node.servers.iter().filter(takes).count()
}

/// What new files can bear.
fn health(node: &NodeStatus, takers: usize) -> String {
    let (needed, total) = (usize::from(node.shares.0), usize::from(node.shares.1));
    if node.servers.is_empty() {
        return "No server is known yet: nothing can be stored or read.".into();
    }
    if takers == 0 || takers < node.happy {
        let needed = match node.happy {
            0 | 1 => "a server is needed for it".to_owned(),
            happy => format!("{happy} servers are needed for it"),
        };
        let there = match takers {
            0 => "none of those that are connected takes files".to_owned(),
            1 => "only 1 of those that are connected takes files".to_owned(),
            takers => format!("only {takers} of those that are connected take files"),
        };
        return format!("Nothing can be stored now: {needed}, and {there}.");
    }
    if takers < total {
        // How the shares are spread over too few servers is decided for each file.
        return format!(
            "Ready. New files go to {takers} servers, some of which hold several of their {total} shares; any {needed} \
             shares give one back. With {total} servers they would survive the loss of any {}.",
            total - needed
        );
    }
    format!("Ready. New files survive the loss of any {} of {total} servers.", total - needed)
}

/// What the node keeps for others.
fn storage(stats: &StorageStats, stored: &Stored) -> String {
    let kept = match stored.counted {
        Some((shares, bytes)) => format!("{shares} shares, {} used", size(bytes)),
        None => "being counted".into(),
    };
    let progress = match stats.shares_in_progress {
        0 => String::new(),
        count => format!("; {count} are being stored"),
    };
    format!("{kept}; {} of the disk are left free{progress}", size(stored.reserved))
}

/// How a connection stands, and since when it does not.
fn since(link: &LinkStatus, down: Option<Instant>, now: Now) -> String {
    let span = |at: Instant| span(now.instant.since(at));
    match (link, down) {
        (LinkStatus::Up { since, .. }, _) => format!("connected for {}", span(*since)),
        (link, Some(down)) => format!("{} (for {})", state(link), span(down)),
        (link, None) => state(link),
    }
}

pub(crate) fn state(link: &LinkStatus) -> String {
    match link {
        LinkStatus::Up { .. } => "connected".into(),
        LinkStatus::Connecting => "connecting".into(),
        LinkStatus::Down(None) => "not connected".into(),
        LinkStatus::Down(Some(error)) => format!("not connected: {error}"),
    }
}
