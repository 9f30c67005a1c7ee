//! Announcements: how a server tells the grid that it is there.
//!
//! The form is the peer's: a JSON object as UTF-8 bytes, an Ed25519 signature over exactly these
//! bytes, and the key, whose holder the announcement is about. An announcement is checked and
//! passed on as received, never re-encoded.

use crate::base32;
use crate::identity::{ServerId, TubId};
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::nurl::{Nurl, Service};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The service name under which storage servers announce themselves.
pub const STORAGE_SERVICE: &str = "storage";

/// An announcement as it travels: three byte strings.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedAnnouncement {
    /// The JSON object.
    pub message: Vec<u8>,
    /// `v0-` and the base32 of the signature.
    pub signature: Vec<u8>,
    /// `v0-` and the base32 of the public key.
    pub key: Vec<u8>,
}

/// A furl inside an announcement is the right to use the server, so nothing is shown.
impl fmt::Debug for SignedAnnouncement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedAnnouncement({} bytes)", self.message.len())
    }
}

/// What a checked announcement says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Announcement {
    /// Who it is about: the key that signed it.
    pub server: ServerId,
    /// What is announced; [`STORAGE_SERVICE`] is what this program knows.
    pub service: String,
    /// Grows with each change under one key.
    pub sequence: u64,
    /// Where the server is, what it is called, and more.
    pub info: ServerInfo,
}

/// What a client must know of a storage server before it connects.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServerInfo {
    /// The owner's name for it; for people, not unique.
    pub nickname: String,
    /// Lease secrets and write enablers are hashed with it.
    pub tub_id: TubId,
    /// Its place on the ring.
    pub permutation_seed: Vec<u8>,
    /// Where it listens and what proves it. `None` if it announces no address of our protocol.
    pub service: Option<Service>,
    /// The program and its version.
    pub program: String,
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u64,
    #[serde(rename = "service-name")]
    service_name: String,
    seqnum: u64,
    #[serde(default)]
    nonce: String,
    nickname: String,
    #[serde(rename = "app-versions", default)]
    app_versions: serde_json::Value,
    #[serde(rename = "my-version", default)]
    my_version: String,
    #[serde(rename = "oldest-supported", default)]
    oldest_supported: String,
    #[serde(rename = "anonymous-storage-FURL")]
    furl: String,
    #[serde(rename = "anonymous-storage-NURLs", default)]
    nurls: Vec<String>,
    #[serde(rename = "permutation-seed-base32", default, skip_serializing_if = "Option::is_none")]
    permutation_seed: Option<String>,
}

/// The key a node signs its announcements with.
pub struct AnnouncementKey(SigningKey);

impl AnnouncementKey {
    /// Takes the 32 secret bytes, as kept in `node.privkey`.
    pub fn from_bytes(bytes: &[u8; 32]) -> AnnouncementKey {
        AnnouncementKey(SigningKey::from_bytes(bytes))
    }

    /// The id of the server that holds this key.
    pub fn server_id(&self) -> ServerId {
        ServerId(self.0.verifying_key().to_bytes())
    }

    /// Signs an announcement of a storage server. `nonce` is 20 random bytes; `furl` a Foolscap
    /// furl for readers of old (they need one, and take the tub id from it).
    pub fn announce(&self, sequence: u64, info: &ServerInfo, nonce: [u8; 20]) -> SignedAnnouncement {
        let body = Body::new(sequence, info, base32::encode(&nonce));
        let message = serde_json::to_vec(&body).expect("plain data becomes JSON");
        let signature = self.0.sign(&message).to_bytes();
        let text = |bytes: &[u8]| alloc::format!("v0-{}", base32::encode(bytes)).into_bytes();
        SignedAnnouncement {
            signature: text(&signature),
            key: text(&self.0.verifying_key().to_bytes()),
            message,
        }
    }
}

