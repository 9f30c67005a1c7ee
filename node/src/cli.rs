//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

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
    /// Make the directory of a node.
    CreateNode(CreateNode),
    /// Run the node of a directory until Ctrl-C or SIGTERM.
    Run(Run),
    /// Store a file in the grid and print its capability.
    Put(Put),
    /// Fetch a file from the grid.
    Get(Get),
    /// On the introducer: make the root directory that the grid shares now, without waiting for more
    /// servers.
    MakeRoot,
    /// Tell how the node stands: introducers, servers, what a new file survives.
    Status(Status),
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

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// How many storage nodes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(4..=64))]
    pub(crate) nodes: u16,
    /// What runs the nodes.
    #[arg(long, value_enum, default_value_t = Runtime::Blocking)]
    pub(crate) runtime: Runtime,
    /// Exit when the file has been read back, instead of staying up.
    #[arg(long)]
    pub(crate) once: bool,
    /// The file to store.
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct CreateIntroducer {
    /// The directory to make.
    pub(crate) directory: PathBuf,
    /// HOST:PORT to listen on; without it, every interface and a port that is free now.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Address that others reach it under, if it is another (port forwarding). May be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Vec<String>,
    /// HOST:PORT of the web port.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) web: Option<String>,
    /// Make no root directory for the grid to share.
    #[arg(long)]
    pub(crate) no_vdrive: bool,
    /// Name for people.
    #[arg(long, default_value = "introducer")]
    pub(crate) nickname: String,
}

#[derive(Args, Debug)]
pub(crate) struct CreateNode {
    /// The directory to make.
    pub(crate) directory: PathBuf,
    /// The introducer's furl, or a file that holds it.
    #[arg(long, value_name = "FURL")]
    pub(crate) introducer: Vec<String>,
    /// The furl that gives the grid's shared root (vdrive.furl or vdrive-readonly.furl), or a file that
    /// holds it.
    #[arg(long, value_name = "FURL")]
    pub(crate) vdrive: Vec<String>,
    /// Name for people.
    #[arg(long)]
    pub(crate) nickname: Option<String>,
    /// HOST:PORT to listen on; without it, every interface and a port that is free now.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Address that others reach it under, if it is another (port forwarding). May be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Vec<String>,
    /// HOST:PORT of the web port.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) web: Option<String>,
    /// Shares needed, servers that must hold some (or `auto`), shares in all: K,H,N.
    #[arg(long, value_name = "K,H,N")]
    pub(crate) shares: Option<String>,
    /// Keep no shares for others.
    #[arg(long)]
    pub(crate) no_storage: bool,
    /// Space to leave free on the disk, such as 10G.
    #[arg(long, value_name = "SIZE")]
    pub(crate) reserved_space: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The node directory.
    pub(crate) directory: Option<PathBuf>,
    /// What runs the node.
    #[arg(long, value_enum, default_value_t = Runtime::Blocking)]
    pub(crate) runtime: Runtime,
    /// Stop when standard input ends: for programs that start nodes.
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Put {
    /// The file to store; `-` is standard input.
    pub(crate) file: PathBuf,
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
pub(crate) struct Get {
    /// The capability; `-` reads it from standard input, so that no process list shows it.
    pub(crate) cap: String,
    /// Where to put the file; `-` or nothing is standard output.
    pub(crate) out: Option<PathBuf>,
    /// Show no progress.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Print the node's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
