//! Exit codes, so that scripts can tell failures apart.

use crate::drive::cap::without_capabilities;
use std::fmt;
use std::process::ExitCode;

/// What went wrong, as far as a script may want to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// Anything else.
    General = 1,
    /// The command line or a file it names makes no sense. (clap uses the same code.)
    Usage = 2,
    /// No node answers.
    NoNode = 3,
    /// The grid cannot do it now: too few servers or shares.
    Grid = 4,
    /// A body came in cut short or altered.
    CutShort = 5,
    /// The user interrupted.
    Interrupted = 130,
}

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) text: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failed {}

/// An error that ends the program with the code of `failure`.
pub(crate) fn failed(failure: Failure, text: impl Into<String>) -> anyhow::Error {
    Failed { failure, text: text.into() }.into()
}

/// Tells the user and gives the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let failure = error.downcast_ref::<Failed>().map_or(Failure::General, |failed| failed.failure);
    // Most errors have none, but what was typed wrongly may be half of one.
    eprintln!("tallac: {}", without_capabilities(&format!("{error:#}")));
    ExitCode::from(failure as u8)
}
