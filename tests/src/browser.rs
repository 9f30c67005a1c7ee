//! A browser without a window, driven over the DevTools protocol.
//!
//! Chromium speaks it over two pipes (`--remote-debugging-pipe`): JSON, each message ended by a zero byte.
//! <https://chromedevtools.github.io/devtools-protocol/> lists the methods.

use data_encoding::BASE64;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page. It ends when it is dropped.
pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    next: u64,
    profile: TempDir,
}

/// The browser of this machine. Without one, tests of pages are skipped, but not in CI.
pub fn find() -> Option<PathBuf> {
    let found = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "there is no Chromium: install the package chromium");
        eprintln!("skipped: there is no Chromium on this machine");
    }
    found
}

impl Browser {
    /// Starts it, with a profile of its own.
    pub fn start(program: &Path) -> Browser {
        let profile = tempfile::Builder::new().prefix("tallac-browser-").tempdir().expect("a directory");
        // The shell puts the pipes where Chromium looks for them.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--remote-debugging-pipe", "--window-size=1200,900"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let pipe = child.stdin.take().expect("a pipe");
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while reader.read_until(0, &mut message).is_ok_and(|len| len > 0) {
                message.pop();
                let parsed = serde_json::from_slice(&message).expect("JSON");
                if sender.send(parsed).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Browser { child, pipe, messages, session: None, next: 0, profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({}));
        browser
    }

    /// One method, and what came of it.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// One method, and what came of it, or why nothing did.
    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).expect("it reads");
        loop {
            let answer = self.messages.recv_timeout(PATIENCE).expect("the browser answers");
            if answer["id"] == id {
                let error = &answer["error"];
                return if error.is_null() { Ok(answer["result"].clone()) } else { Err(error.clone()) };
            }
        }
    }

    /// Opens an address and waits until the page is there.
    #[track_caller]
    pub fn go(&mut self, url: &str) {
        // The old page is not to be taken for the new one.
        self.value("window.old = true; 0");
        self.call("Page.navigate", json!({ "url": url }));
        self.wait("!window.old && document.readyState == 'complete' && location.href != 'about:blank'");
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// The same as text.
    #[track_caller]
    pub fn text(&mut self, expression: &str) -> String {
        self.value(expression).as_str().map(str::to_owned).unwrap_or_default()
    }

    /// Waits until an expression is true. Pages may change meanwhile.
    #[track_caller]
    pub fn wait(&mut self, expression: &str) {
        let begun = Instant::now();
        loop {
            let params = json!({ "expression": expression, "returnByValue": true });
            // A page that goes away in the middle of it answers with an error.
            let result = self.try_call("Runtime.evaluate", params);
            if result.is_ok_and(|result| result["result"]["value"] == true) {
                return;
            }
            if begun.elapsed() > PATIENCE {
                let page = self.text("document.body.innerText");
                panic!("never comes true: {expression}; the page says:\n{page}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends the form that has a field, and waits for the page that comes of it.
    #[track_caller]
    pub fn submit(&mut self, field: &str, values: &[(&str, &str)]) {
        for (selector, value) in values {
            self.value(&format!("document.querySelector({selector:?}).value = {value:?}; 0"));
        }
        self.value("window.old = true; 0");
        self.value(&format!("document.querySelector({field:?}).form.requestSubmit(); 0"));
        self.wait("!window.old && document.readyState == 'complete'");
    }

    /// Chooses a file in a field.
    #[track_caller]
    pub fn choose(&mut self, selector: &str, file: &Path) {
        let root = self.call("DOM.getDocument", json!({}))["root"]["nodeId"].clone();
        let found = self.call("DOM.querySelector", json!({ "nodeId": root, "selector": selector }));
        let params = json!({ "nodeId": found["nodeId"], "files": [file] });
        self.call("DOM.setFileInputFiles", params);
    }

    /// Drops files into the page, as from a file manager.
    #[track_caller]
    pub fn drop_files(&mut self, files: &[PathBuf]) {
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({ "items": [], "files": files, "dragOperationsMask": 1 });
            self.call("Input.dispatchDragEvent", json!({ "type": kind, "x": 300, "y": 400, "data": data }));
        }
    }

    /// From now on the line to all sites takes and gives so many bytes a second; as many as come, if 0.
    pub fn throttle(&mut self, bytes: u32) {
        let rate = if bytes == 0 { json!(-1) } else { json!(bytes) };
        self.call("Network.enable", json!({}));
        let line = json!({
            "offline": false, "latency": 0, "downloadThroughput": rate, "uploadThroughput": rate,
        });
        self.call("Network.emulateNetworkConditions", line);
    }

    /// Lets pages run scripts, or not.
    pub fn scripts(&mut self, run: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !run }));
    }

    /// Clicks on what a selector finds, as a finger would.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        // A style that comes late moves what is to be clicked.
        self.wait("document.readyState == 'complete'");
        let place = format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let place = self.value(&place);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Follows a link, and waits for the page that it leads to.
    #[track_caller]
    pub fn follow(&mut self, link: &str) {
        self.value("window.old = true; 0");
        self.click(link);
        self.wait("!window.old && document.readyState == 'complete'");
    }

    /// Whether what is wider than a telephone makes the page scroll sideways.
    pub fn overflows(&mut self) -> bool {
        self.value("document.documentElement.scrollWidth > document.documentElement.clientWidth") == true
    }

    /// Has downloads kept in a directory.
    pub fn keep_downloads(&mut self, directory: &Path) {
        let params = json!({ "behavior": "allow", "downloadPath": directory });
        self.call("Page.setDownloadBehavior", params);
    }

    /// Pages are shown so wide from now on, in the light or in the dark.
    pub fn look(&mut self, width: u32, dark: bool) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [scheme] }));
    }

    /// Writes a picture of the page, if `TALLAC_SHOTS` names a directory for them.
    pub fn shoot(&mut self, name: &str) {
        let Some(directory) = std::env::var_os("TALLAC_SHOTS").map(PathBuf::from) else { return };
        for (kind, width, dark) in [("light", 1200, false), ("dark", 1200, true), ("phone", 390, false)] {
            self.look(width, dark);
            if width < 600 {
                assert!(!self.overflows(), "{name} is wider than a telephone");
            }
            let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
            let data = BASE64.decode(shot["data"].as_str().unwrap_or_default().as_bytes()).expect("base64");
            fs::write(directory.join(format!("{name}-{kind}.png")), data).expect("a picture");
        }
        self.look(1200, false);
    }

    /// Closes it, so that all it keeps is on the disk, and gives the directory of that.
    pub fn close(mut self) -> Closed {
        self.session = None;
        self.call("Browser.close", json!({}));
        let _ = self.child.wait();
        let empty = tempfile::tempdir().expect("a directory");
        Closed { profile: std::mem::replace(&mut self.profile, empty) }
    }
}

/// What a browser that was closed has kept.
pub struct Closed {
    profile: TempDir,
}

impl Closed {
    /// The files of the profile in which a text stands.
    pub fn holding(&self, text: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.profile.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("a directory").flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(path);
                } else if let Ok(content) = fs::read(&path)
                    && content.windows(text.len()).any(|window| window == text.as_bytes())
                {
                    found.push(path);
                }
            }
        }
        found
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
