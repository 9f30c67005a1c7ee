//! Tickets: addresses that a browser is opened with (`tallac webopen`). A command line can be read by others
//! of the same machine, and an address stays in the browser's history: so this one holds no capability, lets
//! in once, and is good for two minutes.

use super::drive_pages::way_to;
use super::redirect::stays_here;
use super::refusal::Refusal;
use super::request::{Request, parse_cap};
use super::{Gateway, text};
use crate::http::percent::decode_segment;
use crate::http::{Method, RequestHead};
use crate::pages::PageKeys;
use std::collections::VecDeque;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tallac_core::capability::Capability;
use tallac_core::machine::ConnId;
use tallac_core::time::{Instant, Now};

/// How long a ticket is good.
const GOOD_FOR: Duration = Duration::from_secs(120);
/// Tickets that are good at once; a new one takes the place of the oldest.
const TICKETS_MAX: usize = 64;

/// The tickets that were made and not used yet, the oldest first.
#[derive(Default)]
pub(super) struct Tickets {
    good: VecDeque<Ticket>,
    made: u64,
}

struct Ticket {
    name: String,
    /// The page that it leads to.
    to: String,
    until: Instant,
}

impl Tickets {
    /// Makes one that leads to a page; gives its name.
    fn make(&mut self, keys: &PageKeys, to: &str, now: Now) -> String {
        self.good.retain(|ticket| now.instant < ticket.until);
        if self.good.len() >= TICKETS_MAX {
            self.good.pop_front();
        }
        // The times keep the tickets of two lives of the node apart.
        let name = keys.ticket(&format!("{} {} {}", now.unix.0, now.instant.0, self.made));
        self.made += 1;
        self.good.push_back(Ticket { name: name.clone(), to: to.to_owned(), until: now.instant + GOOD_FOR });
        name
    }

    /// The page that a ticket leads to, if it is good. It is not from then on.
    pub(super) fn take(&mut self, shown: &str, now: Instant) -> Option<String> {
        self.good.retain(|ticket| now < ticket.until);
        let is_it = |ticket: &Ticket| ticket.name.as_bytes().ct_eq(shown.as_bytes()).into();
        let place = self.good.iter().position(is_it)?;
        self.good.remove(place).map(|ticket| ticket.to)
    }
}

impl Gateway {
    /// `POST /login/ticket?to=PAGE`: makes a ticket, and tells its address. Only who is in already comes here.
    pub(super) fn make_ticket(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let to = request.args.get("to").unwrap_or("/");
        if !to.starts_with('/') || !stays_here(to, "") {
            return Err(Refusal::bad("The argument to= must be the address of a page of this node: /..."));
        }
        let to = self.way_without_capability(to)?;
        let Some(pages) = &self.pages else { return Err(Refusal::new(404, "This node has no pages.")) };
        let ticket = self.tickets.make(pages.keys(), &to, now);
        self.answer(conn, 201, "text/plain; charset=utf-8", text(format!("/login?ticket={ticket}\n")));
        Ok(())
    }

    /// The address of the page for what an address leads to. The browser is not led over one with a capability:
    /// it remembers all of its way.
    fn way_without_capability(&self, to: &str) -> Result<String, Refusal> {
        let wanted = Request::read(RequestHead::new(Method::Get, to))?;
        let segments: Vec<&str> = wanted.segments.iter().map(String::as_str).collect();
        let cap = match segments.as_slice() {
            ["uri" | "cap"] | ["uri" | "cap", ""] => parse_cap(wanted.args.need("uri")?)?,
            ["uri" | "cap" | "file" | "named", _, ..] => wanted.cap()?,
            _ if holds_capability(to, &wanted) => {
                const WHY: &str = "The address in to= has a capability in it, which the browser would keep. Name \
                                   what it stands for as /uri/ and the capability.";
                return Err(Refusal::bad(WHY));
            }
            _ => return Ok(to.to_owned()),
        };
        let base = self.page_of(&cap).unwrap_or_default();
        Ok(if cap.is_directory() { way_to(&base, wanted.names()) } else { base })
    }

    /// `GET /login?ticket=` where nobody has to log in: leads to the page, and no more.
    pub(super) fn follow_ticket(&mut self, conn: ConnId, shown: &str, now: Now) -> Result<(), Refusal> {
        let to = self.tickets.take(shown, now.instant).ok_or_else(|| Refusal::new(403, USED))?;
        self.send_to(conn, &to);
        Ok(())
    }
}

/// Whether a part of an address is a capability: of its path (browsers leave out what stands before dots), an
/// argument, or what no server is sent.
fn holds_capability(to: &str, wanted: &Request) -> bool {
    let kept = to.split_once('#').and_then(|(_, kept)| decode_segment(kept).ok());
    let path = wanted.segments.iter().map(String::as_str);
    let mut parts = path.chain(wanted.args.texts()).chain(kept.as_deref());
    parts.any(|part| part.trim().parse::<Capability>().is_ok())
}

/// What is said of a ticket that is not good.
pub(super) const USED: &str = "This way in was good once, and for two minutes only.";

#[cfg(test)]
mod tests {
    use super::*;
    use tallac_core::time::UnixTime;

    fn at(seconds: u64) -> Now {
        Now { instant: Instant::ZERO + Duration::from_secs(seconds), unix: UnixTime(seconds) }
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_short_while() {
        let keys = PageKeys::new(&[1; 32]);
        let mut tickets = Tickets::default();
        let [one, other] = ["/uri/URI%3ADIR2%3Aabc", "/grid"].map(|to| tickets.make(&keys, to, at(10)));
        assert!(one != other && !one.contains("DIR2") && one.len() > 25, "{one}");
        assert_eq!(tickets.take("", at(20).instant), None);
        assert_eq!(tickets.take(&one, at(129).instant).as_deref(), Some("/uri/URI%3ADIR2%3Aabc"));
        assert_eq!(tickets.take(&one, at(129).instant), None, "once");
        assert_eq!(tickets.take(&other, at(130).instant), None, "for two minutes");
        assert!(tickets.good.is_empty(), "what is over is not kept");
    }

    #[test]
    fn there_are_not_too_many() {
        let (keys, mut tickets) = (PageKeys::new(&[1; 32]), Tickets::default());
        let made: Vec<String> = (0..2 * TICKETS_MAX).map(|_| tickets.make(&keys, "/", at(1))).collect();
        let good = made.iter().filter(|name| tickets.take(name, at(2).instant).is_some());
        assert_eq!(good.count(), TICKETS_MAX);
        assert_ne!(Tickets::default().make(&keys, "/", at(3)), made[0], "after a restart there are others");
    }
}
