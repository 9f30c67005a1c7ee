//! The capabilities of the published test vectors, computed from the content or the private key,
//! and how the peer narrows those of every kind.

mod common;

use common::{base64, convergent_key, vectors};
use serde::Deserialize;
use tallac_core::capability::{Capability, CapabilityError, ChkCap, MutableCap, MutableFormat};
use tallac_core::encoding::EncodingParams;
use tallac_core::rsa::PrivateKey;
use tallac_core::share::build_all;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    required: u16,
    total: u16,
    segment_size: u32,
    convergence: String,
    seed: String,
    length: usize,
    expected: String,
}

#[test]
fn published_capabilities_are_computed_from_content() {
    let Vectors { vectors } = vectors("chk.json");
    assert_eq!(vectors.len(), 60);
    for vector in vectors {
        let seed = base64(&vector.seed);
        let plaintext: Vec<u8> = seed.iter().copied().cycle().take(vector.length).collect();
        let params = EncodingParams::new(vector.required, vector.total, vector.segment_size);
        let params = params.expect("the published parameters are sound");
        let key = convergent_key(&params, &base64(&vector.convergence), &plaintext);
        let (cap, _) = build_all(&params, &key, &plaintext).expect("a file");
        assert_eq!(cap.to_string(), vector.expected);
        assert_eq!(vector.expected.parse::<ChkCap>().as_ref(), Ok(&cap));
        assert_eq!(vector.expected.parse(), Ok(Capability::Chk(cap)));
    }
}

#[derive(Deserialize)]
struct KeyVector {
    kind: String,
    key: String,
    expected: String,
}

#[test]
fn published_capabilities_are_computed_from_private_keys() {
    let vectors: Vec<KeyVector> = vectors("mutable.json");
    assert_eq!(vectors.len(), 120);
    for vector in vectors {
        let key = PrivateKey::from_pkcs1(&base64(&vector.key)).expect("a good key");
        let format = match &*vector.kind {
            "sdmf" => MutableFormat::Sdmf,
            "mdmf" => MutableFormat::Mdmf,
            other => panic!("{other}"),
        };
        let fingerprint = key.public_key().fingerprint();
        let cap = MutableCap { format, write_key: key.write_key(), fingerprint };
        assert_eq!(cap.to_string(), vector.expected);
        assert_eq!(vector.expected.parse(), Ok(Capability::Mutable(cap)));
    }
}

#[derive(Deserialize)]
struct Narrowing {
    text: String,
    error: Option<bool>,
    printed: Option<String>,
    read_only: Option<String>,
    verify: Option<String>,
    index: Option<String>,
    mutable: Option<bool>,
    writable: Option<bool>,
}

#[test]
fn every_kind_is_narrowed_as_by_the_peer() {
    let cases: Vec<Narrowing> = vectors("capabilities.json");
    assert_eq!(cases.len(), 66);
    for case in cases {
        let text = &case.text;
        let cap = match (text.parse::<Capability>(), case.error) {
            (Ok(Capability::Unknown(unknown)), Some(false)) => {
                assert_eq!(unknown.to_string(), *text);
                continue;
            }
            (Err(CapabilityError::Right { .. }), Some(true)) => continue,
            (Ok(cap), None) => cap,
            (other, _) => panic!("{text}: {other:?}"),
        };
        let print = |cap: Option<Capability>| cap.map(|cap| cap.to_string());
        assert_eq!(Some(cap.to_string()), case.printed, "{text}");
        assert_eq!(print(cap.read_only()), case.read_only, "{text}");
        assert_eq!(print(cap.verify_cap()), case.verify, "{text}");
        assert_eq!(cap.storage_index().map(|index| index.to_string()), case.index, "{text}");
        assert_eq!(
            (Some(cap.is_mutable()), Some(cap.is_writable())),
            (case.mutable, case.writable),
            "{text}"
        );
        assert_eq!(cap.is_directory(), text.contains("URI:DIR2"), "{text}");
    }
}
