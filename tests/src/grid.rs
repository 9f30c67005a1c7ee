//! The processes of a grid.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a grid may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, built as this test was (release or debug).
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // target/PROFILE/deps/TEST -> target/PROFILE/tallac
        let test = std::env::current_exe().expect("a test has a path");
        let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps").to_owned();
        let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        build.args(["build", "--quiet", "-p", "tallac-node"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.file_name().is_some_and(|name| name == "release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", profile.parent().expect("target/"));
        assert!(build.status().expect("cargo runs").success(), "building the program failed");
        profile.join("tallac")
    })
}

/// What a command did.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// Standard output as a line of text.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Standard output, if the command succeeded.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn good(self) -> Output {
        assert_eq!(self.code, Some(0), "the command failed: {}", self.stderr);
        self
    }
}

/// How to make a grid.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many storage nodes.
    pub servers: usize,
    /// Runtimes, dealt out in turn: gateway, introducer, then the servers.
    pub runtimes: Vec<&'static str>,
    /// `K,H,N` for the gateway.
    pub shares: Option<&'static str>,
    /// Whether the introducer is a vdrive server, too, so that a directory appears by itself.
    pub vdrive: bool,
}

impl Options {
    /// Ten servers, all on one runtime.
    pub fn ten(runtime: &'static str) -> Options {
        Options { servers: 10, runtimes: vec![runtime], shares: None, vdrive: false }
    }
}

struct Node {
    directory: PathBuf,
    runtime: &'static str,
    child: Option<Child>,
}

