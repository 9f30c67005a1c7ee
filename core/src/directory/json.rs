//! Finds the values of a JSON object without changing them.
//!
//! Metadata belongs to whoever wrote it, so a value stays the text it was: `1e2` stays `1e2`, an
//! integer of 40 digits keeps them all, escapes stay escapes. That is why this is not a decoder but
//! a scanner, which checks the grammar and gives back pieces of its input. Like the peer's it takes
//! `NaN`, `Infinity` and `-Infinity`, which the peer also writes, and lone surrogates in escapes.

use alloc::string::String;
use alloc::vec::Vec;

use super::metadata::MetadataError;

/// How deep arrays and objects may lie in each other. (The peer stops at about a thousand.)
pub(super) const DEPTH_MAX: usize = 128;

/// A member of an object: the text of its key, with the quotes, and the text of its value.
pub(super) type Member<'a> = (&'a str, &'a str);

/// The members of the object that `text` is, in their order.
pub(super) fn members(text: &str) -> Result<Vec<Member<'_>>, MetadataError> {
    let mut scanner = Scanner { text, at: 0 };
    let mut members = Vec::new();
    scanner.space();
    if !scanner.eat(b'{') {
        return Err(MetadataError::NotAnObject);
    }
    scanner.space();
    if !scanner.eat(b'}') {
        loop {
            let key = scanner.key()?;
            let value = scanner.value()?;
            members.push((key, value));
            scanner.space();
            match scanner.next() {
                Some(b',') => {}
                Some(b'}') => break,
                _ => return Err(scanner.error()),
            }
        }
    }
    scanner.space();
    if scanner.at == text.len() { Ok(members) } else { Err(scanner.error()) }
}

/// Whether a JSON value counts as true where the peer asks: all but `false`, `null`, zero, and what
/// is empty.
pub(super) fn is_truthy(value: &str) -> bool {
    match value {
        "false" | "null" | "\"\"" => false,
        _ if value.starts_with(['[', '{']) => value[1..].trim_start().len() > 1,
        _ => value.parse::<f64>() != Ok(0.0),
    }
}

/// What a key means, for comparing it with the few keys we know; lone surrogates become U+FFFD.
pub(super) fn unescape(quoted: &str) -> String {
    let inner = &quoted[1..quoted.len() - 1];
    let mut units: Vec<u16> = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    let mut buffer = [0; 2];
    while let Some(next) = chars.next() {
        let meant = match next {
            '\\' => match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).unwrap_or(0xfffd));
                    continue;
                }
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => break,
            },
            plain => plain,
        };
        units.extend_from_slice(meant.encode_utf16(&mut buffer));
    }
    String::from_utf16_lossy(&units)
}

struct Scanner<'a> {
    text: &'a str,
    /// Always between two characters: only ASCII is ever stepped over alone, except in strings,
    /// which end with a quote.
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self) -> MetadataError {
        MetadataError::NotJson { at: self.at.min(self.text.len()) }
    }

    /// A key with its colon.
    fn key(&mut self) -> Result<&'a str, MetadataError> {
        self.space();
        let start = self.at;
        self.string()?;
        let key = &self.text[start..self.at];
        self.space();
        if self.eat(b':') { Ok(key) } else { Err(self.error()) }
    }

    /// Any value. Without recursion, so that nesting costs a byte for each level and no stack.
    fn value(&mut self) -> Result<&'a str, MetadataError> {
        self.space();
        let start = self.at;
        let mut open = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(opening @ (b'{' | b'[')) => {
                    // The metadata object itself is the first level.
                    if open.len() + 1 == DEPTH_MAX {
                        return Err(MetadataError::TooDeep);
                    }
                    self.at += 1;
                    self.space();
                    let closing = if opening == b'{' { b'}' } else { b']' };
                    if !self.eat(closing) {
                        open.push(closing);
                        if opening == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                _ => self.scalar()?,
            }
            // A value has ended; close what ends with it.
            loop {
                let Some(&closing) = open.last() else { return Ok(&self.text[start..self.at]) };
                self.space();
                match self.next() {
                    Some(b',') => {
                        if closing == b'}' {
                            self.key()?;
                        }
                        break;
                    }
                    Some(found) if found == closing => {
                        open.pop();
                    }
                    _ => return Err(self.error()),
                }
            }
        }
    }

    fn string(&mut self) -> Result<(), MetadataError> {
        if !self.eat(b'"') {
            return Err(self.error());
        }
        loop {
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => {
                        for _ in 0..4 {
                            if !self.next().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                                return Err(self.error());
                            }
                        }
                    }
                    _ => return Err(self.error()),
                },
                Some(0x20..) => {}
                Some(0..0x20) | None => return Err(self.error()),
            }
        }
    }

    /// A number or a word.
    fn scalar(&mut self) -> Result<(), MetadataError> {
        for word in ["true", "false", "null", "NaN", "Infinity", "-Infinity"] {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), MetadataError> {
        let start = self.at;
        while self.peek().is_some_and(|digit| digit.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.error()) }
    }
}
