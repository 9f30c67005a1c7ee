//! Where things are within a mutable share.
//!
//! ```text
//! SDMF                        MDMF
//! signed prefix               signed prefix
//! six offsets                 eight offsets
//! public key                  encrypted private key
//! signature                   share hashes
//! share hashes                signature
//! block hash tree             public key
//! data: the block             (room)
//! encrypted private key       data: salt, block, salt, block, ...
//!                             block hash tree
//! ```
//!
//! In MDMF the data begin at a fixed place, so that blocks can be written before the rest is known.
//! All numbers are big-endian. Share hashes are as in immutable shares, but without the share's own
//! leaf, and in the order of their nodes.

use alloc::vec::Vec;
use core::ops::Range;

use super::encoding::MutableEncoding;
use super::error::{MutableSection, MutableShareError};
use super::version::{Version, prefix_len};
use crate::capability::MutableFormat;
use crate::hash::Hash;
use crate::hashtree::node_count;
use crate::rsa::{PRIVATE_KEY_LEN_MAX, PUBLIC_KEY_LEN_MAX, SIGNATURE_LEN};
use crate::share::SHARE_HASH_LEN;

/// The length of the header of an SDMF share, in bytes.
pub const HEADER_LEN_SDMF: usize = 107;
/// The length of the header of an MDMF share, in bytes.
pub const HEADER_LEN_MDMF: usize = 123;
/// Enough to read of any share to parse its header.
pub const HEADER_LEN_MAX: usize = HEADER_LEN_MDMF;

/// Where the data of MDMF begin: after room for a private key (1220 bytes), a signature (260), a
/// public key (292), and eight share hashes.
const MDMF_DATA: u64 = HEADER_LEN_MDMF as u64 + 1220 + 260 + 292 + 8 * SHARE_HASH_LEN as u64;

/// The most share hashes there can be: a sibling on each of eight levels, and the leaf itself.
const SHARE_HASHES_MAX: u64 = 9;

/// The greatest offset read from a share; arithmetic on offsets cannot overflow.
const OFFSET_MAX: u64 = 1 << 60;

/// The places of the parts of one share, in bytes from its beginning. What a header says has been
/// checked: the parts follow each other and have the sizes that the version demands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MutableLayout {
    encoding: MutableEncoding,
    public_key: Range<u64>,
    signature: Range<u64>,
    share_hashes: Range<u64>,
    block_hashes: Range<u64>,
    data: Range<u64>,
    private_key: Range<u64>,
}

/// Reads the header of a share: the first [`HEADER_LEN_MAX`] bytes, or fewer if it ends before.
///
/// # Errors
/// If there are too few bytes, or what they say is impossible.
pub fn parse_header(share: &[u8]) -> Result<(Version, MutableLayout), MutableShareError> {
    let version = Version::parse(share)?;
    let encoding = version.encoding()?;
    let needed = header_len(version.format());
    let offsets = share.get(prefix_len(version.format())..needed);
    let offsets = offsets.ok_or(MutableShareError::TooShort { needed, found: share.len() })?;
    let layout = match version.format() {
        MutableFormat::Sdmf => parse_sdmf(encoding, offsets)?,
        MutableFormat::Mdmf => parse_mdmf(encoding, offsets)?,
    };
    layout.check()?;
    Ok((version, layout))
}

