//! The servers last heard of, as kept on disk.
//!
//! The file has the name and the form of Tahoe-LAFS's cache of announcements: a YAML list (ours is
//! JSON, which is YAML, too) of `ann` and `key_s`. Keys of ours that it does not know it ignores.
//! There are no signatures in it: who can write the node's private directory needs none.

use crate::announcement::{self, Announcement};
use crate::peers::ServerTable;
use crate::time::{Now, UnixTime};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Entry {
    ann: serde_json::Value,
    key_s: String,
    #[serde(rename = "last-heard", default)]
    last_heard: u64,
}

/// The table's announced servers as the file's bytes.
pub(super) fn write(table: &ServerTable, now: Now) -> Vec<u8> {
    let entries: Vec<Entry> = table
        .last_heard(now)
        .map(|(server, record, last_heard)| Entry {
            ann: announcement::unsigned(record.sequence, &record.info),
            key_s: server.to_string(),
            last_heard: last_heard.0,
        })
        .collect();
    serde_json::to_vec_pretty(&entries).expect("plain data becomes JSON")
}

/// The servers in the file's bytes, and when each was last heard of. Entries that make no sense are
/// skipped; `None` if nothing does.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<(Announcement, UnixTime)>> {
    let entries: Vec<serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    let read = |value| -> Option<(Announcement, UnixTime)> {
        let Entry { ann, key_s, last_heard } = serde_json::from_value(value).ok()?;
        Some((announcement::read_unsigned(key_s.parse().ok()?, ann)?, UnixTime(last_heard)))
    };
    Some(entries.into_iter().filter_map(read).collect())
}
