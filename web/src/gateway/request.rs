//! What a request asks for: its address and arguments, read and checked.

use super::redirect::WhenDone;
use super::refusal::Refusal;
use crate::http::percent::{decode_path, parse_query, split_target};
use crate::http::{Method, RequestHead};
use data_encoding::BASE64URL_NOPAD;
use tallac_core::capability::{Capability, CapabilityError, MutableFormat};
use tallac_core::directory::{Path, Replace};
use tallac_core::drive::Place;
use tallac_core::operation::KeyChoice;
use tallac_core::rsa::PrivateKey;

/// A request, ready to be looked at.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    /// The decoded parts of the path.
    pub(super) segments: Vec<String>,
    pub(super) args: Args,
    /// If a page of this node has sent it: what becomes of the answer.
    pub(super) page: Option<WhenDone>,
    /// The directory that a form of a page moves something to.
    pub(super) to: Option<Place>,
}

/// The arguments of a request: those of its address first, then those of a form.
#[derive(Clone, Default)]
pub(super) struct Args(Vec<(String, String)>);

/// What kind of file a request wants to make.
#[derive(Clone, Debug)]
pub(super) enum NewFile {
    Immutable(KeyChoice),
    Mutable(MutableFormat, Option<PrivateKey>),
}

impl Request {
    pub(super) fn read(head: RequestHead) -> Result<Request, Refusal> {
        let (path, query) = split_target(&head.target);
        let (Ok(segments), Ok(pairs)) = (decode_path(path), parse_query(query.unwrap_or(""))) else {
            return Err(Refusal::bad(
                "The address has a % that is not followed by two hex digits, or is not UTF-8.",
            ));
        };
        Ok(Request { head, segments, args: Args(pairs), page: None, to: None })
    }

    /// What becomes of the answer to a change.
    pub(super) fn when_done(&self) -> Result<WhenDone, Refusal> {
        match &self.page {
            Some(when_done) => Ok(when_done.clone()),
            None => WhenDone::of(&self.args, &self.head.headers),
        }
    }

    pub(super) fn reads(&self) -> bool {
        matches!(self.head.method, Method::Get | Method::Head)
    }

    /// What is to be done with the thing at the address.
    pub(super) fn t(&self) -> &str {
        self.args.get("t").unwrap_or("").trim()
    }

    /// Whether its body is children, as JSON.
    pub(super) fn takes_children(&self) -> bool {
        ["set_children", "set-children", "mkdir-with-children", "mkdir-immutable"].contains(&self.t())
    }

    /// Whether it is about no capability: something is made and linked nowhere.
    pub(super) fn is_nowhere(&self) -> bool {
        matches!(self.segments.as_slice(), [_])
            || matches!(self.segments.as_slice(), [_, end] if end.is_empty())
    }

    /// The capability that the path begins with.
    pub(super) fn cap(&self) -> Result<Capability, Refusal> {
        parse_cap(self.segments.get(1).map_or("", String::as_str))
    }

    /// The names after the capability. A slash at the end means nothing.
    pub(super) fn names(&self) -> &[String] {
        match self.segments.get(2..).unwrap_or_default() {
            [names @ .., last] if last.is_empty() => names,
            names => names,
        }
    }

    /// The place that the address names.
    pub(super) fn place(&self) -> Result<Place, Refusal> {
        place(self.cap()?, self.names().iter().map(String::as_str))
    }

    /// The place of a name within the directory at the address.
    pub(super) fn place_of(&self, name: &str) -> Result<Place, Refusal> {
        let names = self.names().iter().map(String::as_str);
        place(self.cap()?, names.chain([name]))
    }
}

/// A way from a capability.
pub(super) fn place<'a>(start: Capability, names: impl Iterator<Item = &'a str>) -> Result<Place, Refusal> {
    Ok(Place { start, path: Path::new(names)? })
}

