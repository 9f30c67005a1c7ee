//! Files of a grid in memory: stored, read, changed, waited for.

use super::{MemoryGrid, Tamper};
use std::ops::Range;
use std::time::Duration;
use tallac_core::capability::{Capability, ChkCap, MutableReadCap};
use tallac_core::download::DownloadError;
use tallac_core::mutable::{Change, ChangeError, Changed, Consent, Found, ReadError, Subject};
use tallac_core::operation::{Command, KeyChoice, OperationId, Report};
use tallac_core::payload::Payload;
use tallac_core::upload::{UploadError, Uploaded};

/// What came of an upload.
#[derive(Debug)]
pub struct Put {
    /// Its result.
    pub result: Result<Box<Uploaded>, Box<UploadError>>,
    /// How long it took.
    pub took: Duration,
}

impl Put {
    /// The capability.
    ///
    /// # Panics
    /// If the upload failed.
    #[track_caller]
    pub fn cap(&self) -> ChkCap {
        match &self.result {
            Ok(uploaded) => match &uploaded.cap {
                Capability::Chk(cap) => cap.clone(),
                other => panic!("{other:?} is not stored on servers"),
            },
            Err(error) => panic!("{error}"),
        }
    }

    /// Why it failed, in words.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn error(&self) -> String {
        self.result.as_ref().expect_err("it should have failed").to_string()
    }
}

/// What came of a download.
#[derive(Debug)]
pub struct Got {
    /// The bytes that came, even if it failed then.
    pub content: Vec<u8>,
    /// Its result.
    pub result: Result<(), Box<DownloadError>>,
    /// How long it took.
    pub took: Duration,
}

/// What came of reading a mutable file.
#[derive(Debug)]
pub struct GotMutable {
    /// What was found, if anything was.
    pub found: Option<Box<Found>>,
    /// The bytes that came, even if it failed then.
    pub content: Vec<u8>,
    /// Its result.
    pub result: Result<(), Box<ReadError>>,
    /// How long it took.
    pub took: Duration,
}

impl<T: Tamper> MemoryGrid<T> {
    /// Stores a content under a convergent key.
    pub fn put(&mut self, content: &[u8]) -> Put {
        self.put_with(content, KeyChoice::Convergent)
    }

    /// Stores a content.
    pub fn put_with(&mut self, content: &[u8], key: KeyChoice) -> Put {
        let (id, begun) = (self.operation(), self.now.instant);
        self.command(Command::Upload { id, len: Some(content.len() as u64), key });
        let mut rest = Payload::from(content.to_vec());
        loop {
            match self.next_report(begun) {
                Report::UploadGrant { id: of, bytes } if of == id => {
                    let data = rest.take_front(bytes.min(rest.len()));
                    self.command(Command::UploadData { id, data });
                }
                Report::Uploaded { id: of, result } if of == id => {
                    return Put { result, took: self.now.instant.since(begun) };
                }
                _ => {}
            }
        }
    }

    /// Fetches a whole file.
    pub fn get(&mut self, cap: &ChkCap) -> Got {
        self.get_range(cap, 0..cap.size)
    }

    /// Fetches a range of a file.
    pub fn get_range(&mut self, cap: &ChkCap, range: Range<u64>) -> Got {
        let (id, begun) = (self.operation(), self.now.instant);
        self.command(Command::Download { id, cap: cap.clone(), range });
        self.command(Command::DownloadGrant { id, bytes: u64::MAX });
        let mut content = Vec::new();
        loop {
            match self.next_report(begun) {
                Report::DownloadData { id: of, data } if of == id => {
                    content.extend_from_slice(data.bytes().expect("real bytes"));
                }
                Report::Downloaded { id: of, result } if of == id => {
                    return Got { content, result, took: self.now.instant.since(begun) };
                }
                _ => {}
            }
        }
    }

    /// Reads a whole mutable file.
    pub fn read(&mut self, cap: &MutableReadCap) -> GotMutable {
        self.read_range(cap, None)
    }

    /// Reads a range of a mutable file.
    pub fn read_range(&mut self, cap: &MutableReadCap, range: Option<Range<u64>>) -> GotMutable {
        let id = self.begin_read(cap, range);
        self.end_read(id)
    }

    /// Begins to read a mutable file.
    pub fn begin_read(&mut self, cap: &MutableReadCap, range: Option<Range<u64>>) -> OperationId {
        let id = self.operation();
        self.command(Command::ReadMutable { id, cap: cap.clone(), range });
        id
    }

    /// Lets a mutable file be read that was begun with.
    pub fn end_read(&mut self, id: OperationId) -> GotMutable {
        self.end_read_in_steps(id, u64::MAX)
    }

    /// As [`end_read`](Self::end_read), taking so many bytes at a time.
    pub fn end_read_in_steps(&mut self, id: OperationId, step: u64) -> GotMutable {
        let begun = self.now.instant;
        let mut granted = step;
        self.command(Command::DownloadGrant { id, bytes: step });
        let (mut found, mut content) = (None, Vec::new());
        loop {
            match self.next_report(begun) {
                Report::MutableFound { id: of, found: what } if of == id => {
                    assert!(found.is_none(), "told once");
                    found = Some(what);
                }
                Report::DownloadData { id: of, data } if of == id => {
                    assert!(found.is_some(), "told before the first bytes");
                    assert!(data.len() <= granted, "no more than was granted");
                    granted -= data.len();
                    if granted == 0 {
                        granted = step;
                        self.command(Command::DownloadGrant { id, bytes: step });
                    }
                    content.extend_from_slice(data.bytes().expect("real bytes"));
                }
                Report::MutableRead { id: of, result } if of == id => {
                    return GotMutable { found, content, result, took: self.now.instant.since(begun) };
                }
                _ => {}
            }
        }
    }

    /// Changes a mutable file, or makes one.
    pub fn change(
        &mut self,
        subject: Subject,
        change: Change,
        consent: Consent,
    ) -> Result<Box<Changed>, Box<ChangeError>> {
        let begun = self.now.instant;
        let id = self.begin_change(subject, change, consent);
        loop {
            if let Report::Changed { id: of, result } = self.next_report(begun)
                && of == id
            {
                return result;
            }
        }
    }

    /// Begins to change a mutable file, or to make one.
    pub fn begin_change(&mut self, subject: Subject, change: Change, consent: Consent) -> OperationId {
        let id = self.operation();
        self.command(Command::Change { id, subject, change, consent });
        id
    }

    /// Gives an operation up.
    pub fn cancel(&mut self, id: OperationId) {
        self.command(Command::Cancel { id });
    }

    /// Gives a read up, and gives what is reported of it after that.
    pub fn cancel_read(&mut self, id: OperationId) -> usize {
        self.reports.clear();
        self.command(Command::Cancel { id });
        self.run(Duration::from_secs(20));
        self.reports.len()
    }
}
