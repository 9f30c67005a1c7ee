//! The node's own drives: `/drive/personal` and `/drive/shared` lead to their pages.

use super::Gateway;
use super::drive_pages::address;
use super::exchange::Exchange;
use super::refusal::Refusal;
use tallac_core::capability::{CAPABILITY_LEN_MAX, Capability};
use tallac_core::disk::{DiskError, DiskOutput, DiskResult, DiskStep, StorePath};
use tallac_core::machine::{Action, ActionId, ConnId};

/// Set in the ids of disk actions that are the gateway's own. The node counts its own up from zero.
const OURS: u64 = 1 << 63;

/// A way into the personal drive, whose capability is being read.
pub(super) struct PersonalRead {
    id: ActionId,
    names: Vec<String>,
}

/// Whether a disk action is the gateway's own.
pub(super) fn is_ours(id: ActionId) -> bool {
    id.0 & OURS != 0
}

impl Gateway {
    /// `/drive/personal` and `/drive/shared`: only for who sits at this machine, for there is no
    /// capability to show. They lead to the pages under a handle.
    pub(super) fn enter(&mut self, conn: ConnId, personal: bool, names: Vec<String>) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(()) };
        if !connection.from_here {
            return Err(Refusal::new(
                403,
                "The drives of this node are opened at the machine it runs on. From elsewhere, open a \
                 capability.",
            ));
        }
        if personal {
            let Some(pages) = &mut self.pages else { return Ok(()) };
            let id = ActionId(OURS | pages.reads);
            pages.reads += 1;
            connection.exchange = Exchange::Personal(PersonalRead { id, names });
            let len = CAPABILITY_LEN_MAX as u64 + 64;
            let steps = vec![DiskStep::Read { path: StorePath::PersonalRoot, offset: 0, len }];
            self.actions.push_back(Action::Disk { id, steps });
            return Ok(());
        }
        let root = self.node.shared_root().ok_or_else(|| {
            Refusal::new(
                503,
                "The shared drive is not known yet. It is once a vdrive server has told where it is: see the \
                 first page for how these stand.",
            )
        })?;
        let base = self.page_of(&Capability::Directory(root.directory())).unwrap_or_default();
        self.send_to(conn, &address(&base, &names));
        Ok(())
    }

    /// The file with the personal drive's capability was read.
    pub(super) fn personal_read(&mut self, id: ActionId, result: DiskResult) {
        let waits = |exchange: &Exchange| matches!(exchange, Exchange::Personal(read) if read.id == id);
        let found = self.connections.iter_mut().find(|(_, connection)| waits(&connection.exchange));
        let Some((&conn, connection)) = found else { return };
        let Exchange::Personal(read) = std::mem::replace(&mut connection.exchange, Exchange::Idle) else {
            return;
        };
        let damaged = "private/personal-root.cap in the node's directory cannot be used: restore it from a \
                       copy.";
        let missing = "Your drive has not been made yet. It is made when you first use it on the command \
                       line, for example with: tallac mkdir photos";
        let cap = match result {
            Ok(outputs) => personal_cap(outputs).ok_or(Refusal::new(500, damaged)),
            Err(failure) if failure.error == DiskError::NotFound => Err(Refusal::new(404, missing)),
            Err(_) => Err(Refusal::new(500, damaged)),
        };
        match cap {
            Ok(cap) => {
                let base = self.page_of(&cap).unwrap_or_default();
                if let Some(pages) = &mut self.pages {
                    pages.personal = Some(cap);
                }
                self.send_to(conn, &address(&base, &read.names));
            }
            Err(refusal) => self.refuse(conn, &refusal),
        }
    }
}

fn personal_cap(outputs: Vec<DiskOutput>) -> Option<Capability> {
    let Some(DiskOutput::Data(data)) = outputs.into_iter().next() else { return None };
    let bytes = data.into_bytes()?;
    let cap: Capability = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
    cap.is_directory().then_some(cap)
}
