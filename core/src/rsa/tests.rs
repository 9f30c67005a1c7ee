//! The forms of keys; what is computed with them is tested where the providers are.

use super::*;
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;

fn number(bytes: &[u8]) -> Vec<u8> {
    tagged(2, bytes)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let header = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [header, content.to_vec()].concat()
}

/// A key in PKCS#1 whose numbers mean nothing.
fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let rest = number(&[3]).repeat(6);
    tagged(0x30, &[number(&[0]), number(modulus), number(exponent), rest].concat())
}

fn modulus(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits / 8];
    modulus.insert(0, 0);
    modulus
}

#[test]
fn public_from_private() {
    let key = PrivateKey::from_pkcs1(&pkcs1(&modulus(2048), &[17])).expect("a well-formed key");
    assert_eq!(PublicKey::from_spki(key.public_key().spki()).as_ref(), Ok(key.public_key()));
    assert_eq!(PrivateKey::from_pkcs8(key.pkcs8()).as_ref(), Ok(&key));
    assert_eq!(key.public_key().spki().len(), 292);
}

#[test]
fn moduli_and_exponents_that_no_file_has() {
    let read =
        |modulus: &[u8], exponent: &[u8]| PrivateKey::from_pkcs1(&pkcs1(modulus, exponent)).map(|_| ());
    for bits in [1024, 2040, 2056, 4096] {
        assert_eq!(read(&modulus(bits), &[1, 0, 1]), Err(KeyError::ModulusLength { bits }));
    }
    let mut short = modulus(2048);
    short[1] = 0x7f;
    short.remove(0);
    assert_eq!(read(&short, &[3]), Err(KeyError::ModulusLength { bits: 2047 }));
    for good in [&[3][..], &[17], &[1, 0, 1], &[0, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(read(&modulus(2048), good), Ok(()));
    }
    for bad in [&[1][..], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
        assert_eq!(read(&modulus(2048), bad), Err(KeyError::Exponent));
    }
    for malformed in [&[][..], &[0], &[0, 3], &[0x80, 1]] {
        assert_eq!(read(&modulus(2048), malformed), Err(KeyError::Malformed));
    }
    let mut even = modulus(2048);
    even[256] = 0xfe;
    assert_eq!(read(&even, &[3]), Err(KeyError::Malformed));
}

/// As a published key of 32768 bits: told by its size before anything is computed.
#[test]
fn a_huge_key() {
    let huge = der::wrap_private_key(&pkcs1(&modulus(32768), &[17]));
    assert_eq!(PrivateKey::from_pkcs8(&huge), Err(KeyError::ModulusLength { bits: 32768 }));
    assert_eq!(PrivateKey::from_pkcs8(&vec![0; 100_000]), Err(KeyError::TooLong));
    assert_eq!(PublicKey::from_spki(&[0; 600]), Err(KeyError::TooLong));
}

#[test]
fn pem_forms() {
    let der = pkcs1(&modulus(2048), &[17]);
    let key = PrivateKey::from_pkcs1(&der).expect("a well-formed key");
    let pem = |label: &str, der: &[u8]| {
        let body = data_encoding::BASE64.encode(der);
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| core::str::from_utf8(line).unwrap()).collect();
        alloc::format!(
            "text\r\n-----BEGIN {label}-----\r\n{}\r\n-----END {label}-----\r\n",
            lines.join("\r\n")
        )
    };
    assert_eq!(PrivateKey::from_pem(&pem("RSA PRIVATE KEY", &der)).as_ref(), Ok(&key));
    assert_eq!(PrivateKey::from_pem(&pem("PRIVATE KEY", key.pkcs8())).as_ref(), Ok(&key));
    assert_eq!(PrivateKey::from_pem(&pem("ENCRYPTED PRIVATE KEY", &der)), Err(KeyError::Encrypted));
    assert_eq!(PrivateKey::from_pem(&pem("PUBLIC KEY", &der)), Err(KeyError::NotPem));
    assert_eq!(PrivateKey::from_pem(&pem("PRIVATE KEY", &der)), Err(KeyError::Malformed));
    assert_eq!(PrivateKey::from_pem(&pem("PRIVATE KEY", &[0; 9000])), Err(KeyError::TooLong));
    let whole = pem("PRIVATE KEY", key.pkcs8());
    assert_eq!(PrivateKey::from_pem(&whole[..whole.len() - 20]), Err(KeyError::NotPem));
}

#[test]
fn debug_tells_no_secret() {
    let key = PrivateKey::from_pkcs1(&pkcs1(&modulus(2048), &[17])).expect("a well-formed key");
    let shown = alloc::format!("{key:?}");
    assert!(shown.starts_with("PrivateKey(of #") && shown.len() < 30, "{shown}");
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600), text in ".{0,200}") {
        prop_assert!(PrivateKey::from_pkcs8(&bytes).is_err());
        prop_assert!(PublicKey::from_spki(&bytes).is_err());
        prop_assert!(PrivateKey::from_pkcs1(&bytes).is_err());
        let text: String = ["-----BEGIN PRIVATE KEY-----\n", &text].concat();
        prop_assert!(PrivateKey::from_pem(&text).is_err());
    }

    /// What still parses after a change of one byte is another key, never another spelling.
    #[test]
    fn one_spelling_each(place: proptest::sample::Index, change in 1u8..) {
        let key = PrivateKey::from_pkcs1(&pkcs1(&modulus(2048), &[17])).expect("a well-formed key");
        for (der, private) in [(key.pkcs8(), true), (key.public_key().spki(), false)] {
            let mut changed = der.to_vec();
            changed[place.index(der.len())] ^= change;
            if private {
                if let Ok(other) = PrivateKey::from_pkcs8(&changed) {
                    prop_assert_eq!(other.pkcs8(), &changed[..]);
                }
            } else if let Ok(other) = PublicKey::from_spki(&changed) {
                prop_assert_ne!(&other, key.public_key());
            }
        }
    }
}
