//! `tallac mkdir`, `unlink` and `share`.

use crate::cli::{Mkdir, Share, Unlink};
use crate::client::Interrupt;
use crate::drive::Drive;
use crate::exit::{Failure, failed};
use crate::output::print;
use anyhow::Result;
use std::path::Path;

pub(crate) fn mkdir(directory: &Path, args: &Mkdir) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let format = args.format.map(|format| format.name());
    let cap = match &args.path {
        None => drive.gateway.make_directory(format)?,
        Some(path) => {
            let place = drive.place_of(path)?;
            if place.names.is_empty() {
                return Err(failed(
                    Failure::Usage,
                    format!("{} is there already; name what to make in it", place.said),
                ));
            }
            place.check_creatable()?;
            drive.gateway.make_path(&place.root, &place.names, format)?
        }
    };
    print(cap.expose())
}

pub(crate) fn unlink(directory: &Path, args: &Unlink) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let place = drive.place_of(&args.path)?;
    if place.names.is_empty() {
        return Err(failed(
            Failure::Usage,
            format!(
                "{} is not in a directory; only a name in a directory can be taken out of it",
                place.said
            ),
        ));
    }
    place.check_writable()?;
    if drive.gateway.unlink(&place.root, &place.names)? { Ok(()) } else { Err(place.not_there()) }
}

pub(crate) fn share(directory: &Path, args: &Share) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let place = drive.place_of(&args.path)?;
    let entry = drive.found(&place)?;
    let what = if entry.is_directory() { "this directory and everything below it" } else { "this file" };
    let said = &place.said;
    let cap = if args.write {
        let cap = entry.write.as_ref().filter(|cap| cap.is_writable());
        let cap = cap.ok_or_else(|| {
            let why =
                if entry.mutable { "you can only read it" } else { "it can never be changed by anybody" };
            failed(Failure::Usage, format!("{said} cannot be shared for writing: {why}; leave --write off"))
        })?;
        eprintln!("Whoever has this capability can read and change {what}, and hand it on.");
        cap
    } else {
        let cap = entry.read.as_ref().filter(|cap| !cap.is_writable());
        let cap = cap.ok_or_else(|| {
            failed(
                Failure::General,
                format!("{said} cannot be shared: the node knows no capability that only reads it"),
            )
        })?;
        eprintln!("Whoever has this capability can read {what}, and hand it on.");
        cap
    };
    print(cap.expose())
}
