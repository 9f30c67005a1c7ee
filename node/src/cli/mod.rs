//! The command line.

mod drive;
mod files;
mod manual;
mod nodes;

pub(crate) use drive::{AddAlias, CreateAlias, ListAliases, Ln, Ls, Mkdir, Mv, Share, Unlink, Webopen};
pub(crate) use files::{Cp, FileFormat, Get, Put};
pub(crate) use manual::{Completions, ManPages};
pub(crate) use nodes::{CreateCertificate, CreateIntroducer, CreateNode, Demo, Run, Status};

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How a path in the grid is written.
const PATHS: &str = "\
Paths in the grid:
  photos/cat.jpg          in your personal drive
  private:photos/cat.jpg  the same
  global:talks/a.pdf      in the drive that the grid shares
  ALIAS:x/y               in a directory that has an alias (tallac list-aliases)
  URI:...                 what a capability names
  URI:.../x/y             below the directory that a capability names

What stands before the first colon is an alias unless it has a slash: write private:a:b for the name
a:b. Names are compared in Unicode's normal form NFC. The personal drive is made when it is used first;
its capability is in private/personal-root.cap of the node directory. Keep a copy: losing it is losing
all that is in the drive.";

/// How `cp` tells this machine from the grid, and what it does about what cannot be copied.
const COPYING: &str = "\
On this machine: paths without a colon, and those with a slash before the first colon (./a:b, /a:b).
In the grid: everything else, as in the other commands (private:x, global:x, ALIAS:x, URI:.../x). There
is no default drive here: x is a file in the working directory, private:x one in your drive.

If TO is a directory, sources are put into it under their names. A source without a name (a bare
capability, or private: itself) gives its content instead. If TO is not there, a single file is copied
to that name; otherwise TO is made as a directory first.

Links on this machine are followed, in trees as well: what they lead to is copied. A link that leads
back to a directory it is in, or nowhere, is told as a failure. Pipes, sockets and devices are skipped
and told. Files within the grid are not copied but linked, unless they can be changed.

A copy that was interrupted can be started again and does only what is left. A file counts as copied if
it is as it was then (size, times, inode) and the other side still holds what was copied; the node keeps
a record of that in private/copied.redb, which may be removed.

Two names of one directory that are the same in Unicode's normal form NFC are one name in the grid: one
of the files is copied, the other told as a failure. A directory that is linked in many places is copied
in each of them, up to a thousand.";

/// What `webopen` gives away.
const IN_THE_BROWSER: &str = "\
The browser is opened with an address that is good once, for two minutes. The page it leads to holds no
capability in its address but a handle, which only this node can open: whoever has it and reaches the node
can do what the capability allows, and it stays in the browser's history. Do not send it to others, but use
tallac share. With a node of Tahoe-LAFS the address holds the capability itself.";

/// Secure, decentralised storage among people who own their machines.
#[derive(Parser, Debug)]
#[command(name = "tallac", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The node directory whose node is talked to.
    #[arg(
        short = 'd',
        long = "node-directory",
        global = true,
        env = "TALLAC_NODE_DIRECTORY",
        value_name = "DIR"
    )]
    pub(crate) directory: Option<PathBuf>,
    /// Say more about what the node does (twice: everything).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// A private grid on this machine, in one command: store a file, lose most servers, read it back.
    Demo(Demo),
    /// Make the directory of an introducer, through which the nodes of a grid find each other.
    CreateIntroducer(CreateIntroducer),
    /// Make the directory of a node, which stores files in a grid and keeps shares for others.
    CreateNode(CreateNode),
    /// Make a self-signed certificate for the node's web port, for https.
    CreateCertificate(CreateCertificate),
    /// Run the node of a directory until Ctrl-C or SIGTERM.
    Run(Run),
    /// Store a file in the grid and print its capability.
    Put(Put),
    /// Fetch a file from the grid.
    Get(Get),
    /// Copy files and trees into the grid, out of it, or within it.
    Cp(Cp),
    /// Make a directory and print its capability.
    Mkdir(Mkdir),
    /// List a directory.
    Ls(Ls),
    /// Move or rename a file or directory within the grid.
    Mv(Mv),
    /// Link a file or directory of the grid from a second place.
    Ln(Ln),
    /// Take a name out of its directory.
    #[command(visible_alias = "rm")]
    Unlink(Unlink),
    /// Print the capability to give to a friend; it only reads unless --write is given.
    Share(Share),
    /// Show a file or directory in the browser.
    Webopen(Webopen),
    /// Make a directory and an alias for it.
    CreateAlias(CreateAlias),
    /// Give a directory an alias, so that ALIAS:x names what is in it.
    AddAlias(AddAlias),
    /// List the aliases.
    ListAliases(ListAliases),
    /// On the introducer: make the root directory that the grid shares now, without waiting for more
    /// servers.
    MakeRoot,
    /// Tell how the node stands: introducers, servers, what a new file survives.
    Status(Status),
    /// Print what a shell needs to complete command lines.
    Completions(Completions),
    /// Write the manual's pages into a directory.
    ManPages(ManPages),
}

/// What carries out the actions of the node's machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Runtime {
    /// Plain threads.
    Blocking,
    /// The async-std executor.
    #[cfg(feature = "async-std")]
    AsyncStd,
    /// The smol executor.
    #[cfg(feature = "smol")]
    Smol,
}

impl Runtime {
    /// As it stands on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Runtime::Blocking => "blocking",
            #[cfg(feature = "async-std")]
            Runtime::AsyncStd => "async-std",
            #[cfg(feature = "smol")]
            Runtime::Smol => "smol",
        }
    }
}
