//! What a directory says about the link to a child: a JSON object, of which we read a few keys.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::json;
use crate::limits::DIRECTORY_METADATA_LEN_MAX;
use crate::time::UnixTime;

/// The metadata of a link.
///
/// `Debug` shows the keys only: the values may be private.
///
/// | key | meaning |
/// |---|---|
/// | `tahoe` | an object with `linkcrtime` and `linkmotime`: when a link of this name was first made and last changed, in seconds since 1970. Kept by directories; what a caller says under this key is ignored |
/// | `ctime` | what Tahoe-LAFS before 1.4 wrote for `linkcrtime` |
/// | `no-write` | if true, the child is linked for reading only |
///
/// All other values are their authors' and stay as they were written, to the byte.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    members: Vec<Member>,
}

#[derive(Clone, PartialEq, Eq)]
struct Member {
    /// As it stands in the text, with its quotes.
    key: String,
    /// As it stands in the text.
    value: String,
}

impl Member {
    fn is(&self, key: &str) -> bool {
        // Keys that need no unescaping, nearly all, are compared where they stand.
        let inner = &self.key[1..self.key.len() - 1];
        if inner.contains('\\') { json::unescape(&self.key) == key } else { inner == key }
    }
}

/// Why some text is not metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetadataError {
    /// It is longer than [`DIRECTORY_METADATA_LEN_MAX`].
    TooLong {
        /// In bytes.
        len: usize,
    },
    /// It is not UTF-8.
    NotText,
    /// It is not an object.
    NotAnObject,
    /// It is not JSON.
    NotJson {
        /// Where that shows, in bytes from the start.
        at: usize,
    },
    /// Arrays and objects lie too deep in each other.
    TooDeep,
}

impl Metadata {
    /// Reads the text of a JSON object.
    ///
    /// # Errors
    /// If it is something else, too long, or nested too deeply.
    pub fn parse(text: &str) -> Result<Metadata, MetadataError> {
        if text.len() > DIRECTORY_METADATA_LEN_MAX {
            return Err(MetadataError::TooLong { len: text.len() });
        }
        let members = json::members(text)?;
        let owned = |(key, value): json::Member<'_>| Member { key: key.to_owned(), value: value.to_owned() };
        Ok(Metadata { members: members.into_iter().map(owned).collect() })
    }

    pub(super) fn parse_bytes(bytes: &[u8]) -> Result<Metadata, MetadataError> {
        core::str::from_utf8(bytes).map_err(|_| MetadataError::NotText).and_then(Metadata::parse)
    }

    /// The text of the value of `key`; of the last one, if there are several, as JSON readers do.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.members.iter().rev().find(|member| member.is(key)).map(|member| &*member.value)
    }

    /// Whether the child is to be linked for reading only.
    pub fn no_write(&self) -> bool {
        self.get("no-write").is_some_and(json::is_truthy)
    }

    /// The text of `linkcrtime`, when a link of this name was first made.
    pub fn link_created(&self) -> Option<String> {
        self.times()?.get("linkcrtime").map(str::to_owned)
    }

    /// The text of `linkmotime`, when the link was last changed.
    pub fn link_changed(&self) -> Option<String> {
        self.times()?.get("linkmotime").map(str::to_owned)
    }

    /// The JSON text, spaced as the peer does it.
    pub fn to_json(&self) -> String {
        let len: usize = self.members.iter().map(|member| member.key.len() + member.value.len() + 4).sum();
        let mut text = String::with_capacity(len + 2);
        text.push('{');
        for (place, member) in self.members.iter().enumerate() {
            if place > 0 {
                text.push_str(", ");
            }
            text.push_str(&member.key);
            text.push_str(": ");
            text.push_str(&member.value);
        }
        text.push('}');
        text
    }

    /// The metadata of a link that is made or changed at `now`.
    ///
    /// The peer's rule (`update_metadata`): `new` replaces everything in `old`, which is what was
    /// there under the same name, except `tahoe`; without `new`, `old` stays. Then `linkmotime` is
    /// now, and `linkcrtime`, if there is none, is `old`'s `ctime` or now. So a link that is moved
    /// to a new name begins a new life there.
    pub fn linked(old: Option<&Metadata>, new: Option<&Metadata>, now: UnixTime) -> Metadata {
        let nothing = Metadata::default();
        let old = old.unwrap_or(&nothing);
        // The peer's clock has a fraction; ours has whole seconds, but is written as such a number.
        let now = format!("{}.0", now.0);

        let mut times = old.times().unwrap_or_default();
        if times.get("linkcrtime").is_none() {
            let created = old.get("ctime").filter(|&time| time != "null").unwrap_or(&now);
            times.set("linkcrtime", created);
        }
        times.set("linkmotime", &now);

        let mut linked = match new {
            Some(new) => {
                let mut linked = new.clone();
                linked.members.retain(|member| !member.is("tahoe"));
                linked
            }
            None => old.clone(),
        };
        linked.set("tahoe", &times.to_json());
        linked
    }

    /// Whether both say the same, letter for letter, apart from the times that directories keep.
    pub(super) fn same_apart_from_times(&self, other: &Metadata) -> bool {
        fn authored(metadata: &Metadata) -> impl Iterator<Item = &Member> {
            metadata.members.iter().filter(|member| !member.is("tahoe"))
        }
        authored(self).eq(authored(other))
    }

    /// The object under `tahoe`; something else there counts as nothing.
    fn times(&self) -> Option<Metadata> {
        Metadata::parse(self.get("tahoe")?).ok()
    }

    /// Sets a key that needs no escaping, in its place or at the end; there is only one after it.
    fn set(&mut self, key: &str, value: &str) {
        let place = self.members.iter().position(|member| member.is(key));
        let member = Member { key: format!("\"{key}\""), value: value.to_owned() };
        match place {
            Some(place) => {
                let tail = self.members.split_off(place + 1);
                self.members[place] = member;
                self.members.extend(tail.into_iter().filter(|member| !member.is(key)));
            }
            None => self.members.push(member),
        }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metadata")?;
        out.debug_set().entries(self.members.iter().map(|member| &member.key)).finish()
    }
}

impl fmt::Display for MetadataError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(out, "metadata of {len} bytes is longer than {DIRECTORY_METADATA_LEN_MAX}")
            }
            Self::NotText => write!(out, "the metadata is not UTF-8"),
            Self::NotAnObject => write!(out, "the metadata is not a JSON object"),
            Self::NotJson { at } => write!(out, "the metadata is not JSON, as byte {at} shows"),
            Self::TooDeep => {
                write!(out, "the metadata is nested deeper than {} levels", json::DEPTH_MAX)
            }
        }
    }
}

impl core::error::Error for MetadataError {}
