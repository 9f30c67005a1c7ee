//! Mutable files, directories and marks.

use super::*;
use alloc::string::ToString;

const KEY: &str = "yzxcoagbetwet65ltjpbqyli3m";
const PRINT: &str = "6b7inuiha2xdtgqzd55i6aeggutnxzr6qfwpv2ep5xlln6pgef7a";

#[test]
fn malformed_kinds_are_not_unknown() {
    let (sdmf, verify) = (Kind::Sdmf, Kind::DirectoryMdmfVerify);
    check_field("URI:SSK:", sdmf, Field::Key, Problem::Missing);
    check_field(&format!("URI:SSK:{KEY}"), sdmf, Field::Fingerprint, Problem::Missing);
    check_field(
        "URI:DIR2-MDMF-Verifier:a:",
        verify,
        Field::StorageIndex,
        Problem::Length { expected: 26, found: 1 },
    );
    let upper = format!("URI:DIR2-RO:{KEY}:{}", PRINT.to_uppercase());
    check_field(&upper, Kind::DirectoryRead, Field::Fingerprint, Problem::NotBase32);
    let trailing = |kind| Err(CapabilityError::Trailing { kind });
    assert_eq!(parse(&format!("URI:SSK:{KEY}:{PRINT}:3")), trailing(Kind::Sdmf));
    assert_eq!(parse(&format!("URI:DIR2:{KEY}:{PRINT}:")), trailing(Kind::Directory));
    assert_eq!(parse(&format!("URI:DIR2-CHK:{KEY}:{PRINT}:3:10:99:")), trailing(Kind::DirectoryChk));
}

#[test]
fn what_follows_an_mdmf_capability_is_dropped() {
    for kind in ["MDMF", "MDMF-RO", "MDMF-Verifier", "DIR2-MDMF", "DIR2-MDMF-RO", "DIR2-MDMF-Verifier"] {
        let plain = format!("URI:{kind}:{KEY}:{PRINT}");
        for tail in ["", ":", ":3:131073", ":anything"] {
            let read = parse(&format!("{plain}{tail}")).expect("hints are skipped");
            assert_eq!(read.to_string(), plain);
        }
        assert!(parse(&format!("{plain}x")).is_err());
    }
}

#[test]
fn a_mark_before_a_known_kind_must_be_true() {
    let error = |kind, mark| Err(CapabilityError::Right { kind, mark });
    for (kind, known, read_only, immutable) in [
        ("SSK", Kind::Sdmf, false, false),
        ("SSK-RO", Kind::SdmfRead, true, false),
        ("SSK-Verifier", Kind::SdmfVerify, true, true),
        ("DIR2-MDMF", Kind::DirectoryMdmf, false, false),
        ("DIR2-MDMF-RO", Kind::DirectoryMdmfRead, true, false),
    ] {
        let text = format!("URI:{kind}:{KEY}:{PRINT}");
        let plain = parse(&text);
        let expected = if read_only { plain.clone() } else { error(known, Mark::ReadOnly) };
        assert_eq!(parse(&format!("ro.{text}")), expected);
        let expected = if immutable { plain } else { error(known, Mark::Immutable) };
        assert_eq!(parse(&format!("imm.{text}")), expected);
    }
    assert_eq!(parse(&format!("imm.{CHK}")), parse(CHK));
    check_field("ro.URI:CHK:", Kind::Chk, Field::Key, Problem::Missing);
    assert_eq!(
        parse(&format!("ro.URI:SSK:{KEY}:{PRINT}")).expect_err("it can write").to_string(),
        "a URI:SSK:... capability grants writing where only reading is allowed"
    );
}

#[test]
fn debug_hides_write_and_read_keys() {
    for kind in ["SSK", "SSK-RO", "DIR2", "DIR2-MDMF-RO"] {
        let cap = parse(&format!("URI:{kind}:{KEY}:{PRINT}")).expect("a good capability");
        let shown = format!("{cap:?}");
        assert!(!shown.contains(&KEY[..6]) && !shown.contains(&PRINT[..6]), "{shown}");
    }
}

#[test]
fn marks_that_the_place_implies_are_left_out() {
    for (text, place, stored) in [
        ("ro.x-new:a", Mark::ReadOnly, "x-new:a"),
        ("imm.x-new:a", Mark::ReadOnly, "imm.x-new:a"),
        ("imm.x-new:a", Mark::Immutable, "x-new:a"),
        ("ro.x-new:a", Mark::Immutable, "x-new:a"),
        ("x-new:a", Mark::ReadOnly, "x-new:a"),
    ] {
        let cap: UnknownCap = text.parse().expect("an unknown kind");
        assert_eq!(cap.where_implied(place), stored);
    }
}

/// What a reader of text refuses is kept where others have written it.
#[test]
fn any_text_can_be_kept() {
    for text in ["lafs://\u{2603}", "hello", "a b", "", "URI:SSK:nonsense", "ro.imm.x"] {
        assert!(text.parse::<UnknownCap>().is_err(), "{text}");
        assert_eq!(UnknownCap::keep(text).expect("any text").to_string(), text);
    }
    assert_eq!(format!("{:?}", UnknownCap::keep("hunter2")), "Ok(UnknownCap(of no kind))");
    assert_eq!(UnknownCap::keep("x-a:\u{1b}[2J"), Err(CapabilityError::NotACapability));
    let long = "x".repeat(CAPABILITY_LEN_MAX + 1);
    assert_eq!(UnknownCap::keep(&long), Err(CapabilityError::TooLong { len: long.len() }));
}
