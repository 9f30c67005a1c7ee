//! The pages of one thing: what it is, and how it is shared.

use super::figures::{Moment, size};
use super::{Crumb, Frame};
use crate::gateway::{format_of, size_in};
use crate::http::percent::encode_segment;
use askama::Template;
use data_encoding::BASE64;
use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::qr::QRBuilder;
use tallac_core::capability::{Capability, DirectoryCap};
use tallac_core::directory::Metadata;

/// Longest text that is shown without being asked for, in bytes.
const TEXT_SHOWN_MAX: u64 = 1024 * 1024;

/// What a file or directory is, with a look at its content.
#[derive(Template)]
#[template(path = "details.html")]
pub(crate) struct Details {
    pub(crate) frame: Frame,
    pub(crate) crumbs: Vec<Crumb>,
    pub(crate) here: String,
    pub(crate) is_file: bool,
    pub(crate) preview: &'static str,
    pub(crate) facts: Vec<(&'static str, String)>,
    /// How it is linked, if that can be changed.
    pub(crate) link: Option<Linked>,
}

/// A name in a directory.
pub(crate) struct Linked {
    /// The address of the directory's page.
    pub(crate) directory: String,
    /// The name, as it is.
    pub(crate) name: String,
    /// The same for an address: a field of a form cannot hold every name, since browsers send each end of a
    /// line as CR LF.
    pub(crate) encoded: String,
    /// Whether a link elsewhere may have that name, too.
    pub(crate) can_move: bool,
}

/// How something is shared.
#[derive(Template)]
#[template(path = "share.html")]
pub(crate) struct Share {
    pub(crate) frame: Frame,
    pub(crate) crumbs: Vec<Crumb>,
    pub(crate) here: String,
    pub(crate) name: String,
    pub(crate) cap: String,
    pub(crate) link: String,
    /// A QR code: SVG in base64. Empty, if the text is too long for one.
    pub(crate) code: String,
    /// Whether the capability gives the right to change it.
    pub(crate) writes: bool,
    /// Whether there is a stronger one to share.
    pub(crate) writable: bool,
}

/// What is known of something by its capability and its link.
/// `deep`: with what is of use to who knows how files are kept.
pub(crate) fn facts(
    cap: Option<&Capability>,
    metadata: Option<&Metadata>,
    deep: bool,
) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let Some(cap) = cap else {
        return vec![("Type", "of a kind that is not known here; a newer version may know it".into())];
    };
    let kind = if cap.is_directory() { "folder" } else { "file" };
    facts.push(("Type", format!("{kind} ({})", format_of(cap))));
    if let Some(bytes) = size_in(cap).filter(|_| !cap.is_directory()) {
        facts.push(("Size", format!("{} ({bytes} bytes)", size(bytes))));
    }
    let rights = match (cap.is_mutable(), cap.is_writable()) {
        (true, true) => "can be read and changed",
        (true, false) => "can be read; others may change it",
        (false, _) => "can be read; it never changes",
    };
    facts.push(("Rights", rights.into()));
    let literal = matches!(cap, Capability::Literal(_) | Capability::Directory(DirectoryCap::Literal(_)));
    if literal && deep {
        facts.push(("Kept", "in its capability itself: no server has anything of it".into()));
    }
    if let Some(index) = cap.storage_index()
        && deep
    {
        facts.push(("Storage index", index.to_string()));
    }
    let moment = |text: Option<String>| Moment::at(text?.parse().ok()?);
    for (name, text) in [
        ("Added", metadata.and_then(Metadata::link_created)),
        ("Link changed", metadata.and_then(Metadata::link_changed)),
    ] {
        if let Some(moment) = moment(text) {
            facts.push((name, format!("{} UTC", moment.shown)));
        }
    }
    facts
}

/// How the content of a file can be looked at in its page.
pub(crate) fn preview(name: &str, cap: &Capability) -> &'static str {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    match (guess.type_().as_str(), guess.subtype().as_str()) {
        ("image", _) => "image",
        ("video", _) => "video",
        ("audio", _) => "audio",
        ("text", _) | ("application", "json" | "xml" | "toml" | "x-sh" | "javascript")
            if size_in(cap).is_none_or(|size| size <= TEXT_SHOWN_MAX) =>
        {
            "text"
        }
        _ => "",
    }
}

/// The link that a friend opens: what comes after the # is sent to no server.
pub(crate) fn link(cap: &str) -> String {
    format!("http://127.0.0.1:3456/open#{}", encode_segment(cap))
}

/// A QR code as SVG in base64; empty, if the text is too long for one.
pub(crate) fn code(text: &str) -> String {
    let Ok(code) = QRBuilder::new(text).build() else { return String::new() };
    BASE64.encode(SvgBuilder::default().margin(2).to_str(&code).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_short_texts_only() {
        let svg = BASE64.decode(code("URI:LIT:me").as_bytes()).expect("base64");
        assert!(svg.starts_with(b"<svg"));
        assert_eq!(code(&"x".repeat(10_000)), "");
    }

    #[test]
    fn a_folder_is_kept_in_a_file() {
        let key = "aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        for (cap, kind) in
            [("DIR2", "folder (SDMF)"), ("DIR2-MDMF-RO", "folder (MDMF)"), ("SSK", "file (SDMF)")]
        {
            let cap: Capability = format!("URI:{cap}:{key}").parse().expect("a capability");
            assert_eq!(facts(Some(&cap), None, false)[0], ("Type", kind.to_owned()));
        }
        let cap: Capability = "URI:DIR2-LIT:".parse().expect("a capability");
        assert_eq!(facts(Some(&cap), None, false)[0].1, "folder (CHK)");
    }

    #[test]
    fn previews_follow_the_name() {
        let cap: Capability = "URI:LIT:me".parse().expect("a capability");
        for (name, kind) in [
            ("a.PNG", "image"),
            ("a.mp4", "video"),
            ("a.mp3", "audio"),
            ("a.html", "text"),
            ("a.pdf", ""),
            ("a", ""),
        ] {
            assert_eq!(preview(name, &cap), kind, "{name}");
        }
    }
}
