//! Runs a Tallac node on plain threads.
