//! `tallac status`.

use crate::cli::Status;
use crate::client::{Interrupt, NodeUrl, refused};
use crate::output::print;
use anyhow::Result;
use std::path::Path;

pub(crate) fn status(directory: &Path, args: &Status) -> Result<()> {
    let node = NodeUrl::of(directory)?;
    let target = if args.json { "/?t=json" } else { "/" };
    let (status, text) = node.get_text(target, &Interrupt::on_signals())?;
    if status != 200 {
        return Err(refused(status, &text));
    }
    print(&text)
}
