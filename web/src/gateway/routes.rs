//! From a request to what is done about it.

use super::drive_pages::Face;
use super::node_json::CHILDREN_LEN_MAX;
use super::refusal::Refusal;
use super::request::Request;
use super::{Gateway, status, text};
use crate::http::{Method, RequestHead};
use bytes::Bytes;
use std::net::Ipv4Addr;
use tallac_core::capability::CAPABILITY_LEN_MAX;
use tallac_core::machine::ConnId;
use tallac_core::time::Now;

impl Gateway {
    pub(super) fn route(&mut self, conn: ConnId, head: RequestHead, now: Now) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.face = Face::Program;
        }
        if !self.is_known_by(head.headers.get_str("Host").unwrap_or_default()) {
            let why = "The node is not known by the name in this address. Use its number, or add the name to \
                       names under [web] in its settings.";
            return self.answer_text(conn, 421, why);
        }
        if let Err(why) = same_origin(&head, &self.names) {
            return self.answer_text(conn, 403, why);
        }
        let routed = Request::read(head).and_then(|request| match self.admit(conn, request, now)? {
            Some(request) => self.route_request(conn, request, now),
            None => Ok(()),
        });
        routed.unwrap_or_else(|refusal| self.refuse(conn, &refusal));
    }

    fn route_request(&mut self, conn: ConnId, request: Request, now: Now) -> Result<(), Refusal> {
        let Some(request) = self.route_page(conn, request, now)? else { return Ok(()) };
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let reads = request.reads();
        match (segments.as_slice(), &request.head.method) {
            ([""], _) if reads => {
                self.welcome(conn, &request, now);
                Ok(())
            }
            (["operations", handle], _) if reads => {
                let handle = (*handle).to_owned();
                if self.watched.contains_key(&handle) {
                    self.watch(conn, &handle);
                    return Ok(());
                }
                self.show_handle(conn, &handle, &request, now)
            }
            (["operations", handle], Method::Post) => {
                let handle = (*handle).to_owned();
                self.cancel_handle(conn, &handle, &request, now)
            }
            (["health"], _) if reads => {
                self.health(conn);
                Ok(())
            }
            (["ready"], _) if reads => {
                self.ready(conn, now);
                Ok(())
            }
            (["statistics"] | ["statistics", ""], _) if reads => self.statistics(conn, &request, now),
            (["metrics"], _) if reads => {
                self.metrics(conn, now);
                Ok(())
            }
            (["storage"] | ["storage", ""], _) if reads => self.storage(conn, now),
            (["status"] | ["status", ""], _) if reads => {
                self.activities(conn, now);
                Ok(())
            }
            (["private", "make-root"], Method::Post) => {
                self.ask_for_root(conn, &request.head, now);
                Ok(())
            }
            (["private", "make-root"], _) => Err(Refusal::new(405, "To make the shared root: POST.")),
            (["uri" | "cap"] | ["uri" | "cap", ""], _) if reads => self.send_to_cap(conn, &request),
            (["uri" | "cap", ..], Method::Get | Method::Head) => self.look(conn, request, now),
            (["uri" | "cap", ..], Method::Put) => self.put(conn, request, now),
            (["uri" | "cap", ..], Method::Post) => self.post(conn, request),
            (["uri" | "cap", _, ..], Method::Delete) => self.delete(conn, &request, now),
            (["file" | "named", _, ..], _) if reads => self.look_at_file(conn, &request, now),
            (["uri" | "cap" | "file" | "named", ..] | [""] | ["operations", _], method) => {
                let method = method.as_str();
                Err(Refusal::new(405, format!("{method} is not possible here. To store a file: PUT /uri.")))
            }
            _ => Err(Refusal::new(404, "There is nothing at this address.")),
        }
    }

    fn welcome(&mut self, conn: ConnId, request: &Request, now: Now) {
        let node = self.node.status(10_000, now);
        if request.t() == "json" {
            let json = status::json(&node, now);
            self.answer(conn, 200, "application/json", text(json));
        } else {
            self.answer(conn, 200, "text/plain; charset=utf-8", text(status::plain(&node)));
        }
    }

    fn put(&mut self, conn: ConnId, request: Request, now: Now) -> Result<(), Refusal> {
        match request.t() {
            "" => self.store(conn, &request, now),
            "mkdir" => self.mkdir(conn, &request, &Bytes::new(), now),
            // A capability, and the line end that some programs send with it.
            "uri" if !request.is_nowhere() => self.gather(conn, request, CAPABILITY_LEN_MAX as u64 + 2),
            _ => {
                Err(Refusal::bad("The argument t= is mkdir or uri in a PUT, or is left out to store a file."))
            }
        }
    }

    /// What is wanted may be in the body, so that is read first.
    fn post(&mut self, conn: ConnId, request: Request) -> Result<(), Refusal> {
        // Some programs call JSON a form.
        if request.takes_children() {
            self.check_room()?;
            return self.gather(conn, request, CHILDREN_LEN_MAX);
        }
        self.gather_form(conn, request)
    }

    /// Whether a request may name the node so: against pages of sites whose name is led here.
    fn is_known_by(&self, host: &str) -> bool {
        is_ours(host, &self.names)
    }

    fn watch(&mut self, conn: ConnId, handle: &str) {
        let view = self.watched.get(handle).and_then(|id| self.views.get(id));
        match view {
            Some(view) => {
                let json = status::upload_json(view);
                self.answer(conn, 200, "application/json", text(json));
            }
            None => self.answer_text(conn, 404, "No upload under way is watched by this name."),
        }
    }
}

