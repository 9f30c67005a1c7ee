//! Not a test but a measurement of work on large directories, one thread:
//! `cargo test -p tallac-core --test directory_cost -- --ignored --nocapture`

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tallac_core::base32;
use tallac_core::directory::*;
use tallac_core::secret::WriteKey;
use tallac_core::time::UnixTime;

#[test]
#[ignore = "a measurement"]
fn one_more_child() {
    for count in [30, 3_000, 10_000] {
        let access = Access::Write(WriteKey::from_bytes([1; 16]));
        let made = || Table::with_children(access.clone(), (0..count).map(child)).expect("good children");
        let packed = Bytes::from(made().pack());
        let (name, child, metadata) = child(count);
        let link = [Edit::Link {
            name,
            child,
            metadata: Some(metadata),
            replace: Replace::Nothing,
            seen: Seen::Nothing,
        }];
        let unpack = || Table::unpack(packed.clone(), access.clone()).expect("a table");
        let table = unpack();

        println!("{count} children, {} bytes:", packed.len());
        report("make all, encrypting each", || drop(black_box(made())));
        report("unpack", || drop(black_box(unpack())));
        report("look at all of them", || assert!(table.iter().all(|(_, entry)| entry.child.is_ok())));
        // A table is not used up by this: the link is there only the first time.
        let mut with = unpack();
        with.apply(&link, UnixTime(2)).expect("a free name");
        report("add one to an unpacked table (again: found done)", || {
            with.apply(&link, UnixTime(2)).expect("done already");
        });
        report("pack", || drop(black_box(with.pack())));
        report("unpack, add one, pack", || {
            let mut table = unpack();
            table.apply(&link, UnixTime(2)).expect("a free name");
            assert!(table.pack().len() > packed.len());
        });
    }
}

fn child(number: u32) -> (Name, Child, Metadata) {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let cap = format!("URI:SSK:{}:{}", base32::encode(&key[..16]), base32::encode(&key));
    let child = Child::new(Some(&cap), None, DirectoryKind::Mutable).expect("a good capability");
    let metadata = Metadata::linked(None, None, UnixTime(1_700_000_000));
    (Name::new(&format!("photograph {number:05}.jpeg")).expect("a good name"), child, metadata)
}

fn report(what: &str, mut work: impl FnMut()) {
    let (start, mut rounds) = (Instant::now(), 0);
    while rounds < 3 || start.elapsed() < Duration::from_millis(300) {
        work();
        rounds += 1;
    }
    println!("  {:>10.1?}  {what}", start.elapsed() / rounds);
}
