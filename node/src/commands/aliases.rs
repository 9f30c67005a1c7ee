//! `tallac create-alias`, `add-alias` and `list-aliases`.

use crate::cli::{AddAlias, CreateAlias, ListAliases};
use crate::client::Interrupt;
use crate::drive::aliases::{self, Aliases};
use crate::drive::cap::CapText;
use crate::drive::path::{PERSONAL, SHARED, shown};
use crate::exit::{Failure, failed};
use crate::output::print;
use crate::webapi::Gateway;
use anyhow::{Context, Result};
use std::path::Path;

pub(crate) fn create_alias(directory: &Path, args: &CreateAlias) -> Result<()> {
    let gateway = Gateway::of(directory, Interrupt::on_signals())?;
    // Before anything is made.
    Aliases::read(directory)?.new_name(&args.alias)?;
    let cap = gateway.make_directory(None)?;
    let name = aliases::add(directory, &args.alias, &cap)?;
    print(&format!("Made a directory; {name}: is its alias."))
}

pub(crate) fn add_alias(directory: &Path, args: &AddAlias) -> Result<()> {
    let cap =
        if args.cap == "-" { CapText::directory_from_stdin()? } else { CapText::parse_directory(&args.cap)? };
    let name = aliases::add(directory, &args.alias, &cap)?;
    print(&format!("{name}: is now an alias of the directory."))
}

pub(crate) fn list_aliases(directory: &Path, args: &ListAliases) -> Result<()> {
    let aliases = Aliases::read(directory)?;
    let mut shown_caps = Vec::new();
    let mut bad = None;
    for (name, cap) in aliases.all() {
        if [PERSONAL, SHARED].contains(&name) {
            eprintln!(
                "The alias {name} is hidden by the drive of that name; give it another in private/aliases."
            );
        }
        let both = cap.and_then(|cap| {
            let read_only = cap.read_only().context("its capability has no form that only reads")?;
            Ok((cap, read_only))
        });
        match both {
            Ok((cap, read_only)) => shown_caps.push((name, cap, read_only)),
            // The others are still listed.
            Err(error) => bad = Some(failed(Failure::Usage, format!("the alias {name:?}: {error}"))),
        }
    }
    if args.json {
        let object = shown_caps.iter().map(|(name, cap, read_only)| {
            let caps = serde_json::json!({ "readwrite": cap.expose(), "readonly": read_only.expose() });
            ((*name).to_owned(), caps)
        });
        print(&format!("{:#}", serde_json::Value::Object(object.collect())))?;
    } else {
        let width = shown_caps.iter().map(|(name, ..)| shown(name).chars().count()).max().unwrap_or(0);
        for (name, cap, read_only) in &shown_caps {
            let cap = if args.readonly_uri { read_only } else { cap };
            print(&format!("{:>width$}: {}", shown(name), cap.expose()))?;
        }
    }
    bad.map_or(Ok(()), Err)
}
