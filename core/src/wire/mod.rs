//! What two nodes say to each other over TLS with ALPN `tallac/1`.
//!
//! A connection carries frames in both directions. A frame is eight bytes (two little-endian `u32`:
//! length of the message, length of the bulk), then the message (a postcard-encoded envelope and
//! body), then the bulk bytes, which the codec never copies or encodes.
//!
//! The side that connected sends [`Hello`] with the swissnum of the service it wants; the other
//! answers [`Welcome`] or [`Refusal`]. From then on the connecting side sends requests, answered
//! out of order and matched by their id; either side may ping; the serving side may push what the
//! service pushes.

mod frame;
mod message;

pub use frame::{Decoded, Frame, FrameDecoder, FrameError, PARTIAL_STEP};
pub use message::{
    Envelope, Hello, Kind, Message, MessageError, PROTOCOL_VERSION, Refusal, ServiceKind, Welcome,
};
