//! The tallac program.
