//! What the embedding program asks of a node, and what the node tells it.

use crate::capability::{ChkCap, MutableReadCap};
use crate::download::{DownloadError, Locations, Sought};
use crate::drive::{Done, DriveError, Errand, Surveyed};
use crate::mutable::{Change, ChangeError, Changed, Consent, Found, ReadError, Subject};
use crate::payload::Payload;
use crate::upload::{UploadError, UploadPlan, UploadProgress, Uploaded};
use crate::vdrive::{MakeRootError, RootMade};
use alloc::boxed::Box;
use alloc::string::String;
use core::ops::Range;

/// Names an operation. Chosen by the embedding program, below 2^63, and never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId(pub u64);

impl OperationId {
    const INNER: u64 = 1 << 63;

    /// Names an operation that a part of the node runs.
    pub(crate) fn inner(number: u64) -> OperationId {
        OperationId(number | OperationId::INNER)
    }

    pub(crate) fn is_inner(self) -> bool {
        self.0 & OperationId::INNER != 0
    }
}

/// How the key of a file comes about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyChoice {
    /// From the content and the node's convergence secret: the same content becomes the same
    /// file. The content is spooled, since it is needed twice.
    Convergent,
    /// By chance. With a known length nothing is spooled.
    Random,
}

/// What the embedding program wants.
#[derive(Clone, Hash, Debug)]
pub enum Command {
    /// Store a file. The node grants bytes ([`Report::UploadGrant`]); the program gives them with
    /// `UploadData` and says the end with `UploadEnd`.
    Upload {
        /// Names the upload.
        id: OperationId,
        /// The file's length in bytes, if known. Other lengths then fail the upload.
        len: Option<u64>,
        /// How its key comes about.
        key: KeyChoice,
    },
    /// The next bytes of a file, no more than granted.
    UploadData {
        /// The upload.
        id: OperationId,
        /// The bytes.
        data: Payload,
    },
    /// The file has no more bytes.
    UploadEnd {
        /// The upload.
        id: OperationId,
    },
    /// Fetch a range of a file. Answered by `DownloadData` as far as granted, then `Downloaded`.
    Download {
        /// Names the download.
        id: OperationId,
        /// The file.
        cap: ChkCap,
        /// Which bytes; within the file's size.
        range: Range<u64>,
    },
    /// Fetch a range of a mutable file. Answered by `MutableFound`, then by `DownloadData` as far as
    /// granted, then by `MutableRead`.
    ReadMutable {
        /// Names the download.
        id: OperationId,
        /// The file.
        cap: MutableReadCap,
        /// Which bytes, as far as the file has them; all of them, if `None`. If there are none, the
        /// newest version is found, but none of it fetched.
        range: Option<Range<u64>>,
    },
    /// Allow this many more bytes of `DownloadData`. It starts with nothing granted.
    DownloadGrant {
        /// The download.
        id: OperationId,
        /// How many more bytes.
        bytes: u64,
    },
    /// Change a mutable file, or make one. Answered by `Changed`.
    Change {
        /// Names the change.
        id: OperationId,
        /// Which file.
        subject: Subject,
        /// What becomes of it.
        change: Change,
        /// When that counts.
        consent: Consent,
    },
    /// Ask the servers which shares of a file they have, for somebody who wants to see. Answered by
    /// `Located`, within a few seconds.
    Locate {
        /// Names the wish.
        id: OperationId,
        /// Whose shares.
        file: Sought,
    },
    /// Make the shared root of the grid now, if this node is a vdrive server that has none yet.
    /// Answered by `RootMade`.
    MakeRoot {
        /// Names the wish.
        id: OperationId,
    },
    /// Do something in a drive. Answered by `Errand`.
    Errand {
        /// Names the errand.
        id: OperationId,
        /// What is to be done.
        errand: Box<Errand>,
    },
    /// Let a survey go on to the next directory. Ignored while it reads one.
    SurveyNext {
        /// The errand.
        id: OperationId,
    },
    /// Give an operation up. Nothing more is reported about it. A change may take effect all the same.
    Cancel {
        /// Which.
        id: OperationId,
    },
    /// Stop: give up what is under way and close every connection. Answered by `Stopped`.
    Stop,
}

