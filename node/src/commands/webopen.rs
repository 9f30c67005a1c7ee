//! `tallac webopen`.

use crate::cli::Webopen;
use crate::client::Interrupt;
use crate::drive::Drive;
use crate::output::print;
use crate::webapi::target;
use anyhow::Result;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) fn webopen(directory: &Path, args: &Webopen) -> Result<()> {
    let drive = Drive::open(directory, Interrupt::on_signals())?;
    let page = match &args.path {
        None => "/".to_owned(),
        Some(path) => {
            let place = drive.place_of(path)?;
            target(&place.root, &place.names, &[])
        }
    };
    let url = drive.gateway.node().page(&page);
    if open(&url) {
        return Ok(());
    }
    if args.path.is_some() {
        eprintln!(
            "No browser could be opened. This address holds a capability: whoever sees it, such as in the \
             browser's history, can do what it allows."
        );
    } else {
        eprintln!("No browser could be opened.");
    }
    print(&url)
}

/// Whether a browser has taken the address.
fn open(url: &str) -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let opener = if cfg!(target_os = "macos") {
        "open".to_owned()
    } else if let Some(browser) = set("BROWSER") {
        // Of several, separated by colons, the first.
        browser.split(':').next().unwrap_or_default().to_owned()
    } else if set("DISPLAY").is_some() || set("WAYLAND_DISPLAY").is_some() {
        "xdg-open".to_owned()
    } else {
        return false;
    };
    let mut command = Command::new(opener);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
