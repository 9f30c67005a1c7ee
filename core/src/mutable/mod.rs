//! Mutable files: what is in their shares, how it is laid out, and how it is checked.
//!
//! A mutable file has an RSA key pair. Its write capability has the hash of the private key, and
//! the private key lies encrypted with it in every share; all capabilities have the hash of the
//! public key. Each version of the file is signed: number, root of the share hash tree, encoding.
//! From the root, hash trees go down to every block, as in immutable files.
//!
//! There are two layouts. SDMF has one segment and is written as a whole; MDMF has segments of
//! 128 KiB, each with a salt of its own, which can be read and written one by one. Formats and
//! numbers are those of `allmydata/mutable/layout.py` and `publish.py`.
//!
//! A reader goes: [`parse_header`] gives version and layout, [`check_public_key`] the key,
//! [`Job::CheckSignature`](crate::job::Job::CheckSignature) the trust in the version; then
//! [`share_tree`] and [`check_share_hashes`] lead to the root of a share's [`block_tree`], and that
//! to each block, which [`Job::CheckBlock`](crate::job::Job::CheckBlock) looks at as it is stored.
//! [`Read`] does all that with shares on servers.

mod change;
mod check;
mod encoding;
mod error;
mod gather;
mod layout;
mod making;
mod map;
mod patching;
mod quorum;
mod read;
mod segment;
mod share;
mod version;
mod writing;

pub use change::{Change, ChangeError, ChangeSetup, Changed, Children, Consent, Edits, Placed, Subject};
pub(crate) use change::{ChangeAction, ChangeEvent, ChangeFile, ChangeStage};
pub use check::{
    block_tree, check_public_key, check_share, check_share_hashes, decrypt_private_key, encrypt_private_key,
    share_tree,
};
pub use encoding::{MDMF_SEGMENT_SIZE, MUTABLE_SHARES_MAX, MutableEncoding};
pub use error::{MutableSection, MutableShareError};
pub use layout::{HEADER_LEN_MAX, HEADER_LEN_MDMF, HEADER_LEN_SDMF, MutableLayout, parse_header};
pub use making::MakeError;
pub use read::{Found, Read, ReadAction, ReadError, ReadEvent, ReadSetup};
pub use segment::{MutableCoding, SegmentError, decode_segment, encode_segment};
pub use share::{Parts, build_all, pack, sections, share_chain};
pub use version::{SALT_LEN, Salt, Version};
