//! Tagged hashes: every hash of the grid is SHA-256d over a netstring tag and the content.
//!
//! SHA-256d hashes the digest once more, so that nobody can extend a hashed message; the tag makes
//! hashes of different purposes incomparable. The tags and their order of arguments are those of
//! Tahoe-LAFS 1.20 (`allmydata/util/hashutil.py`); changing one loses every existing file.

use core::fmt;
use core::hash::{Hash as HashTrait, Hasher};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base32;
use crate::netstring::Decimal;
use crate::secret::{EncryptionKey, LeaseSecret, WriteKey};
use crate::storage_index::StorageIndex;

mod mutable;

pub use mutable::{
    mutable_data_key, mutable_fingerprint, mutable_read_key, mutable_storage_index, mutable_write_key,
    write_enabler, write_enabler_master,
};

/// A 32-byte tagged SHA-256d hash. Hashes are public: they may be printed and compared plainly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The length of a hash in bytes, in shares and extension blocks too.
    pub const LEN: usize = 32;

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "#{}", base32::encode(&self.0[..5]))
    }
}

/// Hashes content as it streams by, under one tag.
///
/// Cloning keeps the state, so a hasher may travel to a worker and back. Two hashers are equal if
/// finishing them now would give the same hash. The state is wiped when dropped: the convergence
/// hasher's contains a secret.
#[derive(Clone)]
pub struct TaggedHasher(Sha256);

impl TaggedHasher {
    /// Starts a hash under `tag`.
    pub fn new(tag: &[u8]) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.update_netstring(tag);
        hasher
    }

    /// Hashes the next bytes of the content. Where the content is cut makes no difference.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The hash of everything seen.
    pub fn finish(self) -> Hash {
        Hash(Sha256::digest(self.0.finalize()).into())
    }

    /// The first 16 bytes of the hash as a file's key; see [`convergence_hasher`].
    pub fn finish_key(self) -> EncryptionKey {
        EncryptionKey::from_bytes(truncate(self.finish()))
    }

    fn update_netstring(&mut self, content: &[u8]) {
        self.update(Decimal::new(content.len() as u64).as_bytes());
        self.update(b":");
        self.update(content);
        self.update(b",");
    }
}

impl fmt::Debug for TaggedHasher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TaggedHasher(..)")
    }
}

impl PartialEq for TaggedHasher {
    fn eq(&self, other: &Self) -> bool {
        self.clone().finish() == other.clone().finish()
    }
}

impl Eq for TaggedHasher {}

impl HashTrait for TaggedHasher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.clone().finish().hash(state);
    }
}

/// The hash of `data` under `tag`.
pub fn tagged_hash(tag: &[u8], data: &[u8]) -> Hash {
    let mut hasher = TaggedHasher::new(tag);
    hasher.update(data);
    hasher.finish()
}

/// The hash under `tag` of two values, each as a netstring so that the border between them counts.
pub fn tagged_pair_hash(tag: &[u8], a: &[u8], b: &[u8]) -> Hash {
    let mut hasher = TaggedHasher::new(tag);
    hasher.update_netstring(a);
    hasher.update_netstring(b);
    hasher.finish()
}

/// The storage index of the immutable file with this key.
pub fn storage_index_hash(key: &EncryptionKey) -> StorageIndex {
    let tag = b"allmydata_immutable_key_to_storage_index_v1";
    StorageIndex(truncate(tagged_hash(tag, key.expose())))
}

/// Hashes one block of a share: a leaf of the share's block hash tree.
pub fn block_hasher() -> TaggedHasher {
    TaggedHasher::new(BLOCK_TAG)
}

/// [`block_hasher`] for a block at hand.
pub fn block_hash(block: &[u8]) -> Hash {
    tagged_hash(BLOCK_TAG, block)
}

/// Hashes a packed URI extension block: the value that a capability carries.
pub fn uri_extension_hash(packed: &[u8]) -> Hash {
    tagged_hash(b"allmydata_uri_extension_v1", packed)
}

/// Hashes the whole ciphertext of a file in order (`crypttext_hash` of the extension block).
pub fn crypttext_hasher() -> TaggedHasher {
    TaggedHasher::new(b"allmydata_crypttext_v1")
}

/// Hashes the ciphertext of one segment, without padding: a leaf of the ciphertext hash tree.
pub fn crypttext_segment_hasher() -> TaggedHasher {
    TaggedHasher::new(CRYPTTEXT_SEGMENT_TAG)
}

/// [`crypttext_segment_hasher`] for a segment at hand.
pub fn crypttext_segment_hash(ciphertext: &[u8]) -> Hash {
    tagged_hash(CRYPTTEXT_SEGMENT_TAG, ciphertext)
}

