//! The name under which all shares of one file are stored.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base32;

/// Names a file to storage servers: 16 bytes derived from the file's key, which it does not reveal.
///
/// `Display` gives the 26 base32 characters that requests and share paths use; `Debug` only the
/// first five, which is enough to tell files apart in a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StorageIndex(pub [u8; 16]);

impl StorageIndex {
    /// The first two characters of the base32 form: the folder that a server's share directory
    /// keeps this index in.
    pub fn prefix(&self) -> String {
        let mut text = base32::encode(&self.0);
        text.truncate(2);
        text
    }
}

impl fmt::Display for StorageIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&base32::encode(&self.0))
    }
}

impl fmt::Debug for StorageIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Five characters need the first four bytes only.
        write!(out, "SI:{}", &base32::encode(&self.0[..4])[..5])
    }
}

impl FromStr for StorageIndex {
    type Err = StorageIndexError;

    fn from_str(text: &str) -> Result<Self, StorageIndexError> {
        base32::decode_array(text).map(Self).ok_or(StorageIndexError)
    }
}

/// A text is not the base32 form of a storage index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StorageIndexError;

impl fmt::Display for StorageIndexError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a storage index is 26 base32 characters in lower case")
    }
}

impl core::error::Error for StorageIndexError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString};

    #[test]
    fn text_forms() {
        let index = StorageIndex([0xff; 16]);
        assert_eq!(index.to_string(), "77777777777777777777777774");
        assert_eq!(format!("{index:?}"), "SI:77777");
        assert_eq!(index.prefix(), "77");
        assert_eq!(index.to_string().parse(), Ok(index));
    }

    #[test]
    fn refuses_other_spellings() {
        for text in [
            "",
            "7777777777777777777777777",
            "77777777777777777777777777",
            "777777777777777777777777744",
            "AAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(text.parse::<StorageIndex>(), Err(StorageIndexError), "{text}");
        }
    }
}
