//! RSA as mutable files use it: keys of 2048 bits, signatures PSS with SHA-256.
//!
//! The core does no RSA arithmetic. It reads and writes the keys' DER itself, refuses what no
//! writer makes before anybody computes with it (a key of 32768 bits would keep a processor busy
//! for minutes), and leaves the rest to a provider, an [`Rsa`], through [`Job`](crate::job::Job)s.
//! Forms and numbers are those of `allmydata/crypto/rsa.py`: private keys are stored as PKCS#8,
//! public keys as SubjectPublicKeyInfo, both in DER; the salt of a signature has 32 bytes.

use alloc::vec::Vec;
use core::fmt;

use crate::hash::{Hash, mutable_fingerprint, mutable_write_key};
use crate::secret::{Secret, SecretBytes, WriteKey};

mod der;
mod pem;
#[cfg(test)]
mod tests;

/// The length of a modulus, in bits; there is no choice.
pub const MODULUS_BITS: usize = 2048;
/// The length of a signature, in bytes.
pub const SIGNATURE_LEN: usize = MODULUS_BITS / 8;
/// The length of the salt in a signature, in bytes.
pub const PSS_SALT_LEN: usize = 32;
/// The longest public key read, in bytes; real ones have 292 to 294.
pub const PUBLIC_KEY_LEN_MAX: usize = 512;
/// The longest private key read, in bytes; real ones have up to 1220.
pub const PRIVATE_KEY_LEN_MAX: usize = 2048;

/// Who computes: a library of the host, or of the simulator.
///
/// All keys handed in have passed the checks of this module, but a hostile writer may still have
/// chosen their numbers: whatever cannot be computed with is a refusal, never a panic.
pub trait Rsa: Send + Sync {
    /// Makes a key pair with exponent 65537. Who must be reproducible draws on nothing but the
    /// seed; a host has better randomness and ignores it. `None` if none could be made.
    fn generate(&self, seed: &Secret<32>) -> Option<PrivateKey>;

    /// Signs a message: PSS, SHA-256 for message and mask, a salt of [`PSS_SALT_LEN`] bytes.
    /// `None` if the key's numbers do not belong together.
    fn sign(&self, key: &PrivateKey, message: &[u8]) -> Option<Vec<u8>>;

    /// Whether a signature of that kind is good.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool;
}

/// No RSA at all: makes no key, signs nothing, finds no signature good. For hosts that keep no
/// mutable files.
#[derive(Debug, Clone, Copy)]
pub struct NoRsa;

impl Rsa for NoRsa {
    fn generate(&self, _: &Secret<32>) -> Option<PrivateKey> {
        None
    }

    fn sign(&self, _: &PrivateKey, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn verify(&self, _: &PublicKey, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

/// The key that signs a mutable file. Who has it has the file: the write key is its hash.
///
/// Its form has been checked, its numbers have not: only a provider can tell whether they belong
/// together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PrivateKey {
    pkcs8: SecretBytes,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads the form in which keys are stored in shares and handed over by people: PKCS#8 in DER.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong; nothing of the key is in it.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let numbers = der::private_key(der)?;
        Ok(Self { pkcs8: SecretBytes::new(der.to_vec()), public: PublicKey::from_numbers(&numbers) })
    }

    /// Reads the older form of RSA alone, PKCS#1 in DER.
    ///
    /// # Errors
    /// As [`from_pkcs8`](Self::from_pkcs8).
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > PRIVATE_KEY_LEN_MAX {
            return Err(KeyError::TooLong);
        }
        let pkcs8 = SecretBytes::new(der::wrap_private_key(der));
        Self::from_pkcs8(pkcs8.expose())
    }

    /// Reads a key as people keep them: PEM, `PRIVATE KEY` or `RSA PRIVATE KEY`, not encrypted.
    ///
    /// # Errors
    /// As [`from_pkcs8`](Self::from_pkcs8).
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (label, der) = pem::decode(text)?;
        match label {
            pem::Label::Pkcs8 => Self::from_pkcs8(der.expose()),
            pem::Label::Pkcs1 => Self::from_pkcs1(der.expose()),
        }
    }

    /// The key as PKCS#8 in DER: what is encrypted into shares, and hashed into the write key.
    pub fn pkcs8(&self) -> &[u8] {
        self.pkcs8.expose()
    }

    /// What checks its signatures.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The write key of the file it signs.
    pub fn write_key(&self) -> WriteKey {
        mutable_write_key(self.pkcs8())
    }
}

/// Says which key it is without saying what it is.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PrivateKey(of {:?})", self.public.fingerprint())
    }
}

/// The key that checks the signatures of a mutable file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    spki: Vec<u8>,
}

impl PublicKey {
    /// Reads the form in which keys are stored in shares: SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        der::public_key(der)?;
        Ok(Self { spki: der.to_vec() })
    }

    /// The key as SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// What a capability says of it.
    pub fn fingerprint(&self) -> Hash {
        mutable_fingerprint(&self.spki)
    }

    fn from_numbers(numbers: &der::PublicNumbers<'_>) -> Self {
        Self { spki: der::write_public_key(numbers) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({:?})", self.fingerprint())
    }
}

/// Why bytes are not a key that can sign a mutable file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyError {
    /// Longer than any such key.
    TooLong,
    /// Not the DER of an RSA key, or not in the one form there is for each.
    Malformed,
    /// A key for something else than RSA.
    NotRsa,
    /// A modulus of another length than [`MODULUS_BITS`].
    ModulusLength {
        /// Its length.
        bits: usize,
    },
    /// The exponent is even, below 3 or above 32 bits.
    Exponent,
    /// Not PEM, or PEM of something else than a private key.
    NotPem,
    /// A private key that needs a password.
    Encrypted,
}

impl fmt::Display for KeyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(out, "the key is too long for an RSA key of {MODULUS_BITS} bits"),
            Self::Malformed => write!(out, "the key is malformed"),
            Self::NotRsa => write!(out, "this is a key, but not for RSA"),
            Self::ModulusLength { bits } => {
                write!(out, "the key has {bits} bits; mutable files have keys of {MODULUS_BITS} bits")
            }
            Self::Exponent => write!(out, "the key has an exponent that no RSA key should have"),
            Self::NotPem => write!(out, "this is not a private key in PEM"),
            Self::Encrypted => write!(out, "the key is encrypted; it is needed without its password"),
        }
    }
}

impl core::error::Error for KeyError {}
