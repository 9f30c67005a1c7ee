//! What pages and the places in them are called: the heading, the way to it, and which drive it is in.

use super::Gateway;
use super::drive_pages::{PageRequest, folder_address, way_to};
use crate::pages::{Crumb, Frame, shown};
use tallac_core::capability::Capability;

impl Gateway {
    pub(super) fn frame(&self, title: &str) -> Frame {
        let keys = self.pages.as_ref().expect("only pages have a frame").keys();
        Frame::new(title, self.node.nickname(), keys)
    }

    /// The frame of a page about something on a way from this start.
    pub(super) fn frame_at(&self, start: &Capability, title: &str) -> Frame {
        let mut frame = self.frame(title);
        frame.place = self.drive_of(start);
        frame
    }

    /// Which of the node's own drives starts here: `personal`, `shared`, or none.
    fn drive_of(&self, start: &Capability) -> &'static str {
        let shared = self.node.shared_root().map(|root| Capability::Directory(root.directory()));
        let personal = self.pages.as_ref().and_then(|pages| pages.personal.as_ref());
        match start {
            start if Some(start) == personal => "personal",
            start if Some(start) == shared.as_ref() => "shared",
            _ => "",
        }
    }

    /// What is at a page's address is called.
    pub(super) fn name_of(&self, page: &PageRequest) -> String {
        page.names.last().cloned().unwrap_or_else(|| self.title_of(&page.start))
    }

    /// What the start of a way is called.
    pub(super) fn title_of(&self, start: &Capability) -> String {
        let title = match self.drive_of(start) {
            "personal" => "My drive",
            "shared" => "Shared drive",
            _ if start.is_directory() => "Folder",
            _ => "File",
        };
        title.into()
    }

    pub(super) fn crumbs(&self, page: &PageRequest) -> Vec<Crumb> {
        let start = Crumb { name: self.title_of(&page.start), href: way_to(&page.base, &[]) };
        let rest = (1..=page.names.len()).map(|len| {
            let names = &page.names[..len];
            // All but the last are folders.
            let last = len == page.names.len();
            let href = if last { page.here() } else { folder_address(&page.base, names) };
            Crumb { name: shown(&names[len - 1]), href }
        });
        std::iter::once(start).chain(rest).collect()
    }
}
