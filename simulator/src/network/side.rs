//! One side of a connection.

use super::Parcel;
use crate::NodeId;
use bytes::Bytes;
use core::time::Duration;
use std::collections::VecDeque;
use tallac_core::machine::{ConnId, Event};
use tallac_core::wire::{Decoded, FrameDecoder};

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
    /// Given to send and not yet on the line.
    pub(super) out: VecDeque<Bytes>,
    /// Close once `out` is empty.
    pub(super) closing: bool,
    /// Bytes that left this side and were not read by the other.
    pub(super) on_line: u64,
    pub(super) line_free: Duration,
    /// Came in and was not read.
    pub(super) arrived: VecDeque<Bytes>,
    /// Lengths of the frames that come, so that reading stops between frames.
    pub(super) coming: VecDeque<u64>,
    /// When each of the frames that come was sent.
    pub(super) sent_at: VecDeque<Duration>,
    /// Bytes of the frame being read that are still to come.
    left: u64,
    /// What may be read; below zero after a frame was read to its end.
    pub(super) granted: i64,
    decoder: FrameDecoder,
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
    pub(super) fn new(node: NodeId, life: u32, conn: Option<ConnId>) -> Side {
        Side {
            node,
            life,
            conn,
            stage: Stage::Calling,
            out: VecDeque::new(),
            closing: false,
            on_line: 0,
            line_free: Duration::ZERO,
            arrived: VecDeque::new(),
            coming: VecDeque::new(),
            sent_at: VecDeque::new(),
            left: 0,
            granted: 0,
            decoder: FrameDecoder::new(),
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
        self.arrived.clear();
    }

    pub(super) fn die(&mut self) {
        if self.is_live() {
            self.close();
            self.stage = Stage::Dead;
        }
    }

    /// Takes in what is to be sent; `false` if nothing can be any more.
    pub(super) fn queue(&mut self, pieces: impl Iterator<Item = Bytes>) -> bool {
        assert!(self.stage != Stage::Calling, "a machine sends only once it is connected");
        if self.stage != Stage::Open || self.closing {
            return false;
        }
        self.out.extend(pieces.filter(|piece| !piece.is_empty()));
        true
    }

    /// The next bytes for the line, if the buffers have room.
    pub(super) fn next_parcel(&mut self, buffer: u64, parcel: u64) -> Option<(Vec<Bytes>, u64)> {
        let room = buffer.saturating_sub(self.on_line).min(parcel);
        let (mut pieces, mut len) = (Vec::new(), 0);
        while len < room
            && let Some(mut piece) = self.out.pop_front()
        {
            if piece.len() as u64 > room - len {
                self.out.push_front(piece.split_off((room - len) as usize));
            }
            len += piece.len() as u64;
            pieces.push(piece);
        }
        self.on_line += len;
        (len > 0).then_some((pieces, len))
    }

    /// Reads as much as is granted, a frame that was begun to its end.
    pub(super) fn read(&mut self) -> Read {
        let conn = self.conn.expect("an open side has a number");
        let mut read = Read { bytes: 0, events: Vec::new(), error: None };
        while let Some(mut piece) = self.arrived.pop_front() {
            if self.left == 0 {
                if self.granted <= 0 {
                    self.arrived.push_front(piece);
                    break;
                }
                self.left = self.coming.pop_front().expect("bytes come in frames");
            }
            if piece.len() as u64 > self.left {
                self.arrived.push_front(piece.split_off(self.left as usize));
            }
            let len = piece.len() as u64;
            self.left -= len;
            self.granted -= len as i64;
            read.bytes += len;
            let decoded = self.decoder.push(&piece, |decoded| {
                read.events.push(match decoded {
                    Decoded::Frame(frame) => Event::Frame { conn, frame },
                    Decoded::Partial => Event::Partial { conn },
                })
            });
            if let Err(error) = decoded {
                read.error = Some(error.to_string());
                break;
            }
        }
        read
    }
}
