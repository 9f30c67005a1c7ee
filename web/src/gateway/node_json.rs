//! Files and directories as JSON, with the keys of Tahoe-LAFS's `t=json`, and children read from it.
//!
//! The JSON is ASCII: programs print it as it is. Metadata goes through as the text it is.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt::{self, Write};
use tallac_core::capability::{Capability, DirectoryCap, Mark, MutableFormat};
use tallac_core::directory::{Child, ChildKind, DirectoryKind, Metadata, Name, Table};
use tallac_core::limits::DIRECTORY_ENTRIES_MAX;

use super::refusal::Refusal;

/// Bytes of the JSON of children to be set: 10,000 take about 6 MB.
pub(super) const CHILDREN_LEN_MAX: u64 = 64 * 1024 * 1024;

/// A directory with all that is in it.
pub(super) fn directory(cap: &DirectoryCap, table: &Table) -> String {
    // About what a child takes.
    let mut out = String::with_capacity(512 + table.len() * 700);
    out.push_str("[\"dirnode\", {\n \"children\": {");
    for (place, (name, entry)) in table.iter().enumerate() {
        out.push_str(if place > 0 { ",\n  " } else { "\n  " });
        push_string(&mut out, name.as_str());
        out.push_str(": ");
        match &entry.child {
            Ok(child) => push_child(&mut out, child, None, entry.metadata.as_ref().ok()),
            // It is there, but nothing of it can be used.
            Err(_) => {
                let mut members = Members::begin(&mut out, "unknown");
                members.metadata(entry.metadata.as_ref().ok());
                members.end();
            }
        }
    }
    out.push_str("\n },\n ");
    let cap = Capability::Directory(cap.clone());
    let mut members = Members { out: &mut out, first: true };
    members.caps(cap.is_writable().then(|| cap.clone()), cap.read_only(), cap.verify_cap());
    members.raw("mutable", if cap.is_mutable() { "true" } else { "false" });
    members.end();
    out.push('\n');
    out
}

/// A file, or something unknown. The size is that of a mutable file, if it is known.
pub(super) fn file(child: &Child, size: Option<u64>, metadata: Option<&Metadata>) -> String {
    let mut out = String::new();
    push_child(&mut out, child, size, metadata);
    out.push('\n');
    out
}

/// A capability of an unknown kind that somebody holds.
pub(super) fn unknown(cap: &Capability) -> String {
    let mut out = String::new();
    let mut members = Members::begin(&mut out, "unknown");
    if let Capability::Unknown(unknown) = cap
        && let Some(mark) = unknown.mark()
    {
        members.caps(None, Some(cap.clone()), None);
        if mark == Mark::Immutable {
            members.raw("mutable", "false");
        }
    }
    members.end();
    out.push('\n');
    out
}

/// The name of the format of a file, or of the file that a directory is kept in.
pub(crate) fn format_of(cap: &Capability) -> &'static str {
    match cap {
        Capability::Mutable(cap) => format_name(cap.format),
        Capability::MutableRead(cap) => format_name(cap.format),
        Capability::Directory(cap) => format_of(&cap.file()),
        _ => "CHK",
    }
}

/// The size that a capability holds.
pub(crate) fn size_in(cap: &Capability) -> Option<u64> {
    match cap {
        Capability::Literal(cap) => Some(cap.size()),
        Capability::Chk(cap) => Some(cap.size),
        _ => None,
    }
}

fn format_name(format: MutableFormat) -> &'static str {
    match format {
        MutableFormat::Sdmf => "SDMF",
        MutableFormat::Mdmf => "MDMF",
    }
}

fn push_child(out: &mut String, child: &Child, size: Option<u64>, metadata: Option<&Metadata>) {
    let mut members = Members::begin(
        out,
        match child.kind() {
            ChildKind::File => "filenode",
            ChildKind::Directory => "dirnode",
            ChildKind::Unknown => "unknown",
        },
    );
    if let Some(cap) = child.capability() {
        members.raw("mutable", if cap.is_mutable() { "true" } else { "false" });
        if !cap.is_directory() {
            members.text("format", format_of(cap));
            if let Some(size) = size.or_else(|| size_in(cap)) {
                members.raw("size", &size.to_string());
            }
        }
    }
    let verify = child.capability().and_then(Capability::verify_cap);
    members.caps(child.write_cap(), child.read_cap(), verify);
    members.metadata(metadata);
    members.end();
}

/// The members of an object that is being written, and the end of the pair that it is in.
struct Members<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Members<'a> {
    fn begin(out: &'a mut String, kind: &str) -> Members<'a> {
        let _ = write!(out, "[\"{kind}\", {{");
        Members { out, first: true }
    }

    fn raw(&mut self, key: &str, json: &str) {
        if !self.first {
            self.out.push_str(", ");
        }
        self.first = false;
        let _ = write!(self.out, "\"{key}\": ");
        push_ascii(self.out, json);
    }

    fn text(&mut self, key: &str, text: &str) {
        let mut json = String::new();
        push_string(&mut json, text);
        self.raw(key, &json);
    }

    fn caps(&mut self, write: Option<Capability>, read: Option<Capability>, verify: Option<Capability>) {
        for (key, cap) in [("rw_uri", write), ("ro_uri", read), ("verify_uri", verify)] {
            if let Some(cap) = cap {
                self.text(key, &cap.to_string());
            }
        }
    }

    fn metadata(&mut self, metadata: Option<&Metadata>) {
        if let Some(metadata) = metadata {
            self.raw("metadata", &metadata.to_json());
        }
    }

    fn end(self) {
        self.out.push_str("}]");
    }
}

