//! Tahoe-LAFS's own command, `tahoe`, against a Tallac gateway: a directory with nothing but the
//! gateway's address in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tallac_core::base32;
use tallac_soft_rsa::test_key;
use tallac_tests::{Grid, Options, content, peer};
use tempfile::TempDir;

/// Somebody who uses the command.
struct User<'a> {
    python: &'a Path,
    home: TempDir,
}

struct Said {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Said {
    #[track_caller]
    fn good(self) -> Said {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("text").trim().to_owned()
    }

    /// Its lines, in any order.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl<'a> User<'a> {
    fn new(python: &'a Path, grid: &Grid) -> User<'a> {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(home.path().join("node/private")).expect("a directory");
        let url = fs::read(grid.path("gw").join("node.url")).expect("the gateway runs");
        fs::write(home.path().join("node/node.url"), url).expect("a file");
        User { python, home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path.to_str().expect("text").to_owned()
    }

    fn tahoe(&self, args: &[&str]) -> Said {
        let output = Command::new(self.python)
            .args(["-m", "allmydata", "-d"])
            .arg(self.path("node"))
            .args(args)
            .current_dir(self.home.path())
            .env("PYTHONIOENCODING", "utf-8")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("Python runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Said { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// As PEM has it.
fn base64(python: &Path, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let program =
        "import base64, sys; print(base64.encodebytes(bytes.fromhex(sys.argv[1])).decode(), end='')";
    let output = Command::new(python).args(["-c", program, &hex]).output().expect("Python runs");
    String::from_utf8(output.stdout).expect("text")
}

fn grid() -> Grid {
    Grid::start(&Options { servers: 4, shares: Some("2,3,4"), ..Options::ten("smol") })
}

/// All files below a directory, by their path.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").to_owned();
                files.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

#[test]
fn files_directories_and_aliases() {
    let Some(python) = peer::python() else { return };
    let grid = grid();
    let user = User::new(python, &grid);
    let tahoe = |args: &[&str]| user.tahoe(args);

    // Aliases.
    tahoe(&["create-alias", "home"]).good();
    let listed = tahoe(&["list-aliases"]).good().text();
    let cap = listed.split_whitespace().nth(1).expect("a capability").to_owned();
    assert!(listed.starts_with("home: URI:DIR2:"), "{listed}");
    tahoe(&["add-alias", "again", &cap]).good();
    assert_eq!(tahoe(&["list-aliases"]).good().lines().len(), 2);
    assert_eq!(tahoe(&["ls", "home:"]).good().text(), "");
    assert_eq!(tahoe(&["ls", "home:nothing"]).code, Some(2));

    // Directories; one that is there stays.
    let sub = tahoe(&["mkdir", "home:a/b/c"]).good().text();
    assert!(sub.starts_with("URI:DIR2:"), "{sub}");
    assert_eq!(tahoe(&["mkdir", "again:a/b/c"]).good().text(), sub);
    assert!(tahoe(&["mkdir", "--format=mdmf"]).good().text().starts_with("URI:DIR2-MDMF:"));

    // Files, into a path and alone; put again they are replaced.
    let one = user.write("one", &content(1, 100_000));
    let two = user.write("two", &content(2, 70_000));
    let put = tahoe(&["put", &one, "home:a/file"]).good();
    assert!(put.stderr.contains("201"), "{}", put.stderr);
    assert!(put.text().starts_with("URI:CHK:"));
    let put = tahoe(&["put", &two, "home:a/file"]).good();
    assert!(put.stderr.contains("200"), "{}", put.stderr);
    let alone = tahoe(&["put", &one]).good().text();
    assert_eq!(tahoe(&["get", &alone]).good().stdout, content(1, 100_000));
    assert_eq!(tahoe(&["get", "home:a/file"]).good().stdout, content(2, 70_000));
    tahoe(&["put", &one, "home:new/way/down"]).good();
    assert_eq!(tahoe(&["get", "home:new/way/down"]).good().stdout, content(1, 100_000));
    assert_ne!(tahoe(&["get", "home:a/no file"]).code, Some(0));
    assert_ne!(tahoe(&["put", &one, "home:a"]).code, Some(0), "a file does not replace a directory");

    // Mutable files: in place, by path and by capability.
    for format in ["sdmf", "mdmf"] {
        let place = format!("home:{format}");
        let cap = tahoe(&["put", &format!("--format={format}"), &one, &place]).good().text();
        assert_eq!(tahoe(&["put", &two, &place]).good().text(), cap);
        assert_eq!(tahoe(&["get", &place]).good().stdout, content(2, 70_000));
        assert_eq!(tahoe(&["put", &one, &cap]).good().text(), cap);
        assert_eq!(tahoe(&["get", &cap]).good().stdout, content(1, 100_000));
    }
    assert!(tahoe(&["put", "--mutable", &one]).good().text().starts_with("URI:SSK:"));
    // A key made elsewhere decides the capability; a second file cannot have it.
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n",
        base64(python, test_key(1).pkcs8())
    );
    let pem = format!("--private-key-path={}", user.write("key.pem", pem.as_bytes()));
    let keyed = tahoe(&["put", "--mutable", &pem, &one]).good().text();
    assert_eq!(keyed.split(':').nth(2), Some(&*base32::encode(test_key(1).write_key().expose())), "{keyed}");
    assert_ne!(tahoe(&["put", "--mutable", &pem, &two]).code, Some(0));
    assert_eq!(tahoe(&["get", &keyed]).good().stdout, content(1, 100_000));

    // What ls shows.
    assert_eq!(tahoe(&["ls", "home:"]).good().lines(), ["a", "mdmf", "new", "sdmf"]);
    assert_eq!(tahoe(&["ls", "-F", "home:"]).good().lines(), ["a/", "mdmf*", "new/", "sdmf*"]);
    let long = tahoe(&["ls", "-l", "home:a"]).good().lines().join(" ");
    let long: Vec<&str> = long.split_whitespace().collect();
    assert!(long.starts_with(&["-r--", "70000"]) && long.ends_with(&["b"]), "{long:?}");
    assert!(long.contains(&"drwx") && long.contains(&"file"), "{long:?}");
    let uris = tahoe(&["ls", "--uri", "home:a"]).good().text();
    assert!(uris.contains("URI:DIR2:") && uris.contains("URI:CHK:"), "{uris}");
    let uris = tahoe(&["ls", "--readonly-uri", "home:a"]).good().text();
    assert!(uris.contains("URI:DIR2-RO:"), "{uris}");
    let json = tahoe(&["ls", "--json", "home:a"]).good().text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[1]["children"]["file"][1]["size"], 70_000);
    let one_file = tahoe(&["ls", "-l", "home:a/file"]).good().text();
    assert!(one_file.contains("70000"), "{one_file}");
    assert!(tahoe(&["ls", "-l", "home:sdmf"]).good().text().contains(" 100000 "));

    // Whole trees.
    let manifest = tahoe(&["manifest", "home:"]).good().text();
    assert!(manifest.lines().count() >= 8 && manifest.contains(" new/way/down"), "{manifest}");
    let indexes = tahoe(&["manifest", "--storage-index", "home:"]).good().lines();
    assert!(indexes.iter().all(|index| index.len() == 26), "{indexes:?}");
    let raw = tahoe(&["manifest", "--raw", "home:"]).good().text();
    assert!(raw.lines().last().is_some_and(|line| line.starts_with("{\"type\": \"stats\"")), "{raw}");
    let stats = tahoe(&["stats", "home:"]).good().text();
    assert!(stats.contains("count-mutable-files: 2") && stats.contains("count-directories: 6"), "{stats}");
    assert_ne!(tahoe(&["manifest", "home:a/file"]).code, Some(0), "a file is no tree");
    // The command's code does not tell.
    let stats = tahoe(&["stats", "home:a/file"]);
    assert!(stats.stderr.contains("not a directory"), "{}", stats.stderr);

    // Moving, linking, unlinking.
    tahoe(&["mv", "home:a/file", "home:moved"]).good();
    assert_ne!(tahoe(&["get", "home:a/file"]).code, Some(0));
    tahoe(&["mv", "home:moved", "home:a/b/"]).good();
    assert_eq!(tahoe(&["get", "home:a/b/moved"]).good().stdout, content(2, 70_000));
    tahoe(&["ln", "home:a/b/moved", "home:linked"]).good();
    assert_eq!(tahoe(&["get", "home:linked"]).good().stdout, content(2, 70_000));
    let over = tahoe(&["mv", "home:linked", "home:a"]);
    assert_ne!(over.code, Some(0), "a directory is not moved over");
    tahoe(&["unlink", "home:linked"]).good();
    assert_ne!(tahoe(&["unlink", "home:linked"]).code, Some(0));
    assert_eq!(tahoe(&["get", "home:a/b/moved"]).good().stdout, content(2, 70_000));

    // Through a capability that only reads.
    let read = tahoe(&["ls", "--readonly-uri", "home:"]).good().text();
    let read = read.lines().find(|line| line.starts_with("a ")).expect("a line").to_owned();
    let read = read.split_whitespace().last().expect("a capability").to_owned();
    tahoe(&["add-alias", "read", &read]).good();
    assert_eq!(tahoe(&["get", "read:b/moved"]).good().stdout, content(2, 70_000));
    assert_ne!(tahoe(&["put", &one, "read:b/x"]).code, Some(0));
    assert_ne!(tahoe(&["unlink", "read:b"]).code, Some(0));
    // For mkdir the command's exit code tells nothing.
    let refused = tahoe(&["mkdir", "read:x"]);
    assert!(refused.stderr.contains("400"), "{}", refused.stderr);
    assert_eq!(tahoe(&["ls", "read:"]).good().lines(), ["b"]);
}

#[test]
fn trees_are_copied_up_and_down() {
    let Some(python) = peer::python() else { return };
    let grid = grid();
    let user = User::new(python, &grid);
    user.tahoe(&["create-alias", "home"]).good();
    let odd = ["with space", "umlaut \u{e4}\u{f6}", "%41", "plus+and&", "#?", "quote\"'", "\u{1f600}"];
    for (index, name) in odd.iter().enumerate() {
        user.write(&format!("up/{name}"), &content(index as u64, index * 20));
        user.write(&format!("up/deep/{name}/inner"), &content(50 + index as u64, 3_000 * index));
    }
    user.write("up/empty", b"");
    let up = user.path("up");
    let up = up.to_str().expect("text");
    user.tahoe(&["cp", "-r", up, "home:there"]).good();
    let down = user.path("down");
    fs::create_dir(&down).expect("a directory");
    user.tahoe(&["cp", "-r", "home:there/up", down.to_str().expect("text")]).good();
    assert_eq!(tree(&user.path("up")), tree(&down.join("up")));

    // From the grid to the grid; over what is there; a single file each way.
    user.tahoe(&["cp", "-r", "home:there/up/deep", "home:copy"]).good();
    let again = user.path("again");
    fs::create_dir(&again).expect("a directory");
    user.tahoe(&["cp", "-r", "home:copy/deep", again.to_str().expect("text")]).good();
    assert_eq!(tree(&user.path("up/deep")), tree(&again.join("deep")));
    user.write("up/with space", b"changed");
    user.tahoe(&["cp", "-r", up, "home:there"]).good();
    assert_eq!(user.tahoe(&["get", "home:there/up/with space"]).good().stdout, b"changed");
    let file = user.path("up/with space");
    user.tahoe(&["cp", file.to_str().expect("text"), "home:single"]).good();
    let back = user.path("back");
    user.tahoe(&["cp", "home:single", back.to_str().expect("text")]).good();
    assert_eq!(fs::read(back).expect("it came"), b"changed");

    // Over a mutable file: it stays the file that it was.
    let cap = user.tahoe(&["put", "--mutable", file.to_str().expect("text"), "home:mutable"]).good().text();
    user.write("other", b"other");
    user.tahoe(&["cp", user.path("other").to_str().expect("text"), "home:mutable"]).good();
    assert_eq!(user.tahoe(&["get", &cap]).good().stdout, b"other");
}
