use super::*;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use crate::hash::Hash;
use crate::secret::{EncryptionKey, WriteKey};

mod mutable;

const CHK: &str =
    "URI:CHK:yzxcoagbetwet65ltjpbqyli3m:6b7inuiha2xdtgqzd55i6aeggutnxzr6qfwpv2ep5xlln6pgef7a:1:1:56";

fn parse(text: &str) -> Result<Capability, CapabilityError> {
    text.parse()
}

fn check_field(text: &str, kind: Kind, field: Field, problem: Problem) {
    let expected = CapabilityError::Field { kind, field, problem };
    assert_eq!(parse(text), Err(expected), "{text}");
}

#[test]
fn chk_and_its_narrowing() {
    let Ok(Capability::Chk(cap)) = parse(CHK) else { panic!("a good capability") };
    assert_eq!((cap.needed, cap.total, cap.size), (1, 1, 56));
    assert_eq!(cap.to_string(), CHK);
    let verify = cap.verify_cap();
    assert_eq!(Capability::Chk(cap.clone()).verify_cap(), Some(Capability::ChkVerify(verify.clone())));
    assert_eq!(verify.storage_index(), cap.storage_index());
    let text = verify.to_string();
    assert!(text.starts_with("URI:CHK-Verifier:"));
    assert_eq!(parse(&text), Ok(Capability::ChkVerify(verify)));
}

#[test]
fn literals() {
    for (text, data) in [("URI:LIT:", &b""[..]), ("URI:LIT:my", b"f"), ("URI:LIT:mzxw6ytboi", b"foobar")] {
        let Ok(Capability::Literal(cap)) = parse(text) else { panic!("{text}") };
        assert_eq!(cap.data(), data);
        assert_eq!(cap.to_string(), text);
        assert_eq!(parse(text).map(|cap| cap.storage_index()), Ok(None));
    }
    assert!(LiteralCap::new(vec![0; 55]).is_some());
    assert!(LiteralCap::new(vec![0; 56]).is_none());
    let long = format!("URI:LIT:{}", crate::base32::encode(&[7; 4096]));
    assert_eq!(parse(&long).map(|cap| cap.to_string()), Ok(long.clone()));
    check_field(&format!("{long}aaaaaaaa"), Kind::Literal, Field::Data, Problem::OutOfRange);
}

#[test]
fn malformed_is_not_unknown() {
    use Field::*;
    use Problem::*;
    let key = "yzxcoagbetwet65ltjpbqyli3m";
    let hash = "6b7inuiha2xdtgqzd55i6aeggutnxzr6qfwpv2ep5xlln6pgef7a";
    let chk = |rest: &str| format!("URI:CHK:{rest}");
    for (text, field, problem) in [
        (chk(""), Key, Missing),
        (chk("yzx"), Key, Length { expected: 26, found: 3 }),
        (chk("YZXCOAGBETWET65LTJPBQYLI3M:"), Key, NotBase32),
        (chk("yzxcoagbetwet65ltjpbqyli3n:"), Key, LooseBits),
        (chk(key), ExtensionHash, Missing),
        (chk(&format!("{key}:{key}:3:10:1")), ExtensionHash, Length { expected: 52, found: 26 }),
        (chk(&format!("{key}:{hash}")), Needed, Missing),
        (chk(&format!("{key}:{hash}:")), Needed, Missing),
        (chk(&format!("{key}:{hash}:03:10:1")), Needed, NotANumber),
        (chk(&format!("{key}:{hash}:0:10:1")), Needed, OutOfRange),
        (chk(&format!("{key}:{hash}:3")), Total, Missing),
        (chk(&format!("{key}:{hash}:3:+10:1")), Total, NotANumber),
        (chk(&format!("{key}:{hash}:3:2:1")), Total, OutOfRange),
        (chk(&format!("{key}:{hash}:3:257:1")), Total, OutOfRange),
        (chk(&format!("{key}:{hash}:3:70000:1")), Total, OutOfRange),
        (chk(&format!("{key}:{hash}:3:10:")), Size, Missing),
        (chk(&format!("{key}:{hash}:3:10:1 ")), Size, NotANumber),
        (chk(&format!("{key}:{hash}:3:10:18446744073709551616")), Size, NotANumber),
    ] {
        check_field(&text, Kind::Chk, field, problem);
    }
    let trailing = CapabilityError::Trailing { kind: Kind::Chk };
    assert_eq!(parse(&format!("{CHK}:")), Err(trailing));
    assert_eq!(parse(&format!("{CHK}:1")), Err(trailing));
    check_field("URI:LIT:m", Kind::Literal, Data, LooseBits);
    check_field("URI:LIT:M!", Kind::Literal, Data, NotBase32);
    check_field("URI:CHK-Verifier:aa:", Kind::ChkVerify, StorageIndex, Length { expected: 26, found: 2 });
    check_field("URI:CHK-Verifier:", Kind::ChkVerify, StorageIndex, Missing);
}

#[test]
fn unknown_kinds_are_kept() {
    for (text, kind) in [
        ("URI:NEW:abc:def", "URI:NEW"),
        ("URI:DIR3-CHK-Verifier:abc", "URI:DIR3-CHK-Verifier"),
        ("x-something:whatever", "x-something"),
        ("ro.URI:NEW:abc", "ro.URI:NEW"),
        ("imm.x-a:b", "imm.x-a"),
    ] {
        let Ok(Capability::Unknown(cap)) = parse(text) else { panic!("{text}") };
        assert_eq!(cap.kind(), Some(kind));
        assert_eq!(cap.to_string(), text);
        assert_eq!(format!("{cap:?}"), format!("UnknownCap({kind})"));
    }
}

