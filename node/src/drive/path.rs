//! Paths in the grid, as they stand on the command line.
//!
//! The rules are the peer's, so that habits and scripts carry over: a text that begins like a capability
//! is one, and a path may follow after `/` (or `:./`, an older form); else what stands before the first
//! colon is an alias, unless it has a slash; else the default counts, which is the personal drive, or for
//! `cp` this machine.

use super::cap::CapText;
use crate::exit::{Failure, failed};
use anyhow::Result;
use std::fmt;
use tallac_core::directory::Name;
use tallac_core::limits::PATH_DEPTH_MAX;

/// The name of the personal drive.
pub(crate) const PERSONAL: &str = "private";
/// The name of the drive that the grid shares.
pub(crate) const SHARED: &str = "global";

/// Where a path begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Root {
    /// The personal drive.
    Personal,
    /// The drive that the grid shares.
    Shared,
    /// The directory with this alias; in NFC.
    Alias(String),
    /// What a capability names.
    Cap(CapText),
}

/// A path in the grid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GridPath {
    /// Where it begins.
    pub(crate) root: Root,
    /// The names to follow from there.
    pub(crate) names: Vec<Name>,
    /// Whether it ends with a slash, and so means a directory.
    pub(crate) slash: bool,
}

impl GridPath {
    /// Reads a path. Without an alias it is in the personal drive.
    ///
    /// # Errors
    /// If it is a path nowhere: an empty name, a slash at the beginning, a capability that is none.
    pub(crate) fn parse(text: &str) -> Result<GridPath> {
        match GridPath::parse_unless_local(text)? {
            Some(path) => Ok(path),
            None => GridPath::from_root(Root::Personal, text, text),
        }
    }

    /// Reads a path for a command that also takes paths of this machine; `None` for one of those.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn parse_unless_local(text: &str) -> Result<Option<GridPath>> {
        // White space sticks to a capability that was copied from elsewhere. In a name it is the name's.
        let trimmed = text.trim();
        if begins_like_capability(trimmed) {
            let (cap, path) = match (trimmed.split_once(":./"), trimmed.split_once('/')) {
                (Some(parts), _) | (None, Some(parts)) => parts,
                (None, None) => (trimmed, ""),
            };
            return GridPath::from_root(
                Root::Cap(CapText::parse(cap)?),
                path,
                "the path after the capability",
            )
            .map(Some);
        }
        let Some((alias, path)) = text.split_once(':') else { return Ok(None) };
        if alias.contains('/') {
            return Ok(None);
        }
        let root = match alias {
            "" => {
                return Err(bad(
                    text,
                    "there is no alias before the colon; to name a file on this machine, begin with ./",
                ));
            }
            PERSONAL => Root::Personal,
            SHARED => Root::Shared,
            _ => Root::Alias(normal(alias)?),
        };
        GridPath::from_root(root, path, text).map(Some)
    }

    fn from_root(root: Root, path: &str, said: &str) -> Result<GridPath> {
        if path.starts_with('/') {
            return Err(bad(said, "a path in the grid does not begin with a slash"));
        }
        let (path, slash) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let mut names = Vec::new();
        for name in path.split('/').filter(|_| !path.is_empty()) {
            if name.is_empty() {
                return Err(bad(said, "a name in a path cannot be empty"));
            }
            if names.len() == PATH_DEPTH_MAX {
                return Err(bad(said, &format!("a path has at most {PATH_DEPTH_MAX} names")));
            }
            names.push(Name::existing(name).map_err(|error| bad(said, &error.to_string()))?);
        }
        Ok(GridPath { root, names, slash })
    }
}

/// As it is written, but for a capability, which is not shown.
impl fmt::Display for GridPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match &self.root {
            Root::Personal => f.write_str(PERSONAL).map(|()| ":"),
            Root::Shared => f.write_str(SHARED).map(|()| ":"),
            Root::Alias(name) => f.write_str(name).map(|()| ":"),
            Root::Cap(_) => f.write_str("URI:...").map(|()| if self.names.is_empty() { "" } else { "/" }),
        }?;
        f.write_str(separator)?;
        for (index, name) in self.names.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { "/" } else { "" }, shown(name.as_str()))?;
        }
        Ok(())
    }
}

