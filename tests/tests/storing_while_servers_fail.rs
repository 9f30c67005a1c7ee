//! Uploads that lose servers half-way.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tallac_tests::{Grid, Options, content};

/// A small file system for one server's shares, so that its disk can be full. `None` where this
/// user may not mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf, size: &str) -> Option<SmallDisk> {
        fs::create_dir_all(&at).expect("a directory");
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        mount.is_ok_and(|output| output.status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Waits until a server has a share in progress for a `put` that is under way.
fn wait_for_share(grid: &Grid, server: &str, put: &mut Child) {
    let incoming = grid.path(server).join("storage/shares/incoming");
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(&incoming).map_or(0, Iterator::count) == 0 {
        if Instant::now() >= deadline || put.try_wait().expect("a child can be waited for").is_some() {
            let _ = put.kill();
            let mut errors = String::new();
            let _ = put.stderr.take().expect("a pipe").read_to_string(&mut errors);
            panic!("{server} was never sent a share: {errors}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stopped_server_and_a_full_disk_in_the_middle_of_a_put() {
    let mut grid = Grid::create(&Options { servers: 12, ..Options::ten("blocking") });
    // Room for about half a share of the file below.
    let small_disk = SmallDisk::mount(grid.path("s0").join("storage"), "24m");
    if small_disk.is_none() {
        eprintln!("no file system can be mounted here: the full disk is left out");
    }
    grid.run("introducer");
    for index in 0..12 {
        grid.run(&format!("s{index}"));
    }
    // The two that will fail come first in every choice, so that they do hold shares.
    let config = grid.path("gw").join("tallac.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    let id = |name: &str| {
        grid.wait_until(name, |_| true);
        grid.status(name).expect("it runs")["nodeid"].to_string()
    };
    let preferred = format!("preferred_servers = [{}, {}]", id("s0"), id("s1"));
    fs::write(&config, text.replace("preferred_servers = []", &preferred)).expect("a configuration");
    grid.run("gw");
    grid.wait_connected("gw", 12);

    let stored = content(3, 60_000_000);
    let file = grid.path("gw").join("to-put");
    fs::write(&file, &stored).expect("a file");
    let mut put = grid.spawn("gw", &["put", file.to_str().expect("text")], Stdio::null());
    wait_for_share(&grid, "s1", &mut put);
    grid.signal("s1", "STOP");
    if small_disk.is_some() {
        // Whatever is left of the small disk is taken, behind the server's back.
        let _ = fs::write(grid.path("s0").join("storage/filler"), vec![1; 24_000_000]);
    }
    let output = put.wait_with_output().expect("a child can be waited for");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("survives the loss of any 7"), "its shares went to other servers: {errors}");
    let cap = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    grid.signal("s1", "CONT");
    // Nothing of the stopped server is needed, nor of the full one.
    grid.kill("s0");
    grid.kill("s1");
    for index in 2..7 {
        grid.kill(&format!("s{index}"));
    }
    grid.check(&cap, &stored);
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let grid = Grid::start(&Options::ten("blocking"));
    let file = grid.path("gw").join("to-put");
    fs::write(&file, content(4, 80_000_000)).expect("a file");
    for arguments in [&["put"][..], &["put", "--random-key"]] {
        let arguments = [arguments, &[file.to_str().expect("text")]].concat();
        let mut put = grid.spawn("gw", &arguments, Stdio::null());
        wait_for_share(&grid, "s0", &mut put);
        let interrupted = Command::new("kill").arg("-INT").arg(put.id().to_string()).status();
        assert!(interrupted.expect("kill runs").success());
        let output = put.wait_with_output().expect("a child can be waited for");
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        let deadline = Instant::now() + Duration::from_secs(20);
        let leftovers = || {
            let shares = (0..10).map(|index| grid.path(&format!("s{index}")).join("storage/shares"));
            let files = shares.map(|shares| files_below(&shares)).sum::<usize>();
            files + files_below(&grid.path("gw").join("spool"))
        };
        while leftovers() > 0 {
            if Instant::now() >= deadline {
                let _ = Command::new("find")
                    .arg(grid.path("gw").join(".."))
                    .args(["-type", "f", "-path", "*storage*"])
                    .status();
                panic!("{} files are left after {arguments:?}", leftovers());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A disk that is pulled out, or a directory somebody deletes, under a server that runs.
#[test]
fn a_server_whose_disk_vanishes_says_so_and_stays_up() {
    let mut grid = Grid::start(&Options { servers: 4, shares: Some("2,3,4"), ..Options::ten("blocking") });
    let stored = content(6, 300_000);
    let cap = grid.put(&stored);
    let storage = grid.path("s0").join("storage");
    fs::remove_dir_all(&storage).expect("it was there");
    // A file in its place keeps it from being made anew.
    fs::write(&storage, b"gone").expect("a file");
    grid.check(&cap, &stored);
    let other = content(7, 300_000);
    let second = grid.put(&other);
    grid.check(&second, &other);
    // The server is still there, and works again as soon as its disk does.
    fs::remove_file(&storage).expect("it was there");
    fs::create_dir(&storage).expect("a directory");
    grid.kill("s1");
    let third = content(8, 300_000);
    let cap = grid.put(&third);
    grid.check(&cap, &third);
    assert!(files_below(&storage.join("shares")) > 0, "{}", grid.log("s0"));
}

fn files_below(directory: &std::path::Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

#[test]
fn too_few_servers_are_a_clear_error() {
    let mut grid = Grid::start(&Options::ten("blocking"));
    for index in 0..4 {
        grid.kill(&format!("s{index}"));
    }
    // Six of ten answer: the standard stays at seven.
    let file = grid.path("gw").join("to-put");
    fs::write(&file, content(5, 100_000)).expect("a file");
    let output = grid.command("gw", &["put", file.to_str().expect("text")], &[]);
    assert_eq!(output.code, Some(4), "{}", output.stderr);
    for part in ["at least 7 servers", "only 6 of the 10 known", "lower `happy`"] {
        assert!(output.stderr.contains(part), "{part:?} in {}", output.stderr);
    }
    for index in 4..10 {
        assert_eq!(files_below(&grid.path(&format!("s{index}")).join("storage/shares")), 0);
    }
}
