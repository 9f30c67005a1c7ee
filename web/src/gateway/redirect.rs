//! Where a browser is sent when something is done.
//!
//! Only to this node itself: an address elsewhere would make every form a way to strangers, and the
//! capability of what was stored could go there.

use super::refusal::Refusal;
use super::request::Args;
use crate::http::Headers;

/// What becomes of the answer to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WhenDone {
    /// It is told.
    Tell,
    /// The browser is sent to this address; `%(uri)s` in it stands for what was told.
    Go(String),
    /// The browser is sent to what was made.
    GoToResult,
    /// The browser is sent to this page, and told nothing else: what is told may be a capability.
    Page(String),
    /// The browser is sent to a page that shares what was made.
    PageOfResult,
    /// The script of a page is told that it is done.
    Script,
}

impl WhenDone {
    /// What the arguments say.
    ///
    /// # Errors
    /// If they lead elsewhere.
    pub(super) fn of(args: &Args, headers: &Headers) -> Result<WhenDone, Refusal> {
        match args.get("when_done").filter(|to| !to.is_empty()) {
            Some(to) if stays_here(to, headers.get_str("Host").unwrap_or_default()) => {
                Ok(WhenDone::Go(to.to_owned()))
            }
            Some(_) => Err(Refusal::bad("The argument when_done= must be an address of this node.")),
            None if args.is_true("redirect_to_result")? => Ok(WhenDone::GoToResult),
            None => Ok(WhenDone::Tell),
        }
    }
}

/// Whether an address, as browsers read it, is one of `host`.
pub(super) fn stays_here(to: &str, host: &str) -> bool {
    // Browsers drop line ends, and read a backslash as a slash.
    if !to.bytes().all(|byte| byte.is_ascii_graphic()) || to.contains('\\') {
        return false;
    }
    if let Some((scheme, rest)) = to.split_once("://")
        && ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return !host.is_empty() && authority.eq_ignore_ascii_case(host);
    }
    if to.starts_with("//") {
        return false;
    }
    // A colon before the first slash makes a scheme: `javascript:`, `data:`.
    let first = to.split(['/', '?', '#']).next().unwrap_or_default();
    !first.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_here() {
        for (to, here) in [
            ("/", true),
            (".", true),
            ("..", true),
            ("", true),
            ("?t=json", true),
            ("/uri/URI%3ADIR2%3Aa", true),
            ("/uri/%(uri)s", true),
            ("a/b:c", true),
            ("http://127.0.0.1:3456/x", true),
            ("HTTP://127.0.0.1:3456?x", true),
            ("http://127.0.0.1:3456", true),
            ("http://127.0.0.1:3457/", false),
            ("http://127.0.0.1:3456.evil.org/", false),
            ("http://127.0.0.1:3456@evil.org/", false),
            ("http:evil.org", false),
            ("https://127.0.0.1:3456/", true),
            ("https://evil.org/", false),
            ("//evil.org/", false),
            ("///evil.org/", false),
            ("/\\evil.org/", false),
            ("\\\\evil.org/", false),
            ("/\t/evil.org", false),
            (" //evil.org", false),
            ("javascript:alert(1)", false),
            ("URI:DIR2:a", false),
            ("/a\r\nSet-Cookie: x", false),
            ("/caf\u{e9}", false),
        ] {
            assert_eq!(stays_here(to, "127.0.0.1:3456"), here, "{to}");
        }
        assert!(!stays_here("http:///x", ""));
    }
}
