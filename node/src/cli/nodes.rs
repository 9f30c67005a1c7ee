//! Commands that make, run and look at nodes.

use super::Runtime;
use clap::Args;
use std::path::PathBuf;

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
pub(crate) struct CreateCertificate {
    /// A host name or address under which browsers reach the node; may be given again. localhost and the
    /// loopback addresses are always in it.
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Print the node's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
