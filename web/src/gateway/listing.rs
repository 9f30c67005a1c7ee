//! A directory as a plain page to click through, until there are real ones.

use crate::http::percent::encode_segment;
use std::fmt::Write;
use tallac_core::directory::{ChildKind, Table};

/// What the page may do: nothing but be shown.
pub(super) const POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page. Links go on from `here`, the last part of the page's own address, which is empty if that
/// ends with a slash.
pub(super) fn page(here: &str, writable: bool, table: &Table) -> String {
    let base = if here.is_empty() { String::new() } else { format!("{}/", encode_segment(here)) };
    let mut out = String::with_capacity(512 + table.len() * 200);
    let rights = if writable { "can be changed" } else { "read-only here" };
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Directory</title>\n\
         <h1>Directory</h1>\n<p>{} entries, {rights}.</p>\n<ul>\n",
        table.len()
    );
    for (name, entry) in table.iter() {
        let kind = entry.child.as_ref().map_or(ChildKind::Unknown, |child| child.kind());
        let shown = escape(name.as_str());
        // With ./ no name can be taken for a scheme; no path can lead to an empty name or through dots.
        let link = encode_segment(name.as_str());
        let reachable = !matches!(name.as_str(), "" | "." | "..");
        let _ = match kind {
            ChildKind::Directory if reachable => {
                writeln!(out, "<li><a href=\"./{base}{link}/\">{shown}/</a></li>")
            }
            ChildKind::File if reachable => writeln!(out, "<li><a href=\"./{base}{link}\">{shown}</a></li>"),
            ChildKind::Directory | ChildKind::File | ChildKind::Unknown => writeln!(out, "<li>{shown}</li>"),
        };
    }
    out.push_str("</ul>\n</html>\n");
    out
}

/// The same for text of several lines.
pub(super) fn escape_lines(text: &str) -> String {
    text.lines().map(|line| escape(line) + "\n").collect()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What could turn the line around, or hide in it.
            control if control.is_control() || ('\u{202a}'..='\u{202e}').contains(&control) => {
                let _ = write!(out, "\u{fffd}");
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallac_core::capability::Capability;
    use tallac_core::directory::{Access, Child, DirectoryKind, Metadata, Name};

    /// Names are anybody's: none may become markup, a scheme, or a way out of the directory.
    #[test]
    fn hostile_names() {
        let child = |cap: &str| {
            let cap: Capability = cap.parse().expect("a capability");
            Child::of(cap, DirectoryKind::Mutable).expect("a child")
        };
        let names =
            ["<script>alert(1)", "javascript:alert(1)", "\"><img src=x>", "a\u{202e}gnp.exe", "?#", "%2e%2e"];
        let children = names
            .iter()
            .map(|name| (Name::new(name).expect("a name"), child("URI:LIT:me"), Metadata::default()));
        let table = Table::with_children(Access::Immutable, children).expect("a table");
        let page = page("URI:DIR2:a b", false, &table);
        let base = "<li><a href=\"./URI%3ADIR2%3Aa%20b/";
        for expected in [
            format!("{base}%3Cscript%3Ealert%281%29\">&lt;script&gt;alert(1)</a>"),
            format!("{base}javascript%3Aalert%281%29\">"),
            format!("{base}%22%3E%3Cimg%20src%3Dx%3E\">&quot;&gt;&lt;img src=x&gt;</a>"),
            format!("{base}%3F%23\">"),
            format!("{base}%252e%252e\">"),
        ] {
            assert!(page.contains(&expected), "{expected} in {page}");
        }
        assert!(!page.contains('\u{202e}') && !page.contains("<script") && !page.contains("<img"));
    }
}
