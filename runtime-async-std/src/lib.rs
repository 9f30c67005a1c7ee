//! Runs a Tallac node on async-std or smol.
