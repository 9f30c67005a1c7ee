//! The node's web API, as the commands use it. It is Tahoe-LAFS's, so that they also work against its
//! gateways; nothing here asks for more than those give.

mod answers;
mod transfer;

pub(crate) use answers::{Entry, EntryKind};
pub(crate) use transfer::{Fetching, Stored, Upload};

use crate::client::{Interrupt, NodeUrl, refused};
use crate::drive::cap::{CapText, without_capabilities};
use crate::exit::{Failure, failed};
use anyhow::Result;
use bytes::Bytes;
use std::path::Path;
use tallac_core::directory::Name;
use tallac_web::gateway::OUTDATED_HEADER;
use tallac_web::http::percent::{encode_query, encode_segment};
use tallac_web::http::{BodyKind, Method, RequestHead, ResponseHead};

/// Most bytes of an answer that is held in memory: a directory of 200,000 children fits.
const ANSWER_LEN_MAX: usize = 256 * 1024 * 1024;

/// A node, asked over its web port.
#[derive(Clone)]
pub(crate) struct Gateway {
    node: NodeUrl,
    interrupt: Interrupt,
}

/// What to link under a name.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) kind: EntryKind,
    pub(crate) write: Option<CapText>,
    pub(crate) read: Option<CapText>,
}

/// What a new link may take the place of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replace {
    Nothing,
    /// Files, but no directories: whoever made one would lose all that is in it.
    Files,
}

impl Replace {
    /// As the web API knows it.
    fn word(self) -> &'static str {
        match self {
            Replace::Nothing => "false",
            Replace::Files => "only-files",
        }
    }
}

/// What the node said.
struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn good(self) -> Result<String> {
        if self.is_good() { Ok(self.text) } else { Err(refused(self.status, &self.text)) }
    }
}

/// Tells the user that what the node has read is not the newest version.
fn warn_if_outdated(response: &ResponseHead) {
    if let Some(why) = response.headers.get_str(OUTDATED_HEADER) {
        eprintln!("warning: this is an older version: {why}");
    }
}

impl Gateway {
    /// The node of a node directory.
    pub(crate) fn of(directory: &Path, interrupt: Interrupt) -> Result<Gateway> {
        Ok(Gateway { node: NodeUrl::of(directory)?, interrupt })
    }

