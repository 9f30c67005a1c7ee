//! RSA in Rust alone, for the simulator and for tests: the same input always gives the same output.
//!
//! Making keys puts them together from fixed primes, because finding primes takes long; the salt of a
//! signature is drawn from a hash of key and message. Not for nodes: the pool is published, and the
//! `rsa` crate may let an observer who can time it learn private keys (RUSTSEC-2023-0071).

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey};
use rsa::pss::{Signature, SigningKey, VerifyingKey};
use rsa::signature::{RandomizedSigner, SignatureEncoding, Verifier};
use rsa::{BoxedUint, RsaPrivateKey, RsaPublicKey};
use sha2::{Digest, Sha256};
use tallac_core::rsa::{PSS_SALT_LEN, PrivateKey, PublicKey, Rsa};
use tallac_core::secret::Secret;

/// Primes of 1,024 bits with the two highest set, one after the other in big endian. Made with
/// `openssl prime -generate -bits 1024`; any two make a key.
const PRIMES: &[u8] = include_bytes!("../keys/primes.bin");
const PRIME_LEN: usize = 128;

/// Keys for tests that name them, PKCS#8 in DER. Made with `openssl genpkey`, but for the first: an
/// exponent of 17, as keys of the oldest files have.
const POOL: [&[u8]; 8] = [
    include_bytes!("../keys/0.der"),
    include_bytes!("../keys/1.der"),
    include_bytes!("../keys/2.der"),
    include_bytes!("../keys/3.der"),
    include_bytes!("../keys/4.der"),
    include_bytes!("../keys/5.der"),
    include_bytes!("../keys/6.der"),
    include_bytes!("../keys/7.der"),
];

/// How many different keys [`test_key`] has.
pub const KEYS: usize = POOL.len();

/// One of the keys; any number will do.
pub fn test_key(number: usize) -> PrivateKey {
    PrivateKey::from_pkcs8(POOL[number % KEYS]).expect("the pool holds good keys")
}

/// RSA that can be replayed.
#[derive(Debug, Clone, Copy)]
pub struct SoftRsa;

impl Rsa for SoftRsa {
    fn generate(&self, seed: &Secret<32>) -> Option<PrivateKey> {
        let seed = Sha256::digest(seed.expose());
        let choice = u64::from_be_bytes(seed[..8].try_into().ok()?);
        let primes = (PRIMES.len() / PRIME_LEN) as u64;
        let first = choice % primes;
        // Some other one.
        let second = (first + 1 + choice / primes % (primes - 1)) % primes;
        let prime = |index: u64| {
            let at = index as usize * PRIME_LEN;
            BoxedUint::from_be_slice(&PRIMES[at..at + PRIME_LEN], 1_024).ok()
        };
        let exponent = BoxedUint::from(65_537u64);
        let key = RsaPrivateKey::from_p_q(prime(first)?, prime(second)?, exponent).ok()?;
        PrivateKey::from_pkcs8(key.to_pkcs8_der().ok()?.as_bytes()).ok()
    }

    fn sign(&self, key: &PrivateKey, message: &[u8]) -> Option<Vec<u8>> {
        let seed = Sha256::new().chain_update(key.pkcs8()).chain_update(message).finalize();
        let mut random = ChaCha20Rng::from_seed(seed.into());
        let key = RsaPrivateKey::from_pkcs8_der(key.pkcs8()).ok()?;
        let key = SigningKey::<Sha256>::new_with_salt_len(key, PSS_SALT_LEN);
        key.try_sign_with_rng(&mut random, message).ok().map(|signature| signature.to_vec())
    }

    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = RsaPublicKey::from_public_key_der(key.spki()) else { return false };
        let Ok(signature) = Signature::try_from(signature) else { return false };
        VerifyingKey::<Sha256>::new_with_salt_len(key, PSS_SALT_LEN).verify(message, &signature).is_ok()
    }
}
