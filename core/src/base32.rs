//! Base32 as the grid writes it: the RFC 3548 alphabet in lower case, without padding.
//!
//! Capabilities, storage indexes, lease seeds and server names all use it. Decoding is strict, so
//! that every byte string has exactly one spelling: a capability that differs in one character
//! never means the same file.

use alloc::string::String;
use alloc::vec::Vec;

/// Writes `bytes` as base32; `n` bytes become `ceil(8n / 5)` characters.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(encoded_len(bytes.len()));
    let mut pending: u32 = 0;
    let mut pending_bits = 0;
    for &byte in bytes {
        pending = (pending << 8) | u32::from(byte);
        pending_bits += 8;
        while pending_bits >= 5 {
            pending_bits -= 5;
            text.push(character(pending >> pending_bits));
        }
    }
    if pending_bits > 0 {
        text.push(character(pending << (5 - pending_bits)));
    }
    text
}

/// Reads base32, or `None` if `text` is not what [`encode`] would have written: a character
/// outside the alphabet (upper case included), a length no byte string has, or set bits after the
/// last whole byte.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    decode_each(text, |byte| bytes.push(byte))?;
    Some(bytes)
}

/// Like [`decode`] for a value of known length; `None` also when the length is another one.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != encoded_len(N) {
        return None;
    }
    let mut bytes = [0; N];
    let mut places = bytes.iter_mut();
    decode_each(text, |byte| {
        *places.next().expect("the text has the length of N bytes") = byte;
    })?;
    Some(bytes)
}

/// The number of characters that `len` bytes take.
pub const fn encoded_len(len: usize) -> usize {
    len / 5 * 8 + (len % 5 * 8).div_ceil(5)
}

/// Whether every character of `text` belongs to the alphabet, whatever the length.
pub(crate) fn is_alphabet(text: &str) -> bool {
    text.bytes().all(|character| value(character).is_some())
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn character(low_five_bits: u32) -> char {
    char::from(ALPHABET[(low_five_bits & 31) as usize])
}

fn value(character: u8) -> Option<u32> {
    match character {
        b'a'..=b'z' => Some(u32::from(character - b'a')),
        b'2'..=b'7' => Some(u32::from(character - b'2') + 26),
        _ => None,
    }
}

fn decode_each(text: &str, mut push: impl FnMut(u8)) -> Option<()> {
    // One, three or six characters left over hold no whole byte more than one fewer would.
    if matches!(text.len() % 8, 1 | 3 | 6) {
        return None;
    }
    let mut pending: u32 = 0;
    let mut pending_bits = 0;
    for character in text.bytes() {
        pending = (pending << 5) | value(character)?;
        pending_bits += 5;
        if pending_bits >= 8 {
            pending_bits -= 8;
            push((pending >> pending_bits) as u8);
            pending &= (1 << pending_bits) - 1;
        }
    }
    (pending == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn known_spellings() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "my"),
            (b"fo", "mzxq"),
            (b"foo", "mzxw6"),
            (b"foob", "mzxw6yq"),
            (b"fooba", "mzxw6ytb"),
            (b"foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn refuses_other_spellings() {
        for text in ["m", "MY", "mz", "my=", "mzx", "my ", "m1", "mzxw6y", "é"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        assert_eq!(decode_array::<2>("my"), None);
        assert_eq!(decode_array::<1>("my"), Some([b'f']));
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len(), encoded_len(bytes.len()));
            prop_assert_eq!(decode(&text), Some(bytes));
        }

        #[test]
        fn one_spelling_each(text in "[a-z2-7]{0,30}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }

        #[test]
        fn arbitrary_text(text in ".{0,20}") {
            let _ = decode(&text);
            let _ = decode_array::<3>(&text);
        }
    }

    #[test]
    fn array_of_zero_bytes() {
        assert_eq!(decode_array::<0>(""), Some([]));
        assert_eq!(decode(""), Some(vec![]));
    }
}
