//! Something is moved: to a folder that is chosen by walking through the folders of a drive.
//!
//! Which folder is meant stands in the address of the page and in its form, as the way from the top of the
//! drive; another drive by the handle of its top. The rows of its folders say no more than the next step:
//! there may be many.

use super::changing::Then;
use super::drive_pages::{PageRequest, folder_address};
use super::refusal::Refusal;
use super::request::{Args, Request, place};
use super::{Gateway, Now};
use crate::http::percent::{decode_path, encode_segment, encode_segment_within};
use crate::pages::choosing::{Choose, Offer, Step};
use crate::pages::{Crumb, render, shown};
use tallac_core::capability::Capability;
use tallac_core::directory::{ChildKind, Table};
use tallac_core::drive::{DriveError, Errand, Place, Sight};
use tallac_core::machine::ConnId;

/// Something that is to be moved, and the folder that is looked at for that.
pub(super) struct Choosing {
    page: PageRequest,
    to: Folder,
    /// Whether that folder is being read. Before, it is found out whether there is something to be moved.
    lists: bool,
}

/// A folder of a drive.
struct Folder {
    /// The handle of the top.
    handle: String,
    start: Capability,
    names: Vec<String>,
}

impl Folder {
    fn place(&self) -> Result<Place, Refusal> {
        place(self.start.clone(), self.names.iter().map(String::as_str))
    }

    /// Whether what a page is about is in it.
    fn has(&self, page: &PageRequest) -> bool {
        let above = page.names.split_last().map(|(_, above)| above);
        self.handle == page.handle() && above == Some(&self.names)
    }
}

impl Gateway {
    /// `GET /drive/HANDLE/PATH?t=move&in=HANDLE&at=WAY&into=STEP`: a folder in that on the way.
    pub(super) fn choose_folder(
        &mut self,
        conn: ConnId,
        page: PageRequest,
        args: &Args,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some((_, above)) = page.names.split_last() else {
            return Err(Refusal::bad("The top of a drive is in no folder that it could be moved out of."));
        };
        let to = match args.get("at") {
            Some(way) => {
                let mut to = self.folder(args.get("in").unwrap_or(page.handle()), way)?;
                to.names.extend(names(args.get("into").unwrap_or_default())?);
                to
            }
            None => {
                let (handle, start, names) = (page.handle().into(), page.start.clone(), above.to_vec());
                Folder { handle, start, names }
            }
        };
        if to.handle == page.handle() && to.names.starts_with(&page.names) {
            return Err(Refusal::new(409, INTO_ITSELF));
        }
        // In its own folder it is looked for among all that is there.
        let lists = to.has(&page);
        let place = if lists { to.place()? } else { page.place()? };
        let choosing = Box::new(Choosing { page, to, lists });
        self.errand(conn, Errand::Look { place, list: lists }, Then::Choose(choosing), now);
        Ok(())
    }

    /// What is to be moved is there, or what is in the folder is known.
    pub(super) fn show_choice(
        &mut self,
        conn: ConnId,
        mut choosing: Box<Choosing>,
        sight: &Sight,
        now: Now,
    ) -> Result<(), Refusal> {
        if !choosing.lists {
            choosing.lists = true;
            let errand = Errand::Look { place: choosing.to.place()?, list: true };
            self.errand(conn, errand, Then::Choose(choosing), now);
            return Ok(());
        }
        let Choosing { page, to, .. } = &*choosing;
        let (Some((moved, above)), Some(table)) = (page.names.split_last(), &sight.table) else {
            return Err(Refusal::bad("This is not a folder: nothing can be moved into it."));
        };
        let is_there = to.has(page);
        if is_there
            && let Some(name) = page.place()?.path.names().last()
            && table.get(name).is_none()
        {
            let (at, of, name) = (above.len(), page.names.len(), name.clone());
            return Err(Refusal::from(&DriveError::NoSuchChild { at, of, name }));
        }
        let other = to.handle != page.handle();
        let href = |names: &[String]| {
            let drive = if other { format!("&in={}", to.handle) } else { String::new() };
            // What stands in an address is decoded once before it is cut into names.
            format!("?t=move{drive}&at={}", encode_segment(&way(names)).replace("%2F", "/"))
        };
        let mut folders = folders(table);
        folders.sort_by_cached_key(|name| name.to_lowercase());
        let folders = folders.into_iter().map(|name| {
            let itself = is_there && name == *moved;
            Step { name: shown(&name), into: if itself { String::new() } else { step(&name) } }
        });
        let top = Crumb { name: self.title_of(&to.start), href: href(&[]) };
        let rest = (1..=to.names.len())
            .map(|len| Crumb { name: shown(&to.names[len - 1]), href: href(&to.names[..len]) });
        let html = render(&Choose {
            frame: self.frame_at(&page.start, &format!("Move {moved}")),
            crumbs: self.crumbs(page),
            here: page.here(),
            action: format!("{}?from_name={}", folder_address(&page.base, above), encode_segment(moved)),
            way: std::iter::once(top).chain(rest).collect(),
            folders: folders.collect(),
            drives: self.other_drives(conn, &to.handle),
            handle: to.handle.clone(),
            at: way(&to.names),
            other,
            is_there,
            writable: sight.child.capability().is_some_and(Capability::is_writable),
        });
        self.answer_page(conn, 200, html);
        Ok(())
    }

