//! Requests of people: which page they see, who may see it, and what becomes of a form.
//!
//! A page is found under a handle (`/drive/HANDLE/PATH`), never under a capability. What a form or a
//! script of a page sends becomes the request of the web API that does the same, and only its answer is
//! another: a page, not a capability. It must carry the token of this node's forms, which no page of
//! another site can read; that comes on top of what `routes` asks of every request.

use super::changing::Then;
use super::exchange::plain_head;
use super::reading::{Shown, Wanted};
use super::redirect::WhenDone;
use super::refusal::Refusal;
use super::request::{Request, parse_cap, place};
use super::{Gateway, text};
use crate::http::percent::{encode_segment, split_target};
use crate::http::{Method, RequestHead};
use crate::pages::details::{Details, Linked, Share, code, facts, link, preview};
use crate::pages::directory::{Directory, Order, columns, entries};
use crate::pages::{Message, Open, POLICY, PageKeys, render, shown};
use bytes::Bytes;
use tallac_core::capability::Capability;
use tallac_core::directory::{Child, DirectoryKind, Name};
use tallac_core::drive::{Errand, Place, Sight};
use tallac_core::machine::ConnId;
use tallac_core::time::Now;

/// The header in which a script shows the token of the forms.
const TOKEN_HEADER: &str = "X-Form-Token";
/// What the pages need to know.
pub(super) struct Pages {
    keys: PageKeys,
    /// The personal drive, once it is known.
    pub(super) personal: Option<Capability>,
}

impl Pages {
    pub(super) fn keys(&self) -> &PageKeys {
        &self.keys
    }
}

/// Who is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Face {
    /// A program, or the script of a page: errors are a line of text.
    Program,
    /// A person: errors are a page that leads back.
    Page { back: String },
}

/// A page that is wanted.
pub(super) struct PageRequest {
    head: RequestHead,
    pub(super) start: Capability,
    /// The address of the start.
    pub(super) base: String,
    pub(super) names: Vec<String>,
    view: View,
    order: Order,
    /// Whether the address ends with a slash, so that links into a directory are short.
    within: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum View {
    /// A directory's entries, or what is to be said of a file.
    Page,
    /// All that is known of it, its capabilities too if they are wanted.
    Information {
        caps: bool,
    },
    /// All that is in a tree.
    Manifest,
    Share {
        writable: bool,
    },
    /// The folders that it could be moved to.
    Move,
    /// The content: to be kept, or to be shown in a page.
    Save,
    Raw,
    Text,
}

impl Gateway {
    /// Offers pages for people. The keys are the same after a restart, so that bookmarks stay good.
    #[must_use]
    pub fn with_pages(mut self, keys: PageKeys) -> Gateway {
        self.pages = Some(Pages { keys, personal: None });
        self.look_around();
        self
    }

    /// Answers what is for people; gives back what is not.
    pub(super) fn route_page(
        &mut self,
        conn: ConnId,
        request: Request,
        now: Now,
    ) -> Result<Option<Request>, Refusal> {
        if self.pages.is_none() {
            return Ok(Some(request));
        }
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let reads = request.reads();
        match (segments.as_slice(), &request.head.method) {
            ([""], _) if reads && request.t().is_empty() && wants_html(&request.head) => {
                self.be_page(conn, "/");
                self.welcome_page(conn, now);
            }
            (["static", name], _) if reads => {
                let name = (*name).to_owned();
                self.asset(conn, &name)?;
            }
            (["status"] | ["status", ""], _)
                if reads && request.t().is_empty() && wants_html(&request.head) =>
            {
                self.be_page(conn, "/");
                self.activity_page(conn, &request, now);
            }
            (["grid"] | ["grid", ""], _) if reads => {
                self.be_page(conn, "/");
                self.grid_page(conn, now);
            }
            (["introducer"] | ["introducer", ""], _) if reads => {
                self.be_page(conn, "/");
                self.introducer_page(conn, now)?;
            }
            // Who asks for the head alone does not use the ticket up.
            (["login"], Method::Get) if request.args.get("ticket").is_some() => {
                self.be_page(conn, "/");
                let ticket = request.args.get("ticket").unwrap_or_default().to_owned();
                self.follow_ticket(conn, &ticket, now)?;
            }
            (["login", "ticket"], Method::Post) => self.make_ticket(conn, &request, now)?,
            (["logout"], Method::Post) => {
                self.be_page(conn, "/");
                self.gather_form(conn, Request { page: Some(WhenDone::Page("/".into())), ..request })?;
            }
            (["uri" | "cap", _, ..], Method::Get) if navigates(&request.head) => {
                let Some(to) = self.directory_page(&request) else { return Ok(Some(request)) };
                self.send_to(conn, &to);
            }
            (["open"], _) if reads => {
                self.be_page(conn, "/");
                let frame = self.frame("Open something shared");
                self.answer_page(conn, 200, render(&Open { frame }));
            }
            (["open"], Method::Post) => {
                self.be_page(conn, "/");
                self.gather_form(conn, Request { page: Some(WhenDone::Page("/".into())), ..request })?;
            }
            (["store"], Method::Post) => {
                self.be_page(conn, "/");
                let segments = vec!["uri".into()];
                let page = Some(WhenDone::PageOfResult);
                self.gather_form(conn, Request { segments, page, ..request })?;
            }
            (["drive", ..], _) => {
                self.be_page(conn, "/");
                self.drive(conn, request, now)?;
            }
            _ => return Ok(Some(request)),
        }
        Ok(None)
    }