/// Hashes a file's plaintext into its convergent key; end it with [`TaggedHasher::finish_key`].
///
/// Equal content gives an equal key only under equal needed and total shares, segment size and
/// convergence secret. `segment_size` in bytes is the one used for this file
/// ([`Encoding::segment_size`](crate::encoding::Encoding::segment_size)), not the configured
/// maximum: the peer shrinks it for small files before hashing.
pub fn convergence_hasher(needed: u16, total: u16, segment_size: u32, secret: &[u8]) -> TaggedHasher {
    let prefix = b"allmydata_immutable_content_to_key_with_added_secret_v1+";
    let [needed, total, segment_size] =
        [u32::from(needed), u32::from(total), segment_size].map(|number| Decimal::new(number.into()));
    let parts = [needed.as_bytes(), b",", total.as_bytes(), b",", segment_size.as_bytes()];
    let parameters_len: usize = parts.iter().map(|part| part.len()).sum();
    let parameters_len = Decimal::new(parameters_len as u64);
    let secret_len = Decimal::new(secret.len() as u64);

    // The tag holds the secret, so it is hashed piece by piece rather than put together in memory
    // that would have to be wiped.
    let tag_head = [&prefix[..], secret_len.as_bytes(), b":", secret, b",", parameters_len.as_bytes(), b":"];
    let tag = || tag_head.into_iter().chain(parts).chain([&b","[..]]);
    let tag_len = tag().map(<[u8]>::len).sum::<usize>();

    let mut hasher = TaggedHasher(Sha256::new());
    hasher.update(Decimal::new(tag_len as u64).as_bytes());
    hasher.update(b":");
    tag().for_each(|part| hasher.update(part));
    hasher.update(b",");
    hasher
}

/// A client's renewal secret, from its master lease secret. Note the order: the master secret is
/// the tag.
pub fn client_renewal_secret(master: &LeaseSecret) -> LeaseSecret {
    lease_secret(tagged_hash(master.expose(), b"allmydata_client_renewal_secret_v1"))
}

/// A client's cancel secret, from its master lease secret.
pub fn client_cancel_secret(master: &LeaseSecret) -> LeaseSecret {
    lease_secret(tagged_hash(master.expose(), b"allmydata_client_cancel_secret_v1"))
}

/// The renewal secret for one file, from the client's.
pub fn file_renewal_secret(client: &LeaseSecret, index: &StorageIndex) -> LeaseSecret {
    let tag = b"allmydata_file_renewal_secret_v1";
    lease_secret(tagged_pair_hash(tag, client.expose(), &index.0))
}

/// The cancel secret for one file, from the client's.
pub fn file_cancel_secret(client: &LeaseSecret, index: &StorageIndex) -> LeaseSecret {
    let tag = b"allmydata_file_cancel_secret_v1";
    lease_secret(tagged_pair_hash(tag, client.expose(), &index.0))
}

/// The renewal secret for one file on one server; `tub_id` is the server's lease seed, which is
/// the tub id of its Foolscap identity.
pub fn bucket_renewal_secret(file: &LeaseSecret, tub_id: &[u8; 20]) -> LeaseSecret {
    let tag = b"allmydata_bucket_renewal_secret_v1";
    lease_secret(tagged_pair_hash(tag, file.expose(), tub_id))
}

/// The cancel secret for one file on one server; see [`bucket_renewal_secret`].
pub fn bucket_cancel_secret(file: &LeaseSecret, tub_id: &[u8; 20]) -> LeaseSecret {
    let tag = b"allmydata_bucket_cancel_secret_v1";
    lease_secret(tagged_pair_hash(tag, file.expose(), tub_id))
}

/// The salt under which a directory encrypts a child's write capability: a hash of the capability,
/// so that encrypting it again gives the same bytes.
pub fn directory_salt_hash(write_cap: &[u8]) -> [u8; 16] {
    truncate(tagged_hash(b"allmydata_dirnode_child_rwcap_to_salt_v1", write_cap))
}

/// The key under which a directory encrypts a child's write capability, from the salt and the
/// directory's own write key. Salts in tables that others wrote may have any length.
pub fn directory_child_key(salt: &[u8], write_key: &WriteKey) -> EncryptionKey {
    let tag = b"allmydata_mutable_writekey_and_salt_to_dirnode_child_capkey_v1";
    EncryptionKey::from_bytes(truncate(tagged_pair_hash(tag, salt, write_key.expose())))
}

const BLOCK_TAG: &[u8] = b"allmydata_encoded_subshare_v1";
const CRYPTTEXT_SEGMENT_TAG: &[u8] = b"allmydata_crypttext_segment_v1";

fn lease_secret(hash: Hash) -> LeaseSecret {
    LeaseSecret::from_bytes(hash.0)
}

fn truncate<const N: usize>(hash: Hash) -> [u8; N] {
    *hash.0.first_chunk().expect("only lengths up to 32 are asked for")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn pieces_make_no_difference() {
        let mut pieces = TaggedHasher::new(b"tag");
        pieces.update(b"a");
        pieces.update(b"");
        pieces.update(b"bc");
        assert_eq!(pieces.clone().finish(), tagged_hash(b"tag", b"abc"));
        assert_ne!(pieces.finish(), tagged_hash(b"tagg", b"abc"));
    }

    #[test]
    fn pair_borders_count() {
        assert_ne!(tagged_pair_hash(b"t", b"a", b"bc"), tagged_pair_hash(b"t", b"ab", b"c"));
    }

    #[test]
    fn hasher_state_is_wiped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&TaggedHasher::new(b"").0);
    }

    #[test]
    fn printing_is_short_and_hides_state() {
        assert_eq!(format!("{:?}", Hash([0; 32])), "#aaaaaaaa");
        assert_eq!(format!("{:?}", convergence_hasher(1, 1, 1, b"secret")), "TaggedHasher(..)");
    }
}
