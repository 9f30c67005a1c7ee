//! Who may use the node, where it listens for more than its own machine: whoever shows the login token.
//!
//! A program sends it with every request (`Authorization: Bearer TOKEN`). A browser is asked for it once,
//! and sends a cookie from then on, which is made from the token and tells nothing of it. No page of
//! another site can make a browser send that (`SameSite=Strict`), and no script can read it.
//!
//! Whoever guesses is slowed down: of one address, only so many wrong tokens are looked at in a minute.

use super::drive_pages::wants_html;
use super::exchange::plain_head;
use super::redirect::stays_here;
use super::refusal::Refusal;
use super::request::Request;
use super::tickets::USED;
use super::{Gateway, text};
use crate::http::{Headers, Method};
use crate::pages::login::Login as Page;
use crate::pages::{Frame, assets, render};
use data_encoding::BASE64URL_NOPAD;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tallac_core::hash::tagged_hash;
use tallac_core::machine::ConnId;
use tallac_core::secret::SecretBytes;
use tallac_core::time::{Instant, Now};

/// Wrong tokens of one address that are looked at within [`WINDOW`].
const ATTEMPTS_MAX: u32 = 10;
/// How long wrong tokens are remembered.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered at once; further ones wait until one of these is forgotten.
const ADDRESSES_MAX: usize = 1_024;
/// How long a browser keeps the cookie, in seconds.
const COOKIE_AGE: u32 = 30 * 24 * 60 * 60;
/// Least characters of a token: what people think up is guessed.
const TOKEN_LEN_MIN: usize = 16;
const BEARER: &[u8] = b"Bearer";

/// What shows that somebody may use the node. Never printed.
pub struct LoginToken {
    token: SecretBytes,
    cookie_name: String,
    cookie: String,
    /// Whether the cookie is for https alone.
    secure: bool,
    attempts: BTreeMap<IpAddr, Attempts>,
}

/// Wrong tokens of one address.
#[derive(Clone, Copy)]
struct Attempts {
    since: Instant,
    count: u32,
}

impl LoginToken {
    /// Takes a token of at least 16 printable characters. `secure`: the web port speaks https.
    pub fn new(text: &str, secure: bool) -> Option<LoginToken> {
        let good = text.len() >= TOKEN_LEN_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
        let derive = |tag: &[u8], len| BASE64URL_NOPAD.encode(&tagged_hash(tag, text.as_bytes()).0[..len]);
        good.then(|| LoginToken {
            // Browsers do not tell ports apart: two nodes of one machine need two names.
            cookie_name: format!("tallac-{}", derive(b"tallac:login:name", 6)),
            cookie: derive(b"tallac:login:cookie", 30),
            token: SecretBytes::new(text.into()),
            secure,
            attempts: BTreeMap::new(),
        })
    }

    fn is(&self, shown: &[u8]) -> bool {
        shown.ct_eq(self.token.expose()).into()
    }

    /// Whether a request shows that it may: with the cookie, or the token itself.
    fn is_shown_by(&self, headers: &Headers) -> bool {
        let cookies = headers.get_all("Cookie").flat_map(|line| line.split(|byte| *byte == b';'));
        let mut cookies = cookies.filter_map(|cookie| {
            let cookie = cookie.trim_ascii();
            cookie.strip_prefix(self.cookie_name.as_bytes())?.strip_prefix(b"=")
        });
        cookies.any(|cookie| bool::from(cookie.ct_eq(self.cookie.as_bytes())))
            || bearer(headers).is_some_and(|token| self.is(token))
    }

    /// Notes a wrong token. A network of IPv6 counts as one address: whoever has one address has many.
    fn wrong(&mut self, from: IpAddr, now: Instant) {
        self.attempts.retain(|_, attempts| now < attempts.since + WINDOW);
        let attempts = self.attempts.entry(network(from)).or_insert(Attempts { since: now, count: 0 });
        attempts.count += 1;
    }

    /// Whether a token of this address is looked at.
    fn listens_to(&self, from: IpAddr, now: Instant) -> bool {
        let remembered = |attempts: &&Attempts| now < attempts.since + WINDOW;
        match self.attempts.get(&network(from)).filter(remembered) {
            Some(attempts) => attempts.count < ATTEMPTS_MAX,
            // However many strangers guess, who is at this machine is heard.
            None => {
                from.to_canonical().is_loopback()
                    || self.attempts.values().filter(remembered).count() < ADDRESSES_MAX
            }
        }
    }