impl Body {
    fn new(sequence: u64, info: &ServerInfo, nonce: String) -> Body {
        let service = info.service.iter();
        let hint = info.service.as_ref().and_then(|s| s.addresses.first());
        Body {
            version: 0,
            service_name: STORAGE_SERVICE.into(),
            seqnum: sequence,
            nonce,
            nickname: info.nickname.clone(),
            app_versions: serde_json::Value::Array(Vec::new()),
            my_version: info.program.clone(),
            oldest_supported: "tallac/0.1".into(),
            // No Foolscap service answers there; readers only take the tub id out of it.
            furl: match hint {
                Some(address) => alloc::format!("pb://{}@tcp:{address}/storage", info.tub_id),
                None => alloc::format!("pb://{}@/storage", info.tub_id),
            },
            nurls: service.flat_map(Service::nurls).map(|nurl| nurl.to_string()).collect(),
            permutation_seed: Some(base32::encode(&info.permutation_seed)),
        }
    }
}

/// An announcement's JSON without a signature, to be kept where nobody else writes.
pub fn unsigned(sequence: u64, info: &ServerInfo) -> serde_json::Value {
    serde_json::to_value(Body::new(sequence, info, String::new())).expect("plain data becomes JSON")
}

/// Reads what [`unsigned`] wrote, or the peer keeps in its cache.
pub fn read_unsigned(server: ServerId, value: serde_json::Value) -> Option<Announcement> {
    read(server, serde_json::from_value(value).ok()?)
}

impl fmt::Debug for AnnouncementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnnouncementKey({:?})", self.server_id())
    }
}

/// Checks the signature and reads the announcement; `None` if it is forged, malformed or too long.
pub fn verify(signed: &SignedAnnouncement) -> Option<Announcement> {
    if signed.message.len() > limits::ANNOUNCEMENT_LEN_MAX {
        return None;
    }
    let field = |bytes: &[u8]| base32::decode(core::str::from_utf8(bytes).ok()?.strip_prefix("v0-")?);
    let key: [u8; 32] = field(&signed.key)?.try_into().ok()?;
    let signature: [u8; 64] = field(&signed.signature)?.try_into().ok()?;
    let verifying = VerifyingKey::from_bytes(&key).ok()?;
    let verified = verifying.verify_strict(&signed.message, &Signature::from_bytes(&signature));
    if !mutants::is_in(Mutant::AnnouncementUnchecked) {
        verified.ok()?;
    }
    read(ServerId(key), serde_json::from_slice(&signed.message).ok()?)
}

/// Checks the fields of an announcement whose origin is known to be good.
fn read(server: ServerId, body: Body) -> Option<Announcement> {
    let tub_id = body.furl.strip_prefix("pb://")?.split_once('@')?.0;
    let nurls: BTreeMap<usize, Nurl> = (body.nurls.iter().enumerate())
        .filter_map(|(index, text)| Some((index, text.parse().ok()?)))
        .collect();
    let permutation_seed = match &body.permutation_seed {
        Some(text) => base32::decode(text)?,
        None => server.0.to_vec(),
    };
    let short = |text: String| text.chars().filter(|c| !c.is_control()).take(200).collect();
    Some(Announcement {
        server,
        service: body.service_name,
        sequence: body.seqnum,
        info: ServerInfo {
            nickname: short(body.nickname),
            tub_id: TubId(base32::decode_array(tub_id)?),
            permutation_seed,
            service: Service::gather(nurls.into_values()).into_iter().next(),
            program: short(body.my_version),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ServerInfo {
        let nurl = "pb://AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8@127.0.0.1:5/swiss#v=1";
        ServerInfo {
            nickname: "s0".into(),
            tub_id: TubId([7; 20]),
            permutation_seed: [9; 32].into(),
            service: Service::gather([nurl.parse().unwrap()]).pop(),
            program: "tallac/0.1.0".into(),
        }
    }

    #[test]
    fn what_is_announced_is_read() {
        let key = AnnouncementKey::from_bytes(&[3; 32]);
        let read = verify(&key.announce(12, &info(), [1; 20])).unwrap();
        assert_eq!(
            read,
            Announcement { server: key.server_id(), service: "storage".into(), sequence: 12, info: info() }
        );
    }

    #[test]
    fn any_altered_byte_is_noticed() {
        let key = AnnouncementKey::from_bytes(&[3; 32]);
        let good = key.announce(12, &info(), [1; 20]);
        for index in 0..good.message.len() {
            let mut forged = good.clone();
            forged.message[index] ^= 1;
            assert_eq!(verify(&forged), None);
        }
        let mut other = good.clone();
        other.key = AnnouncementKey::from_bytes(&[4; 32]).announce(1, &info(), [0; 20]).key;
        assert_eq!(verify(&other), None);
    }
}
