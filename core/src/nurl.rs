//! Where a service is and what proves it: NURLs, as in the content of a `.furl` file.
//!
//! `pb://HASH@HOST:PORT/SWISSNUM#v=1`: HASH is the base64url form of the SHA-256 of the public key
//! info in the other side's certificate, SWISSNUM an unguessable name of the service. Knowing the
//! line is the right to use the service. Each line has one address; lines with the same hash and
//! swissnum are addresses of one service.

use crate::limits;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// SHA-256 of a certificate's DER-encoded SubjectPublicKeyInfo, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pin(pub [u8; 32]);

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({}..)", &self.to_string()[..8])
    }
}

/// A host name or IP address, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Address {
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = NurlError;
    fn from_str(text: &str) -> Result<Address, NurlError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or(NurlError::Address)?,
            None => text.rsplit_once(':').ok_or(NurlError::Address)?,
        };
        let bracketed = text.starts_with('[');
        let good =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (bracketed && c == ':');
        if host.is_empty() || host.len() > 255 || !host.chars().all(good) {
            return Err(NurlError::Address);
        }
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or(NurlError::Address)?;
        Ok(Address { host: host.into(), port })
    }
}

/// The unguessable name of a service: whoever knows it may use the service. Compared in constant
/// time, never printed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Swissnum(String);

impl Swissnum {
    /// Takes 1 to 64 characters of the base32 and base64url alphabets.
    pub fn new(text: &str) -> Option<Swissnum> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        ((1..=64).contains(&text.len()) && text.bytes().all(good)).then(|| Swissnum(text.into()))
    }

    /// The text, to be written where only its holders read.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Swissnum {
    fn eq(&self, other: &Swissnum) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Swissnum {}

impl Hash for Swissnum {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Swissnum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Swissnum")
    }
}

/// One service at one address. Printing it gives the right to use the service away.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Nurl {
    /// The key that the other side must have.
    pub pin: Pin,
    /// Where it listens.
    pub address: Address,
    /// The name of the service.
    pub swissnum: Swissnum,
}

/// Why a line is not a NURL that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NurlError {
    /// It does not begin with `pb://`.
    Scheme,
    /// It is a FURL of the Foolscap protocol.
    Foolscap,
    /// There is no `#v=1` at the end.
    Version,
    /// The part before the `@` is not 43 characters of base64url.
    Hash,
    /// There is no `host:port` with a port from 1 to 65535.
    Address,
    /// The part after the last `/` is not a name of a service.
    Swissnum,
}

impl fmt::Display for NurlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NurlError::Scheme => "a furl begins with pb://",
            NurlError::Foolscap => {
                "this is a FURL of Tahoe-LAFS's Foolscap protocol, which Tallac does not speak yet; \
                 ask for a furl that ends in #v=1, from a Tallac introducer"
            }
            NurlError::Version => {
                "the furl does not end in #v=1: it is cut short, or newer than this program"
            }
            NurlError::Hash => "the part of the furl before the @ must be 43 characters of base64url",
            NurlError::Address => "the furl has no host:port with a port from 1 to 65535",
            NurlError::Swissnum => "the furl does not end in the name of a service before #v=1",
        })
    }
}

impl core::error::Error for NurlError {}

impl FromStr for Nurl {
    type Err = NurlError;
    fn from_str(text: &str) -> Result<Nurl, NurlError> {
        let rest = text.strip_prefix("pb://").ok_or(NurlError::Scheme)?;
        let (hash, rest) = rest.split_once('@').ok_or(NurlError::Hash)?;
        let Some(rest) = rest.strip_suffix("#v=1") else {
            let tub_id = hash.len() == 32 && crate::base32::decode(hash).is_some();
            return Err(if tub_id && !rest.contains('#') { NurlError::Foolscap } else { NurlError::Version });
        };
        let pin = BASE64URL_NOPAD.decode(hash.as_bytes()).ok();
        let pin = Pin(pin.and_then(|pin| pin.try_into().ok()).ok_or(NurlError::Hash)?);
        let (address, swissnum) = rest.split_once('/').ok_or(NurlError::Swissnum)?;
        let address = address.parse()?;
        let swissnum = Swissnum::new(swissnum).ok_or(NurlError::Swissnum)?;
        Ok(Nurl { pin, address, swissnum })
    }
}

