//! Commands for directories and for the names of drives.

use super::{IN_THE_BROWSER, PATHS};
use clap::{Args, ValueEnum};

/// How a directory is kept in the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DirectoryFormat {
    /// As one piece: the usual.
    Sdmf,
    /// In segments; for very large directories.
    Mdmf,
}

impl DirectoryFormat {
    /// As the web API knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            DirectoryFormat::Sdmf => "sdmf",
            DirectoryFormat::Mdmf => "mdmf",
        }
    }
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Mkdir {
    /// The directory to make, with those above it. One that is there stays as it is. Without a path the
    /// new directory is in no other: its capability is all there is of it.
    pub(crate) path: Option<String>,
    /// As it always is: make the directories above, too, and do not mind one that is there.
    #[arg(short, long)]
    pub(crate) parents: bool,
    /// How the directory is kept.
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) format: Option<DirectoryFormat>,
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Ls {
    /// The directory or file to list.
    #[arg(default_value = "private:", hide_default_value = true)]
    pub(crate) path: String,
    /// Show kind and rights, size, and when the link was made.
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Mark directories with `/`, mutable files with `*`, unknown things with `?`.
    #[arg(short = 'F', long)]
    pub(crate) classify: bool,
    /// Show the capability that allows most.
    #[arg(long)]
    pub(crate) uri: bool,
    /// Show the capability that only reads.
    #[arg(long)]
    pub(crate) readonly_uri: bool,
    /// Print the node's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Mv {
    /// What to move: a name in a directory.
    pub(crate) from: String,
    /// Its new path; with a slash at the end, the directory to move it into. A file that is there is
    /// replaced, a directory is not.
    pub(crate) to: String,
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Ln {
    /// What to link: a path or a capability.
    pub(crate) from: String,
    /// The path of the new link; with a slash at the end, the directory to make it in. A file that is
    /// there is replaced, a directory is not.
    pub(crate) to: String,
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Unlink {
    /// The name to take out of its directory. What it named lives on wherever else it is linked.
    pub(crate) path: String,
}

#[derive(Args, Debug)]
#[command(after_long_help = PATHS)]
pub(crate) struct Share {
    /// What to share.
    pub(crate) path: String,
    /// Give the right to change it, too.
    #[arg(long)]
    pub(crate) write: bool,
}

#[derive(Args, Debug)]
#[command(after_help = IN_THE_BROWSER, after_long_help = format!("{IN_THE_BROWSER}\n\n{PATHS}"))]
pub(crate) struct Webopen {
    /// What to show; without it, the node's own page.
    pub(crate) path: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct CreateAlias {
    /// The name of the alias.
    pub(crate) alias: String,
}

#[derive(Args, Debug)]
pub(crate) struct AddAlias {
    /// The name of the alias.
    pub(crate) alias: String,
    /// The directory's capability; `-` reads it from standard input, so that no process list shows it.
    pub(crate) cap: String,
}

#[derive(Args, Debug)]
pub(crate) struct ListAliases {
    /// Show the capabilities that only read.
    #[arg(long)]
    pub(crate) readonly_uri: bool,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