/// A port on loopback that is free, and given to no other node of this process: a node that is stopped
/// for a while finds its port free when it starts again. Below the ports that the system lends to
/// outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    loop {
        let port = 10_000 + (first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A grid of processes. Everything is stopped and removed when it is dropped.
pub struct Grid {
    directory: TempDir,
    nodes: BTreeMap<String, Node>,
}

impl Grid {
    /// Makes the directories of an introducer, storage nodes `s0`, `s1`, ... and a gateway `gw`
    /// that keeps no shares. Starts nothing.
    pub fn create(options: &Options) -> Grid {
        let directory = tempfile::Builder::new().prefix("tallac-test-").tempdir().expect("a directory");
        let mut grid = Grid { directory, nodes: BTreeMap::new() };
        let runtime = |index: usize| options.runtimes[index % options.runtimes.len()];
        let no_vdrive: &[&str] = if options.vdrive { &[] } else { &["--no-vdrive"] };
        grid.add("introducer", runtime(1), &["create-introducer"], no_vdrive);
        let furl = grid.path("introducer").join("introducer.furl");
        let furl = furl.to_str().expect("temporary paths are text").to_owned();
        let mut gateway = vec!["--introducer", &furl, "--no-storage", "--nickname", "gw"];
        if let Some(shares) = options.shares {
            gateway.extend(["--shares", shares]);
        }
        grid.add("gw", runtime(0), &["create-node"], &gateway);
        for index in 0..options.servers {
            let name = format!("s{index}");
            let rest = ["--introducer", &furl, "--nickname", &name, "--reserved-space", "0"];
            grid.add(&name, runtime(index + 2), &["create-node"], &rest);
        }
        grid
    }

    /// Makes and starts a grid, and waits until the gateway is connected to every server.
    pub fn start(options: &Options) -> Grid {
        let mut grid = Grid::create(options);
        let names: Vec<String> = grid.nodes.keys().cloned().collect();
        names.iter().for_each(|name| grid.run(name));
        grid.wait_connected("gw", options.servers);
        grid
    }

    fn add(&mut self, name: &str, runtime: &'static str, command: &[&str], rest: &[&str]) {
        let directory = self.path(name);
        let output = Command::new(program())
            .args(command)
            .arg(&directory)
            .args(["--listen", &format!("127.0.0.1:{}", free_port())])
            .args(["--web", &format!("127.0.0.1:{}", free_port())])
            .args(rest)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.nodes.insert(name.into(), Node { directory, runtime, child: None });
    }

    /// The directory of a node.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The port on which a node listens for other nodes, as its configuration has it.
    pub fn port(&self, name: &str) -> u16 {
        let config = fs::read_to_string(self.path(name).join("tallac.toml")).expect("a configuration");
        let (_, grid) = config.split_once("[grid]").expect("a section");
        let port =
            grid.lines().find_map(|line| line.strip_prefix("listen = \"127.0.0.1:")).expect("an address");
        port.trim_end_matches('"').parse().expect("a port")
    }

    /// Starts a node.
    pub fn run(&mut self, name: &str) {
        self.run_by(name, &[]);
    }

    /// Starts a node by a command that becomes the node when it has set bounds, or the like. The node's own
    /// command is appended to it.
    pub fn run_by(&mut self, name: &str, command: &[&str]) {
        let node = self.nodes.get_mut(name).expect("a node of the grid");
        let _ = fs::remove_file(node.directory.join("node.url"));
        let log =
            File::options().create(true).append(true).open(node.directory.join("node.log")).expect("a log");
        let mut words = command.iter().map(AsRef::as_ref).chain([program().as_os_str()]);
        let child = Command::new(words.next().expect("at least the program"))
            .args(words)
            .args(["run", "--until-stdin-closes", "-v", "--runtime", node.runtime])
            .arg(&node.directory)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the program runs");
        node.child = Some(child);
    }

    /// The process id of a running node.
    pub fn pid(&self, name: &str) -> u32 {
        self.nodes[name].child.as_ref().expect("a running node").id()
    }

    /// Ends a node with SIGKILL.
    pub fn kill(&mut self, name: &str) {
        if let Some(mut child) = self.nodes.get_mut(name).and_then(|node| node.child.take()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends a node as its owner would, with SIGTERM.
    #[track_caller]
    pub fn stop(&mut self, name: &str) {
        self.signal(name, "TERM");
        assert_eq!(self.wait_end(name, PATIENCE), Some(0), "{name}: {}", self.log(name));
        self.nodes.get_mut(name).expect("a node of the grid").child = None;
    }

    /// Sends a node a signal, such as `STOP`, `CONT` or `TERM`.
    pub fn signal(&self, name: &str, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.pid(name).to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits until a node has ended by itself and gives its exit code.
    pub fn wait_end(&mut self, name: &str, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        let child = self.nodes.get_mut(name).and_then(|node| node.child.as_mut()).expect("a running node");
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "{name} did not end within {patience:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a node has written to its log.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).join("node.log")).unwrap_or_default()
    }

    /// Waits until a node is connected to so many servers.
    #[track_caller]
    pub fn wait_connected(&self, name: &str, servers: usize) {
        self.wait_until(name, |status| status["connected_servers"].as_u64() == Some(servers as u64));
    }

    /// Waits until a node's status fulfils a condition.
    #[track_caller]
    pub fn wait_until(&self, name: &str, fulfilled: impl Fn(&serde_json::Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(name);
            if status.as_ref().is_some_and(&fulfilled) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} did not get there: {status:?}\n{}", self.log(name));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A node's status, if it answers.
    pub fn status(&self, name: &str) -> Option<serde_json::Value> {
        if !self.path(name).join("node.url").exists() {
            return None;
        }
        let output = self.command(name, &["status", "--json"], &[]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Runs a command against a node.
    pub fn command(&self, name: &str, args: &[&str], stdin: &[u8]) -> Output {
        let started = Instant::now();
        let mut child = self.spawn(name, args, Stdio::piped());
        let mut input = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The command may end without reading all of it.
                let _ = input.write_all(stdin);
            });
            let output = child.wait_with_output().expect("a child can be waited for");
            Output {
                code: output.status.code(),
                stdout: output.stdout,
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                took: started.elapsed(),
            }
        })
    }

    /// Starts a command against a node, to be waited for later.
    pub fn spawn(&self, name: &str, args: &[&str], stdin: Stdio) -> Child {
        Command::new(program())
            .arg("-d")
            .arg(self.path(name))
            .args(args)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs")
    }

    /// Stores a content through the gateway and gives its capability.
    #[track_caller]
    pub fn put(&self, content: &[u8]) -> String {
        let file = self.directory.path().join("to-put");
        fs::write(&file, content).expect("a file");
        self.command("gw", &["put", "--quiet", file.to_str().expect("text")], &[]).good().line()
    }

    /// Fetches through the gateway; the content is on standard output.
    pub fn get(&self, cap: &str) -> Output {
        self.command("gw", &["get", "--quiet", "-"], cap.as_bytes())
    }

    /// Fetches through the gateway and compares.
    #[track_caller]
    pub fn check(&self, cap: &str, content: &[u8]) -> Output {
        let output = self.get(cap).good();
        assert_eq!(crate::differs_at(&output.stdout, content), None, "the first byte that differs");
        output
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.nodes.keys() {
                let log = self.log(name);
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                eprintln!("--- {name}");
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        names.iter().for_each(|name| self.kill(name));
    }
}