/// A name as it is shown, in paths and lists: what could play with the terminal, or turn the order of
/// letters around so that a name looks like another, is escaped.
pub(crate) fn shown(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let escape =
        |c: char| if c.is_control() || turns(c) { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(escape).collect()
}

/// How the directory is said that something said so is in.
pub(super) fn above(said: &str) -> &str {
    match said.rfind(['/', ':']) {
        Some(at) if said[at..].starts_with('/') => &said[..at],
        Some(at) => &said[..=at],
        None => said,
    }
}

/// How something is said that is in what is said so.
pub(crate) fn below(said: &str, name: &str) -> String {
    let separator = if said.ends_with([':', '/']) { "" } else { "/" };
    format!("{said}{separator}{}", shown(name))
}

/// Whether a text begins as capabilities do. The marks are what the peer puts before those of kinds it
/// does not know.
pub(super) fn begins_like_capability(text: &str) -> bool {
    ["", "ro.", "imm."]
        .iter()
        .any(|mark| text.strip_prefix(mark).is_some_and(|rest| rest.starts_with("URI:")))
}

/// A name in NFC.
pub(super) fn normal(name: &str) -> Result<String> {
    let name = Name::existing(name).map_err(|error| failed(Failure::Usage, error.to_string()))?;
    Ok(name.as_str().to_owned())
}

fn bad(path: &str, why: &str) -> anyhow::Error {
    failed(Failure::Usage, format!("{}: {why}", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIRECTORY: &str = "URI:DIR2-LIT:ifqweytdmqytemzuguzdgmjuge";

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let path = GridPath::parse_unless_local(text).unwrap();
        let said = path.map(|path| {
            let names: Vec<String> = path.names.iter().map(|name| name.as_str().to_owned()).collect();
            let root = match &path.root {
                Root::Cap(cap) => cap.expose().to_owned(),
                root => format!("{root:?}"),
            };
            (root, format!("{}{}", names.join("|"), if path.slash { "|" } else { "" }))
        });
        assert_eq!(said, expected.map(|(root, names)| (root.to_owned(), names.to_owned())), "{text}");
    }

    #[test]
    fn what_is_here_and_what_is_there() {
        check("x", None);
        check("", None);
        check("./a:b", None);
        check("/a:b", None);
        check("dir/a:b", None);
        check("private:", Some(("Personal", "")));
        check("private:a/b", Some(("Personal", "a|b")));
        check("private:a/b/", Some(("Personal", "a|b|")));
        check("private: a: b ", Some(("Personal", " a: b ")));
        check("global:x", Some(("Shared", "x")));
        check("work:x", Some(("Alias(\"work\")", "x")));
        // NFD, as some systems write names.
        check("cafe\u{301}:cafe\u{301}", Some(("Alias(\"caf\u{e9}\")", "caf\u{e9}")));
        check(DIRECTORY, Some((DIRECTORY, "")));
        check(&format!(" {DIRECTORY}/a/b\n"), Some((DIRECTORY, "a|b")));
        check(&format!("{DIRECTORY}:./a:./b"), Some((DIRECTORY, "a:.|b")));
        check("ro.URI:FUTURE:x/y", Some(("ro.URI:FUTURE:x", "y")));
        check("imm.URI:FUTURE:x", Some(("imm.URI:FUTURE:x", "")));
    }

    #[test]
    fn paths_nowhere_are_refused() {
        let check = |text: &str, words: &str| {
            let error = GridPath::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        };
        check("/x", "begin with a slash");
        check("private:/x", "begin with a slash");
        check("a//b", "cannot be empty");
        check("private:a//", "cannot be empty");
        check(":x", "no alias before the colon");
        check("URI:CHK:nonsense/x", "not a capability");
        check(&"x/".repeat(PATH_DEPTH_MAX + 1), "at most");
    }

    #[test]
    fn a_capability_is_not_shown() {
        let path = GridPath::parse(&format!("{DIRECTORY}/a/b")).unwrap();
        assert_eq!(path.to_string(), "URI:.../a/b");
        assert_eq!(GridPath::parse(DIRECTORY).unwrap().to_string(), "URI:...");
        assert!(!format!("{path:?}").contains("ifqw"));
        assert_eq!(GridPath::parse("a\u{1b}[2J").unwrap().to_string(), "private:a\\u{1b}[2J");
    }

    #[test]
    fn names_that_would_look_like_others() {
        assert_eq!(shown("a\u{202e}gnp.exe"), "a\\u{202e}gnp.exe");
        assert_eq!(shown("naïve שלום"), "naïve שלום");
    }

    #[test]
    fn above_and_below() {
        assert_eq!(above("private:a/b"), "private:a");
        assert_eq!(above("private:a"), "private:");
        assert_eq!(above("URI:.../a"), "URI:...");
        assert_eq!(below("private:", "x"), "private:x");
        assert_eq!(below("private:a", "x"), "private:a/x");
        assert_eq!(below("URI:...", "x"), "URI:.../x");
    }

    fn name() -> impl Strategy<Value = String> {
        "[^/\\p{Cc}]{1,12}"
            .prop_filter("shown as it is", |name| shown(name) == *name)
            .prop_filter("in NFC", |name| Name::existing(name).is_ok_and(|n| n.as_str() == name))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            alias in "[a-z0-9_.+-]{1,10}",
            names in prop::collection::vec(name(), 0..5),
            slash: bool,
        ) {
            let root = match alias.as_str() {
                PERSONAL => Root::Personal,
                SHARED => Root::Shared,
                _ => Root::Alias(alias),
            };
            let names: Vec<Name> = names.iter().map(|name| Name::existing(name).unwrap()).collect();
            let path = GridPath { root, slash: slash && !names.is_empty(), names };
            let text = format!("{path}{}", if path.slash { "/" } else { "" });
            prop_assert_eq!(GridPath::parse(&text).unwrap(), path);
        }

        #[test]
        fn any_text_is_a_path_or_refused(text in "\\PC{0,40}") {
            let _ = GridPath::parse(&text);
            let _ = GridPath::parse_unless_local(&format!("URI:{text}"));
        }
    }
}
