//! The pages about the node itself: how it stands, what it does, the servers of the grid, whom it introduces.

use super::entering::Counted;
use super::refusal::Refusal;
use super::request::Request;
use super::{Gateway, Now};
use crate::pages::activity::{Activities, Line, is_of_files};
use crate::pages::grid::{Grid, Introducer};
use crate::pages::render;
use crate::pages::welcome::{LISTED_MAX, Stored, Welcome};
use tallac_core::machine::ConnId;

/// Operations under way that are shown; nobody reads more.
const ACTIVE_MAX: usize = 200;

impl Gateway {
    /// `GET /`.
    pub(super) fn welcome_page(&mut self, conn: ConnId, now: Now) {
        let status = self.node.status(LISTED_MAX + 1, now);
        let stored = self.node.storage_settings().map(|settings| settings.reserved_space);
        let stored = stored.map(|reserved| Stored { counted: self.counted_now(now), reserved });
        let login = self.login.is_some();
        let Some(pages) = &self.pages else { return };
        let personal = pages.personal.is_some();
        let html = render(&Welcome::new(&status, pages.keys(), personal, stored, login, now));
        self.answer_page(conn, 200, html);
    }

    /// `GET /status`, of a person.
    pub(super) fn activity_page(&mut self, conn: ConnId, request: &Request, now: Now) {
        let all = request.args.get("show") == Some("all");
        let shown = |entry: &&_| all || is_of_files(entry);
        let line = |entry| Line::new(entry, now);
        let html = render(&Activities {
            frame: self.frame("Activity"),
            all,
            active: self.node.active_operations().filter(shown).take(ACTIVE_MAX).map(line).collect(),
            recent: self.node.recent_operations().filter(shown).map(line).collect(),
        });
        self.answer_page(conn, 200, html);
    }

    /// `GET /grid`.
    pub(super) fn grid_page(&mut self, conn: ConnId, now: Now) {
        let status = self.node.status(LISTED_MAX, now);
        let html = render(&Grid::new(self.frame("The grid"), &status, self.node.placed(), now));
        self.answer_page(conn, 200, html);
    }

    /// `GET /introducer`.
    pub(super) fn introducer_page(&mut self, conn: ConnId, now: Now) -> Result<(), Refusal> {
        let told = self.node.introducing(LISTED_MAX + 1);
        let told = told.ok_or_else(|| Refusal::new(404, "This node is no introducer."))?;
        let html = render(&Introducer::new(self.frame("Introducer"), &told, LISTED_MAX, now));
        self.answer_page(conn, 200, html);
        Ok(())
    }

    /// What the node stores for others; `None` until it has been counted.
    fn counted_now(&mut self, now: Now) -> Option<(u64, u64)> {
        self.count_stored(now);
        match self.counted {
            Counted::Not { before } | Counted::Counting { before, .. } => before,
            Counted::Done { shares, bytes, .. } => Some((shares, bytes)),
        }
    }
}
