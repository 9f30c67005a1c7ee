//! People at the pages, with a real browser and a grid of real processes.

use std::fs;
use std::path::PathBuf;
use tallac_tests::browser::{self, Browser};
use tallac_tests::{Grid, Options};

/// A picture of 1 by 1.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// It tries whatever a page can: scripts, forms, frames, the addresses of others.
const HOSTILE: &str = "<title>untouched</title><script>document.title = 'scripts run'</script>\
    <img src=/drive/personal onerror=\"document.title = 'scripts run'\">\
    <iframe src=/drive/personal></iframe>\
    <form id=f method=post action=/open><input name=cap value=URI:LIT:me></form>";

fn grid() -> Grid {
    let mut grid = Grid::create(&Options {
        servers: 3,
        vdrive: true,
        shares: Some("2,2,3"),
        ..Options::ten("blocking")
    });
    for node in ["gw", "s0"] {
        fs::copy(grid.path("introducer").join("vdrive.furl"), grid.path(node).join("vdrive.furl"))
            .expect("a furl");
    }
    for node in ["introducer", "gw", "s0", "s1", "s2"] {
        grid.run(node);
    }
    grid.wait_connected("gw", 3);
    grid.wait_until("gw", |status| status["shared_root"]["known"] == true);
    grid.command("gw", &["mkdir", "photos"], b"").good();
    grid
}

fn files(directory: &std::path::Path, files: &[(&str, &[u8])]) -> Vec<PathBuf> {
    files
        .iter()
        .map(|(name, content)| {
            let path = directory.join(name);
            fs::write(&path, content).expect("a file");
            path
        })
        .collect()
}

fn lists(name: &str) -> String {
    format!("[...document.querySelectorAll('.listing .name a')].some(a => a.textContent == {name:?})")
}

#[test]
fn a_drive_is_used_with_a_browser() {
    let Some(program) = browser::find() else { return };
    let grid = grid();
    let here = tempfile::tempdir().expect("a directory");
    let url = format!("http://{}", grid.authority("gw"));
    let mut browser = Browser::start(&program);

    browser.go(&format!("{url}/"));
    let page = browser.text("document.body.innerText");
    assert!(page.contains("Ready. New files survive the loss of any 1 of the 3 servers"), "{page}");
    browser.shoot("welcome");
    browser.go(&format!("{url}/drive/shared"));
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "Shared drive");

    browser.go(&format!("{url}/drive/personal"));
    let drive = browser.text("location.href");
    assert!(drive.contains("/drive/") && !drive.contains("personal") && !drive.contains("URI"), "{drive}");
    assert!(browser.value(&lists("photos")) == true);

    let png = data_encoding::BASE64.decode(PNG.as_bytes()).expect("base64");
    let big = vec![7; 3_000_000];
    let paths = files(
        here.path(),
        &[
            ("dot.png", &png),
            ("notes.txt", b"Buy milk."),
            ("film.mp4", &big),
            ("hostile.html", HOSTILE.as_bytes()),
        ],
    );
    browser.drop_files(&paths[..3]);
    for name in ["dot.png", "notes.txt", "film.mp4"] {
        browser.wait(&lists(name));
    }

    browser.value("document.querySelector('#folder').closest('details').open = true; 0");
    browser.submit("#folder", &[("#folder", "Holidays & more")]);
    assert!(browser.value(&lists("Holidays & more")) == true);
    browser.shoot("folder");

    // The name of what is there is refused, and that is said on a page.
    browser.submit("#folder", &[("#folder", "photos")]);
    assert!(browser.text("document.body.innerText").contains("There is a directory of this name already"));
    browser.shoot("refusal");

    browser.go(&format!("{drive}/dot.png"));
    browser.wait("document.querySelector('.preview img').naturalWidth == 1");
    browser.shoot("file");
    browser.submit("#to-name", &[("#to-name", "point.png")]);
    assert!(browser.value(&lists("point.png")) == true && browser.value(&lists("dot.png")) == false);
    browser.go(&format!("{drive}/point.png?t=info"));
    browser.submit("#to-path", &[("#to-path", "/photos")]);
    assert!(browser.value(&lists("point.png")) == false);
    browser.go(&format!("{drive}/photos"));
    assert!(browser.value(&lists("point.png")) == true);

    let seek = "fetch('film.mp4?t=raw', {headers: {Range: 'bytes=2999990-'}})";
    browser.go(&format!("{drive}/film.mp4"));
    let seek = seek.replace("film.mp4", &format!("{}/film.mp4", drive.trim_start_matches(&url)));
    let answer = browser.text(&format!("{seek}.then(async a => a.status + ' ' + (await a.blob()).size)"));
    assert_eq!(answer, "206 10");

    browser.go(&format!("{drive}/photos?t=share"));
    let cap = browser.text("document.querySelector('#share-cap').value");
    assert!(cap.starts_with("URI:DIR2-RO:"), "a share only reads, unless told otherwise");
    assert!(browser.value("document.querySelector('.code img').naturalWidth > 0") == true);
    assert!(!browser.text("document.title").contains("URI"));
    browser.shoot("share");

    // A friend opens it at another node, and is offered no forms.
    browser.go(&format!("http://{}/open", grid.authority("s0")));
    browser.submit("#cap", &[("#cap", &cap)]);
    assert!(browser.value(&lists("point.png")) == true);
    assert!(browser.value("document.querySelector('#upload')") == serde_json::Value::Null);
    let foreign = browser.text("location.pathname");
    browser.go(&format!("{url}{foreign}"));
    assert!(browser.text("document.body.innerText").contains("leads nowhere at this node"));

    // Without scripts.
    browser.call("Emulation.setScriptExecutionDisabled", serde_json::json!({ "value": true }));
    browser.go(&drive);
    assert!(browser.value("document.querySelector('#file').multiple") == false);
    browser.choose("#file", &paths[3]);
    browser.value("document.querySelector('#upload').requestSubmit(); 0");
    browser.wait(&lists("hostile.html"));

    browser.call("Emulation.setScriptExecutionDisabled", serde_json::json!({ "value": false }));
    browser.go(&format!("{drive}/film.mp4?t=info"));
    browser.value("document.querySelector('details.danger').open = true; 0");
    browser.submit("details.danger input[name=name]", &[]);
    assert!(browser.value(&lists("film.mp4")) == false);

    // Somebody's page, stored in the grid, opened by itself.
    browser.go(&format!("{drive}/hostile.html?t=raw"));
    assert_eq!(browser.text("document.title"), "untouched");
    assert_eq!(browser.text("self.origin"), "null");
    browser.go(&format!("{drive}/hostile.html"));
    browser.shoot("hostile");

    // Whoever looks later finds no capability.
    let personal = fs::read_to_string(grid.path("gw").join("private/personal-root.cap")).expect("a drive");
    let kept = browser.close();
    assert_ne!(kept.holding("/drive/").len(), 0, "the search finds what is there");
    for cap in [personal.trim(), &cap] {
        let secret = cap.split(':').nth(2).expect("a key");
        assert_eq!(kept.holding(secret), Vec::<PathBuf>::new(), "in the browser's profile");
        for node in ["gw", "s0"] {
            assert!(!grid.log(node).contains(secret), "in the log of {node}");
        }
    }
}
