//! Mutable files through the web port of a real node.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use tallac_core::capability::{Capability, MutableCap, MutableFormat};
use tallac_core::mutable::{MutableEncoding, build_all};
use tallac_soft_rsa::{SoftRsa, test_key};
use tallac_tests::memory_grid::slot_container;
use tallac_tests::{Grid, Options};
use tallac_tests::{content, differs_at};

/// Puts one share of a new file on each server.
fn place(grid: &Grid, format: MutableFormat, key: usize, content: &[u8], servers: usize) -> MutableCap {
    let encoding = MutableEncoding::for_writing(format, 2, 3, content.len() as u64).expect("possible");
    let (cap, shares) =
        build_all(&test_key(key), &encoding, 1, || [3; 16], content, &SoftRsa).expect("can be made");
    let index = cap.storage_index().to_string();
    for (number, share) in shares.iter().enumerate().take(servers) {
        let shares = grid.path(&format!("s{number}")).join("storage/shares");
        let directory = shares.join(&index[..2]).join(&index);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join(number.to_string()), slot_container(share)).expect("a file");
    }
    cap
}

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

fn request(grid: &Grid, method: &str, cap: &Capability, header: &str) -> Response {
    let url = fs::read_to_string(grid.path("gw").join("node.url")).expect("it runs");
    let host = url.trim().trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("it listens");
    let close = "Connection: close\r\n";
    let request = format!("{method} /uri/{cap} HTTP/1.1\r\nHost: {host}\r\n{close}{header}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("it answers");
    let end = response.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(response[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Response { status, head, body: response.split_off(end) }
}

#[test]
fn get_head_and_ranges() {
    let grid = Grid::start(&Options { servers: 3, shares: Some("2,2,3"), ..Options::ten("blocking") });
    for (format, size, key) in
        [(MutableFormat::Sdmf, 0, 0), (MutableFormat::Sdmf, 3_000, 1), (MutableFormat::Mdmf, 1_000_000, 2)]
    {
        let content = content(size as u64, size);
        let cap = place(&grid, format, key, &content, 3);
        for cap in [Capability::MutableRead(cap.read_cap()), Capability::Mutable(cap)] {
            let get = |method, header: &str| request(&grid, method, &cap, header);
            let length = format!("Content-Length: {size}\r\n");
            let whole = get("GET", "");
            assert_eq!(whole.status, 200);
            assert!(whole.head.contains(&length), "{}", whole.head);
            assert_eq!(differs_at(&whole.body, &content), None);

            let head = get("HEAD", "");
            assert_eq!((head.status, head.body.len()), (200, 0));
            assert!(head.head.contains(&length), "{}", head.head);

            if size > 0 {
                let part = get("GET", "Range: bytes=100-2999\r\n");
                assert_eq!((part.status, differs_at(&part.body, &content[100..3_000])), (206, None));
                assert!(part.head.contains(&format!("Content-Range: bytes 100-2999/{size}\r\n")));
                let part = get("GET", "Range: bytes=7-\r\n");
                assert_eq!((part.status, differs_at(&part.body, &content[7..])), (206, None));
                let head = get("HEAD", "Range: bytes=7-\r\n");
                assert!(head.head.contains(&format!("Content-Range: bytes 7-{}/{size}\r\n", size - 1)));
            }
            let outside = get("GET", &format!("Range: bytes={size}-\r\n"));
            assert_eq!(outside.status, 416);
            assert!(outside.head.contains(&format!("Content-Range: bytes */{size}\r\n")));
            // Counted from the end; of nothing there is no part.
            let part = get("GET", "Range: bytes=-5\r\n");
            let status = if size > 0 { 206 } else { 200 };
            assert_eq!(
                (part.status, differs_at(&part.body, &content[size.saturating_sub(5)..])),
                (status, None)
            );
            let longer = get("GET", "Range: bytes=-5000000\r\n");
            assert_eq!((longer.status, differs_at(&longer.body, &content)), (status, None));
        }
    }
    let lost = Capability::Mutable(place(&grid, MutableFormat::Sdmf, 3, b"lost", 1));
    for method in ["GET", "HEAD"] {
        let response = request(&grid, method, &lost, "");
        assert_eq!(response.status, 410);
        let text = String::from_utf8(response.body).expect("text");
        assert!(method == "HEAD" || text.contains("1 of the 2 shares needed of version 1"), "{text}");
    }
    let unknown = Capability::Mutable(place(&grid, MutableFormat::Sdmf, 4, b"unknown", 0));
    assert_eq!(request(&grid, "GET", &unknown, "").status, 410);
}
