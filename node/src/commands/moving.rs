//! `tallac mv` and `ln`.

use crate::cli::{Ln, Mv};
use crate::client::Interrupt;
use crate::drive::cap::CapText;
use crate::drive::{Drive, Place};
use crate::exit::{Failure, failed};
use crate::webapi::Entry;
use anyhow::Result;
use std::path::Path;
use tallac_core::directory::Name;

pub(crate) fn ln(directory: &Path, args: &Ln) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let (from, to) = places(&drive, &args.from, &args.to)?;
    let cap = linked(&drive.found(&from)?, &from)?;
    if drive.gateway.link(&to.root, &to.names, &cap)? { Ok(()) } else { Err(taken(&to)) }
}

pub(crate) fn mv(directory: &Path, args: &Mv) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let (from, to) = places(&drive, &args.from, &args.to)?;
    let Some((above, name)) = from.split_last() else {
        return Err(failed(
            Failure::Usage,
            format!("{} is not in a directory; to link it, use ln", from.said),
        ));
    };
    if from.root == to.root && from.names == to.names {
        // A gateway might link it where it is and then remove it.
        return drive.found(&from).map(drop);
    }
    from.check_writable()?;
    let entry = drive.found(&from)?;
    let (to_above, to_name) = to.split_last().ok_or_else(|| taken(&to))?;
    if entry.is_directory() {
        refuse_into_itself(&drive, &entry, &from, &to_above)?;
    }
    // The peer cuts white space off these names, so it is told about them in two steps.
    let plain = |name: &Name| name.as_str().trim() == name.as_str();
    let moved = if plain(name) && plain(to_name) {
        let to_directory = directory_at(&drive, &to_above)?;
        drive.gateway.relink((&above.root, &above.names), name, &to_directory, to_name)?
    } else {
        let cap = linked(&entry, &from)?;
        let moved = drive.gateway.link(&to.root, &to.names, &cap)?;
        if moved {
            drive.gateway.unlink(&from.root, &from.names)?;
        }
        moved
    };
    if moved { Ok(()) } else { Err(taken(&to)) }
}

/// Where something is taken from and goes to. A slash at the end of the second asks for the first's name.
fn places(drive: &Drive, from: &str, to: &str) -> Result<(Place, Place)> {
    let (from, mut to) = (drive.place_of(from)?, drive.place_of(to)?);
    if to.slash || to.names.is_empty() {
        let Some(name) = from.names.last() else {
            return Err(failed(
                Failure::Usage,
                format!("{} has no name of its own; say what it is to be called in {}", from.said, to.said),
            ));
        };
        to = to.child(name);
    }
    to.check_creatable()?;
    Ok((from, to))
}

/// What links an entry from elsewhere.
fn linked(entry: &Entry, from: &Place) -> Result<CapText> {
    entry.best().cloned().ok_or_else(|| {
        failed(
            Failure::Usage,
            format!("{} is of a kind that this node does not know and has no capability", from.said),
        )
    })
}

/// A directory that is in itself could not be found from anywhere else.
fn refuse_into_itself(drive: &Drive, entry: &Entry, from: &Place, to_above: &Place) -> Result<()> {
    let own = entry.best().and_then(CapText::storage_index);
    for len in 0..=to_above.names.len() {
        let is_it = if len == 0 {
            to_above.root.storage_index() == own
        } else {
            let above = drive.gateway.look_up(&to_above.root, &to_above.names[..len])?;
            let Some(above) = above else { break };
            above.best().and_then(CapText::storage_index) == own
        };
        if own.is_some() && is_it {
            return Err(failed(Failure::Usage, format!("{} cannot be moved into itself", from.said)));
        }
    }
    Ok(())
}

/// The capability of a directory, made first if it is not there.
fn directory_at(drive: &Drive, place: &Place) -> Result<CapText> {
    if place.names.is_empty() {
        return Ok(place.root.clone());
    }
    match drive.gateway.look_up(&place.root, &place.names)? {
        None => drive.gateway.make_path(&place.root, &place.names, None),
        Some(entry) => match entry.best() {
            Some(cap) if entry.is_directory() => Ok(cap.clone()),
            _ => Err(failed(Failure::Usage, format!("{} is no directory", place.said))),
        },
    }
}

fn taken(to: &Place) -> anyhow::Error {
    failed(
        Failure::Usage,
        format!(
            "{} is a directory that is there already; to put it in there, end the path with a slash",
            to.said
        ),
    )
}