    fn set_cookie(&self, age: u32) -> String {
        let value = if age > 0 { &*self.cookie } else { "" };
        let secure = if self.secure { "; Secure" } else { "" };
        let name = &self.cookie_name;
        format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
    }
}

impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginToken")
    }
}

impl Gateway {
    /// From now on only who shows this token can use the web port.
    #[must_use]
    pub fn with_login(mut self, login: LoginToken) -> Gateway {
        self.login = Some(login);
        self
    }

    /// Answers a stranger; gives back the request of who may use the node.
    pub(super) fn admit(
        &mut self,
        conn: ConnId,
        request: Request,
        now: Now,
    ) -> Result<Option<Request>, Refusal> {
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let Some(login) = &mut self.login else { return Ok(Some(request)) };
        let from = self.connections.get(&conn).map_or(IpAddr::from([0; 4]), |connection| connection.from);
        let headers = &request.head.headers;
        match (segments.as_slice(), &request.head.method) {
            // Nothing of the node is in these.
            (["health"] | ["static", _], _) => return Ok(Some(request)),
            (["login"], Method::Post) if self.pages.is_some() => {
                self.be_page(conn, "/");
                self.gather_form(conn, request)?;
                return Ok(None);
            }
            (["login"], method) if request.reads() && self.pages.is_some() => {
                // Wrong ones are not counted: nobody guesses a ticket, and any site could lead the owner's
                // browser here with them. Who asks for the head alone does not use one up.
                let ticket = request.args.get("ticket").filter(|_| *method == Method::Get);
                match ticket.map(|ticket| self.tickets.take(ticket, now.instant)) {
                    None => self.ask_for_login(conn, 200, "", "/"),
                    Some(Some(to)) => self.let_in(conn, &to),
                    Some(None) => self.ask_for_login(conn, 403, USED, "/"),
                }
                return Ok(None);
            }
            _ => {}
        }
        // The owner's own token is more.
        let owner = headers.get("Authorization");
        let owner = self.token.as_ref().zip(owner).is_some_and(|(token, shown)| token.is_shown_by(shown));
        let tries = bearer(headers).is_some();
        if tries && !login.listens_to(from, now.instant) {
            return Err(slow_down());
        }
        if owner || login.is_shown_by(headers) {
            return Ok(Some(request));
        }
        if tries {
            login.wrong(from, now.instant);
        }
        if request.reads() && wants_html(&request.head) && self.pages.is_some() {
            let to = request.head.target.clone();
            self.ask_for_login(conn, 401, "", &to);
            return Ok(None);
        }
        let mut head = plain_head(401, "text/plain; charset=utf-8");
        head.headers = head.headers.with("WWW-Authenticate", "Bearer");
        let why = "This node asks who uses it: send the header Authorization: Bearer TOKEN with what is in \
                   private/web-login of the node's directory.\n";
        self.answer_with(conn, head, text(why));
        Ok(None)
    }

    fn ask_for_login(&mut self, conn: ConnId, status: u16, problem: &str, to: &str) {
        let Some(pages) = &self.pages else { return };
        let to = if to.starts_with('/') && stays_here(to, "") { to } else { "/" };
        let frame = Frame::of_stranger("Log in", pages.keys());
        let page = Page { frame, problem: problem.to_owned(), to: to.to_owned() };
        self.answer_page(conn, status, render(&page));
    }

    /// `POST /login`: the form has come in.
    pub(super) fn log_in(&mut self, conn: ConnId, request: &Request, now: Now) -> Result<(), Refusal> {
        let from = self.connections.get(&conn).map_or(IpAddr::from([0; 4]), |connection| connection.from);
        let to = request.args.get("to").unwrap_or("/").to_owned();
        let Some(login) = &mut self.login else {
            self.send_to(conn, "/");
            return Ok(());
        };
        if !login.listens_to(from, now.instant) {
            return Err(slow_down());
        }
        if !login.is(request.args.get("login").unwrap_or_default().trim().as_bytes()) {
            login.wrong(from, now.instant);
            self.ask_for_login(conn, 403, "That is not the token of this node.", &to);
            return Ok(());
        }
        self.let_in(conn, &to);
        Ok(())
    }

    fn let_in(&mut self, conn: ConnId, to: &str) {
        let cookie = self.login.as_ref().map(|login| login.set_cookie(COOKIE_AGE)).unwrap_or_default();
        let to = if to.starts_with('/') && stays_here(to, "") { to } else { "/" };
        self.send_with_cookie(conn, to, &cookie);
    }

