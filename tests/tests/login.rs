//! A node that asks who uses it: what a stranger gets, and what lets in.

use std::fs;
use tallac_tests::browser::{self, Browser};
use tallac_tests::web::{Answer, ask_with, escaped};
use tallac_tests::{Grid, Options};

const HTML: &str = "Accept: text/html\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

struct Web(Grid);

impl Web {
    fn start() -> Web {
        let mut grid =
            Grid::create(&Options { servers: 2, shares: Some("1,1,2"), ..Options::ten("blocking") });
        let path = grid.path("gw").join("tallac.toml");
        let text = fs::read_to_string(&path).expect("a configuration");
        fs::write(&path, text.replace("\nlogin = false", "\nlogin = true")).expect("a file");
        for node in ["introducer", "gw", "s0", "s1"] {
            grid.run(node);
        }
        // The node's own commands show the token.
        grid.wait_connected("gw", 2);
        Web(grid)
    }

    fn token(&self) -> String {
        let path = self.0.path("gw").join("private/web-login");
        fs::read_to_string(path).expect("a token").trim().to_owned()
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        ask_with(&self.0.authority("gw"), method, path, headers, body.as_bytes())
    }

    /// Logs in with a form; gives the cookie.
    #[track_caller]
    fn log_in(&self, to: &str) -> (String, Answer) {
        let answer = self.ask("POST", "/login", FORM, &format!("login={}&to={to}", self.token()));
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("Set-Cookie").expect("a cookie");
        let (pair, attributes) = cookie.split_once(';').expect("attributes");
        assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"), "{attributes}");
        (format!("Cookie: {pair}\r\n"), answer)
    }
}

