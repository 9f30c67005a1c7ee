//! All connections of a running node, those included that its machine does not know.

use crate::connection::Connection;
use crate::link::{Link, Medium};
use crate::setup::{Guards, ListenerKind};
use crate::tls::Tls;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallac_core::machine::ConnId;

/// Every link that somebody reads or writes.
pub struct Links<M: Medium> {
    tls: Tls,
    guards: Guards,
    links: Mutex<BTreeMap<ConnId, Arc<Link<M>>>>,
    inbound: AtomicU64,
    /// Shared by all strangers.
    strangers: Arc<()>,
    stopping: AtomicBool,
}

/// Held for somebody who connected, until the handshake is over.
#[derive(Debug)]
pub struct Stranger {
    _counted: Option<Arc<()>>,
}

impl<M: Medium> Links<M> {
    /// No links yet.
    pub fn new(tls: Tls, guards: Guards) -> Links<M> {
        Links {
            tls,
            guards,
            links: Mutex::default(),
            inbound: AtomicU64::new(0),
            strangers: Arc::new(()),
            stopping: AtomicBool::new(false),
        }
    }

    /// Patience and bounds.
    pub fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Makes a link for somebody who connected; `None` if they are to be cut off.
    pub fn accept(&self, kind: ListenerKind) -> Option<(Arc<Link<M>>, Stranger)> {
        // Whoever comes to the web port is introduced at once.
        let counted = (kind != ListenerKind::Web).then(|| self.strangers.clone());
        if counted.is_some() && Arc::strong_count(&self.strangers) - 1 > self.guards.handshakes {
            return None;
        }
        let conn = ConnId::Inbound(self.inbound.fetch_add(1, Ordering::Relaxed));
        let link = Arc::new(Link::new(match kind {
            ListenerKind::Grid => Connection::accept_grid(conn, &self.tls),
            ListenerKind::Web => Connection::accept_web(conn),
            ListenerKind::WebTls => Connection::accept_web_tls(conn, self.tls.web()?),
        }));
        self.add(link.clone());
        (!link.is_over()).then_some((link, Stranger { _counted: counted }))
    }

    /// Adds a link. It is ended at once if the node stops.
    pub fn add(&self, link: Arc<Link<M>>) {
        let mut links = self.lock();
        if self.is_stopping() {
            link.end();
        } else {
            links.insert(link.id(), link);
        }
    }

    /// Removes a link.
    pub fn remove(&self, conn: ConnId) {
        self.lock().remove(&conn);
    }

    /// Lets nobody in any more and ends what the machine does not know.
    pub fn stop(&self) {
        let links = self.lock();
        self.stopping.store(true, Ordering::SeqCst);
        links.values().filter(|link| !link.is_open()).for_each(|link| link.end());
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends every link.
    pub fn end_all(&self) {
        self.lock().values().for_each(|link| link.end());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnId, Arc<Link<M>>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Medium> fmt::Debug for Links<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("guards", &self.guards).finish_non_exhaustive()
    }
}
