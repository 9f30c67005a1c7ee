//! Changing and reading mutable files on a memory grid.

use crate::memory_grid::{MemoryGrid, Tamper};
use tallac_core::capability::MutableCap;
use tallac_core::mutable::{Change, ChangeError, Changed, Consent, Subject};
use tallac_core::payload::Payload;

/// All of the file becomes this.
pub fn overwrite(content: &[u8]) -> Change {
    Change::Overwrite(Payload::from(content.to_vec()))
}

/// This part of the file becomes this.
pub fn patch(offset: u64, data: &[u8]) -> Change {
    Change::Patch { offset, data: Payload::from(data.to_vec()) }
}

/// Changes a file that is there, as one of several writers.
///
/// # Errors
/// As the change itself.
pub fn change<T: Tamper>(
    grid: &mut MemoryGrid<T>,
    cap: &MutableCap,
    change: Change,
) -> Result<Box<Changed>, Box<ChangeError>> {
    grid.change(Subject::Existing(cap.clone()), change, Consent::Majority)
}

/// Reads a file, and compares it.
///
/// # Panics
/// If it cannot be read, or is another.
#[track_caller]
pub fn holds<T: Tamper>(grid: &mut MemoryGrid<T>, cap: &MutableCap, expected: &[u8]) {
    let got = grid.read(&cap.read_cap());
    assert!(got.result.is_ok(), "{:?}", got.result);
    assert!(got.content == expected, "{} bytes instead of {}", got.content.len(), expected.len());
}