#[test]
fn a_stranger_gets_nothing_and_who_knows_the_token_all() {
    let web = Web::start();
    let cap = web.0.put(b"a file that is long enough to need servers, which a short one would not");
    let uri = format!("/uri/{}", escaped(&cap));
    let (token, nickname) = (web.token(), "gw");
    for path in [
        "/",
        "/?t=json",
        "/status",
        "/statistics?t=json",
        "/grid",
        "/drive/personal",
        "/open",
        "/ready",
        &uri,
    ] {
        let answer = web.ask("GET", path, "", "");
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"));
        let page = web.ask("GET", path, HTML, "");
        assert_eq!(page.status, 401, "{path}");
        // But for where it leads: a capability has all pairs of letters in it, sooner or later.
        let page = page.text().replace(path, "");
        assert!(page.contains("Login token") && !page.contains("form-token"), "{page}");
        assert!(!page.contains(nickname), "nothing of the node is told: {page}");
        let shown = web.ask("GET", path, &format!("Authorization: Bearer {token}\r\n"), "");
        assert_ne!(shown.status, 401, "{path}");
    }
    assert_eq!(web.ask("PUT", "/uri", "", "content").status, 401);
    assert_eq!(web.ask("POST", "/uri?t=mkdir", FORM, "").status, 401);
    assert_eq!(web.ask("GET", "/health", "", "").status, 200, "for who watches whether it runs");
    // The owner's own token is good for what it is for.
    web.0.command("gw", &["mkdir", "photos"], b"").good();
    let made = web.0.command("gw", &["make-root"], b"");
    assert!(
        made.stderr.contains("not a vdrive server") || made.stderr.contains("no shared root"),
        "{made:?}"
    );

    let (cookie, answer) = web.log_in("/grid");
    assert_eq!(answer.header("Location"), Some("/grid"));
    assert!(!answer.head.contains(&token));
    let page = web.ask("GET", "/", &format!("{HTML}{cookie}"), "").good();
    assert!(page.contains("Log out"));
    assert_eq!(web.ask("GET", &uri, &cookie, "").good().len(), 71);
    // A page of another site cannot use it.
    let foreign = format!("{cookie}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n");
    assert_eq!(web.ask("GET", &uri, &foreign, "").status, 403);
    let (_, rest) = page.split_once("name=\"form-token\" content=\"").expect("a token");
    let form = format!("token={}", rest.split('"').next().expect("its end"));
    assert_eq!(web.ask("POST", "/logout", &format!("{FORM}{cookie}"), "token=x").status, 403);
    let out = web.ask("POST", "/logout", &format!("{FORM}{cookie}"), &form);
    assert!(out.header("Set-Cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "{}", out.head);
    // It leads nowhere else.
    for to in ["//evil.example/", "http://evil.example/", "\\\\evil.example", "javascript:alert(1)"] {
        assert_eq!(web.log_in(&escaped(to)).1.header("Location"), Some("/"), "{to}");
    }
    let log = web.0.log("gw");
    assert!(!log.contains(&token), "the token is in no log");
}

#[test]
fn who_guesses_has_to_wait() {
    let web = Web::start();
    let (cookie, _) = web.log_in("/");
    for guess in 0..10 {
        let answer = web.ask("POST", "/login", FORM, &format!("login=guess-{guess}"));
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.header("Set-Cookie").is_none());
    }
    assert_eq!(web.ask("POST", "/login", FORM, &format!("login={}", web.token())).status, 429);
    assert_eq!(web.ask("GET", "/", "Authorization: Bearer another-guess-of-mine\r\n", "").status, 429);
    // Nobody guesses a ticket: those are not counted, and one that is good lets in.
    assert_eq!(web.ask("GET", "/login?ticket=guess", HTML, "").status, 403);
    assert_eq!(web.ask("GET", "/?t=json", &cookie, "").status, 200, "who is in stays in");
}

/// A page of another site can lead the owner's browser to whatever address it likes.
#[test]
fn another_site_locks_nobody_out() {
    let web = Web::start();
    let by_a_site = |dest: &str| {
        format!("{HTML}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: {dest}\r\n")
    };
    for number in 0..10 {
        let way = format!("/login?ticket={number}");
        assert_eq!(web.ask("GET", &way, &by_a_site("iframe"), "").status, 403);
        assert_eq!(web.ask("GET", &way, &by_a_site("document"), "").status, 403);
    }
    let bearer = format!("Authorization: Bearer {}\r\n", web.token());
    assert_eq!(web.ask("GET", "/?t=json", &bearer, "").status, 200);
}

#[test]
fn a_ticket_lets_one_in() {
    let web = Web::start();
    let (cookie, _) = web.log_in("/");
    assert_eq!(web.ask("POST", "/login/ticket?to=/grid", "", "").status, 401, "not for strangers");
    let bearer = format!("Authorization: Bearer {}\r\n", web.token());
    let make = |to: &str| web.ask("POST", &format!("/login/ticket?to={to}"), &bearer, "");
    for to in ["//evil.example/", "grid", "http://evil.example/", ""] {
        assert_eq!(make(&escaped(to)).status, 400, "{to}");
    }
    // An address has no capability in it.
    let directory = web.ask("POST", "/uri?t=mkdir", &bearer, "").good();
    let made = make(&format!("%2Furi%2F{}%2Fletters", escaped(&escaped(&directory))));
    assert_eq!(made.status, 201, "{}", made.text());
    let way = made.text().trim().to_owned();
    assert!(way.starts_with("/login?ticket=") && !way.contains("URI") && !way.contains("drive"), "{way}");
    // Who looks what kind of address it is does not use it up.
    let looked = web.ask("HEAD", &way, HTML, "");
    assert_eq!((looked.header("Location"), looked.header("Set-Cookie")), (None, None), "{}", looked.head);
    let led = web.ask("GET", &way, HTML, "");
    let to = led.header("Location").expect("a page").to_owned();
    assert!(to.starts_with("/drive/") && to.contains("/letters"), "{to}");
    let pair = led.header("Set-Cookie").and_then(|cookie| cookie.split_once(';')).expect("a cookie").0;
    assert_eq!(cookie, format!("Cookie: {pair}\r\n"));
    let again = web.ask("GET", &way, HTML, "");
    assert_eq!((again.status, again.header("Set-Cookie")), (403, None));
    assert!(again.text().contains("good once"), "{}", again.text());
    // Nor is the browser led over that of a file, whichever address stands for it.
    let content = "something that is too long to be in its capability, so that there are shares of it";
    let [fixed, mutable] =
        ["/uri", "/uri?mutable=true"].map(|to| web.ask("PUT", to, &bearer, content).good());
    for (cap, rest) in [(&fixed, ""), (&mutable, ""), (&fixed, "/@@named=/a.txt"), (&fixed, "?t=info")] {
        for start in ["uri", "cap", "file", "named"] {
            let page = format!("/{start}/{}{rest}", escaped(cap));
            let made = make(&escaped(&page));
            assert_eq!(made.status, 201, "{}", made.text());
            let led = web.ask("GET", made.text().trim(), HTML, "");
            let to = led.header("Location").expect("a page").to_owned();
            assert!(to.starts_with("/drive/") && !to.contains("URI") && to.matches('/').count() == 2, "{to}");
            let page = web.ask("GET", &to, &format!("{HTML}{cookie}"), "").good();
            assert!(page.contains("What it is") && page.contains("Download"), "{page}");
        }
    }
    // Nor over what leads to one, or has one in it.
    for (cap, slash) in [(&fixed, ""), (&directory, "/")] {
        let cap = escaped(cap);
        for page in ["/uri?uri=", "/cap?t=json&uri=", "/uri/?uri="].map(|start| format!("{start}{cap}")) {
            let made = make(&escaped(&page));
            assert_eq!(made.status, 201, "{page}: {}", made.text());
            let led = web.ask("GET", made.text().trim(), HTML, "");
            let to = led.header("Location").expect("a page").to_owned();
            let handle = to.strip_prefix("/drive/").and_then(|to| to.strip_suffix(slash)).expect("a page");
            assert!(!handle.contains(['/', '?', '#', '%', ':']), "{to}");
            assert_eq!(web.ask("GET", &to, &format!("{HTML}{cookie}"), "").status, 200, "{to}");
        }
        for page in ["/open#", "/status?show=", "/grid?", "/a/../uri/", "/login?to=", "//uri/"] {
            let refused = make(&escaped(&format!("{page}{cap}")));
            assert_eq!(refused.status, 400, "{page}: {}", refused.text());
            assert!(!refused.text().contains("URI:"), "{}", refused.text());
        }
    }
    assert_eq!(make("%2Furi").status, 400, "nor is it led to what only programs see");
    for page in ["/", "/status?show=all", "/drive/personal", "/drive/personal/URI%3Aletters", "/open"] {
        let made = make(&escaped(page));
        assert_eq!(made.status, 201, "{page}: {}", made.text());
        assert_eq!(web.ask("GET", made.text().trim(), HTML, "").header("Location"), Some(page));
    }
    assert_eq!(make("%2Furi%2FURI%253ACHK%253Aabc").status, 400, "what is no capability leads nowhere");
    let log = web.0.log("gw");
    assert!(!log.contains("ticket=") && !log.contains(&directory), "{log}");
}

#[test]
fn a_browser_is_asked_once() {
    let Some(program) = browser::find() else { return };
    let web = Web::start();
    let url = format!("http://{}", web.0.authority("gw"));
    let mut browser = Browser::start(&program);
    browser.go(&format!("{url}/grid"));
    browser.shoot("login");
    browser.submit("#login", &[("#login", "not the token of this node")]);
    assert!(browser.text("document.body.innerText").contains("That is not the token"));
    let token = web.token();
    browser.submit("#login", &[("#login", &token)]);
    assert_eq!(browser.text("location.pathname"), "/grid", "it goes on to what was wanted");
    assert_eq!(browser.text("document.cookie"), "", "no script sees the cookie");
    browser.go(&format!("{url}/"));
    browser.submit("form[action='/logout'] input", &[]);
    browser.go(&format!("{url}/status"));
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "Log in");
    // A link to share has its capability after the #: it is still there after the login.
    browser.go(&format!("{url}/open#URI%3ALIT%3Akrugkidfnzsc4"));
    assert!(!browser.text("location.href").contains("URI"), "the address does not keep it");
    browser.submit("#login", &[("#login", &token)]);
    assert_eq!(browser.text("document.querySelector('#cap').value"), "URI:LIT:krugkidfnzsc4");
    browser.go(&format!("{url}/"));
    browser.submit("form[action='/logout'] input", &[]);
    // As `tallac webopen` does it: the command prints the address where there is no browser.
    let printed = web.0.command("gw", &["webopen"], b"");
    assert!(printed.stderr.contains("is logged in as you are"), "{}", printed.stderr);
    let printed = printed.line();
    assert!(printed.contains("/login?ticket=") && !printed.contains(&token), "{printed}");
    browser.go(printed.trim());
    assert_eq!(browser.text("location.href"), format!("{url}/"), "and its page is there");
    let kept = browser.close();
    assert_eq!(kept.holding(&token), Vec::<std::path::PathBuf>::new(), "in the browser's profile");
}
