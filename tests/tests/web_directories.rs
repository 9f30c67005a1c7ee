//! Directories and mutable files through the web port of a real node: every verb with its statuses, and
//! what must not work.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use tallac_core::base32;
use tallac_core::capability::Capability;
use tallac_tests::web::{Answer, ask_with, escaped};
use tallac_tests::{Grid, Options, content, differs_at};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

struct Web(Grid);

impl Web {
    fn start() -> Web {
        // A gateway of each kind, in turn, before servers of the others.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let mut runtimes = vec!["blocking", "async-std", "smol"];
        runtimes.rotate_left(STARTED.fetch_add(1, Ordering::Relaxed) % 3);
        Web(Grid::start(&Options { servers: 3, runtimes, shares: Some("2,2,3"), vdrive: false }))
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        ask_with(&self.0.authority("gw"), method, path, headers, body)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", b"")
    }

    #[track_caller]
    fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("PUT", path, "", body)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, "", body)
    }

    #[track_caller]
    fn form(&self, path: &str, fields: &str) -> Answer {
        self.ask("POST", path, FORM, fields.as_bytes())
    }

    /// A form in parts; those with a file name are files.
    #[track_caller]
    fn parts(&self, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, filename, content) in parts {
            let filename = filename.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
            let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--XX--\r\n");
        self.ask("POST", path, "Content-Type: multipart/form-data; boundary=XX\r\n", &body)
    }

    /// A new directory, as the beginning of a path.
    #[track_caller]
    fn directory(&self) -> String {
        format!("/uri/{}", escaped(&self.post("/uri?t=mkdir", b"").good()))
    }

    #[track_caller]
    fn json(&self, path: &str) -> Value {
        let text = self.get(&format!("{path}?t=json")).good();
        assert!(text.is_ascii(), "programs print it as it is");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The same directory for reading only.
    #[track_caller]
    fn read_only(&self, directory: &str) -> String {
        format!("/uri/{}", escaped(&self.get(&format!("{directory}?t=readonly-uri")).good()))
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, why: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert!(text.contains(why), "{text}");
    assert!(text.ends_with(".\n") && text.lines().count() == 1, "one sentence: {text}");
    assert!(text.split("URI:").skip(1).all(|rest| rest.contains("...")), "no more than a kind: {text}");
    assert!(answer.header("Content-Type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"));
    assert_eq!(answer.header("X-Frame-Options"), Some("DENY"));
}

#[test]
fn files_in_directories() {
    let web = Web::start();
    let root = web.directory();
    let (one, two) = (content(1, 5_000), content(2, 6_000));

    // New is 201, replaced 200; directories on the way appear.
    let made = web.put(&format!("{root}/a/b/file.txt"), &one);
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(made.text().starts_with("URI:CHK:"));
    assert!(made.header("Tallac-Survives").is_some());
    let file = format!("{root}/a/b/file.txt");
    assert_eq!(differs_at(&web.get(&file).body, &one), None);
    assert_eq!(web.put(&file, &two).status, 200);
    assert_eq!(differs_at(&web.get(&file).body, &two), None);
    for replace in ["true", "only-files", "t", "1"] {
        assert_eq!(web.put(&format!("{file}?replace={replace}"), &one).status, 200);
    }
    refused(&web.put(&format!("{file}?replace=false"), &two), 409, "already");
    refused(&web.put(&format!("{file}?replace=perhaps"), &two), 400, "replace=");
    refused(&web.put(&format!("{root}/a"), &two), 409, "directory");
    refused(&web.put(&format!("{file}/below"), &two), 409, "not a directory");
    refused(&web.get(&format!("{file}/below")), 400, "not a directory");
    refused(&web.get(&format!("{root}/a/none")), 404, "\"none\"");
    refused(&web.put(&format!("{file}?offset=3"), &two), 400, "mutable file");
    refused(&web.put(&format!("{file}?offset=-3"), &two), 400, "offset=");
    refused(&web.put(&format!("{file}?format=zip"), &two), 400, "format=");

    // How it is shown: type, name, tag, ranges.
    let shown = web.get(&file);
    assert_eq!(shown.header("Content-Type"), Some("text/plain"));
    assert_eq!(shown.header("Content-Security-Policy"), Some("sandbox; default-src 'none'"));
    let tag = shown.header("ETag").expect("it never changes").to_owned();
    let known = web.ask("GET", &file, &format!("If-None-Match: {tag}\r\n"), b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
    let saved = web.get(&format!("{file}?save=true&filename=%C3%A4%22%0D%0Ab.html"));
    assert_eq!(saved.header("Content-Type"), Some("text/html"));
    assert_eq!(
        saved.header("Content-Disposition"),
        Some("attachment; filename=\"____b.html\"; filename*=UTF-8''%C3%A4%22%0D%0Ab.html")
    );
    let part = web.ask("GET", &file, "Range: bytes=-7\r\n", b"");
    assert_eq!((part.status, differs_at(&part.body, &one[4_993..])), (206, None));
    refused(&web.ask("GET", &file, "Range: bytes=5000-\r\n", b""), 416, "5000 bytes");
    let head = web.ask("HEAD", &file, "", b"");
    assert_eq!((head.status, head.header("Content-Length"), head.body.len()), (200, Some("5000"), 0));
    let cap = web.get(&format!("{file}?t=uri")).good();
    assert_eq!(web.get(&format!("{file}?t=readonly-uri")).good(), cap);
    let named = web.get(&format!("/file/{}/@@named=/x.png", escaped(&cap)));
    assert_eq!((named.status, named.header("Content-Type")), (200, Some("image/png")));
    let sent = web.get(&format!("/uri?uri={}&t=json", escaped(&cap)));
    assert_eq!(
        (sent.status, sent.header("Location")),
        (302, Some(&*format!("/uri/{}?t=json", escaped(&cap))))
    );
    let json = web.json(&file);
    assert_eq!(
        (&json[0], &json[1]["size"], &json[1]["format"]),
        (&json!("filenode"), &json!(5_000), &json!("CHK"))
    );
    assert!(json[1]["metadata"]["tahoe"]["linkcrtime"].is_number(), "{json}");
    assert!(web.get(&format!("{file}?t=info")).good().contains("5000 bytes"));
    refused(&web.get(&format!("{file}?t=nonsense")), 400, "t=");

    // Gone again.
    let gone = web.ask("DELETE", &file, "", b"");
    assert_eq!((gone.status, gone.text()), (200, cap));
    refused(&web.ask("DELETE", &file, "", b""), 404, "file.txt");
    refused(&web.ask("DELETE", &root, "", b""), 400, "name");
    refused(&web.ask("PATCH", &root, "", b""), 405, "PATCH");
}

#[test]
fn mutable_files() {
    let web = Web::start();
    let root = web.directory();
    for (format, kind) in [("SDMF", "URI:SSK:"), ("MDMF", "URI:MDMF:")] {
        let (one, two) = (content(1, 200_000), content(2, 3_000));
        let file = format!("{root}/{format}");
        let made = web.put(&format!("{file}?format={format}"), &one);
        assert_eq!((made.status, made.text().starts_with(kind)), (201, true), "{}", made.text());
        let cap = made.text();
        // In place, whatever is said of the format.
        for path in [file.clone(), format!("{file}?format=chk"), format!("/uri/{}", escaped(&cap))] {
            let put = web.put(&path, &two);
            assert_eq!((put.status, put.text()), (200, cap.clone()));
        }
        let part = web.ask("GET", &file, "Range: bytes=-5\r\n", b"");
        assert_eq!((part.status, differs_at(&part.body, &two[2_995..])), (206, None));
        let json = web.json(&file);
        assert_eq!(json[1]["size"], 3_000, "{json}");
        assert_eq!((&json[1]["format"], &json[1]["rw_uri"]), (&json!(format), &json!(cap)));
        refused(&web.put(&format!("{file}?replace=false"), &two), 409, "already");
        // A part of it.
        assert_eq!(web.put(&format!("{file}?offset=10"), b"part").good(), cap);
        let mut three = two.clone();
        three[10..14].copy_from_slice(b"part");
        assert_eq!(web.put(&format!("/uri/{}?offset=3000", escaped(&cap)), b"end").good(), cap);
        three.extend(b"end");
        assert_eq!(differs_at(&web.get(&file).body, &three), None);
        refused(&web.put(&format!("{file}?offset=3004"), b"x"), 416, "past the end");
        // For reading only, alone and in a directory.
        let read = web.get(&format!("{file}?t=readonly-uri")).good();
        let alone = format!("/uri/{}", escaped(&read));
        refused(&web.put(&alone, &one), 400, "not change");
        refused(&web.parts(&format!("{alone}?t=upload"), &[("file", Some("x"), b"x")]), 400, "not change");
        assert_eq!(web.put(&format!("{root}/ro?t=uri"), read.as_bytes()).good(), read);
        refused(&web.put(&format!("{root}/ro"), &one), 400, "only be read");
        let verify = web.json(&file)[1]["verify_uri"].as_str().expect("a capability").to_owned();
        refused(&web.get(&format!("/uri/{}", escaped(&verify))), 400, "verify");
        refused(&web.put(&format!("/uri/{}", escaped(&verify)), &one), 400, "verify");
    }
    // Alone.
    assert!(web.put("/uri?mutable=true", b"x").good().starts_with("URI:SSK:"));
    assert!(web.put("/uri?format=mdmf", b"x").good().starts_with("URI:MDMF:"));
    refused(&web.put("/uri?private-key=AAAA", b"x"), 400, "mutable");
    // A key is for what is new.
    let key = |number| data_encoding::BASE64URL.encode(tallac_soft_rsa::test_key(number).pkcs8());
    let keyed = |path: &str, number| format!("{path}&private-key={}", key(number));
    let path = format!("{root}/keyed?mutable=true");
    web.put(&keyed(&path, 1), b"one").good();
    web.put(&keyed(&path, 1), b"two").good();
    refused(&web.put(&keyed(&path, 2), b"three"), 409, "private key");
    assert_eq!(web.get(&format!("{root}/keyed")).good(), "two");
    let path = format!("{root}/keyed%20directory?t=mkdir");
    web.post(&keyed(&path, 3), b"").good();
    refused(&web.post(&keyed(&path, 4), b""), 409, "already");
    // A part, in a form as in a PUT.
    let part = web.parts(&format!("{root}/keyed?t=upload&offset=2"), &[("file", Some("x"), b"p!")]);
    part.good();
    assert_eq!(web.get(&format!("{root}/keyed")).good(), "twp!");
    refused(&web.put("/uri?mutable=true&private-key=AAAA", b"x"), 400, "private key");
    refused(&web.put("/uri?mutable=true&private-key=%21", b"x"), 400, "base64");
    // Too long for memory: before and after it is said how long it is.
    let huge = vec![0; (16 << 20) + 1];
    refused(&web.put("/uri?format=sdmf", &huge), 413, "format sdmf can have 16777216 bytes");
    refused(&web.parts("/uri?t=upload&format=sdmf", &[("file", Some("x"), &huge)]), 413, "16777216");
    // A file that never changes.
    let fixed = web.put("/uri", &content(9, 100)).good();
    refused(&web.put(&format!("/uri/{}", escaped(&fixed)), b"x"), 400, "never change");
    refused(&web.put("/uri/URI%3ALIT%3Ame", b"x"), 400, "");
}

#[test]
fn directories() {
    let web = Web::start();
    let root = web.directory();
    // Made, found again, and not made where something is.
    let sub = web.post(&format!("{root}/a/b?t=mkdir"), b"").good();
    assert_eq!(web.post(&format!("{root}/a/b?t=mkdir"), b"").good(), sub);
    assert_eq!(web.put(&format!("{root}/a/b?t=mkdir"), b"").good(), sub);
    assert_eq!(web.form(&format!("{root}/a"), "t=mkdir&name=b").good(), sub);
    assert_eq!(web.post(&format!("{root}?t=mkdir-p&path=a/b"), b"").good(), sub);
    assert_eq!(web.post(&format!("{root}?t=mkdir"), b"").good(), web.get(&format!("{root}?t=uri")).good());
    refused(&web.form(&format!("{root}/a"), "t=mkdir&name=b&replace=false"), 409, "already");
    refused(&web.post(&format!("{root}/a/b?t=mkdir-with-children"), b"{}"), 409, "already");
    refused(&web.post(&format!("{root}/x?t=mkdir"), b"{\"a\": 1}"), 400, "mkdir-with-children");
    refused(&web.post(&format!("{root}/x?t=mkdir&format=chk"), b""), 400, "SDMF or MDMF");
    assert!(web.post("/uri?t=mkdir&format=mdmf", b"").good().starts_with("URI:DIR2-MDMF:"));
    assert!(web.put("/uri?t=mkdir", b"").good().starts_with("URI:DIR2:"));
    assert_ne!(web.form(&format!("{root}/a"), "t=mkdir&name=b&replace=true").good(), sub);
    let sent = web.post("/uri?t=mkdir&redirect_to_result=true", b"");
    assert_eq!(sent.status, 303);
    assert!(sent.header("Location").is_some_and(|to| to.starts_with("/uri/URI%3ADIR2%3A")), "{}", sent.head);

    // With children; metadata as it is given, but times only in new directories.
    let file = web.put("/uri", &content(1, 100)).good();
    let children = json!({
        "chk": ["filenode", {"rw_uri": file, "metadata": {"mine": 12345678901234567890_u64, "tahoe": {"linkcrtime": 1}}}],
        "dir \u{e4}": ["dirnode", {"rw_uri": sub}],
        "future": ["unknown", {"ro_uri": "ro.x-new:thing", "rw_uri": "x-new:more"}],
    })
    .to_string();
    let made = web.post(&format!("{root}/with?t=mkdir-with-children"), children.as_bytes()).good();
    let with = format!("{root}/with");
    let json = web.json(&with);
    assert_eq!(json[1]["rw_uri"], made);
    let shown = &json[1]["children"];
    assert_eq!(
        shown["chk"][1]["metadata"],
        json!({"mine": 12345678901234567890_u64, "tahoe": {"linkcrtime": 1}})
    );
    assert_eq!((&shown["chk"][1]["ro_uri"], &shown["chk"][1]["rw_uri"]), (&json!(file), &Value::Null));
    assert_eq!(
        (&shown["dir \u{e4}"][0], &shown["dir \u{e4}"][1]["mutable"]),
        (&json!("dirnode"), &json!(true))
    );
    assert_eq!(
        shown["future"],
        json!(["unknown", {"rw_uri": "x-new:more", "ro_uri": "ro.x-new:thing", "metadata": {}}])
    );
    refused(&web.get(&format!("{with}/future")), 501, "kind");
    assert_eq!(web.json(&format!("{with}/future"))[0], "unknown");

    let fixed = json!({"chk": ["filenode", {"ro_uri": file}]}).to_string();
    let fixed_cap = web.post("/uri?t=mkdir-immutable", fixed.as_bytes()).good();
    assert!(fixed_cap.starts_with("URI:DIR2-CHK:"), "{fixed_cap}");
    let fixed_dir = format!("/uri/{}", escaped(&fixed_cap));
    let listed = web.get(&format!("{fixed_dir}?t=json"));
    let tag = listed.header("ETag").expect("it never changes").to_owned();
    let again = web.ask("GET", &format!("{fixed_dir}?t=json"), &format!("If-None-Match: {tag}\r\n"), b"");
    assert_eq!(again.status, 304);
    refused(&web.post("/uri?t=mkdir-immutable", children.as_bytes()), 400, "can change");
    refused(&web.put(&format!("{fixed_dir}/x"), b"x"), 400, "read-only");
    assert!(web.post(&format!("{root}/lit?t=mkdir-immutable"), b"").good().starts_with("URI:DIR2-LIT:"));
    assert_eq!(web.json(&format!("{root}/lit"))[1]["children"], json!({}));

    // Children set and linked.
    let set = json!({"x": ["filenode", {"ro_uri": file}], "y": ["filenode", {"ro_uri": file, "metadata": {"m": 1}}]});
    web.post(&format!("{root}/a?t=set_children"), set.to_string().as_bytes()).good();
    assert_eq!(web.json(&format!("{root}/a/y"))[1]["metadata"]["m"], 1);
    refused(
        &web.post(&format!("{root}/a?t=set_children&replace=false"), set.to_string().as_bytes()),
        409,
        "\"x\"",
    );
    refused(&web.post(&format!("{root}/none?t=set_children"), b"{}"), 404, "none");
    // Some programs call JSON a form.
    let called = web.ask("POST", &format!("{root}/a?t=set_children"), FORM, set.to_string().as_bytes());
    assert_eq!(called.status, 200, "{}", called.text());
    assert_eq!(web.put(&format!("{root}/z?t=uri"), format!("{file}\n").as_bytes()).good(), file);
    assert_eq!(web.form(&root, &format!("t=uri&name=z2&uri={}", escaped(&file))).good(), file);
    refused(&web.put(&format!("{root}/a?t=uri&replace=only-files"), file.as_bytes()), 409, "directory");
    refused(&web.put(&format!("{root}/z?t=uri&replace=false"), file.as_bytes()), 409, "already");

    // Moved and removed.
    web.form(&root, "t=rename&from_name=z&to_name=zz").good();
    refused(&web.form(&root, "t=rename&from_name=z&to_name=zzz"), 404, "\"z\"");
    refused(&web.form(&root, "t=rename&from_name=zz"), 400, "to_name=");
    refused(&web.form(&root, "t=rename&from_name=zz&to_name=z2&replace=false"), 409, "z2");
    refused(&web.form(&root, "t=rename&from_name=zz&to_name=a&replace=only-files"), 409, "directory");
    refused(&web.form(&root, "t=rename&from_name=zz&to_name=b/c"), 400, "slash");
    let to = web.get(&format!("{root}/a?t=uri")).good();
    web.form(&root, &format!("t=relink&from_name=zz&to_dir={}", escaped(&to))).good();
    assert_eq!(web.get(&format!("{root}/a/zz")).status, 200);
    let below = web.get(&format!("{root}/a/b?t=uri")).good();
    refused(
        &web.form(&root, &format!("t=relink&from_name=a&to_dir={}", escaped(&format!("{to}/b")))),
        409,
        "itself",
    );
    assert!(below.starts_with("URI:DIR2:"));
    web.form(&root, "t=unlink&name=z2").good();
    refused(&web.form(&root, "t=delete&name=z2"), 404, "z2");

    // The page.
    web.post(&format!("{root}/page/%3Cb%3E%26%22?t=mkdir"), b"").good();
    for slash in ["", "/"] {
        let page = web.get(&format!("{root}/page{slash}"));
        assert_eq!(page.status, 200);
        assert!(page.header("Content-Security-Policy").is_some_and(|csp| csp.contains("default-src 'none'")));
        assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"));
        let link = if slash.is_empty() { "./page/%3Cb%3E%26%22/" } else { "./%3Cb%3E%26%22/" };
        let text = page.text();
        assert!(text.contains(&format!("<a href=\"{link}\">&lt;b&gt;&amp;&quot;/</a>")), "{text}");
    }
    for t in ["check", "stream-deep-check"] {
        refused(&web.post(&format!("{root}?t={t}"), b""), 501, "yet");
    }
    refused(&web.post(&format!("{root}?t=start-deep-stats"), b""), 400, "ophandle");
    for at in [root.clone(), format!("{root}/page")] {
        let told = web.post(&format!("{at}?t=stream-manifest"), b"").text();
        assert!(told.lines().last().is_some_and(|line| line.starts_with("{\"type\": \"stats\"")), "{told}");
    }
    // What is told to who runs the node holds no capability.
    for at in ["/health", "/ready", "/statistics", "/metrics", "/status"] {
        let answer = web.get(at);
        assert_eq!(answer.status, 200, "{at}");
        assert!(!answer.text().contains("URI:"), "{at}");
    }
}

#[test]
fn forms() {
    let web = Web::start();
    let root = web.directory();
    let big = content(1, 700_000);
    // Into the directory, by its own name or another; at a path that is there or not.
    let cap = web.parts(&root, &[("t", None, b"upload"), ("file", Some("own.bin"), &big)]).good();
    assert_eq!(web.get(&format!("{root}/own.bin?t=uri")).good(), cap);
    assert_eq!(differs_at(&web.get(&format!("{root}/own.bin")).body, &big), None);
    web.parts(&format!("{root}?t=upload&name=other"), &[("file", Some("own"), b"1")]).good();
    assert_eq!(web.get(&format!("{root}/other")).text(), "1");
    web.parts(&format!("{root}/new?t=upload"), &[("file", Some("own"), b"2")]).good();
    assert_eq!(web.get(&format!("{root}/new")).text(), "2");
    refused(
        &web.parts(&format!("{root}/new?t=upload&replace=false"), &[("file", Some("o"), b"3")]),
        409,
        "already",
    );
    refused(&web.parts(&format!("{root}?t=upload"), &[("file", None, b"3")]), 400, "name");
    refused(&web.parts(&root, &[("file", Some("x"), b"3")]), 400, "t=upload");
    assert_eq!(web.get(&format!("{root}/new")).text(), "2");
    // Mutable, and over a mutable file.
    let mutable = web
        .parts(
            &root,
            &[
                ("t", None, b"upload"),
                ("format", None, b"sdmf"),
                ("name", None, b"m"),
                ("file", Some("x"), b"4"),
            ],
        )
        .good();
    assert!(mutable.starts_with("URI:SSK:"), "{mutable}");
    assert_eq!(web.parts(&format!("{root}/m?t=upload"), &[("file", Some("x"), b"5")]).good(), mutable);
    web.parts(&format!("/uri/{}?t=upload", escaped(&mutable)), &[("file", Some("x"), b"6")]).good();
    assert_eq!(web.get(&format!("{root}/m")).text(), "6");
    // Alone, and sent on.
    assert_eq!(web.parts("/uri?t=upload", &[("file", Some("x"), &big)]).good(), cap);
    let sent =
        web.parts("/uri?t=upload", &[("file", Some("x"), &big), ("when_done", None, b"/uri/%(uri)s?t=info")]);
    assert_eq!(
        (sent.status, sent.header("Location")),
        (302, Some(&*format!("/uri/{}?t=info", escaped(&cap))))
    );
    let sent = web.form(&root, "t=unlink&name=new&when_done=.");
    assert_eq!((sent.status, sent.header("Location")), (302, Some(".")));
    // Elsewhere: refused, and nothing done.
    for elsewhere in ["http://evil.example/", "//evil.example", "javascript:x", "/%0d%0aX: y", "\\\\evil"] {
        let field = format!("t=unlink&name=other&when_done={}", escaped(elsewhere));
        refused(&web.form(&root, &field), 400, "when_done=");
        let parts: [(_, _, &[u8]); 2] =
            [("file", Some("late"), b"x"), ("when_done", None, elsewhere.as_bytes())];
        refused(&web.parts(&format!("{root}?t=upload"), &parts), 400, "when_done=");
    }
    assert_eq!(web.get(&format!("{root}/other")).status, 200);
    assert_eq!(web.get(&format!("{root}/late")).status, 404);
    // What comes too late, or is no form.
    let late: [(_, _, &[u8]); 2] = [("file", Some("late"), b"x"), ("name", None, b"y")];
    refused(&web.parts(&format!("{root}?t=upload"), &late), 400, "last field");
    refused(&web.parts(&format!("{root}?t=upload"), &[("name", None, b"x")]), 400, "`file`");
    refused(&web.parts(&format!("{root}?t=upload"), &[("name", None, &vec![b'x'; 200_000])]), 413, "fields");
    refused(&web.parts(&format!("{root}?t=upload"), &[("name", None, b"\xff")]), 400, "UTF-8");
    let cut = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cut\"\r\n\r\nhalf";
    let kind = "Content-Type: multipart/form-data; boundary=XX\r\n";
    refused(&web.ask("POST", &format!("{root}?t=upload"), kind, cut), 400, "ends before");
    refused(
        &web.ask("POST", &format!("{root}?t=upload"), "Content-Type: multipart/form-data\r\n", b""),
        400,
        "boundary",
    );
    refused(&web.form(&root, "t=unlink&name=%f"), 400, "hex");
    assert_eq!(web.get(&format!("{root}/cut")).status, 404);
}

#[test]
fn hostile_input() {
    let web = Web::start();
    let root = web.directory();
    let file = web.put(&format!("{root}/file"), &content(3, 1_000)).good();
    let before = web.json(&root);
    let unlike: [(&str, u16); 9] = [
        ("", 400),
        ("/", 400),
        ("%2e", 400),
        ("%2E%2e", 400),
        ("a%2Fb", 400),
        ("%00", 400),
        ("%0a", 400),
        ("%ff", 400),
        ("%e", 400),
    ];
    for (name, status) in unlike {
        let place = format!("{root}/{name}");
        for answer in [web.put(&place, b"x"), web.put(&format!("{place}?t=uri"), file.as_bytes())] {
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
            assert!(answer.text().ends_with(".\n"), "{}", answer.text());
        }
    }
    for name in ["%2e", "a%2Fb", "%0a", "x//y"] {
        assert_eq!(web.post(&format!("{root}/{name}?t=mkdir"), b"").status, 400, "{name}");
    }
    for answer in [web.put("/uri//x", b"x"), web.post("/uri//x?t=mkdir", b""), web.get("/uri//x")] {
        refused(&answer, 400, "not a capability");
    }
    let long = "x".repeat(1_025);
    refused(&web.put(&format!("{root}/{long}"), b"x"), 400, "1024");
    refused(&web.put(&format!("{root}/{}", "a/".repeat(1_200)), b"x"), 400, "1024 names");
    // Names that differ only by their spelling are one.
    web.put(&format!("{root}/%C3%A9"), b"1").good();
    assert_eq!(web.put(&format!("{root}/e%CC%81"), b"2").status, 200);
    web.ask("DELETE", &format!("{root}/%C3%A9"), "", b"").good();

    // JSON that is none, too deep, or says the wrong things.
    let nested = format!(
        "{{\"x\": [\"filenode\", {{\"ro_uri\": \"{file}\", \"metadata\": {}1{}}}]}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let object = format!(
        "{{\"x\": [\"filenode\", {{\"ro_uri\": \"{file}\", \"metadata\": {{\"a\": {}1{}}}}}]}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let twice = format!(
        "{{\"\u{e9}\": [\"filenode\", {{\"ro_uri\": \"{file}\"}}], \"e\u{301}\": [\"filenode\", {{\"ro_uri\": \"{file}\"}}]}}"
    );
    for (nonsense, status) in [
        ("nonsense", 400),
        ("[]", 400),
        ("{\"x\"", 400),
        ("{\"x\": 1}", 400),
        ("{\"x\": [\"filenode\"]}", 400),
        ("{\"x\": [\"filenode\", {}]}", 400),
        ("{\"x\": [\"filenode\", {\"ro_uri\": 3}]}", 400),
        ("{\"x\": [\"filenode\", {\"rw_uri\": \"nonsense\"}]}", 400),
        ("{\"x\": [\"filenode\", {\"ro_uri\": \"URI:CHK:a:b:1:1:1\"}]}", 400),
        ("{\"..\": [\"filenode\", {\"ro_uri\": \"URI:LIT:\"}]}", 400),
        ("{\"\": [\"filenode\", {\"ro_uri\": \"URI:LIT:\"}]}", 400),
        ("{\"x\": [\"filenode\", {\"ro_uri\": \"URI:LIT:\", \"metadata\": 3}]}", 400),
        (nested.as_str(), 400),
        (object.as_str(), 400),
    ] {
        for t in ["set_children", "mkdir-with-children&name=new"] {
            let answer = web.post(&format!("{root}?t={t}"), nonsense.as_bytes());
            assert_eq!(answer.status, status, "{t}, {nonsense:.60}: {}", answer.text());
            assert!(!answer.text().contains(&file), "no capability in {}", answer.text());
        }
    }
    refused(&web.post(&format!("{root}/new?t=mkdir-with-children"), twice.as_bytes()), 400, "twice");
    let declared =
        format!("POST {root}?t=set_children HTTP/1.1\r\nHost: x\r\nContent-Length: 70000000\r\n\r\n");
    let mut stream = std::net::TcpStream::connect(web.0.authority("gw")).expect("it listens");
    std::io::Write::write_all(&mut stream, declared.as_bytes()).expect("it reads");
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).expect("an answer before the body");
    assert_eq!(&answer, b"HTTP/1.1 413");

    // Capabilities of the wrong kind at each verb.
    let literal = escaped(&web.put("/uri", b"short").good());
    let chk = escaped(&file);
    let verify = |cap: &str| {
        let cap: Capability = cap.parse().expect("a capability");
        escaped(&cap.verify_cap().expect("one that is stored").to_string())
    };
    let dir_cap = web.get(&format!("{root}?t=uri")).good();
    let (dir_verify, chk_verify) = (verify(&dir_cap), verify(&file));
    for cap in [&literal, &chk, &dir_verify, &chk_verify, &"nonsense".into(), &"URI%3ADIR2%3Aab%3Acd".into()]
    {
        let place = format!("/uri/{cap}");
        for answer in [
            web.put(&format!("{place}/x"), b"x"),
            web.post(&format!("{place}/x?t=mkdir"), b""),
            web.post(
                &format!("{place}?t=set_children"),
                b"{\"x\": [\"filenode\", {\"ro_uri\": \"URI:LIT:\"}]}",
            ),
            web.form(&place, "t=unlink&name=x"),
            web.form(&place, "t=rename&from_name=x&to_name=y"),
            web.form(&place, &format!("t=uri&name=x&uri={chk}")),
            web.form(&root, &format!("t=relink&from_name=file&to_dir={cap}")),
            web.ask("DELETE", &format!("{place}/x"), "", b""),
            web.ask("DELETE", &place, "", b""),
            web.put(&format!("{place}?t=uri"), file.as_bytes()),
            web.get(&format!("{place}/x")),
        ] {
            assert!([400, 409].contains(&answer.status), "{cap}: {} {}", answer.status, answer.text());
        }
    }
    for verify in [&dir_verify, &chk_verify] {
        for t in ["", "json", "uri", "info"] {
            refused(&web.get(&format!("/uri/{verify}?t={t}")), 400, "verify");
        }
        assert_eq!(web.put(&format!("{root}/v?t=uri"), verify.as_bytes()).status, 400);
    }
    refused(&web.get("/uri/x-future%3Athing"), 501, "x-future");
    assert_eq!(web.get("/uri/x-future%3Athing?t=json").good().trim(), "[\"unknown\", {}]");
    refused(&web.put("/uri/x-future%3Athing", b"x"), 501, "kind");
    refused(&web.ask("DELETE", "/uri/x-future%3Athing", "", b""), 501, "kind");
    refused(&web.put(&format!("{root}/u?t=uri"), b"x-future:thing"), 400, "ro. or imm.");

    // Through a capability that only reads.
    let read = web.read_only(&root);
    for answer in [
        web.put(&format!("{read}/x"), b"x"),
        web.put(&format!("{read}/file"), b"x"),
        web.put(&format!("{read}/a/b?t=uri"), file.as_bytes()),
        web.post(&format!("{read}/x?t=mkdir"), b""),
        web.post(
            &format!("{read}?t=set_children"),
            format!("{{\"x\": [\"filenode\", {{\"ro_uri\": \"{file}\"}}]}}").as_bytes(),
        ),
        web.form(&read, "t=unlink&name=file"),
        web.form(&read, "t=rename&from_name=file&to_name=y"),
        web.parts(&format!("{read}?t=upload"), &[("file", Some("x"), b"x")]),
        web.ask("DELETE", &format!("{read}/file"), "", b""),
    ] {
        refused(&answer, 400, "read-only");
    }
    assert_eq!(web.json(&read)[1]["rw_uri"], Value::Null);

    // Reading verbs change nothing, nor does who comes from elsewhere.
    for method in ["GET", "HEAD"] {
        for t in ["mkdir", "unlink&name=file", "upload", "set_children", "uri", "delete"] {
            assert_eq!(web.ask(method, &format!("{root}/new?t={t}"), "", b"").status / 100, 4, "{t}");
        }
    }
    for foreign in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        for (method, path) in [
            ("PUT", format!("{root}/x")),
            ("POST", format!("{root}/x?t=mkdir")),
            ("DELETE", format!("{root}/file")),
            ("POST", "/uri?t=mkdir".into()),
        ] {
            refused(&web.ask(method, &path, foreign, b""), 403, "another site");
        }
    }
    assert_eq!(web.json(&root)[1]["children"], before[1]["children"], "nothing of all that did anything");

    // No capability in the logs.
    let key = dir_cap.split(':').nth(2).expect("a key");
    for node in ["gw", "s0"] {
        assert!(!web.0.log(node).contains(key), "{node} told a key");
    }
    assert!(base32::decode(key).is_some());
}

