use super::super::entry::Packed;
use super::*;
use crate::limits::{DIRECTORY_NAME_LEN_MAX, DIRECTORY_NAME_READ_LEN_MAX, PATH_DEPTH_MAX};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

#[test]
fn names_are_normalised() {
    for (given, nfc) in [
        ("plain", "plain"),
        ("e\u{301}", "\u{e9}"),
        ("\u{212b}", "\u{c5}"),
        ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
        // Excluded from composition: its normal form is longer.
        ("\u{958}", "\u{915}\u{93c}"),
    ] {
        assert_eq!(Name::new(given).as_ref().map(Name::as_str), Ok(nfc), "{given:?}");
    }
}

#[test]
fn what_we_do_not_create_is_still_read() {
    let long = "x".repeat(DIRECTORY_NAME_LEN_MAX + 1);
    let too_long = NameError::TooLong { len: long.len(), len_max: DIRECTORY_NAME_LEN_MAX };
    for (text, problem) in [
        ("", NameError::Empty),
        (".", NameError::Dots),
        ("..", NameError::Dots),
        ("a/b", NameError::Slash),
        ("/", NameError::Slash),
        ("a\nb", NameError::Control),
        ("\0", NameError::Control),
        ("\u{7f}", NameError::Control),
        ("\u{9b}", NameError::Control),
        (&long, too_long),
    ] {
        assert_eq!(Name::new(text), Err(problem), "{text:?}");
        let read = Name::existing(text).expect("others may have made it");
        assert_eq!((read.as_str(), read.problem()), (text, Some(problem)));
    }
    for text in ["...", ".hidden", " ", "a\\b", "C:", "\u{1f600}", &long[1..]] {
        assert!(Name::new(text).is_ok(), "{text:?}");
    }
}

#[test]
fn length_is_bounded_before_work_is_done() {
    // The character that grows most when it is normalised.
    let text = "\u{1d160}".repeat(DIRECTORY_NAME_READ_LEN_MAX / 4);
    assert_eq!(name(&text).as_str().len(), 3 * text.len());
    let more = text + "x";
    let len_max = DIRECTORY_NAME_READ_LEN_MAX;
    assert_eq!(Name::existing(&more), Err(NameError::TooLong { len: more.len(), len_max }));
}

#[test]
fn odd_names_can_be_replaced_renamed_and_removed_but_not_made() {
    let there = |text| {
        let child = Packed::of_child(&name(text), &file(1), &Metadata::default(), &writer());
        Table::unpack(child.framed().clone(), writer()).expect("a table")
    };
    for text in ["", "..", "a/b"] {
        let problem = EditProblem::Name(name(text).problem().expect("an odd name"));
        let mut table = there(text);
        assert!(apply(&mut table, link(text, file(2), Seen::Unchecked)).is_ok());
        assert!(apply(&mut table, rename(text, "good", Seen::Unchecked, Seen::Unchecked)).is_ok());
        assert_eq!(child_at(&table, "good"), Some(file(2)));
        let back = rename("good", text, Seen::Unchecked, Seen::Unchecked);
        assert_eq!(apply(&mut table, back).err(), Some(problem));
        assert_eq!(apply(&mut table, link(text, file(2), Seen::Unchecked)).err(), Some(problem));
        assert!(apply(&mut there(text), unlink(text, Seen::Unchecked)).is_ok());
    }
}

#[test]
fn paths() {
    let path = Path::new(["a", "..", "e\u{301}"]).expect("a path");
    assert_eq!(path.names().iter().map(Name::as_str).collect::<Vec<_>>(), ["a", "..", "\u{e9}"]);
    let (way, last) = path.split_last().expect("three names");
    assert_eq!((way.len(), last.as_str()), (2, "\u{e9}"));
    assert_eq!(Path::new([]).expect("the directory itself").split_last(), None);
    assert_eq!(Path::new(["a", ""]), Err(PathError::Name { at: 1, problem: NameError::Empty }));
    assert!(Path::new(vec!["x"; PATH_DEPTH_MAX]).is_ok());
    assert_eq!(Path::new(core::iter::repeat("x")), Err(PathError::TooDeep));
}

/// An error shows a name so that it is known again, not so that nothing else is seen.
#[test]
fn names_in_sentences() {
    assert_eq!(name("a \"b\"\n").to_string(), r#""a \"b\"\n""#);
    assert_eq!(name(&"x".repeat(100)).to_string(), format!("\"{}\"", "x".repeat(100)));
    assert_eq!(name(&"\u{e9}".repeat(60_000 / 2)).to_string(), format!("\"{}\"…", "\u{e9}".repeat(100)));
}

proptest! {
    #[test]
    fn any_text_is_a_name_once_normalised(text: String) {
        let read = name(&text);
        prop_assert_eq!(&name(read.as_str()), &read);
        if let Ok(new) = Name::new(&text) {
            prop_assert_eq!(new, read);
        }
    }

    /// The peer sorts by code point.
    #[test]
    fn order_is_that_of_code_points(a: String, b: String) {
        let (a, b) = (name(&a), name(&b));
        prop_assert_eq!(a.cmp(&b), a.as_str().chars().cmp(b.as_str().chars()));
    }
}
