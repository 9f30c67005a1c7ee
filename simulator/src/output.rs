//! What the commands say, and what becomes of it where nobody listens.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process;

/// What a program ends with whose reader has gone, to the shells: 128, and the number of the signal.
const NOBODY_READS: i32 = 141;

/// Prints a line.
///
/// Whoever reads no more, such as `head`, has enough: the program ends there, without a word, instead of running
/// seeds for nobody. Its status is neither that of a good run nor that of a bad one, since it does not know.
pub(crate) fn print(line: impl Display) {
    if let Err(error) = writeln!(io::stdout(), "{line}") {
        if error.kind() == ErrorKind::BrokenPipe {
            process::exit(NOBODY_READS);
        }
        tell(format_args!("tallac-simulator: writing to standard output: {error}"));
        process::exit(2);
    }
}

/// Tells the person at the terminal something beside the result. Nothing depends on whether that is read.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
