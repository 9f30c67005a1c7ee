//! Forms in parts, with boundaries and names that are odd or hostile, at a real node: what is stored under
//! which name, what is refused, and how a page shows what was stored.

use tallac_tests::web::{Answer, KeptAlive, ask_with, escaped};
use tallac_tests::{Grid, Options, content, differs_at};

struct Web {
    grid: Grid,
    /// A directory, as the beginning of a path.
    root: String,
}

impl Web {
    fn start(runtime: &'static str) -> Web {
        let grid = Grid::start(&Options { servers: 3, shares: Some("2,2,3"), ..Options::ten(runtime) });
        let cap = grid.ask("POST", "/uri?t=mkdir", b"").good();
        Web { root: format!("/uri/{}", escaped(&cap)), grid }
    }

    #[track_caller]
    fn send(&self, path: &str, boundary: &str, form: &[u8]) -> Answer {
        let kind = format!("Content-Type: multipart/form-data; boundary={boundary}\r\n");
        ask_with(&self.grid.authority("gw"), "POST", path, &kind, form)
    }

    #[track_caller]
    fn children(&self) -> Vec<String> {
        let json = self.grid.ask("GET", &format!("{}?t=json", self.root), b"").good();
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        json[1]["children"].as_object().expect("children").keys().cloned().collect()
    }

    #[track_caller]
    fn read(&self, name: &str) -> Answer {
        self.grid.ask("GET", &format!("{}/{}", self.root, escaped(name)), b"")
    }
}

