//! Contents on their way to the node and from it.

use super::{Gateway, target};
use crate::client::{Connection, refused};
use crate::drive::cap::CapText;
use crate::exit::{Failure, failed};
use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use std::io::Read;
use tallac_web::gateway::{PLACEMENT_HEADER, SURVIVES_HEADER};
use tallac_web::http::{BodyKind, Method, RequestHead};

const PIECE: usize = 256 * 1024;

/// A content to be stored.
pub(crate) struct Upload<'a> {
    /// Where it comes from.
    pub(crate) source: &'a mut dyn Read,
    /// What to call the source in messages.
    pub(crate) said: String,
    /// How long it is, if that is known before it ends.
    pub(crate) len: Option<u64>,
    /// Is told how many bytes have been sent now.
    pub(crate) moved: &'a dyn Fn(u64),
    /// Is asked before the last piece is sent, after which nothing can be taken back: an error, and
    /// nothing is stored.
    pub(crate) still_good: &'a dyn Fn() -> Result<()>,
}

/// What became of an upload.
pub(crate) struct Stored {
    /// The capability, as text of the node.
    pub(crate) cap: CapText,
    /// Which servers have it, in words, if the node says so.
    pub(crate) placement: Option<String>,
    /// How many lost servers it survives, if the node says so.
    pub(crate) survives: Option<u64>,
}

/// A content that comes in.
pub(crate) struct Fetching {
    connection: Connection,
    /// How long it is, if the node has said so.
    pub(crate) len: Option<u64>,
}

impl Gateway {
    /// Stores a content: `target` is where, with its query.
    pub(crate) fn store(&self, target: &str, upload: Upload<'_>) -> Result<Stored> {
        let mut head = RequestHead::new(Method::Put, target);
        self.node.introduce(&mut head)?;
        head.body = upload.len.map_or(BodyKind::Chunked, BodyKind::Length);
        let mut connection = self.node.connect(&self.interrupt)?;
        connection.request(&head)?;
        if send(&mut connection, upload, || self.interrupt.check())? {
            // If the node hung up, its answer says why.
            let _ = connection.finish_body();
        }
        let (response, _) = connection.response()?;
        let placement = response.headers.get_str(PLACEMENT_HEADER).map(str::to_owned);
        let survives = response.headers.get_str(SURVIVES_HEADER).and_then(|text| text.parse().ok());
        let text = connection.body_text(super::ANSWER_LEN_MAX)?;
        if response.status != 200 && response.status != 201 {
            return Err(refused(response.status, &text));
        }
        Ok(Stored { cap: super::told_cap(&text)?, placement, survives })
    }

    /// Begins to read what a capability names.
    pub(crate) fn fetch(&self, cap: &CapText) -> Result<Fetching> {
        let mut connection = self.node.connect(&self.interrupt)?;
        let mut head = RequestHead::new(Method::Get, &target(cap, &[], &[]));
        self.node.introduce(&mut head)?;
        connection.request(&head)?;
        let (response, body) = connection.response()?;
        super::warn_if_outdated(&response);
        if response.status != 200 {
            let text = connection.body_text(super::ANSWER_LEN_MAX)?;
            return Err(refused(response.status, &text));
        }
        let len = match body {
            BodyKind::Length(len) => Some(len),
            _ => None,
        };
        Ok(Fetching { connection, len })
    }
}

impl Fetching {
    /// The next piece; `None` at the end. A content that is cut short is an error.
    pub(crate) fn piece(&mut self) -> Result<Option<Bytes>> {
        self.connection.body()
    }
}

/// Sends a content as the body of a request. `false`: the node has answered before it was sent.
fn send(connection: &mut Connection, upload: Upload<'_>, check: impl Fn() -> Result<()>) -> Result<bool> {
    let Upload { source, said, len, moved, still_good } = upload;
    let mut left = len;
    let mut buffer = BytesMut::new();
    // Hanging up before the last byte makes the node forget the upload.
    let changed =
        |how: &str| failed(Failure::General, format!("{said} {how} while it was read; nothing was stored"));
    loop {
        check()?;
        let piece = read_piece(source, &mut buffer, left).with_context(|| format!("reading {said}"))?;
        let len = piece.len() as u64;
        match &mut left {
            None if piece.is_empty() => {
                still_good()?;
                return Ok(true);
            }
            None => {}
            Some(left) => {
                if len == 0 && *left > 0 {
                    return Err(changed("shrank"));
                }
                *left -= len;
                if *left == 0 {
                    let more = source.read(&mut [0]).with_context(|| format!("reading {said}"))?;
                    if more > 0 {
                        return Err(changed("grew"));
                    }
                    still_good()?;
                }
            }
        }
        if !connection.send_body(piece)? {
            return Ok(false);
        }
        moved(len);
        if left == Some(0) {
            return Ok(true);
        }
    }
}

fn read_piece(source: &mut dyn Read, buffer: &mut BytesMut, left: Option<u64>) -> std::io::Result<Bytes> {
    let want = left.map_or(PIECE, |left| usize::try_from(left).unwrap_or(PIECE).min(PIECE));
    buffer.resize(PIECE, 0);
    loop {
        match source.read(&mut buffer[..want]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return Ok(buffer.split_to(result?).freeze()),
        }
    }
}
