//! The first page: how the node and its grid stand, and where to go from here.

use super::figures::size;
use super::{Frame, PageKeys, shown};
use askama::Template;
use tallac_core::node::NodeStatus;
use tallac_core::peers::LinkStatus;

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

struct Server {
    nickname: String,
    id: String,
    up: bool,
    state: String,
    free: String,
    program: String,
}

impl Welcome {
    pub(crate) fn new(node: &NodeStatus, keys: &PageKeys) -> Welcome {
        let servers: Vec<Server> = (node.servers.iter().take(LISTED_MAX))
            .map(|server| Server {
                nickname: shown(&server.nickname),
                id: server.server.short(),
                up: matches!(server.link, LinkStatus::Up { .. }),
                state: state(&server.link),
                free: server.available_space.map(size).unwrap_or_default(),
                program: shown(&server.program),
            })
            .collect();
        let ready = node.connected > 0 && node.connected >= node.happy;
        let root = node.shared_root.as_ref().and_then(|root| root.writable);
        let introducers = node.introducers.iter().map(|introducer| {
            let address = introducer.addresses.first().map(ToString::to_string).unwrap_or_default();
            (format!("Introducer {address}"), state(&introducer.link))
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
        let storage = node.storage.as_ref().map(|stats| {
            format!(
                "{} shares ({}) stored and {} in progress since the node was started",
                stats.shares_finished,
                size(stats.bytes_finished),
                stats.shares_in_progress
            )
        });
        Welcome {
            frame: Frame::new("Welcome", &node.nickname, keys),
            ready,
            health: health(node, ready),
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

/// What new files can bear.
fn health(node: &NodeStatus, ready: bool) -> String {
    let (needed, total) = node.shares;
    if node.servers.is_empty() {
        return "No server is known yet: nothing can be stored or read.".into();
    }
    if !ready {
        return format!(
            "Nothing can be stored now: {} servers are needed for it, {} are connected.",
            node.happy, node.connected
        );
    }
    let holders = node.connected.min(usize::from(total));
    // With several shares on one server, the loss of that one weighs more.
    if node.connected < usize::from(total) {
        return format!("New files go to {holders} servers; any {needed} of {total} shares give one back.");
    }
    let survives = holders.saturating_sub(usize::from(needed));
    format!("Ready. New files survive the loss of any {survives} of the {holders} servers that hold them.")
}

fn state(link: &LinkStatus) -> String {
    match link {
        LinkStatus::Up { .. } => "connected".into(),
        LinkStatus::Connecting => "connecting".into(),
        LinkStatus::Down(None) => "not connected".into(),
        LinkStatus::Down(Some(error)) => format!("not connected: {error}"),
    }
}