/// A part of a form, as a header has it.
fn part(boundary: &str, parameters: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--{boundary}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

/// File names as browsers and others send them, and the name in the directory, or none if it is refused.
fn names() -> Vec<(String, Option<String>)> {
    let quoted = |name: &str| format!("filename=\"{name}\"");
    let kept = |sent: &str, name: &str| (quoted(sent), Some(name.to_owned()));
    let refused = |sent: &str| (quoted(sent), None);
    vec![
        kept("plain.txt", "plain.txt"),
        kept(" blanks around ", " blanks around "),
        // Quotes, as browsers and as curl write them.
        kept("a%22b%22.txt", "a\"b\".txt"),
        kept("back\\\"slash.txt", "back\"slash.txt"),
        kept("it's.txt", "it's.txt"),
        ("filename=bare.txt".into(), Some("bare.txt".into())),
        // Of two names the last counts, of one in another spelling none.
        ("filename=\"first.txt\"; filename*=UTF-8''second.txt".into(), Some("first.txt".into())),
        kept("semi;colon=1.txt", "semi;colon=1.txt"),
        kept("C:\\fakepath\\win.txt", "C:\\fakepath\\win.txt"),
        kept("percent%41%2F.txt", "percent%41%2F.txt"),
        // HTML and scripts are names like others.
        kept("<img src=x onerror=alert(1)>.txt", "<img src=x onerror=alert(1)>.txt"),
        kept("%22 onmouseover=%22alert(1).txt", "\" onmouseover=\"alert(1).txt"),
        kept("javascript:alert(1).txt", "javascript:alert(1).txt"),
        kept("{{7*7}}${7*7}&lt;.txt", "{{7*7}}${7*7}&lt;.txt"),
        kept("\u{202e}txt.exe", "\u{202e}txt.exe"),
        kept("\u{1f600} \u{e9}.txt", "\u{1f600} \u{e9}.txt"),
        // Line ends, as browsers write them, and as they are.
        refused("new%0D%0Aline.txt"),
        refused("new%0Aline.txt"),
        refused("raw\nline.txt"),
        refused("raw\r\nX-Header: line.txt"),
        refused("zero\0.txt"),
        refused("tab\t.txt"),
        // Traversal.
        refused("../../etc/passwd"),
        refused("/etc/passwd"),
        refused("a/b.txt"),
        refused(".."),
        refused("."),
        refused("</title><script>alert(1)</script>.txt"),
        refused(""),
        refused("not closed\\"),
        // As long as can be, and longer.
        kept(&format!("{}.txt", "n".repeat(1_020)), &format!("{}.txt", "n".repeat(1_020))),
        refused(&format!("{}.txt", "n".repeat(1_021))),
        refused(&"n".repeat(4_096)),
        refused(&"%22".repeat(4_000)),
        refused(&"\u{1f600}".repeat(1_024)),
    ]
}

/// What a percent-encoded word says.
fn decoded(word: &str) -> String {
    assert!(word.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\;,".contains(&byte)), "{word}");
    let mut parts = word.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two hex digits"));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn names_of_files() {
    let web = Web::start("smol");
    let mut expected = Vec::new();
    for (index, (sent, name)) in names().into_iter().enumerate() {
        let body = format!("<script>{index}</script>");
        let parameters = format!("name=\"file\"; {sent}");
        let form = [part("XX", "name=\"t\"", b"upload"), part("XX", &parameters, body.as_bytes())].concat();
        let answer = web.send(&web.root, "XX", &[&form[..], b"--XX--\r\n"].concat());
        match name {
            Some(name) => {
                assert_eq!(answer.status, 200, "{sent:.80}: {}", answer.text());
                let stored = web.read(&name);
                assert_eq!(stored.text(), body, "{name:.80}");
                let policy = stored.header("Content-Security-Policy").expect("a policy");
                assert!(policy.starts_with("sandbox;"), "{name:.80}: {policy}");
                // It is kept under its name, and its name is one value of one header.
                let path = format!("{}/{}?save=true", web.root, escaped(&name));
                let saved = web.grid.ask("GET", &path, b"");
                let how = saved.header("Content-Disposition").expect("how to keep it");
                let plain = how.strip_prefix("attachment; filename=\"").and_then(|rest| rest.split_once('"'));
                let (plain, rest) = plain.expect("a name for all");
                assert!(!plain.contains(['/', '\\', '%']), "{how}");
                let coded = rest.strip_prefix("; filename*=UTF-8''").expect("a name for most");
                assert_eq!(decoded(coded), name, "{how}");
                expected.push(name);
            }
            None => {
                assert_eq!(answer.status, 400, "{sent:.80}: {}", answer.text());
                let text = answer.text();
                assert!(text.len() < 600 && text.ends_with(".\n") && text.lines().count() == 1, "{text}");
            }
        }
    }
    let mut children = web.children();
    children.sort();
    expected.sort();
    assert_eq!(children, expected);

    // Page, listing and manifest show them as text.
    let html = "Accept: text/html\r\n";
    let ask = |path: &str| ask_with(&web.grid.authority("gw"), "GET", path, html, b"");
    let sent = ask_with(
        &web.grid.authority("gw"),
        "GET",
        &web.root,
        &format!("{html}Sec-Fetch-Mode: navigate\r\n"),
        b"",
    );
    let page = sent.header("Location").expect("the page of a directory").trim_end_matches('/').to_owned();
    for shown in [ask(&format!("{page}/")), ask(&web.root)] {
        let text = shown.text();
        for forbidden in ["<img src=x", "<script>alert", "\" onmouseover=\"", "href=\"javascript:"] {
            assert!(!text.contains(forbidden), "{forbidden} in the page of the directory");
        }
        assert!(text.contains("onerror=alert(1)"), "it is there as text");
        assert!(!text.contains('\u{202e}'), "nothing turns the direction of what is read");
    }
    for name in &expected {
        let shown = ask(&format!("{page}/{}", escaped(name)));
        assert_eq!(shown.status, 200, "{name:.80}");
        for forbidden in ["<img src=x", "<script>alert", "\" onmouseover=\""] {
            assert!(!shown.text().contains(forbidden), "{forbidden} in the page of {name:.80}");
        }
    }
}

#[test]
fn boundaries() {
    let web = Web::start("blocking");
    let path = format!("{}?t=upload&name=file", web.root);
    let long = "b".repeat(70);
    // In the header, in the body. Content looks much like them.
    for (header, boundary) in [
        ("b", "b"),
        ("\"b\"", "b"),
        ("-", "-"),
        ("----", "----"),
        ("\"a b\"", "a b"),
        ("\"'()+_,-./:=?\"", "'()+_,-./:=?"),
        (&long, &*long),
        ("b; charset=utf-8", "b"),
        ("\"b\\\"b\"", "b\"b"),
    ] {
        let near = &boundary[..boundary.len() - 1];
        let content = [
            format!("x--{boundary}\n--{boundary}\n\r--{boundary}\r\n-{boundary}\r\n--{near}\r\n--")
                .as_bytes(),
            &content(1, 150_000),
            format!("\r\n--{near}").as_bytes(),
        ]
        .concat();
        let file = part(boundary, "name=\"file\"; filename=\"x\"", &content);
        let form = [&file[..], format!("--{boundary}--\r\n").as_bytes()].concat();
        let answer = web.send(&path, header, &form);
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
        assert_eq!(differs_at(&web.read("file").body, &content), None, "{header}");
        // With something before and after it.
        let form = [format!("to be ignored\r\n--{boundary}x").as_bytes(), &form].concat();
        assert_eq!(
            web.send(&path, header, &form).status,
            400,
            "{header}: what is no boundary begins no part"
        );
        let ignored = [b"to be ignored\r\n", &file[..], format!("--{boundary}--tail").as_bytes()].concat();
        let answer = web.send(&path, header, &ignored);
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
    }
    let file = part("b", "name=\"file\"; filename=\"x\"", b"content");
    let before = web.children();
    let path = format!("{}?t=upload&name=other", web.root);
    let with = |head: &str| format!("--b\r\n{head}\r\n\r\ncontent\r\n--b--\r\n").into_bytes();
    let disposition = "Content-Disposition: form-data; name=\"file\"; filename=\"x\"";
    for (header, form) in [
        ("", [&file[..], b"--b--"].concat()),
        ("\"\"", [&file[..], b"--b--"].concat()),
        ("\"b", [&file[..], b"--b--"].concat()),
        (&*"b".repeat(71), [&file[..], b"--b--"].concat()),
        ("\u{e9}", [&file[..], b"--b--"].concat()),
        // Never closed, or by another one.
        ("b", file.clone()),
        ("b", [&file[..], b"--b"].concat()),
        ("b", [&file[..], b"--c--"].concat()),
        ("c", [&file[..], b"--b--"].concat()),
        ("b", Vec::new()),
        ("b", b"--b--".to_vec()),
        // Lines that end otherwise; headers that are none, or too much.
        ("b", String::from_utf8_lossy(&file).replace("\r\n", "\n").into_bytes()),
        ("b", with("garbage")),
        ("b", with("Content-Disposition: attachment; name=\"file\"")),
        ("b", with("Content-Disposition: form-data; filename=\"x\"")),
        ("b", with("Content-Type: text/plain")),
        ("b", with(&format!("{disposition}\r\nX: {}", "y".repeat(9_000)))),
        ("b", with(&format!("{disposition}{}", "\r\nX: y".repeat(20)))),
        ("b", part("b", "name=\"x\"", b"y").repeat(300)),
        ("b", [part("b", "name=\"x\"", &[b'y'; 9]).repeat(200), file.clone(), b"--b-".to_vec()].concat()),
    ] {
        let answer = web.send(&path, header, &form);
        assert_eq!(answer.status, 400, "{header}, {:.80}: {}", String::from_utf8_lossy(&form), answer.text());
    }
    // Fields without end, in many parts and in one.
    for form in
        [part("b", "name=\"x\"", &[b'y'; 1_000]).repeat(200), part("b", "name=\"x\"", &[b'y'; 200_000])]
    {
        assert_eq!(web.send(&path, "b", &form).status, 413);
    }
    // A form within the form is content like any other.
    let inner = [part("inner", "name=\"file\"; filename=\"y\"", b"z"), b"--inner--\r\n".to_vec()].concat();
    let nested = [part("b", "name=\"file\"; filename=\"x\"", &inner), b"--b--\r\n".to_vec()].concat();
    assert_eq!(web.children(), before, "nothing of all that did anything");
    web.send(&path, "b", &nested).good();
    assert_eq!(web.read("other").body, inner);
}

/// The file comes while the node still looks what is there, after the headers of its part have come alone.
#[test]
fn headers_of_a_part_alone() {
    let web = Web::start("async-std");
    let content = content(4, 3_000_000);
    for round in 0..10 {
        let mut connection = KeptAlive::open(&web.grid.authority("gw"));
        let mut form = part("XX", "name=\"file\"; filename=\"x\"", &content);
        form.extend_from_slice(b"--XX--\r\n");
        let head = form.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let request = format!(
            "POST {}/new{round}?t=upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\n\
             Content-Length: {}\r\n\r\n",
            web.root,
            form.len()
        );
        connection.send(&[request.as_bytes(), &form[..head]].concat());
        connection.send(&form[head..]);
        connection.answer(true).good();
        assert_eq!(differs_at(&web.read(&format!("new{round}")).body, &content), None);
    }
}
