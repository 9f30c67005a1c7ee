//! The pages without a browser: who is refused, and what stays good.

use std::time::{Duration, Instant};
use tallac_tests::browser::{self, Browser};
use tallac_tests::web::{Answer, ask_with, escaped};
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

    /// The address of the page of what a capability stands for.
    #[track_caller]
    fn open(&self, cap: &str) -> String {
        let fields = format!("token={}&cap={}", self.token(), escaped(cap));
        let opened = self.ask("POST", "/open", FORM, &fields);
        opened.header("Location").expect("its page").to_owned()
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
    let listed = || web.ask("GET", &format!("{drive}/"), HTML, "").good();

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
    let drive = format!("/uri/{}", escaped(cap.trim()));
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
    let page = web.ask("GET", &format!("{drive}/"), HTML, "");
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
    let to = format!("/uri/{}/photos", escaped(cap.trim()));
    let sent = web.ask("GET", &to, &format!("{HTML}Sec-Fetch-Mode: navigate\r\n"), "");
    assert_eq!((sent.status, sent.header("Location")), (303, Some(&*format!("{drive}/photos"))));
    assert_eq!(web.ask("GET", &to, HTML, "").status, 200, "a program stays");

    // A bookmark stays good.
    web.0.stop("gw");
    web.0.run("gw");
    web.0.wait_connected("gw", 3);
    assert!(web.ask("GET", &format!("{drive}/"), HTML, "").good().contains("page.html"));
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
    let to = format!("/uri/{}", escaped(&directory));
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
    assert!(page.contains("href=\"child%2000007\""));
    // Without the slash at its end, the links would have to be longer.
    for query in ["", "?sort=-size"] {
        let sent = web.ask("GET", &format!("{}{query}", address.trim_end_matches('/')), HTML, "");
        let to = format!("{address}{query}");
        assert_eq!((sent.status, sent.header("Location"), sent.body.len()), (303, Some(&*to), 0));
    }
}

/// On a page to move something, no row repeats the way to the folder that it is in.
#[test]
fn a_page_to_move_something_is_small() {
    const FOLDERS: usize = 3_000;
    let web = Web::start();
    // One of each that has to be protected in a way, and a long one.
    let names =
        ["\u{7167}\u{7247}".repeat(30), "100 % of it?&+#".into(), "\u{e9}t\u{e9} ".repeat(30) + "'26"];
    let way = |names: &[String]| names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("/");
    let folder = serde_json::json!(["dirnode", { "ro_uri": "URI:DIR2-LIT:", "metadata": {} }]);
    let mut all: serde_json::Map<String, serde_json::Value> =
        (0..FOLDERS).map(|number| (format!("folder {number:05}"), folder.clone())).collect();
    all.insert(names[2].clone(), folder);
    let all = serde_json::Value::Object(all).to_string();
    let many = web.ask("POST", "/uri?t=mkdir-with-children", "", &all).good();
    web.0.command("gw", &["mkdir", "letters"], b"").good();
    let cap = std::fs::read_to_string(web.0.path("gw").join("private/personal-root.cap")).expect("a drive");
    let deep = format!("/uri/{}/{}", escaped(cap.trim()), way(&names[..2]));
    web.ask("PUT", &format!("{deep}?t=uri"), "", &many).good();

    let drive = web.drive();
    let handle = drive.rsplit('/').next().expect("a handle");
    let open = |rest: &str| web.ask("GET", &format!("{drive}/letters?t=move{rest}"), HTML, "").good();
    let field = |page: &str, name: &str| {
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).expect("a field");
        let shown = rest.split('"').next().expect("its end");
        shown.replace("&#38;", "&").replace("&#39;", "'")
    };
    let mut page = open("");
    for (depth, name) in names.iter().enumerate() {
        // As a browser sends the form of the row.
        let step = name.replace('%', "%25").replace('/', "%2F");
        let row = format!("value=\"{}\"", step.replace('&', "&#38;").replace('\'', "&#39;"));
        assert!(page.contains(&row), "{row} in {page:.3000}");
        let sent = ["in", "at"].map(|name| format!("&{name}={}", escaped(&field(&page, name))));
        page = open(&format!("{}&into={}", sent.concat(), escaped(&step)));
        assert_eq!(page.contains("Move here"), depth < 2, "the last one never changes");
        if depth == 1 {
            assert_eq!(page.matches("<button name=\"into\"").count(), FOLDERS + 1);
            assert!(page.len() < FOLDERS * 200, "{} bytes", page.len());
            assert!(page.matches(handle).count() < 20, "no row repeats the handle");
            // The steps of the way are links: each byte takes three, and not five.
            let link = way(&[names[0].clone(), "100 %25 of it?&+#".into()]);
            let link = format!("at={link}\" aria-current");
            assert!(page.contains(&link), "{link} in {page:.3000}");
        }
    }
    assert!(page.contains("can only be read"), "{page}");
}