    /// The page of what is in a directory, if a request names that by the directory's capability.
    fn directory_page(&self, request: &Request) -> Option<String> {
        let [start, cap, ..] = request.segments.as_slice() else { return None };
        if !matches!(start.as_str(), "uri" | "cap") {
            return None;
        }
        let cap = parse_cap(cap).ok().filter(|cap| cap.is_directory() && request.t().is_empty())?;
        Some(way_to(&self.page_of(&cap)?, request.names()))
    }

    /// From now on a person is answered.
    pub(super) fn be_page(&mut self, conn: ConnId, back: &str) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.face = Face::Page { back: back.to_owned() };
        }
    }

    fn drive(&mut self, conn: ConnId, request: Request, now: Now) -> Result<(), Refusal> {
        let handle = request.segments.get(1).map_or("", String::as_str);
        let names = request.names().to_vec();
        if matches!(handle, "personal" | "shared") {
            if handle == "personal" && names.is_empty() && request.head.method == Method::Post {
                return self.gather_form(conn, Request { page: Some(WhenDone::Page("/".into())), ..request });
            }
            if !request.reads() {
                return Err(Refusal::new(405, "A drive is changed at the address of its page."));
            }
            return self.enter(conn, handle == "personal", names);
        }
        let start = self.start_of(handle)?;
        let base = format!("/drive/{handle}");
        let here = address(&base, &names);
        let as_api = |request: Request, page: WhenDone| {
            let start = ["uri".to_owned(), start.to_string()];
            let segments = start.into_iter().chain(names.iter().cloned()).collect();
            Request { segments, page: Some(page), ..request }
        };
        match request.head.method {
            Method::Get | Method::Head => {
                let (view, order) = (View::of(&request)?, request.args.get("sort").unwrap_or_default());
                let head = request.head.clone();
                let within = request.segments.last().is_some_and(String::is_empty);
                let order = Order::parse(order);
                let page = PageRequest { head, start, base, names, view, order, within };
                if view == View::Move {
                    self.be_page(conn, &here);
                    return self.choose_folder(conn, page, &request.args, now);
                }
                self.look_at_page(conn, page, now)
            }
            Method::Post => {
                let here = folder_address(&base, &names);
                self.be_page(conn, &here);
                let request = as_api(request, WhenDone::Page(here));
                self.gather_form(conn, request)
            }
            Method::Put => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.face = Face::Program;
                }
                let shown = request.head.headers.get_str(TOKEN_HEADER).unwrap_or_default();
                self.check_token(shown)?;
                if !request.t().is_empty() || names.is_empty() {
                    return Err(Refusal::bad("A PUT to a page stores a file under a name."));
                }
                let request = as_api(request, WhenDone::Script);
                self.store(conn, &request, now)
            }
            _ => Err(Refusal::new(405, "A page is read, or sent a form.")),
        }
    }

    /// What a handle stands for.
    pub(super) fn start_of(&self, handle: &str) -> Result<Capability, Refusal> {
        const WHY: &str = "This address leads nowhere at this node. A page's address is good only at the node \
                           that gave it.";
        let opened = self.pages.as_ref().and_then(|pages| pages.keys.open(handle));
        opened.ok_or_else(|| Refusal::new(404, WHY))
    }

    fn look_at_page(&mut self, conn: ConnId, page: PageRequest, now: Now) -> Result<(), Refusal> {
        let start = page.start.clone();
        if page.names.is_empty() && !start.is_directory() {
            let child = Child::of(start, DirectoryKind::Mutable)
                .map_err(|_| Refusal::bad("With a verify capability one can check, but not look."))?;
            return self.show_page(
                conn,
                page,
                Sight { child, link: None, table: None, outdated: false },
                now,
            );
        }
        let place = page.place()?;
        let list = page.view == View::Page && page.within;
        self.errand(conn, Errand::Look { place, list }, Then::Page(Box::new(page)), now);
        Ok(())
    }

    /// What a page is about was found.
    pub(super) fn show_page(
        &mut self,
        conn: ConnId,
        page: PageRequest,
        sight: Sight,
        now: Now,
    ) -> Result<(), Refusal> {
        match page.view {
            View::Information { caps } => {
                self.inform(conn, page, sight, caps, now);
                return Ok(());
            }
            View::Manifest => return self.manifest_page(conn, &page, now),
            _ => {}
        }
        let linked = page.linked(&sight);
        let Sight { child, link: found, table, outdated } = sight;
        let here = page.here();
        let cap = child.capability();
        let last = page.names.last();
        let title = self.name_of(&page);
        let frame = self.frame_at(&page.start, &title);
        let crumbs = self.crumbs(&page);
        let writable = cap.is_some_and(Capability::is_writable);
        let html = match (page.view, cap) {
            // All links of its entries would have to repeat the address.
            (View::Page, Some(cap)) if cap.is_directory() && !page.within => {
                let query = split_target(&page.head.target).1.map(|query| format!("?{query}"));
                self.send_to(conn, &format!("{here}/{}", query.unwrap_or_default()));
                return Ok(());
            }
            (View::Page, Some(cap)) if cap.is_directory() && table.is_some() => {
                let entries = table.map(|table| entries(&table, page.order)).unwrap_or_default();
                let columns = columns(page.order);
                render(&Directory { frame, crumbs, here, writable, outdated, columns, entries })
            }
            (View::Save | View::Raw | View::Text, Some(cap)) if !cap.is_directory() => {
                let (save, shown) = match page.view {
                    View::Save => (true, Shown::Alone),
                    View::Text => (false, Shown::InPageAsText),
                    _ => (false, Shown::InPage),
                };
                let wanted = Wanted { head: page.head.clone(), name: last.cloned(), save, shown };
                return self.read(conn, cap, wanted, now);
            }
            (View::Save | View::Raw | View::Text, _) => {
                return Err(Refusal::bad("This is a folder: it has no content of its own."));
            }
            (View::Share { writable: wanted }, _) => {
                let strongest = child.write_cap().filter(|_| wanted);
                let writes = strongest.is_some();
                let cap = strongest.or_else(|| child.read_cap());
                let cap = cap
                    .ok_or_else(|| Refusal::new(501, "It is of a kind that is not known here."))?
                    .to_string();
                let (link, code, name) = (link(&cap), code(&cap), shown(&title));
                let frame = self.frame_at(&page.start, "Share");
                let writable = child.write_cap().is_some();
                render(&Share { frame, crumbs, here, name, cap, link, code, writes, writable })
            }
            // The rest was seen to above.
            (View::Page | View::Information { .. } | View::Manifest | View::Move, _) => {
                let metadata = found.as_ref().and_then(|link| link.entry.metadata.as_ref().ok());
                let is_file = cap.is_some_and(|cap| !cap.is_directory());
                let preview = cap.filter(|_| is_file).map_or("", |cap| preview(&title, cap));
                let facts = facts(cap, metadata, false);
                render(&Details { frame, crumbs, here, is_file, preview, facts, link: linked })
            }
        };
        self.answer_page(conn, 200, html);
        Ok(())
    }

    /// A form of a page: is it one of ours? What it leaves out is what loses nothing.
    pub(super) fn check_form(&mut self, request: &mut Request) -> Result<(), Refusal> {
        if request.page.is_none() {
            return Ok(());
        }
        self.check_token(request.args.get("token").unwrap_or_default())?;
        request.args.extend([("replace".into(), "false".into())]);
        request.to = self.moves_to(request)?;
        Ok(())
    }

    fn check_token(&self, shown: &str) -> Result<(), Refusal> {
        if self.pages.as_ref().is_some_and(|pages| pages.keys.is_token(shown)) {
            return Ok(());
        }
        Err(Refusal::new(
            403,
            "This form is not from a page of this node, or from an old one: load the page again.",
        ))
    }

    /// `POST /open`.
    pub(super) fn open_cap(&mut self, conn: ConnId, request: &Request) -> Result<(), Refusal> {
        let text = request.args.need("cap")?.trim();
        let cap = parse_cap(text)?;
        let to = self.page_of(&cap).unwrap_or_default();
        let within = if cap.is_directory() { "/" } else { "" };
        self.send_to(conn, &format!("{to}{within}"));
        Ok(())
    }

    /// The address of the page of something.
    pub(super) fn page_of(&self, cap: &Capability) -> Option<String> {
        self.pages.as_ref().map(|pages| format!("/drive/{}", pages.keys.seal(cap)))
    }

    /// Sends a browser to an address of this node.
    pub(super) fn send_to(&mut self, conn: ConnId, to: &str) {
        let mut head = plain_head(303, "text/plain; charset=utf-8");
        let _ = head.headers.push("Location", to);
        self.answer_with(conn, head, Bytes::new());
    }

    /// Answers a person with one thing to read.
    pub(super) fn answer_message(&mut self, conn: ConnId, status: u16, title: &str, said: &str, back: &str) {
        let message = Message { frame: self.frame(title), text: shown(said), back: back.to_owned() };
        self.answer_page(conn, status, render(&message));
    }

    pub(super) fn answer_page(&mut self, conn: ConnId, status: u16, html: String) {
        let head = page_head(status);
        self.answer_with(conn, head, text(html));
    }
}

