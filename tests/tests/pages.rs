//! The pages without a browser: who is refused, and what stays good.

use tallac_tests::web::{Answer, ask_with};
use tallac_tests::{Grid, Options};

const HTML: &str = "Accept: text/html\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

struct Web(Grid);

impl Web {
    fn start() -> Web {
        let options = Options { servers: 3, shares: Some("2,2,3"), ..Options::ten("blocking") };
        Web(Grid::start(&options))
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        ask_with(&self.0.authority("gw"), method, path, headers, body.as_bytes())
    }

    /// The token of this node's forms.
    fn token(&self) -> String {
        let page = self.ask("GET", "/", HTML, "").good();
        let (_, rest) = page.split_once("name=\"form-token\" content=\"").expect("a token");
        rest.split('"').next().expect("its end").to_owned()
    }

    /// The address of the personal drive's page.
    fn drive(&self) -> String {
        let answer = self.ask("GET", "/drive/personal", HTML, "");
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("Location").expect("an address").to_owned()
    }
}

#[test]
fn changes_need_the_token_and_the_origin_of_this_node() {
    let web = Web::start();
    let missing = web.ask("GET", "/drive/personal", HTML, "");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("has not been made yet"), "{}", missing.text());
    web.0.command("gw", &["mkdir", "photos"], b"").good();
    let (token, drive, authority) = (web.token(), web.drive(), web.0.authority("gw"));
    let listed = || web.ask("GET", &drive, HTML, "").good();

    let forms = [
        ("t=mkdir&name=NEW".to_owned(), String::new(), "no token"),
        ("t=mkdir&name=NEW&token=nonsense".to_owned(), String::new(), "another token"),
        (format!("t=mkdir&name=NEW&token={token}"), "Origin: http://evil.example\r\n".into(), "another site"),
        (format!("t=mkdir&name=NEW&token={token}"), "Origin: null\r\n".into(), "a sandbox"),
        (format!("t=unlink&name=photos&token={token}x"), String::new(), "a longer token"),
    ];
    for (fields, headers, what) in &forms {
        let answer = web.ask("POST", &drive, &format!("{FORM}{headers}"), fields);
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    }
    let put = format!("{drive}/NEW");
    assert_eq!(web.ask("PUT", &put, "", "content").status, 403);
    assert_eq!(web.ask("PUT", &put, "X-Form-Token: nonsense\r\n", "content").status, 403);
    for path in ["/open", "/store"] {
        assert_eq!(web.ask("POST", path, FORM, "cap=URI:LIT:me").status, 403, "{path}");
    }
    assert!(!listed().contains("NEW") && listed().contains("photos"));

    let own = format!("{FORM}Origin: http://{authority}\r\nSec-Fetch-Site: same-origin\r\n");
    let made = web.ask("POST", &drive, &own, &format!("t=mkdir&name=NEW&token={token}"));
    assert_eq!((made.status, made.header("Location"), made.text().as_str()), (303, Some(&*drive), ""));
    let stored =
        web.ask("PUT", &format!("{drive}/NEW/a/b"), &format!("X-Form-Token: {token}\r\n"), "content");
    assert_eq!((stored.status, stored.text().as_str()), (201, ""), "and no capability");
    assert_eq!(web.ask("GET", &format!("{drive}/NEW/a/b?t=raw"), "", "").good(), "content");
    let again =
        web.ask("PUT", &format!("{drive}/NEW/a/b?replace=false"), &format!("X-Form-Token: {token}\r\n"), "x");
    assert_eq!(again.status, 409, "{}", again.text());
}

#[test]
fn pages_are_for_nobody_elses_name_and_content_for_nobody_elses_page() {
    let mut web = Web::start();
    web.0.command("gw", &["mkdir", "photos"], b"").good();
    let (token, drive) = (web.token(), web.drive());
    let put = |path: &str| {
        let headers = format!("X-Form-Token: {token}\r\n");
        web.ask("PUT", &format!("{drive}/{path}"), &headers, "<script>1</script>").status
    };
    assert_eq!(put("page.html"), 201);
    let raw = web.ask("GET", &format!("{drive}/page.html?t=raw"), "", "");
    let policy = raw.header("Content-Security-Policy").expect("a policy").to_owned();
    assert!(policy.starts_with("sandbox; default-src 'none'"), "{policy}");
    for (name, value) in [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")] {
        assert_eq!(raw.header(name), Some(value));
    }
    let page = web.ask("GET", &drive, HTML, "");
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for kind in ["URI:DIR2", "URI:CHK", "URI:LIT"] {
        assert!(!page.text().contains(kind), "no capability on the page of a folder");
    }

    // A picture in a page of another site.
    let foreign = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
    assert_eq!(web.ask("GET", &format!("{drive}/page.html?t=raw"), foreign, "").status, 403);
    // A handle that was changed, and one that was made up.
    for handle in [format!("{drive}A"), "/drive/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(), "/drive/".into()] {
        assert_eq!(web.ask("GET", &handle, HTML, "").status, 404, "{handle}");
    }
    // A browser that is sent to a capability does not stay there.
    let cap = std::fs::read_to_string(web.0.path("gw").join("private/personal-root.cap")).expect("a drive");
    let to = format!("/uri/{}/photos", tallac_tests::web::escaped(cap.trim()));
    let sent = web.ask("GET", &to, &format!("{HTML}Sec-Fetch-Mode: navigate\r\n"), "");
    assert_eq!((sent.status, sent.header("Location")), (303, Some(&*format!("{drive}/photos"))));
    assert_eq!(web.ask("GET", &to, HTML, "").status, 200, "a program stays");

    // A bookmark stays good.
    web.0.stop("gw");
    web.0.run("gw");
    web.0.wait_connected("gw", 3);
    assert!(web.ask("GET", &drive, HTML, "").good().contains("page.html"));
}