/// A directory that is as if others had made it, who give names that nobody should give.
fn directory_of_others(web: &Web, names: &[&str]) -> String {
    let plain = |name: &str| name.replace(['/', '\n', '\r', '\0'], "_");
    let entries = names.iter().map(|name| {
        let entry = match plain(name) {
            folder if folder.ends_with("folder") => ("dirnode", "URI:DIR2-LIT:"),
            _ => ("filenode", "URI:LIT:krugkidfnzsc4"),
        };
        (plain(name), serde_json::json!([entry.0, { "ro_uri": entry.1, "metadata": {} }]))
    });
    let children = serde_json::Value::Object(entries.collect()).to_string();
    let cap = web.ask("POST", "/uri?t=mkdir-with-children", "", &children).good();
    // A directory is kept in a file, and whoever has its key may write into that what they like.
    let file = format!("/uri/{}", escaped(&cap.replace("URI:DIR2:", "URI:SSK:")));
    let mut table = web.ask("GET", &file, "", "").body;
    for name in names {
        let (plain, len) = (plain(name), name.len());
        let place = table.windows(len).position(|place| place == plain.as_bytes()).expect("an entry");
        table[place..place + len].copy_from_slice(name.as_bytes());
    }
    let put = ask_with(&web.0.authority("gw"), "PUT", &file, "", &table);
    assert_eq!(put.status, 200, "{}", put.text());
    cap
}

/// The form of a page that does `t`, sent as a browser sends it, with more fields.
#[track_caller]
fn send_form(web: &Web, page: &str, t: &str, more: &str) -> Answer {
    // Browsers read a line's end as a newline, and a zero byte as a character that stands for what is none.
    let page = page.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}");
    let read = |text: &str| text.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"");
    let read = |text: &str| read(text).replace("&#39;", "'").replace("&#38;", "&");
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        rest.split('"').next().map(read)
    };
    let hidden = format!("name=\"t\" value=\"{t}\"");
    let form = page.split("<form").find(|form| form.contains(&hidden)).expect("the form");
    let form = form.split("</form>").next().expect("its end");
    let mut fields = vec![more.to_owned()];
    for input in form.split("<input").skip(1).filter(|input| input.starts_with(" type=\"hidden\"")) {
        let (name, value) = (attribute(input, "name"), attribute(input, "value"));
        let (name, value) = (name.expect("a name"), value.expect("a value"));
        // They send each end of a line in a field as two characters.
        fields.push(format!("{name}={}", escaped(&value.replace('\n', "\r\n"))));
    }
    // And leave ends of lines in addresses out.
    let action = attribute(form, "action").expect("an address").replace(['\n', '\t'], "");
    let own = format!("{FORM}Sec-Fetch-Site: same-origin\r\n");
    web.ask("POST", &action, &own, &fields.join("&"))
}

/// Others may have given a name that no field of a form can hold.
#[test]
fn a_name_with_ends_of_lines_is_renamed_and_removed() {
    let web = Web::start();
    let names = ["one\nend", "one\rother", "two\r\nends", "a\0zero", "at its end\n", "& <\"'>\n+%41"];
    let cap = directory_of_others(&web, &[&names[..], &["quite plain"]].concat());
    let page = web.open(&cap);
    let details = |name: &str| web.ask("GET", &format!("{page}{}", escaped(name)), HTML, "");
    for name in names {
        let renamed = send_form(&web, &details(name).good(), "rename", "to_name=has+been+renamed");
        assert_eq!(renamed.status, 303, "{name:?}: {}", renamed.text());
        assert_eq!(renamed.header("Location"), Some(&*page));
        assert_eq!(details(name).status, 404, "{name:?}");
        let removed = send_form(&web, &details("has been renamed").good(), "unlink", "");
        assert_eq!(removed.status, 303, "{name:?}: {}", removed.text());
    }
    let cap = directory_of_others(&web, &names);
    let page = web.open(&cap);
    for name in names {
        let details = web.ask("GET", &format!("{page}{}", escaped(name)), HTML, "").good();
        let removed = send_form(&web, &details, "unlink", "");
        assert_eq!(removed.status, 303, "{name:?}: {}", removed.text());
    }
    assert!(web.ask("GET", &page, HTML, "").good().contains("This folder is empty"));
}

