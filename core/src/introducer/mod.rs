//! The introducer: nodes publish signed announcements and subscribe to those of others.
//!
//! An introducer is trusted with nothing but passing on: it cannot forge an announcement, and a
//! node remembers what it heard, so that a grid goes on while every introducer is down.

mod client;
mod server;

pub(crate) use client::IntroducerClient;
pub use client::IntroducerStatus;
pub use server::{IntroducerAction, IntroducerEvent, IntroducerServer};

use crate::announcement::SignedAnnouncement;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// What a node asks of an introducer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum IntroducerRequest {
    /// Pass this on to everybody who subscribes.
    Publish(SignedAnnouncement),
    /// Push every announcement of a service, those known now and those to come.
    Subscribe {
        /// Which service; [`crate::announcement::STORAGE_SERVICE`].
        service: String,
    },
}

/// Why an introducer declined.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum IntroducerError {
    /// The announcement is malformed, too long, or its signature is wrong.
    BadAnnouncement,
    /// A newer announcement under the same key is known.
    Stale,
    /// It keeps as many announcements as it can.
    Full,
    /// The introducer does not know this request.
    Unsupported,
}

impl fmt::Display for IntroducerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IntroducerError::BadAnnouncement => "it found the announcement malformed or its signature wrong",
            IntroducerError::Stale => {
                "it knows a newer announcement under this node's key; the file announcement-seqnum is behind, \
                 or another node uses the same key"
            }
            IntroducerError::Full => "it keeps as many announcements as it can",
            IntroducerError::Unsupported => "it does not know the request",
        })
    }
}

impl core::error::Error for IntroducerError {}

/// Announcements pushed to subscribers; at most this many bytes of them in one message.
pub(crate) const PUSH_LEN_MAX: usize = 64 * 1024;

/// Cuts announcements into pushes that fit a message. One empty push tells a subscriber that there
/// are none.
pub(crate) fn pushes(announcements: Vec<SignedAnnouncement>) -> Vec<Vec<SignedAnnouncement>> {
    let mut pushes = Vec::from([Vec::new()]);
    let mut len = 0;
    for announcement in announcements {
        let cost = announcement.message.len() + announcement.signature.len() + announcement.key.len() + 16;
        if len + cost > PUSH_LEN_MAX && len > 0 {
            pushes.push(Vec::new());
            len = 0;
        }
        len += cost;
        pushes.last_mut().expect("there is always one").push(announcement);
    }
    pushes
}
