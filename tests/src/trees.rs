//! Trees of files, to be compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// All files below a directory with their content, by path; directories with a slash at the end.
pub fn tree(top: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(top.join(&directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = directory.join(entry.file_name());
            let text = path.to_str().expect("text").to_owned();
            if entry.path().is_dir() {
                found.insert(format!("{text}/"), Vec::new());
                waiting.push(path);
            } else {
                found.insert(text, fs::read(entry.path()).expect("a file"));
            }
        }
    }
    found
}

/// Panics unless two directories hold the same.
#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    let names = |tree: &BTreeMap<String, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, content) in &one {
        assert!(other[name] == *content, "{name:?} differs");
    }
}
