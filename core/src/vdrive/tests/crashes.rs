//! The end of the process and the power failure at every step: a root that somebody was given is on
//! the disk, and no other is ever given.

use super::making::{at, cap};
use crate::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep};
use crate::entropy::Entropy;
use crate::machine::Machine;
use crate::vdrive::{
    RootRights, RootText, VdriveAction, VdriveAnswer, VdriveEvent, VdriveRequest, VdriveServer,
};
use alloc::vec::Vec;

/// How a life of the server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The process is killed: what was written can still be read.
    Killed,
    /// The power fails: what is not durable is gone.
    PowerLost,
    /// The power fails, but what was not durable happens to be there.
    PowerLostLate,
}

const ENDS: [End; 3] = [End::Killed, End::PowerLost, End::PowerLostLate];

/// A disk with one file.
#[derive(Default)]
struct Disk {
    now: Option<Vec<u8>>,
    durable: Option<Vec<u8>>,
    /// How many moments are left before the end.
    left: u32,
}

/// The life is over.
struct Over;

impl Disk {
    /// A moment at which the life may end.
    fn moment(&mut self) -> Result<(), Over> {
        self.left = self.left.checked_sub(1).ok_or(Over)?;
        Ok(())
    }

    fn run(&mut self, steps: Vec<DiskStep>) -> Result<DiskResult, Over> {
        let mut outputs = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            self.moment()?;
            match step {
                DiskStep::Read { .. } => match &self.now {
                    Some(content) => outputs.push(DiskOutput::Data(content.clone().into())),
                    None => {
                        let failure = DiskFailure { step: number, error: DiskError::NotFound };
                        return Ok(Err(failure));
                    }
                },
                DiskStep::SyncName(_) => self.durable = self.now.clone(),
                DiskStep::Replace(_, content) => {
                    // Written beside and renamed, then the name is made durable.
                    self.now = content.bytes().map(|bytes| bytes.to_vec());
                    self.moment()?;
                    self.durable = self.now.clone();
                    self.moment()?;
                }
                other => panic!("{other:?} is not for this"),
            }
        }
        Ok(Ok(outputs))
    }
}

/// Lets a server live for so many moments, being asked at each, and gives the roots it gave away.
fn live(disk: &mut Disk, moments: u32, made: &mut u8, given: &mut Vec<RootText>) {
    disk.left = moments;
    let mut server = VdriveServer::new(3, Entropy::new([*made; 32]));
    let mut now = 0;
    let mut step = |server: &mut VdriveServer| -> Result<(), Over> {
        loop {
            let Some(action) = server.poll_action() else {
                disk.moment()?;
                now += 10;
                server.handle(VdriveEvent::Servers(3), at(now));
                let request = VdriveRequest::Root;
                server.handle(VdriveEvent::Request { key: 0, rights: RootRights::Write, request }, at(now));
                continue;
            };
            match action {
                VdriveAction::Answer { result: Ok(VdriveAnswer::Root(text)), .. } => {
                    let durable = disk.durable.as_deref().map(<[u8]>::trim_ascii);
                    assert_eq!(durable, Some(text.expose().as_bytes()), "given away and not durable");
                    given.push(text);
                }
                VdriveAction::Disk(steps) => {
                    let result = disk.run(steps)?;
                    server.handle(VdriveEvent::DiskDone(result), at(now));
                }
                VdriveAction::MakeRoot => {
                    disk.moment()?;
                    *made += 1;
                    server.handle(VdriveEvent::Made(Ok(cap(*made))), at(now));
                }
                _ => {}
            }
        }
    };
    assert!(step(&mut server).is_err(), "it ends only with its life");
}

#[test]
fn nobody_is_ever_given_a_root_that_can_be_lost() {
    let mut given_twice = 0;
    for first in 0..14 {
        for second in 0..14 {
            for (end, other) in ENDS.into_iter().flat_map(|end| ENDS.map(|other| (end, other))) {
                let (mut disk, mut made, mut given) = (Disk::default(), 0, Vec::new());
                for (moments, end) in [(first, end), (second, other), (30, End::PowerLost)] {
                    live(&mut disk, moments, &mut made, &mut given);
                    match end {
                        End::Killed => {}
                        End::PowerLost => disk.now = disk.durable.clone(),
                        End::PowerLostLate => disk.durable = disk.now.clone(),
                    }
                }
                assert!(!given.is_empty(), "in the end there is one");
                assert!(given.iter().all(|text| *text == given[0]), "{first} {end:?}, {second} {other:?}");
                given_twice += usize::from(made > 1);
            }
        }
    }
    assert!(given_twice > 0, "some crashes came between making and storing, and left an orphan");
}
