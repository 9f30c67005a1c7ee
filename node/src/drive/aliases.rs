//! `private/aliases`: names for directories.
//!
//! The file is the peer's, so that it can be carried over: lines of `NAME: CAPABILITY` in UTF-8; lines
//! that begin with `#` and empty ones are skipped; of two lines with one name the last counts. What is
//! there stays as it is, comments and order too; new lines go to the end.

use super::cap::CapText;
use super::path::{PERSONAL, SHARED, begins_like_capability, normal};
use super::roots;
use crate::exit::{Failure, failed};
use crate::secrets;
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FILE: &str = "aliases";
/// Most bytes of the file that are looked at.
const LEN_MAX: u64 = 16 * 1024 * 1024;
/// Most bytes of a new alias.
const NAME_LEN_MAX: usize = 255;

/// The aliases of a node directory.
pub(crate) struct Aliases {
    path: PathBuf,
    text: String,
    /// Names in NFC, with what stands behind them, in the order of the file.
    entries: Vec<(String, String)>,
}

impl Aliases {
    /// Reads them. A directory without the file has none.
    ///
    /// # Errors
    /// If the file cannot be read or a line is none of its format.
    pub(crate) fn read(directory: &Path) -> Result<Aliases> {
        let path = directory.join("private").join(FILE);
        let text = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LEN_MAX => {
                return Err(failed(Failure::Usage, format!("{} is far too long", path.display())));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Ok(_) | Err(_) => {
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?
            }
        };
        let mut entries: Vec<(String, String)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, cap)) = line.split_once(':') else {
                let problem = "an alias is written NAME: CAPABILITY, and there is no colon";
                return Err(failed(
                    Failure::Usage,
                    format!("{}, line {}: {problem}", path.display(), index + 1),
                ));
            };
            let name = normal(name.trim())?;
            entries.retain(|(other, _)| *other != name);
            entries.push((name, cap.trim().to_owned()));
        }
        Ok(Aliases { path, text, entries })
    }

    /// The directory that has an alias.
    ///
    /// # Errors
    /// If none has, or what it names is no directory.
    pub(crate) fn directory(&self, name: &str) -> Result<CapText> {
        let cap = self.entries.iter().find(|(other, _)| other == name).map(|(_, cap)| cap);
        let cap = cap.ok_or_else(|| {
            failed(
                Failure::Usage,
                format!(
                    "there is no alias {name:?}; make one with `tallac create-alias {name}`, give one with \
                     `tallac add-alias {name} CAPABILITY`, and if a file on this machine was meant, write \
                     ./{name}:..."
                ),
            )
        })?;
        CapText::parse_directory(cap).map_err(|error| {
            failed(Failure::Usage, format!("the alias {name:?} in {}: {error}", self.path.display()))
        })
    }

    /// All of them by name, each with its directory if it names one.
    pub(crate) fn all(&self) -> Vec<(&str, Result<CapText>)> {
        let mut all: Vec<_> =
            self.entries.iter().map(|(name, cap)| (name.as_str(), CapText::parse_directory(cap))).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// A name that a new alias can have, as it is kept. A colon at its end is how it is used and not part
    /// of it.
    ///
    /// # Errors
    /// If the name is taken, means something else, or could not be written in a path.
    pub(crate) fn new_name(&self, given: &str) -> Result<String> {
        let name = normal(given.strip_suffix(':').unwrap_or(given))?;
        let bad = |why: &str| Err(failed(Failure::Usage, format!("{name:?} cannot be an alias: {why}")));
        match name.as_str() {
            "" => bad("it is empty"),
            PERSONAL => bad("it is the name of your personal drive"),
            SHARED => bad("it is the name of the grid's shared drive"),
            _ if name.len() > NAME_LEN_MAX => bad("it is too long"),
            _ if name.contains([':', '/']) => bad("it has a colon or a slash"),
            _ if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                bad("it has white space or control characters")
            }
            _ if name.starts_with('#') => bad("lines of the file with a # at their beginning are comments"),
            _ if name.starts_with('-') => bad("it would be taken for an option"),
            _ if begins_like_capability(&format!("{name}:")) => bad("capabilities begin so"),
            _ if self.entries.iter().any(|(other, _)| *other == name) => {
                bad("there is one of this name already")
            }
            _ => Ok(name),
        }
    }
}