impl PageRequest {
    /// Its address.
    pub(super) fn here(&self) -> String {
        address(&self.base, &self.names)
    }

    /// The handle of the start.
    pub(super) fn handle(&self) -> &str {
        self.base.rsplit('/').next().unwrap_or_default()
    }

    /// The place that it is about.
    pub(super) fn place(&self) -> Result<Place, Refusal> {
        place(self.start.clone(), self.names.iter().map(String::as_str))
    }

    /// How what is found there is linked, if that can be changed.
    pub(super) fn linked(&self, sight: &Sight) -> Option<Linked> {
        let link = sight.link.as_ref()?;
        if !Capability::Directory(link.directory.clone()).is_writable() {
            return None;
        }
        let (name, above) = self.names.split_last()?;
        let directory = folder_address(&self.base, above);
        let (encoded, can_move) = (encode_segment(name), Name::new(name).is_ok());
        Some(Linked { directory, name: name.clone(), encoded, can_move })
    }
}

impl View {
    fn of(request: &Request) -> Result<View, Refusal> {
        Ok(match request.t() {
            "" => View::Page,
            "info" => View::Information { caps: false },
            "capabilities" => View::Information { caps: true },
            "manifest" => View::Manifest,
            "share" => View::Share { writable: false },
            "share-writable" => View::Share { writable: true },
            "move" => View::Move,
            "save" => View::Save,
            "raw" => View::Raw,
            "text" => View::Text,
            _ => return Err(Refusal::new(404, "There is no such page.")),
        })
    }
}

