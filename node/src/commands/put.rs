//! `tallac put`.

use crate::cli::{FileFormat, Put};
use crate::client::{Interrupt, NodeUrl};
use crate::drive::Drive;
use crate::exit::{Failure, failed};
use crate::output::print;
use crate::progress::Progress;
use crate::secrets;
use crate::webapi::{Stored, Upload, target};
use anyhow::Result;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tallac_core::base32;
use tallac_core::directory::Name;
use tallac_host::unix::{self, FileState};
use tallac_web::http::percent::encode_query;

const ASK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn put(directory: &Path, args: &Put) -> Result<()> {
    let Input { mut source, len, file } = open(&args.file)?;
    // A read from a pipe or a terminal may wait for ever; there an interrupt just ends the program,
    // and the node forgets the upload when its connection is gone.
    let interrupt = if len.is_some() { Interrupt::on_signals() } else { Interrupt::default() };
    let drive = Drive::open(directory, interrupt.clone())?;
    let handle = base32::encode(&secrets::random::<10>()?);
    let target = where_to(&drive, args, &handle)?;

    let over = AtomicBool::new(false);
    let Stored { cap, placement, survives } = std::thread::scope(|scope| {
        // What the servers have confirmed is asked for beside the upload, not guessed from it.
        scope.spawn(|| watch(drive.gateway.node(), &handle, len, args.quiet, &over, &interrupt));
        let upload = Upload {
            source: &mut source,
            said: args.file.display().to_string(),
            len,
            moved: &|_| {},
            still_good: &|| file.as_ref().map_or(Ok(()), Rest::check),
        };
        let stored = drive.gateway.store(&target, upload);
        over.store(true, Ordering::Relaxed);
        stored
    })?;
    if args.json {
        let cap = cap.expose();
        return print(&serde_json::json!({ "cap": cap, "placement": placement, "survives": survives }));
    }
    if let (Some(placement), false) = (&placement, args.quiet) {
        eprintln!("stored: {placement}");
    }
    print(cap.expose())
}

/// The target of the request that stores the file.
fn where_to(drive: &Drive, args: &Put, handle: &str) -> Result<String> {
    let format = match (args.mutable, args.format) {
        (true, Some(FileFormat::Chk)) => {
            let why = "a file in the format chk can never be changed: leave out --mutable or --format=chk";
            return Err(failed(Failure::Usage, why));
        }
        (true, None) => Some(FileFormat::Sdmf),
        (_, format) => format,
    };
    let mut query = vec![("ophandle", handle)];
    query.extend(args.random_key.then_some(("key", "random")));
    query.extend(format.map(|format| ("format", format.name())));
    // Gateways differ in which of the two they look at.
    query.extend(format.filter(|format| *format != FileFormat::Chk).map(|_| ("mutable", "true")));
    let Some(path) = &args.path else { return Ok(format!("/uri?{}", encode_query(query))) };
    let mut place = drive.place_of(path)?;
    let by_cap = place.names.is_empty() && !place.slash;
    if by_cap && !place.root.is_directory() {
        if !(place.root.is_mutable() && place.root.is_writable()) {
            return Err(failed(
                Failure::Usage,
                "the capability given cannot be written to; only a write capability of a mutable file can, or \
                 a path",
            ));
        }
    } else if place.names.is_empty() || place.slash {
        let name = args.file.file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
        let name = name.ok_or_else(|| {
            failed(
                Failure::Usage,
                format!("{} is a directory; say what the file is to be called there", place.said),
            )
        })?;
        place =
            place.child(&Name::existing(name).map_err(|error| failed(Failure::Usage, error.to_string()))?);
    }
    place.check_creatable()?;
    // Before all of the file is sent in vain.
    if !place.names.is_empty()
        && drive.gateway.look_up(&place.root, &place.names)?.is_some_and(|there| there.is_directory())
    {
        let said = &place.said;
        return Err(failed(
            Failure::Usage,
            format!("{said} is a directory; to put the file in it, end the path with a slash"),
        ));
    }
    Ok(target(&place.root, &place.names, &query))
}

/// Opens what is to be stored.
fn open(path: &Path) -> Result<Input> {
    if path.as_os_str() == "-" {
        return Ok(Input { source: Box::new(std::io::stdin()), len: None, file: None });
    }
    let unreadable = |error| failed(Failure::Usage, format!("{} cannot be read: {error}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(failed(
            Failure::Usage,
            format!("{} is a directory; put stores one file, cp -r copies trees", path.display()),
        ));
    }
    if !metadata.is_file() {
        return Ok(Input { source: Box::new(file), len: None, file: None });
    }
    let rest = Rest { state: unix::file_state(&metadata), file: file.try_clone().map_err(unreadable)? };
    Ok(Input { source: Box::new(file), len: Some(metadata.len()), file: Some(rest) })
}

/// What is stored.
struct Input {
    source: Box<dyn Read>,
    /// Known for a regular file.
    len: Option<u64>,
    /// The regular file.
    file: Option<Rest>,
}

/// A file that should not change while it is read.
struct Rest {
    file: File,
    state: FileState,
}

impl Rest {
    fn check(&self) -> Result<()> {
        if unix::file_state(&self.file.metadata()?) == self.state {
            return Ok(());
        }
        Err(failed(Failure::General, "the file changed while it was read; nothing was stored"))
    }
}

/// Shows the plan and the progress of an upload until it is over.
fn watch(
    node: &NodeUrl,
    handle: &str,
    len: Option<u64>,
    quiet: bool,
    over: &AtomicBool,
    interrupt: &Interrupt,
) {
    let mut progress = Progress::new("receiving", len, quiet);
    let mut planned = false;
    let mut pause = Duration::from_millis(20);
    while !over.load(Ordering::Relaxed) && interrupt.check().is_ok() {
        std::thread::sleep(pause);
        pause = (pause * 2).min(ASK_EVERY);
        let Ok((200, text)) = node.get_text(&format!("/operations/{handle}"), interrupt) else { continue };
        let Ok(state) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        if let (false, Some(text)) = (planned, state["plan"]["text"].as_str()) {
            progress.say(&format!("storing: {text}"));
            planned = true;
        }
        let (stage, done) = match state["stage"].as_str() {
            Some("sending") => ("storing", &state["confirmed"]),
            Some("closing") => ("finishing", &state["confirmed"]),
            _ => ("receiving", &state["received"]),
        };
        progress.stage(stage);
        progress.at(done.as_u64().unwrap_or(0));
    }
    progress.finish();
}
