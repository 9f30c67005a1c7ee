//! What is known of a file or directory, on a page: the servers are asked for its shares first.

use super::changing::{Then, Waiting};
use super::drive_pages::PageRequest;
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::{Gateway, Now};
use crate::pages::details::facts;
use crate::pages::information::{Information, Shares, caps};
use crate::pages::render;
use tallac_core::capability::Capability;
use tallac_core::download::{Locations, Sought};
use tallac_core::drive::Sight;
use tallac_core::machine::ConnId;
use tallac_core::operation::{Command, OperationId};

/// Something whose shares are looked for.
pub(super) struct Informing {
    page: PageRequest,
    sight: Sight,
    /// Whether its capabilities are to be shown.
    shows_caps: bool,
}

impl Gateway {
    /// Something was found, and all that is known of it is wanted.
    pub(super) fn inform(
        &mut self,
        conn: ConnId,
        page: PageRequest,
        sight: Sight,
        shows_caps: bool,
        now: Now,
    ) {
        let informing = Informing { page, sight, shows_caps };
        let Some(file) = informing.sight.child.capability().and_then(sought) else {
            return self.show_information(conn, informing, None);
        };
        let id = self.new_operation(conn);
        let then = Then::Inform(Box::new(informing));
        self.set_exchange(conn, Exchange::Waiting(Box::new(Waiting { id, then, held: 0 })));
        self.command(Command::Locate { id, file }, now);
    }

    /// The servers have told.
    pub(super) fn located(&mut self, conn: ConnId, id: OperationId, locations: &Locations) {
        self.end_operation(id);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Exchange::Waiting(waiting) = std::mem::replace(&mut connection.exchange, Exchange::Idle) else {
            return;
        };
        match waiting.then {
            Then::Inform(informing) => self.show_information(conn, *informing, Some(locations)),
            _ => self.refuse(conn, &Refusal::new(500, "The node did something else than was asked.")),
        }
    }

    fn show_information(&mut self, conn: ConnId, informing: Informing, locations: Option<&Locations>) {
        let Informing { page, sight, shows_caps } = informing;
        let cap = sight.child.capability();
        let metadata = sight.link.as_ref().and_then(|link| link.entry.metadata.as_ref().ok());
        let information = Information {
            frame: self.frame_at(&page.start, &self.name_of(&page)),
            crumbs: self.crumbs(&page),
            here: page.here(),
            is_directory: cap.is_some_and(Capability::is_directory),
            facts: facts(cap, metadata, true),
            caps: if shows_caps { caps(&sight.child) } else { Vec::new() },
            shares: locations.zip(cap).map(|(locations, cap)| Shares::new(locations, cap)),
            link: page.linked(&sight),
        };
        self.answer_page(conn, 200, render(&information));
    }
}

/// What servers can be asked about. Nothing of a literal is anywhere.
fn sought(cap: &Capability) -> Option<Sought> {
    let file = match cap {
        Capability::Directory(cap) => cap.file(),
        cap => cap.clone(),
    };
    match file {
        Capability::Chk(cap) => Some(Sought::Immutable(cap)),
        Capability::Mutable(_) | Capability::MutableRead(_) => Some(Sought::Mutable(cap.storage_index()?)),
        _ => None,
    }
}
