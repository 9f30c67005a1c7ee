//! Storage requests made by hand, and what is said to them.

use crate::memory_grid::{MemoryGrid, Stranger, Tamper};
use tallac_core::payload::Payload;
use tallac_core::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use tallac_core::wire::{Frame, Kind, Message};

/// What a server said.
pub type Answered = Result<StorageAnswer, StorageError>;

/// A request in a frame; `bulk` rides beside it.
pub fn request(id: u64, request: &StorageRequest, bulk: &[u8]) -> Frame {
    let bulk = if bulk.is_empty() { Vec::new() } else { vec![bulk.to_vec().into()] };
    Message::seal(Kind::Request, id, request, bulk)
}

/// What a message says.
///
/// # Panics
/// If it is no answer.
pub fn read(message: &Message) -> Answered {
    match message.envelope.kind {
        Kind::Answer => Ok(message.body().expect("an answer")),
        Kind::Failure => Err(message.body().expect("an error")),
        other => panic!("{other:?}"),
    }
}

/// Asks one thing and gives the one answer, with the bytes beside it.
///
/// # Panics
/// If there is no answer, or more than one.
#[track_caller]
pub fn ask_for_bytes<T: Tamper>(
    grid: &mut MemoryGrid<T>,
    stranger: Stranger,
    asked: &StorageRequest,
    bulk: &[u8],
) -> (Answered, Payload) {
    grid.say(stranger, request(7, asked, bulk));
    let mut answers = grid.answers(stranger);
    assert_eq!(answers.len(), 1, "{asked:?}");
    let answer = answers.remove(0);
    assert_eq!(answer.envelope.id, 7);
    (read(&answer), answer.bulk)
}

/// Asks one thing and gives the one answer.
///
/// # Panics
/// If there is no answer, or more than one.
#[track_caller]
pub fn ask<T: Tamper>(
    grid: &mut MemoryGrid<T>,
    stranger: Stranger,
    asked: &StorageRequest,
    bulk: &[u8],
) -> Answered {
    ask_for_bytes(grid, stranger, asked, bulk).0
}
