//! Capabilities as text, between the command line, the node and files.

use crate::exit::{Failure, failed};
use anyhow::Result;
use std::fmt;
use std::io::Read;
use tallac_core::capability::{CAPABILITY_LEN_MAX, Capability};
use tallac_core::storage_index::StorageIndex;

/// The text of a capability. It is a key: `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CapText(String);

impl CapText {
    /// A capability that a person has given.
    ///
    /// # Errors
    /// If it is none. The error does not repeat it.
    pub(crate) fn parse(text: &str) -> Result<CapText> {
        match text.trim().parse::<Capability>() {
            // In its canonical form, so that two can be compared.
            Ok(cap) => Ok(CapText(cap.to_string())),
            Err(error) => Err(failed(Failure::Usage, format!("what was given is not a capability: {error}"))),
        }
    }

    /// A directory's capability that a person has given.
    pub(crate) fn parse_directory(text: &str) -> Result<CapText> {
        let cap = CapText::parse(text)?;
        if cap.is_directory() {
            return Ok(cap);
        }
        Err(failed(Failure::Usage, "the capability given is not that of a directory"))
    }

    /// A directory's capability from standard input.
    pub(crate) fn directory_from_stdin() -> Result<CapText> {
        CapText::parse_directory(&text_from_stdin()?)
    }

    /// A capability as the node has told it. Of which kind it is may not be known to this program.
    pub(crate) fn told(text: &str) -> CapText {
        CapText(text.trim().to_owned())
    }

    /// The text, for the node and for those who asked for it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.meaning().is_some_and(|cap| cap.is_directory())
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.meaning().is_some_and(|cap| cap.is_writable())
    }

    pub(crate) fn is_mutable(&self) -> bool {
        self.meaning().is_some_and(|cap| cap.is_mutable())
    }

    /// The same without the right to write; `None` if nobody knows how.
    pub(crate) fn read_only(&self) -> Option<CapText> {
        Some(CapText(self.meaning()?.read_only()?.to_string()))
    }

    /// What tells one directory or file from another, whatever rights a capability gives.
    pub(crate) fn storage_index(&self) -> Option<StorageIndex> {
        self.meaning()?.storage_index()
    }

    fn meaning(&self) -> Option<Capability> {
        self.0.parse().ok()
    }
}

impl fmt::Debug for CapText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CapText(..)")
    }
}

/// A capability, perhaps with a path, from standard input.
pub(crate) fn text_from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(2 * CAPABILITY_LEN_MAX as u64)
        .read_to_string(&mut text)
        .map_err(|error| failed(Failure::Usage, format!("standard input holds no capability: {error}")))?;
    Ok(text.trim().to_owned())
}

/// Takes what looks like a capability out of a text that is to be shown or kept.
pub(crate) fn without_capabilities(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("URI:").into_iter().chain(rest.find("URI%3A")).min() {
        out.push_str(&rest[..at]);
        out.push_str("URI:...");
        let key = &rest[at..];
        let end =
            key.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '%' | '-' | '_' | '+')));
        rest = &key[end.unwrap_or(key.len())..];
        // One that was taken out before.
        rest = rest.strip_prefix("...").unwrap_or(rest);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITERAL: &str = "URI:LIT:ifqweytdmqytemzuguzdgmjuge";

    #[test]
    fn capabilities_do_not_show() {
        let cap = CapText::parse(&format!(" {LITERAL}\n")).unwrap();
        assert_eq!(cap.expose(), LITERAL);
        assert!(!format!("{cap:?}").contains("LIT"));
        let error = CapText::parse("URI:CHK:secretsecret").unwrap_err().to_string();
        assert!(error.contains("not a capability") && !error.contains("secretsecret"), "{error}");
        assert!(CapText::parse_directory(LITERAL).unwrap_err().to_string().contains("directory"));
    }

    #[test]
    fn texts_lose_their_capabilities() {
        let check = |text: &str, expected: &str| assert_eq!(without_capabilities(text), expected);
        check("nothing here", "nothing here");
        check("no 'URI:DIR2:abc:def' there", "no 'URI:...' there");
        check("URI:.../x is not there", "URI:.../x is not there");
        check("/uri/URI%3ACHK%3Aabc/x and URI:LIT:", "/uri/URI:.../x and URI:...");
    }
}
