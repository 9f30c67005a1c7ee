//! One side of a connection.

use super::Parcel;
use super::line::{Cargo, Inlet, Outlet};
use crate::NodeId;
use core::time::Duration;
use std::collections::VecDeque;
use tallac_core::machine::{ConnId, Event};
use tallac_core::wire::{Decoded, Frame};

/// ```text
/// Calling ──▶ Open ──▶ Closed       (told so)
///    └──────────┴────▶ Dead         (its node died)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Calling,
    Open,
    Closed,
    Dead,
}

pub(super) struct Side {
    pub(super) node: NodeId,
    /// Which life of the node; events to an earlier life go nowhere.
    pub(super) life: u32,
    pub(super) conn: Option<ConnId>,
    pub(super) stage: Stage,
    out: Outlet,
    /// Close once nothing is left to send.
    pub(super) closing: bool,
    /// Bytes that left this side and were not read by the other.
    pub(super) on_line: u64,
    pub(super) line_free: Duration,
    pub(super) inlet: Inlet,
    /// When each of the frames that come was sent, if somebody wants to know.
    pub(super) sent_at: VecDeque<Duration>,
    /// What may be read; below zero after a frame was read to its end.
    pub(super) granted: i64,
    pub(super) fin: bool,
    pub(super) last_arrival: Duration,
    /// Held back by a partition.
    pub(super) held: VecDeque<Parcel>,
}

/// What reading gave.
pub(super) struct Read {
    pub(super) bytes: u64,
    pub(super) events: Vec<Event>,
    pub(super) error: Option<String>,
}

impl Side {
    /// `frames`: whether only the lengths of frames move.
    pub(super) fn new(node: NodeId, life: u32, conn: Option<ConnId>, frames: bool) -> Side {
        Side {
            node,
            life,
            conn,
            stage: Stage::Calling,
            out: Outlet::new(frames),
            closing: false,
            on_line: 0,
            line_free: Duration::ZERO,
            inlet: Inlet::new(frames),
            sent_at: VecDeque::new(),
            granted: 0,
            fin: false,
            last_arrival: Duration::ZERO,
            held: VecDeque::new(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Calling | Stage::Open)
    }

    pub(super) fn accept(&mut self, conn: ConnId, life: u32) {
        (self.conn, self.stage, self.life) = (Some(conn), Stage::Open, life);
    }

    pub(super) fn close(&mut self) {
        self.stage = Stage::Closed;
        self.out.clear();
        self.inlet.clear();
    }

    pub(super) fn die(&mut self) {
        if self.is_live() {
            self.close();
            self.stage = Stage::Dead;
        }
    }

    /// Takes in what is to be sent; `false` if nothing can be any more.
    pub(super) fn queue(&mut self, frame: &Frame) -> bool {
        assert!(self.stage != Stage::Calling, "a machine sends only once it is connected");
        if self.stage != Stage::Open || self.closing {
            return false;
        }
        self.out.push(frame);
        true
    }

    /// Whether everything that was to be sent is on the line, and nothing more is to come.
    pub(super) fn has_finished(&self) -> bool {
        self.closing && self.out.is_empty()
    }

    /// The next bytes for the line, if the buffers have room.
    pub(super) fn next_parcel(&mut self, buffer: u64, parcel: u64) -> Option<(Cargo, u64)> {
        let room = buffer.saturating_sub(self.on_line).min(parcel);
        if room == 0 || self.out.is_empty() {
            return None;
        }
        let (cargo, len) = self.out.take(room);
        self.on_line += len;
        Some((cargo, len))
    }

    /// Reads as much as is granted, a frame that was begun to its end.
    pub(super) fn read(&mut self) -> Read {
        let conn = self.conn.expect("an open side has a number");
        let mut read = Read { bytes: 0, events: Vec::new(), error: None };
        while let Some((bytes, result)) = self.inlet.read(self.granted, |decoded| {
            read.events.push(match decoded {
                Decoded::Frame(frame) => Event::Frame { conn, frame },
                Decoded::Partial => Event::Partial { conn },
            })
        }) {
            self.granted -= bytes as i64;
            read.bytes += bytes;
            if let Err(error) = result {
                read.error = Some(error.to_string());
                break;
            }
        }
        read
    }
}
