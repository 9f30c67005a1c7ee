//! Mutable shares made here, read by Tahoe-LAFS 1.20 with its own code.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tallac_core::base32;
use tallac_core::capability::{Capability, MutableFormat};
use tallac_core::hash::tagged_hash;
use tallac_core::mutable::{MutableEncoding, build_all};
use tallac_core::rsa::Rsa;
use tallac_core::secret::Secret;
use tallac_host::HostRsa;
use tallac_soft_rsa::{SoftRsa, test_key};
use tallac_tests::content;
use tallac_tests::peer::{python, script};

#[test]
fn mutable_shares_are_read_and_found_healthy_by_the_peer() {
    let Some(python) = python() else { return };
    let mut lines = String::new();
    let mut expected = Vec::new();
    let fresh = HostRsa.generate(&Secret::from_bytes([0; 32])).expect("a key");
    for (format, needed, total, size) in [
        (MutableFormat::Sdmf, 1, 1, 0),
        (MutableFormat::Sdmf, 3, 10, 1),
        (MutableFormat::Sdmf, 3, 5, 1_000),
        (MutableFormat::Mdmf, 3, 4, 0),
        (MutableFormat::Mdmf, 1, 2, 1),
        (MutableFormat::Mdmf, 7, 9, 300_000),
    ] {
        // A fresh key, and one with exponent 17 as in the oldest files; each with its provider.
        let (key, rsa): (_, &dyn Rsa) =
            if needed == 3 { (fresh.clone(), &HostRsa) } else { (test_key(0), &SoftRsa) };
        let encoding = MutableEncoding::for_writing(format, needed, total, size).expect("possible");
        let plaintext = content(size, size as usize);
        let mut salt = 0;
        let next = || {
            salt += 1;
            [salt; 16]
        };
        let (cap, shares) = build_all(&key, &encoding, 5, next, &plaintext, rsa).expect("a file");
        let read_cap = Capability::Mutable(cap).read_only().expect("a known kind");
        let shares: BTreeMap<usize, String> =
            shares.iter().map(|share| base32::encode(share)).enumerate().collect();
        lines += &json!({"cap": read_cap.to_string(), "shares": shares}).to_string();
        lines.push('\n');
        expected.push(json!({
            "data": base32::encode(&tagged_hash(b"content", &plaintext).0),
            "sequence": 5,
            "healthy": true,
        }));
    }
    let told: Vec<Value> = script(python, "mutable.py", &[], &lines)
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(told, expected);
}
