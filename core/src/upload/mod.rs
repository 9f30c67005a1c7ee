//! Storing an immutable file.
//!
//! ```text
//! Receiving ──(key known)──▶ Locating ──▶ Allocating ──(happy)──▶ Sending ──▶ Closing ──▶ Done
//!  spool and hash             ask who      make room,      ▲        blocks, then   hash trees,
//!  (not for random keys       has what     place again     │        look at what   extension
//!  of known length)                        what was        │        is there
//!                                          declined        └─(a share lost its server or what was
//!                                                             there is bad, and the content is
//!                                                             re-readable)
//! ```
//!
//! Blocks are sent to every server before any share is completed, so that an upload given up half
//! way leaves no whole share behind. A share whose server fails is sent anew, in a further pass
//! over the content, to another server. Content that was kept in memory or spooled is simply read
//! again; a stream without a spool is stored on the servers that are left, if they are enough, and
//! then read back from these to make the lost shares.

mod placing;
mod proving;
mod report;
mod sending;
mod source;
mod writer;

pub use report::{PlannedShare, UploadError, UploadPlan, UploadProgress, UploadStage, Uploaded};

use crate::capability::{Capability, ChkCap, LITERAL_LEN_MAX, LiteralCap};
use crate::download::{Download, DownloadAction, DownloadEvent, DownloadSetup};
use crate::encoding::{Encoding, EncodingParams};
use crate::entropy::Entropy;
use crate::happiness;
use crate::hash::{self, Hash, TaggedHasher};
use crate::identity::ServerId;
use crate::job::FileCoding;
use crate::lease::LeaseSecrets;
use crate::limits::CANDIDATES_PER_SHARE;
use crate::machine::Machine;
use crate::operation::KeyChoice;
use crate::payload::Payload;
use crate::peers::Candidate;
use crate::secret::{EncryptionKey, LeaseSecret, Secret, SecretBytes, UploadSecret};
use crate::share::ShareLayout;
use crate::share_set::ShareSet;
use crate::storage_index::StorageIndex;
use crate::task::{Outcome, Task, Tasks};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placing::Placing;
use sending::Sending;
use source::Source;

/// What an upload needs to know of the node it runs on.
#[derive(Clone, Hash, Debug)]
pub struct UploadSetup {
    /// k, N and the segment size.
    pub params: EncodingParams,
    /// How the key comes about.
    pub key: KeyChoice,
    /// The content's length, if known.
    pub len: Option<u64>,
    /// The node's convergence secret.
    pub convergence: SecretBytes,
    /// The node's master secret for leases.
    pub lease_secret: LeaseSecret,
    /// Number of the spool file, unique among the node's uploads.
    pub spool: u64,
}

/// What can happen to an upload.
#[derive(Clone, Hash, Debug)]
pub enum UploadEvent {
    /// The deadline has come.
    Wake,
    /// The next bytes of the content.
    Data(Payload),
    /// The content ends here.
    End,
    /// The servers to choose from, in the order of the ring, and how many of them must hold
    /// shares. The answer to [`UploadAction::WantServers`].
    Servers {
        /// Every known server, or as many as are worth trying.
        ring: Vec<Candidate>,
        /// The happiness that is wanted.
        happy: usize,
    },
    /// A task is over.
    Finished(u64, Outcome),
    /// Nobody wants the result: give up what was begun.
    Cancel,
}

/// What an upload asks for.
#[derive(Clone, Hash, Debug)]
pub enum UploadAction {
    /// Something to do, answered by `Finished`.
    Task(u64, Box<Task>),
    /// More bytes of the content are welcome.
    Grant(u64),
    /// The storage index is known: which servers are there?
    WantServers(StorageIndex),
    /// The plan, before the first block is sent.
    Planned(Box<UploadPlan>),
    /// How far it is.
    Progress(UploadProgress),
    /// It is over. No action but tasks to clean up follows.
    Done(Result<Box<Uploaded>, Box<UploadError>>),
}

/// What a task was for.
#[derive(Debug)]
enum Purpose {
    Source(source::SourceTask),
    List(ServerId),
    Allocate(ServerId, ShareSet),
    Sending(sending::SendTask),
    /// A task of the download that reads the content back.
    ReadBack(u64),
}

/// Stores one immutable file.
#[derive(Debug)]
pub struct Upload {
    setup: UploadSetup,
    entropy: Entropy,
    source: Source,
    /// Reads the content of a stream back from the grid.
    read_back: Option<Box<Download>>,
    stage: Stage,
    tasks: Tasks<Purpose>,
    actions: VecDeque<UploadAction>,
}

