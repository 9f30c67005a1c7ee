//! `tallac completions` and `tallac man-pages`: the command line, told to shells and to `man`. Both are
//! made from the command line itself, so that they cannot say anything else.

use crate::cli::{Cli, Completions, ManPages};
use crate::output::print;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::fs;

/// Prints the script that completes command lines.
pub(super) fn completions(args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tallac", &mut script);
    print(String::from_utf8(script).context("the script is text")?.trim_end())
}

/// Writes a page for the program and one for each command.
pub(super) fn man_pages(args: &ManPages) -> Result<()> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    // Its name is part of each page's, and of what the pages name.
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, directory)
        .with_context(|| format!("writing pages into {}", directory.display()))?;
    print(&format!("The pages are in {}; tallac(1) is the first.", directory.display()))
}
