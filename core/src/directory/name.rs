//! The names of children, and paths made of them.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::limits::{DIRECTORY_NAME_LEN_MAX, DIRECTORY_NAME_READ_LEN_MAX, PATH_DEPTH_MAX};

/// The name of a child: text in the normal form NFC.
///
/// The peer normalises names whenever they go into a table or come out of one, so that what two
/// systems spell with different code points is one name; so do we. (Its tables of Unicode may be
/// older than ours; a name with a character that is new to one of the two may be normalised by the
/// other only. It is found all the same, because it is normalised again on reading.)
///
/// The peer takes any name. We create only names that every file system and every path can hold
/// ([`Name::new`]), but read, show, replace, rename and unlink whatever others have written
/// ([`Name::existing`]). Names sort by code point, as the peer sorts them in a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a name is not given to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameError {
    /// There is nothing in it.
    Empty,
    /// It is `.` or `..`, which mean something else in a path.
    Dots,
    /// It has a slash, which separates names in a path.
    Slash,
    /// It has a control character.
    Control,
    /// It is too long.
    TooLong {
        /// In bytes of UTF-8.
        len: usize,
        /// What would be allowed.
        len_max: usize,
    },
}

impl Name {
    /// A name for a new child.
    ///
    /// # Errors
    /// If it should not be created; see [`NameError`].
    pub fn new(text: &str) -> Result<Name, NameError> {
        let name = Name::existing(text)?;
        name.problem().map_or(Ok(name), Err)
    }

    /// A name as others may have written it, to look for a child.
    ///
    /// # Errors
    /// Only [`NameError::TooLong`], past [`DIRECTORY_NAME_READ_LEN_MAX`].
    pub fn existing(text: &str) -> Result<Name, NameError> {
        // Before the work of normalising, which may also make it up to three times as long.
        let len_max = DIRECTORY_NAME_READ_LEN_MAX;
        if text.len() > len_max {
            return Err(NameError::TooLong { len: text.len(), len_max });
        }
        Ok(Name(match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => text.to_owned(),
            IsNormalized::No | IsNormalized::Maybe => text.nfc().collect(),
        }))
    }

    /// Why no child would be given this name today; `None` for most names.
    pub fn problem(&self) -> Option<NameError> {
        let (text, len_max) = (self.as_str(), DIRECTORY_NAME_LEN_MAX);
        match text {
            "" => Some(NameError::Empty),
            "." | ".." => Some(NameError::Dots),
            _ if text.contains('/') => Some(NameError::Slash),
            _ if text.contains(char::is_control) => Some(NameError::Control),
            _ if text.len() > len_max => Some(NameError::TooLong { len: text.len(), len_max }),
            _ => None,
        }
    }

    /// The text, in NFC.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As a quoted string, so that a strange name cannot disturb the line it is shown in. Of a name that is
/// longer than anybody reads, only the beginning.
impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS_MAX: usize = 100;
        match self.as_str().char_indices().nth(CHARS_MAX) {
            None => fmt::Debug::fmt(self.as_str(), out),
            Some((end, _)) => write!(out, "{:?}…", &self.as_str()[..end]),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(out, "a name cannot be empty"),
            Self::Dots => write!(out, "a name cannot be \".\" or \"..\""),
            Self::Slash => write!(out, "a name cannot have a slash"),
            Self::Control => write!(out, "a name cannot have control characters"),
            Self::TooLong { len, len_max } => {
                write!(out, "a name of {len} bytes is longer than the {len_max} allowed")
            }
        }
    }
}

impl core::error::Error for NameError {}

/// The way from a directory to something below it: the names to follow, one after the other.
///
/// Splitting and decoding the text of a path is the caller's. Names that others have made
/// (`..` too) are followed like any name: they are looked up, they do not lead upwards.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Path(Vec<Name>);

/// Why some names are not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathError {
    /// One of the names is empty or too long.
    Name {
        /// Which, from 0.
        at: usize,
        /// What is wrong with it.
        problem: NameError,
    },
    /// There are more than [`PATH_DEPTH_MAX`] names.
    TooDeep,
}

impl Path {
    /// The path that follows `names`.
    ///
    /// # Errors
    /// If a name is empty or too long to exist, or there are too many.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Path, PathError> {
        let mut path = Vec::new();
        for (at, text) in names.into_iter().enumerate() {
            if at == PATH_DEPTH_MAX {
                return Err(PathError::TooDeep);
            }
            let name = if text.is_empty() { Err(NameError::Empty) } else { Name::existing(text) };
            path.push(name.map_err(|problem| PathError::Name { at, problem })?);
        }
        Ok(Path(path))
    }

    /// The names, outermost first.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// The way to the directory that holds the last name, and that name; `None` for the path
    /// without names, which is the directory itself.
    pub fn split_last(&self) -> Option<(&[Name], &Name)> {
        self.0.split_last().map(|(last, rest)| (rest, last))
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { at, problem } => write!(out, "part {} of the path: {problem}", at + 1),
            Self::TooDeep => write!(out, "a path of more than {PATH_DEPTH_MAX} names"),
        }
    }
}

impl core::error::Error for PathError {}