#[test]
fn what_is_no_capability() {
    let space_before = format!(" {CHK}");
    for text in [
        "",
        "hello",
        "URI:",
        "URI::",
        "URI:CHK",
        "uri:chk:",
        "x-",
        "URI:NEW:a b",
        "URI:NEW:é",
        "ro.imm.URI:NEW:a",
        "URI:S/K:a",
        &space_before,
    ] {
        assert_eq!(parse(text), Err(CapabilityError::NotACapability), "{text:?}");
    }
    for kind in ["URI:NEW:", "URI:SSK:"] {
        let long = format!("{kind}{}", "a".repeat(9000));
        assert_eq!(parse(&long), Err(CapabilityError::TooLong { len: 9008 }));
    }
    assert_eq!(CHK.parse::<LiteralCap>(), Err(CapabilityError::OtherKind { expected: Kind::Literal }));
}

#[test]
fn debug_grants_no_right() {
    let cap = parse(CHK).expect("a good capability");
    let shown = format!("{cap:?} {:?} {:?}", parse("URI:LIT:mzxw6ytboi"), parse("URI:NEW:mzxw6ytboi:a"));
    for secret in ["yzxcoagb", "foobar", "mzxw6", "102"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let error = parse(&CHK.replace("yzxco", "YZXCO")).expect_err("upper case");
    assert_eq!(
        error.to_string(),
        "the key of this URI:CHK:... capability has characters other than a to z and 2 to 7"
    );
}

fn any_capability() -> impl Strategy<Value = Capability> {
    let chk = (any::<[u8; 16]>(), any::<[u8; 32]>(), 1u16..=256, 1u16..=256, any::<u64>()).prop_map(
        |(key, hash, a, b, size)| ChkCap {
            key: EncryptionKey::from_bytes(key),
            extension_hash: Hash(hash),
            needed: a.min(b),
            total: a.max(b),
            size,
        },
    );
    let mutable =
        (any::<bool>(), any::<[u8; 16]>(), any::<[u8; 32]>()).prop_map(|(mdmf, key, hash)| MutableCap {
            format: if mdmf { MutableFormat::Mdmf } else { MutableFormat::Sdmf },
            write_key: WriteKey::from_bytes(key),
            fingerprint: Hash(hash),
        });
    let literal = proptest::collection::vec(any::<u8>(), 0..=55);
    let file = prop_oneof![
        chk.clone().prop_map(Capability::Chk),
        chk.prop_map(|cap| Capability::ChkVerify(cap.verify_cap())),
        literal.prop_map(|data| Capability::Literal(LiteralCap::new(data).expect("short enough"))),
        mutable.clone().prop_map(Capability::Mutable),
        mutable.clone().prop_map(|cap| Capability::MutableRead(cap.read_cap())),
        mutable.prop_map(|cap| Capability::MutableVerify(cap.verify_cap())),
    ];
    (file, any::<bool>()).prop_map(|(file, directory)| match directory {
        true => Capability::Directory(DirectoryCap::new(file).expect("any file can hold a table")),
        false => file,
    })
}

proptest! {
    #[test]
    fn round_trip(cap in any_capability()) {
        prop_assert_eq!(parse(&cap.to_string()), Ok(cap));
    }

    #[test]
    fn prefixes_and_mutations_print_back_or_fail(
        cap in any_capability(), place: proptest::sample::Index, character in "[a-zA-Z0-9:+\\- é\n]"
    ) {
        let text = cap.to_string();
        let place = place.index(text.len());
        let replaced = format!("{}{character}{}", &text[..place], &text[place + 1..]);
        let inserted = format!("{}{character}{}", &text[..place], &text[place..]);
        let removed = format!("{}{}", &text[..place], &text[place + 1..]);
        let variants: Vec<String> = vec![text[..place].to_string(), replaced, inserted, removed];
        for variant in variants {
            if let Ok(read) = parse(&variant) {
                let printed = read.to_string();
                // Only what follows a whole MDMF capability is dropped.
                let dropped = variant.strip_prefix(&printed).is_some_and(|rest| rest.starts_with(':'));
                prop_assert!(printed == variant || (dropped && printed.contains("MDMF")), "{variant}");
            }
        }
    }

    #[test]
    fn narrowing_never_widens(cap in any_capability()) {
        let read = cap.read_only().expect("a known kind");
        prop_assert!(!read.is_writable());
        prop_assert_eq!(read.storage_index(), cap.storage_index());
        prop_assert_eq!(read.read_only(), Some(read.clone()));
        prop_assert_eq!(read.is_directory(), cap.is_directory());
        prop_assert_eq!(read.verify_cap(), cap.verify_cap());
        if let Some(verify) = cap.verify_cap() {
            prop_assert!(!verify.is_mutable());
            prop_assert_eq!(verify.storage_index(), cap.storage_index());
            prop_assert_eq!(verify.read_only(), Some(verify.clone()));
        }
    }

    #[test]
    fn arbitrary_text(text in ".{0,60}", tail in "[a-z2-7:0-9]{0,120}") {
        let _ = parse(&text);
        for kind in ["URI:CHK:", "URI:CHK-Verifier:", "URI:LIT:", "URI:SSK-RO:", "URI:DIR2-LIT:", "x-", "URI:"] {
            let text = format!("{kind}{tail}");
            if let Ok(read) = parse(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }
}