impl MutableLayout {
    /// The layout in which a share is written, from the lengths of the keys: the public one as in
    /// the share, the private one encrypted.
    ///
    /// # Errors
    /// [`MutableShareError::Size`] if the keys do not fit into the room that MDMF has for them.
    pub fn for_writing(
        encoding: &MutableEncoding,
        public_key_len: usize,
        private_key_len: usize,
    ) -> Result<Self, MutableShareError> {
        let chain_len = usize::from(encoding.total()).next_power_of_two().ilog2() as usize * SHARE_HASH_LEN;
        let mut end = header_len(encoding.format()) as u64;
        let mut next = |len: usize| {
            let start = end;
            end += len as u64;
            start..end
        };
        let tree_len = tree_len(encoding) as usize;
        let data_len = encoding.data_len();
        Ok(match encoding.format() {
            MutableFormat::Sdmf => {
                let (public_key, signature) = (next(public_key_len), next(SIGNATURE_LEN));
                let (share_hashes, block_hashes) = (next(chain_len), next(tree_len));
                let data = block_hashes.end..block_hashes.end + data_len;
                let private_key = data.end..data.end + private_key_len as u64;
                Self {
                    encoding: *encoding,
                    public_key,
                    signature,
                    share_hashes,
                    block_hashes,
                    data,
                    private_key,
                }
            }
            MutableFormat::Mdmf => {
                let (private_key, share_hashes) = (next(private_key_len), next(chain_len));
                let (signature, public_key) = (next(SIGNATURE_LEN), next(public_key_len));
                if public_key.end > MDMF_DATA {
                    return Err(MutableShareError::Size { section: MutableSection::PublicKey });
                }
                let data = MDMF_DATA..MDMF_DATA + data_len;
                let block_hashes = data.end..data.end + tree_len as u64;
                Self {
                    encoding: *encoding,
                    public_key,
                    signature,
                    share_hashes,
                    block_hashes,
                    data,
                    private_key,
                }
            }
        })
    }

    /// The header of a share with this layout and version.
    pub fn header(&self, version: &Version) -> Vec<u8> {
        let mut header = version.signed_prefix();
        match version.format() {
            MutableFormat::Sdmf => {
                // SDMF shares are far below 4 GiB.
                for offset in [&self.signature, &self.share_hashes, &self.block_hashes, &self.data] {
                    header.extend((offset.start as u32).to_be_bytes());
                }
                header.extend(self.private_key.start.to_be_bytes());
                header.extend(self.private_key.end.to_be_bytes());
            }
            MutableFormat::Mdmf => {
                for offset in [
                    self.private_key.start,
                    self.share_hashes.start,
                    self.signature.start,
                    self.public_key.start,
                    self.public_key.end,
                    self.data.start,
                    self.block_hashes.start,
                    self.block_hashes.end,
                ] {
                    header.extend(offset.to_be_bytes());
                }
            }
        }
        debug_assert_eq!(header.len(), header_len(version.format()));
        header
    }

    /// The geometry of the file.
    pub const fn encoding(&self) -> &MutableEncoding {
        &self.encoding
    }

    /// The length of the whole share.
    pub fn share_len(&self) -> u64 {
        self.private_key.end.max(self.block_hashes.end)
    }

    /// Where the public key is.
    pub fn public_key_range(&self) -> Range<u64> {
        self.public_key.clone()
    }

    /// Where the signature is.
    pub fn signature_range(&self) -> Range<u64> {
        self.signature.clone()
    }

    /// Where the hashes are that tie this share to the others.
    pub fn share_hashes_range(&self) -> Range<u64> {
        self.share_hashes.clone()
    }

    /// Where the block hash tree is.
    pub fn block_hashes_range(&self) -> Range<u64> {
        self.block_hashes.clone()
    }

    /// Where one node of the block hash tree is; node 0 is its root.
    pub fn block_node_range(&self, node: u64) -> Range<u64> {
        let start = self.block_hashes.start + node * Hash::LEN as u64;
        start..start + Hash::LEN as u64
    }

    /// Where the data are: all blocks, in MDMF with their salts.
    pub fn data_range(&self) -> Range<u64> {
        self.data.clone()
    }

