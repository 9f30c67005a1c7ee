//! The headers of a message, in order.

use std::fmt;

/// The headers of a message, in the order of the wire.
///
/// Every name in it is a token and no value holds a line end or another control character, so that
/// a list can be written out without a further check.
/// Names compare without regard to case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    list: Vec<(String, Vec<u8>)>,
}

/// A name or value that cannot stand in a header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHeader {
    /// The name is empty or has a byte that is not allowed in names.
    Name,
    /// The value has a control character, or white space at an end.
    Value,
}

impl Headers {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidHeader> {
        let value = value.as_ref();
        if !is_token(name.as_bytes()) {
            return Err(InvalidHeader::Name);
        }
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if !value.iter().all(|byte| is_value_byte(*byte)) || blank(value.first()) || blank(value.last()) {
            return Err(InvalidHeader::Value);
        }
        self.list.push((name.to_owned(), value.to_vec()));
        Ok(())
    }

    /// Adds a header at the end, for names and values that the program itself wrote.
    ///
    /// # Panics
    ///
    /// If name or value cannot stand in a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.push(name, value).expect("the program's own headers are valid");
        self
    }

    /// The value of the first header of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first header of this name, if it is text.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all headers of this name, in order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether a header of this name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether the comma-separated lists under this name hold this token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|candidate| candidate.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The elements of the comma-separated lists under this name, empty ones included.
    pub(super) fn tokens(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.get_all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(|token| token.trim_ascii())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| {
                let secret = ["authorization", "proxy-authorization", "cookie", "set-cookie"]
                    .iter()
                    .any(|secret| name.eq_ignore_ascii_case(secret));
                let value = if secret { "(secret)".into() } else { String::from_utf8_lossy(value) };
                (name, value)
            }))
            .finish()
    }
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "This name cannot be used for a header.",
            Self::Value => "This value cannot be sent in a header.",
        })
    }
}

impl std::error::Error for InvalidHeader {}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110, section 5.5, with the bytes above ASCII that it allows for old messages.
fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
