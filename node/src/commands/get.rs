//! `tallac get`.

use crate::cli::Get;
use crate::client::{Connection, Interrupt, NodeUrl, refused};
use crate::exit::{Failure, failed};
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::path::Path;
use tallac_host::unix::{self, Mode};
use tallac_web::http::percent::encode_segment;
use tallac_web::http::{BodyKind, Method, RequestHead};

/// Longest capability that is read from standard input.
const CAP_LEN_MAX: u64 = 16 * 1024;

pub(crate) fn get(directory: &Path, args: &Get) -> Result<()> {
    let interrupt = Interrupt::on_signals();
    let node = NodeUrl::of(directory)?;
    let cap = if args.cap == "-" { cap_from_stdin()? } else { args.cap.trim().to_owned() };
    let mut connection = node.connect(&interrupt)?;
    let mut head = RequestHead::new(Method::Get, &format!("/uri/{}", encode_segment(&cap)));
    head.headers.push("Host", &node.authority)?;
    connection.request(&head)?;
    let (response, body) = connection.response()?;
    if response.status != 200 {
        let text = connection.body_text()?;
        return Err(refused(response.status, &text));
    }
    let total = match body {
        BodyKind::Length(len) => Some(len),
        _ => None,
    };
    let mut progress = Progress::new("fetching", total, args.quiet);
    match args.out.as_deref().filter(|out| out.as_os_str() != "-") {
        None => copy(&mut connection, &mut std::io::stdout().lock(), &mut progress)?,
        Some(out) => to_file(&mut connection, out, &mut progress)?,
    }
    progress.finish();
    Ok(())
}

/// Writes beside the target and renames, so that a file under this name is always a whole one.
fn to_file(connection: &mut Connection, out: &Path, progress: &mut Progress) -> Result<()> {
    if out.is_dir() {
        return Err(failed(
            Failure::Usage,
            format!("{} is a directory; name the file to write", out.display()),
        ));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".tallac-get-")
        .make_in(parent, |path| unix::create(path, Mode::Usual))
        .with_context(|| format!("making a file in {}", parent.display()))?;
    copy(connection, file.as_file_mut(), progress).with_context(|| format!("fetching {}", out.display()))?;
    file.persist(out).map_err(|error| error.error).with_context(|| format!("writing {}", out.display()))?;
    Ok(())
}

fn copy(connection: &mut Connection, out: &mut dyn Write, progress: &mut Progress) -> Result<()> {
    let mut done = 0;
    while let Some(bytes) = connection.body()? {
        out.write_all(&bytes)?;
        done += bytes.len() as u64;
        progress.at(done);
    }
    out.flush()?;
    Ok(())
}

fn cap_from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(CAP_LEN_MAX)
        .read_to_string(&mut text)
        .map_err(|error| failed(Failure::Usage, format!("standard input holds no capability: {error}")))?;
    Ok(text.trim().to_owned())
}
