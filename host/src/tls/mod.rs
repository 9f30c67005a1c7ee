//! TLS between nodes: TLS 1.3, and a peer is who has the key that its furl names.
//!
//! Nothing here is believed but a pinned public key: no names, no dates, no authorities. The only
//! module that names rustls and rcgen.

mod config;
mod der;
mod identity;
mod session;
mod web;

pub use config::{ALPN, Tls};
pub use identity::{Identity, IdentityError};
pub(crate) use session::RECORD_LEN_MAX;
pub use session::{Received, TlsError, TlsSession};
pub use web::{WebIdentity, WebIdentityError, WebStream, self_signed};
