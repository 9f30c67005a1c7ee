//! Handles: what stands in the address of a page in place of a capability.
//!
//! A handle is the capability, sealed with AES-SIV (RFC 5297) under a secret of the node. It is the same
//! each time, so that a bookmark works after a restart; it tells nothing without the secret but how long
//! the capability is; and no other node can open it.

use aes_siv::{KeyInit, siv::Aes256Siv};
use data_encoding::BASE64URL_NOPAD;
use std::fmt;
use subtle::ConstantTimeEq;
use tallac_core::capability::{CAPABILITY_LEN_MAX, Capability};
use tallac_core::hash::tagged_hash;
use tallac_core::secret::SecretBytes;

/// Bytes that AES-SIV puts before what is sealed.
const SIV_LEN: usize = 16;

/// The keys to the pages of one node: they seal handles, and prove that a form is one of its own.
/// Never printed.
pub struct PageKeys {
    seal: SecretBytes,
    token: String,
}

impl PageKeys {
    /// Derives the keys from a secret that the node keeps.
    pub fn new(secret: &[u8; 32]) -> PageKeys {
        let mut seal = tagged_hash(b"tallac:pages:seal:1", secret).0.to_vec();
        seal.extend_from_slice(&tagged_hash(b"tallac:pages:seal:2", secret).0);
        let token = BASE64URL_NOPAD.encode(&tagged_hash(b"tallac:pages:form", secret).0[..20]);
        PageKeys { seal: SecretBytes::new(seal), token }
    }

    /// What forms of this node's pages carry. No page of another site can read it.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whether a form carries the token. Compared in constant time.
    pub(crate) fn is_token(&self, shown: &str) -> bool {
        shown.as_bytes().ct_eq(self.token.as_bytes()).into()
    }

    /// The name of a ticket that was made from this text. Nobody else can make it.
    pub(crate) fn ticket(&self, made_from: &str) -> String {
        let keyed = [self.seal.expose(), made_from.as_bytes()].concat();
        BASE64URL_NOPAD.encode(&tagged_hash(b"tallac:pages:ticket", &keyed).0[..30])
    }

    /// The handle of a capability.
    pub(crate) fn seal(&self, cap: &Capability) -> String {
        let sealed = self.cipher().encrypt(NO_HEADERS, cap.to_string().as_bytes());
        BASE64URL_NOPAD.encode(&sealed.expect("a capability is shorter than AES-SIV allows"))
    }

    /// The capability that a handle of this node stands for.
    pub(crate) fn open(&self, handle: &str) -> Option<Capability> {
        if handle.len() > BASE64URL_NOPAD.encode_len(CAPABILITY_LEN_MAX + SIV_LEN) {
            return None;
        }
        let sealed = BASE64URL_NOPAD.decode(handle.as_bytes()).ok()?;
        let text = self.cipher().decrypt(NO_HEADERS, &sealed).ok()?;
        std::str::from_utf8(&text).ok()?.parse().ok()
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new_from_slice(self.seal.expose()).expect("the key has 64 bytes")
    }
}

const NO_HEADERS: [&[u8]; 0] = [];

impl fmt::Debug for PageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageKeys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAP: &str = "URI:DIR2-LIT:gbzdq5djnryd";

    fn cap() -> Capability {
        "URI:LIT:krugkidfnzsa".parse().expect("a capability")
    }

    #[test]
    fn a_handle_is_good_at_its_node_alone_and_stays_good() {
        let keys = PageKeys::new(&[1; 32]);
        let handle = keys.seal(&cap());
        assert_eq!(PageKeys::new(&[1; 32]).open(&handle), Some(cap()));
        assert_eq!(PageKeys::new(&[1; 32]).seal(&cap()), handle, "a bookmark stays good");
        assert_eq!(PageKeys::new(&[2; 32]).open(&handle), None);
        assert!(!handle.contains("krugkidfnzsa") && !format!("{keys:?}").contains(keys.token()));
        assert!(keys.is_token(keys.token()) && !keys.is_token("") && !keys.is_token(&handle));
    }

    #[test]
    fn a_capability_is_no_handle() {
        let keys = PageKeys::new(&[1; 32]);
        for text in ["", CAP, "AAAA", "personal", &"A".repeat(100_000)] {
            assert_eq!(keys.open(text), None);
        }
    }

    proptest! {
        #[test]
        fn a_changed_handle_is_none(position in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let keys = PageKeys::new(&[1; 32]);
            let mut sealed = BASE64URL_NOPAD.decode(keys.seal(&cap()).as_bytes()).unwrap();
            let position = position.index(sealed.len());
            sealed[position] ^= 1 << bit;
            prop_assert_eq!(keys.open(&BASE64URL_NOPAD.encode(&sealed)), None);
        }
    }
}
