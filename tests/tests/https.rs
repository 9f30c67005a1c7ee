//! The web port over https: the node's own commands, curl and Chromium with a certificate made by the node
//! and with a chain of three, and what is said of files that cannot be used.

use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tallac_tests::browser::{self, Browser};
use tallac_tests::program;

struct Node {
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn tallac(directory: &Path, args: &[&str]) -> Output {
    Command::new(program()).arg("-d").arg(directory).args(args).output().expect("it runs")
}

/// A node directory whose web port is chosen by the system.
fn create(directory: &Path) {
    let made = Command::new(program())
        .args(["create-node", "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
        .arg(directory)
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn configure(directory: &Path, certificate: &str, key: &str) {
    let path = directory.join("tallac.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("certificate = \"\"", &format!("certificate = \"{certificate}\""));
    fs::write(&path, text.replace("\nkey = \"\"", &format!("\nkey = \"{key}\""))).expect("a file");
}

/// Runs it, and waits until it says where it is.
fn run(directory: &Path, runtime: &str) -> (Node, String) {
    let _ = fs::remove_file(directory.join("node.url"));
    let child = Command::new(program())
        .args(["run", "--until-stdin-closes", "--runtime", runtime])
        .arg(directory)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let node = Node { child };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(url) = fs::read_to_string(directory.join("node.url"))
            && !url.is_empty()
        {
            return (node, url.trim().to_owned());
        }
        assert!(Instant::now() < deadline, "the node did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn curl(args: &[&str]) -> Option<Output> {
    Command::new("curl").args(["-sS", "--max-time", "20"]).args(args).output().ok()
}

#[track_caller]
fn fetches(trusted: &Path, url: &str) {
    let Some(output) = curl(&["--cacert", trusted.to_str().expect("text"), &format!("{url}health")]) else {
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"The node is running.\n");
}

/// Chromium for somebody who trusts this root, or this very certificate; `None` where the browser, or
/// `certutil` to tell it, cannot be had.
fn browser_that_trusts(home: &Path, trust: &str, certificate: &Path) -> Option<Browser> {
    let program = browser::find()?;
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).expect("a directory");
    let store = format!("sql:{}", store.display());
    let certutil = |args: &[&str]| {
        let output = Command::new("certutil").args(["-d", &store]).args(args).output().ok()?;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(())
    };
    let file = certificate.to_str().expect("text");
    let made = certutil(&["-N", "--empty-password"])
        .and_then(|()| certutil(&["-A", "-n", "test", "-t", trust, "-a", "-i", file]));
    if made.is_none() {
        eprintln!("SKIPPED: no certutil to tell Chromium whom to trust: install libnss3-tools");
        return None;
    }
    // What it trusts is in the home of who runs it.
    let wrapper = home.join("chromium");
    let script = format!("#!/bin/sh\nHOME='{}' exec '{}' \"$@\"\n", home.display(), program.display());
    fs::write(&wrapper, script).expect("a file");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o700)).expect("a file of ours");
    Some(Browser::start(&wrapper))
}

/// What comes of going to an address: nothing, or an error of the browser.
fn go(browser: &mut Browser, url: &str) -> Option<String> {
    let gone = browser.call("Page.navigate", json!({ "url": url }));
    gone["errorText"].as_str().map(str::to_owned)
}

/// The first page is shown, its style and script are there, and a script reaches the node.
#[track_caller]
fn shows(browser: &mut Browser, url: &str) {
    assert_eq!(go(browser, url), None, "{url}");
    browser.wait("document.readyState == 'complete' && location.protocol == 'https:'");
    assert_eq!(browser.value("isSecureContext"), true);
    assert_ne!(browser.value("document.styleSheets[0].cssRules.length"), 0);
    let health = browser.text("fetch('/health').then(answer => answer.text())");
    assert_eq!(health, "The node is running.\n");
}

#[test]
fn a_certificate_made_by_the_node() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("node");
    create(&directory);
    let made = tallac(&directory, &["create-certificate", "--name", "nas.local"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8_lossy(&made.stdout).contains("SHA-256 fingerprint"), "{made:?}");
    assert!(!tallac(&directory, &["create-certificate"]).status.success(), "the first one stays");
    configure(&directory, "private/web.pem", "private/web-key.pem");
    for runtime in ["blocking", "smol", "async-std"] {
        let (_node, url) = run(&directory, runtime);
        assert!(url.starts_with("https://127.0.0.1:"), "{url}");
        fetches(&directory.join("private/web.pem"), &url);
        // The node's own command, and a file larger than a TLS record.
        let told = tallac(&directory, &["status"]);
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        // Nobody else believes it, and it does not speak in the clear.
        if let Some(output) = curl(&[&format!("{url}health")]) {
            assert!(!output.status.success());
        }
        if let Some(output) = curl(&[&format!("{}health", url.replace("https", "http"))]) {
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    }
    // A browser shows the page to who has said that this very certificate is good, and to nobody else.
    let (_node, url) = run(&directory, "blocking");
    let Some(mut browser) = browser_that_trusts(home.path(), "P,,", &directory.join("private/web.pem"))
    else {
        return;
    };
    shows(&mut browser, &url);
    drop(browser);
    let other = home.path().join("other");
    create(&other);
    assert!(tallac(&other, &["create-certificate"]).status.success());
    let stranger = home.path().join("stranger");
    let trusted = other.join("private/web.pem");
    let mut browser = browser_that_trusts(&stranger, "P,,", &trusted).expect("as before");
    assert_eq!(go(&mut browser, &url).as_deref(), Some("net::ERR_CERT_AUTHORITY_INVALID"));
}

/// Skipped where there is no openssl.
#[test]
fn a_chain_of_three() {
    let home = tempfile::tempdir().expect("a directory");
    let at = |name: &str| home.path().join(name).to_str().expect("text").to_owned();
    let openssl = |args: &str| {
        let args: Vec<String> = args.split(' ').map(|arg| arg.replace('@', &at(""))).collect();
        let output = Command::new("openssl").args(&args).output().ok()?;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(())
    };
    fs::write(at("ca.ext"), "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign").expect("a file");
    fs::write(at("leaf.ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost").expect("a file");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let made = (|| {
        openssl(&format!("req -x509 {key} -keyout @root.key -out @root.pem -subj /CN=root -days 3"))?;
        for (name, issuer, ext) in [("middle", "root", "ca"), ("leaf", "middle", "leaf")] {
            openssl(&format!("req {key} -keyout @{name}.key -out @{name}.csr -subj /CN={name}"))?;
            openssl(&format!(
                "x509 -req -in @{name}.csr -CA @{issuer}.pem -CAkey @{issuer}.key -CAcreateserial -days 2 -extfile \
                 @{ext}.ext -out @{name}.pem"
            ))?;
        }
        Some(())
    })();
    if made.is_none() {
        return;
    }
    let chain = ["leaf", "middle"].map(|name| fs::read_to_string(at(&format!("{name}.pem"))).expect("PEM"));
    fs::write(at("chain.pem"), chain.concat()).expect("a file");
    let directory = home.path().join("node");
    create(&directory);
    // As v0.4 has it.
    let port = format!("ssl:0:privateKey={}:certKey={}", at("leaf.key"), at("chain.pem"));
    fs::write(directory.join("webport"), port).expect("a file");
    {
        let (_node, url) = run(&directory, "blocking");
        fetches(&home.path().join("root.pem"), &url);
        assert!(tallac(&directory, &["status"]).status.success());
        // The name matters to who does not know the certificate.
        let other = url.replace("127.0.0.1", "nas.local");
        let port = url.rsplit(':').next().expect("a port").trim_end_matches('/');
        let resolve = format!("nas.local:{port}:127.0.0.1");
        if let Some(output) = curl(&["--cacert", &at("root.pem"), "--resolve", &resolve, &other]) {
            assert!(!output.status.success());
        }
        // The browser builds the same chain, from the root that it trusts and what the node shows; it
        // refuses the same name.
        if let Some(mut browser) = browser_that_trusts(home.path(), "C,,", &home.path().join("root.pem")) {
            shows(&mut browser, &url);
            let name = url.replace("127.0.0.1", "localhost");
            shows(&mut browser, &name);
            let sub = url.replace("127.0.0.1", "sub.localhost");
            assert_eq!(go(&mut browser, &sub).as_deref(), Some("net::ERR_CERT_COMMON_NAME_INVALID"));
        }
    }
    // What cannot be used is told at the start.
    fs::write(at("garbage.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a file");
    fs::write(at("empty.pem"), "").expect("a file");
    for (certificate, key, why) in [
        ("garbage.pem", "leaf.key", "cannot be read"),
        ("empty.pem", "leaf.key", "no PEM certificate"),
        ("nowhere.pem", "leaf.key", "cannot be read"),
        ("chain.pem", "empty.pem", "no PEM private key"),
        ("chain.pem", "root.key", "not that of the first certificate"),
        ("middle.pem", "leaf.key", "not that of the first certificate"),
    ] {
        let port = format!("ssl:0:privateKey={}:certKey={}", at(key), at(certificate));
        fs::write(directory.join("webport"), port).expect("a file");
        let mut child = Command::new(program())
            .args(["run", "--until-stdin-closes"])
            .arg(&directory)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert!(!child.wait().expect("it ends").success(), "{certificate} {key}");
        assert!(said.contains(why), "{certificate} {key}: {said}");
    }
}
