//! `tallac ls`.

use crate::cli::Ls;
use crate::client::Interrupt;
use crate::drive::path::shown;
use crate::drive::{Drive, Place};
use crate::output::print;
use crate::webapi::{Entry, EntryKind};
use anyhow::Result;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use std::path::Path;

pub(crate) fn ls(directory: &Path, args: &Ls) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let place = drive.place_of(&args.path)?;
    if args.json {
        let text = drive.gateway.look_up_text(&place.root, &place.names)?;
        return print(&text.ok_or_else(|| place.not_there())?);
    }
    let entry = drive.found(&place)?;
    let rows = listed(&entry, &place).into_iter().map(|(name, entry)| row(name, entry, args)).collect();
    let lines = aligned(rows);
    // Nothing at all for an empty directory.
    if lines.is_empty() { Ok(()) } else { print(&lines.join("\n")) }
}

/// The entries to list: what is in a directory, or a file itself.
fn listed<'a>(entry: &'a Entry, place: &'a Place) -> Vec<(&'a str, &'a Entry)> {
    if entry.is_directory() {
        return entry.children.iter().map(|(name, child)| (name.as_str(), child)).collect();
    }
    vec![(place.names.last().map_or("", |name| name.as_str()), entry)]
}

/// A cell of the list.
struct Cell {
    text: String,
    /// Numbers stand to the right.
    right: bool,
}

fn row(name: &str, entry: &Entry, args: &Ls) -> Vec<Cell> {
    let left = |text: String| Cell { text, right: false };
    let mut row = Vec::new();
    if args.long {
        row.push(left(rights(entry)));
        let size = match entry.kind {
            EntryKind::Directory => "-".to_owned(),
            _ => entry.size.map_or("?".to_owned(), |size| size.to_string()),
        };
        row.push(Cell { text: size, right: true });
        row.push(left(entry.linked.map_or("-".to_owned(), date)));
    }
    let mark = match entry.kind {
        _ if !args.classify => "",
        EntryKind::Directory => "/",
        EntryKind::File if entry.write.is_some() => "*",
        EntryKind::File => "",
        EntryKind::Unknown => "?",
    };
    row.push(left(format!("{}{mark}", shown(name))));
    let cap = |cap: Option<&crate::drive::cap::CapText>| left(cap.map_or("-", |cap| cap.expose()).to_owned());
    if args.uri {
        row.push(cap(entry.best()));
    }
    if args.readonly_uri {
        row.push(cap(entry.read.as_ref()));
    }
    row
}

/// Kind and rights, as the peer shows them: directory, readable, writable, listable.
fn rights(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::Directory => 'd',
        EntryKind::File => '-',
        EntryKind::Unknown => '?',
    };
    let letter = |is: bool, letter: char| if is { letter } else { '-' };
    [
        kind,
        letter(entry.read.is_some(), 'r'),
        letter(entry.write.is_some(), 'w'),
        letter(entry.is_directory(), 'x'),
    ]
    .iter()
    .collect()
}

/// The minute of a link, in the time zone of this machine.
fn date(seconds: f64) -> String {
    // A float is cut to the range of integers, and one that is no date is shown as unknown.
    let stamp = Timestamp::from_second(seconds as i64);
    stamp.map_or("?".to_owned(), |stamp| {
        ZonedDateTime::new(stamp, TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
    })
}

fn aligned(rows: Vec<Vec<Cell>>) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        widths.resize(row.len(), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let line = |row: &Vec<Cell>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(index, (cell, &width))| match cell.right {
            true => format!("{:>width$}", cell.text),
            // Nothing is filled up at the end of a line: a name may end with a space, too.
            false if index + 1 == row.len() => cell.text.clone(),
            false => format!("{:<width$}", cell.text),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let cell = |text: &str, right| Cell { text: text.into(), right };
        let rows = vec![
            vec![cell("-r--", false), cell("5", true), cell("a ", false)],
            vec![cell("drwx", false), cell("1000", true), cell("längerer", false)],
        ];
        assert_eq!(aligned(rows), ["-r--     5  a ", "drwx  1000  längerer"]);
        assert!(aligned(Vec::new()).is_empty());
    }

    #[test]
    fn dates_that_are_none() {
        assert_eq!(date(f64::NAN).len(), "1970-01-01 00:00".len());
        assert_eq!(date(1e300), "?");
        assert_eq!(date(-1e300), "?");
    }
}
