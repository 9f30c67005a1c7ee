//! Requests that change no share: version, list, read, reports of damage.

use super::{Outputs, RequestKey, Running, ShareKey, StorageServer, failed};
use crate::disk::{DiskFailure, DiskResult, DiskStep, StorePath};
use crate::limits::{ADVISORIES_MAX, BULK_LEN_MAX};
use crate::payload::Payload;
use crate::storage::container::{
    ContainerError, ContainerHeader, ContainerLayout, HEADER_LEN, LEASE_LEN, file_offset,
};
use crate::storage::protocol::{StorageAnswer, StorageError};
use crate::storage_index::StorageIndex;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// A read under way.
///
/// Usually one disk action reads the header and the ranges at once, and what turns out to lie
/// behind the data is cut off. Ranges that ask for more than an answer holds are only a way to say
/// "to the end": then the length is read first.
#[derive(Debug)]
pub(super) struct ReadTask {
    to: RequestKey,
    key: ShareKey,
    ranges: Vec<(u64, u64)>,
    stage: ReadStage,
}

#[derive(Debug)]
enum ReadStage {
    /// Header only: the ranges are too long as they stand.
    Measuring,
    /// Header and ranges.
    Reading,
}

impl StorageServer {
    pub(super) fn version(&mut self, to: RequestKey, result: DiskResult) {
        // A disk that cannot say how much is free takes nothing; the server is there nonetheless.
        let free = result.map_or(0, |outputs| Outputs::new(outputs).free());
        let available_space = if self.config.read_only { 0 } else { self.available(free, self.consumed) };
        let version = StorageAnswer::Version {
            program: self.config.program.clone(),
            available_space,
            share_size_max: available_space.saturating_sub(HEADER_LEN + LEASE_LEN),
        };
        self.answer(to, Ok(version));
    }

    pub(super) fn listed(&mut self, to: RequestKey, index: StorageIndex, result: DiskResult) {
        let listed = result.map_err(|failure| failed(failure.error)).map(|outputs| {
            let shares = Outputs::new(outputs).shares().into_iter();
            StorageAnswer::Shares(shares.filter(|share| !self.is_hidden((index, *share))).collect())
        });
        self.answer(to, listed);
        self.leave(index);
    }

    pub(super) fn start_read(&mut self, to: RequestKey, key: ShareKey, ranges: Vec<(u64, u64)>) {
        let wanted = ranges.iter().fold(0u64, |sum, (_, len)| sum.saturating_add(*len));
        let stage = if wanted > BULK_LEN_MAX as u64 { ReadStage::Measuring } else { ReadStage::Reading };
        self.continue_read(ReadTask { to, key, ranges, stage });
    }

    fn continue_read(&mut self, task: ReadTask) {
        let path = || StorePath::Share(task.key.0, task.key.1);
        let mut steps =
            vec![DiskStep::Length(path()), DiskStep::Read { path: path(), offset: 0, len: HEADER_LEN }];
        if let ReadStage::Reading = task.stage {
            // A range that begins where no file reaches is not read; it is empty.
            let readable = task.ranges.iter().filter_map(|(offset, len)| Some((file_offset(*offset)?, *len)));
            steps.extend(readable.map(|(offset, len)| DiskStep::Read { path: path(), offset, len }));
        }
        self.disk(Running::Read(task), steps);
    }

    pub(super) fn read(&mut self, mut task: ReadTask, result: DiskResult) {
        let index = task.key.0;
        // It may have been given its name, not yet durable, since the read began.
        let outputs = if self.is_hidden(task.key) {
            Err(StorageError::NoSuchShare)
        } else {
            result.map_err(|failure| failed(failure.error))
        };
        let result = outputs.and_then(|outputs| {
            let mut outputs = Outputs::new(outputs);
            let layout = container_layout(&mut outputs).map_err(|error| match error {
                ContainerError::Mutable => StorageError::WrongKind,
                error => StorageError::Disk(error.to_string()),
            })?;
            match task.stage {
                ReadStage::Measuring => {
                    for (offset, len) in &mut task.ranges {
                        *len = (*len).min(layout.data_len().saturating_sub(*offset));
                    }
                    let wanted = task.ranges.iter().fold(0u64, |sum, (_, len)| sum.saturating_add(*len));
                    if wanted > BULK_LEN_MAX as u64 {
                        return Err(StorageError::BadRequest("more than an answer holds".into()));
                    }
                    Ok(None)
                }
                ReadStage::Reading => Ok(Some(cut_at_the_end(&task.ranges, &layout, &mut outputs))),
            }
        });
        match result {
            Ok(None) => return self.continue_read(ReadTask { stage: ReadStage::Reading, ..task }),
            Ok(Some(pieces)) => {
                let lengths = pieces.iter().map(Payload::len).collect();
                self.answer_with(task.to, Ok((StorageAnswer::Data(lengths), pieces)));
            }
            Err(error) => self.answer(task.to, Err(error)),
        }
        self.leave(index);
    }

    pub(super) fn advise(&mut self, to: RequestKey, key: ShareKey, reason: String, result: DiskResult) {
        let (index, share) = key;
        match result {
            Err(DiskFailure { error, .. }) => self.answer(to, Err(failed(error))),
            // Reports are for a person, who has enough of them by now.
            Ok(_) if self.stats.advisories >= ADVISORIES_MAX => self.answer(to, Ok(StorageAnswer::Done)),
            Ok(outputs) => {
                let header = Outputs::new(outputs).data();
                let kind = match ContainerHeader::decode(header.front_bytes()) {
                    Err(ContainerError::Mutable) => "mutable",
                    _ => "immutable",
                };
                // The peer names these files by their time, to the microsecond; counting on makes
                // the names of one second different.
                let number = self.now.unix.0.saturating_mul(1_000_000).saturating_add(self.stats.advisories);
                self.stats.advisories += 1;
                let text = format!(
                    "report: Share Corruption\ntype: {kind}\nstorage_index: {index}\nshare_number: {share}\n\n{reason}\n\n"
                );
                let path = StorePath::Advisory(index, share, number);
                let step = DiskStep::Replace(path, Payload::from(text.into_bytes()));
                self.disk(Running::Advisory { to }, vec![step]);
            }
        }
        self.leave(index);
    }
}

/// Reads where things are from the outputs of [`DiskStep::Length`] and the header's
/// [`DiskStep::Read`].
pub(super) fn container_layout(outputs: &mut Outputs) -> Result<ContainerLayout, ContainerError> {
    let file_len = outputs.length();
    let header = outputs.data();
    // A stand-in is no header: nobody writes headers that are not real bytes.
    ContainerHeader::decode(header.front_bytes()).and_then(|header| header.layout(file_len))
}

/// What was read, without a byte of what lies behind the data.
fn cut_at_the_end(ranges: &[(u64, u64)], layout: &ContainerLayout, outputs: &mut Outputs) -> Vec<Payload> {
    let cut = |(offset, _): &(u64, u64)| {
        if file_offset(*offset).is_none() {
            return Payload::empty();
        }
        let read = outputs.data();
        let len = read.len().min(layout.data_len().saturating_sub(*offset));
        read.slice(0..len)
    };
    ranges.iter().map(cut).collect()
}