#[test]
fn what_is_gone() {
    let mut web = Web::start();
    let root = web.directory();
    let cap = web.put(&format!("{root}/file"), &content(3, 1_000)).good();
    let mutable = web.put("/uri?mutable=true", b"x").good();
    web.0.kill("s0");
    web.0.kill("s1");
    web.0.wait_connected("gw", 1);
    let lost = format!("/uri/{}", escaped(&cap));
    refused(&web.get(&lost), 410, "shares");
    assert_eq!(web.ask("HEAD", &lost, "", b"").status, 200, "the capability has the size");
    for path in [
        root.clone(),
        format!("{root}/file"),
        format!("{root}?t=json"),
        format!("/uri/{}", escaped(&mutable)),
        format!("/uri/{}?t=json", escaped(&mutable)),
    ] {
        refused(&web.get(&path), 410, "");
    }
    refused(&web.put(&format!("{root}/x"), b"x"), 410, "");
    refused(&web.put("/uri", &content(4, 100)), 503, "not stored");
    refused(&web.post("/uri?t=mkdir", b""), 503, "servers");
    let changed = web.put(&format!("/uri/{}", escaped(&mutable)), b"y");
    refused(&changed, 503, "not stored");
}

/// Nothing about many children may take time that grows with their square.
#[test]
fn many_children() {
    let web = Web::start();
    let root = web.directory();
    let children: serde_json::Map<String, Value> = (0..10_000)
        .map(|index| (format!("child {index:05}"), json!(["filenode", {"ro_uri": "URI:LIT:me"}])))
        .collect();
    let body = Value::Object(children).to_string();
    let begun = std::time::Instant::now();
    web.post(&format!("{root}?t=set_children"), body.as_bytes()).good();
    let set = begun.elapsed();
    let json = web.json(&root);
    assert_eq!(json[1]["children"].as_object().map(|children| children.len()), Some(10_000));
    println!("10,000 children: set in {set:?}, listed after {:?}", begun.elapsed() - set);
    assert!(web.get(&root).text().contains("10000 entries"));
}
