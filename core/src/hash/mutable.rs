//! What follows from the keys of a mutable file.
//!
//! ```text
//! private key ─▶ write key ─▶ read key ─▶ storage index
//!                    │            └─ with a salt ─▶ data key
//!                    └─▶ write enabler master ─ with a tub id ─▶ write enabler
//! public key ─▶ fingerprint
//! ```

use super::{Hash, tagged_hash, tagged_pair_hash, truncate};
use crate::secret::{EncryptionKey, ReadKey, WriteEnabler, WriteKey};
use crate::storage_index::StorageIndex;

/// The write key, from the private key (PKCS#8 in DER, byte for byte as stored). It is also the
/// AES key under which the private key is stored in each share.
pub fn mutable_write_key(private_key: &[u8]) -> WriteKey {
    WriteKey::from_bytes(truncate(tagged_hash(b"allmydata_mutable_privkey_to_writekey_v1", private_key)))
}

/// The read key, from the write key.
pub fn mutable_read_key(write_key: &WriteKey) -> ReadKey {
    let tag = b"allmydata_mutable_writekey_to_readkey_v1";
    ReadKey::from_bytes(truncate(tagged_hash(tag, write_key.expose())))
}

/// Where the shares are found, from the read key.
pub fn mutable_storage_index(read_key: &ReadKey) -> StorageIndex {
    let tag = b"allmydata_mutable_readkey_to_storage_index_v1";
    StorageIndex(truncate(tagged_hash(tag, read_key.expose())))
}

/// What a capability says of the public key (SubjectPublicKeyInfo in DER).
pub fn mutable_fingerprint(public_key: &[u8]) -> Hash {
    tagged_hash(b"allmydata_mutable_pubkey_to_fingerprint_v1", public_key)
}

/// The AES key of what was encrypted with this salt: a segment (MDMF) or the whole file (SDMF).
pub fn mutable_data_key(salt: &[u8; 16], read_key: &ReadKey) -> EncryptionKey {
    let tag = b"allmydata_mutable_readkey_to_datakey_v1";
    EncryptionKey::from_bytes(truncate(tagged_pair_hash(tag, salt, read_key.expose())))
}

/// What the write enablers of all servers are made from.
pub fn write_enabler_master(write_key: &WriteKey) -> WriteEnabler {
    let tag = b"allmydata_mutable_writekey_to_write_enabler_master_v1";
    WriteEnabler::from_bytes(tagged_hash(tag, write_key.expose()).0)
}

/// The write enabler of a file on one server, from the file's
/// [master](write_enabler_master). `tub_id` is the one in the server's furl, also where no
/// Foolscap is spoken: writers of the same slot must agree on it.
pub fn write_enabler(master: &WriteEnabler, tub_id: &[u8; 20]) -> WriteEnabler {
    let tag = b"allmydata_mutable_write_enabler_master_and_nodeid_to_write_enabler_v1";
    WriteEnabler::from_bytes(tagged_pair_hash(tag, master.expose(), tub_id).0)
}
