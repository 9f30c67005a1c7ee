//! The capabilities in a directory, as text about which a directory has a few questions.
//!
//! This is a thin view: the directory asks whether a capability is known, of a file or a directory,
//! what it allows, and what remains of it without the right to write. It stands until
//! [`crate::capability`] has types for mutable files and directories, and everything that would
//! change then is in this file.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::child::ChildError;
use crate::base32;
use crate::capability::{CAPABILITY_LEN_MAX, ChkCap, ChkVerifyCap, LiteralCap};
use crate::hash::{Hash, tagged_hash};
use crate::secret::Secret;

/// The mark of a capability of unknown kind that is said to allow no writing.
pub(super) const READ_ONLY_MARK: &str = "ro.";
/// The mark of a capability of unknown kind that is said to be of something immutable.
pub(super) const IMMUTABLE_MARK: &str = "imm.";

/// A capability as text: wiped when dropped, compared in constant time, never printed.
#[derive(Clone)]
pub struct Cap {
    text: Zeroizing<String>,
    kind: CapKind,
}

/// What a directory knows about a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapKind {
    /// Of a file.
    File(Allows),
    /// Of a directory.
    Directory(Allows),
    /// Of a kind that this version cannot use; verify capabilities of mutable files and of
    /// directories are among them. May have a mark, `ro.` or `imm.`.
    Unknown,
}

/// What a known capability allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allows {
    /// To read and to write.
    Writing,
    /// To read what others may change.
    Reading,
    /// To read what never changes.
    ReadingForever,
}

/// What the place of a capability demands of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    Nothing,
    ReadOnly,
    Immutable,
}

impl Cap {
    /// Reads a capability for a place. What is known is freed of its mark; what is unknown keeps it.
    pub(super) fn parse(text: &str, demand: Demand) -> Result<Cap, ChildError> {
        if text.len() > CAPABILITY_LEN_MAX {
            return Err(ChildError::TooLong { len: text.len() });
        }
        // A control character would be a way to hide something in a listing or to break it.
        if text.contains(char::is_control) {
            return Err(ChildError::NotText);
        }
        let (bare, demand) = match (text.strip_prefix(IMMUTABLE_MARK), text.strip_prefix(READ_ONLY_MARK)) {
            (Some(bare), _) => (bare, Demand::Immutable),
            (None, Some(bare)) if demand == Demand::Nothing => (bare, Demand::ReadOnly),
            (None, Some(bare)) => (bare, demand),
            (None, None) => (text, demand),
        };
        let Some(known) = KNOWN.iter().find(|known| bare.starts_with(known.prefix)) else {
            return Ok(Cap { text: Zeroizing::new(text.to_owned()), kind: CapKind::Unknown });
        };
        let allows = match known.kind {
            CapKind::File(allows) | CapKind::Directory(allows) => Some(allows),
            CapKind::Unknown => None,
        };
        match (allows, demand) {
            (Some(Allows::Writing), Demand::ReadOnly) => return Err(ChildError::NotReadOnly),
            (Some(Allows::Writing | Allows::Reading), Demand::Immutable) => {
                return Err(ChildError::NotImmutable);
            }
            _ => {}
        }
        let fields = &bare[known.prefix.len()..];
        let fields = known.fields.canonical(fields).ok_or(ChildError::Malformed { kind: known.prefix })?;
        if known.fields == Fields::ChkVerify {
            return Err(ChildError::VerifyOnly);
        }
        let mut canonical = Zeroizing::new(String::with_capacity(known.prefix.len() + fields.len()));
        canonical.push_str(known.prefix);
        canonical.push_str(&fields);
        Ok(Cap { text: canonical, kind: known.kind })
    }

    /// An unknown capability with this text, which the caller has put together.
    pub(super) fn unknown(text: String) -> Cap {
        Cap { text: Zeroizing::new(text), kind: CapKind::Unknown }
    }

    /// What is known about it.
    pub fn kind(&self) -> CapKind {
        self.kind
    }

    /// The text, which is the right itself. The name is long so that each use is seen in review.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether it is known to allow writing.
    pub(super) fn allows_writing(&self) -> bool {
        matches!(self.kind, CapKind::File(Allows::Writing) | CapKind::Directory(Allows::Writing))
    }

