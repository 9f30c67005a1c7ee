//! How long a storage server takes to store shares durably, without network:
//! `cargo run --release -p tallac-host --example share_speed -- NODEDIR`.
//!
//! The shares stay in NODEDIR, which must exist, for other programs to look at.

use std::time::{Duration, Instant as Clock};
use tallac_core::identity::TubId;
use tallac_core::job;
use tallac_core::machine::Machine;
use tallac_core::payload::Payload;
use tallac_core::secret::Secret;
use tallac_core::storage::protocol::{ShareVectors, StorageAnswer, StorageRequest};
use tallac_core::storage::{
    RequestKey, StorageAction, StorageConfig, StorageEvent, StorageResult, StorageServer,
};
use tallac_core::storage_index::StorageIndex;
use tallac_core::time::{Instant, Now, UnixTime};
use tallac_host::{Disk, DiskOptions, HostRsa};

fn main() {
    let node_dir = std::env::args().nth(1).expect("the directory to store in is the first argument");
    let disk = Disk::open(node_dir, DiskOptions::default()).expect("the directory can be opened");
    disk.clean().expect("what was left can be removed");
    let config = StorageConfig { reserved_space: 0, read_only: false, program: "share_speed".into() };
    let mut grid = Driver { server: StorageServer::new(config, TubId([b'n'; 20])), disk, next: 0 };
    for (len, piece, rounds) in [(3_500, 3_500, 100), (350_000, 350_000, 40), (100_000_000, 350_000, 3)] {
        let mut times: [Vec<Duration>; 5] = Default::default();
        for round in 0..rounds {
            let mut index = [round; 16];
            index[..8].copy_from_slice(&(len as u64).to_be_bytes());
            let took = grid.store_and_read(StorageIndex(index), len, piece);
            times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
        let [allocate, write, finish, read, lease] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        println!(
            "{len} bytes: allocate {allocate:?}, write all but the last piece {write:?}, write the last piece \
             durably {finish:?}, read {read:?}, add a lease {lease:?}"
        );
    }
    for (len, rounds) in [(3_500usize, 40), (500_000, 40), (100_000_000, 20)] {
        let [make, patch] = grid.write_slot(StorageIndex([len.ilog2() as u8; 16]), len, rounds);
        println!("a slot of {len} bytes: make {make:?}, change 1,000 bytes {patch:?}");
    }
}

struct Driver {
    server: StorageServer,
    disk: Disk,
    next: u64,
}

impl Driver {
    fn store_and_read(&mut self, storage_index: StorageIndex, len: usize, piece: usize) -> [Duration; 5] {
        let data = Payload::from((0..len).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<u8>>());
        let (renew_secret, cancel_secret) = (Secret::from_bytes([b'r'; 32]), Secret::from_bytes([b'c'; 32]));
        let upload_secret = Secret::from_bytes([1; 32]);
        let start = Clock::now();
        let request = StorageRequest::Allocate {
            storage_index,
            renew_secret: renew_secret.clone(),
            cancel_secret: cancel_secret.clone(),
            upload_secret: upload_secret.clone(),
            shares: [0].into_iter().collect(),
            allocated_size: len as u64,
        };
        self.ask(request, Payload::empty()).expect("there is room");
        let allocated = Clock::now();
        let mut last_began = allocated;
        for offset in (0..len).step_by(piece) {
            last_began = Clock::now();
            let part = data.slice(offset as u64..(offset + piece).min(len) as u64);
            let upload_secret = upload_secret.clone();
            let write =
                StorageRequest::Write { storage_index, share: 0, upload_secret, offset: offset as u64 };
            let (answer, _) = self.ask(write, part).expect("fits");
            assert_eq!(answer, StorageAnswer::Written { finished: offset + piece >= len });
        }
        let finished = Clock::now();
        for offset in (0..len).step_by(piece) {
            let ranges = vec![(offset as u64, piece as u64)];
            let read = StorageRequest::Read { storage_index, share: 0, ranges };
            let (_, bulk) = self.ask(read, Payload::empty()).expect("is there");
            assert_eq!(bulk[0], data.slice(offset as u64..(offset + piece).min(len) as u64));
        }
        let read = Clock::now();
        let renew_secret = Secret::from_bytes([b'R'; 32]);
        let lease = StorageRequest::AddLease { storage_index, renew_secret, cancel_secret };
        self.ask(lease, Payload::empty()).expect("is there");
        let leased = Clock::now();
        [allocated - start, last_began - allocated, finished - last_began, read - finished, leased - read]
    }

    /// Makes a slot of one share and changes it again and again.
    fn write_slot(&mut self, storage_index: StorageIndex, len: usize, rounds: u8) -> [Duration; 2] {
        let data = Payload::from((0..len).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<u8>>());
        let begun = Clock::now();
        for offset in (0..len as u64).step_by(16_000_000) {
            let piece = data.slice(offset..(offset + 16_000_000).min(len as u64));
            self.patch_slot(storage_index, b'r', offset, piece);
        }
        let made = begun.elapsed();
        let begun = Clock::now();
        for round in 0..rounds {
            // A new lease now and then, so that some are behind the data.
            let renew = b'r' + round / 8;
            self.patch_slot(storage_index, renew, u64::from(round) * 50, Payload::from(vec![round; 1_000]));
        }
        [made, begun.elapsed() / u32::from(rounds)]
    }

    fn patch_slot(&mut self, storage_index: StorageIndex, renew: u8, offset: u64, data: Payload) {
        let writes = vec![(offset, data.len())];
        let request = StorageRequest::ReadTestWrite {
            storage_index,
            write_enabler: Secret::from_bytes([b'w'; 32]),
            renew_secret: Secret::from_bytes([renew; 32]),
            cancel_secret: Secret::from_bytes([b'c'; 32]),
            shares: vec![ShareVectors { share: 0, tests: vec![], writes, new_length: None }],
            reads: vec![],
        };
        let answer = self.ask(request, data).expect("there is room").0;
        assert!(matches!(answer, StorageAnswer::Tested { success: true, .. }));
    }

    fn ask(&mut self, request: StorageRequest, bulk: Payload) -> StorageResult {
        let now = Now { instant: Instant(self.next), unix: UnixTime(1_800_000_000) };
        let from = RequestKey(self.next);
        self.next += 1;
        self.server.handle(StorageEvent::Request { from, request, bulk }, now);
        let mut answer = None;
        while let Some(action) = self.server.poll_action() {
            match action {
                StorageAction::Answer { result, .. } => answer = Some(result),
                StorageAction::Disk { id, steps } => {
                    let result = self.disk.run(steps);
                    self.server.handle(StorageEvent::DiskDone { id, result }, now);
                }
                StorageAction::Job { id, job } => {
                    let output = job::run(job, &HostRsa);
                    self.server.handle(StorageEvent::JobDone { id, output }, now);
                }
            }
        }
        answer.expect("one disk action after another, the answer last")
    }
}
