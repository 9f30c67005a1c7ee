//! Every request of a real node's web port that changes something or spends space, in the hands of another
//! site: its forms and scripts are refused, a name that was led here is refused, and `when_done` leads to
//! nowhere else. Without all that, each of these requests does what it should.

use serde_json::Value;
use std::collections::BTreeSet;
use tallac_tests::web::{Answer, ask_with, escaped};
use tallac_tests::{Grid, Options};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const PARTS: &str = "Content-Type: multipart/form-data; boundary=XX\r\n";
const CHILDREN: &str = r#"{"child": ["filenode", {"ro_uri": "URI:LIT:krugkidfnzsc4"}]}"#;
const LITERAL: &str = "URI:LIT:krugkidfnzsc4";

/// A request that changes something.
struct Change {
    method: &'static str,
    path: String,
    headers: String,
    body: String,
    /// What it answers to who may.
    status: u16,
    /// Whether `when_done=` can be sent with it.
    leads_on: bool,
}

struct Web {
    grid: Grid,
    /// A directory.
    root: String,
    /// A mutable file.
    file: String,
    /// The page of the directory.
    page: String,
    /// The token of the forms on it.
    token: String,
    /// What shows that a request comes from the node's owner.
    owner: String,
}

impl Web {
    fn start() -> Web {
        let options =
            Options { servers: 3, shares: Some("2,2,3"), vdrive: true, ..Options::ten("async-std") };
        let grid = Grid::start(&options);
        let root = escaped(&grid.ask("POST", "/uri?t=mkdir", b"").good());
        let file = escaped(&grid.ask("PUT", "/uri?mutable=true", b"before").good());
        let authority = grid.authority("gw");
        let to = format!("/uri/{root}");
        let browser = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";
        let sent = ask_with(&authority, "GET", &to, browser, b"");
        let page = sent.header("Location").expect("the page of a directory").trim_end_matches('/').to_owned();
        let shown = ask_with(&authority, "GET", "/", "Accept: text/html\r\n", b"").good();
        let (_, rest) = shown.split_once("name=\"form-token\" content=\"").expect("a token");
        let token = rest.split('"').next().expect("its end").to_owned();
        let secret = grid.path("gw").join("private/api_auth_token");
        let owner = std::fs::read_to_string(secret).expect("a token").trim().to_owned();
        let web = Web { grid, root, file, page, token, owner };
        // Something to unlink and to move.
        let victims: serde_json::Map<String, Value> = (0..20)
            .map(|number| {
                (format!("victim {number}"), serde_json::json!(["filenode", { "ro_uri": LITERAL }]))
            })
            .collect();
        let victims = Value::Object(victims).to_string();
        web.grid.ask("POST", &format!("/uri/{}?t=set_children", web.root), victims.as_bytes()).good();
        web
    }

    #[track_caller]
    fn send(&self, change: &Change, headers: &str) -> Answer {
        let headers = format!("{}{headers}", change.headers);
        ask_with(&self.grid.authority("gw"), change.method, &change.path, &headers, change.body.as_bytes())
    }

    /// All that can be seen of what these requests change.
    #[track_caller]
    fn state(&self) -> String {
        let listed = self.grid.ask("GET", &format!("/uri/{}?t=json", self.root), b"").good();
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let counted = self.grid.ask("GET", "/statistics?t=json", b"").good();
        let counted: Value = serde_json::from_str(&counted).expect("JSON");
        let counted =
            ["uploader.files_uploaded", "mutable.files_published"].map(|name| &counted["counters"][name]);
        format!("{} {counted:?}", listed[1]["children"])
    }

