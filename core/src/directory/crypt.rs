//! How a directory keeps write capabilities from those who may only read it.
//!
//! A capability is encrypted with AES-128-CTR under a key made of the directory's write key and a
//! salt, and stored as salt (16 bytes), ciphertext, MAC (32 bytes). The peer writes the MAC for the
//! sake of readers before 1.3 and does not check it; the signature over the whole table vouches for
//! every byte of it. So do we. An empty capability is encrypted, too.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::hash::{directory_child_key, directory_salt_hash};
use crate::secret::{EncryptionKey, WriteKey};
use crate::segment::crypt_at;

const SALT_LEN: usize = 16;
const MAC_LEN: usize = 32;

/// Encrypts a child's write capability.
pub(super) fn encrypt(write_cap: &str, write_key: &WriteKey) -> Vec<u8> {
    let salt = directory_salt_hash(write_cap.as_bytes());
    let key = directory_child_key(&salt, write_key);
    let mut sealed = Vec::with_capacity(SALT_LEN + write_cap.len() + MAC_LEN);
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(write_cap.as_bytes());
    crypt_at(&key, 0, &mut sealed[SALT_LEN..]);
    let mac = mac(&key, &sealed);
    sealed.extend_from_slice(&mac);
    sealed
}

/// Decrypts what [`encrypt`] made. What is too short to hold anything holds nothing; under another
/// key the result is noise.
pub(super) fn decrypt(sealed: &[u8], write_key: &WriteKey) -> Zeroizing<Vec<u8>> {
    let Some((salt, rest)) = sealed.split_at_checked(SALT_LEN) else { return Zeroizing::default() };
    let Some(len) = rest.len().checked_sub(MAC_LEN) else { return Zeroizing::default() };
    let mut write_cap = Zeroizing::new(rest[..len].to_vec());
    crypt_at(&directory_child_key(salt, write_key), 0, &mut write_cap);
    write_cap
}

/// The peer's own construction: HMAC, but the key is not padded to the length of a block.
fn mac(key: &EncryptionKey, data: &[u8]) -> [u8; MAC_LEN] {
    let pad = |with: u8| Zeroizing::new(key.expose().map(|byte| byte ^ with));
    let inner = Sha256::new().chain_update(pad(0x36).as_slice()).chain_update(data).finalize();
    Sha256::new().chain_update(pad(0x5c).as_slice()).chain_update(inner).finalize().into()
}