/// Adds an alias, unless there is one of this name.
///
/// # Errors
/// As [`Aliases::new_name`], and if the file cannot be written.
pub(crate) fn add(directory: &Path, name: &str, cap: &CapText) -> Result<String> {
    // Whoever else adds one now waits, so that neither is lost.
    let _lock = roots::lock(directory)?;
    let aliases = Aliases::read(directory)?;
    let name = aliases.new_name(name)?;
    let mut text = aliases.text;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("{name}: {}\n", cap.expose()));
    secrets::write_private(&aliases.path, &text)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    const CAP: &str = "URI:DIR2-LIT:ifqweytdmqytemzuguzdgmjuge";

    fn with(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("private")).unwrap();
        let path = dir.path().join("private/aliases");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn files_of_the_peer_are_read_and_kept() {
        let text = format!("# mine\n\n work : {CAP} \nfile: URI:LIT:krugkidfnzsa\nb:{CAP}\nwork: {CAP}");
        let (dir, path) = with(&text);
        let aliases = Aliases::read(dir.path()).unwrap();
        assert_eq!(aliases.directory("work").unwrap().expose(), CAP);
        assert_eq!(aliases.directory("b").unwrap().expose(), CAP);
        let error = aliases.directory("file").unwrap_err().to_string();
        assert!(error.contains("not that of a directory") && !error.contains("krug"), "{error}");
        assert!(aliases.directory("c").unwrap_err().to_string().contains("no alias \"c\""));
        let names: Vec<&str> = aliases.all().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["b", "file", "work"]);
        assert_eq!(add(dir.path(), "neu:", &CapText::parse(CAP).unwrap()).unwrap(), "neu");
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}\nneu: {CAP}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn bad_lines_are_named_without_what_they_hold() {
        let (dir, _) = with("a: x\nsecret without colon\n");
        let error = Aliases::read(dir.path()).err().unwrap().to_string();
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn names_that_cannot_be() {
        let (dir, _) = with(&format!("taken: {CAP}\n"));
        let aliases = Aliases::read(dir.path()).unwrap();
        let long = "x".repeat(256);
        for name in [
            "", ":", "private", "global", "global:", "taken", "a b", "a:b", "a/b", "#a", "-a", "URI",
            "ro.URI", "imm.URI", "a\nb", &long,
        ] {
            assert!(aliases.new_name(name).is_err(), "{name:?}");
        }
        assert_eq!(aliases.new_name("cafe\u{301}:").unwrap(), "caf\u{e9}");
    }

    #[test]
    fn many_at_once_are_all_kept() {
        let (dir, _) = with("");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let dir = dir.path();
                scope.spawn(move || {
                    let cap = CapText::parse(CAP).unwrap();
                    (0..10).for_each(|index| drop(add(dir, &format!("a{writer}-{index}"), &cap).unwrap()));
                });
            }
        });
        assert_eq!(Aliases::read(dir.path()).unwrap().all().len(), 40);
    }

    proptest! {
        #[test]
        fn what_is_added_is_found(names in prop::collection::btree_set("\\PC{1,20}", 0..6)) {
            let (dir, _) = with("# a comment\n");
            let cap = CapText::parse(CAP).unwrap();
            for name in names {
                let Ok(name) = add(dir.path(), &name, &cap) else { continue };
                let path = super::super::path::GridPath::parse(&format!("{name}:x")).unwrap();
                prop_assert_eq!(path.root, super::super::path::Root::Alias(name.clone()));
                prop_assert_eq!(Aliases::read(dir.path()).unwrap().directory(&name).unwrap(), cap.clone());
            }
        }
    }
}
