//! Directories of the grid that are filled, many links with one new version.

use super::Session;
use crate::drive::cap::CapText;
use crate::webapi::{Entry, Link};
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
    /// Bytes of the copied files among them; linked ones have none.
    bytes: u64,
    copied: u64,
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
        batch.bytes += copied.unwrap_or(0);
        batch.copied += u64::from(copied.is_some());
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

    fn link(&self, session: &Session, batch: Batch) {
        let links = batch.links.len() as u64;
        if links == 0 {
            return;
        }
        // An interrupt comes too late for these: they have been stored.
        match session.gateway.uninterrupted().set_children(&self.cap, &batch.links) {
            Ok(()) => {
                session.report.copied(batch.copied, batch.bytes);
                session.report.linked(links - batch.copied);
            }
            Err(error) => {
                session.report.failed_many(links, &format!("linking {links} files in {}", self.said), &error)
            }
        }
    }
}