    /// All of them. `taken` names are unlinked or moved, one by each.
    fn changes(&self) -> Vec<Change> {
        let (root, file) = (&self.root, &self.file);
        let mut all: Vec<Change> = Vec::new();
        let mut victims = (0..20).map(|number| format!("victim%20{number}"));
        let mut victim = || victims.next().expect("enough of them");
        let mut numbers = 0..;
        let mut new = || format!("new{}", numbers.next().expect("endless"));
        let mut add = |method, path: String, headers: &str, body: &str, status, leads_on| {
            let (headers, body) = (headers.to_owned(), body.to_owned());
            all.push(Change { method, path, headers, body, status, leads_on });
        };
        let part = |name: &str, rest: &str, content: &str| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n{content}\r\n")
        };
        let upload = part("file", "; filename=\"a name\"", "content") + "--XX--\r\n";
        // Both names of the same place.
        for uri in ["/uri", "/cap"] {
            add("PUT", uri.into(), "", "content", 200, false);
            add("PUT", format!("{uri}?mutable=true"), "", "content", 200, false);
            add("PUT", format!("{uri}?t=mkdir"), "", "", 200, true);
            add("PUT", format!("{uri}/{file}"), "", "after", 200, false);
            add("PUT", format!("{uri}/{file}?offset=1"), "", "f", 200, false);
            add("PUT", format!("{uri}/{root}/{}", new()), "", "content", 201, false);
            add("PUT", format!("{uri}/{root}/{}?t=uri", new()), "", LITERAL, 200, false);
            add("PUT", format!("{uri}/{root}/{}?t=mkdir", new()), "", "", 200, true);
            add("DELETE", format!("{uri}/{root}/{}", victim()), "", "", 200, false);
            add("POST", uri.into(), PARTS, &upload, 200, true);
            add("POST", format!("{uri}?t=upload"), PARTS, &upload, 200, true);
            add("POST", format!("{uri}?t=mkdir"), FORM, "", 200, true);
            add("POST", format!("{uri}?t=mkdir-with-children"), "", CHILDREN, 200, true);
            add("POST", format!("{uri}?t=mkdir-immutable"), "", CHILDREN, 200, true);
            add("POST", format!("{uri}/{file}?t=upload"), PARTS, &upload, 200, true);
            let dir = format!("{uri}/{root}");
            add("POST", format!("{dir}?t=upload"), PARTS, &upload, 200, true);
            add("POST", format!("{dir}/{}?t=upload", new()), PARTS, &upload, 200, true);
            add("POST", format!("{dir}/{}?t=mkdir", new()), "", "", 200, true);
            add("POST", format!("{dir}/{}?t=mkdir-with-children", new()), "", CHILDREN, 200, true);
            add("POST", format!("{dir}/{}?t=mkdir-immutable", new()), "", CHILDREN, 200, true);
            for fields in [
                format!("t=mkdir&name={}", new()),
                format!("t=mkdir-p&path={}/b/c", new()),
                format!("t=uri&name={}&uri={LITERAL}", new()),
                format!("t=unlink&name={}", victim()),
                format!("t=delete&name={}", victim()),
                format!("t=rename&from_name={}&to_name={}", victim(), new()),
                format!("t=relink&from_name={}&to_dir={root}&to_name={}", victim(), new()),
            ] {
                add("POST", dir.clone(), FORM, &fields, 200, true);
            }
            add("POST", format!("{dir}?t=mkdir-with-children&name={}", new()), "", CHILDREN, 200, true);
            add("POST", format!("{dir}?t=mkdir-immutable&name={}", new()), "", CHILDREN, 200, true);
            add("POST", format!("{dir}?t=set_children"), "", CHILDREN, 200, true);
            add("POST", format!("{dir}?t=set-children"), FORM, CHILDREN, 200, true);
            add("POST", format!("{dir}?t=stream-manifest"), "", "", 200, false);
            for t in ["start-manifest", "start-deep-size", "start-deep-stats"] {
                add("POST", format!("{dir}?t={t}&ophandle={}", new()), FORM, "", 302, false);
            }
        }
        add("POST", "/operations/none?t=cancel".into(), FORM, "", 404, false);
        let owner = format!("Authorization: tahoe-lafs {}\r\n", self.owner);
        // The gateway is no vdrive server.
        add("POST", "/private/make-root".into(), &owner, "", 404, false);
        // The forms and scripts of pages.
        let (page, token) = (&self.page, &self.token);
        let handle = page.rsplit('/').next().unwrap_or_default();
        add("PUT", format!("{page}/{}", new()), &format!("X-Form-Token: {token}\r\n"), "content", 201, false);
        add("POST", "/drive/personal".into(), FORM, &format!("token={token}"), 200, false);
        add("POST", "/logout".into(), FORM, &format!("token={token}"), 303, false);
        add("POST", "/open".into(), FORM, &format!("cap={LITERAL}&token={token}"), 303, false);
        let signed = part("token", "", token) + &upload;
        add("POST", "/store".into(), PARTS, &signed, 303, false);
        let named = part("token", "", token) + &part("name", "", &new()) + &upload;
        add("POST", format!("{page}?t=upload"), PARTS, &named, 303, false);
        for fields in [
            format!("t=mkdir&name={}", new()),
            format!("t=uri&name={}&uri={LITERAL}", new()),
            format!("t=unlink&name={}", victim()),
            format!("t=rename&from_name={}&to_name={}", victim(), new()),
            format!("t=relink&from_name={}&to_drive={handle}&to_way=&to_name={}", victim(), new()),
        ] {
            add("POST", page.clone(), FORM, &format!("{fields}&token={token}"), 303, false);
        }
        all
    }
}

