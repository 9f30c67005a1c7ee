//! How a node stands, as JSON and as text.
//!
//! The JSON has the keys of Tahoe-LAFS's `GET /?t=json`, and ours beside them.

use super::UploadView;
use serde_json::{Value, json};
use std::fmt::Write;
use tallac_core::node::{NodeStatus, ServerView};
use tallac_core::peers::LinkStatus;
use tallac_core::time::Now;
use tallac_core::upload::UploadStage;
use tallac_core::vdrive::{RootStage, SharedRootStatus};

/// `GET /?t=json`.
pub(super) fn json(node: &NodeStatus, now: Now) -> String {
    let introducers: Vec<Value> = (node.introducers.iter())
        .map(|introducer| {
            let addresses: Vec<String> = introducer.addresses.iter().map(ToString::to_string).collect();
            json!({
                "addresses": addresses,
                "connection_status": link_text(&introducer.link),
                "connected": matches!(introducer.link, LinkStatus::Up { .. }),
                "heard": introducer.heard,
            })
        })
        .collect();
    let statuses: Vec<String> = node.introducers.iter().map(|i| link_text(&i.link)).collect();
    let value = json!({
        "introducers": { "statuses": statuses, "details": introducers },
        "servers": node.servers.iter().map(|server| server_json(server, now)).collect::<Vec<_>>(),
        "nickname": node.nickname,
        "nodeid": node.server_id.to_string(),
        "tubid": node.tub_id.to_string(),
        "version": node.program,
        "connected_servers": node.connected,
        "shares": {
            "needed": node.shares.0,
            "happy": node.happy,
            "total": node.shares.1,
        },
        "storage": node.storage.is_some(),
        "introducer": node.introducer.map(|(announcements, subscribers)| json!({
            "announcements": announcements,
            "subscribers": subscribers,
        })),
        "vdrive": node.vdrive.map(|stage| json!({ "root": stage_word(stage) })),
        "shared_root": node.shared_root.as_ref().map(|root| json!({
            "known": root.writable.is_some(),
            "writable": root.writable == Some(true),
        })),
        "clients": node.clients,
        "uploads": node.operations.0,
        "downloads": node.operations.1,
    });
    pretty(&value)
}

fn stage_word(stage: RootStage) -> &'static str {
    match stage {
        RootStage::Reading => "reading",
        RootStage::Unreadable => "unreadable",
        RootStage::Waiting(_) => "waiting for servers",
        RootStage::Making => "making",
        RootStage::Ready => "ready",
    }
}

fn server_json(server: &ServerView, now: Now) -> Value {
    let connected = matches!(server.link, LinkStatus::Up { .. });
    json!({
        "nodeid": server.server.to_string(),
        "nickname": server.nickname,
        "version": server.program,
        "connection_status": link_text(&server.link),
        "connected": connected,
        "available_space": server.available_space,
        "read_only": server.read_only,
        "last_received_data": server.last_heard.0,
        "connected_seconds": match &server.link {
            LinkStatus::Up { since, .. } => Some(now.instant.since(*since).as_secs()),
            _ => None,
        },
    })
}

fn link_text(link: &LinkStatus) -> String {
    match link {
        LinkStatus::Up { .. } => "connected".into(),
        LinkStatus::Connecting => "connecting".into(),
        LinkStatus::Down(None) => "not connected".into(),
        LinkStatus::Down(Some(error)) => format!("not connected: {error}"),
    }
}

/// `GET /`, until there are pages.
pub(super) fn plain(node: &NodeStatus) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}, a node of a {} grid", node.nickname, node.program);
    let _ = writeln!(out, "id {}\n", node.server_id);
    for introducer in &node.introducers {
        let address = introducer.addresses.first().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, "introducer {address}: {}", link_text(&introducer.link));
    }
    if let Some((announcements, subscribers)) = node.introducer {
        let _ = writeln!(out, "introducing {announcements} servers to {subscribers} nodes");
    }
    if let Some(stage) = node.vdrive {
        let _ = match stage {
            RootStage::Reading => writeln!(out, "handing out the shared root: its file is being read"),
            RootStage::Unreadable => {
                writeln!(out, "not handing out the shared root: private/vdrive-root.cap cannot be used")
            }
            RootStage::Waiting(needed) => writeln!(
                out,
                "no shared root yet: it is made once {needed} servers are connected, or with tallac make-root"
            ),
            RootStage::Making => writeln!(out, "making the shared root"),
            RootStage::Ready => writeln!(out, "handing out the shared root"),
        };
    }
    if let Some(root) = &node.shared_root {
        shared_root(root, &mut out);
    }
    let _ = writeln!(out, "\n{} of {} known servers are connected", node.connected, node.servers.len());
    for server in &node.servers {
        let _ =
            writeln!(out, "  {} ({}): {}", server.nickname, server.server.short(), link_text(&server.link));
    }
    let (needed, total) = node.shares;
    let happy = node.happy;
    let _ = writeln!(out, "\nnew files: {needed} of {total} shares are enough, on at least {happy} servers");
    out
}

/// Once the root is kept, it does not matter how its servers stand.
fn shared_root(root: &SharedRootStatus, out: &mut String) {
    match root.writable {
        Some(true) => out.push_str("shared root: known, can be changed\n"),
        Some(false) => out.push_str("shared root: known, read-only\n"),
        None => {
            for server in &root.servers {
                let address = server.addresses.first().map(ToString::to_string).unwrap_or_default();
                let link = link_text(&server.link);
                let _ = writeln!(out, "shared root: not known yet; vdrive server {address}: {link}");
            }
        }
    }
}

/// `GET /operations/NAME`.
pub(super) fn upload_json(view: &UploadView) -> String {
    let plan = view.plan.as_ref().map(|plan| {
        json!({
            "text": plan.to_string(),
            "servers": plan.servers(),
            "happiness": plan.happiness,
            "survives": plan.survives,
        })
    });
    let stage = match view.progress.map(|progress| progress.stage) {
        None if plan.is_none() => "receiving",
        None | Some(UploadStage::Sending) => "sending",
        Some(UploadStage::Closing) => "closing",
    };
    let value = json!({
        "finished": false,
        "stage": stage,
        "received": view.received,
        "confirmed": view.progress.map_or(0, |progress| progress.confirmed),
        "size": view.progress.map(|progress| progress.size).or(view.size),
        "plan": plan,
    });
    pretty(&value)
}

fn pretty(value: &Value) -> String {
    let mut out = serde_json::to_string_pretty(value).expect("a value becomes JSON");
    out.push('\n');
    out
}
