//! Both providers of RSA: each takes the other's keys and signatures, and neither is misled.

use data_encoding::BASE64;
use serde_json::Value;
use tallac_core::job::{self, Job, JobOutput};
use tallac_core::rsa::{NoRsa, PrivateKey, PublicKey, Rsa, SIGNATURE_LEN};
use tallac_core::secret::Secret;
use tallac_host::HostRsa;
use tallac_soft_rsa::{KEYS, SoftRsa, test_key};

const MESSAGE: &[u8] = b"a signed prefix";

/// With their names, for failures.
const PROVIDERS: [(&str, &dyn Rsa); 2] = [("AWS-LC", &HostRsa), ("soft", &SoftRsa)];

fn seed(number: u8) -> Secret<32> {
    Secret::from_bytes([number; 32])
}

#[test]
fn each_verifies_the_other() {
    // Key 0 has exponent 17.
    for number in 0..KEYS {
        let key = test_key(number);
        for (signer, signing) in PROVIDERS {
            let signature = signing.sign(&key, MESSAGE).unwrap_or_else(|| panic!("{signer}, key {number}"));
            assert_eq!(signature.len(), SIGNATURE_LEN);
            for (verifier, verifying) in PROVIDERS {
                let names = format!("{signer} to {verifier}, key {number}");
                assert!(verifying.verify(key.public_key(), MESSAGE, &signature), "{names}");
                assert!(!verifying.verify(key.public_key(), b"another", &signature), "{names}");
                let other = test_key(number + 1);
                assert!(!verifying.verify(other.public_key(), MESSAGE, &signature), "{names}");
                let mut damaged = signature.clone();
                damaged[17] ^= 1;
                assert!(!verifying.verify(key.public_key(), MESSAGE, &damaged), "{names}");
                for len in [0, 1, 255] {
                    assert!(!verifying.verify(key.public_key(), MESSAGE, &signature[..len]), "{names}");
                }
                let long = [&signature[..], &[0]].concat();
                assert!(!verifying.verify(key.public_key(), MESSAGE, &long), "{names}");
            }
        }
    }
}

#[test]
fn a_published_signature_by_an_old_key() {
    let published: Value = serde_json::from_str(include_str!("vectors/signature.json")).expect("JSON");
    let field =
        |name: &str| BASE64.decode(published[name].as_str().expect("a text").as_bytes()).expect("base64");
    let key = PrivateKey::from_pkcs8(&field("private")).expect("a good key");
    assert_eq!(key.public_key().spki(), field("public"));
    for (name, provider) in PROVIDERS {
        assert!(provider.verify(key.public_key(), b"test", &field("signature")), "{name}");
        let again = provider.sign(&key, b"test").unwrap_or_else(|| panic!("{name} cannot sign"));
        assert!(SoftRsa.verify(key.public_key(), b"test", &again), "{name}");
    }
}

#[test]
fn keys_made_by_each_are_good_for_both() {
    for (name, provider) in PROVIDERS {
        let key = provider.generate(&seed(1)).unwrap_or_else(|| panic!("{name} makes no key"));
        assert_eq!(PrivateKey::from_pkcs8(key.pkcs8()).as_ref(), Ok(&key));
        for (signer, signing) in PROVIDERS {
            let signature = signing.sign(&key, MESSAGE).unwrap_or_else(|| panic!("{signer} cannot sign"));
            assert!(PROVIDERS.iter().all(|(_, each)| each.verify(key.public_key(), MESSAGE, &signature)));
        }
    }
    assert_ne!(HostRsa.generate(&seed(1)), HostRsa.generate(&seed(1)), "seeds are not all the randomness");
}

#[test]
fn the_soft_one_can_be_replayed() {
    assert_eq!(SoftRsa.generate(&seed(1)), SoftRsa.generate(&seed(1)));
    let made: Vec<PrivateKey> = (0..40).filter_map(|number| SoftRsa.generate(&seed(number))).collect();
    assert_eq!(made.len(), 40);
    for (number, key) in made.iter().enumerate() {
        assert!(!made[..number].contains(key), "{number}");
        let signature = HostRsa.sign(key, MESSAGE).expect("a good key");
        assert!(SoftRsa.verify(key.public_key(), MESSAGE, &signature), "{number}");
    }
    let sign = |number, message| SoftRsa.sign(&test_key(number), message);
    assert_eq!(sign(1, MESSAGE), sign(1, MESSAGE));
    assert_ne!(sign(1, MESSAGE), sign(1, b"another"));
    assert_ne!(sign(1, MESSAGE), sign(2, MESSAGE));
}

/// Well-formed keys whose numbers do not belong together: refused, without a panic.
#[test]
fn nonsense_numbers() {
    let good = test_key(1);
    let mut refused = 0;
    for place in (30..good.pkcs8().len()).step_by(61) {
        let mut der = good.pkcs8().to_vec();
        der[place] ^= 0x10;
        let Ok(key) = PrivateKey::from_pkcs8(&der) else { continue };
        for (name, provider) in PROVIDERS {
            let signature = provider.sign(&key, MESSAGE);
            // The soft one computes anew what follows from the primes, so that an error there does
            // no harm.
            let good =
                signature.is_some_and(|signature| SoftRsa.verify(key.public_key(), MESSAGE, &signature));
            assert!(!good || name == "soft", "{name} signs with a changed byte {place}");
            refused += usize::from(!good);
        }
    }
    assert!(refused > 20, "{refused}");
    let mut spki = good.public_key().spki().to_vec();
    spki[100] ^= 1;
    let other = PublicKey::from_spki(&spki).expect("a form that is good");
    let signature = SoftRsa.sign(&good, MESSAGE).expect("a good key");
    assert!(PROVIDERS.iter().all(|(_, provider)| !provider.verify(&other, MESSAGE, &signature)));
}

#[test]
fn through_jobs() {
    for (name, provider) in PROVIDERS {
        let JobOutput::Keys(Some(key)) = job::run(Job::GenerateKeys { seed: seed(3) }, provider) else {
            panic!("{name} makes no key")
        };
        let message = MESSAGE.to_vec();
        let sign = Job::Sign { key: key.clone(), message: message.clone() };
        let JobOutput::Signed(Some(signature)) = job::run(sign, provider) else {
            panic!("{name} cannot sign")
        };
        let key = key.public_key().clone();
        let check = Job::CheckSignature { key, message, signature };
        assert!(matches!(job::run(check.clone(), provider), JobOutput::SignatureGood(true)), "{name}");
        assert!(matches!(job::run(check, &NoRsa), JobOutput::SignatureGood(false)));
    }
}