#[derive(Debug)]
enum Stage {
    /// The key depends on the whole content, or its length is not known: spool it.
    Receiving { hasher: Option<TaggedHasher> },
    /// Waiting for the parent to say which servers there are.
    AwaitingServers(File),
    /// Asking servers which shares they have.
    Locating(File, Placing),
    /// Making room on the servers chosen.
    Allocating(File, Placing),
    /// Reading, encoding, sending.
    Sending(File, Placing, Box<Sending>),
    /// The outcome has been reported; later events are stale.
    Done,
}

impl Stage {
    fn placing(&mut self) -> Option<(&File, &mut Placing)> {
        match self {
            Stage::Locating(file, placing)
            | Stage::Allocating(file, placing)
            | Stage::Sending(file, placing, _) => Some((file, placing)),
            Stage::Receiving { .. } | Stage::AwaitingServers(_) | Stage::Done => None,
        }
    }
}

/// What is known of the file once its key is.
#[derive(Clone, Debug)]
struct File {
    coding: Arc<FileCoding>,
    storage_index: StorageIndex,
    secrets: Secrets,
}

impl File {
    fn cap(&self, extension_hash: Hash) -> ChkCap {
        let encoding = &self.coding.encoding;
        ChkCap {
            key: self.coding.key.clone(),
            extension_hash,
            needed: encoding.needed(),
            total: encoding.total(),
            size: encoding.size(),
        }
    }
}

/// The secrets of one file towards its servers; each server gets its own.
#[derive(Clone, Debug)]
struct Secrets {
    leases: LeaseSecrets,
    upload: Secret<32>,
}

impl Secrets {
    /// A server that learns its secret can do nothing with it at another.
    fn upload(&self, server: &ServerId) -> UploadSecret {
        let hash = hash::tagged_pair_hash(b"tallac_upload_secret_v1", self.upload.expose(), &server.0);
        UploadSecret::from_bytes(hash.0)
    }
}

impl Machine for Upload {
    type Event = UploadEvent;
    type Action = UploadAction;

    fn handle(&mut self, event: UploadEvent, now: Now) {
        if matches!(self.stage, Stage::Done) {
            return;
        }
        match event {
            UploadEvent::Wake => self.read_back_event(DownloadEvent::Wake, now),
            UploadEvent::Cancel => {
                self.clean_up();
                self.stage = Stage::Done;
            }
            UploadEvent::Data(data) => {
                if let Err(error) = self.source.take(data) {
                    self.fail(error);
                }
            }
            UploadEvent::End => {
                if let Err(error) = self.source.end() {
                    self.fail(error);
                }
            }
            UploadEvent::Servers { ring, happy } => self.servers(ring, happy, now),
            UploadEvent::Finished(id, outcome) => self.finished(id, outcome, now),
        }
        self.advance(now);
    }

    fn poll_action(&mut self) -> Option<UploadAction> {
        if let Some((id, task)) = self.tasks.poll() {
            return Some(UploadAction::Task(id, Box::new(task)));
        }
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Locating(_, placing) => placing.deadline(),
            Stage::Sending(_, placing, sending) => {
                let read_back = self.read_back.as_ref().and_then(|download| download.deadline());
                [read_back, sending.deadline(placing)].into_iter().flatten().min()
            }
            _ => None,
        }
    }
}

impl Upload {
    /// An upload that waits for its content.
    pub fn new(setup: UploadSetup, entropy: Entropy) -> Upload {
        let streaming = setup.key == KeyChoice::Random && setup.len.is_some();
        let source = Source::new(setup.len, setup.spool, streaming, &setup.params);
        let mut upload = Upload {
            setup,
            entropy,
            source,
            read_back: None,
            stage: Stage::Receiving { hasher: None },
            tasks: Tasks::new(),
            actions: VecDeque::new(),
        };
        upload.advance(Now::default());
        upload
    }

    fn finished(&mut self, id: u64, outcome: Outcome, now: Now) {
        let Some(purpose) = self.tasks.finish(id) else { return };
        match (purpose, outcome) {
            (Purpose::Source(task), outcome) => {
                let hasher = match &mut self.stage {
                    Stage::Receiving { hasher } => hasher,
                    _ => &mut None,
                };
                match self.source.finished(task, outcome, hasher) {
                    Err(error) => self.fail(error),
                    Ok(Some((segment, plaintext))) => {
                        if let Stage::Sending(file, _, sending) = &mut self.stage {
                            sending.plaintext(segment, plaintext, file, &mut self.tasks);
                        }
                    }
                    Ok(None) => {}
                }
            }
            (Purpose::List(server), Outcome::Answer(answer)) => {
                if let Some((_, placing)) = self.stage.placing() {
                    placing.listed(server, answer);
                }
            }
            (Purpose::Allocate(server, asked), Outcome::Answer(answer)) => {
                if let Some((_, placing)) = self.stage.placing() {
                    placing.allocated(server, asked, answer);
                }
            }
            (Purpose::Sending(task), outcome) => {
                if let Stage::Sending(file, placing, sending) = &mut self.stage {
                    sending.finished(task, outcome, file, placing, &mut self.tasks, now);
                }
            }
            (Purpose::ReadBack(id), outcome) => {
                self.read_back_event(DownloadEvent::Finished(id, outcome), now)
            }
            (purpose, outcome) => debug_assert!(false, "{purpose:?} cannot end with {outcome:?}"),
        }
    }

