//! `tallac put`.

use crate::cli::Put;
use crate::client::{Interrupt, NodeUrl, refused};
use crate::exit::{Failure, failed};
use crate::progress::Progress;
use crate::secrets;
use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tallac_core::base32;
use tallac_web::gateway::{PLACEMENT_HEADER, SURVIVES_HEADER};
use tallac_web::http::{BodyKind, Method, RequestHead};

const PIECE: usize = 256 * 1024;
const ASK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn put(directory: &Path, args: &Put) -> Result<()> {
    let node = NodeUrl::of(directory)?;
    let (mut source, len) = open(&args.file)?;
    // A read from a pipe or a terminal may wait for ever; there an interrupt just ends the program,
    // and the node forgets the upload when its connection is gone.
    let interrupt = if len.is_some() { Interrupt::on_signals() } else { Interrupt::default() };
    let handle = base32::encode(&secrets::random::<10>()?);
    let key = if args.random_key { "&key=random" } else { "" };
    let mut head = RequestHead::new(Method::Put, &format!("/uri?ophandle={handle}{key}"));
    head.headers.push("Host", &node.authority)?;
    head.body = len.map_or(BodyKind::Chunked, BodyKind::Length);

    let over = AtomicBool::new(false);
    let answer = std::thread::scope(|scope| {
        // What the servers have confirmed is asked for beside the upload, not guessed from it.
        scope.spawn(|| watch(&node, &handle, len, args.quiet, &over, &interrupt));
        let sent = send(&node, &head, &mut source, len, &args.file, &interrupt);
        over.store(true, Ordering::Relaxed);
        sent
    })?;
    if answer.status != 200 && answer.status != 201 {
        return Err(refused(answer.status, &answer.text));
    }
    if args.json {
        let Answer { text, placement, survives, .. } = answer;
        println!("{}", serde_json::json!({ "cap": text, "placement": placement, "survives": survives }));
        return Ok(());
    }
    if let (Some(placement), false) = (&answer.placement, args.quiet) {
        eprintln!("stored: {placement}");
    }
    println!("{}", answer.text);
    Ok(())
}

/// What the node answered.
struct Answer {
    status: u16,
    text: String,
    placement: Option<String>,
    survives: Option<u64>,
}

/// Opens what is to be stored; its length is known for a regular file.
fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let unreadable = |error| failed(Failure::Usage, format!("{} cannot be read: {error}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(failed(
            Failure::Usage,
            format!("{} is a directory; put stores one file", path.display()),
        ));
    }
    let len = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), len))
}

fn send(
    node: &NodeUrl,
    head: &RequestHead,
    source: &mut dyn Read,
    len: Option<u64>,
    path: &Path,
    interrupt: &Interrupt,
) -> Result<Answer> {
    let mut connection = node.connect(interrupt)?;
    connection.request(head)?;
    let mut left = len;
    let mut buffer = BytesMut::new();
    let mut answered_early = false;
    loop {
        interrupt.check()?;
        let piece =
            read_piece(source, &mut buffer, left).with_context(|| format!("reading {}", path.display()))?;
        let Some(left_now) = &mut left else {
            if piece.is_empty() {
                break;
            }
            if !connection.send_body(piece)? {
                answered_early = true;
                break;
            }
            continue;
        };
        if *left_now == 0 {
            break;
        }
        if piece.is_empty() {
            // Hanging up makes the node forget the upload.
            return Err(failed(
                Failure::General,
                format!("{} shrank while it was read; nothing was stored", path.display()),
            ));
        }
        *left_now -= piece.len() as u64;
        if *left_now == 0 && source.read(&mut [0]).unwrap_or(0) > 0 {
            return Err(failed(
                Failure::General,
                format!("{} grew while it was read; nothing was stored", path.display()),
            ));
        }
        if !connection.send_body(piece)? {
            answered_early = true;
            break;
        }
    }
    if !answered_early {
        // The same: if the node hung up, its answer says why.
        let _ = connection.finish_body();
    }
    let (response, _) = connection.response()?;
    let placement = response.headers.get_str(PLACEMENT_HEADER).map(str::to_owned);
    let survives = response.headers.get_str(SURVIVES_HEADER).and_then(|text| text.parse().ok());
    Ok(Answer { status: response.status, text: connection.body_text()?, placement, survives })
}

fn read_piece(source: &mut dyn Read, buffer: &mut BytesMut, left: Option<u64>) -> std::io::Result<Bytes> {
    let want = left.map_or(PIECE, |left| usize::try_from(left).unwrap_or(PIECE).min(PIECE));
    buffer.resize(PIECE, 0);
    loop {
        match source.read(&mut buffer[..want]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return Ok(buffer.split_to(result?).freeze()),
        }
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
