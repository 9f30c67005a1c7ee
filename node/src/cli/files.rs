//! Commands that move content between this machine and the grid.

use super::{COPYING, PATHS};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// How a file is kept in the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum FileFormat {
    /// For ever as it is.
    Chk,
    /// Can be changed; for small files.
    Sdmf,
    /// Can be changed; for large files.
    Mdmf,
}

impl FileFormat {
    /// As the web API knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FileFormat::Chk => "chk",
            FileFormat::Sdmf => "sdmf",
            FileFormat::Mdmf => "mdmf",
        }
    }
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Put {
    /// The file to store; `-` is standard input.
    pub(crate) file: PathBuf,
    /// Where to put it: a path in the grid, or the write capability of a mutable file whose content is
    /// to be replaced. Without it the file is in no directory: its capability is all there is of it.
    /// A mutable file that is there keeps its capability, and its content is replaced.
    pub(crate) path: Option<String>,
    /// Make a file that can be changed: in the format sdmf, unless --format names another one.
    #[arg(short, long)]
    pub(crate) mutable: bool,
    /// How the file is kept.
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) format: Option<FileFormat>,
    /// Encrypt with a key drawn by chance instead of one that follows from the content.
    #[arg(long)]
    pub(crate) random_key: bool,
    /// Print a JSON object instead of the bare capability.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Get {
    /// The file: a path in the grid or a capability; `-` reads a capability from standard input, so that
    /// no process list shows it.
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// Where to put the file; `-` or nothing is standard output.
    pub(crate) out: Option<PathBuf>,
    /// Show no progress.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug)]
#[command(after_long_help = COPYING)]
pub(crate) struct Cp {
    /// What to copy, one or more, and where to: `./x`, `/x` and `x` are on this machine, `private:x`,
    /// `global:x`, `ALIAS:x` and capabilities are in the grid.
    #[arg(required = true, num_args = 2.., value_names = ["FROM", "TO"])]
    pub(crate) paths: Vec<OsString>,
    /// Copy directories with all that is in them.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Copy capabilities instead of contents: to this machine, write each file's capability into a file;
    /// within the grid, link mutable files instead of copying what they hold now.
    #[arg(long)]
    pub(crate) caps_only: bool,
    /// Show no progress and no summary.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
