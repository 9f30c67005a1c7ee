//! The capabilities of the published test vectors, computed from the content.

mod common;

use common::{base64, convergent_key, vectors};
use serde::Deserialize;
use tallac_core::capability::{Capability, ChkCap};
use tallac_core::encoding::EncodingParams;
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
