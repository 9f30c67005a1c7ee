//! Values that must not leak: keys, lease secrets, upload secrets, write enablers.

use core::fmt;
use core::hash::{Hash, Hasher};

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The AES-128 key of an immutable file: who has it can read the file.
pub type EncryptionKey = Secret<16>;
/// Lets its holder renew or cancel one lease on one server.
pub type LeaseSecret = Secret<32>;
/// Lets its holder write to a share that is being uploaded.
pub type UploadSecret = Secret<32>;

/// Lets its holder write to a mutable slot.
pub type WriteEnabler = Secret<32>;

/// `N` bytes that are wiped when dropped, compared in constant time and never printed.
///
/// Serialised (and hashed, for traces) as its bytes: who stores or sends the result must treat
/// that as a secret too.
#[derive(Clone)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes; the caller's own copy, if it keeps one, is the caller's to wipe.
    pub const fn from_bytes(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes. The name is long so that each use is seen in review.
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> TryFrom<&[u8]> for Secret<N> {
    type Error = core::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        <[u8; N]>::try_from(bytes).map(Self)
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<secret>")
    }
}

impl<const N: usize> ConstantTimeEq for Secret<N> {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> Hash for Secret<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N)?;
        for byte in &self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(N, Bytes::<N>)
    }
}

/// Reads exactly `N` bytes; what was read before a failure is wiped.
struct Bytes<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
    type Value = Secret<N>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{N} bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Secret<N>, A::Error> {
        let mut bytes = Zeroizing::new([0; N]);
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(place, &self))?;
        }
        Ok(Secret(*bytes))
    }
}

/// A secret of any length, such as a convergence secret. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretBytes(alloc::vec::Vec<u8>);

impl SecretBytes {
    /// Takes the bytes.
    pub fn new(bytes: alloc::vec::Vec<u8>) -> SecretBytes {
        SecretBytes(bytes)
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn prints_nothing_of_itself() {
        let secret = Secret::from_bytes([0x41; 32]);
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)).matches("65").count(), 0);
        assert_eq!(format!("{secret:?}"), "<secret>");
    }

    #[test]
    fn compares_by_content() {
        assert_eq!(Secret::from_bytes([1, 2]), Secret::from_bytes([1, 2]));
        assert_ne!(Secret::from_bytes([1, 2]), Secret::from_bytes([1, 3]));
    }

    #[test]
    fn travels_as_its_bytes() {
        let secret = Secret::from_bytes([7; 32]);
        let stored = postcard::to_allocvec(&secret).expect("a buffer that grows");
        assert_eq!(stored, [7; 32]);
        assert_eq!(postcard::from_bytes(&stored), Ok(secret));
        assert!(postcard::from_bytes::<Secret<32>>(&stored[1..]).is_err());
    }
}
