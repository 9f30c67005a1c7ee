//! The capability of a shared root: as a value, as it travels, as it stands in a file.

use crate::capability::{CAPABILITY_LEN_MAX, Capability, DirectoryCap, MutableCap, MutableReadCap};
use crate::payload::Payload;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// The right to a shared root: to a directory that can change.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SharedRoot {
    /// To read and change it.
    Write(MutableCap),
    /// To read it.
    Read(MutableReadCap),
}

/// Why a text is not the capability of a shared root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RootError {
    /// It is longer than any capability.
    TooLong,
    /// It is not a capability.
    NoCapability,
    /// It is a capability, but not one to read or change a directory that can change.
    OtherKind,
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RootError::TooLong => "it is too long for a capability",
            RootError::NoCapability => "it is not a capability",
            RootError::OtherKind => "it is not the capability of a directory that can change",
        })
    }
}

impl core::error::Error for RootError {}

impl SharedRoot {
    /// Most bytes to read of a file that holds a shared root: one more than a good one can have.
    pub(super) const FILE_LEN_MAX: u64 = CAPABILITY_LEN_MAX as u64 + 64;

    /// Reads a capability. It must be one to read or change a directory that can change.
    ///
    /// # Errors
    /// If it is anything else. The error says nothing of the text.
    pub fn parse(text: &str) -> Result<SharedRoot, RootError> {
        if text.len() > CAPABILITY_LEN_MAX {
            return Err(RootError::TooLong);
        }
        match text.parse() {
            Ok(Capability::Directory(DirectoryCap::Mutable(cap))) => Ok(SharedRoot::Write(cap)),
            Ok(Capability::Directory(DirectoryCap::MutableRead(cap))) => Ok(SharedRoot::Read(cap)),
            Ok(_) => Err(RootError::OtherKind),
            Err(_) => Err(RootError::NoCapability),
        }
    }

    /// Reads the content of a file that holds the capability on one line.
    pub(super) fn from_file(content: &[u8]) -> Result<SharedRoot, RootError> {
        if content.len() as u64 >= Self::FILE_LEN_MAX {
            return Err(RootError::TooLong);
        }
        let text = core::str::from_utf8(content).map_err(|_| RootError::NoCapability)?;
        SharedRoot::parse(text.trim())
    }

    /// The content of a file that holds the capability on one line.
    pub(super) fn to_file(&self) -> Payload {
        Payload::from(format!("{}\n", self.directory()).into_bytes())
    }

    /// The capability as it travels.
    pub fn text(&self) -> RootText {
        RootText(self.directory().to_string())
    }

    /// The capability.
    pub fn directory(&self) -> DirectoryCap {
        match self {
            SharedRoot::Write(cap) => DirectoryCap::Mutable(cap.clone()),
            SharedRoot::Read(cap) => DirectoryCap::MutableRead(cap.clone()),
        }
    }

    /// Whether it gives the right to change the directory.
    pub fn is_writable(&self) -> bool {
        matches!(self, SharedRoot::Write(_))
    }

    /// What remains when the right to change the directory is taken away.
    pub fn read_only(&self) -> SharedRoot {
        SharedRoot::Read(self.read_cap())
    }

    /// Whether both are rights to one directory: same storage index, and signed by the same key.
    pub fn is_same_directory(&self, other: &SharedRoot) -> bool {
        self.read_cap() == other.read_cap()
    }

    fn read_cap(&self) -> MutableReadCap {
        match self {
            SharedRoot::Write(cap) => cap.read_cap(),
            SharedRoot::Read(cap) => cap.clone(),
        }
    }
}

/// The capability of a shared root as it travels, not looked at yet. Never printed, wiped when
/// dropped; who sends or stores it treats it as a secret.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RootText(String);

impl RootText {
    /// Takes any text.
    pub fn new(text: &str) -> RootText {
        RootText(text.into())
    }

    /// The text, to be shown only to its holders.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for RootText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RootText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::MutableFormat;
    use crate::hash::Hash;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn write(key: u8, fingerprint: u8) -> MutableCap {
        MutableCap {
            format: MutableFormat::Sdmf,
            write_key: Secret::from_bytes([key; 16]),
            fingerprint: Hash([fingerprint; 32]),
        }
    }

    #[test]
    fn only_a_directory_that_can_change_is_a_root() {
        let cap = write(1, 2);
        let check = |text: &str, expected| {
            assert_eq!(SharedRoot::parse(text), expected, "{text}");
        };
        let root = SharedRoot::Write(cap.clone());
        check(&root.directory().to_string(), Ok(root.clone()));
        check(&root.read_only().directory().to_string(), Ok(SharedRoot::Read(cap.read_cap())));
        let verify = Capability::Directory(root.directory()).verify_cap().expect("it has one");
        check(&verify.to_string(), Err(RootError::OtherKind));
        check(&cap.to_string(), Err(RootError::OtherKind));
        check(&cap.read_cap().to_string(), Err(RootError::OtherKind));
        check("URI:LIT:krugkidfnzsc4", Err(RootError::OtherKind));
        check("URI:DIR2-LIT:", Err(RootError::OtherKind));
        check("x-from-the-future:5", Err(RootError::OtherKind));
        check("URI:DIR2:too:short", Err(RootError::NoCapability));
        check("", Err(RootError::NoCapability));
        check(&"URI:DIR2:".repeat(2_000), Err(RootError::TooLong));
    }

    #[test]
    fn one_directory_is_known_by_its_key_and_its_signer() {
        let root = SharedRoot::Write(write(1, 2));
        assert!(root.is_same_directory(&root.read_only()));
        assert!(!root.is_same_directory(&SharedRoot::Write(write(3, 2))));
        // The same storage index, but whoever made this one has another key to sign with.
        assert!(!root.is_same_directory(&SharedRoot::Write(write(1, 3)).read_only()));
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        for root in [SharedRoot::Write(write(1, 2)), SharedRoot::Write(write(1, 2)).read_only()] {
            let file = root.to_file();
            let file = file.bytes().expect("real bytes");
            assert_eq!(SharedRoot::from_file(file), Ok(root));
            // A file cut short must not pass for another root.
            for len in 0..file.len() - 1 {
                assert!(SharedRoot::from_file(&file[..len]).is_err(), "{len} bytes");
            }
        }
        assert_eq!(SharedRoot::from_file(&[0xff; 10]), Err(RootError::NoCapability));
        assert_eq!(SharedRoot::from_file(&[b' '; 9_000]), Err(RootError::TooLong));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let root = SharedRoot::Write(write(1, 2));
        let shown = format!("{:?} {:?} {:?}", root, root.text(), root.to_file());
        let secret = root.text().expose()["URI:DIR2:".len()..][..26].to_string();
        assert!(!shown.contains(&secret), "{shown}");
        assert!(shown.contains("<secret>"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_offered_is_a_root_or_refused(text in "\\PC{0,200}|URI:DIR2(-RO|-MDMF|-CHK)?:[a-z2-7]{0,30}:[a-z2-7]{0,60}") {
            if let Ok(root) = SharedRoot::parse(&text) {
                prop_assert_eq!(SharedRoot::parse(root.text().expose()), Ok(root));
            }
        }
    }
}
