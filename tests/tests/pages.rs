//! The pages without a browser: who is refused, and what stays good.

use std::time::{Duration, Instant};
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

    /// The address of the personal drive's page, without the slash at its end.
    fn drive(&self) -> String {
        let answer = self.ask("GET", "/drive/personal", HTML, "");
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("Location").and_then(|to| to.strip_suffix('/')).expect("an address").to_owned()
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
    let back = format!("{drive}/");
    assert_eq!((made.status, made.header("Location"), made.text().as_str()), (303, Some(&*back), ""));
    let stored =
        web.ask("PUT", &format!("{drive}/NEW/a/b"), &format!("X-Form-Token: {token}\r\n"), "content");
    assert_eq!((stored.status, stored.text().as_str()), (201, ""), "and no capability");
    assert_eq!(web.ask("GET", &format!("{drive}/NEW/a/b?t=raw"), "", "").good(), "content");
    let again =
        web.ask("PUT", &format!("{drive}/NEW/a/b?replace=false"), &format!("X-Form-Token: {token}\r\n"), "x");
    assert_eq!(again.status, 409, "{}", again.text());
}

/// Whoever reaches the port may look what the node does, but not what is in a drive.
#[test]
fn no_name_is_in_the_list_of_operations() {
    let web = Web::start();
    web.0.command("gw", &["mkdir", "divorce"], b"").good();
    let cap = std::fs::read_to_string(web.0.path("gw").join("private/personal-root.cap")).expect("a drive");
    let drive = format!("/uri/{}", tallac_tests::web::escaped(cap.trim()));
    let taken = web.ask("POST", &format!("{drive}?t=mkdir&name=divorce&replace=false"), "", "");
    assert_eq!(taken.status, 409, "{}", taken.text());
    let linked = web.ask("PUT", &format!("{drive}/divorce?t=uri&replace=false"), "", "URI:LIT:krugkidfnzsa");
    assert_eq!(linked.status, 409, "{}", linked.text());
    let gone = web.ask("POST", &format!("{drive}?t=unlink&name=divorce.pdf"), "", "");
    assert_eq!(gone.status, 404, "{}", gone.text());
    let status = web.ask("GET", "/status?show=all", HTML, "").good();
    assert!(status.contains("a child is"), "that something failed can be seen: {status}");
    assert!(!status.contains("divorce"), "{status}");
    let log = web.0.log("gw");
    assert!(!log.contains("divorce"), "{log}");
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

/// A folder with so many entries has a page that is small, and quickly made: links in it are short.
#[test]
fn the_page_of_3000_children() {
    const CHILDREN: usize = 3_000;
    let web = Web::start();
    let child = serde_json::json!(["filenode", { "ro_uri": "URI:LIT:krugkidfnzsc4", "metadata": {} }]);
    let all: serde_json::Map<String, serde_json::Value> =
        (0..CHILDREN).map(|number| (format!("child {number:05}"), child.clone())).collect();
    let all = serde_json::Value::Object(all).to_string();
    let directory = web.ask("POST", "/uri?t=mkdir-with-children", "", &all).good();
    let to = format!("/uri/{}", tallac_tests::web::escaped(&directory));
    let sent = web.ask("GET", &to, &format!("{HTML}Sec-Fetch-Mode: navigate\r\n"), "");
    let address = sent.header("Location").expect("its page").to_owned();
    assert!(address.ends_with('/'), "{address}");
    let begun = Instant::now();
    let page = web.ask("GET", &address, HTML, "").good();
    let took = begun.elapsed();
    assert_eq!(page.matches("<tr><td class=\"name\">").count(), CHILDREN);
    let handle = address.trim_end_matches('/').rsplit('/').next().expect("a handle");
    assert!(page.matches(handle).count() < 20, "no row repeats the handle");
    assert!(page.len() < CHILDREN * 420, "{} bytes", page.len());
    println!("the page of {CHILDREN} children has {} bytes and takes {took:.1?}", page.len());
    assert!(took < Duration::from_secs(5), "{took:?}");
    // The same without the slash at its end: the links are longer, and lead to the same.
    let long = web.ask("GET", address.trim_end_matches('/'), HTML, "").good();
    assert!(
        long.contains(&format!("href=\"{address}child%2000007\"")) && page.contains("href=\"child%2000007\"")
    );
}

/// Something is moved by a form that a page of the chosen folder has.
#[test]
fn moved_to_a_chosen_folder() {
    let web = Web::start();
    for path in ["letters/old", "photos/2026", "odd"] {
        web.0.command("gw", &["mkdir", path], b"").good();
    }
    web.0.command("gw", &["put", "--quiet", "-", "notes.txt"], b"Buy milk.").good();
    let (drive, token) = (web.drive(), web.token());
    let cap = std::fs::read_to_string(web.0.path("gw").join("private/personal-root.cap")).expect("a drive");
    let read = |path: &str| web.ask("GET", &format!("{drive}/{path}?t=raw"), "", "");
    let choose = |path: &str, rest: &str| web.ask("GET", &format!("{drive}/{path}?t=move{rest}"), HTML, "");
    let send = |directory: &str, fields: &str| {
        let own = format!("{FORM}Sec-Fetch-Site: same-origin\r\n");
        web.ask("POST", &format!("{drive}/{directory}"), &own, &format!("t=relink&{fields}"))
    };

    // It begins where it is now, and lists folders only.
    let page = choose("notes.txt", "").good();
    assert!(page.contains("It is in this folder now") && !page.contains("Move here"), "{page}");
    for folder in ["letters", "odd", "photos"] {
        assert!(page.contains(&format!("<a href=\"?t=move&#38;at={folder}\">")), "{folder} in {page}");
    }
    assert!(!page.contains("at=notes.txt") && !page.contains("URI:"), "{page}");
    let page = choose("notes.txt", "&at=letters/old").good();
    assert!(page.contains("Move here") && page.contains("There is no folder in this one"), "{page}");
    let field = |name: &str| {
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).expect("a field");
        format!("{name}={}", tallac_tests::web::escaped(rest.split('"').next().expect("its end")))
    };
    let fields = ["from_name", "to_drive", "to_way"].map(field).join("&");
    // The form is one of this node, or nothing is done.
    assert_eq!(send("", &format!("{fields}&token=nonsense")).status, 403);
    assert_eq!(send("", &fields).status, 403);
    let foreign = format!("{FORM}Sec-Fetch-Site: cross-site\r\n");
    let body = format!("t=relink&{fields}&token={token}");
    assert_eq!(web.ask("POST", &format!("{drive}/"), &foreign, &body).status, 403);
    assert_eq!(read("notes.txt").good(), "Buy milk.", "nothing was moved yet");
    let moved = send("", &format!("{fields}&token={token}"));
    assert_eq!(
        (moved.status, moved.header("Location")),
        (303, Some(&*format!("{drive}/"))),
        "{}",
        moved.text()
    );
    assert_eq!(read("letters/old/notes.txt").good(), "Buy milk.");
    assert_eq!(read("notes.txt").status, 404);

    // What is in the way stays.
    web.0.command("gw", &["put", "--quiet", "-", "notes.txt"], b"Buy bread.").good();
    let taken = send("", &format!("{fields}&token={token}"));
    assert_eq!(taken.status, 409, "{}", taken.text());
    assert_eq!(read("letters/old/notes.txt").good(), "Buy milk.");

    // A folder is not moved into itself: its page says so, the form, and whoever goes round by another link.
    let page = choose("letters", "").good();
    assert!(page.contains("is what is moved") && !page.contains("at=letters\""), "{page}");
    for way in ["letters", "letters/old"] {
        let refused = choose("letters", &format!("&at={way}"));
        assert_eq!(refused.status, 409);
        assert!(refused.text().contains("A folder cannot be moved into itself"), "{}", refused.text());
        let to =
            format!("from_name=letters&to_drive={}&to_way={way}&token={token}", &drive["/drive/".len()..]);
        let refused = send("", &to);
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains("cannot be moved into itself"), "{}", refused.text());
    }
    // Nor is anything moved where one can only read, or to what is no folder.
    let shared = web.0.command("gw", &["share", "photos"], b"").line();
    let open =
        web.ask("POST", "/open", FORM, &format!("token={token}&cap={}", tallac_tests::web::escaped(&shared)));
    let foreign = open.header("Location").expect("its page").to_owned();
    let handle = foreign.trim_matches('/').rsplit('/').next().expect("a handle");
    let page = choose("notes.txt", &format!("&in={handle}&at=")).good();
    assert!(page.contains("can only be read") && !page.contains("Move here"), "{page}");
    assert!(page.contains("My drive"), "and the way back is offered");
    let to = format!("from_name=notes.txt&to_drive={handle}&to_way=&token={token}");
    assert_eq!(send("", &to).status, 400);
    assert_eq!(choose("notes.txt", "&at=letters/old/notes.txt").status, 400, "a file");
    for (rest, status) in [("&at=nowhere", 404), ("&at=%25zz", 400), ("&in=nonsense&at=", 404)] {
        assert_eq!(choose("notes.txt", rest).status, status, "{rest}");
    }
    assert_eq!(web.ask("GET", &format!("{drive}/?t=move"), HTML, "").status, 400, "the top is nowhere");
    assert_eq!(read("notes.txt").good(), "Buy bread.");
    let log = web.0.log("gw");
    assert!(!log.contains(cap.trim().split(':').nth(2).expect("a key")), "no capability is in the log");
}
