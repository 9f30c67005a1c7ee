//! The serving side: has the shared root made once, keeps it, hands it out.
//!
//! ```text
//! Reading ──(no file)──▶ Waiting ──(enough servers, or told)──▶ Making ──▶ Storing ──▶ Ready
//!  ▲   │ │                  ▲                                     │         ▲   │        ▲
//!  │   │ └──────────────────│──────────(a root in the file)───────│─────────│───│────────┘
//!  │   ▼                    └────────────────(failed)─────────────┘         ▼   │
//! Unreadable                                                              Unstored
//! ```
//!
//! There must never be two roots that somebody was given. So nothing is handed out before it is
//! durable, one is made only if the disk has said that there is no file, and one that was made but
//! could not be stored is stored again rather than made again. A crash between making and storing
//! leaves a directory that nobody knows, which does no harm.

use super::{RootRights, SharedRoot, VdriveAnswer, VdriveError, VdriveRequest};
use crate::capability::MutableCap;
use crate::disk::{DiskError, DiskOutput, DiskResult, DiskStep, StorePath};
use crate::entropy::Entropy;
use crate::machine::Machine;
use crate::mutable::ChangeError;
use crate::operation::{NoticeLevel, OperationId};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Enough servers must have been there for this long: when a grid starts, more come right after, and
/// those that take no shares tell so only when asked.
const STEADY: Duration = Duration::from_secs(2);
/// The first pause after a failure; doubled each time up to the longest, jittered.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_LONGEST: Duration = Duration::from_secs(10 * 60);

/// What can happen to a vdrive server.
#[derive(Clone, Hash, Debug)]
pub enum VdriveEvent {
    /// The deadline has come.
    Wake,
    /// A client asks. `key` names the answer.
    Request {
        /// Names the answer.
        key: u64,
        /// What the client has a right to.
        rights: RootRights,
        /// What it asks.
        request: VdriveRequest,
    },
    /// So many servers that take shares are connected. Of use while
    /// [`VdriveServer::counts_servers`].
    Servers(usize),
    /// Somebody wants the root made now, with the servers there are.
    Make(OperationId),
    /// The directory asked for by [`VdriveAction::MakeRoot`] was made, or why not.
    Made(Result<MutableCap, Box<ChangeError>>),
    /// The steps of [`VdriveAction::Disk`] are over.
    DiskDone(DiskResult),
}

/// What a vdrive server asks for.
#[derive(Clone, Hash, Debug)]
pub enum VdriveAction {
    /// The answer to a request.
    Answer {
        /// The request.
        key: u64,
        /// The answer.
        result: Result<VdriveAnswer, VdriveError>,
    },
    /// Make an empty directory that several may write to, under a key that is new. Answered by
    /// [`VdriveEvent::Made`]; there is never more than one.
    MakeRoot,
    /// Run these steps. Answered by [`VdriveEvent::DiskDone`]; there is never more than one.
    Disk(Vec<DiskStep>),
    /// The root is known and durable. Told once.
    Ready(SharedRoot),
    /// The answer to [`VdriveEvent::Make`].
    Told {
        /// Who wanted it.
        id: OperationId,
        /// What came of it.
        result: Result<RootMade, MakeRootError>,
    },
    /// Worth a line in a log.
    Notice(NoticeLevel, String),
}

/// What came of being told to make the shared root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RootMade {
    /// It has been made.
    New,
    /// There was one already.
    Before,
}

/// Why there is no shared root, though one was wanted.
#[derive(Clone, Hash, Debug)]
pub enum MakeRootError {
    /// The node is no vdrive server.
    NoVdrive,
    /// The file that may hold one cannot be read.
    Unreadable(String),
    /// The directory could not be made.
    Change(Box<ChangeError>),
    /// It was made, but its capability could not be saved.
    Unstored(DiskError),
    /// The node is stopping.
    Stopping,
}

impl fmt::Display for MakeRootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MakeRootError::NoVdrive => f.write_str(
                "this node is no vdrive server: the introducer of the grid is (tallac create-introducer)",
            ),
            MakeRootError::Unreadable(why) => write!(
                f,
                "the file private/vdrive-root.cap, which may hold a shared root, cannot be used: {why}. \
                 Restore it from a copy; only if there never was a root, remove it"
            ),
            MakeRootError::Change(error) => error.fmt(f),
            MakeRootError::Unstored(error) => {
                write!(f, "private/vdrive-root.cap cannot be written: {error}. It is tried again")
            }
            MakeRootError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl core::error::Error for MakeRootError {}