/// The same with the forms of a real browser.
#[test]
fn a_browser_renames_and_removes_names_with_ends_of_lines() {
    let Some(program) = browser::find() else { return };
    let web = Web::start();
    let names = ["one\nend", "one\rother", "two\r\nends", "at its end\n"];
    let open = |cap: String| format!("http://{}{}", web.0.authority("gw"), web.open(&cap));
    let [renamed, removed] = [(), ()].map(|()| open(directory_of_others(&web, &names)));
    let mut browser = Browser::start(&program);
    for (name, plain) in names.iter().zip(["1", "2", "3", "4"]) {
        browser.go(&format!("{renamed}{}", escaped(name)));
        browser.submit("#to-name", &[("#to-name", plain)]);
        assert_eq!(browser.text("location.href"), renamed, "{name:?}");
        browser.go(&format!("{removed}{}", escaped(name)));
        browser.submit("details.danger input[name=t]", &[]);
        assert_eq!(browser.text("location.href"), removed, "{name:?}");
    }
    assert!(browser.text("document.body.innerText").contains("This folder is empty"));
    browser.go(&renamed);
    let listed = "[...document.querySelectorAll('.listing td.name a')].map(a => a.textContent).join(' ')";
    assert_eq!(browser.text(listed), "1 2 3 4");
}

/// Others may have given a name that nobody should give; a page's forms name it as it is.
#[test]
fn a_name_with_a_slash_is_moved_and_renamed() {
    let web = Web::start();
    let cap = directory_of_others(&web, &["one", "a/b", "c/folder", "e/f"]);
    let token = web.token();
    let page = web.open(&cap);
    let handle = page.trim_matches('/').rsplit('/').next().expect("a handle");
    assert!(web.ask("GET", &page, HTML, "").good().contains("href=\"a%2Fb\""));
    assert!(web.ask("GET", &format!("{page}a%2Fb"), HTML, "").good().contains("Rename"));
    let send = |fields: &str| {
        let own = format!("{FORM}Sec-Fetch-Site: same-origin\r\n");
        web.ask("POST", &page, &own, &format!("{fields}&token={token}"))
    };
    let renamed = send("t=rename&from_name=a%2Fb&to_name=a+and+b");
    assert_eq!(renamed.status, 303, "{}", renamed.text());
    // No new name has one.
    assert_eq!(send("t=rename&from_name=e%2Ff&to_name=g%2Fh").status, 400);
    assert_eq!(send("t=rename&from_name=one&to_name=g%2Fh").status, 400);
    // What is moved keeps its name, and no new link gets such a one: so it has to be renamed first.
    let made = send("t=mkdir&name=below");
    assert_eq!(made.status, 303, "{}", made.text());
    for (name, offered) in [("e%2Ff", false), ("one", true)] {
        let details = web.ask("GET", &format!("{page}{name}"), HTML, "").good();
        assert_eq!(details.contains("?t=move"), offered, "{details}");
        assert_eq!(details.contains("has to be renamed first"), !offered, "{details}");
    }
    let moved = send(&format!("t=relink&from_name=e%2Ff&to_drive={handle}&to_way=below"));
    assert_eq!(moved.status, 400, "{}", moved.text());
    // One can walk through it to another.
    let choose = web.ask("GET", &format!("{page}one?t=move"), HTML, "").good();
    assert!(choose.contains("value=\"c%2Ffolder\"") && choose.contains("value=\"below\""), "{choose}");
    let into = web.ask("GET", &format!("{page}one?t=move&at=&into=c%252Ffolder"), HTML, "").good();
    assert!(into.contains("can only be read"), "{into}");
    // A program says where the new name is to be.
    let program =
        web.ask("POST", &format!("/uri/{}?t=rename&from_name=c%2Ffolder&to_name=g", escaped(&cap)), "", "");
    assert_eq!(program.status, 400, "{}", program.text());
}

