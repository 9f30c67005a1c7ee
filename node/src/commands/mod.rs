//! What each command does.

mod aliases;
mod directories;
mod get;
mod ls;
mod make_root;
mod manual;
mod moving;
mod put;
mod status;
mod webopen;

use crate::cli::{Cli, Command};
use crate::output::print;
use crate::{copy, demo, directory, run, web_port};
use anyhow::Result;
use std::path::Path;

/// Carries out a command line.
pub(crate) fn dispatch(cli: Cli) -> Result<()> {
    let verbose = cli.verbose;
    let given = cli.directory;
    // The node that a command asks.
    let asked = || directory::chosen(given.as_deref());
    match cli.command {
        Command::Demo(args) => demo::demo(&args),
        Command::CreateIntroducer(args) => {
            let config = directory::create_introducer(&args)?;
            created("introducer", &args.directory, &config)?;
            let path = |name| args.directory.join(name).display().to_string();
            let introducer = path(directory::INTRODUCER_FURL);
            print(&format!("Copy {introducer} to your friends: it is the right to join the grid."))?;
            if config.introducer.vdrive {
                let (write, read) = (path(directory::VDRIVE_FURL), path(directory::VDRIVE_READONLY_FURL));
                print(&format!(
                    "With it, {write} gives the right to the grid's shared directory, {read} to read it."
                ))?;
            }
            Ok(())
        }
        Command::CreateNode(args) => {
            let config = directory::create_node(&args)?;
            created("node", &args.directory, &config)?;
            if args.introducer.is_empty() {
                print(&format!(
                    "To join a grid, copy its introducer.furl to {} before the start.",
                    directory::introducers_furl(&args.directory).display()
                ))?;
            }
            Ok(())
        }
        Command::CreateCertificate(args) => {
            let fingerprint = web_port::create_certificate(&asked()?, &args.names)?;
            print(&format!("The SHA-256 fingerprint of the certificate is {fingerprint}"))?;
            print(&format!("To use it, put these lines under [web] in the node's {}:", crate::config::FILE))?;
            print(&format!("certificate = \"{}\"\nkey = \"{}\"", web_port::CERTIFICATE, web_port::KEY))
        }
        Command::Run(args) => {
            let directory = directory::chosen(args.directory.as_deref().or(given.as_deref()))?;
            run::run(&directory, &args, verbose)
        }
        Command::Put(args) => put::put(&asked()?, &args),
        Command::Get(args) => get::get(&asked()?, &args),
        Command::Cp(args) => copy::cp(&asked()?, &args),
        Command::Mkdir(args) => directories::mkdir(&asked()?, &args),
        Command::Ls(args) => ls::ls(&asked()?, &args),
        Command::Mv(args) => moving::mv(&asked()?, &args),
        Command::Ln(args) => moving::ln(&asked()?, &args),
        Command::Unlink(args) => directories::unlink(&asked()?, &args),
        Command::Share(args) => directories::share(&asked()?, &args),
        Command::Webopen(args) => webopen::webopen(&asked()?, &args),
        Command::CreateAlias(args) => aliases::create_alias(&asked()?, &args),
        Command::AddAlias(args) => aliases::add_alias(&asked()?, &args),
        Command::ListAliases(args) => aliases::list_aliases(&asked()?, &args),
        Command::Status(args) => status::status(&asked()?, &args),
        Command::Completions(args) => manual::completions(&args),
        Command::ManPages(args) => manual::man_pages(&args),
        Command::MakeRoot => make_root::make_root(&asked()?),
    }
}

fn created(what: &str, directory: &Path, config: &crate::config::Config) -> Result<()> {
    print(&format!("Made the directory of {what} {:?} in {}.", config.nickname, directory.display()))?;
    print(&format!(
        "It will listen on {} for other nodes and on {} for the web.",
        config.grid.listen, config.web.listen
    ))?;
    print(&format!("Start it: tallac run {}", directory.display()))
}
