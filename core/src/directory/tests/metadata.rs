use super::super::json;
use super::*;
use crate::limits::DIRECTORY_METADATA_LEN_MAX;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use proptest::prelude::*;

#[test]
fn values_stay_as_they_were_written() {
    let text = r#"{"a": 1E2, "b": 00000000000000000000000, "c": [ 1,2 ], "d\u00e9": "\u00E9\ud800", "e": -0.0, "f": NaN}"#;
    let text = text.replace("00000000000000000000000", "100000000000000000000000000001");
    assert_eq!(metadata(&text).to_json(), text);
    let changed = Metadata::linked(Some(&metadata(&text)), None, NOW).to_json();
    assert_eq!(
        changed,
        text[..text.len() - 1].to_string()
            + r#", "tahoe": {"linkcrtime": 1700000000.0, "linkmotime": 1700000000.0}}"#
    );
}

#[test]
fn keys_are_compared_by_what_they_mean() {
    let escaped = metadata(r#"{"n\u006f-write": true, "t\u0061hoe": {"linkcrtime": 5}}"#);
    assert!(escaped.no_write());
    assert_eq!(escaped.link_created().as_deref(), Some("5"));
    let changed = Metadata::linked(Some(&escaped), None, NOW);
    assert_eq!(
        changed.to_json(),
        r#"{"n\u006f-write": true, "tahoe": {"linkcrtime": 5, "linkmotime": 1700000000.0}}"#
    );
}

#[test]
fn of_several_equal_keys_the_last_counts() {
    let twice = metadata(r#"{"tahoe": {"linkcrtime": 1}, "x": 1, "tahoe": {"linkcrtime": 2}, "x": 2}"#);
    assert_eq!((twice.get("x"), twice.link_created().as_deref()), (Some("2"), Some("2")));
    assert_eq!(
        Metadata::linked(Some(&twice), None, NOW).to_json(),
        r#"{"tahoe": {"linkcrtime": 2, "linkmotime": 1700000000.0}, "x": 1, "x": 2}"#
    );
}

#[test]
fn nonsense_under_our_keys_counts_as_nothing() {
    for old in [r#"{"tahoe": 7}"#, r#"{"tahoe": [{"linkcrtime": 1}], "ctime": null}"#] {
        let times = Metadata::linked(Some(&metadata(old)), Some(&Metadata::default()), NOW);
        assert_eq!(times.link_created().as_deref(), Some("1700000000.0"), "{old}");
    }
}

#[test]
fn truth_as_the_peer_sees_it() {
    for truthy in
        ["true", "1", "-1", "0.1", "NaN", "Infinity", "1e999", "\"x\"", "\"0\"", "[0]", "[ [] ]", "{\"\":0}"]
    {
        assert!(json::is_truthy(truthy), "{truthy}");
    }
    for falsy in ["false", "null", "0", "-0", "0.0", "-0e7", "\"\"", "[]", "[ ]", "{}", "{\n}"] {
        assert!(!json::is_truthy(falsy), "{falsy}");
    }
}

#[test]
fn hostile_text() {
    use MetadataError::*;
    let deep = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(Metadata::parse(&deep(json::DEPTH_MAX - 1)).is_ok());
    assert_eq!(Metadata::parse(&deep(json::DEPTH_MAX)), Err(TooDeep));
    assert_eq!(Metadata::parse(&"{\"x\":[".repeat(100_000)), Err(TooDeep));
    let long = format!("{{\"x\": \"{}\"}}", "x".repeat(DIRECTORY_METADATA_LEN_MAX));
    assert_eq!(Metadata::parse(&long), Err(TooLong { len: long.len() }));
    assert_eq!(Metadata::parse_bytes(b"{\"\xff\": 1}"), Err(NotText));
    for text in ["", " ", "[]", "null", "7", "\u{feff}{}"] {
        assert_eq!(Metadata::parse(text), Err(NotAnObject), "{text:?}");
    }
    for (text, at) in [
        ("{", 1),
        ("{}x", 2),
        ("{\"a\" 1}", 5),
        ("{\"a\":}", 5),
        ("{\"a\":1,}", 7),
        ("{\"a\":01}", 7),
        ("{\"a\":1.}", 7),
        ("{\"a\":.5}", 5),
        ("{\"a\":+1}", 5),
        ("{\"a\":[1}", 8),
        ("{\"a\":\"\n\"}", 7),
        ("{\"a\":\"\\x\"}", 8),
        ("{\"a\":\"\\u12g4\"}", 11),
        ("{\"a\":\"", 6),
        ("{\"a\":nul}", 5),
    ] {
        assert_eq!(Metadata::parse(text), Err(NotJson { at }), "{text:?}");
    }
}

proptest! {
    /// The scanner and a decoder agree on what JSON is.
    #[test]
    fn the_grammar_is_that_of_json(text in "\\{(\"a\":)?[\\[\\]{}\",: \\\\nab0-9.eE+-]{0,12}\\}?") {
        let decoded = serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(&text);
        let scanned = Metadata::parse(&text);
        prop_assert_eq!(scanned.is_ok(), decoded.is_ok(), "{}: {:?}, {:?}", text, scanned, decoded.err());
    }

    #[test]
    fn any_text(text: String) {
        if let Ok(read) = Metadata::parse(&text) {
            prop_assert_eq!(metadata(&read.to_json()), read);
        }
    }

    /// What one JSON writer writes, with all its escapes, comes out as it went in.
    #[test]
    fn members_survive(members in proptest::collection::btree_map(".*", ".*", 0..5)) {
        let text = serde_json::to_string(&members).expect("JSON");
        let read = metadata(&text);
        for (key, value) in &members {
            let value = serde_json::to_string(value).expect("JSON");
            prop_assert_eq!(read.get(key), Some(&*value));
        }
        prop_assert_eq!(serde_json::from_str::<BTreeMap<String, String>>(&read.to_json()).ok(), Some(members));
    }
}