/// How far a vdrive server is, for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RootStage {
    /// Its file is being read.
    Reading,
    /// Its file cannot be read; nothing is made.
    Unreadable,
    /// There is none; for so many servers that take shares is being waited.
    Waiting(usize),
    /// It is being made or stored.
    Making,
    /// It is handed out.
    Ready,
}

#[derive(Debug)]
enum Stage {
    Reading,
    /// What is in the file is not known, so nothing may be put in its place.
    Unreadable {
        again: Instant,
    },
    /// There is no file.
    Waiting {
        /// Since when there have been enough servers.
        enough: Option<Instant>,
        /// Not before then, after a failure.
        again: Instant,
    },
    Making,
    Storing(SharedRoot),
    Unstored {
        root: SharedRoot,
        again: Instant,
    },
    Ready(SharedRoot),
}

/// Has the shared root made, keeps it and hands it out.
#[derive(Debug)]
pub struct VdriveServer {
    needed: usize,
    stage: Stage,
    /// Who waits to hear what came of it.
    told: Vec<OperationId>,
    failures: u32,
    entropy: Entropy,
    actions: VecDeque<VdriveAction>,
}

impl Machine for VdriveServer {
    type Event = VdriveEvent;
    type Action = VdriveAction;

    fn handle(&mut self, event: VdriveEvent, now: Now) {
        match event {
            VdriveEvent::Wake => {}
            VdriveEvent::Request { key, rights, request: VdriveRequest::Root } => {
                let answer = match (&self.stage, rights) {
                    (Stage::Ready(root), RootRights::Write) => VdriveAnswer::Root(root.text()),
                    (Stage::Ready(root), RootRights::ReadOnly) => VdriveAnswer::Root(root.read_only().text()),
                    _ => VdriveAnswer::NotYet,
                };
                self.actions.push_back(VdriveAction::Answer { key, result: Ok(answer) });
            }
            VdriveEvent::Servers(count) => {
                if let Stage::Waiting { enough, .. } = &mut self.stage {
                    *enough = (count >= self.needed).then(|| enough.unwrap_or(now.instant));
                }
            }
            VdriveEvent::Make(id) => {
                self.told.push(id);
                self.hurry();
            }
            VdriveEvent::Made(result) => self.made(result, now),
            VdriveEvent::DiskDone(result) => self.disk_done(result, now),
        }
        if self.deadline().is_some_and(|at| now.instant >= at) {
            self.hurry();
        }
    }

    fn poll_action(&mut self) -> Option<VdriveAction> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Unreadable { again } | Stage::Unstored { again, .. } => Some(*again),
            Stage::Waiting { enough, again } => enough.map(|since| (since + STEADY).max(*again)),
            Stage::Reading | Stage::Making | Stage::Storing(_) | Stage::Ready(_) => None,
        }
    }
}

impl VdriveServer {
    /// A vdrive server that reads what it stored. It has the root made once `needed` servers that
    /// take shares are connected.
    pub fn new(needed: usize, entropy: Entropy) -> VdriveServer {
        let mut server = VdriveServer {
            needed,
            stage: Stage::Reading,
            told: Vec::new(),
            failures: 0,
            entropy,
            actions: VecDeque::new(),
        };
        server.read();
        server
    }

    /// Whether [`VdriveEvent::Servers`] is of use.
    pub fn counts_servers(&self) -> bool {
        matches!(self.stage, Stage::Waiting { .. })
    }

    /// How far it is.
    pub fn stage(&self) -> RootStage {
        match self.stage {
            Stage::Reading => RootStage::Reading,
            Stage::Unreadable { .. } => RootStage::Unreadable,
            Stage::Waiting { .. } => RootStage::Waiting(self.needed),
            Stage::Making | Stage::Storing(_) | Stage::Unstored { .. } => RootStage::Making,
            Stage::Ready(_) => RootStage::Ready,
        }
    }

    /// Forgets somebody who waits to hear what came of [`VdriveEvent::Make`].
    pub fn forget(&mut self, id: OperationId) {
        self.told.retain(|told| *told != id);
    }

    /// Does at once what it would do some time.
    fn hurry(&mut self) {
        match core::mem::replace(&mut self.stage, Stage::Making) {
            Stage::Unreadable { .. } => self.read(),
            Stage::Waiting { .. } => self.actions.push_back(VdriveAction::MakeRoot),
            Stage::Unstored { root, .. } => self.store(root),
            Stage::Ready(root) => {
                self.stage = Stage::Ready(root);
                self.tell(&Ok(RootMade::Before));
            }
            busy @ (Stage::Reading | Stage::Making | Stage::Storing(_)) => self.stage = busy,
        }
    }

