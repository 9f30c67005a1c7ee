//! Servers that tell, lie, or are silent.

use super::*;
use crate::encoding::EncodingParams;
use crate::identity::TubId;
use crate::payload::Payload;
use crate::share;
use crate::storage::protocol::StorageError;
use alloc::format;
use alloc::vec;

fn candidate(index: u8) -> Candidate {
    let (server, tub_id) = (ServerId([index; 32]), TubId([index; 20]));
    Candidate { server, tub_id, nickname: format!("s{index}"), read_only: false, lost: false }
}

fn file() -> (ChkCap, Vec<Vec<u8>>) {
    let params = EncodingParams::new(2, 3, 128).expect("parameters");
    share::build_all(&params, &crate::secret::EncryptionKey::from_bytes([1; 16]), &[7; 1_000])
        .expect("shares")
}

/// Answers every question as `answer` does, and gives what came of it.
fn run(
    file: Sought,
    servers: u8,
    mut answer: impl FnMut(ServerId, &StorageRequest) -> Option<Answer>,
) -> Locations {
    let ring = (0..servers).map(candidate).collect();
    let ring_len = 40 * usize::from(servers);
    let mut locate = Locate::new(LocateSetup { file, ring, ring_len }, Now::default());
    let mut now = Now::default();
    while now.instant <= Instant::ZERO + ALL_PATIENCE {
        while let Some(action) = locate.poll_action() {
            match action {
                LocateAction::Done(locations) => return *locations,
                LocateAction::Task(id, task) => {
                    if let Task::Ask { server, request, .. } = *task
                        && let Some(answer) = answer(server, &request)
                    {
                        let event = LocateEvent::Finished(id, Outcome::Answer(answer));
                        locate.handle(event, now);
                    }
                }
            }
        }
        now.instant = locate.deadline().expect("it still waits");
        locate.handle(LocateEvent::Wake, now);
    }
    panic!("it does not end");
}

fn read_of(share: &[u8], request: &StorageRequest) -> Answer {
    let StorageRequest::Read { ranges, .. } = request else { panic!("{request:?}") };
    let mut bulk = Vec::new();
    let lengths = ranges.iter().map(|(offset, len)| {
        let start = (*offset as usize).min(share.len());
        let end = ((offset + len) as usize).min(share.len());
        bulk.extend_from_slice(&share[start..end]);
        (end - start) as u64
    });
    let lengths = lengths.collect();
    Ok((StorageAnswer::Data(lengths), bulk.into()))
}

#[test]
fn what_servers_have_and_how_it_is_coded() {
    let (cap, shares) = file();
    let found = run(Sought::Immutable(cap), 4, |server, request| match (server.0[0], request) {
        (0, StorageRequest::List { .. }) => {
            // A share that cannot be: it is not shown.
            Some(Ok((StorageAnswer::Shares([2, 9].into_iter().collect()), Payload::default())))
        }
        (0, request) => {
            // Its share is damaged; that of the next one tells.
            let mut share = shares[2].clone();
            let middle = share.len() - 100;
            share[middle] ^= 1;
            Some(read_of(&share, request))
        }
        (1, StorageRequest::List { .. }) => {
            Some(Ok((StorageAnswer::Shares([0, 1].into_iter().collect()), Payload::default())))
        }
        (1, request) => Some(read_of(&shares[0], request)),
        (2, _) => Some(Err(AskError::Server(StorageError::Unsupported))),
        _ => None,
    });
    assert_eq!(found.coding, Some(Coding { needed: 2, total: 3, segment_size: 128, size: 1_000 }));
    let shares: Vec<_> = found.servers.iter().map(|holder| holder.shares.clone()).collect();
    assert_eq!(shares[0], Ok(vec![(2, None)]));
    assert_eq!(shares[1], Ok(vec![(0, None), (1, None)]));
    assert_eq!(shares[2], Err(Trouble::Ask(AskError::Server(StorageError::Unsupported))));
    assert_eq!(shares[3], Err(Trouble::Ask(AskError::Silent(ALL_PATIENCE))), "it was not waited for");
}

/// Many say that they have a share, and do not answer when it is read.
#[test]
fn who_never_answers_holds_nobody_up() {
    let (cap, shares) = file();
    let (mut opened, silent) = (Vec::new(), 9);
    let found = run(Sought::Immutable(cap), 12, |server, request| match request {
        StorageRequest::List { .. } => {
            Some(Ok((StorageAnswer::Shares([1].into_iter().collect()), Payload::default())))
        }
        request => {
            opened.push(server.0[0]);
            (server.0[0] >= silent).then(|| read_of(&shares[1], request))
        }
    });
    assert_eq!(found.coding, Some(Coding { needed: 2, total: 3, segment_size: 128, size: 1_000 }));
    assert_eq!(opened.first(), Some(&0));
    assert!(!opened.contains(&(silent + 1)), "one that tells is enough: {opened:?}");
}

#[test]
fn nobody_to_ask_and_too_many() {
    let (cap, _) = file();
    assert_eq!(run(Sought::Immutable(cap), 0, |_, _| None), Locations::default());
    let found = run(Sought::Mutable(StorageIndex([1; 16])), 200, |_, _| {
        Some(Ok((StorageAnswer::Slot(vec![(3, vec![5])]), vec![9; 5].into())))
    });
    assert_eq!((found.servers.len(), found.unasked), (LOCATE_SERVERS_MAX, 8_000 - LOCATE_SERVERS_MAX));
    assert_eq!(found.servers[0].shares, Ok(vec![(3, None)]), "no share, but it is there");
    assert_eq!(found.coding, None);
}