    /// `POST /logout`: the browser forgets the cookie. Others stay logged in until there is another token.
    pub(super) fn log_out(&mut self, conn: ConnId) {
        let cookie = self.login.as_ref().map(|login| login.set_cookie(0)).unwrap_or_default();
        self.send_with_cookie(conn, "/login", &cookie);
    }

    fn send_with_cookie(&mut self, conn: ConnId, to: &str, cookie: &str) {
        let mut head = plain_head(303, "text/plain; charset=utf-8");
        let _ = head.headers.push("Location", to);
        if !cookie.is_empty() {
            let _ = head.headers.push("Set-Cookie", cookie);
        }
        self.answer_with(conn, head, text(""));
    }

    /// Where the style of pages is, for who is asked to log in, too.
    pub(super) fn asset(&mut self, conn: ConnId, name: &str) -> Result<(), Refusal> {
        let asset = assets::find(name)
            .ok_or_else(|| Refusal::new(404, "There is no such file; load the page again."))?;
        let mut head = plain_head(200, asset.content_type);
        head.headers = head.headers.with("Cross-Origin-Resource-Policy", "same-origin");
        self.answer_with(conn, head, bytes::Bytes::from_static(asset.content));
        Ok(())
    }
}

fn slow_down() -> Refusal {
    Refusal::new(429, "Too many wrong tokens came from this address: wait a minute.")
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: &Headers) -> Option<&[u8]> {
    let (scheme, token) = headers.get("Authorization")?.split_at_checked(BEARER.len())?;
    (scheme.eq_ignore_ascii_case(BEARER) && token.first() == Some(&b' ')).then(|| token.trim_ascii())
}

fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::from(segments)
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn only_the_token_and_its_cookie_are_good() {
        let login = LoginToken::new(TOKEN, true).unwrap();
        let shown = |name: &'static str, value: &str| {
            let mut headers = Headers::new();
            headers.push(name, value).expect("a header");
            login.is_shown_by(&headers)
        };
        let cookie = login.set_cookie(9);
        assert!(cookie.ends_with("; Path=/; Max-Age=9; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
        let (pair, _) = cookie.split_once(';').expect("a cookie");
        assert!(!cookie.contains(TOKEN) && !format!("{login:?}").contains("0123"));
        for good in [pair.to_owned(), format!("a=b; {pair}"), format!("{pair}; a=b")] {
            assert!(shown("Cookie", &good), "{good}");
        }
        assert!(shown("Authorization", &format!("Bearer {TOKEN}")));
        let (name, value) = pair.split_once('=').expect("a pair");
        for bad in
            [format!("{name}="), format!("{name}={TOKEN}"), format!("{name}={value}x"), format!("x{pair}")]
        {
            assert!(!shown("Cookie", &bad), "{bad}");
        }
        for bad in ["Bearer", &format!("Bearer{TOKEN}"), &format!("Basic {TOKEN}"), TOKEN] {
            assert!(!shown("Authorization", bad), "{bad}");
        }
        let other = LoginToken::new("another-token-of-the-same-length", true).unwrap();
        assert_ne!(other.cookie_name, login.cookie_name, "two nodes of one machine");
        assert!(LoginToken::new("too short", false).is_none());
    }

    #[test]
    fn whoever_guesses_is_slowed_down() {
        let mut login = LoginToken::new(TOKEN, false).unwrap();
        let [one, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        for _ in 0..ATTEMPTS_MAX {
            assert!(login.listens_to(one, at(5)));
            login.wrong(one, at(5));
        }
        assert!(!login.listens_to(one, at(64)) && login.listens_to(other, at(6)));
        assert!(login.listens_to(one, at(65)), "after a minute");
        // Addresses of one network count together, and all of them are bounded.
        for low in 0..2 * ADDRESSES_MAX as u128 {
            let address = |high: u128| IpAddr::from(((high << 64) + low).to_be_bytes());
            if login.listens_to(address(7), at(70)) {
                login.wrong(address(7), at(70));
            }
            if login.listens_to(address(1_000 + low), at(70)) {
                login.wrong(address(1_000 + low), at(70));
            }
        }
        assert_eq!(login.attempts.len(), ADDRESSES_MAX);
        assert_eq!(login.attempts[&IpAddr::from((7_u128 << 64).to_be_bytes())].count, ATTEMPTS_MAX);
        assert!(!login.listens_to(one, at(71)), "too many guess, so a new address waits");
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(login.listens_to(own.parse().unwrap(), at(71)), "but the owner's commands do not: {own}");
        }
    }
}