    fn read(&mut self) {
        let path = StorePath::VdriveRoot;
        let read = DiskStep::Read { path: path.clone(), offset: 0, len: SharedRoot::FILE_LEN_MAX };
        // A process that ended while it stored the root can have left a name that a power failure
        // would still take away.
        self.actions.push_back(VdriveAction::Disk([read, DiskStep::SyncName(path)].into()));
        self.stage = Stage::Reading;
    }

    fn store(&mut self, root: SharedRoot) {
        let step = DiskStep::Replace(StorePath::VdriveRoot, root.to_file());
        self.actions.push_back(VdriveAction::Disk([step].into()));
        self.stage = Stage::Storing(root);
    }

    fn disk_done(&mut self, result: DiskResult, now: Now) {
        match core::mem::replace(&mut self.stage, Stage::Making) {
            Stage::Reading => self.was_read(result, now),
            Stage::Storing(root) => match result {
                Ok(_) => {
                    let text = "the shared root of the grid has been made; who holds vdrive.furl gets it";
                    self.notice(NoticeLevel::Info, text.into());
                    self.ready(root, RootMade::New);
                }
                Err(failure) => {
                    let again = self.pause(now);
                    let error = MakeRootError::Unstored(failure.error);
                    let text = format!("the shared root was made, but is not handed out yet: {error}");
                    self.notice(NoticeLevel::Warning, text);
                    self.stage = Stage::Unstored { root, again };
                    self.tell(&Err(error));
                }
            },
            other => self.stage = other,
        }
    }

    fn was_read(&mut self, result: DiskResult, now: Now) {
        let why = match result {
            Ok(outputs) => {
                let data = outputs.into_iter().find_map(|output| match output {
                    DiskOutput::Data(data) => data.into_bytes(),
                    _ => None,
                });
                match SharedRoot::from_file(&data.unwrap_or_default()) {
                    Ok(root) if root.is_writable() => return self.ready(root, RootMade::Before),
                    Ok(_) => "it gives no right to change the root".into(),
                    Err(error) => error.to_string(),
                }
            }
            Err(failure) if failure.step == 0 && failure.error == DiskError::NotFound => {
                let text = format!(
                    "there is no shared root yet; it is made once {} servers are connected, or with \
                     `tallac make-root`",
                    self.needed
                );
                self.notice(NoticeLevel::Info, text);
                self.failures = 0;
                self.stage = Stage::Waiting { enough: None, again: now.instant };
                if !self.told.is_empty() {
                    self.hurry();
                }
                return;
            }
            Err(failure) => failure.error.to_string(),
        };
        let again = self.pause(now);
        let error = MakeRootError::Unreadable(why);
        self.notice(NoticeLevel::Warning, format!("no shared root is handed out: {error}"));
        self.stage = Stage::Unreadable { again };
        self.tell(&Err(error));
    }

    fn made(&mut self, result: Result<MutableCap, Box<ChangeError>>, now: Now) {
        if !matches!(self.stage, Stage::Making) {
            return;
        }
        match result {
            Ok(cap) => self.store(SharedRoot::Write(cap)),
            Err(error) => {
                let again = self.pause(now);
                self.notice(NoticeLevel::Warning, format!("the shared root could not be made: {error}"));
                self.stage = Stage::Waiting { enough: None, again };
                self.tell(&Err(MakeRootError::Change(error)));
            }
        }
    }

    fn ready(&mut self, root: SharedRoot, made: RootMade) {
        self.stage = Stage::Ready(root.clone());
        self.actions.push_back(VdriveAction::Ready(root));
        self.tell(&Ok(made));
    }

    fn tell(&mut self, result: &Result<RootMade, MakeRootError>) {
        for id in self.told.drain(..) {
            self.actions.push_back(VdriveAction::Told { id, result: result.clone() });
        }
    }

    fn notice(&mut self, level: NoticeLevel, text: String) {
        self.actions.push_back(VdriveAction::Notice(level, text));
    }

    /// When to try again after a failure.
    fn pause(&mut self, now: Now) -> Instant {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(10)).min(PAUSE_LONGEST);
        self.failures += 1;
        now.instant + self.entropy.jitter(pause)
    }
}