/// The bar says in which of the places somebody is.
#[test]
fn the_place_is_marked() {
    let web = Web::start();
    web.0.command("gw", &["mkdir", "photos/2026"], b"").good();
    let drive = web.drive();
    let shared = web.0.command("gw", &["share", "--write", "photos"], b"").line();
    let other = web.open(&shared);
    let (mine, bar) = ("<a href=\"/drive/personal\" aria-current=\"true\">", "<nav aria-label=\"Places\">");
    let activity = "<a href=\"/status\" aria-current=\"page\">";
    let grid = "<a href=\"/grid\" aria-current=\"page\">";
    for (page, marked) in [
        (format!("{drive}/"), mine),
        (format!("{drive}/photos/"), mine),
        (format!("{drive}/photos?t=info"), mine),
        (format!("{drive}/photos?t=share"), mine),
        (format!("{drive}/photos?t=move"), mine),
        (format!("{drive}/photos?t=manifest"), mine),
        (other.clone(), ""),
        (format!("{other}2026?t=info"), ""),
        ("/".into(), ""),
        ("/status".into(), activity),
        ("/grid".into(), grid),
    ] {
        let html = web.ask("GET", &page, HTML, "").good();
        let (_, rest) = html.split_once(bar).expect("a bar");
        let nav = rest.split("</nav>").next().expect("its end");
        assert_eq!(nav.matches("aria-current").count(), usize::from(!marked.is_empty()), "{page}: {nav}");
        assert!(nav.contains(marked), "{page}: {nav}");
    }
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
        assert!(page.contains(&format!("<button name=\"into\" value=\"{folder}\">")), "{folder} in {page}");
    }
    assert!(!page.contains("into\" value=\"notes.txt\"") && !page.contains("URI:"), "{page}");
    let page = choose("notes.txt", "&at=letters/old").good();
    assert!(page.contains("Move here") && page.contains("There is no folder in this one"), "{page}");
    let field = |name: &str| {
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).expect("a field");
        format!("{name}={}", escaped(rest.split('"').next().expect("its end")))
    };
    let fields = format!("from_name=notes.txt&{}", ["to_drive", "to_way"].map(field).join("&"));
    // The form is one of this node, or nothing is done.
    assert_eq!(send("", &format!("{fields}&token=nonsense")).status, 403);
    assert_eq!(send("", &fields).status, 403);
    let foreign = format!("{FORM}Sec-Fetch-Site: cross-site\r\n");
    let body = format!("t=relink&{fields}&token={token}");
    assert_eq!(web.ask("POST", &format!("{drive}/"), &foreign, &body).status, 403);
    assert_eq!(read("notes.txt").good(), "Buy milk.", "nothing was moved yet");
    let moved = send_form(&web, &page, "relink", "");
    let back = format!("{drive}/");
    assert_eq!((moved.status, moved.header("Location")), (303, Some(&*back)), "{}", moved.text());
    assert_eq!(read("letters/old/notes.txt").good(), "Buy milk.");
    assert_eq!(read("notes.txt").status, 404);

    // What is in the way stays.
    web.0.command("gw", &["put", "--quiet", "-", "notes.txt"], b"Buy bread.").good();
    let taken = send("", &format!("{fields}&token={token}"));
    assert_eq!(taken.status, 409, "{}", taken.text());
    assert_eq!(read("letters/old/notes.txt").good(), "Buy milk.");

    // A folder is not moved into itself: its page says so, the form, and whoever goes round by another link.
    let page = choose("letters", "").good();
    assert!(page.contains("is what is moved") && !page.contains("into\" value=\"letters\""), "{page}");
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
    let foreign = web.open(&shared);
    let handle = foreign.trim_matches('/').rsplit('/').next().expect("a handle");
    let page = choose("notes.txt", &format!("&in={handle}&at=")).good();
    assert!(page.contains("can only be read") && !page.contains("Move here"), "{page}");
    assert!(page.contains("My drive"), "and the way back is offered");
    let wider = "Whoever can open that drive can open it, too.";
    assert!(page.contains(wider) && !choose("notes.txt", "").good().contains(wider), "who else sees it");
    let to = format!("from_name=notes.txt&to_drive={handle}&to_way=&token={token}");
    assert_eq!(send("", &to).status, 400);
    assert_eq!(choose("notes.txt", "&at=letters/old/notes.txt").status, 400, "a file");
    for (rest, status) in [("&at=nowhere", 404), ("&at=%25zz", 400), ("&in=nonsense&at=", 404)] {
        assert_eq!(choose("notes.txt", rest).status, status, "{rest}");
    }
    // What is not there is said to be missing, whichever folder is looked at for it.
    for rest in ["", "&at=", "&at=letters/old", &format!("&in={handle}&at=")] {
        let missing = choose("no-notes.txt", rest);
        assert_eq!(missing.status, 404, "{rest}: {}", missing.text());
        assert!(missing.text().contains("There is no &#34;no-notes.txt&#34;."), "{}", missing.text());
        assert_eq!(choose("no-folder/notes.txt", rest).status, 404, "{rest}");
    }
    assert_eq!(web.ask("GET", &format!("{drive}/?t=move"), HTML, "").status, 400, "the top is nowhere");
    assert_eq!(read("notes.txt").good(), "Buy bread.");
    let log = web.0.log("gw");
    assert!(!log.contains(cap.trim().split(':').nth(2).expect("a key")), "no capability is in the log");
}
