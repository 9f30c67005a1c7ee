//! Whether anything that servers hold or nodes complain of gives away what only the holders of a
//! capability may know: contents and keys are looked for as canaries.

use crate::{Grid, stand_in};
use std::collections::BTreeMap;
use tallac_core::capability::Capability;

/// Bytes of a canary that are compared.
const LEN: usize = 12;

/// Byte strings that must be nowhere.
struct Canaries {
    /// Which pairs of bytes one begins with, a bit each: most places are passed over with one look.
    begins: Vec<bool>,
    all: BTreeMap<[u8; LEN], &'static str>,
}

impl Canaries {
    fn new() -> Canaries {
        Canaries { begins: vec![false; 1 << 16], all: BTreeMap::new() }
    }

    fn add(&mut self, bytes: &[u8], what: &'static str) {
        if let Some(head) = bytes.first_chunk::<LEN>() {
            self.begins[usize::from(u16::from_le_bytes([head[0], head[1]]))] = true;
            self.all.insert(*head, what);
        }
    }

    fn find(&self, text: &[u8]) -> Option<&'static str> {
        text.windows(LEN).find_map(|window| {
            let begins = self.begins[usize::from(u16::from_le_bytes([window[0], window[1]]))];
            if begins { self.all.get(window).copied() } else { None }
        })
    }
}

/// What gives something away.
pub(super) fn betrayed(grid: &mut Grid) -> Option<String> {
    let mut canaries = Canaries::new();
    for file in grid.operations.files() {
        // Short contents are in literal capabilities, and too likely by chance.
        let content = stand_in::bytes_of(&file.content);
        canaries.add(&content, "plaintext");
        canaries.add(content.get(content.len() / 2..).unwrap_or_default(), "plaintext");
        if let Capability::Chk(cap) = &file.cap {
            canaries.add(cap.key.expose(), "a key");
            let text = file.cap.to_string();
            // The form of a key in a capability.
            canaries.add(text.strip_prefix("URI:CHK:").unwrap_or_default().as_bytes(), "a capability");
        }
    }
    for (bytes, what) in grid.changes.keys() {
        canaries.add(&bytes, what);
    }
    let complaints = grid.operations.complaints();
    let texts = complaints.iter().chain(grid.changes.complaints());
    if let Some((what, text)) =
        texts.into_iter().find_map(|text| Some((canaries.find(text.as_bytes())?, text)))
    {
        return Some(format!("betrayed: {what} is in a text: {text}"));
    }
    for (bytes, what) in grid.changes.contents() {
        canaries.add(&bytes, what);
    }
    for node in grid.servers.iter().chain(&grid.introducers).copied().collect::<Vec<_>>() {
        let disk = grid.world.disk(node);
        for (path, _) in disk.list() {
            let content = disk.content(path).expect("it is listed");
            if let Some(what) = canaries.find(&content) {
                return Some(format!("betrayed: {node:?} holds {what} in {path:?}"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_anywhere() {
        let mut canaries = Canaries::new();
        canaries.add(b"0123456789abcdef", "it");
        assert_eq!(canaries.find(b"0123456789ab"), Some("it"));
        assert_eq!(canaries.find(b"xx0123456789abxx"), Some("it"));
        assert_eq!(canaries.find(b"0123456789a"), None);
        assert_eq!(canaries.find(b""), None);
    }
}
