//! Percent-encoding of paths and queries (RFC 3986; queries as HTML forms write them).
//!
//! Decoding is strict: a `%` without two hexadecimal digits and bytes that are not UTF-8 are errors,
//! so that no two texts stand for the same name by accident.
//! Results are never longer than what was given; callers bound that.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Why a text could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PercentError {
    /// A `%` is not followed by two hexadecimal digits.
    BadEscape,
    /// The decoded bytes are not UTF-8.
    NotUtf8,
}

/// Splits a request target into its path and its query, both still encoded.
///
/// The scheme and host of an absolute target are cut off; the server is chosen by the connection.
pub fn split_target(target: &str) -> (&str, Option<&str>) {
    let target = target.split_once('#').map_or(target, |(before, _)| before);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if path.starts_with('/') {
        return (path, query);
    }
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |index| &rest[index..]),
        None => path,
    };
    (path, query)
}

/// The decoded segments of a path, without the empty one before the first slash.
///
/// A segment may hold a decoded `/`, as well as be empty, `.` or `..`; it names nothing by itself.
pub fn decode_path(path: &str) -> Result<Vec<String>, PercentError> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(decode_segment).collect()
}

/// One decoded segment of a path.
pub fn decode_segment(segment: &str) -> Result<String, PercentError> {
    check_escapes(segment)?;
    percent_decode_str(segment).decode_utf8().map(Cow::into_owned).map_err(|_| PercentError::NotUtf8)
}

/// Encodes a text as one segment of a path; only what RFC 3986 leaves unreserved stays as it is.
pub fn encode_segment(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

/// The same with no more than what [`decode_path`] needs to find the segment again, and control characters:
/// for texts that are encoded as a whole afterwards.
pub fn encode_segment_within(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for char in segment.chars() {
        match char {
            '%' | '/' => out.push_str(if char == '%' { "%25" } else { "%2F" }),
            control if control.is_ascii_control() => out.push_str(&format!("%{:02X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out
}

/// The decoded pairs of a query or of an urlencoded form, in order.
///
/// A pair without `=` has an empty value; empty pairs are left out.
pub fn parse_query(query: &str) -> Result<Vec<(String, String)>, PercentError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode_form(name)?, decode_form(value)?))
        })
        .collect()
}

/// Encodes pairs as a query.
pub fn encode_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl fmt::Display for PercentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadEscape => "A percent sign in the address is not followed by two hex digits.",
            Self::NotUtf8 => "The address is not valid UTF-8.",
        })
    }
}

impl std::error::Error for PercentError {}

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `form_urlencoded::parse` replaces what is not UTF-8; names of files must not change unnoticed.
fn decode_form(text: &str) -> Result<String, PercentError> {
    if text.contains('+') { decode_segment(&text.replace('+', " ")) } else { decode_segment(text) }
}

fn check_escapes(text: &str) -> Result<(), PercentError> {
    let complete = text.split('%').skip(1).all(|after| {
        matches!(after.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    });
    if complete { Ok(()) } else { Err(PercentError::BadEscape) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/a/b?c=d", "/a/b", Some("c=d")),
            ("/a?b?c", "/a", Some("b?c")),
            ("/a?", "/a", Some("")),
            ("/a://b/c", "/a://b/c", None),
            ("http://host:1/a?b", "/a", Some("b")),
            ("http://host?b", "/", Some("b")),
            ("*", "*", None),
        ] {
            assert_eq!(split_target(target), (path, query), "{target}");
        }
    }

    #[test]
    fn paths() {
        let decode = |path| decode_path(path).map(|segments| segments.join("|"));
        for (path, segments) in [
            ("/", ""),
            ("/uri/URI%3ADIR2%3Aab/caf%C3%A9", "uri|URI:DIR2:ab|café"),
            ("/a//b/", "a||b|"),
            ("/a%2Fb/../%2e%2E", "a/b|..|.."),
            ("/a+b%20c", "a+b c"),
        ] {
            assert_eq!(decode(path).as_deref(), Ok(segments), "{path}");
        }
        for path in ["/%", "/%2", "/%2g", "/%%41", "/a%", "/%+1"] {
            assert_eq!(decode(path), Err(PercentError::BadEscape), "{path}");
        }
        for path in ["/%ff", "/%c0%af", "/%ed%a0%80"] {
            assert_eq!(decode(path), Err(PercentError::NotUtf8), "{path}");
        }
    }

    #[test]
    fn queries() {
        let pairs = |list: &[(&str, &str)]| {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(
            parse_query("t=json&&q=a+b%2Bc&flag&=x&k=a=b"),
            Ok(pairs(&[("t", "json"), ("q", "a b+c"), ("flag", ""), ("", "x"), ("k", "a=b")]))
        );
        assert_eq!(parse_query(""), Ok(vec![]));
        assert_eq!(parse_query("a=%f"), Err(PercentError::BadEscape));
        assert_eq!(parse_query("a=%ff"), Err(PercentError::NotUtf8));
    }

    proptest! {
        #[test]
        fn segments_survive(segment in any::<String>()) {
            prop_assert_eq!(decode_segment(&encode_segment(&segment)), Ok(segment.clone()));
            let within = encode_segment_within(&segment);
            prop_assert!(!within.contains('/') && within.len() <= encode_segment(&segment).len());
            prop_assert_eq!(decode_segment(&within), Ok(segment));
        }

        #[test]
        fn queries_survive(pairs in proptest::collection::vec((any::<String>(), any::<String>()), 0..5)) {
            let query = encode_query(pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())));
            prop_assert_eq!(parse_query(&query), Ok(pairs));
        }

        #[test]
        fn agrees_with_form_urlencoded(query in "[a-c=&+%0-9]{0,30}") {
            if let Ok(pairs) = parse_query(&query) {
                let theirs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                prop_assert_eq!(pairs, theirs);
            }
        }
    }
}
