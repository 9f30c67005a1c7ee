//! What who runs a node wants to know of it: is it alive, is it ready, what has it done. No capability
//! is in any of it.
//!
//! `/statistics` and `/status` have the keys of Tahoe-LAFS where they mean the same, and ours beside them.

use super::refusal::Refusal;
use super::request::Request;
use super::tree_json::document;
use super::{Gateway, text};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use tallac_core::machine::ConnId;
use tallac_core::node::{Activity, Entry, ServerView, Standing};
use tallac_core::peers::LinkStatus;
use tallac_core::time::Now;

/// Servers that are looked at to know whether there are enough.
const SERVERS_MAX: usize = 10_000;
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Numbers by name; whole ones, or none where there is nothing to measure.
type Numbers = BTreeMap<&'static str, u64>;

#[derive(Serialize)]
struct Statistics {
    counters: Numbers,
    stats: Numbers,
}

impl Gateway {
    /// `GET /health`: whoever reads this has reached a process that works.
    pub(super) fn health(&mut self, conn: ConnId) {
        self.answer_text(conn, 200, "The node is running.");
    }

    /// `GET /ready`: whether a file could be stored now.
    pub(super) fn ready(&mut self, conn: ConnId, now: Now) {
        let status = self.node.status(SERVERS_MAX, now);
        let takes = |server: &&ServerView| matches!(server.link, LinkStatus::Up { .. }) && !server.read_only;
        let (takers, happy) = (status.servers.iter().filter(takes).count(), status.happy);
        let connected = match takers {
            0 => "no server that takes files is".to_owned(),
            1 => "1 server that takes files is".to_owned(),
            count => format!("{count} servers that take files are"),
        };
        if takers >= happy {
            self.answer_text(
                conn,
                200,
                &format!("Ready: {connected} connected; storing a file needs {happy}."),
            );
        } else {
            let why = format!("Not ready: {connected} connected; storing a file needs {happy}.");
            self.answer_text(conn, 503, &why);
        }
    }

    /// `GET /statistics`, as JSON, for a collector of metrics, or to be read.
    pub(super) fn statistics(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let form = request.t();
        if !["", "json", "html", "openmetrics"].iter().any(|known| form.eq_ignore_ascii_case(known)) {
            return Err(Refusal::bad("The argument t= is json or openmetrics here."));
        }
        let metrics = form.eq_ignore_ascii_case("openmetrics");
        let statistics = self.gather_statistics(now);
        if metrics {
            self.answer(conn, 200, OPENMETRICS, text(openmetrics(&statistics)));
        } else {
            self.answer(conn, 200, "text/plain; charset=utf-8", text(document(&statistics) + "\n"));
        }
        Ok(())
    }

    /// `GET /metrics`: where collectors look by themselves.
    pub(super) fn metrics(&mut self, conn: ConnId, now: Now) {
        let metrics = openmetrics(&self.gather_statistics(now));
        self.answer(conn, 200, OPENMETRICS, text(metrics));
    }

    /// `GET /storage`: the node's own storage service.
    pub(super) fn storage(&mut self, conn: ConnId, now: Now) -> Result<(), Refusal> {
        #[derive(Serialize)]
        struct Storage {
            stats: Numbers,
            counters: Numbers,
        }
        let none = || Refusal::new(404, "This node has no storage service.");
        let stored = self.node.status(0, now).storage.ok_or_else(none)?;
        let counters = Numbers::from([
            ("requests", stored.requests),
            ("answers", stored.answers),
            ("shares_in_progress", stored.shares_in_progress),
            ("shares_finished", stored.shares_finished),
            ("bytes_finished", stored.bytes_finished),
            ("shares_failed", stored.shares_failed),
            ("shares_abandoned", stored.shares_abandoned),
            ("leases_changed", stored.leases_changed),
            ("advisories", stored.advisories),
            ("slot_writes", stored.slot_writes),
            ("slot_bytes_written", stored.slot_bytes_written),
            ("slot_tests_failed", stored.slot_tests_failed),
            ("slot_writes_completed", stored.slot_writes_completed),
            ("slots_shut", stored.slots_shut),
        ]);
        let storage = Storage { stats: self.storage_stats(stored.bytes_promised), counters };
        self.answer(conn, 200, "text/plain; charset=utf-8", text(document(&storage) + "\n"));
        Ok(())
    }

