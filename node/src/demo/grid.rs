//! The processes of a grid on this machine.

use crate::cli::{CreateIntroducer, CreateNode, Runtime};
use crate::client::{Interrupt, NodeUrl};
use crate::directory::{self, INTRODUCER_FURL, NODE_URL, VDRIVE_FURL};
use crate::exit::{Failure, failed};
use crate::secrets;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where every node of a demo listens: a free port of this machine only.
const LOOPBACK: &str = "127.0.0.1:0";

/// What storing a file told.
pub(super) struct Stored {
    pub(super) cap: String,
    pub(super) placement: String,
    /// The file outlives the loss of any this many servers.
    pub(super) survives: usize,
}

/// One node: its directory and its process.
struct Process {
    name: String,
    directory: PathBuf,
    child: Child,
}

impl Process {
    fn start(directory: &Path, name: &str, runtime: Runtime) -> Result<Process> {
        let directory = directory.join(name);
        // Left over from an earlier start, it would name the wrong port.
        let _ = fs::remove_file(directory.join(NODE_URL));
        let log = File::create(directory.join("node.log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["run", "--until-stdin-closes", "--runtime", runtime.name()])
            .arg(&directory)
            // The node stops when this pipe closes: also if this process is killed.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Process { name: name.into(), directory, child })
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("node.log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A running grid.
pub(super) struct Grid {
    directory: PathBuf,
    runtime: Runtime,
    introducer: Process,
    servers: Vec<Process>,
    gateway: Process,
}

impl Grid {
    /// Makes and starts an introducer, storage nodes and a gateway, and waits until the gateway is
    /// connected to all of them.
    pub(super) fn start(
        directory: &Path,
        nodes: u16,
        runtime: Runtime,
        interrupt: &Interrupt,
    ) -> Result<Grid> {
        directory::create_introducer(&CreateIntroducer {
            directory: directory.join("introducer"),
            listen: Some(LOOPBACK.into()),
            advertise: Vec::new(),
            web: Some(LOOPBACK.into()),
            no_vdrive: false,
            nickname: "introducer".into(),
        })?;
        let furl = |name: &str| directory.join("introducer").join(name).to_string_lossy().into_owned();
        let node = |name: &str, no_storage: bool| -> Result<()> {
            directory::create_node(&CreateNode {
                directory: directory.join(name),
                introducer: vec![furl(INTRODUCER_FURL)],
                vdrive: vec![furl(VDRIVE_FURL)],
                nickname: Some(name.into()),
                listen: Some(LOOPBACK.into()),
                advertise: Vec::new(),
                web: Some(LOOPBACK.into()),
                shares: None,
                no_storage,
                // A demonstration must not fail on a machine that is nearly full.
                reserved_space: Some("0".into()),
            })?;
            Ok(())
        };
        node("gateway", true)?;
        let names: Vec<String> = (0..nodes).map(|index| format!("s{index}")).collect();
        names.iter().try_for_each(|name| node(name, false))?;
        let introducer = Process::start(directory, "introducer", runtime)?;
        let servers =
            names.iter().map(|name| Process::start(directory, name, runtime)).collect::<Result<_>>()?;
        let gateway = Process::start(directory, "gateway", runtime)?;
        let mut grid = Grid { directory: directory.to_owned(), runtime, introducer, servers, gateway };
        grid.wait_for(usize::from(nodes), interrupt)?;
        Ok(grid)
    }

    pub(super) fn gateway_directory(&self) -> &Path {
        &self.gateway.directory
    }

    pub(super) fn web_address(&self) -> Result<String> {
        Ok(NodeUrl::of(&self.gateway.directory)?.address() + "/")
    }

    /// Waits until the gateway is connected to `servers` servers.
    fn wait_for(&mut self, servers: usize, interrupt: &Interrupt) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut connected = 0;
        while Instant::now() < deadline {
            interrupt.check()?;
            let all =
                std::iter::once(&mut self.introducer).chain(&mut self.servers).chain([&mut self.gateway]);
            for process in all {
                if process.has_ended() {
                    let text = format!("{} ended right after its start:\n{}", process.name, process.log());
                    return Err(failed(Failure::General, text));
                }
            }
            connected = self.connected(interrupt).unwrap_or(0);
            if connected >= servers {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(failed(
            Failure::Grid,
            format!("only {connected} of {servers} servers were found within {} seconds", PATIENCE.as_secs()),
        ))
    }

    fn connected(&self, interrupt: &Interrupt) -> Option<usize> {
        let node = NodeUrl::of(&self.gateway.directory).ok()?;
        let (_, text) = node.get_text("/?t=json", interrupt).ok()?;
        let state: serde_json::Value = serde_json::from_str(&text).ok()?;
        usize::try_from(state["connected_servers"].as_u64()?).ok()
    }

    /// Stores a file, with the same command that a user would type.
    pub(super) fn put(&self, file: &Path) -> Result<Stored> {
        let output = self.command().args(["put", "--json"]).arg(file).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(failed(Failure::Grid, "the file could not be stored"));
        }
        let object: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(Stored {
            cap: object["cap"].as_str().unwrap_or_default().into(),
            placement: object["placement"]
                .as_str()
                .unwrap_or("it is so short that the capability holds it")
                .into(),
            survives: object["survives"].as_u64().and_then(|m| m.try_into().ok()).unwrap_or(0),
        })
    }

    /// Fetches a file, with the same command that a user would type.
    pub(super) fn get(&self, cap: &str, out: &Path) -> Result<()> {
        let mut child = self.command().args(["get", "-"]).arg(out).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            std::io::Write::write_all(&mut stdin, cap.as_bytes())?;
        }
        if child.wait()?.success() {
            Ok(())
        } else {
            Err(failed(Failure::Grid, "the file could not be read back"))
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "tallac".into()));
        command.arg("-d").arg(&self.gateway.directory);
        command
    }

    /// Kills that many servers, drawn by chance; returns their names.
    pub(super) fn kill_servers(&mut self, count: usize) -> Vec<String> {
        let mut dead = Vec::new();
        for _ in 0..count.min(self.servers.len()) {
            let draw = secrets::random::<8>().map_or(0, u64::from_le_bytes);
            let index = usize::try_from(draw % self.servers.len() as u64).unwrap_or(0);
            let mut victim = self.servers.remove(index);
            victim.kill();
            dead.push(victim.name.clone());
        }
        dead.sort();
        dead
    }

    pub(super) fn restart_gateway(&mut self, interrupt: &Interrupt) -> Result<()> {
        self.gateway.kill();
        self.gateway = Process::start(&self.directory, "gateway", self.runtime)?;
        self.wait_for(self.servers.len(), interrupt)
    }

    pub(super) fn stop(mut self) {
        // Closing the pipes asks all of them at once; those that do not listen are killed.
        let all = std::iter::once(&mut self.introducer).chain(&mut self.servers).chain([&mut self.gateway]);
        let mut all: Vec<&mut Process> = all.collect();
        all.iter_mut().for_each(|process| drop(process.child.stdin.take()));
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline && !all.iter_mut().all(|process| process.has_ended()) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
