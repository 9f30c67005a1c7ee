//! Capabilities that this version cannot use, but keeps and hands on.

use alloc::string::String;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::kind::{CapabilityError, Kind, Mark};
use super::{CAPABILITY_LEN_MAX, Capability};

/// A capability that this version cannot use, usually something of the future. Wiped when dropped,
/// compared in constant time.
///
/// Read from a text (`parse`) it must at least look like a capability, so that what somebody
/// mistyped is not taken for one; a malformed capability of a known kind is an error. What others
/// have put into a directory is [`kept`](UnknownCap::keep) whatever it looks like.
#[derive(Clone)]
pub struct UnknownCap {
    text: Zeroizing<String>,
}

impl UnknownCap {
    /// Keeps a text that may be a capability to somebody else: of any kind, also a known one.
    ///
    /// # Errors
    /// If it is too long, or has control characters, with which it could hide in a listing or break
    /// its lines.
    pub fn keep(text: &str) -> Result<Self, CapabilityError> {
        if text.len() > CAPABILITY_LEN_MAX {
            return Err(CapabilityError::TooLong { len: text.len() });
        }
        if text.contains(char::is_control) {
            return Err(CapabilityError::NotACapability);
        }
        Ok(Self::of(&[text]))
    }

    /// The part that names the kind, such as `URI:NEW` or `x-something`, with its mark; it grants
    /// no right. `None` if there is no such part.
    pub fn kind(&self) -> Option<&str> {
        kind_name(&self.text)
    }

    /// What its writer says of its rights.
    pub fn mark(&self) -> Option<Mark> {
        Mark::split(&self.text).0
    }

    /// The same with at least this mark.
    pub fn marked(&self, mark: Mark) -> Self {
        let (given, unmarked) = Mark::split(&self.text);
        let mark = if given == Some(Mark::Immutable) { Mark::Immutable } else { mark };
        Self::of(&[mark.prefix(), unmarked])
    }

    /// The text for a place that implies a mark; it is left out there.
    pub fn where_implied(&self, implied: Mark) -> &str {
        match Mark::split(&self.text) {
            (Some(Mark::Immutable), _) if implied == Mark::ReadOnly => &self.text,
            (_, unmarked) => unmarked,
        }
    }

    fn of(parts: &[&str]) -> Self {
        // In one piece: what a string leaves behind when it grows is not wiped.
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| text.push_str(part));
        Self { text: Zeroizing::new(text) }
    }
}

impl PartialEq for UnknownCap {
    fn eq(&self, other: &Self) -> bool {
        self.text.as_bytes().ct_eq(other.text.as_bytes()).into()
    }
}

impl Eq for UnknownCap {}

impl Hash for UnknownCap {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl From<UnknownCap> for Capability {
    fn from(cap: UnknownCap) -> Capability {
        Capability::Unknown(cap)
    }
}

impl fmt::Display for UnknownCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for UnknownCap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "UnknownCap({})", self.kind().unwrap_or("of no kind"))
    }
}

impl FromStr for UnknownCap {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let cap = Self::keep(text)?;
        // Blanks and look-alikes of letters would be a way to deceive.
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || cap.kind().is_none() || Kind::of(Mark::split(text).1).is_some() {
            return Err(CapabilityError::NotACapability);
        }
        Ok(cap)
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
