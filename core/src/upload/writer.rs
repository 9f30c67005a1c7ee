//! One share on its way to its server.

use super::sending::SendTask;
use super::{File, Purpose};
use crate::identity::ServerId;
use crate::payload::Payload;
use crate::peers::Effort;
use crate::storage::protocol::StorageRequest;
use crate::task::{Task, Tasks};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// What a server has of a share, what is on the way to it, and what waits to be sent.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) server: ServerId,
    /// Where the next write goes.
    offset: u64,
    gathered: Vec<Payload>,
    gathered_len: u64,
    /// Writes under way: offset and length.
    pub(super) under_way: BTreeMap<u64, u64>,
    /// All of the share was sent, its end too.
    pub(super) closing: bool,
    /// The server has the whole share.
    pub(super) finished: bool,
    /// Since when it is waited for: since it last confirmed something, or since the others had
    /// nothing under way any more.
    pub(super) waited_for: Option<Instant>,
}

impl Writer {
    /// A share of which nothing was sent yet. It begins with this header.
    pub(super) fn new(server: ServerId, header: Payload) -> Writer {
        Writer {
            server,
            offset: 0,
            gathered_len: header.len(),
            gathered: [header].into(),
            under_way: BTreeMap::new(),
            closing: false,
            finished: false,
            waited_for: None,
        }
    }

    /// Everything before this offset is confirmed.
    pub(super) fn confirmed(&self) -> u64 {
        self.under_way.keys().next().copied().unwrap_or(self.offset)
    }

    /// Lays aside the next bytes of the share. Returns how many wait to be sent.
    pub(super) fn gather(&mut self, bytes: Payload) -> u64 {
        self.gathered_len += bytes.len();
        self.gathered.push(bytes);
        self.gathered_len
    }

    /// Sends what was gathered, in one write.
    pub(super) fn send(&mut self, share: u16, file: &File, patience: Duration, tasks: &mut Tasks<Purpose>) {
        let (server, offset) = (self.server, self.offset);
        let request = StorageRequest::Write {
            storage_index: file.storage_index,
            share,
            upload_secret: file.secrets.upload(&server),
            offset,
        };
        let bulk = core::mem::take(&mut self.gathered);
        let task = Task::Ask { server, request, bulk, patience, effort: Effort::Normal };
        tasks.start(Purpose::Sending(SendTask::Write { share, server, offset }), task);
        let len = core::mem::take(&mut self.gathered_len);
        self.under_way.insert(offset, len);
        self.offset += len;
    }
}