    pub(crate) fn node(&self) -> &NodeUrl {
        &self.node
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The same node, asked without heed to an interrupt: to finish what would otherwise be lost.
    pub(crate) fn uninterrupted(&self) -> Gateway {
        Gateway { node: self.node.clone(), interrupt: Interrupt::default() }
    }

    /// What is at a path; `None` if nothing is.
    pub(crate) fn look_up(&self, root: &CapText, names: &[Name]) -> Result<Option<Entry>> {
        match self.look_up_text(root, names)? {
            Some(text) => Entry::parse(&text).map(Some),
            None => Ok(None),
        }
    }

    /// The same as the node's JSON.
    pub(crate) fn look_up_text(&self, root: &CapText, names: &[Name]) -> Result<Option<String>> {
        let answer = self.ask(Method::Get, &target(root, names, &[("t", "json")]), Bytes::new())?;
        if answer.status == 404 { Ok(None) } else { answer.good().map(Some) }
    }

    /// Makes a directory that is in no other.
    pub(crate) fn make_directory(&self, format: Option<&str>) -> Result<CapText> {
        let mut query = vec![("t", "mkdir")];
        query.extend(format.map(|format| ("format", format)));
        let target = format!("/uri?{}", encode_query(query));
        told_cap(&self.ask(Method::Post, &target, Bytes::new())?.good()?)
    }

    /// Makes a directory at a path, and those above it; one that is there stays as it is.
    pub(crate) fn make_path(&self, root: &CapText, names: &[Name], format: Option<&str>) -> Result<CapText> {
        let mut query = vec![("t", "mkdir")];
        query.extend(format.map(|format| ("format", format)));
        told_cap(&self.ask(Method::Post, &target(root, names, &query), Bytes::new())?.good()?)
    }

    /// Links many children at once. `false`: something is there that is not to be replaced, and none is
    /// linked.
    pub(crate) fn set_children(
        &self,
        directory: &CapText,
        children: &[(Name, Link)],
        replace: Replace,
    ) -> Result<bool> {
        let children: serde_json::Map<String, serde_json::Value> =
            children.iter().map(|(name, link)| (name.as_str().to_owned(), link.to_json())).collect();
        let body = serde_json::Value::Object(children).to_string();
        let target = target(directory, &[], &[("t", "set_children"), ("replace", replace.word())]);
        let answer = self.ask(Method::Post, &target, body.into())?;
        if answer.status == 409 { Ok(false) } else { answer.good().map(|_| true) }
    }

    /// Links a capability at a path, in place of a file there. `false`: a directory is there.
    pub(crate) fn link(&self, root: &CapText, names: &[Name], cap: &CapText) -> Result<bool> {
        let target = target(root, names, &[("t", "uri"), ("replace", "only-files")]);
        let body = Bytes::copy_from_slice(cap.expose().as_bytes());
        let answer = self.ask(Method::Put, &target, body)?;
        if answer.status == 409 { Ok(false) } else { answer.good().map(|_| true) }
    }

    /// Takes a child out of its directory. `false`: there was none.
    pub(crate) fn unlink(&self, root: &CapText, names: &[Name]) -> Result<bool> {
        let answer = self.ask(Method::Delete, &target(root, names, &[]), Bytes::new())?;
        if answer.status == 404 { Ok(false) } else { answer.good().map(|_| true) }
    }

    /// Moves a child from one directory to another or to another name, in place of a file there. `false`:
    /// a directory is there.
    pub(crate) fn relink(
        &self,
        from: (&CapText, &[Name]),
        from_name: &Name,
        to: &CapText,
        to_name: &Name,
    ) -> Result<bool> {
        let query = [
            ("t", "relink"),
            ("from_name", from_name.as_str()),
            ("to_dir", to.expose()),
            ("to_name", to_name.as_str()),
            ("replace", "only-files"),
        ];
        let answer = self.ask(Method::Post, &target(from.0, from.1, &query), Bytes::new())?;
        if answer.status == 409 { Ok(false) } else { answer.good().map(|_| true) }
    }

    /// The address with which a browser is opened at one of the node's pages. It is good once and for two
    /// minutes, holds no capability, and logs the browser in if that is needed. `None` if the node knows no
    /// such addresses, as those of the peer do not.
    pub(crate) fn way_in(&self, page: &str) -> Result<Option<String>> {
        let target = format!("/login/ticket?{}", encode_query([("to", page)]));
        let answer = self.ask(Method::Post, &target, Bytes::new())?;
        if matches!(answer.status, 404 | 405) {
            return Ok(None);
        }
        Ok(Some(format!("{}{}", self.node.address(), answer.good()?.trim())))
    }

    fn ask(&self, method: Method, target: &str, body: Bytes) -> Result<Answer> {
        let mut connection = self.node.connect(&self.interrupt)?;
        let mut head = RequestHead::new(method, target);
        self.node.introduce(&mut head)?;
        if !body.is_empty() {
            head.body = BodyKind::Length(body.len() as u64);
        }
        connection.request(&head)?;
        if !body.is_empty() && connection.send_body(body)? {
            connection.finish_body()?;
        }
        let (response, _) = connection.response()?;
        warn_if_outdated(&response);
        Ok(Answer { status: response.status, text: connection.body_text(ANSWER_LEN_MAX)? })
    }
}

impl Link {
    /// A file that was stored just now.
    pub(crate) fn file(cap: CapText) -> Link {
        Link::of(EntryKind::File, cap)
    }

    /// A directory.
    pub(crate) fn directory(cap: CapText) -> Link {
        Link::of(EntryKind::Directory, cap)
    }

    fn of(kind: EntryKind, cap: CapText) -> Link {
        if cap.is_writable() {
            Link { kind, write: Some(cap), read: None }
        } else {
            Link { kind, write: None, read: Some(cap) }
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let mut details = serde_json::Map::new();
        for (key, cap) in [("rw_uri", &self.write), ("ro_uri", &self.read)] {
            if let Some(cap) = cap {
                details.insert(key.into(), cap.expose().into());
            }
        }
        serde_json::json!([self.kind.word(), details])
    }
}

/// The target of a request about a path.
pub(crate) fn target(root: &CapText, names: &[Name], query: &[(&str, &str)]) -> String {
    let mut target = format!("/uri/{}", encode_segment(root.expose()));
    for name in names {
        target.push('/');
        target.push_str(&encode_segment(name.as_str()));
    }
    if !query.is_empty() {
        target.push('?');
        target.push_str(&encode_query(query.iter().copied()));
    }
    target
}

/// The capability that the node answers with when it has made something.
fn told_cap(text: &str) -> Result<CapText> {
    if text.starts_with("URI:") {
        return Ok(CapText::told(text));
    }
    let start: String = without_capabilities(text).chars().take(200).collect();
    Err(failed(
        Failure::General,
        format!("the node answered with something else than a capability: {start:?}"),
    ))
}
