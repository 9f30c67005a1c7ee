//! A person at the command line, with a node directory of their own.

use crate::{Grid, Options, Output, program};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Names the web port (`HOST:PORT`) of a gateway that is to be used instead of one of ours, such as one
/// of Tahoe-LAFS's: the commands speak the API that both have.
const OTHER_GATEWAY: &str = "TALLAC_TEST_GATEWAY";

/// Runs commands against a gateway, and sees what they ask of it. The node directory holds `node.url`
/// and what the commands put there.
pub struct User {
    grid: Option<Grid>,
    directory: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl User {
    /// A user of a grid of its own with three servers.
    pub fn of_a_grid() -> User {
        if let Ok(gateway) = std::env::var(OTHER_GATEWAY) {
            return User::of(None, &gateway);
        }
        let grid = Grid::start(&Options { servers: 3, shares: Some("1,1,3"), ..Options::ten("blocking") });
        let url = fs::read_to_string(grid.path("gw").join("node.url")).expect("the gateway runs");
        let gateway = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        User::of(Some(grid), &gateway)
    }

    /// A user of whatever answers at `HOST:PORT`.
    pub fn of_gateway(gateway: &str) -> User {
        User::of(None, gateway)
    }

    fn of(grid: Option<Grid>, gateway: &str) -> User {
        let directory = tempfile::Builder::new().prefix("tallac-user-").tempdir().expect("a directory");
        let requests = Arc::default();
        let own = watch(gateway.to_owned(), Arc::clone(&requests));
        let node = directory.path().join("node");
        fs::create_dir(&node).expect("a directory");
        fs::write(node.join("node.url"), format!("http://{own}/\n")).expect("a file");
        User { grid, directory, requests }
    }

    /// Whether the gateway is another one than ours.
    pub fn is_of_another(&self) -> bool {
        self.grid.is_none()
    }

    /// The node directory.
    pub fn node(&self) -> PathBuf {
        self.directory.path().join("node")
    }

    /// A place for files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary paths are text").to_owned()
    }

    /// Runs a command.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[])
    }

    /// Runs a command with something on standard input.
    pub fn run_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let started = Instant::now();
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the program runs");
        // All of it fits a pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(stdin);
        let output = child.wait_with_output().expect("a child can be waited for");
        Output {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: started.elapsed(),
        }
    }

    /// Starts a command, to be waited for later.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::null()).spawn().expect("the program runs")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("-d").arg(self.node()).args(args).current_dir(self.directory.path());
        for browser in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(browser);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command that must succeed, and gives its standard output.
    #[track_caller]
    pub fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.code, Some(0), "{args:?}: {}", output.stderr);
        String::from_utf8(output.stdout).expect("text").trim_end_matches('\n').to_owned()
    }

    /// Runs a command that must fail so, and says so.
    #[track_caller]
    pub fn bad(&self, args: &[&str], code: i32, words: &str) {
        let output = self.run(args);
        assert_eq!(output.code, Some(code), "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains(words), "{args:?}: {}", output.stderr);
        // The kind of a capability may be told, as in "URI:DIR2:...".
        let keys = output.stderr.split("URI:DIR2").skip(1).filter(|rest| !rest.contains(":..."));
        assert_eq!(keys.count(), 0, "a capability in {}", output.stderr);
    }

    /// The lines of the requests that changed something since this was asked last.
    pub fn take_changes(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.lock());
        requests.into_iter().filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ")).collect()
    }

    /// How many requests there were since [`take_changes`](Self::take_changes).
    pub fn requests(&self) -> usize {
        self.lock().len()
    }

    /// Waits until there were so many requests since [`take_changes`](Self::take_changes).
    #[track_caller]
    pub fn wait_requests(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.requests() < count {
            assert!(Instant::now() < deadline, "{} requests instead of {count}", self.requests());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the servers of our own grid hold: each share with its length and the time of its last change.
    pub fn shares(&self) -> Option<Vec<(PathBuf, u64, std::time::SystemTime)>> {
        let grid = self.grid.as_ref()?;
        let mut shares = Vec::new();
        for server in 0..3 {
            add_files(&grid.path(&format!("s{server}")).join("storage/shares"), &mut shares);
        }
        shares.sort();
        Some(shares)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.requests.lock().expect("no test panics with it")
    }
}

fn add_files(directory: &Path, files: &mut Vec<(PathBuf, u64, std::time::SystemTime)>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => add_files(&path, files),
            Ok(metadata) => files.push((path, metadata.len(), metadata.modified().expect("a time"))),
            Err(_) => {}
        }
    }
}

/// Listens, passes all on to a gateway, and keeps the first line of each connection: commands make one
/// for each request. Gives the address; ends with the process.
fn watch(gateway: String, requests: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it listens").to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (gateway, requests) = (gateway.clone(), Arc::clone(&requests));
            std::thread::spawn(move || {
                // If the gateway is gone, the client sees a closed connection.
                let _ = pass(client, &gateway, &requests);
            });
        }
    });
    address
}

fn pass(mut client: TcpStream, gateway: &str, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut first = vec![0; 64 * 1024];
    let len = client.read(&mut first)?;
    if len == 0 {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&first[..len]);
    let line = text.lines().next().unwrap_or_default().to_owned();
    requests.lock().expect("no test panics with it").push(line);
    let mut server = TcpStream::connect(gateway)?;
    server.write_all(&first[..len])?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        // A client that hangs up in the middle is passed on as that.
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut server, &mut client);
    client.shutdown(Shutdown::Both)
}
