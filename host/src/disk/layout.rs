//! Which file a [`StorePath`] is: the layout of a Tahoe-LAFS 1.20 node directory.

use crate::unix::Mode;
use std::path::{Path, PathBuf};
use tallac_core::disk::StorePath;
use tallac_core::storage_index::StorageIndex;

/// The directories of a node.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) node: PathBuf,
    pub(super) shares: PathBuf,
    pub(super) incoming: PathBuf,
    pub(super) redo: PathBuf,
    pub(super) advisories: PathBuf,
    pub(super) spool: PathBuf,
    pub(super) private: PathBuf,
}

impl Layout {
    pub(super) fn new(node: &Path) -> Layout {
        let storage = node.join("storage");
        let shares = storage.join("shares");
        Layout {
            node: node.into(),
            incoming: shares.join("incoming"),
            shares,
            redo: storage.join("redo"),
            advisories: storage.join("corruption-advisories"),
            spool: node.join("spool"),
            private: node.join("private"),
        }
    }

    pub(super) fn file(&self, path: &StorePath) -> PathBuf {
        match path {
            StorePath::Share(index, share) => self.shares_of(index).join(share.to_string()),
            StorePath::Incoming(index, share) => index_dir(&self.incoming, index).join(share.to_string()),
            // The peer looks at nothing in this directory.
            StorePath::Redo(index) => self.redo.join(index.to_string()),
            StorePath::Advisory(index, share, micros) => {
                self.advisories.join(format!("{}--{index}-{share}", compact_date(*micros)))
            }
            StorePath::Spool(number) => self.spool.join(number.to_string()),
            StorePath::AnnouncementCache => self.private.join("introducer_default_cache.yaml"),
            StorePath::AnnouncementSequence => self.node.join("announcement-seqnum"),
            StorePath::VdriveRoot => self.private.join("vdrive-root.cap"),
            StorePath::SharedRoot => self.private.join("shared-root.cap"),
            StorePath::PersonalRoot => self.private.join("personal-root.cap"),
        }
    }

    /// The directory with the whole shares of a file.
    pub(super) fn shares_of(&self, index: &StorageIndex) -> PathBuf {
        index_dir(&self.shares, index)
    }

    /// Whether a directory is removed when it is empty.
    pub(super) fn is_fleeting(&self, directory: &Path) -> bool {
        let holds_shares_of_one_file = directory.parent().and_then(Path::parent) == Some(&self.shares);
        holds_shares_of_one_file || (directory.starts_with(&self.incoming) && directory != self.incoming)
    }

    /// How many of the directories above a file are removed with it if they are empty then.
    pub(super) fn kept_only_for(&self, path: &StorePath) -> usize {
        match path {
            // The two-letter directory of whole shares stays, as the peer leaves it.
            StorePath::Share(..) => 1,
            StorePath::Incoming(..) => 2,
            StorePath::Redo(_)
            | StorePath::Advisory(..)
            | StorePath::Spool(_)
            | StorePath::AnnouncementCache
            | StorePath::AnnouncementSequence
            | StorePath::VdriveRoot
            | StorePath::SharedRoot
            | StorePath::PersonalRoot => 0,
        }
    }

    pub(super) fn mode(&self, path: &StorePath) -> Mode {
        match path {
            StorePath::Share(..) | StorePath::Incoming(..) | StorePath::Advisory(..) => Mode::Usual,
            StorePath::Redo(_)
            | StorePath::Spool(_)
            | StorePath::AnnouncementCache
            | StorePath::AnnouncementSequence
            | StorePath::VdriveRoot
            | StorePath::SharedRoot
            | StorePath::PersonalRoot => Mode::Private,
        }
    }
}

/// A share's number, if that is what a file's name is: decimal, in its one spelling.
pub(super) fn share_number(name: &str) -> Option<u16> {
    let number: u16 = name.parse().ok()?;
    (number < 256 && number.to_string() == name).then_some(number)
}

fn index_dir(above: &Path, index: &StorageIndex) -> PathBuf {
    above.join(index.prefix()).join(index.to_string())
}

/// Microseconds since 1970 as `2026-11-23T130245.000042`: a date of ISO 8601 without colons, which
/// not every file system takes.
fn compact_date(micros: u64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have their leap day last; 400 of them have 146,097 days.
    let (era, day) = ((days + 719_468) / 146_097, (days + 719_468) % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + 400 * era + month / 10, (month + 2) % 12 + 1);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}{minute:02}{second:02}.{micros:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_the_peer_has_them() {
        let layout = Layout::new(Path::new("/n"));
        let index = StorageIndex([0x11; 16]);
        for (path, expected) in [
            (StorePath::Share(index, 7), "storage/shares/ce/ceirceirceirceirceirceirce/7"),
            (StorePath::Incoming(index, 0), "storage/shares/incoming/ce/ceirceirceirceirceirceirce/0"),
            (
                StorePath::Advisory(index, 12, 1_700_000_000_000_042),
                "storage/corruption-advisories/2023-11-14T221320.000042--ceirceirceirceirceirceirce-12",
            ),
            (StorePath::Redo(index), "storage/redo/ceirceirceirceirceirceirce"),
            (StorePath::Spool(3), "spool/3"),
            (StorePath::AnnouncementCache, "private/introducer_default_cache.yaml"),
            (StorePath::AnnouncementSequence, "announcement-seqnum"),
            (StorePath::VdriveRoot, "private/vdrive-root.cap"),
            (StorePath::SharedRoot, "private/shared-root.cap"),
            (StorePath::PersonalRoot, "private/personal-root.cap"),
        ] {
            assert_eq!(layout.file(&path), Path::new("/n").join(expected));
        }
    }

    #[test]
    fn dates_are_right() {
        for (seconds, expected) in [
            (0, "1970-01-01T000000"),
            (951_782_399, "2000-02-28T235959"),
            (951_782_400, "2000-02-29T000000"),
            (951_868_800, "2000-03-01T000000"),
            (4_107_542_400, "2100-03-01T000000"),
            (1_767_225_599, "2025-12-31T235959"),
        ] {
            assert_eq!(compact_date(seconds * 1_000_000), format!("{expected}.000000"));
        }
        let _ = compact_date(u64::MAX);
    }

    #[test]
    fn a_share_number_has_one_spelling() {
        assert_eq!([share_number("0"), share_number("255")], [Some(0), Some(255)]);
        for name in ["", "00", "01", "+1", "-0", "256", "65536", "1 ", "1.tmp", "١"] {
            assert_eq!(share_number(name), None, "{name:?}");
        }
    }
}
