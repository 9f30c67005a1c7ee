//! What each command does.

mod get;
mod make_root;
mod put;
mod status;

use crate::cli::{Cli, Command};
use crate::{demo, directory, run};
use anyhow::Result;
use std::path::Path;

/// Carries out a command line.
pub(crate) fn dispatch(cli: Cli) -> Result<()> {
    let verbose = cli.verbose;
    let given = cli.directory;
    match cli.command {
        Command::Demo(args) => demo::demo(&args),
        Command::CreateIntroducer(args) => {
            let config = directory::create_introducer(&args)?;
            created("introducer", &args.directory, &config);
            let path = |name| args.directory.join(name).display().to_string();
            let introducer = path(directory::INTRODUCER_FURL);
            println!("Copy {introducer} to your friends: it is the right to join the grid.");
            if config.introducer.vdrive {
                let (write, read) = (path(directory::VDRIVE_FURL), path(directory::VDRIVE_READONLY_FURL));
                println!(
                    "With it, {write} gives the right to the grid's shared directory, {read} to read it."
                );
            }
            Ok(())
        }
        Command::CreateNode(args) => {
            let config = directory::create_node(&args)?;
            created("node", &args.directory, &config);
            if args.introducer.is_empty() {
                println!(
                    "To join a grid, copy its introducer.furl to {} before the start.",
                    directory::introducers_furl(&args.directory).display()
                );
            }
            Ok(())
        }
        Command::Run(args) => {
            let directory = directory::chosen(args.directory.as_deref().or(given.as_deref()))?;
            run::run(&directory, &args, verbose)
        }
        Command::Put(args) => put::put(&directory::chosen(given.as_deref())?, &args),
        Command::Get(args) => get::get(&directory::chosen(given.as_deref())?, &args),
        Command::MakeRoot => make_root::make_root(&directory::chosen(given.as_deref())?),
        Command::Status(args) => status::status(&directory::chosen(given.as_deref())?, &args),
    }
}

fn created(what: &str, directory: &Path, config: &crate::config::Config) {
    println!("Made the directory of {what} {:?} in {}.", config.nickname, directory.display());
    println!(
        "It will listen on {} for other nodes and on {} for the web.",
        config.grid.listen, config.web.listen
    );
    println!("Start it: tallac run {}", directory.display());
}
