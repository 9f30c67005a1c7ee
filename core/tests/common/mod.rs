//! What the tests against known answers share.

use std::path::Path;

use serde::de::DeserializeOwned;
use tallac_core::encoding::{Encoding, EncodingParams};
use tallac_core::hash::convergence_hasher;
use tallac_core::secret::EncryptionKey;

/// Reads one of the files of known answers.
pub(crate) fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let text = std::fs::read(path).expect("the known answers are in the repository");
    serde_json::from_slice(&text).expect("the known answers have this form")
}

/// Decodes a base64 value of a file of known answers.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    data_encoding::BASE64.decode(text.as_bytes()).expect("base64")
}

/// The key a convergent upload gives this content.
pub(crate) fn convergent_key(params: &EncodingParams, secret: &[u8], plaintext: &[u8]) -> EncryptionKey {
    let encoding = Encoding::new(params, plaintext.len() as u64).expect("a file");
    let mut hasher = convergence_hasher(encoding.needed(), encoding.total(), encoding.segment_size(), secret);
    hasher.update(plaintext);
    hasher.finish_key()
}