    /// Hands an event to the download that reads the content back, and takes what comes of it.
    fn read_back_event(&mut self, event: DownloadEvent, now: Now) {
        let Some(download) = &mut self.read_back else { return };
        download.handle(event, now);
        while let Some(action) = download.poll_action() {
            match action {
                DownloadAction::Task(id, task) => match *task {
                    Task::Forget(of) => {
                        self.tasks.forget(|purpose| matches!(purpose, Purpose::ReadBack(id) if *id == of))
                    }
                    task => {
                        self.tasks.start(Purpose::ReadBack(id), task);
                    }
                },
                DownloadAction::Data(data) => {
                    // Its length was checked by the download.
                    let _ = self.source.take(data);
                }
                DownloadAction::Done(Ok(())) => {}
                DownloadAction::Done(Err(_)) => {
                    if let Stage::Sending(file, placing, sending) = &mut self.stage {
                        sending.give_up_pass(file, placing, &mut self.tasks);
                    }
                }
            }
        }
    }

    /// Moves from stage to stage as far as what is known allows: the only place where it changes.
    fn advance(&mut self, now: Now) {
        loop {
            let stage = core::mem::replace(&mut self.stage, Stage::Done);
            let (next, moved) = match stage {
                Stage::Receiving { hasher } => self.receive(hasher),
                Stage::AwaitingServers(file) => (Stage::AwaitingServers(file), false),
                Stage::Locating(file, placing) => self.locate(file, placing, now),
                Stage::Allocating(file, placing) => self.allocate(file, placing, now),
                Stage::Sending(file, placing, sending) => self.send(file, placing, sending, now),
                Stage::Done => (Stage::Done, false),
            };
            self.stage = next;
            if !moved {
                break;
            }
        }
        let granted = self.source.poll_grant();
        if granted == 0 || matches!(self.stage, Stage::Done) {
            return;
        }
        if self.read_back.is_some() {
            self.read_back_event(DownloadEvent::Grant(granted), now);
            self.advance(now);
        } else {
            self.actions.push_back(UploadAction::Grant(granted));
        }
    }

    fn receive(&mut self, mut hasher: Option<TaggedHasher>) -> (Stage, bool) {
        if self.source.all_within(LITERAL_LEN_MAX as u64)
            && let Some(data) = self.source.small_content()
        {
            let cap = Capability::Literal(LiteralCap::new(data).expect("the length was checked"));
            self.succeed(Uploaded::literal(cap));
            return (Stage::Done, false);
        }
        if self.source.len().is_some_and(|len| len <= LITERAL_LEN_MAX as u64) {
            // It may come in pieces; what is taken from it is no longer there for the capability.
            return (Stage::Receiving { hasher }, false);
        }
        if self.source.is_streaming() {
            let key = EncryptionKey::from_bytes(self.entropy.bytes());
            return self.keyed(key);
        }
        let convergent = self.setup.key == KeyChoice::Convergent;
        if convergent && hasher.is_none() && self.source.hashed() == 0 {
            hasher = self.source.segment_size(&self.setup.params).map(|segment_size| {
                let params = &self.setup.params;
                hash::convergence_hasher(
                    params.needed(),
                    params.total(),
                    segment_size,
                    self.setup.convergence.expose(),
                )
            });
        }
        self.source.absorb(convergent, &mut hasher, &mut self.tasks);
        if self.source.is_absorbed() {
            let key = match (convergent, hasher.take()) {
                (true, Some(hasher)) => hasher.finish_key(),
                _ => EncryptionKey::from_bytes(self.entropy.bytes()),
            };
            return self.keyed(key);
        }
        (Stage::Receiving { hasher }, false)
    }

    fn keyed(&mut self, key: EncryptionKey) -> (Stage, bool) {
        let size = self.source.len().expect("the length is known once all is absorbed");
        let encoding = match Encoding::new(&self.setup.params, size) {
            Ok(encoding) => encoding,
            Err(_) => {
                self.fail(UploadError::TooLarge { size });
                return (Stage::Done, false);
            }
        };
        let storage_index = hash::storage_index_hash(&key);
        let secret = &self.setup.lease_secret;
        // The upload secret follows from the lease secret, so that an upload that was cut off by a
        // crash can be taken up again at once instead of being in its own way for half an hour.
        let upload =
            hash::tagged_pair_hash(b"tallac_file_upload_secret_v1", secret.expose(), &storage_index.0);
        let secrets = Secrets {
            leases: LeaseSecrets::new(secret, &storage_index),
            upload: Secret::from_bytes(upload.0),
        };
        self.actions.push_back(UploadAction::WantServers(storage_index));
        let coding = FileCoding::new(key, encoding);
        (Stage::AwaitingServers(File { coding, storage_index, secrets }), false)
    }

