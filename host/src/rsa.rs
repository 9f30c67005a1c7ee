//! RSA by AWS-LC: blinded, in constant time as far as it can, with the system's randomness.
//!
//! The only module that names aws-lc-rs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, UnparsedPublicKey};
use tallac_core::rsa::{PrivateKey, PublicKey, Rsa, SIGNATURE_LEN};
use tallac_core::secret::Secret;

/// The RSA of real nodes. Signatures and keys differ each time: seeds are ignored.
#[derive(Debug, Clone, Copy)]
pub struct HostRsa;

impl Rsa for HostRsa {
    fn generate(&self, _: &Secret<32>) -> Option<PrivateKey> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
        PrivateKey::from_pkcs8(der.as_ref()).ok()
    }

    fn sign(&self, key: &PrivateKey, message: &[u8]) -> Option<Vec<u8>> {
        let pair = KeyPair::from_pkcs8(key.pkcs8()).ok()?;
        // The buffer must be as long as the signature, or the library panics.
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
        (signature.len() == SIGNATURE_LEN).then_some(signature)
    }

    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.spki());
        key.verify(message, signature).is_ok()
    }
}
