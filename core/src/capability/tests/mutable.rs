//! Mutable files, directories, marks and entries.

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
fn entries_of_known_kinds() {
    let (write, read) = (format!("URI:SSK:{KEY}:{PRINT}"), format!("URI:SSK-RO:{KEY}:{PRINT}"));
    let entry = EntryCaps::new(Some(&write), None, false).expect("a write capability");
    assert_eq!(entry.write_text(), Some(write.clone()));
    let narrowed = parse(&write).ok().and_then(|cap| cap.read_only()).map(|cap| cap.to_string());
    assert_eq!(entry.read_text(), narrowed);
    let entry = EntryCaps::new(Some(""), Some(&read), false).expect("a read capability");
    assert_eq!((entry.write_text(), entry.read_text()), (None, Some(read.clone())));
    // Some writers put what cannot be written into the place for writing.
    let entry = EntryCaps::new(Some(CHK), None, true).expect("an immutable file");
    assert_eq!((entry.write_text(), entry.read_text()), (None, Some(CHK.into())));
    let right = |kind| Err(CapabilityError::Right { kind, mark: Mark::Immutable });
    assert_eq!(EntryCaps::new(None, Some(&read), true), right(Kind::SdmfRead));
    assert_eq!(EntryCaps::new(Some(&write), None, true), right(Kind::Sdmf));
}

/// The outcomes are those of `allmydata/unknown.py`.
#[test]
fn entries_of_unknown_kinds() {
    let check = |write, read, immutable, expected: Option<(Option<&str>, Option<&str>)>| {
        let entry = EntryCaps::new(write, read, immutable).ok();
        let texts = entry.map(|entry| (entry.write_text(), entry.read_text()));
        let expected = expected.map(|(write, read)| (write.map(String::from), read.map(String::from)));
        assert_eq!(texts, expected, "{write:?} {read:?} {immutable}");
    };
    let (bare, ro, imm) = (Some("x-new:a"), Some("ro.x-new:a"), Some("imm.x-new:a"));
    let other = Some("x-new:b");
    check(None, None, false, Some((None, None)));
    check(bare, None, false, None);
    check(ro, None, false, Some((None, ro)));
    check(imm, None, false, Some((None, imm)));
    check(ro, None, true, None);
    check(imm, None, true, Some((None, imm)));
    check(None, bare, false, Some((None, ro)));
    check(None, bare, true, Some((None, imm)));
    check(None, ro, true, Some((None, imm)));
    check(None, imm, false, Some((None, imm)));
    check(other, bare, false, Some((other, ro)));
    check(other, imm, false, None);
    check(other, bare, true, None);
    let marked = format!("ro.{CHK}");
    check(other, Some(CHK), false, Some((other, Some(&marked))));
}

#[test]
fn marks_that_the_place_implies_are_left_out() {
    for (text, immutable, stored) in [
        ("ro.x-new:a", false, "x-new:a"),
        ("imm.x-new:a", false, "imm.x-new:a"),
        ("imm.x-new:a", true, "x-new:a"),
        ("x-new:a", false, "x-new:a"),
    ] {
        let cap: UnknownCap = text.parse().expect("an unknown kind");
        assert_eq!(cap.in_read_place(immutable), stored);
    }
}
