//! What commands say on standard output.

use anyhow::{Context, Result};
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints a line.
///
/// # Errors
/// If it cannot be written, such as to a full disk. Whoever reads no more has enough, which is none.
pub(crate) fn print(line: &(impl Display + ?Sized)) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing to standard output"),
    }
}
