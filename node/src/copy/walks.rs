//! How often each directory is walked.

use crate::exit::{Failure, failed};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Most walks through one directory. It is copied in every place where it is linked, and a few dozen
/// directories, each linked twice in the one before, would make more places than any disk holds: so the
/// work is bounded by the number of directories there are.
const WALKS_MAX: u32 = 1_000;

/// Counts the walks through each directory. Shared by all workers.
pub(crate) struct Walks<T>(Mutex<BTreeMap<T, u32>>);

impl<T: Ord> Walks<T> {
    pub(crate) fn new() -> Walks<T> {
        Walks(Mutex::default())
    }

    /// Counts one more walk.
    ///
    /// # Errors
    /// If there were too many.
    pub(crate) fn count(&self, directory: T) -> Result<()> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let walks = counts.entry(directory).or_default();
        if *walks >= WALKS_MAX {
            let text = format!(
                "it is linked in more than {WALKS_MAX} places of what is copied; the others are left out"
            );
            return Err(failed(Failure::Usage, text));
        }
        *walks += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_has_its_own_bound() {
        let walks = Walks::new();
        for _ in 0..WALKS_MAX {
            walks.count(1).unwrap();
        }
        assert!(walks.count(1).is_err());
        walks.count(2).unwrap();
    }
}
