//! Tahoe-LAFS itself, the Python original, as the other side of a test.
//!
//! It is installed once, into `peer-venv` beside the build's profiles. Where that is impossible the
//! tests are skipped, but not in CI (`CI=true`), where they fail. `TALLAC_PEER_PYTHON` names a Python
//! that has it already.

use crate::web::{self, Answer};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const VERSION: &str = "1.20.0";
const PATIENCE: Duration = Duration::from_secs(60);

/// What is installed, and what tells that it has changed.
const REQUIREMENTS: &str = include_str!("../peer/requirements.txt");

/// The Python that has the peer, installed first if need be; `None` if it cannot be had, and then a
/// line on standard error says why.
///
/// # Panics
/// In CI, instead of `None`.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| match find_or_install() {
        Ok(python) => Some(python),
        Err(why) => {
            let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
            assert!(!ci, "Tahoe-LAFS {VERSION} cannot be had: {why}");
            eprintln!("SKIPPED: Tahoe-LAFS {VERSION} cannot be had: {why}");
            None
        }
    });
    python.as_deref()
}

fn find_or_install() -> Result<PathBuf, String> {
    if let Some(python) = std::env::var_os("TALLAC_PEER_PYTHON").map(PathBuf::from) {
        return has_peer(&python).map(|()| python);
    }
    // target/PROFILE/deps/TEST -> target
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.ancestors().nth(3).expect("target/PROFILE/deps");
    let venv = target.join("peer-venv");
    let python = venv.join("bin/python");
    // Other test processes wait here until the first has installed it.
    let lock = File::create(target.join("peer-venv.lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let done = venv.join("installed");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == REQUIREMENTS) && has_peer(&python).is_ok()
    {
        return Ok(python);
    }
    eprintln!("installing Tahoe-LAFS {VERSION} into {}", venv.display());
    let _ = fs::remove_dir_all(&venv);
    quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/peer/requirements.txt");
    let mut installed = Ok(());
    for pause in [0, 3, 10] {
        std::thread::sleep(Duration::from_secs(pause));
        installed = quiet(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(requirements),
        );
        if installed.is_ok() {
            break;
        }
    }
    installed?;
    has_peer(&python)?;
    fs::write(&done, REQUIREMENTS).map_err(|error| error.to_string())?;
    Ok(python)
}

fn has_peer(python: &Path) -> Result<(), String> {
    let code = "import sys, importlib.metadata as m; sys.exit(m.version('tahoe-lafs') != sys.argv[1])";
    quiet(Command::new(python).args(["-c", code, VERSION]))
}

/// Runs a command to its end; what it said is only of interest if it failed.
fn quiet(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}{}", text(&output.stdout), text(&output.stderr)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn script_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peer").join(name)
}

/// Runs one of the scripts in `tests/peer` and gives what it printed, line by line.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn script(python: &Path, name: &str, args: &[&str], stdin: &str) -> Vec<String> {
    let mut child = Command::new(python)
        .arg(script_path(name))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python runs");
    // All of our inputs fit a pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success(), "{name} {args:?} failed: {}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// Gives a directory the peer's configuration of a storage node on `port`.
pub fn configure_server(directory: &Path, port: u16) {
    let name = directory.file_name().expect("a name").display();
    let config = format!(
        "[node]\nnickname = {name}\ntub.port = tcp:{port}:interface=127.0.0.1\n\
         tub.location = tcp:127.0.0.1:{port}\nweb.port =\n\
         [storage]\nenabled = true\nreserved_space = 0\n[helper]\nenabled = false\n"
    );
    configure(directory, &config);
}

/// Gives a directory the peer's configuration of a gateway that uses these servers: the id of each,
/// and what it announces. `shares` is needed, happy, total.
pub fn configure_gateway(
    directory: &Path,
    shares: [u16; 3],
    servers: &serde_json::Map<String, serde_json::Value>,
) {
    let [needed, happy, total] = shares;
    let config = format!(
        "[node]\nnickname = gateway\ntub.port = disabled\ntub.location = disabled\n\
         web.port = tcp:0:interface=127.0.0.1\n\
         [client]\nshares.needed = {needed}\nshares.happy = {happy}\nshares.total = {total}\n\
         [storage]\nenabled = false\n"
    );
    configure(directory, &config);
    let entry = |(id, ann): (&String, &serde_json::Value)| (id.clone(), serde_json::json!({ "ann": ann }));
    let servers: serde_json::Map<_, _> = servers.iter().map(entry).collect();
    // JSON is YAML.
    let list = serde_json::json!({ "storage": servers }).to_string();
    fs::write(directory.join("private/servers.yaml"), list).expect("a list of servers");
}