    /// Where the block of a segment is stored, in MDMF with its salt before it.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn block_range(&self, segnum: u64) -> Range<u64> {
        let range = self.encoding.stored_range(segnum);
        self.data.start + range.start..self.data.start + range.end
    }

    /// Where the encrypted private key is.
    pub fn private_key_range(&self) -> Range<u64> {
        self.private_key.clone()
    }

    fn check(&self) -> Result<(), MutableShareError> {
        let len = |range: &Range<u64>| range.end - range.start;
        let share_hashes_max = SHARE_HASHES_MAX * SHARE_HASH_LEN as u64;
        for (section, possible) in [
            (MutableSection::PublicKey, len(&self.public_key) <= PUBLIC_KEY_LEN_MAX as u64),
            (MutableSection::Signature, len(&self.signature) == SIGNATURE_LEN as u64),
            (
                MutableSection::ShareHashes,
                len(&self.share_hashes).is_multiple_of(SHARE_HASH_LEN as u64)
                    && len(&self.share_hashes) <= share_hashes_max,
            ),
            (MutableSection::BlockHashes, len(&self.block_hashes) == tree_len(&self.encoding)),
            (MutableSection::Data, len(&self.data) == self.encoding.data_len()),
            (MutableSection::PrivateKey, len(&self.private_key) <= PRIVATE_KEY_LEN_MAX as u64),
        ] {
            if !possible {
                return Err(MutableShareError::Size { section });
            }
        }
        Ok(())
    }
}

fn parse_sdmf(encoding: MutableEncoding, offsets: &[u8]) -> Result<MutableLayout, MutableShareError> {
    use MutableSection::*;
    let (short, long) = offsets.split_at(16);
    let short = short.as_chunks::<4>().0.iter().map(|offset| u32::from_be_bytes(*offset).into());
    let long = long.as_chunks::<8>().0.iter().map(|offset| u64::from_be_bytes(*offset));
    let all: Vec<u64> = [HEADER_LEN_SDMF as u64].into_iter().chain(short).chain(long).collect();
    check_order(&all, &[Signature, ShareHashes, BlockHashes, Data, PrivateKey, PrivateKey])?;
    Ok(MutableLayout {
        encoding,
        public_key: all[0]..all[1],
        signature: all[1]..all[2],
        share_hashes: all[2]..all[3],
        block_hashes: all[3]..all[4],
        data: all[4]..all[5],
        private_key: all[5]..all[6],
    })
}

fn parse_mdmf(encoding: MutableEncoding, offsets: &[u8]) -> Result<MutableLayout, MutableShareError> {
    use MutableSection::*;
    let read = offsets.as_chunks::<8>().0.iter().map(|offset| u64::from_be_bytes(*offset));
    let all: Vec<u64> = [HEADER_LEN_MDMF as u64].into_iter().chain(read).collect();
    check_order(
        &all,
        &[PrivateKey, ShareHashes, Signature, PublicKey, PublicKey, Data, BlockHashes, BlockHashes],
    )?;
    Ok(MutableLayout {
        encoding,
        private_key: all[1]..all[2],
        share_hashes: all[2]..all[3],
        signature: all[3]..all[4],
        public_key: all[4]..all[5],
        data: all[6]..all[7],
        block_hashes: all[7]..all[8],
    })
}

/// `sections[i]` begins (or ends, if it is named twice) at `offsets[i + 1]`.
fn check_order(offsets: &[u64], sections: &[MutableSection]) -> Result<(), MutableShareError> {
    for (pair, &section) in offsets.windows(2).zip(sections) {
        if pair[1] < pair[0] {
            return Err(MutableShareError::Order { section });
        }
        if pair[1] > OFFSET_MAX {
            return Err(MutableShareError::Size { section });
        }
    }
    Ok(())
}

const fn header_len(format: MutableFormat) -> usize {
    match format {
        MutableFormat::Sdmf => HEADER_LEN_SDMF,
        MutableFormat::Mdmf => HEADER_LEN_MDMF,
    }
}

/// An empty file has a tree of one empty leaf.
fn tree_len(encoding: &MutableEncoding) -> u64 {
    node_count(encoding.num_segments()) * Hash::LEN as u64
}
