//! What is told of a tree, as Tahoe-LAFS tells it: lines and documents in the form that Python gives them,
//! so that programs that compare texts find nothing new.

use super::node_json::push_ascii;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};
use std::io;
use tallac_core::capability::{Capability, DirectoryCap};
use tallac_core::directory::{Child, ChildKind, Name};
use tallac_core::drive::TreeStats;

/// Something in a tree.
pub(super) struct Thing<'a> {
    path: Vec<&'a str>,
    pub(super) kind: &'static str,
    /// Bytes of a file, if its capability tells.
    pub(super) bytes: Option<u64>,
    pub(super) cap: String,
    pub(super) verify: String,
    repair: String,
    pub(super) index: String,
}

impl<'a> Thing<'a> {
    /// A directory.
    pub(super) fn directory(path: &'a [Name], directory: &DirectoryCap) -> Thing<'a> {
        let cap = Capability::Directory(directory.clone());
        let path = path.iter().map(Name::as_str).collect();
        Thing::known(path, "directory", &cap)
    }

    /// What is in a directory under a name.
    pub(super) fn child(path: &'a [Name], name: &'a Name, child: &Child) -> Thing<'a> {
        let path: Vec<&str> = path.iter().chain([name]).map(Name::as_str).collect();
        match (child.capability(), child.kind()) {
            (Some(cap), ChildKind::Directory) => Thing::known(path, "directory", cap),
            (Some(cap), _) => Thing::known(path, "file", cap),
            (None, _) => {
                let cap = child.write_cap().or_else(|| child.read_cap());
                let cap = cap.map(|cap| cap.to_string()).unwrap_or_default();
                let (verify, repair, index) = Default::default();
                Thing { path, kind: "unknown", bytes: None, cap, verify, repair, index }
            }
        }
    }

    fn known(path: Vec<&'a str>, kind: &'static str, cap: &Capability) -> Thing<'a> {
        let verify = cap.verify_cap().map(|cap| cap.to_string()).unwrap_or_default();
        // Immutable files are repaired with what verifies them, mutable ones with what writes them.
        let repair = match cap {
            Capability::Chk(_) | Capability::ChkVerify(_) => verify.clone(),
            cap if cap.is_writable() => cap.to_string(),
            _ => String::new(),
        };
        let index = cap.storage_index().map(|index| index.to_string()).unwrap_or_default();
        let bytes = super::size_in(cap);
        Thing { path, kind, bytes, cap: cap.to_string(), verify, repair, index }
    }

    /// Its line in a manifest that is told as it comes.
    pub(super) fn line(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            path: &'a [&'a str],
            cap: &'a str,
            r#type: &'a str,
            verifycap: &'a str,
            repaircap: &'a str,
            #[serde(rename = "storage-index")]
            index: &'a str,
        }
        line(&Line {
            path: &self.path,
            cap: &self.cap,
            r#type: self.kind,
            verifycap: &self.verify,
            repaircap: &self.repair,
            index: &self.index,
        })
    }

    /// The way to it.
    pub(super) fn path(&self) -> Vec<String> {
        self.path.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// The sums over a tree, with the names that the peer gives them.
#[derive(Serialize, Clone)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Sums {
    api_version: u8,
    count_immutable_files: u64,
    count_mutable_files: u64,
    count_literal_files: u64,
    count_files: u64,
    count_directories: u64,
    count_unknown: u64,
    size_immutable_files: u64,
    size_literal_files: u64,
    size_directories: u64,
    largest_directory: u64,
    largest_directory_children: u64,
    largest_immutable_file: u64,
    size_files_histogram: Vec<(u64, u64, u64)>,
}

impl From<&TreeStats> for Sums {
    fn from(stats: &TreeStats) -> Sums {
        Sums {
            api_version: 1,
            count_immutable_files: stats.immutable_files,
            count_mutable_files: stats.mutable_files,
            count_literal_files: stats.literal_files,
            count_files: stats.files(),
            count_directories: stats.directories,
            count_unknown: stats.unknown,
            size_immutable_files: stats.size_immutable_files,
            size_literal_files: stats.size_literal_files,
            size_directories: stats.size_directories,
            largest_directory: stats.largest_directory,
            largest_directory_children: stats.largest_directory_children,
            largest_immutable_file: stats.largest_immutable_file,
            size_files_histogram: stats.sizes().collect(),
        }
    }
}

/// The last line of a manifest that is told as it comes.
pub(super) fn stats_line(stats: &TreeStats) -> String {
    #[derive(Serialize)]
    struct Line {
        r#type: &'static str,
        stats: Sums,
    }
    line(&Line { r#type: "stats", stats: stats.into() })
}

/// A value in a line of its own, spaced as Python does.
pub(super) fn line(value: &impl Serialize) -> String {
    let mut out = written(value, Spaced(CompactFormatter));
    out.push('\n');
    out
}

/// A value over several lines, as Python writes it with an indent of one.
pub(super) fn document(value: &impl Serialize) -> String {
    written(value, PrettyFormatter::with_indent(b" "))
}

fn written<F: Formatter>(value: &impl Serialize, formatter: F) -> String {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter)).expect("a value becomes JSON");
    let mut out = String::with_capacity(bytes.len());
    push_ascii(&mut out, &String::from_utf8(bytes).expect("JSON is UTF-8"));
    out
}

/// A blank after each comma and colon.
struct Spaced(CompactFormatter);

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.begin_array_value(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallac_core::directory::DirectoryKind;

    #[test]
    fn spaced_as_python_does() {
        let value = (vec!["a\"\u{e9}\u{1f600}"], 1, Vec::<u8>::new());
        assert_eq!(line(&value), "[[\"a\\\"\\u00e9\\ud83d\\ude00\"], 1, []]\n");
        assert_eq!(document(&(1, ["x"])), "[\n 1,\n [\n  \"x\"\n ]\n]");
    }

    #[test]
    fn a_literal_file_has_no_shares() {
        let child = Child::new(Some("URI:LIT:nbswy3dp"), None, DirectoryKind::Mutable).expect("a child");
        let (dir, name) = (Name::new("d").expect("a name"), Name::new("f").expect("a name"));
        assert_eq!(
            Thing::child(&[dir], &name, &child).line(),
            "{\"path\": [\"d\", \"f\"], \"cap\": \"URI:LIT:nbswy3dp\", \"type\": \"file\", \"verifycap\": \"\", \
             \"repaircap\": \"\", \"storage-index\": \"\"}\n"
        );
    }
}
