//! `tallac get`.

use crate::cli::Get;
use crate::client::Interrupt;
use crate::drive::cap::{CapText, text_from_stdin};
use crate::drive::{Drive, Place};
use crate::exit::{Failure, failed};
use crate::local_file::Part;
use crate::progress::Progress;
use crate::webapi::{EntryKind, Fetching};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use tallac_host::unix::Mode;

pub(crate) fn get(directory: &Path, args: &Get) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let place = if args.path == "-" { place_from_stdin(&drive)? } else { drive.place_of(&args.path)? };
    let cap = file_at(&drive, &place)?;
    let mut fetching = drive.gateway.fetch(&cap)?;
    let mut progress = Progress::new("fetching", fetching.len, args.quiet);
    match args.out.as_deref().filter(|out| out.as_os_str() != "-") {
        None => copy(&mut fetching, &mut std::io::stdout().lock(), &mut progress)?,
        Some(out) => to_file(&mut fetching, out, &mut progress)?,
    }
    progress.finish();
    Ok(())
}

/// What standard input names must be a capability: a word too few there is no name in the drive.
fn place_from_stdin(drive: &Drive) -> Result<Place> {
    let text = text_from_stdin()?;
    if !text.contains("URI:") {
        CapText::parse(&text)?;
    }
    drive.place_of(&text)
}

/// The capability of the file at a place.
fn file_at(drive: &Drive, place: &Place) -> Result<CapText> {
    let is_directory = || {
        failed(Failure::Usage, format!("{} is a directory; list it with ls, fetch it with cp -r", place.said))
    };
    if place.names.is_empty() {
        return if place.root.is_directory() { Err(is_directory()) } else { Ok(place.root.clone()) };
    }
    let entry = drive.found(place)?;
    match (entry.kind, entry.read.as_ref().or(entry.write.as_ref())) {
        (EntryKind::Directory, _) => Err(is_directory()),
        (EntryKind::File, Some(_)) if place.slash => {
            Err(failed(Failure::Usage, format!("{} is a file; leave the slash at the end off", place.said)))
        }
        (_, Some(cap)) => Ok(cap.clone()),
        (_, None) => {
            Err(failed(Failure::Usage, format!("the link {} leads to nothing that can be read", place.said)))
        }
    }
}

/// Writes beside the target and renames, so that a file under this name is always a whole one.
fn to_file(fetching: &mut Fetching, out: &Path, progress: &mut Progress) -> Result<()> {
    if out.is_dir() {
        return Err(failed(
            Failure::Usage,
            format!("{} is a directory; name the file to write", out.display()),
        ));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = std::fs::metadata(out).ok();
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        // A pipe or a device, such as /dev/null, takes what it is given.
        let mut file = File::options().write(true).open(out)?;
        return copy(fetching, &mut file, progress).with_context(|| format!("writing {}", out.display()));
    }
    let mut file = Part::new_in(parent, Mode::Usual)?;
    copy(fetching, &mut file, progress).with_context(|| format!("fetching {}", out.display()))?;
    file.finish(out, there.as_ref()).map(drop)
}

fn copy(fetching: &mut Fetching, out: &mut dyn Write, progress: &mut Progress) -> Result<()> {
    let mut done = 0;
    while let Some(bytes) = fetching.piece()? {
        out.write_all(&bytes)?;
        done += bytes.len() as u64;
        progress.at(done);
    }
    out.flush()?;
    Ok(())
}
