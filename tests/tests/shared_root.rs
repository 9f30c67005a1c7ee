//! The grid's shared root on real processes: it appears, everybody is given the same, and the vdrive
//! server can be lost.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tallac_tests::web::{ask, escaped};
use tallac_tests::{Grid, Options};

fn options(servers: usize) -> Options {
    Options { servers, vdrive: true, ..Options::ten("blocking") }
}

/// Copies a furl of the introducer's into a node's directory, as its owner would.
fn copy(grid: &Grid, furl: &str, node: &str) {
    fs::copy(grid.path("introducer").join(furl), grid.path(node).join(furl)).expect("a furl");
}

fn pin(grid: &Grid, node: &str) -> String {
    fs::read_to_string(grid.path(node).join("private/shared-root.cap")).expect("a pin")
}

fn wait_pinned(grid: &Grid, node: &str, writable: bool) {
    grid.wait_until(node, |status| {
        let root = &status["shared_root"];
        root["known"] == true && root["writable"] == writable
    });
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

/// Waits until a file holds something.
fn wait_for(path: &Path) -> String {
    let begun = Instant::now();
    loop {
        match fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => return text,
            _ => assert!(begun.elapsed() < Duration::from_secs(60), "{} never appears", path.display()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends a bare request to a node's web port and gives the answer.
fn request(grid: &Grid, node: &str, request: &str) -> String {
    let url = fs::read_to_string(grid.path(node).join("node.url")).expect("it runs");
    let address = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&address).expect("it listens");
    let request = request.replace("HOST", &address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn the_shared_root_outlives_the_server_that_made_it() {
    let mut grid = Grid::create(&options(5));
    let introducer = grid.path("introducer");
    for furl in ["introducer.furl", "vdrive.furl", "vdrive-readonly.furl"] {
        assert_eq!(mode(&introducer.join(furl)), 0o600, "{furl}");
    }
    for node in ["gw", "s0"] {
        copy(&grid, "vdrive.furl", node);
    }
    copy(&grid, "vdrive-readonly.furl", "s1");
    for node in ["introducer", "gw", "s0", "s1", "s2", "s3", "s4"] {
        grid.run(node);
    }
    wait_pinned(&grid, "gw", true);
    wait_pinned(&grid, "s0", true);
    wait_pinned(&grid, "s1", false);
    wait_pinned(&grid, "introducer", true);
    let root = pin(&grid, "gw");
    assert!(root.starts_with("URI:DIR2:") && root.ends_with('\n'), "one line");
    assert_eq!((pin(&grid, "s0"), pin(&grid, "introducer")), (root.clone(), root.clone()));
    assert_eq!(fs::read_to_string(introducer.join("private/vdrive-root.cap")).unwrap(), root);
    assert!(pin(&grid, "s1").starts_with("URI:DIR2-RO:"));
    assert_eq!(mode(&grid.path("gw").join("private/shared-root.cap")), 0o600);
    assert_eq!(mode(&introducer.join("private/vdrive-root.cap")), 0o600);
    assert!(!grid.path("s2").join("private/shared-root.cap").exists(), "it has no furl");
    // Nobody is told the capability by the way.
    let secret = root.trim().trim_start_matches("URI:DIR2:").split(':').next().unwrap().to_owned();
    for node in ["introducer", "gw", "s0", "s1"] {
        assert!(!grid.log(node).contains(&secret), "{node} tells the root in its log");
        let status = grid.command(node, &["status"], &[]).good().line();
        assert!(status.contains("shared root") && !status.contains(&secret), "{status}");
    }
    // The vdrive server started anew hands out the same.
    grid.stop("introducer");
    copy(&grid, "vdrive.furl", "s2");
    grid.kill("s2");
    grid.run("s2");
    grid.run("introducer");
    wait_pinned(&grid, "s2", true);
    assert_eq!(pin(&grid, "s2"), root);
    // Gone for good.
    grid.kill("introducer");
    for node in ["gw", "s0"] {
        grid.kill(node);
        grid.run(node);
        wait_pinned(&grid, node, true);
        assert_eq!(pin(&grid, node), root);
    }
    wait_pinned(&grid, "s2", true);
    let status = grid.command("gw", &["status"], &[]).good().line();
    assert!(status.contains("shared root: known, can be changed"), "{status}");
    // It is read and changed all the same: by s2, which has run on, and by two that were started anew.
    for node in ["gw", "s0", "s2"] {
        grid.wait_connected(node, 5);
        let path = format!("/uri/{}/from%20{node}/file", escaped(root.trim()));
        assert_eq!(ask(&grid.authority(node), "PUT", &path, node.as_bytes()).status, 201);
    }
    for reader in ["gw", "s0", "s1", "s2"] {
        let cap = pin(&grid, reader);
        for writer in ["gw", "s0", "s2"] {
            let path = format!("/uri/{}/from%20{writer}/file", escaped(cap.trim()));
            assert_eq!(ask(&grid.authority(reader), "GET", &path, b"").good(), writer);
        }
    }
    let path = format!("/uri/{}/from%20s1", escaped(pin(&grid, "s1").trim()));
    assert_eq!(ask(&grid.authority("s1"), "PUT", &path, b"no").status, 400);
    assert!(!grid.log("gw").contains("WARN no connection to the vdrive server"), "{}", grid.log("gw"));
}

#[test]
fn a_root_is_made_when_told_to_and_only_by_the_owner() {
    let mut grid = Grid::create(&options(2));
    for node in ["introducer", "s0", "s1", "gw"] {
        grid.run(node);
    }
    grid.wait_until("introducer", |status| status["connected_servers"] == 2);
    // Two servers are not enough for it to be made by itself.
    std::thread::sleep(Duration::from_secs(3));
    grid.wait_until("introducer", |status| status["vdrive"]["root"] == "waiting for servers");
    let answer = |rest: &str| {
        let head = "POST /private/make-root HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n";
        request(&grid, "introducer", &format!("{head}{rest}\r\n"))
    };
    assert!(answer("").starts_with("HTTP/1.1 401 "));
    assert!(answer("Authorization: tahoe-lafs no-such-token-at-all\r\n").starts_with("HTTP/1.1 401 "));
    let token = wait_for(&grid.path("introducer").join("private/api_auth_token"));
    let good = format!("Authorization: tahoe-lafs {}\r\n", token.trim());
    assert!(answer(&format!("{good}Origin: http://evil.example\r\n")).starts_with("HTTP/1.1 403 "));
    assert_eq!(mode(&grid.path("introducer").join("private/api_auth_token")), 0o600);
    assert!(!grid.path("introducer").join("private/vdrive-root.cap").exists());

    let refused = grid.command("gw", &["make-root"], &[]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("no vdrive server"), "{}", refused.stderr);

    let made = grid.command("introducer", &["make-root"], &[]).good().line();
    assert_eq!(made, "The shared root has been made.");
    let root = wait_for(&grid.path("introducer").join("private/vdrive-root.cap"));
    let again = grid.command("introducer", &["make-root"], &[]).good().line();
    assert_eq!(again, "There is a shared root already.");
    assert_eq!(wait_for(&grid.path("introducer").join("private/vdrive-root.cap")), root);
    // A node that is made with the furl joins with the shared root.
    copy(&grid, "vdrive.furl", "gw");
    grid.kill("gw");
    grid.run("gw");
    wait_pinned(&grid, "gw", true);
    assert_eq!(pin(&grid, "gw"), root);
}

#[test]
fn an_introducer_of_before_gets_its_furls_at_the_next_start() {
    let mut grid = Grid::create(&options(0));
    let directory = grid.path("introducer");
    for name in ["vdrive.furl", "vdrive-readonly.furl"] {
        fs::remove_file(directory.join(name)).unwrap();
        fs::remove_file(directory.join("private").join(name)).unwrap();
    }
    let config = directory.join("tallac.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("vdrive = true\n", "")).unwrap();
    grid.run("introducer");
    grid.wait_until("introducer", |status| status["vdrive"]["root"] == "waiting for servers");
    let furls = ["vdrive.furl", "vdrive-readonly.furl"].map(|name| {
        assert_eq!(mode(&directory.join(name)), 0o600);
        fs::read_to_string(directory.join(name)).unwrap()
    });
    assert_ne!(furls[0], furls[1]);
    grid.stop("introducer");
    grid.run("introducer");
    grid.wait_until("introducer", |_| true);
    assert_eq!(fs::read_to_string(directory.join("vdrive.furl")).unwrap(), furls[0], "kept for ever");
}