#[test]
fn every_change_is_for_this_nodes_own_pages_and_for_programs() {
    let web = Web::start();
    let authority = web.grid.authority("gw");
    let changes = web.changes();
    // None is missing here that the documentation has.
    let documented = include_str!("../../web/API.md");
    let changes_something =
        |row: &&str| ["PUT", "POST", "DELETE"].iter().any(|method| row.starts_with(method));
    let rows = documented.lines().filter_map(|line| line.strip_prefix("| `")).filter(changes_something);
    let requests = rows.filter_map(|row| row.split('|').next());
    let words = requests.flat_map(|requests| requests.split(['?', '&', '`', ' ']));
    let arguments = words.filter_map(|word| word.strip_prefix("t="));
    let named = arguments.map(|rest| {
        rest.chars().take_while(|char| char.is_ascii_lowercase() || "-_".contains(*char)).collect::<String>()
    });
    let tried: BTreeSet<&str> = changes
        .iter()
        .flat_map(|change| [&*change.path, &*change.body])
        .flat_map(|text| text.split(['?', '&']).filter_map(|argument| argument.strip_prefix("t=")))
        .collect();
    for t in named.filter(|t| !t.is_empty()) {
        assert!(tried.contains(&*t), "t={t} is documented and not tried here");
    }

    let before = web.state();
    for change in &changes {
        let what = format!("{} {:.60} {:.60}", change.method, change.path, change.body);
        // Pages of other sites, sandboxes, and what else runs on this machine.
        for made_by in [
            "Origin: http://evil.example\r\n".to_owned(),
            "Origin: null\r\n".into(),
            "Origin: http://127.0.0.1:1\r\n".into(),
            format!("Origin: http://{authority}.evil.example\r\n"),
            format!("Origin: http://evil.example/{authority}\r\n"),
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n".into(),
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\n".into(),
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n".into(),
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nOrigin: https://evil.example\r\n".into(),
        ] {
            let answer = web.send(change, &made_by);
            assert_eq!(answer.status, 403, "{what}, {made_by}: {}", answer.text());
            assert!(answer.text().contains("another site"), "{what}: {}", answer.text());
            assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        }
        // A browser that asks beforehand whether it may.
        let asked = ask_with(
            &authority,
            "OPTIONS",
            &change.path,
            "Origin: http://evil.example\r\nAccess-Control-Request-Method: PUT\r\n",
            b"",
        );
        assert!(asked.status >= 400 && asked.header("Access-Control-Allow-Origin").is_none(), "{what}");
        // A name that somebody leads here.
        let mut socket = std::net::TcpStream::connect(&authority).expect("it listens");
        let led = format!(
            "{} {} HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{}",
            change.method,
            change.path,
            change.headers,
            change.body.len(),
            change.body
        );
        std::io::Write::write_all(&mut socket, led.as_bytes()).expect("it reads");
        let mut said = String::new();
        std::io::Read::read_to_string(&mut socket, &mut said).expect("text");
        assert!(said.starts_with("HTTP/1.1 421 "), "{what}: {said}");
    }
    assert_eq!(web.state(), before, "nothing of all that did anything");

    // Sent on to somewhere else.
    for change in &changes {
        for elsewhere in [
            "http://evil.example/",
            "//evil.example",
            "https://127.0.0.1:1/",
            "javascript:alert(1)",
            "/\\evil.example",
        ] {
            let mark = if change.path.contains('?') { '&' } else { '?' };
            let path = format!("{}{mark}when_done={}", change.path, escaped(elsewhere));
            let (headers, body) = (change.headers.clone(), change.body.clone());
            let change = Change { path, headers, body, ..*change };
            let what = format!("{} {:.90} {:.60}", change.method, change.path, change.body);
            if !change.leads_on {
                continue;
            }
            let answer = web.send(&change, "");
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            assert!(answer.text().contains("when_done="), "{what}: {}", answer.text());
            assert_eq!(answer.header("Location"), None, "{what}");
        }
    }
    assert_eq!(web.state(), before, "nothing of all that did anything");

    // Forms of pages without their token.
    for change in changes
        .iter()
        .filter(|change| change.headers.contains(&web.token) || change.body.contains(&web.token))
    {
        let (headers, body) = (change.headers.replace(&web.token, "x"), change.body.replace(&web.token, "x"));
        let change = Change { path: change.path.clone(), headers, body, ..*change };
        assert_eq!(web.send(&change, "").status, 403, "{} {}", change.path, change.body);
    }
    assert_eq!(web.state(), before, "nothing of all that did anything");

    // And now for who may. What never leads on does not lead elsewhere either.
    let own = format!("Origin: http://{authority}\r\nSec-Fetch-Site: same-origin\r\n");
    for (index, change) in changes.iter().enumerate() {
        let mark = if change.path.contains('?') { '&' } else { '?' };
        let path = match change.leads_on {
            true => change.path.clone(),
            false => format!("{}{mark}when_done=http%3A%2F%2Fevil.example", change.path),
        };
        let (headers, body) = (change.headers.clone(), change.body.clone());
        let sent = Change { path, headers, body, ..*change };
        let what = format!("{} {:.90} {:.60}", change.method, change.path, change.body);
        let mut answer = web.send(&sent, if index % 2 == 0 { &own } else { "" });
        if answer.status == 400 && !change.leads_on {
            assert!(answer.text().contains("when_done="), "{what}: {}", answer.text());
            answer = web.send(change, "");
        }
        assert_eq!(answer.status, change.status, "{what}: {}", answer.text());
        assert!(
            answer.header("Location").is_none_or(|to| to.starts_with('/') && !to.contains("evil")),
            "{what}"
        );
    }
    assert_ne!(web.state(), before);
}
