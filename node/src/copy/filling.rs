//! Directories of the grid that are filled, many links with one new version.

use super::Session;
use crate::drive::cap::CapText;
use crate::drive::path::below;
use crate::exit::{Failure, failed};
use crate::webapi::{Entry, Link, Replace};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tallac_core::directory::Name;

/// Links made with one version of a directory.
const BATCH_MAX: usize = 500;
/// How long a link waits for others.
const BATCH_AGE_MAX: Duration = Duration::from_secs(10);

/// A directory that is filled.
pub(super) struct Target {
    pub(super) cap: CapText,
    pub(super) said: String,
    /// What was in it before.
    pub(super) children: BTreeMap<String, Entry>,
    batch: Mutex<Batch>,
    /// Files that are on their way into it.
    expected: AtomicUsize,
}

#[derive(Default)]
struct Batch {
    links: Vec<(Name, Link)>,
    /// Bytes of the copied files among them, by name; linked ones have none.
    copied: BTreeMap<Name, u64>,
    since: Option<Instant>,
}

impl Target {
    /// A directory to fill, with what is in it.
    pub(super) fn open(session: &Session, cap: CapText, said: String, is_new: bool) -> Result<Arc<Target>> {
        let children = if is_new {
            BTreeMap::new()
        } else {
            let entry = session.gateway.look_up(&cap, &[])?;
            entry.map(|entry| entry.children).with_context(|| format!("{said} is gone"))?
        };
        Ok(Arc::new(Target { cap, said, children, batch: Mutex::default(), expected: AtomicUsize::new(0) }))
    }

    /// Links a file, sooner or later. `copied`: its bytes, if they have been stored for this.
    pub(super) fn add(&self, session: &Session, name: &Name, link: Link, copied: Option<u64>) {
        let mut batch = self.batch.lock().expect("no worker panics with it");
        batch.links.push((name.clone(), link));
        batch.copied.extend(copied.map(|bytes| (name.clone(), bytes)));
        let since = *batch.since.get_or_insert_with(Instant::now);
        let is_due = batch.links.len() >= BATCH_MAX || since.elapsed() >= BATCH_AGE_MAX;
        let due = if is_due { std::mem::take(&mut *batch) } else { Batch::default() };
        drop(batch);
        self.link(session, due);
    }

    /// So many files are on their way.
    pub(super) fn expect(&self, files: usize) {
        self.expected.fetch_add(files, Ordering::SeqCst);
    }

    /// A file is done with; after the last one all that waits is linked.
    pub(super) fn one_less(&self, session: &Session) {
        if self.expected.fetch_sub(1, Ordering::SeqCst) == 1 {
            let due = std::mem::take(&mut *self.batch.lock().expect("no worker panics with it"));
            self.link(session, due);
        }
    }

    fn link(&self, session: &Session, mut batch: Batch) {
        while !batch.links.is_empty() {
            let links = batch.links.len() as u64;
            // An interrupt comes too late for these: they have been stored.
            let gateway = session.gateway.uninterrupted();
            let linked = gateway.set_children(&self.cap, &batch.links, Replace::Files).and_then(|linked| {
                if !linked {
                    self.leave_directories(session, &mut batch)?;
                }
                Ok(linked)
            });
            match linked {
                Ok(true) => {
                    let copied = batch.copied.len() as u64;
                    session.report.copied(copied, batch.copied.values().sum());
                    session.report.linked(links - copied);
                    return;
                }
                // Without those whose names are taken.
                Ok(false) => {}
                Err(error) => {
                    let what = format!("linking {links} files in {}", self.said);
                    session.report.failed_many(links, &what, &error);
                    return;
                }
            }
        }
    }

    /// Takes out of a batch what would replace directories that somebody has made meanwhile.
    ///
    /// # Errors
    /// If there are none.
    fn leave_directories(&self, session: &Session, batch: &mut Batch) -> Result<()> {
        let there = session.gateway.uninterrupted().look_up(&self.cap, &[])?;
        let there = there.map(|there| there.children).unwrap_or_default();
        let before = batch.links.len();
        batch.links.retain(|(name, _)| {
            let is_taken = there.get(name.as_str()).is_some_and(Entry::is_directory);
            if is_taken {
                let why = "a directory is where the file should be; move it away";
                session.report.failed(&below(&self.said, name.as_str()), &failed(Failure::Usage, why));
                batch.copied.remove(name);
            }
            !is_taken
        });
        if batch.links.len() < before {
            return Ok(());
        }
        Err(failed(Failure::General, "the directory is changed all the time"))
    }
}
