//! Range requests (RFC 9110, section 14), for bytes and for one range at a time.

use std::fmt;

use super::head::parse_decimal;

/// What a `Range` header asks of a content of known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// All of it, with status 200: the header is malformed, or asks for what is not offered
    /// (several ranges, other units), and is then ignored.
    Whole,
    /// This part, with status 206 and [`ByteRange::content_range`].
    Part(ByteRange),
    /// Nothing that exists: status 416 with [`unsatisfied_content_range`].
    Unsatisfiable,
}

/// A part of a content, never empty, always within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
    size: u64,
}

impl RangeRequest {
    /// Reads the value of a `Range` header for a content of `size` bytes.
    pub fn parse(value: &[u8], size: u64) -> Self {
        let Some((first, last)) = positions(value) else {
            return Self::Whole;
        };
        match (first, last) {
            (Some(first), Some(last)) if first > last => Self::Whole,
            (Some(first), _) if first >= size => Self::Unsatisfiable,
            (Some(first), last) => {
                Self::Part(ByteRange { first, last: last.unwrap_or(u64::MAX).min(size - 1), size })
            }
            (None, Some(0)) => Self::Unsatisfiable,
            // No Content-Range can tell of a part of nothing.
            (None, Some(_)) if size == 0 => Self::Whole,
            (None, Some(suffix)) => {
                Self::Part(ByteRange { first: size.saturating_sub(suffix), last: size - 1, size })
            }
            (None, None) => Self::Whole,
        }
    }
}

impl ByteRange {
    /// The position of the first byte.
    pub fn first(self) -> u64 {
        self.first
    }

    /// The position of the last byte.
    pub fn last(self) -> u64 {
        self.last
    }

    /// How many bytes it has, which is also the length of the body.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// The value of the `Content-Range` header.
    pub fn content_range(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.first, self.last, self.size)
    }
}

/// The value of the `Content-Range` header of a 416 response.
pub fn unsatisfied_content_range(size: u64) -> String {
    format!("bytes */{size}")
}

/// The two numbers of a single byte range; none if it is malformed.
fn positions(value: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let unit_end = value.iter().position(|byte| *byte == b'=')?;
    let (unit, range) = value.split_at(unit_end);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let range = range.get(1..)?.trim_ascii();
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = range.split_at(dash);
    let first = position(first)?;
    let last = position(last.get(1..)?)?;
    Some((first, last))
}

/// A number or nothing; a number beyond all sizes is as good as the largest.
fn position(text: &[u8]) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(Some(parse_decimal(text).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(value: &str, size: u64, expected: &str) {
        let found = match RangeRequest::parse(value.as_bytes(), size) {
            RangeRequest::Whole => "whole".to_owned(),
            RangeRequest::Part(range) => range.content_range(),
            RangeRequest::Unsatisfiable => unsatisfied_content_range(size),
        };
        assert_eq!(found, expected, "{value} of {size}");
    }

    #[test]
    fn ranges() {
        check("bytes=0-0", 10, "bytes 0-0/10");
        check("bytes=2-4", 10, "bytes 2-4/10");
        check("Bytes= 2-4 ", 10, "bytes 2-4/10");
        check("bytes=2-400", 10, "bytes 2-9/10");
        check("bytes=9-", 10, "bytes 9-9/10");
        check("bytes=-3", 10, "bytes 7-9/10");
        check("bytes=-30", 10, "bytes 0-9/10");
        check("bytes=0-99999999999999999999999", 10, "bytes 0-9/10");
        check("bytes=-99999999999999999999999", 10, "bytes 0-9/10");
        check("bytes=0-", u64::MAX, "bytes 0-18446744073709551614/18446744073709551615");
    }

    #[test]
    fn unsatisfiable() {
        check("bytes=10-", 10, "bytes */10");
        check("bytes=10-20", 10, "bytes */10");
        check("bytes=99999999999999999999999-", 10, "bytes */10");
        check("bytes=-0", 10, "bytes */10");
        check("bytes=0-", 0, "bytes */0");
    }

    #[test]
    fn ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2,4-5",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1 -2",
            "items=0-1",
            "bytes 0-1",
            "bytes =0-1",
        ] {
            check(value, 10, "whole");
        }
        check("bytes=-3", 0, "whole");
    }

    proptest! {
        #[test]
        fn parts_lie_within(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in any::<u64>()) {
            if let RangeRequest::Part(range) = RangeRequest::parse(value.as_bytes(), size) {
                prop_assert!(range.first() <= range.last() && range.last() < size);
                prop_assert!(range.length() >= 1 && range.length() <= size);
            }
        }
    }
}