    fn servers(&mut self, ring: Vec<Candidate>, happy: usize, now: Now) {
        match core::mem::replace(&mut self.stage, Stage::Done) {
            Stage::AwaitingServers(file) => {
                let batch = CANDIDATES_PER_SHARE * usize::from(self.setup.params.total());
                let mut placing = Placing::new(ring, happy, &file.coding.encoding, batch, now.instant);
                if self.source.is_streaming() {
                    placing.believe_nobody();
                }
                self.stage = Stage::Locating(file, placing);
            }
            other => self.stage = other,
        }
    }

    fn locate(&mut self, file: File, mut placing: Placing, now: Now) -> (Stage, bool) {
        placing.ask_next_batch(&file, &mut self.tasks);
        if !placing.located(now.instant) {
            return (Stage::Locating(file, placing), false);
        }
        (Stage::Allocating(file, placing), true)
    }

    fn allocate(&mut self, file: File, mut placing: Placing, now: Now) -> (Stage, bool) {
        if placing.awaits_allocations() {
            return (Stage::Allocating(file, placing), false);
        }
        if placing.assign(&file, &mut self.tasks) {
            return (Stage::Allocating(file, placing), false);
        }
        // Nothing more can be placed on the servers asked so far.
        placing.drop_doubles(&file, &mut self.tasks);
        if placing.is_happy() && placing.is_readable(self.setup.params.needed()) {
            let plan = placing.plan(&self.setup.params, file.coding.encoding.size());
            self.actions.push_back(UploadAction::Planned(Box::new(plan)));
            let layout = ShareLayout::for_upload(&file.coding.encoding);
            let chance = u64::from_le_bytes(self.entropy.bytes());
            let sending = Sending::new(&file, layout, &placing, self.source.is_streaming(), chance);
            return (Stage::Sending(file, placing, Box::new(sending)), true);
        }
        if placing.widen(now.instant) {
            return (Stage::Locating(file, placing), true);
        }
        placing.abort_all(&file, &mut self.tasks);
        self.fail(placing.unhappy(&self.setup.params));
        (Stage::Done, false)
    }

    fn send(
        &mut self,
        file: File,
        mut placing: Placing,
        mut sending: Box<Sending>,
        now: Now,
    ) -> (Stage, bool) {
        use sending::Next;
        match sending.advance(&file, &mut placing, &mut self.source, &mut self.tasks, now) {
            Next::Wait(progress) => {
                if let Some(progress) = progress {
                    self.actions.push_back(UploadAction::Progress(progress));
                }
                (Stage::Sending(file, placing, sending), false)
            }
            Next::ReadBack(extension_hash) => {
                let cap = file.cap(extension_hash);
                let setup = DownloadSetup {
                    range: 0..cap.size,
                    cap,
                    ring: placing.ring().to_vec(),
                    likely_segment_size: self.setup.params.max_segment_size(),
                };
                self.source.restart_stream();
                self.read_back = Some(Box::new(Download::new(setup, now)));
                (Stage::Sending(file, placing, sending), true)
            }
            Next::Finished(extension_hash) => {
                let cap = file.cap(extension_hash);
                let uploaded = placing.uploaded(Capability::Chk(cap), &self.setup.params, sending.pushed());
                self.succeed(uploaded);
                (Stage::Done, false)
            }
            Next::Failed => {
                placing.abort_all(&file, &mut self.tasks);
                self.fail(placing.unhappy(&self.setup.params));
                (Stage::Done, false)
            }
        }
    }

    fn succeed(&mut self, uploaded: Uploaded) {
        self.source.remove(&mut self.tasks);
        self.tasks.forget(|_| true);
        self.actions.push_back(UploadAction::Done(Ok(Box::new(uploaded))));
        self.stage = Stage::Done;
    }

    fn fail(&mut self, error: UploadError) {
        self.clean_up();
        self.actions.push_back(UploadAction::Done(Err(Box::new(error))));
        self.stage = Stage::Done;
    }

    /// Gives up what was begun: shares in progress at their servers, and the spool.
    fn clean_up(&mut self) {
        if let Some((file, placing)) = self.stage.placing() {
            placing.abort_all(file, &mut self.tasks);
        }
        self.source.remove(&mut self.tasks);
        self.tasks.forget(|_| true);
    }
}

/// The number of servers that any m can be lost from, leaving k shares.
fn survivable(placements: &happiness::Placements<ServerId>, needed: u16) -> usize {
    happiness::survivable_losses(placements, needed).unwrap_or(0)
}