    /// Where a form of such a page moves something to.
    pub(super) fn moves_to(&self, request: &Request) -> Result<Option<Place>, Refusal> {
        match (request.args.get("to_drive"), request.args.get("to_way")) {
            (Some(handle), Some(way)) => Ok(Some(self.folder(handle, way)?.place()?)),
            _ => Ok(None),
        }
    }

    /// The node's own drives, for who may open them.
    fn other_drives(&self, conn: ConnId, handle: &str) -> Vec<Offer> {
        let Some(pages) = self.pages.as_ref().filter(|_| self.check_owner(conn).is_ok()) else {
            return Vec::new();
        };
        let shared = self.node.shared_root().map(|root| Capability::Directory(root.directory()));
        let drives = pages.personal.iter().cloned().chain(shared);
        let sealed = drives.map(|cap| (self.title_of(&cap), pages.keys().seal(&cap)));
        sealed
            .filter(|(_, drive)| drive != handle)
            .map(|(name, drive)| Offer { name, href: format!("?t=move&in={drive}&at=") })
            .collect()
    }

    fn folder(&self, handle: &str, way: &str) -> Result<Folder, Refusal> {
        let start = self.start_of(handle)?;
        Ok(Folder { handle: handle.to_owned(), start, names: names(way)? })
    }
}

/// What somebody reads who would move a folder into itself.
pub(super) const INTO_ITSELF: &str =
    "A folder cannot be moved into itself, or into a folder that is in it. Choose another one.";

/// Names as one text.
fn way(names: &[String]) -> String {
    names.iter().map(|name| step(name)).collect::<Vec<_>>().join("/")
}

/// A name in a way. Only what has to be is encoded there, since all of a way is once more, in an address: what
/// parts names, and what a browser would send otherwise than it stands in a form (ends of lines).
fn step(name: &str) -> String {
    encode_segment_within(name)
}

/// The names of a way.
fn names(way: &str) -> Result<Vec<String>, Refusal> {
    match way {
        "" => Ok(Vec::new()),
        way => decode_path(way).map_err(|_| Refusal::bad("The way to the folder makes no sense.")),
    }
}

/// The folders of a table that a way can lead through.
fn folders(table: &Table) -> Vec<String> {
    let reachable = |name: &str| !matches!(name, "" | "." | "..");
    table
        .iter()
        .filter(|(name, entry)| {
            let kind = entry.child.as_ref().ok().map(|child| child.kind());
            kind == Some(ChildKind::Directory) && reachable(name.as_str())
        })
        .map(|(name, _)| name.as_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_way_protects_no_more_than_it_must() {
        let long = "\u{7167}\u{7247}".repeat(100);
        for (name, protected) in [
            (&*long, &*long),
            ("100 %", "100 %25"),
            ("a/b", "a%2Fb"),
            ("a\nb", "a%0Ab"),
            ("?&#+'\"", "?&#+'\""),
        ] {
            assert_eq!(step(name), protected);
        }
        let address = encode_segment(&way(&[long.clone(), long.clone()]));
        assert!(address.len() <= 3 * (2 * long.len() + 1), "{}", address.len());
    }

    proptest! {
        #[test]
        fn a_way_leads_back_to_its_names(way_to in proptest::collection::vec("(?s).[%/a-z]{0,3}.{0,9}", 0..4)) {
            prop_assert_eq!(names(&way(&way_to)).ok(), Some(way_to));
        }
    }
}