/// Reads a capability that somebody has sent.
pub(super) fn parse_cap(text: &str) -> Result<Capability, Refusal> {
    text.parse().map_err(|error: CapabilityError| {
        Refusal::bad(format!("That is not a capability that can be used: {error}."))
    })
}

impl Args {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Adds the fields of a form: what is in the address counts more.
    pub(super) fn extend(&mut self, fields: impl IntoIterator<Item = (String, String)>) {
        self.0.extend(fields);
    }

    /// Every name and every value.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()])
    }

    /// All of them but one, to be handed on.
    pub(super) fn without<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter(move |(key, _)| key != name).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::bad(format!("The argument {name}= is missing.")))
    }

    pub(super) fn is_true(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "t" | "1" | "on" | "yes") => Ok(true),
            None | Some("" | "false" | "f" | "0" | "off" | "no") => Ok(false),
            Some(_) => Err(Refusal::bad(format!("The argument {name}= is true or false."))),
        }
    }

    /// Whether something may take another's place.
    pub(super) fn replace(&self) -> Result<Replace, Refusal> {
        match self.get("replace").map(str::to_ascii_lowercase).as_deref() {
            Some("only-files") => Ok(Replace::OnlyFiles),
            None => Ok(Replace::Anything),
            Some(_) => match self.is_true("replace") {
                Ok(true) => Ok(Replace::Anything),
                Ok(false) => Ok(Replace::Nothing),
                Err(_) => Err(Refusal::bad("The argument replace= is true, false or only-files.")),
            },
        }
    }

    /// The format of a new directory.
    pub(super) fn directory_format(&self) -> Result<MutableFormat, Refusal> {
        match self.format()? {
            None | Some(Some(MutableFormat::Sdmf)) => Ok(MutableFormat::Sdmf),
            Some(Some(MutableFormat::Mdmf)) => Ok(MutableFormat::Mdmf),
            Some(None) => Err(Refusal::bad(
                "A directory that can be changed is SDMF or MDMF; t=mkdir-immutable makes one that cannot.",
            )),
        }
    }

    /// The private key that something new is to have, if one was sent.
    pub(super) fn private_key(&self) -> Result<Option<PrivateKey>, Refusal> {
        let Some(text) = self.get("private-key") else { return Ok(None) };
        let der = BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).map_err(|_| {
            Refusal::bad("The argument private-key= is not base64 with the alphabet for URLs.")
        })?;
        let key = PrivateKey::from_pkcs8(&der).or_else(|error| {
            // Some programs write the bare key.
            PrivateKey::from_pkcs1(&der).map_err(|_| error)
        });
        key.map(Some).map_err(|error| Refusal::bad(format!("The private key cannot be used: {error}.")))
    }

    /// The kind of file that is to be made.
    pub(super) fn new_file(&self) -> Result<NewFile, Refusal> {
        match self.format()? {
            None | Some(None) => {
                if self.get("private-key").is_some() {
                    return Err(Refusal::bad("Only mutable files have a private key."));
                }
                let random = self.get("key") == Some("random");
                Ok(NewFile::Immutable(if random { KeyChoice::Random } else { KeyChoice::Convergent }))
            }
            Some(Some(format)) => Ok(NewFile::Mutable(format, self.private_key()?)),
        }
    }

    /// `format=`, or else `mutable=`: none given, immutable, or a mutable one.
    fn format(&self) -> Result<Option<Option<MutableFormat>>, Refusal> {
        match self.get("format").filter(|format| !format.is_empty()) {
            Some(format) if format.eq_ignore_ascii_case("chk") => Ok(Some(None)),
            Some(format) if format.eq_ignore_ascii_case("sdmf") => Ok(Some(Some(MutableFormat::Sdmf))),
            Some(format) if format.eq_ignore_ascii_case("mdmf") => Ok(Some(Some(MutableFormat::Mdmf))),
            Some(_) => Err(Refusal::bad("The argument format= is chk, sdmf or mdmf.")),
            None => Ok(self.is_true("mutable")?.then_some(Some(MutableFormat::Sdmf))),
        }
    }
}
