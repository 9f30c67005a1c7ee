//! The page of all that is in a tree. It may be long, so it is made in pieces: what stands before the rows,
//! each row, the sums.

use super::figures::size;
use super::{Crumb, Frame, render, shown};
use askama::Template;
use tallac_core::drive::TreeStats;

/// Where the rows go, and the sums.
const ROWS: &str = "<!--rows-->";
const SUMS: &str = "<!--sums-->";

#[derive(Template)]
#[template(path = "manifest.html")]
struct Page {
    frame: Frame,
    crumbs: Vec<Crumb>,
    here: String,
    rows: &'static str,
    sums: &'static str,
}

/// The page around what is found.
pub(crate) struct Around {
    /// What stands before the rows.
    pub(crate) before: String,
    /// What stands between the rows and the sums.
    between: String,
    after: String,
}

impl Around {
    pub(crate) fn new(frame: Frame, crumbs: Vec<Crumb>, here: String) -> Around {
        let page = render(&Page { frame, crumbs, here, rows: ROWS, sums: SUMS });
        // Nothing that is put into a page can hold the marks: < is escaped.
        let (before, rest) = page.split_once(ROWS).unwrap_or_default();
        let (between, after) = rest.split_once(SUMS).unwrap_or_default();
        Around { before: before.into(), between: between.into(), after: after.into() }
    }

    /// The end of the page: the sums, or why there are none.
    pub(crate) fn end(&self, result: Result<&TreeStats, &str>) -> String {
        let (problem, sums) = match result {
            Ok(stats) => (String::new(), sums(stats)),
            Err(problem) => (problem.to_owned(), Vec::new()),
        };
        format!("{}{}{}", self.between, render(&Sums { problem, sums }), self.after)
    }
}

/// Something that was found.
#[derive(Template)]
#[template(path = "manifest_row.html")]
pub(crate) struct Row {
    name: String,
    /// Empty, if no address leads there.
    href: String,
    kind: &'static str,
    size: String,
    index: String,
}

impl Row {
    pub(crate) fn new(
        names: &[&str],
        href: String,
        kind: &'static str,
        bytes: Option<u64>,
        index: &str,
    ) -> Row {
        let name = if names.is_empty() { "(the folder itself)".into() } else { shown(&names.join("/")) };
        Row { name, href, kind, size: bytes.map(size).unwrap_or_default(), index: index.to_owned() }
    }
}

#[derive(Template)]
#[template(path = "manifest_sums.html")]
struct Sums {
    problem: String,
    sums: Vec<(&'static str, String)>,
}

fn sums(stats: &TreeStats) -> Vec<(&'static str, String)> {
    vec![
        ("Folders", stats.directories.to_string()),
        ("Files", stats.files().to_string()),
        ("of these, files that can change", stats.mutable_files.to_string()),
        ("Of kinds that are not known here", stats.unknown.to_string()),
        ("Size of the files that never change", size(stats.size_immutable_files)),
        ("Size of the folders", size(stats.size_directories)),
        ("Largest file", size(stats.largest_immutable_file)),
        ("Most entries in a folder", stats.largest_directory_children.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::PageKeys;

    #[test]
    fn a_page_in_pieces_is_a_page() {
        let frame = Frame::new("<!--rows-->", "n", &PageKeys::new(&[1; 32]));
        let around = Around::new(frame, Vec::new(), "/drive/H".into());
        let row = Row::new(&["a", "<b>"], String::new(), "file", Some(5), "abc");
        let page = format!("{}{}{}", around.before, render(&row), around.end(Ok(&TreeStats::default())));
        assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
        assert_eq!(page.matches("</table>").count(), 1);
        assert!(page.contains("a/&#60;b&#62;") && page.contains("&#60;!--rows--&#62;"), "{page}");
        let broken = around.end(Err("The tree is too deep."));
        assert!(broken.contains("The tree is too deep.") && broken.trim_end().ends_with("</html>"));
    }
}