fn configure(directory: &Path, config: &str) {
    fs::create_dir_all(directory.join("private")).expect("a directory");
    fs::write(directory.join("tahoe.cfg"), config).expect("a configuration");
}

/// Ten servers of the peer, each a process of its own, and a gateway that uses them, 3 of 10, happy with 7.
pub struct PeerGrid {
    /// The gateway.
    pub gateway: Peer,
    _servers: Vec<Peer>,
    _directory: tempfile::TempDir,
}

impl PeerGrid {
    /// Starts them. `python` is that of [`python`].
    pub fn start(python: &Path) -> PeerGrid {
        let directory = tempfile::tempdir().expect("a directory");
        let mut announcements = serde_json::Map::new();
        let mut servers = Vec::new();
        for index in 0..10 {
            let path = directory.path().join(format!("p{index}"));
            configure_server(&path, crate::free_port());
            let mut node = Peer::start(python, &path);
            let told = node.run(&path);
            announcements.insert(told["id"].as_str().expect("an id").into(), told["announcement"].clone());
            servers.push(node);
        }
        let path = directory.path().join("gateway");
        configure_gateway(&path, [3, 7, 10], &announcements);
        let mut gateway = Peer::start(python, &path);
        gateway.run_gateway(&path, 10);
        PeerGrid { gateway, _servers: servers, _directory: directory }
    }
}

/// Nodes of the peer, all in one process, which ends when this is dropped.
pub struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
    gateway: Option<String>,
}

impl Peer {
    /// Starts the process, without a node in it. Its log goes into `directory`.
    pub fn start(python: &Path, directory: &Path) -> Peer {
        let log = directory.join("peer.log");
        let mut child = Command::new(python)
            .arg(script_path("nodes.py"))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("Python runs");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Peer { child, orders, answers, log, gateway: None }
    }

    /// Runs the node of a directory; gives what its owner would tell the grid.
    #[track_caller]
    pub fn run(&mut self, directory: &Path) -> serde_json::Value {
        let orders = self.orders.as_mut().expect("it has not been stopped");
        writeln!(orders, "{}", directory.display()).and_then(|()| orders.flush()).expect("it takes orders");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("a pipe");
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{} did not start", directory.display()))
    }

    /// Runs a gateway and waits until it is connected to so many servers.
    #[track_caller]
    pub fn run_gateway(&mut self, directory: &Path, servers: usize) {
        // Left over from another node, it would name the wrong port.
        let url = directory.join("node.url");
        let _ = fs::remove_file(&url);
        self.run(directory);
        let deadline = Instant::now() + PATIENCE;
        while !url.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = fs::read_to_string(&url).expect("a gateway says where it is");
        self.gateway = Some(url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned());
        loop {
            let status: serde_json::Value =
                serde_json::from_slice(&self.http("GET", "/?t=json", &[])).expect("JSON");
            let known = status["servers"].as_array().expect("a list");
            let up = known.iter().filter(|server| {
                let status = server["connection_status"].as_str().unwrap_or_default();
                status.to_lowercase().starts_with("connected") && !server["available_space"].is_null()
            });
            if up.count() == servers {
                return;
            }
            assert!(Instant::now() < deadline, "the peer's gateway did not get there: {status}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stores a content and gives its capability.
    #[track_caller]
    pub fn put(&self, content: &[u8]) -> String {
        text(&self.http("PUT", "/uri", content)).trim().to_owned()
    }

    /// Fetches a file and compares.
    #[track_caller]
    pub fn check(&self, cap: &str, content: &[u8]) {
        let got = self.http("GET", &format!("/uri/{cap}"), &[]);
        assert_eq!(crate::differs_at(&got, content), None, "the first byte that differs");
    }

    /// Has the peer verify every block of every share; gives what it found.
    #[track_caller]
    pub fn verify(&self, cap: &str) -> serde_json::Value {
        let found = self.http("POST", &format!("/uri/{cap}?t=check&verify=true&output=json"), &[]);
        serde_json::from_slice(&found).expect("JSON")
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the gateway's web port is.
    pub fn authority(&self) -> &str {
        self.gateway.as_deref().expect("a gateway runs")
    }

    /// Asks the gateway.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        web::ask(self.authority(), method, path, body)
    }

    /// Asks the gateway something; gives the body of a good answer.
    #[track_caller]
    fn http(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let answer = self.ask(method, path, body);
        let (status, head) = (answer.status, &answer.head);
        assert!((200..300).contains(&status), "{method} {path}: {head}\n{}", text(&answer.body));
        answer.body
    }

    /// Stops all nodes and waits until they are gone.
    #[track_caller]
    pub fn stop(mut self) {
        drop(self.orders.take());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("a child can be waited for").is_none() {
            assert!(Instant::now() < deadline, "the peer did not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the peer");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
