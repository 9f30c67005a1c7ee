//! Netstrings: `LENGTH:BYTES,` with the length in decimal.
//!
//! Hash tags and the URI extension block are made of them. Only the canonical spelling of a length
//! is read (digits, no leading zero, no sign), and never more than the caller's bound.

use alloc::vec::Vec;
use core::fmt;

/// Why some bytes are not a netstring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetstringError {
    /// The input ends before the netstring does.
    Truncated,
    /// The length is not a canonical decimal number followed by a colon.
    BadLength,
    /// The netstring says it is longer than the caller allows (both in bytes).
    TooLong {
        /// What the netstring says.
        length: u64,
        /// What the caller allows.
        length_max: usize,
    },
    /// The comma after the content is something else.
    MissingComma,
}

impl fmt::Display for NetstringError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(out, "the data ends in the middle of a netstring"),
            Self::BadLength => write!(out, "a netstring has a malformed length"),
            Self::TooLong { length, length_max } => {
                write!(out, "a netstring of {length} bytes is longer than the {length_max} allowed here")
            }
            Self::MissingComma => write!(out, "a netstring does not end with a comma"),
        }
    }
}

impl core::error::Error for NetstringError {}

/// Appends `content` as a netstring to `out`.
pub fn write(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(Decimal::new(content.len() as u64).as_bytes());
    out.push(b':');
    out.extend_from_slice(content);
    out.push(b',');
}

/// The bytes a netstring of `len` content bytes takes.
pub fn encoded_len(len: usize) -> usize {
    Decimal::new(len as u64).as_bytes().len() + 1 + len + 1
}

/// Takes one netstring of at most `length_max` content bytes off the front of `input`; gives its
/// content and what follows it.
///
/// # Errors
/// Says what is wrong with the first netstring; what follows it is not looked at.
pub fn take(input: &[u8], length_max: usize) -> Result<(&[u8], &[u8]), NetstringError> {
    // A u64 has at most 20 digits; looking no further bounds the work on hostile input.
    let head = &input[..input.len().min(21)];
    let Some(colon) = head.iter().position(|&byte| byte == b':') else {
        let digits_only = head.iter().all(u8::is_ascii_digit);
        return Err(if digits_only && input.len() < 21 {
            NetstringError::Truncated
        } else {
            NetstringError::BadLength
        });
    };
    let length = parse_decimal(&head[..colon]).ok_or(NetstringError::BadLength)?;
    if length > length_max as u64 {
        return Err(NetstringError::TooLong { length, length_max });
    }
    let rest = &input[colon + 1..];
    let (content, rest) = rest.split_at_checked(length as usize).ok_or(NetstringError::Truncated)?;
    match rest.split_first() {
        Some((b',', rest)) => Ok((content, rest)),
        Some(_) => Err(NetstringError::MissingComma),
        None => Err(NetstringError::Truncated),
    }
}

/// Reads a canonical decimal number: digits only, no leading zero, within a `u64`.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A number in decimal, without an allocation: hash tags are written for every block.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len() - 1;
        loop {
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
            start -= 1;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_one_and_leaves_the_rest() {
        assert_eq!(take(b"3:abc,rest", 10), Ok((&b"abc"[..], &b"rest"[..])));
        assert_eq!(take(b"0:,", 0), Ok((&b""[..], &b""[..])));
    }

    #[test]
    fn says_what_is_wrong() {
        use NetstringError::*;
        let too_long = TooLong { length: 4, length_max: 3 };
        for (input, error) in [
            (&b""[..], Truncated),
            (b"3", Truncated),
            (b"3:ab", Truncated),
            (b"3:abc", Truncated),
            (b"3:abc;", MissingComma),
            (b"03:abc,", BadLength),
            (b"+3:abc,", BadLength),
            (b":abc,", BadLength),
            (b"x", BadLength),
            (b"99999999999999999999:", BadLength),
            (b"111111111111111111111111", BadLength),
            (b"4:abcd,", too_long),
        ] {
            assert_eq!(take(input, 3), Err(error), "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip_and_every_prefix(
            content in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut written = Vec::new();
            write(&mut written, &content);
            prop_assert_eq!(written.len(), encoded_len(content.len()));
            prop_assert_eq!(take(&written, 200), Ok((&content[..], &b""[..])));
            for cut in 0..written.len() {
                prop_assert_eq!(take(&written[..cut], 200), Err(NetstringError::Truncated));
            }
        }

        #[test]
        fn numbers(number: u64) {
            prop_assert_eq!(parse_decimal(Decimal::new(number).as_bytes()), Some(number));
        }
    }
}
