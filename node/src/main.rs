//! The `tallac` program: makes and runs nodes of a grid, and stores and fetches files.
//!
//! This crate is the outermost layer: command line, configuration, and putting the parts together.
//! What a node does is decided in `tallac-core`, how it is done in the runtimes.

mod cli;
mod client;
mod commands;
mod config;
mod copy;
mod demo;
mod directory;
mod drive;
mod exit;
mod local_file;
mod output;
mod progress;
mod run;
mod runtime;
mod secrets;
mod web_port;
mod webapi;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::dispatch(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
