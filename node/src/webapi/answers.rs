//! What the node tells about files and directories.

use super::Link;
use crate::drive::cap::CapText;
use crate::exit::{Failure, failed};
use anyhow::Result;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What something in the grid is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EntryKind {
    File,
    Directory,
    /// A kind that the node does not know.
    Unknown,
}

impl EntryKind {
    /// As the web API knows it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            EntryKind::File => "filenode",
            EntryKind::Directory => "dirnode",
            EntryKind::Unknown => "unknown",
        }
    }
}

/// A file or directory in the grid.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) write: Option<CapText>,
    pub(crate) read: Option<CapText>,
    pub(crate) mutable: bool,
    /// Bytes, if that is known without reading it.
    pub(crate) size: Option<u64>,
    /// When it was linked here first, in seconds since 1970.
    pub(crate) linked: Option<f64>,
    /// What is in it, by name, if this is a directory that was itself looked up.
    pub(crate) children: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Told(String, Details);

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    rw_uri: Option<String>,
    ro_uri: Option<String>,
    mutable: Option<bool>,
    /// The peer says "?" of what it does not know.
    size: serde_json::Value,
    metadata: serde_json::Value,
    children: BTreeMap<String, Told>,
}

impl Entry {
    /// Reads the node's JSON.
    pub(super) fn parse(text: &str) -> Result<Entry> {
        let told: Told = serde_json::from_str(text).map_err(|error| {
            failed(Failure::General, format!("the node's answer makes no sense: {error}"))
        })?;
        Ok(told.into())
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    /// The capability that allows most.
    pub(crate) fn best(&self) -> Option<&CapText> {
        self.write.as_ref().or(self.read.as_ref())
    }

    /// What links the same from elsewhere.
    pub(crate) fn to_link(&self) -> Link {
        Link { kind: self.kind, write: self.write.clone(), read: self.read.clone() }
    }
}

impl From<Told> for Entry {
    fn from(Told(kind, details): Told) -> Entry {
        let metadata = &details.metadata;
        let linked = [&metadata["tahoe"]["linkcrtime"], &metadata["ctime"]];
        Entry {
            kind: match kind.as_str() {
                "filenode" => EntryKind::File,
                "dirnode" => EntryKind::Directory,
                _ => EntryKind::Unknown,
            },
            write: details.rw_uri.as_deref().map(CapText::told),
            read: details.ro_uri.as_deref().map(CapText::told),
            mutable: details.mutable.unwrap_or(false),
            size: details.size.as_u64(),
            linked: linked.iter().find_map(|time| time.as_f64()),
            children: details.children.into_iter().map(|(name, told)| (name, told.into())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_is_read() {
        let text = r#"["dirnode", {"rw_uri": "URI:DIR2:a:b", "ro_uri": "URI:DIR2-RO:c:d", "mutable": true,
            "children": {
                "x": ["filenode", {"ro_uri": "URI:LIT:a", "size": 5, "mutable": false, "format": "CHK",
                      "metadata": {"ctime": 7, "tahoe": {"linkcrtime": 1.5}}}],
                "y": ["filenode", {"rw_uri": "URI:SSK:e:f", "ro_uri": "URI:SSK-RO:g:h", "size": "?"}],
                "z": ["unknown", {}]}}]"#;
        let entry = Entry::parse(text).unwrap();
        assert!(entry.is_directory() && entry.mutable && entry.linked.is_none());
        assert_eq!(entry.best().unwrap().expose(), "URI:DIR2:a:b");
        let [x, y, z] = ["x", "y", "z"].map(|name| &entry.children[name]);
        assert_eq!((x.size, x.linked, x.mutable), (Some(5), Some(1.5), false));
        assert_eq!((y.size, y.best().unwrap().expose()), (None, "URI:SSK:e:f"));
        assert!(z.kind == EntryKind::Unknown && z.best().is_none());
        for bad in ["", "{}", "[]", "[1, 2]", r#"["dirnode"]"#, r#"["dirnode", {"children": 5}]"#] {
            assert!(Entry::parse(bad).is_err(), "{bad}");
        }
    }
}
