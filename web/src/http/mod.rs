//! HTTP/1.1, both sides, without I/O.
//!
//! Read first: RFC 9112 (messages on the wire) and RFC 9110 (what they mean).
//!
//! [`ServerConnection`] and [`ClientConnection`] take received bytes and give events,
//! take answers and requests and give bytes to send.
//! They own no socket and no clock, and they bound what they hold by [`Limits`].
//! Body bytes pass through both as slices of the buffers they came in.
//!
//! They do not route, compress, cache, resolve or upgrade; HTTP/2 and tunnels are refused.

mod body;
mod client;
mod error;
mod head;
mod headers;
mod input;
mod limits;
mod lines;
mod multipart;
mod output;
pub mod percent;
pub mod range;
mod server;

#[cfg(test)]
mod tests;

pub use client::{ClientConnection, ClientEvent};
pub use error::{ApiMisuse, HttpError};
pub use head::{BodyKind, Method, RequestHead, ResponseHead, Version};
pub use headers::{Headers, InvalidHeader};
pub use limits::Limits;
pub use multipart::{FormError, FormEvent, Multipart};
pub use output::ResponseBody;
pub use server::{ServerConnection, ServerEvent};