fn push_string(out: &mut String, text: &str) {
    let quoted = serde_json::to_string(text).expect("a text becomes JSON");
    push_ascii(out, &quoted);
}

/// Copies JSON, writing what is not ASCII, or would disturb a terminal, as escapes. It stands in strings
/// only.
pub(super) fn push_ascii(out: &mut String, json: &str) {
    let mut units = [0; 2];
    for char in json.chars() {
        if char.is_ascii() && char != '\u{7f}' {
            out.push(char);
        } else {
            for unit in char.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// A child as a request describes it.
#[derive(Debug)]
pub(super) struct NewChild {
    pub(super) name: Name,
    pub(super) child: Child,
    /// `None` if nothing is said of it.
    pub(super) metadata: Option<Metadata>,
}

/// Reads an object of names and children, as `t=json` shows them.
///
/// # Errors
/// If it is something else, or a child does not go into a directory of this kind.
pub(super) fn read_children(json: &[u8], kind: DirectoryKind) -> Result<Vec<NewChild>, Refusal> {
    if json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let Described(children, too_many) = serde_json::from_slice(json).map_err(|error| {
        // What the parser says of the content may hold capabilities; where it is does not.
        let (line, column) = (error.line(), error.column());
        Refusal::bad(format!(
            "The children are not what GET ?t=json shows of them, {{\"name\": [type, {{...}}], ...}}; that shows \
             in line {line}, column {column}."
        ))
    })?;
    if too_many {
        let why = format!("These are too many children: a directory has at most {DIRECTORY_ENTRIES_MAX}.");
        return Err(Refusal::new(413, why));
    }
    children.into_iter().map(|(name, properties)| read_child(&name, &properties, kind)).collect()
}

fn read_child(name: &str, properties: &Properties, kind: DirectoryKind) -> Result<NewChild, Refusal> {
    let name = Name::existing(name).map_err(|problem| Refusal::of(400, &problem))?;
    let bad = |why: &dyn fmt::Display| Refusal::bad(format!("The child {name} cannot be linked: {why}."));
    let child = Child::new(properties.rw_uri.as_deref(), properties.ro_uri.as_deref(), kind);
    let child = child.map_err(|problem| bad(&problem))?;
    let metadata = properties.metadata.as_ref().map(|raw| Metadata::parse(raw.get())).transpose();
    Ok(NewChild { child, metadata: metadata.map_err(|problem| bad(&problem))?, name: name.clone() })
}

#[derive(Deserialize)]
struct Properties {
    rw_uri: Option<String>,
    ro_uri: Option<String>,
    metadata: Option<Box<RawValue>>,
}

/// In the order in which they are written; a name may come twice. Whether there are more than fit into a
/// directory: those are not kept, since each takes much more memory than text.
struct Described(Vec<(String, Properties)>, bool);

impl<'de> Deserialize<'de> for Described {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Described, D::Error> {
        struct Children;

        impl<'de> Visitor<'de> for Children {
            type Value = Described;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of children")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Described, A::Error> {
                let mut children = Vec::new();
                while let Some((name, (IgnoredAny, properties))) = map.next_entry()? {
                    if children.len() == DIRECTORY_ENTRIES_MAX {
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(Described(Vec::new(), true));
                    }
                    children.push((name, properties));
                }
                Ok(Described(children, false))
            }
        }

        deserializer.deserialize_map(Children)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tallac_core::directory::Access;

    fn table(children: Vec<NewChild>) -> Table {
        let children =
            children.into_iter().map(|new| (new.name, new.child, new.metadata.unwrap_or_default()));
        Table::with_children(Access::Immutable, children).expect("a table")
    }

    fn cap() -> DirectoryCap {
        match "URI:DIR2-LIT:".parse() {
            Ok(Capability::Directory(cap)) => cap,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn metadata_goes_through_as_it_is() {
        let packed = "{\"a\": NaN, \"b\": 1e2, \"c\": 123456789012345678901234567890, \"\u{e9}\": \"\u{1f600}\u{7f}\\ud800\"}";
        let fields =
            ["x", "URI:LIT:me", "", packed].map(|field| format!("{}:{field},", field.len())).concat();
        let entry = format!("{}:{fields},", fields.len());
        let table = Table::unpack(Bytes::from(entry), Access::Immutable).expect("a table");
        let json = directory(&cap(), &table);
        assert!(json.is_ascii() && !json.contains('\u{7f}'));
        let shown = "\"metadata\": {\"a\": NaN, \"b\": 1e2, \"c\": 123456789012345678901234567890, \"\\u00e9\": \"\\ud83d\\ude00\\u007f\\ud800\"}";
        assert!(json.contains(shown), "{json}");
    }

    #[test]
    fn what_is_shown_of_each_kind() {
        let show = |text: &str| -> Value {
            let child = Child::new(Some(text), None, DirectoryKind::Mutable).expect("a child");
            serde_json::from_str(&file(&child, None, None)).expect("JSON")
        };
        assert_eq!(
            show("URI:LIT:nbswy3dp"),
            json!(["filenode", {"mutable": false, "format": "CHK", "size": 5, "ro_uri": "URI:LIT:nbswy3dp"}])
        );
        assert_eq!(show("URI:DIR2-LIT:"), json!(["dirnode", {"mutable": false, "ro_uri": "URI:DIR2-LIT:"}]));
        assert_eq!(show("imm.x-new:1"), json!(["unknown", {"ro_uri": "imm.x-new:1"}]));
        let (a, b) = ("a".repeat(26), "a".repeat(52));
        let shown = show(&format!("URI:MDMF:{a}:{b}"));
        assert_eq!((&shown[1]["mutable"], &shown[1]["format"]), (&json!(true), &json!("MDMF")));
        assert!(shown[1]["ro_uri"].as_str().is_some_and(|cap| cap.starts_with("URI:MDMF-RO:")), "{shown}");
        assert!(shown[1]["verify_uri"].as_str().is_some_and(|cap| cap.starts_with("URI:MDMF-Verifier:")));
        let lone = |text: &str| unknown(&text.parse().expect("a capability"));
        assert_eq!(lone("x-new:1"), "[\"unknown\", {}]\n");
        assert_eq!(lone("imm.x-new:1"), "[\"unknown\", {\"ro_uri\": \"imm.x-new:1\", \"mutable\": false}]\n");
    }

    #[test]
    fn errors_tell_no_capability() {
        let secret = "URI:CHK:verysecret";
        for json in [
            format!("{{\"x\": [\"filenode\", {{\"ro_uri\": \"{secret}\"}}]}}"),
            format!("{{\"x\": [\"filenode\", {{\"ro_uri\": [\"{secret}\"]}}]}}"),
            format!("{{\"x\": [\"filenode\", \"{secret}\"]}}"),
            format!("[\"{secret}\"]"),
            format!("\"{secret}"),
        ] {
            let refusal = read_children(json.as_bytes(), DirectoryKind::Mutable).expect_err("it is wrong");
            assert_eq!(refusal.status, 400);
            assert!(!refusal.text.contains("verysecret"), "{}", refusal.text);
        }
    }

    #[test]
    fn more_children_than_a_directory_has() {
        let json = |count: usize| {
            let child = |number| format!("\"{number}\":[\"filenode\",{{\"ro_uri\":\"URI:LIT:\"}}]");
            format!("{{{}}}", (0..count).map(child).collect::<Vec<_>>().join(","))
        };
        let read = |count| read_children(json(count).as_bytes(), DirectoryKind::Mutable);
        assert_eq!(read(DIRECTORY_ENTRIES_MAX).expect("they fit").len(), DIRECTORY_ENTRIES_MAX);
        assert_eq!(read(DIRECTORY_ENTRIES_MAX + 1).expect_err("too many").status, 413);
    }

    proptest! {
        /// What is shown of a directory can be sent back.
        #[test]
        fn shown_and_read_again(
            names in proptest::collection::btree_set("[^/\\p{Cc}]{1,12}", 0..6),
            data in proptest::collection::vec(any::<u8>(), 0..40),
            metadata in "[a-z\u{e9}\"\\\\]{0,8}",
        ) {
            let cap = tallac_core::capability::LiteralCap::new(data).expect("short");
            let mut children = Vec::new();
            for name in names {
                let Ok(name) = Name::new(&name) else { continue };
                let child = Child::of(Capability::Literal(cap.clone()), DirectoryKind::Immutable).expect("a child");
                let metadata = Metadata::parse(&json!({"m": metadata}).to_string()).ok();
                if children.iter().all(|other: &NewChild| other.name != name) {
                    children.push(NewChild { name, child, metadata });
                }
            }
            let before = table(children);
            let shown: Value = serde_json::from_str(&directory(&self::cap(), &before)).expect("JSON");
            let again = shown[1]["children"].to_string();
            let after = table(read_children(again.as_bytes(), DirectoryKind::Immutable).expect("children"));
            prop_assert_eq!(before.len(), after.len());
            for (name, entry) in before.iter() {
                let other = after.get(name).expect("it is there");
                prop_assert!(entry.same_child(&other) && entry.same_metadata(&other), "{}", name);
            }
        }

        #[test]
        fn nothing_makes_it_panic(json in "[\\[\\]{}:,\"a-z0-9\\\\ ]{0,60}") {
            let _ = read_children(json.as_bytes(), DirectoryKind::Mutable);
        }
    }
}
