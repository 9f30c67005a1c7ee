//! What was made, what may be in it, and whether what a reader sees can be true.

use super::register::Register;
use crate::chance::content;
use std::collections::BTreeMap;
use tallac_core::capability::{Capability, DirectoryCap, LiteralCap, MutableCap};
use tallac_core::directory::{Child, DirectoryKind, Name, Outcome, Path, Table};
use tallac_core::drive::Place;

/// A directory or a file that was made, and what may be in it.
pub(super) struct Made {
    pub(super) cap: MutableCap,
    pub(super) what: Holds,
}

pub(super) enum Holds {
    /// For each name, the number of its child, or none.
    Names(BTreeMap<String, Register<Option<u64>>>),
    /// The number and length of the content.
    Content(Register<(u64, u64)>),
}

/// Bytes that must be nowhere, and what they are.
type Canary = (Vec<u8>, &'static str);

impl Made {
    /// What is in it: names, children, contents.
    pub(super) fn contents(&self) -> Vec<Canary> {
        let mut contents = Vec::new();
        match &self.what {
            Holds::Names(names) => {
                for (name, register) in names {
                    contents.push((name.split_once(' ').map_or(name.as_str(), |n| n.1).into(), "a name"));
                    let children = register.values().flatten();
                    contents.extend(children.map(|child| (child_text(*child).into_bytes(), "a child")));
                }
            }
            Holds::Content(register) => {
                let long = register.values().filter(|(_, len)| *len >= 64);
                contents.extend(long.map(|(seed, len)| (content(*seed, *len), "plaintext")));
            }
        }
        contents
    }

    /// The rights to it.
    pub(super) fn keys(&self) -> Vec<Canary> {
        let text = self.cap.to_string();
        let key =
            text.rsplit_once(':').and_then(|(rest, _)| rest.rsplit_once(':')).map_or("", |(_, key)| key);
        Vec::from([
            (self.cap.write_key.expose().to_vec(), "a write key"),
            (self.cap.read_cap().read_key.expose().to_vec(), "a read key"),
            (key.as_bytes().to_vec(), "a write capability"),
        ])
    }

    /// What is wrong with a table as it was read: what is in it was linked there; what was acknowledged
    /// is there, if that is to be judged.
    pub(super) fn judge_table(&self, table: &Table, judging: bool) -> Vec<String> {
        let Holds::Names(names) = &self.what else { return Vec::new() };
        let mut wrong = Vec::new();
        for (name, entry) in table.iter() {
            let child = entry.child.as_ref().ok().and_then(number_of);
            let known =
                child.is_some_and(|_| names.values().any(|of| of.values().any(|held| *held == child)));
            if !known || !names.contains_key(name.as_str()) {
                wrong.push("invented: an entry that nobody made".into());
            }
        }
        for (place, (name, register)) in names.iter().enumerate().filter(|_| judging) {
            let entry = table.get(&Name::new(name).expect("a good name"));
            let held = entry.and_then(|entry| number_of(entry.child.as_ref().ok()?));
            if !register.may_hold(&held) {
                let kind = if name.starts_with("own") { "its writer's own" } else { "shared" };
                let there = if held.is_some() { "is as it was before" } else { "is gone" };
                wrong.push(format!("lost: an acknowledged change: name {place} ({kind}) {there}"));
            }
        }
        wrong
    }

    /// What is wrong with how an edit of a name went, as its writer was told: what was there before was
    /// linked under that name, by whoever it was.
    pub(super) fn judge_outcome(&self, name: &str, outcome: &Outcome) -> Option<&'static str> {
        let Holds::Names(names) = &self.what else { return Some("an edit of what has no names") };
        let Outcome::Done { before: Some(before) } = outcome else { return None };
        let child = before.child.as_ref().ok().and_then(number_of);
        // By a rename anything that the directory had may come under a name.
        let held = |register: &Register<_>| register.values().any(|held| *held == child);
        let may_be = |register: &Register<_>| match register.holds_unknown() {
            true => names.values().any(held),
            false => held(register),
        };
        let known = child.is_some() && names.get(name).is_some_and(may_be);
        (!known).then_some("an edit replaced what nobody linked under its name")
    }

    /// What is wrong with the content of a file as it was read: it is that of one write, whole, and none
    /// that was acknowledged to be over, if that is to be judged.
    pub(super) fn judge_content(&self, bytes: &[u8], judging: bool) -> Option<String> {
        let Holds::Content(register) = &self.what else { return None };
        let is_of = |(seed, len): &&(u64, u64)| *len == bytes.len() as u64 && content(*seed, *len) == bytes;
        let mut possible = register.values().filter(is_of).peekable();
        if possible.peek().is_none() {
            return Some(format!("invented: {} bytes that nobody wrote", bytes.len()));
        }
        let is_over = judging && !possible.any(|value| register.may_hold(value));
        is_over.then(|| "lost: an acknowledged change".into())
    }
}

/// Text that is nowhere else, long enough for a canary.
pub(super) fn canary(seed: u64, number: u64) -> String {
    let bytes = content(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 12);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn place(cap: &MutableCap) -> Place {
    Place { start: Capability::Directory(DirectoryCap::Mutable(cap.clone())), path: Path::default() }
}

fn child_text(number: u64) -> String {
    format!("{number:016x}{}", canary(number, 2))
}

/// The content does not matter: a literal that tells which it is.
pub(super) fn child(number: u64) -> Child {
    let cap = LiteralCap::new(child_text(number).into_bytes()).expect("it is short").to_string();
    Child::new(None, Some(&cap), DirectoryKind::Mutable).expect("a good child")
}

fn number_of(child: &Child) -> Option<u64> {
    let Some(Capability::Literal(literal)) = child.capability() else { return None };
    let text = std::str::from_utf8(literal.data()).ok()?;
    let number = u64::from_str_radix(text.get(..16)?, 16).ok()?;
    (text == child_text(number)).then_some(number)
}
