//! Commands that tell shells and manuals about the others.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Where shells look for what is printed.
const PLACES: &str = "\
Where it goes:
  bash   ~/.local/share/bash-completion/completions/tallac
  zsh    a directory of $fpath, as _tallac
  fish   ~/.config/fish/completions/tallac.fish";

#[derive(Args, Debug)]
#[command(after_help = PLACES)]
pub(crate) struct Completions {
    /// Which shell.
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManPages {
    /// The directory, such as ~/.local/share/man/man1; it is made if it is not there.
    pub(crate) directory: PathBuf,
}
