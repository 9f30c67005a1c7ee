//! The page of a directory.

use super::figures::{Moment, size};
use super::{Crumb, Frame, shown};
use crate::gateway::size_in;
use crate::http::percent::encode_segment;
use askama::Template;
use std::cmp::Ordering;
use tallac_core::directory::{ChildKind, Table};

/// The page of a directory.
#[derive(Template)]
#[template(path = "directory.html")]
pub(crate) struct Directory {
    pub(crate) frame: Frame,
    pub(crate) crumbs: Vec<Crumb>,
    /// Its address.
    pub(crate) here: String,
    pub(crate) writable: bool,
    /// A newer version exists, but cannot be read.
    pub(crate) outdated: bool,
    pub(crate) columns: Vec<Column>,
    pub(crate) entries: Vec<Entry>,
}

/// The head of a column: a link that sorts by it.
pub(crate) struct Column {
    name: &'static str,
    class: &'static str,
    href: String,
    order: &'static str,
}

/// Something in the directory.
pub(crate) struct Entry {
    name: String,
    /// The name as it is sorted.
    key: String,
    /// Empty, if no address leads there.
    href: String,
    kind: &'static str,
    class: &'static str,
    is_file: bool,
    bytes: Option<u64>,
    size: String,
    seconds: f64,
    time: Option<Moment>,
}

/// By what the entries are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Order {
    by: By,
    descending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum By {
    #[default]
    Name,
    Kind,
    Size,
    Time,
}

const COLUMNS: [(By, &str, &str, &str); 4] = [
    (By::Name, "Name", "name", "name"),
    (By::Kind, "Type", "type", "type"),
    (By::Size, "Size", "size", "number"),
    (By::Time, "Changed", "time", "time"),
];

impl Order {
    /// What `sort=` says: a column, with a minus before it the other way round.
    pub(crate) fn parse(text: &str) -> Order {
        let descending = text.starts_with('-');
        let key = text.trim_start_matches('-');
        let by = COLUMNS.iter().find(|(_, _, name, _)| *name == key).map(|(by, ..)| *by).unwrap_or_default();
        Order { by, descending }
    }

    fn compare(self, a: &Entry, b: &Entry) -> Ordering {
        let ordering = match self.by {
            By::Name => a.is_file.cmp(&b.is_file),
            By::Kind => a.kind.cmp(b.kind),
            By::Size => a.bytes.cmp(&b.bytes),
            By::Time => a.seconds.total_cmp(&b.seconds),
        };
        let by_name = || a.key.cmp(&b.key);
        if self.by == By::Name {
            // Folders stay before files.
            return ordering.then_with(|| if self.descending { by_name().reverse() } else { by_name() });
        }
        (if self.descending { ordering.reverse() } else { ordering }).then_with(by_name)
    }
}

/// The heads of the columns.
pub(crate) fn columns(order: Order) -> Vec<Column> {
    COLUMNS
        .iter()
        .map(|(by, name, key, class)| {
            let current = *by == order.by;
            let minus = if current && !order.descending { "-" } else { "" };
            let sorted = match (current, order.descending) {
                (false, _) => "",
                (true, false) => "ascending",
                (true, true) => "descending",
            };
            Column { name, class, href: format!("?sort={minus}{key}"), order: sorted }
        })
        .collect()
}

/// The entries of a table, with links from an address that ends with a slash.
pub(crate) fn entries(table: &Table, order: Order) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(name, entry)| {
            let child = entry.child.as_ref().ok();
            let kind = child.map_or(ChildKind::Unknown, |child| child.kind());
            let cap = child.and_then(|child| child.capability());
            // No path can lead to an empty name or through dots.
            let reachable = kind != ChildKind::Unknown && !matches!(name.as_str(), "" | "." | "..");
            let bytes = cap.and_then(size_in);
            let changed = entry.metadata.as_ref().ok().and_then(|metadata| metadata.link_changed());
            let seconds = changed.and_then(|text| text.parse().ok()).unwrap_or(f64::NEG_INFINITY);
            let changes = cap.is_some_and(|cap| cap.is_mutable());
            let (kind, class, is_file) = match (kind, changes) {
                (ChildKind::Directory, true) => ("folder", "folder", false),
                (ChildKind::Directory, false) => ("folder that never changes", "folder", false),
                (ChildKind::File, true) => ("file that can change", "file", true),
                (ChildKind::File, false) => ("file", "file", true),
                (ChildKind::Unknown, _) => ("not known here", "file", false),
            };
            Entry {
                href: if reachable {
                    let within = if is_file { "" } else { "/" };
                    encode_segment(name.as_str()) + within
                } else {
                    String::new()
                },
                key: name.as_str().to_lowercase(),
                name: shown(name.as_str()),
                kind,
                class,
                is_file,
                bytes,
                size: bytes.map(size).unwrap_or_default(),
                seconds,
                time: Moment::at(seconds),
            }
        })
        .collect();
    entries.sort_by(|a, b| order.compare(a, b));
    entries
}

#[cfg(test)]
mod tests {
    use super::super::{PageKeys, render};
    use super::*;
    use tallac_core::capability::Capability;
    use tallac_core::directory::{Access, Child, DirectoryKind, Metadata, Name};

    fn table(names: &[&str]) -> Table {
        let children = names.iter().map(|name| {
            let cap: Capability = "URI:LIT:me".parse().expect("a capability");
            let child = Child::of(cap, DirectoryKind::Mutable).expect("a child");
            (Name::new(name).expect("a name"), child, Metadata::default())
        });
        Table::with_children(Access::Immutable, children).expect("a table")
    }

    fn page(table: &Table, order: Order) -> String {
        let here = "/drive/H".to_owned();
        render(&Directory {
            frame: Frame::new("A folder", "node", &PageKeys::new(&[0; 32])),
            crumbs: Vec::new(),
            writable: true,
            outdated: false,
            columns: columns(order),
            entries: entries(table, order),
            here,
        })
    }

    /// Names are anybody's: none may become markup, a scheme, or a way out of the directory.
    #[test]
    fn hostile_names() {
        let names = ["<script>alert(1)", "javascript:alert(1)", "\"><img src=x>", "a\u{202e}gnp.exe", "?#"];
        let page = page(&table(&names), Order::default());
        for expected in [
            "href=\"%3Cscript%3Ealert%281%29\"",
            "href=\"javascript%3Aalert%281%29\"",
            "href=\"%22%3E%3Cimg%20src%3Dx%3E\"",
            "href=\"%3F%23\"",
            "a\u{fffd}gnp.exe",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
        assert!(!page.contains('\u{202e}') && !page.contains("<script>") && !page.contains("<img src=x"));
    }

    #[test]
    fn sorted_as_asked() {
        let table = table(&["b", "A", "c"]);
        let names = |text: &str| -> String {
            entries(&table, Order::parse(text)).iter().map(|entry| entry.name.as_str()).collect()
        };
        assert_eq!(names(""), "Abc");
        assert_eq!(names("-name"), "cbA");
        assert_eq!(names("nonsense"), "Abc");
        let page = page(&table, Order::parse("-size"));
        assert!(page.contains("aria-sort=\"descending\"><a href=\"?sort=size\">"), "{page}");
    }
}
