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
    let (gateway, node) = (&drive.gateway, drive.gateway.node());
    // The first page of a node that lets in everybody has an address with nothing to hide.
    let is_plain = args.path.is_none() && !node.asks_for_login();
    let ticket = if is_plain { None } else { gateway.way_in(&page)? };
    let lets_in = ticket.is_some();
    let url = ticket.unwrap_or_else(|| format!("{}{page}", node.address()));
    if open(&url) {
        return Ok(());
    }
    eprintln!("No browser could be opened.");
    if lets_in {
        let what =
            if node.asks_for_login() { "is logged in as you are" } else { "gets what you wanted to see" };
        eprintln!(
            "The address is good once, and for two minutes. Keep it to yourself: whoever opens it {what}."
        );
    } else if !is_plain {
        eprintln!(
            "The address holds a capability: whoever sees it, such as in the browser's history, can do what it \
             allows."
        );
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