/// Refuses what a page of another site makes a browser send. Such a page may lead here, where everybody
/// sees it, but with nothing that changes anything.
fn same_origin(head: &RequestHead, names: &[String]) -> Result<(), &'static str> {
    const WHY: &str = "This request was made by a page of another site.";
    let headers = &head.headers;
    let leads_here = matches!(head.method, Method::Get | Method::Head)
        && headers.get_str("Sec-Fetch-Mode") == Some("navigate")
        && headers.get_str("Sec-Fetch-Dest").is_none_or(|within| within == "document");
    if let Some(site) = headers.get_str("Sec-Fetch-Site")
        && !["same-origin", "none"].contains(&site)
        && !leads_here
    {
        return Err(WHY);
    }
    let Some(origin) = headers.get_str("Origin") else { return Ok(()) };
    let host = headers.get_str("Host").unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    if same && is_ours(host, names) { Ok(()) } else { Err(WHY) }
}

/// Whether a name leads here because this node's owner, or nobody, has made it do so.
fn is_ours(host: &str, names: &[String]) -> bool {
    let name = bare_name(host);
    !is_anybodys(host) || names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A host without its port, or a dot at the end.
fn bare_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.')
}

/// Whether anybody could have made this name lead here: a page of a site whose name is given another
/// address while it is shown has the same origin as this node. Addresses, the names of this machine, and
/// names that only a local network knows cannot be used for that.
fn is_anybodys(host: &str) -> bool {
    const LOCAL: [&str; 4] = ["localhost", "local", "lan", "internal"];
    let name = bare_name(host);
    if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
        return false;
    }
    let name = name.to_ascii_lowercase();
    // Of what ends in arpa, only home.arpa is a local network's (RFC 8375): whoever has addresses has the
    // names below in-addr.arpa and ip6.arpa that belong to them, and can lead these here.
    let at_home = name == "home.arpa" || name.ends_with(".home.arpa");
    !at_home && name.rsplit_once('.').is_some_and(|(_, last)| !LOCAL.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    #[test]
    fn a_site_that_leads_here_is_another_site() {
        let origin = |host: &str| {
            let mut headers = Headers::new();
            headers.push("Host", host).expect("a host");
            headers.push("Origin", format!("http://{host}")).expect("an origin");
            same_origin(&post(headers), &[]).is_ok()
        };
        for own in ["127.0.0.1:3456", "[::1]:3456", "localhost:3456", "localhost", "nas", "nas.local:3456"] {
            assert!(origin(own), "{own}");
        }
        for own in ["nas.home.arpa:3456", "nas.lan", "NAS.internal."] {
            assert!(origin(own), "{own}");
        }
        for foreign in [
            "evil.example:3456",
            "evil.example",
            "evil.example.:3456",
            "127.0.0.1.evil.example:1",
            "1.2.0.192.in-addr.arpa:3456",
            "evil.8.b.d.0.1.0.0.2.ip6.arpa",
            "evilhome.arpa",
        ] {
            assert!(!origin(foreign), "{foreign}");
        }
        // A program, or somebody who types the name, sends no origin.
        assert!(same_origin(&post(Headers::new().with("Host", "grid.example:3456")), &[]).is_ok());
    }

    fn post(headers: Headers) -> RequestHead {
        let mut head = RequestHead::new(Method::Post, "/uri?t=mkdir");
        head.headers = headers;
        head
    }

    #[test]
    fn other_sites_may_lead_here_and_no_more() {
        let made_for = |method: Method, site: &str, mode: &str, dest: &str| {
            let mut head = RequestHead::new(method, "/");
            let headers = Headers::new().with("Host", "127.0.0.1:3456");
            head.headers = headers;
            head.headers.push("Sec-Fetch-Site", site).expect("a value");
            head.headers.push("Sec-Fetch-Mode", mode).expect("a value");
            if !dest.is_empty() {
                head.headers.push("Sec-Fetch-Dest", dest).expect("a value");
            }
            same_origin(&head, &[]).is_ok()
        };
        let made = |method, site: &str, mode: &str| made_for(method, site, mode, "");
        for site in ["cross-site", "same-site"] {
            assert!(made(Method::Get, site, "navigate"), "a link");
            assert!(made_for(Method::Get, site, "navigate", "document"), "a link");
            for within in ["iframe", "frame", "object", "embed"] {
                assert!(!made_for(Method::Get, site, "navigate", within), "nobody sees where that leads");
            }
            assert!(!made(Method::Get, site, "no-cors"), "a picture");
            // A form whose browser hides where it comes from sends no origin.
            assert!(!made(Method::Post, site, "navigate"), "a form");
            assert!(!made(Method::Put, site, "cors"), "a script");
        }
        for site in ["same-origin", "none"] {
            assert!(made(Method::Post, site, "navigate") && made(Method::Put, site, "cors"));
        }
    }

    #[test]
    fn names_of_the_settings_are_the_nodes_own() {
        let names = ["Grid.example".to_owned()];
        for (host, ours) in [
            ("grid.example:3456", true),
            ("GRID.example.", true),
            ("127.0.0.1:3456", true),
            ("[::1]:3456", true),
            ("localhost", true),
            ("", true),
            ("evil.example:3456", false),
            ("grid.example.evil.example", false),
        ] {
            assert_eq!(is_ours(host, &names), ours, "{host}");
        }
    }
}