    /// What remains of a known capability without the right to write.
    pub(super) fn read_only(&self) -> Cap {
        let writing = KNOWN.iter().find(|known| {
            matches!(known.kind, CapKind::File(Allows::Writing) | CapKind::Directory(Allows::Writing))
                && self.text.starts_with(known.prefix)
        });
        let Some(writing) = writing else { return self.clone() };
        let mut fields = self.text[writing.prefix.len()..].split(':');
        let write_key =
            Zeroizing::new(fields.next().and_then(base32::decode_array::<16>).unwrap_or_default());
        let fingerprint = fields.next().unwrap_or_default();
        let tag = b"allmydata_mutable_writekey_to_readkey_v1";
        let Hash(hash) = tagged_hash(tag, &*write_key);
        let read_key = Secret::<16>::try_from(&hash[..16]).expect("half of a hash");
        let stem = &writing.prefix[..writing.prefix.len() - 1];
        let key = Zeroizing::new(base32::encode(read_key.expose()));
        let mut text = Zeroizing::new(String::with_capacity(self.text.len() + 3));
        for part in [stem, "-RO:", &key, ":", fingerprint] {
            text.push_str(part);
        }
        let kind = match writing.kind {
            CapKind::Directory(_) => CapKind::Directory(Allows::Reading),
            CapKind::File(_) | CapKind::Unknown => CapKind::File(Allows::Reading),
        };
        Cap { text, kind }
    }
}

struct Known {
    prefix: &'static str,
    kind: CapKind,
    fields: Fields,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    Literal,
    Chk,
    ChkVerify,
    /// A key of 128 bits and a fingerprint of 256.
    Mutable,
    /// The same, after which others may have written hints, which nobody reads.
    MutableWithHints,
}

const fn known(prefix: &'static str, kind: CapKind, fields: Fields) -> Known {
    Known { prefix, kind, fields }
}

const KNOWN: [Known; 13] = {
    use Allows::{Reading, ReadingForever, Writing};
    use CapKind::{Directory, File, Unknown};
    [
        known("URI:LIT:", File(ReadingForever), Fields::Literal),
        known("URI:CHK:", File(ReadingForever), Fields::Chk),
        known("URI:CHK-Verifier:", Unknown, Fields::ChkVerify),
        known("URI:SSK:", File(Writing), Fields::Mutable),
        known("URI:SSK-RO:", File(Reading), Fields::Mutable),
        known("URI:MDMF:", File(Writing), Fields::MutableWithHints),
        known("URI:MDMF-RO:", File(Reading), Fields::MutableWithHints),
        known("URI:DIR2-LIT:", Directory(ReadingForever), Fields::Literal),
        known("URI:DIR2-CHK:", Directory(ReadingForever), Fields::Chk),
        known("URI:DIR2:", Directory(Writing), Fields::Mutable),
        known("URI:DIR2-RO:", Directory(Reading), Fields::Mutable),
        known("URI:DIR2-MDMF:", Directory(Writing), Fields::MutableWithHints),
        known("URI:DIR2-MDMF-RO:", Directory(Reading), Fields::MutableWithHints),
    ]
};

impl Fields {
    /// The fields as they are written, if `text` is such fields.
    fn canonical(self, text: &str) -> Option<Zeroizing<String>> {
        let whole = |prefix: &str| Zeroizing::new([prefix, text].concat());
        let text = match self {
            Self::Literal => return whole("URI:LIT:").parse::<LiteralCap>().ok().map(|_| whole("")),
            Self::Chk => return whole("URI:CHK:").parse::<ChkCap>().ok().map(|_| whole("")),
            Self::ChkVerify => {
                return whole("URI:CHK-Verifier:").parse::<ChkVerifyCap>().ok().map(|_| whole(""));
            }
            Self::Mutable => text,
            Self::MutableWithHints => {
                let len = base32::encoded_len(16) + 1 + base32::encoded_len(32);
                match text.as_bytes().get(len) {
                    Some(b':') => &text[..len],
                    _ => text,
                }
            }
        };
        let (key, fingerprint) = text.split_once(':')?;
        let _key = Zeroizing::new(base32::decode_array::<16>(key)?);
        base32::decode_array::<32>(fingerprint)?;
        Some(Zeroizing::new(text.to_string()))
    }
}

impl PartialEq for Cap {
    fn eq(&self, other: &Cap) -> bool {
        self.text.as_bytes().ct_eq(other.text.as_bytes()).into()
    }
}

impl Eq for Cap {}

impl fmt::Debug for Cap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cap({:?})", self.kind)
    }
}
