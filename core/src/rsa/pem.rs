//! Private keys in PEM (RFC 7468), as `openssl` writes them.

use alloc::vec::Vec;

use data_encoding::BASE64;

use super::{KeyError, PRIVATE_KEY_LEN_MAX};
use crate::secret::SecretBytes;

/// What kind of private key a text holds.
pub(super) enum Label {
    /// `PRIVATE KEY`
    Pkcs8,
    /// `RSA PRIVATE KEY`
    Pkcs1,
}

/// The first private key in a text, which may have other lines before and after it.
pub(super) fn decode(text: &str) -> Result<(Label, SecretBytes), KeyError> {
    let mut lines = text.lines().map(str::trim);
    let (label, end) = lines
        .find_map(|line| match line {
            "-----BEGIN PRIVATE KEY-----" => Some(Ok((Label::Pkcs8, "-----END PRIVATE KEY-----"))),
            "-----BEGIN RSA PRIVATE KEY-----" => Some(Ok((Label::Pkcs1, "-----END RSA PRIVATE KEY-----"))),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----" => Some(Err(KeyError::Encrypted)),
            _ => None,
        })
        .ok_or(KeyError::NotPem)??;
    // Enough for the longest key from the start, so that no copy of it is left behind.
    let mut base64 = zeroize::Zeroizing::new(Vec::with_capacity(2 * PRIVATE_KEY_LEN_MAX));
    loop {
        let line = lines.next().ok_or(KeyError::NotPem)?;
        if line == end {
            break;
        }
        // The header of an encrypted key in the older form.
        if line.starts_with("Proc-Type:") {
            return Err(KeyError::Encrypted);
        }
        if base64.len() + line.len() > base64.capacity() {
            return Err(KeyError::TooLong);
        }
        base64.extend_from_slice(line.as_bytes());
    }
    let der = BASE64.decode(&base64).map_err(|_| KeyError::NotPem)?;
    Ok((label, SecretBytes::new(der)))
}