/// The head of every page.
pub(super) fn page_head(status: u16) -> crate::http::ResponseHead {
    let mut head = crate::http::ResponseHead::new(status);
    // Forms tell their origin only if the browser may tell where it comes from, which is to nobody
    // but this node.
    head.headers = head
        .headers
        .with("Content-Type", "text/html; charset=utf-8")
        .with("Content-Security-Policy", POLICY)
        .with("X-Content-Type-Options", "nosniff")
        .with("X-Frame-Options", "DENY")
        .with("Referrer-Policy", "same-origin")
        .with("Cross-Origin-Opener-Policy", "same-origin")
        .with("Cross-Origin-Resource-Policy", "same-origin")
        .with("Cache-Control", "no-store");
    head
}

/// The address of a place.
pub(super) fn address(base: &str, names: &[String]) -> String {
    names.iter().fold(base.to_owned(), |address, name| format!("{address}/{}", encode_segment(name)))
}

/// The address of a folder: its links to what is in it can be short, since it ends with a slash.
pub(super) fn folder_address(base: &str, names: &[String]) -> String {
    address(base, names) + "/"
}

/// The address to be sent to on a way of which nobody knows yet whether it leads to a folder. Its start does.
pub(super) fn way_to(base: &str, names: &[String]) -> String {
    if names.is_empty() { folder_address(base, names) } else { address(base, names) }
}

pub(super) fn wants_html(head: &RequestHead) -> bool {
    head.headers.has_token("Accept", "text/html")
}

/// Whether a person goes there with a browser.
fn navigates(head: &RequestHead) -> bool {
    head.headers.get_str("Sec-Fetch-Mode") == Some("navigate") && wants_html(head)
}
