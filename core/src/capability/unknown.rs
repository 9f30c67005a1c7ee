//! Capabilities of kinds that this version does not know.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use super::kind::{CapabilityError, Kind, Mark};
use super::{CAPABILITY_LEN_MAX, Capability};

/// A capability of a kind that this version cannot use, something of the future. Told apart from a
/// malformed capability of a known kind, which is an error.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnknownCap {
    text: String,
}

impl UnknownCap {
    /// The part that names the kind, such as `URI:NEW` or `x-something`, with its mark; it grants
    /// no right.
    pub fn kind(&self) -> &str {
        kind_name(&self.text).expect("checked when it was read")
    }

    /// What its writer says of its rights.
    pub fn mark(&self) -> Option<Mark> {
        Mark::split(&self.text).0
    }

    /// A known read capability whose write capability is of a future kind: not looked into.
    pub(super) fn of_known(cap: &Capability) -> Self {
        Self { text: format!("{}{cap}", Mark::ReadOnly.prefix()) }
    }

    /// The same with at least this mark.
    pub(super) fn marked(&self, mark: Mark) -> Self {
        let (given, unmarked) = Mark::split(&self.text);
        let mark = if given == Some(Mark::Immutable) { Mark::Immutable } else { mark };
        Self { text: [mark.prefix(), unmarked].concat() }
    }

    /// The text for the place of a directory entry's read capability. The mark is left out where
    /// the place says as much.
    pub fn in_read_place(&self, immutable_directory: bool) -> &str {
        match Mark::split(&self.text) {
            (Some(Mark::Immutable), _) if !immutable_directory => &self.text,
            (_, unmarked) => unmarked,
        }
    }
}

impl fmt::Display for UnknownCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for UnknownCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "UnknownCap({})", self.kind())
    }
}

impl FromStr for UnknownCap {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        if text.len() > CAPABILITY_LEN_MAX {
            return Err(CapabilityError::TooLong { len: text.len() });
        }
        // Anything but visible ASCII would be a way to hide or break lines in a listing.
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || kind_name(text).is_none() || Kind::of(Mark::split(text).1).is_some() {
            return Err(CapabilityError::NotACapability);
        }
        Ok(Self { text: text.to_owned() })
    }
}

/// The part of `text` that names a kind, if it begins like a capability: `URI:NAME`, or a name
/// with the `x-` of experiments, followed by a colon; either may have a mark, which belongs to
/// the kind.
fn kind_name(text: &str) -> Option<&str> {
    let unmarked = Mark::split(text).1;
    let (lead, name_and_rest) = match unmarked.strip_prefix("URI:") {
        Some(rest) => ("URI:", rest),
        None => ("x-", unmarked.strip_prefix("x-")?),
    };
    let (name, _) = name_and_rest.split_once(':')?;
    let well_formed = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let marks = text.len() - unmarked.len();
    well_formed.then(|| &text[..marks + lead.len() + name.len()])
}
