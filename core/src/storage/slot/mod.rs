//! Mutable slots: shares that their owner changes in place.
//!
//! # What survives a crash
//!
//! A test-and-set write changes any number of shares of one slot at once, and a crash leaves all of
//! the change or none of it. How it gets to the disk depends on what it changes:
//!
//! - **One share that is new or small** is written beside, synced, given its name, and the name is
//!   synced. Copying up to `SMALL_CONTAINER` costs no more than the syncs that it saves.
//! - **One share removed** is a change of one name, and that name is synced.
//! - **All else** is done from a *redo record* (`redo`). First, whatever needs room is written where
//!   nobody looks: new shares beside, the growth of others behind the end of their files; and synced.
//!   Then the record, with every other byte that is to change, is written, synced, and its name
//!   synced: from here on the write has happened. Then the files are changed and synced, and the
//!   record is removed, durably, before the next change of the slot begins.
//!
//! At start each record that is whole is carried out again, which does no harm however much of it was
//! done before, and then removed; one that is torn belongs to a write that was never acknowledged,
//! and is thrown away. A full disk is noticed before the record counts, and is an answer. If a step
//! after that fails, nobody knows what the disk holds: the slot is shut until the server starts again
//! and can find out from the record.

pub(super) mod change;
pub mod container;
pub(super) mod redo;

/// The longest container, in bytes, that is copied to be changed. At 100 MB/s this takes about as
/// long as one sync of a hard disk, and a directory of a thousand entries fits.
pub(super) const SMALL_CONTAINER: u64 = 1024 * 1024;
