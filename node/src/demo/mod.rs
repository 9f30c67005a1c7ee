//! `tallac demo`: a private grid on this machine, in one command.
//!
//! Every node is a process of its own, on loopback, with real TLS and real disks. A file is stored;
//! then as many servers as the file can do without are killed, the gateway is started anew (so that
//! nothing comes out of its memory), and the file is read back and compared.

mod grid;

use crate::cli::Demo;
use crate::client::Interrupt;
use crate::exit::{Failure, failed};
use anyhow::{Context, Result};
use grid::Grid;
use indicatif::HumanBytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is stored if no file is named: the project's own description of its architecture.
const OWN_FILE: (&str, &[u8]) = ("ARCHITECTURE.md", include_bytes!("../../../ARCHITECTURE.md"));

pub(crate) fn demo(args: &Demo) -> Result<()> {
    let interrupt = Interrupt::on_signals();
    let directory =
        tempfile::Builder::new().prefix("tallac-demo-").tempdir().context("making a directory")?;
    let (name, file) = source(args, directory.path())?;
    let original = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;

    println!("A private grid on this machine: an introducer, {} storage nodes and a gateway,", args.nodes);
    println!(
        "each a process of its own ({} runtime), in {}",
        args.runtime.name(),
        directory.path().display()
    );
    let started = Instant::now();
    let mut grid = Grid::start(directory.path(), args.nodes, args.runtime, &interrupt)?;
    println!("  {} servers found each other in {:.1} s", args.nodes, started.elapsed().as_secs_f64());
    println!("  web address: {}", grid.web_address()?);

    println!("\nStoring {name} ({}):", HumanBytes(original.len() as u64));
    let started = Instant::now();
    let stored = grid.put(&file)?;
    println!("  {}", stored.placement);
    println!(
        "  stored in {:.2} s; whoever knows this can read it, and nobody else:",
        started.elapsed().as_secs_f64()
    );
    println!("  {}", stored.cap);

    interrupt.check()?;
    let dead = grid.kill_servers(stored.survives);
    if dead.is_empty() {
        println!("\nNo server can be spared, so none is killed. The gateway is started anew.");
    } else {
        println!("\nKilled {} of {} servers (kill -9): {}", dead.len(), args.nodes, dead.join(", "));
        println!("The gateway is started anew, so that nothing comes out of its memory.");
    }
    grid.restart_gateway(&interrupt)?;

    println!("\nReading it back from the {} servers that are left:", usize::from(args.nodes) - dead.len());
    let started = Instant::now();
    let copy = directory.path().join("read-back");
    grid.get(&stored.cap, &copy)?;
    let seconds = started.elapsed().as_secs_f64();
    if fs::read(&copy)? != original {
        return Err(failed(Failure::General, "the bytes read back are not those that were stored"));
    }
    println!(
        "  {} in {seconds:.2} s, equal to the original byte for byte",
        HumanBytes(original.len() as u64)
    );

    if !args.once {
        println!("\nThe grid stays up. Try, in another terminal:");
        println!("  tallac -d {} status", grid.gateway_directory().display());
        println!("  curl {}uri/{}", grid.web_address()?, stored.cap);
        println!("Ctrl-C stops it and removes everything.");
        while interrupt.check().is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("\nStopping.");
    }
    grid.stop();
    Ok(())
}

/// The file to store: the one named, or one that ships with the program.
fn source(args: &Demo, directory: &Path) -> Result<(String, PathBuf)> {
    if let Some(file) = &args.file {
        let name =
            file.file_name().map_or_else(|| "the file".into(), |name| name.to_string_lossy().into_owned());
        return Ok((name, file.clone()));
    }
    let (name, content) = OWN_FILE;
    let file = directory.join(name);
    fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
    Ok((name.into(), file))
}