/// What a node tells the embedding program.
#[derive(Clone, Hash, Debug)]
pub enum Report {
    /// The upload takes this many more bytes.
    UploadGrant {
        /// The upload.
        id: OperationId,
        /// How many more bytes.
        bytes: u64,
    },
    /// Where the shares will go.
    UploadPlanned {
        /// The upload.
        id: OperationId,
        /// The plan.
        plan: Box<UploadPlan>,
    },
    /// How far an upload is.
    UploadProgress {
        /// The upload.
        id: OperationId,
        /// How far.
        progress: UploadProgress,
    },
    /// The upload is over.
    Uploaded {
        /// The upload.
        id: OperationId,
        /// The capability and where the shares are, or why it failed.
        result: Result<Box<Uploaded>, Box<UploadError>>,
    },
    /// The next bytes of a download, checked.
    DownloadData {
        /// The download.
        id: OperationId,
        /// The bytes.
        data: Payload,
    },
    /// The download is over. After an error the bytes so far are good, but not all.
    Downloaded {
        /// The download.
        id: OperationId,
        /// How.
        result: Result<(), Box<DownloadError>>,
    },
    /// The change is over.
    Changed {
        /// The change.
        id: OperationId,
        /// The new version and where it is, or why it was not made.
        result: Result<Box<Changed>, Box<ChangeError>>,
    },
    /// Where the shares of a file are.
    Located {
        /// The wish.
        id: OperationId,
        /// What the servers have told.
        locations: Box<Locations>,
    },
    /// What came of the wish for a shared root.
    RootMade {
        /// The wish.
        id: OperationId,
        /// Whether it was made or there already, or why there is none.
        result: Result<RootMade, MakeRootError>,
    },
    /// An errand is over.
    Errand {
        /// The errand.
        id: OperationId,
        /// What came of it.
        result: Result<Box<Done>, Box<DriveError>>,
    },
    /// What a survey has found, twice for each directory: itself, then what is in it.
    Surveyed {
        /// The errand.
        id: OperationId,
        /// What was found.
        found: Box<Surveyed>,
    },
    /// Which version of a mutable file is being read, and how long it is.
    MutableFound {
        /// The download.
        id: OperationId,
        /// What was found.
        found: Box<Found>,
    },
    /// The download of a mutable file is over. After an error the bytes so far are good, but not all.
    MutableRead {
        /// The download.
        id: OperationId,
        /// How.
        result: Result<(), Box<ReadError>>,
    },
    /// Something worth a line in a log. Holds no secrets.
    Notice(Notice),
    /// The node has stopped.
    Stopped,
}

impl Report {
    /// Which operation it is about.
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Report::UploadGrant { id, .. }
            | Report::UploadPlanned { id, .. }
            | Report::UploadProgress { id, .. }
            | Report::Uploaded { id, .. }
            | Report::DownloadData { id, .. }
            | Report::Downloaded { id, .. }
            | Report::Changed { id, .. }
            | Report::Located { id, .. }
            | Report::RootMade { id, .. }
            | Report::Errand { id, .. }
            | Report::Surveyed { id, .. }
            | Report::MutableFound { id, .. }
            | Report::MutableRead { id, .. } => Some(*id),
            Report::Notice(_) | Report::Stopped => None,
        }
    }
}

/// Something worth a line in a log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Notice {
    /// How important it is.
    pub level: NoticeLevel,
    /// What happened, as a sentence.
    pub text: String,
}

/// How important a notice is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NoticeLevel {
    /// Of use to who searches a fault.
    Debug,
    /// Of use to who watches the node.
    Info,
    /// Somebody should do something.
    Warning,
}