impl fmt::Display for Nurl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pb://{}@{}/{}#v=1", self.pin, self.address, self.swissnum.expose())
    }
}

/// A service and every address it is known under.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Service {
    /// The key that the other side must have.
    pub pin: Pin,
    /// The name of the service.
    pub swissnum: Swissnum,
    /// Where it may listen, in the order given, at least one.
    pub addresses: Vec<Address>,
}

impl Service {
    /// Gathers NURLs into services: those with the same pin and swissnum are one. At most
    /// [`limits::ADDRESSES_MAX`] addresses are kept for each.
    pub fn gather(nurls: impl IntoIterator<Item = Nurl>) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        for Nurl { pin, address, swissnum } in nurls {
            match services.iter_mut().find(|s| s.pin == pin && s.swissnum == swissnum) {
                Some(service) => {
                    if !service.addresses.contains(&address)
                        && service.addresses.len() < limits::ADDRESSES_MAX
                    {
                        service.addresses.push(address);
                    }
                }
                None => services.push(Service { pin, swissnum, addresses: [address].into() }),
            }
        }
        services
    }

    /// The services in the text of a `.furl` file: one NURL a line, empty lines and lines that
    /// begin with `#` skipped. An error comes with its line number, from 1.
    pub fn parse_furl_file(text: &str) -> Result<Vec<Service>, (usize, NurlError)> {
        let mut nurls = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                nurls.push(line.parse().map_err(|error| (index + 1, error))?);
            }
        }
        Ok(Service::gather(nurls))
    }

    /// One NURL for each address.
    pub fn nurls(&self) -> impl Iterator<Item = Nurl> + '_ {
        self.addresses.iter().map(|address| Nurl {
            pin: self.pin,
            address: address.clone(),
            swissnum: self.swissnum.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const HASH: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn a_nurl_prints_as_it_was_read() {
        for text in [
            format!("pb://{HASH}@127.0.0.1:3456/abcdef234567#v=1"),
            format!("pb://{HASH}@[::1]:1/x#v=1"),
            format!("pb://{HASH}@some-host.example:65535/A_b-9#v=1"),
        ] {
            assert_eq!(text.parse::<Nurl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_lines_are_told_apart() {
        let check = |text: &str, error| assert_eq!(text.parse::<Nurl>(), Err(error), "{text}");
        check("http://x", NurlError::Scheme);
        check("pb://nothing", NurlError::Hash);
        check("pb://short@h:1/s#v=1", NurlError::Hash);
        check(&format!("pb://{HASH}@h:1/s"), NurlError::Version);
        check(&format!("pb://{HASH}@h:1/s#v=2"), NurlError::Version);
        check(&format!("pb://{HASH}@h:0/s#v=1"), NurlError::Address);
        check(&format!("pb://{HASH}@h:+5/s#v=1"), NurlError::Address);
        check(&format!("pb://{HASH}@h:70000/s#v=1"), NurlError::Address);
        check(&format!("pb://{HASH}@:7/s#v=1"), NurlError::Address);
        check(&format!("pb://{HASH}@h/../x:7/s#v=1"), NurlError::Address);
        check(&format!("pb://{HASH}@h:7/#v=1"), NurlError::Swissnum);
        check(&format!("pb://{HASH}@h:7/a b#v=1"), NurlError::Swissnum);
        check("pb://abcdefghijklmnopqrstuvwxyz234567@tcp:127.0.0.1:1/name", NurlError::Foolscap);
    }

    #[test]
    fn lines_of_one_service_are_gathered() {
        let text = format!(
            "# the introducer\npb://{HASH}@a:1/s#v=1\n\npb://{HASH}@b:2/s#v=1\npb://{HASH}@a:1/other#v=1\n"
        );
        let services = Service::parse_furl_file(&text).unwrap();
        assert_eq!(services.len(), 2);
        assert_eq!(services[0].addresses.len(), 2);
        assert_eq!(Service::parse_furl_file("\nnonsense"), Err((2, NurlError::Scheme)));
    }

    #[test]
    fn secrets_do_not_show() {
        let nurl: Nurl = format!("pb://{HASH}@h:1/verysecret#v=1").parse().unwrap();
        assert!(!format!("{nurl:?}").contains("verysecret"));
    }
}