    /// `GET /status`: operations under way, and those that were lately.
    pub(super) fn activities(&mut self, conn: ConnId, now: Now) {
        #[derive(Serialize)]
        struct Activities {
            active: Vec<Line>,
            recent: Vec<Line>,
        }
        let lines = Activities {
            active: self.node.active_operations().map(|entry| Line::of(entry, now)).collect(),
            recent: self.node.recent_operations().map(|entry| Line::of(entry, now)).collect(),
        };
        self.answer(conn, 200, "application/json", text(document(&lines) + "\n"));
    }

    fn gather_statistics(&self, now: Now) -> Statistics {
        let totals = self.node.totals();
        let status = self.node.status(0, now);
        let mut counters = Numbers::from([
            ("uploader.files_uploaded", totals.files_uploaded),
            ("uploader.bytes_uploaded", totals.bytes_uploaded),
            ("downloader.files_downloaded", totals.files_downloaded),
            ("downloader.bytes_downloaded", totals.bytes_downloaded),
            ("mutable.files_published", totals.files_published),
            ("mutable.bytes_published", totals.bytes_published),
            ("mutable.files_retrieved", totals.files_retrieved),
            ("mutable.bytes_retrieved", totals.bytes_retrieved),
            ("operations.failed", totals.failed),
            ("operations.cancelled", totals.cancelled),
        ]);
        let mut stats = Numbers::from([
            ("node.uptime", now.instant.since(self.started).as_secs()),
            ("node.connected_servers", status.connected as u64),
            ("node.connected_clients", status.clients as u64),
            ("web.connections", self.connections.len() as u64),
        ]);
        if let Some(stored) = status.storage {
            counters.insert("storage_server.bytes_added", stored.bytes_finished);
            counters.insert("storage_server.close", stored.shares_finished);
            counters.insert("storage_server.writev", stored.slot_writes);
            stats.append(&mut self.storage_stats(stored.bytes_promised));
        }
        Statistics { counters, stats }
    }

    fn storage_stats(&self, promised: u64) -> Numbers {
        let mut stats = Numbers::from([("storage_server.allocated", promised)]);
        if let Some(settings) = self.node.storage_settings() {
            stats.insert("storage_server.reserved_space", settings.reserved_space);
            stats.insert("storage_server.accepting_immutable_shares", u64::from(!settings.read_only));
        }
        stats
    }
}

/// An operation in `/status`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    r#type: &'static str,
    number: u64,
    storage_index_string: Option<String>,
    total_size: Option<u64>,
    status: &'static str,
    /// From 0 to 1, if the size is known.
    progress: Option<f64>,
    bytes_done: u64,
    /// Seconds since 1970.
    started: u64,
    seconds: f64,
    seconds_to_prepare: Option<f64>,
}

impl Line {
    fn of(entry: &Entry, now: Now) -> Line {
        let finished = entry.standing == Standing::Finished;
        let progress = entry.size.map(|size| match size {
            _ if finished => 1.0,
            0 => 0.0,
            size => (entry.done as f64 / size as f64).min(1.0),
        });
        Line {
            r#type: match entry.activity {
                Activity::Upload => "upload",
                Activity::Download => "download",
                Activity::Publish => "publish",
                Activity::Retrieve => "retrieve",
                Activity::Mapupdate => "mapupdate",
            },
            number: entry.number,
            storage_index_string: entry.storage_index.map(|index| index.to_string()),
            total_size: entry.size,
            status: match entry.standing {
                Standing::Active => "Active",
                Standing::Finished => "Finished",
                Standing::Failed => "Failed",
                Standing::Cancelled => "Cancelled",
            },
            progress,
            bytes_done: entry.done,
            started: entry.begun.0,
            seconds: entry.took.unwrap_or_else(|| now.instant.since(entry.begun_at)).as_secs_f64(),
            seconds_to_prepare: entry.prepared.map(|prepared| prepared.as_secs_f64()),
        }
    }
}

/// As OpenMetrics writes numbers, with the peer's names.
fn openmetrics(statistics: &Statistics) -> String {
    let mut out = String::new();
    for (kind, numbers) in [("counters", &statistics.counters), ("stats", &statistics.stats)] {
        for (name, number) in numbers {
            let _ = writeln!(out, "tahoe_{kind}_{} {number}", name.replace('.', "_"));
        }
    }
    out.push_str("# EOF\n");
    out
}
