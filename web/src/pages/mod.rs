//! The pages for people: what they show, as values, and the templates that make HTML of them.
//!
//! Every page works without scripts; `static/pages.js` adds comfort. Nothing is fetched from anywhere
//! else, and the `POLICY` lets nothing be. The templates escape all that is put into them. Who may see
//! what, and what becomes of a form, is decided in `gateway::drive_pages`.

pub(crate) mod activity;
pub(crate) mod assets;
pub(crate) mod choosing;
pub(crate) mod details;
pub(crate) mod directory;
pub(crate) mod figures;
pub(crate) mod grid;
mod handle;
pub(crate) mod information;
pub(crate) mod login;
pub(crate) mod manifest;
mod map;
pub(crate) mod personal;
pub(crate) mod welcome;

pub use handle::PageKeys;

use askama::Template;

/// What a page may do: use what comes from this node, and be framed by nobody.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; media-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";

/// What all pages have.
pub(crate) struct Frame {
    /// The heading, which is the title, too. It never holds a capability.
    pub(crate) title: String,
    /// The node's name for people.
    pub(crate) node: String,
    /// What its forms carry. Empty, for who has not logged in.
    pub(crate) token: String,
    /// The drive that it is in: `personal`, `shared`, or none of these.
    pub(crate) place: &'static str,
    style: &'static str,
    script: &'static str,
    icon: &'static str,
}

impl Frame {
    pub(crate) fn new(title: impl Into<String>, node: &str, keys: &PageKeys) -> Frame {
        Frame {
            title: shown(&title.into()),
            node: shown(node),
            token: keys.token().to_owned(),
            place: "",
            style: &assets::STYLE.name,
            script: &assets::SCRIPT.name,
            icon: &assets::ICON.name,
        }
    }

    /// That of a page for anybody: no form of it changes anything, and it leads nowhere.
    pub(crate) fn of_stranger(title: &str, keys: &PageKeys) -> Frame {
        Frame { token: String::new(), ..Frame::new(title, "Tallac", keys) }
    }
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message {
    pub(crate) frame: Frame,
    pub(crate) text: String,
    /// Where it goes on from here.
    pub(crate) back: String,
}

/// The page that takes a capability out of a link.
#[derive(Template)]
#[template(path = "open.html")]
pub(crate) struct Open {
    pub(crate) frame: Frame,
}

/// A name as it is shown: without what could turn the line around, or hide in it.
pub(crate) fn shown(name: &str) -> String {
    let hides = |char: char| {
        char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    name.chars().map(|char| if hides(char) { '\u{fffd}' } else { char }).collect()
}

/// A page as text.
pub(crate) fn render(page: &impl Template) -> String {
    // Writing into a string does not fail, and the templates call nothing that does.
    page.render().unwrap_or_default()
}

/// One step of the way to a place.
pub(crate) struct Crumb {
    pub(crate) name: String,
    pub(crate) href: String,
}
