//! Where things are within a share.
//!
//! A share is a header with an offset table, all blocks, three hash trees (the first is unused and
//! zero), the hashes that tie this share to the others, and the extension block:
//!
//! ```text
//! version, block size, data size, six offsets      header
//! block of segment 0, block of segment 1, ...      data
//! zero bytes, as long as the next                  (a tree over the plaintext, once)
//! nodes of the ciphertext hash tree                crypttext tree
//! nodes of this share's block hash tree            block hashes
//! (node number, hash) of the share hash tree, ...  share hashes
//! length, extension block                          extension
//! ```
//!
//! Version 1 has 4-byte numbers, version 2 (for shares from 4 GiB) 8-byte ones, all big-endian;
//! the version itself has 4 bytes. As in `allmydata/immutable/layout.py`, a reader does not trust
//! the block and data sizes in the header: the true ones follow from the extension block.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::chain::{self, SHARE_HASH_LEN};
use crate::encoding::{Encoding, SEGMENTS_MAX, SHARES_MAX};
use crate::hash::Hash;
use crate::hashtree::node_count;

/// The length of a version 1 header, in bytes.
pub const HEADER_LEN_V1: usize = 0x24;
/// The length of a version 2 header, in bytes: enough to read of any share to parse its header.
pub const HEADER_LEN_V2: usize = 0x44;

/// The longest extension block read, in bytes; real ones have about 330, and the peer refuses
/// from 2000 on.
pub const EXTENSION_LEN_MAX: u32 = 1999;

/// The width of the numbers in a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 4-byte numbers.
    V1,
    /// 8-byte numbers.
    V2,
}

impl Version {
    /// The length of this version's header, in bytes.
    pub const fn header_len(self) -> usize {
        match self {
            Self::V1 => HEADER_LEN_V1,
            Self::V2 => HEADER_LEN_V2,
        }
    }

    /// The length of a number, in bytes.
    pub const fn field_len(self) -> usize {
        match self {
            Self::V1 => 4,
            Self::V2 => 8,
        }
    }

    fn write(self, out: &mut Vec<u8>, number: u64) {
        let bytes = number.to_be_bytes();
        out.extend_from_slice(&bytes[bytes.len() - self.field_len()..]);
    }

    fn read(self, field: &[u8]) -> u64 {
        field[..self.field_len()].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

/// The offset table of one share; all offsets are in bytes from the beginning of the share and in
/// the order of the fields here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShareLayout {
    version: Version,
    block_size: u64,
    data_size: u64,
    data: u64,
    plaintext_tree: u64,
    crypttext_tree: u64,
    block_hashes: u64,
    share_hashes: u64,
    extension: u64,
}

impl ShareLayout {
    /// The layout in which the shares of this file are written; all of them have the same.
    /// Version 1 unless a number does not fit into 32 bits.
    pub fn for_upload(encoding: &Encoding) -> Self {
        let small = Self::with_version(encoding, Version::V1);
        // Offsets grow along the table and the data lie before the last, so it is the greatest.
        if small.extension <= u64::from(u32::MAX) { small } else { Self::with_version(encoding, Version::V2) }
    }

    /// [`for_upload`](Self::for_upload) in version 2 whatever the size, to test readers with small
    /// shares.
    pub fn force_v2(encoding: &Encoding) -> Self {
        Self::with_version(encoding, Version::V2)
    }

    fn with_version(encoding: &Encoding, version: Version) -> Self {
        let tree_len = tree_len(encoding);
        let share_hashes_len = chain::entry_count(encoding.total()) * SHARE_HASH_LEN;
        let data = version.header_len() as u64;
        let plaintext_tree = data + encoding.share_data_size();
        let crypttext_tree = plaintext_tree + tree_len;
        let block_hashes = crypttext_tree + tree_len;
        let share_hashes = block_hashes + tree_len;
        Self {
            version,
            block_size: encoding.block_size().into(),
            data_size: encoding.share_data_size(),
            data,
            plaintext_tree,
            crypttext_tree,
            block_hashes,
            share_hashes,
            extension: share_hashes + share_hashes_len as u64,
        }
    }

    /// Reads the header at the beginning of a share. `prefix` may be longer than the header; with
    /// [`HEADER_LEN_V2`] bytes, or a whole shorter share, it is always long enough.
    ///
    /// # Errors
    /// [`ShareError::TooShort`] says how many bytes are needed; the others say what makes the
    /// share unreadable.
    pub fn parse(prefix: &[u8]) -> Result<Self, ShareError> {
        let too_short = |needed| ShareError::TooShort { needed, found: prefix.len() };
        let (version, rest) = prefix.split_first_chunk().ok_or(too_short(4))?;
        let version = match u32::from_be_bytes(*version) {
            1 => Version::V1,
            2 => Version::V2,
            version => return Err(ShareError::Version { version }),
        };
        let fields = rest.get(..version.header_len() - 4).ok_or(too_short(version.header_len()))?;
        let mut numbers = fields.chunks_exact(version.field_len()).map(|field| version.read(field));
        let mut next = || numbers.next().expect("the header has eight numbers");
        let layout = Self {
            version,
            block_size: next(),
            data_size: next(),
            data: next(),
            plaintext_tree: next(),
            crypttext_tree: next(),
            block_hashes: next(),
            share_hashes: next(),
            extension: next(),
        };
        layout.check()?;
        Ok(layout)
    }

    fn check(&self) -> Result<(), ShareError> {
        let starts = [
            (self.version.header_len() as u64, Section::Data),
            (self.data, Section::Data),
            (self.plaintext_tree, Section::PlaintextTree),
            (self.crypttext_tree, Section::CrypttextTree),
            (self.block_hashes, Section::BlockHashes),
            (self.share_hashes, Section::ShareHashes),
            (self.extension, Section::Extension),
        ];
        for pair in starts.windows(2) {
            if pair[1].0 < pair[0].0 {
                return Err(ShareError::Order { section: pair[1].1 });
            }
        }
        // Far beyond any real share, and arithmetic on offsets below cannot overflow.
        if self.extension > OFFSET_MAX {
            return Err(ShareError::Size { section: Section::Extension });
        }
        let block_hashes_len = self.share_hashes - self.block_hashes;
        let tree_len_max = node_count(SEGMENTS_MAX) * Hash::LEN as u64;
        if !block_hashes_len.is_multiple_of(Hash::LEN as u64) || block_hashes_len > tree_len_max {
            return Err(ShareError::Size { section: Section::BlockHashes });
        }
        let share_hashes_len = self.extension - self.share_hashes;
        let share_hashes_max = node_count(SHARES_MAX.into()) * SHARE_HASH_LEN as u64;
        if !share_hashes_len.is_multiple_of(SHARE_HASH_LEN as u64) || share_hashes_len > share_hashes_max {
            return Err(ShareError::Size { section: Section::ShareHashes });
        }
        Ok(())
    }

    /// Checks that the sections are large enough for a file of this encoding, once a reader knows
    /// it. Everything read by the ranges of this layout then lies in its own section.
    ///
    /// # Errors
    /// [`ShareError::Size`] with the first section that is too small.
    pub fn check_against(&self, encoding: &Encoding) -> Result<(), ShareError> {
        let tree_len = tree_len(encoding);
        let rooms = [
            (Section::Data, self.plaintext_tree - self.data, encoding.share_data_size()),
            (Section::CrypttextTree, self.block_hashes - self.crypttext_tree, tree_len),
            (Section::BlockHashes, self.share_hashes - self.block_hashes, tree_len),
        ];
        match rooms.into_iter().find(|(_, room, needed)| room < needed) {
            Some((section, ..)) => Err(ShareError::Size { section }),
            None => Ok(()),
        }
    }

    /// The width of the numbers.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The header as written.
    pub fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(self.version.header_len());
        let version: u32 = match self.version {
            Version::V1 => 1,
            Version::V2 => 2,
        };
        header.extend_from_slice(&version.to_be_bytes());
        for number in [
            self.block_size,
            self.data_size,
            self.data,
            self.plaintext_tree,
            self.crypttext_tree,
            self.block_hashes,
            self.share_hashes,
            self.extension,
        ] {
            self.version.write(&mut header, number);
        }
        header
    }

    /// The length of the whole share, which a server is asked to set aside, when its packed
    /// extension block has `extension_len` bytes.
    pub const fn allocated_size(&self, extension_len: usize) -> u64 {
        self.extension + (self.version.field_len() + extension_len) as u64
    }

    /// Where the block of a segment is.
    ///
    /// # Panics
    /// If there is no such segment.
    pub const fn block_range(&self, encoding: &Encoding, segnum: u64) -> Range<u64> {
        let start = self.data + segnum * encoding.block_size() as u64;
        start..start + encoding.block_len(segnum) as u64
    }

    /// Where the blocks end and what is written once all segments are encoded begins.
    pub const fn tail_offset(&self) -> u64 {
        self.plaintext_tree
    }

    /// Where the unused plaintext tree is.
    pub const fn plaintext_tree_range(&self) -> Range<u64> {
        self.plaintext_tree..self.crypttext_tree
    }

    /// Where the ciphertext hash tree is.
    pub const fn crypttext_tree_range(&self) -> Range<u64> {
        self.crypttext_tree..self.block_hashes
    }

    /// Where one node of the ciphertext hash tree is.
    pub const fn crypttext_node_range(&self, node: u64) -> Range<u64> {
        hash_range(self.crypttext_tree, node)
    }

    /// Where the block hash tree is.
    pub const fn block_hashes_range(&self) -> Range<u64> {
        self.block_hashes..self.share_hashes
    }

    /// Where one node of the block hash tree is.
    pub const fn block_node_range(&self, node: u64) -> Range<u64> {
        hash_range(self.block_hashes, node)
    }

    /// Where the hashes are that tie this share to the others; see
    /// [`parse_share_hashes`](super::parse_share_hashes).
    pub const fn share_hashes_range(&self) -> Range<u64> {
        self.share_hashes..self.extension
    }

    /// Where the length of the extension block is.
    pub const fn extension_length_range(&self) -> Range<u64> {
        self.extension..self.extension + self.version.field_len() as u64
    }

    /// Reads the length of the extension block from the bytes at
    /// [`extension_length_range`](Self::extension_length_range).
    ///
    /// # Errors
    /// [`ShareError::TooShort`], or [`ShareError::Size`] for more than [`EXTENSION_LEN_MAX`].
    pub fn parse_extension_length(&self, field: &[u8]) -> Result<u32, ShareError> {
        let needed = self.version.field_len();
        if field.len() < needed {
            return Err(ShareError::TooShort { needed, found: field.len() });
        }
        match u32::try_from(self.version.read(field)) {
            Ok(len) if len <= EXTENSION_LEN_MAX => Ok(len),
            _ => Err(ShareError::Size { section: Section::Extension }),
        }
    }

    /// Where the extension block of this length is.
    pub const fn extension_range(&self, extension_len: u32) -> Range<u64> {
        let start = self.extension + self.version.field_len() as u64;
        start..start + extension_len as u64
    }

    /// The length of the extension block as written before it.
    pub(crate) fn write_extension_length(&self, out: &mut Vec<u8>, extension_len: usize) {
        self.version.write(out, extension_len as u64);
    }
}

/// The greatest offset read from a share.
const OFFSET_MAX: u64 = 1 << 60;

fn tree_len(encoding: &Encoding) -> u64 {
    node_count(encoding.num_segments()) * Hash::LEN as u64
}

const fn hash_range(tree: u64, node: u64) -> Range<u64> {
    let start = tree + node * Hash::LEN as u64;
    start..start + Hash::LEN as u64
}

/// A part of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// The blocks.
    Data,
    /// The unused tree.
    PlaintextTree,
    /// The ciphertext hash tree.
    CrypttextTree,
    /// The block hash tree.
    BlockHashes,
    /// The hashes that tie the share to the others.
    ShareHashes,
    /// The extension block with its length.
    Extension,
}

impl fmt::Display for Section {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Data => "data",
            Self::PlaintextTree => "plaintext hash tree",
            Self::CrypttextTree => "ciphertext hash tree",
            Self::BlockHashes => "block hash tree",
            Self::ShareHashes => "share hashes",
            Self::Extension => "extension block",
        })
    }
}

/// Why a share cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShareError {
    /// Fewer bytes than needed (both counted from the beginning of what was given).
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// A share of a version unknown here.
    Version {
        /// The version it says.
        version: u32,
    },
    /// A section begins before the one that it should follow.
    Order {
        /// The section.
        section: Section,
    },
    /// A section has an impossible size.
    Size {
        /// The section.
        section: Section,
    },
    /// The same node of the share hash tree twice, with different hashes.
    Contradiction {
        /// The node.
        node: u16,
    },
}

impl fmt::Display for ShareError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { needed, found } => {
                write!(out, "the share ends after {found} of {needed} bytes")
            }
            Self::Version { version } => write!(out, "shares of version {version} are unknown"),
            Self::Order { section } => write!(out, "the {section} of the share is out of order"),
            Self::Size { section } => {
                write!(out, "the {section} of the share has an impossible size")
            }
            Self::Contradiction { node } => {
                write!(out, "the share has two different hashes for node {node}")
            }
        }
    }
}

impl core::error::Error for ShareError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::EncodingParams;
    use proptest::prelude::*;

    fn encoding(size: u64) -> Encoding {
        let params = EncodingParams::new(3, 10, 1 << 20).expect("valid");
        Encoding::new(&params, size).expect("valid")
    }

    #[test]
    fn a_small_share() {
        let layout = ShareLayout::for_upload(&encoding(56));
        assert_eq!(layout.version(), Version::V1);
        // 3-of-10: four levels of siblings and the leaf, 34 bytes each; one segment: one node.
        assert_eq!(layout.block_range(&encoding(56), 0), 0x24..0x24 + 19);
        assert_eq!(layout.tail_offset(), 55);
        assert_eq!(layout.crypttext_tree_range(), 87..119);
        assert_eq!(layout.block_hashes_range(), 119..151);
        assert_eq!(layout.share_hashes_range(), 151..151 + 5 * 34);
        assert_eq!(layout.allocated_size(300), 151 + 170 + 4 + 300);
        assert_eq!(layout.header().len(), 0x24);
    }

    #[test]
    fn version_2_from_where_numbers_no_longer_fit() {
        // The largest file whose last offset still fits into 32 bits.
        let fits = |size| ShareLayout::for_upload(&encoding(size)).version() == Version::V1;
        let (mut low, mut high) = (1, 20 << 30);
        while low + 1 < high {
            let middle = (low + high) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        let last = ShareLayout::for_upload(&encoding(low));
        let first = ShareLayout::for_upload(&encoding(low + 1));
        assert!(last.extension <= u64::from(u32::MAX));
        assert!(first.extension - 0x20 > u64::from(u32::MAX));
        assert_eq!(first.header().len(), 0x44);
        assert_eq!(ShareLayout::parse(&first.header()), Ok(first));
    }

    #[test]
    fn hostile_headers() {
        let encoding = encoding(5 << 20);
        let layout = ShareLayout::for_upload(&encoding);
        let parse = |change: fn(&mut ShareLayout)| {
            let mut changed = layout;
            change(&mut changed);
            ShareLayout::parse(&changed.header())
        };
        let size = |section| Err(ShareError::Size { section });
        let order = |section| Err(ShareError::Order { section });
        assert_eq!(parse(|layout| layout.data = 0x23), order(Section::Data));
        assert_eq!(parse(|layout| layout.plaintext_tree = 0), order(Section::PlaintextTree));
        assert_eq!(parse(|layout| layout.crypttext_tree = 0), order(Section::CrypttextTree));
        assert_eq!(parse(|layout| layout.extension = 0), order(Section::Extension));
        assert_eq!(parse(|layout| layout.extension += 1), size(Section::ShareHashes));
        assert_eq!(parse(|layout| layout.extension += 34 * 600), size(Section::ShareHashes));
        assert_eq!(
            parse(|layout| {
                layout.share_hashes += 34;
                layout.extension += 34
            }),
            size(Section::BlockHashes)
        );
        // These are not trusted, so they may be anything.
        assert!(
            parse(|layout| {
                layout.block_size = 0;
                layout.data_size = 7
            })
            .is_ok()
        );

        let mut version = layout.header();
        version[3] = 3;
        assert_eq!(ShareLayout::parse(&version), Err(ShareError::Version { version: 3 }));
        let mut huge = ShareLayout::force_v2(&encoding);
        huge.share_hashes = u64::MAX - 170;
        huge.extension = u64::MAX;
        assert_eq!(ShareLayout::parse(&huge.header()), size(Section::Extension));
    }

    #[test]
    fn sections_too_small_for_the_file() {
        let small = encoding(5 << 20);
        let layout = ShareLayout::for_upload(&small);
        assert_eq!(layout.check_against(&small), Ok(()));
        let longer = encoding((5 << 20) + 4);
        assert_eq!(layout.check_against(&longer), Err(ShareError::Size { section: Section::Data }));
    }

    #[test]
    fn extension_lengths() {
        let v1 = ShareLayout::for_upload(&encoding(56));
        let v2 = ShareLayout::force_v2(&encoding(56));
        assert_eq!(v1.parse_extension_length(&[0, 0, 1, 2, 9]), Ok(258));
        assert_eq!(v2.parse_extension_length(&[0, 0, 0, 0, 0, 0, 1, 2]), Ok(258));
        assert_eq!(v2.parse_extension_length(&[0; 7]), Err(ShareError::TooShort { needed: 8, found: 7 }));
        assert_eq!(
            v1.parse_extension_length(&2000u32.to_be_bytes()),
            Err(ShareError::Size { section: Section::Extension })
        );
        assert_eq!(
            v2.parse_extension_length(&[1, 0, 0, 0, 0, 0, 0, 0]),
            Err(ShareError::Size { section: Section::Extension })
        );
    }

    proptest! {
        #[test]
        fn headers_read_back_and_prefixes_say_how_much_is_missing(size in 1u64..1 << 50, force: bool) {
            let encoding = encoding(size);
            let layout = if force { ShareLayout::force_v2(&encoding) } else { ShareLayout::for_upload(&encoding) };
            let header = layout.header();
            prop_assert_eq!(ShareLayout::parse(&header), Ok(layout));
            prop_assert_eq!(layout.check_against(&encoding), Ok(()));
            for found in 0..header.len() {
                let needed = if found < 4 { 4 } else { header.len() };
                prop_assert_eq!(ShareLayout::parse(&header[..found]), Err(ShareError::TooShort { needed, found }));
            }
        }

        #[test]
        fn arbitrary_headers(version in 0u8..4, rest in proptest::collection::vec(any::<u8>(), 0..80), zeros in any::<u64>()) {
            // Zeroing the upper bytes of some numbers lets them pass the first checks.
            let mut header = alloc::vec![0, 0, 0, version];
            header.extend(rest.iter().enumerate().map(|(i, byte)| if zeros >> (i % 64) & 1 == 1 { 0 } else { *byte }));
            if let Ok(layout) = ShareLayout::parse(&header) {
                let _ = layout.check_against(&encoding(1 << 40));
                let _ = layout.allocated_size(2000);
                let _ = layout.block_range(&encoding(1 << 40), 99);
                let _ = layout.crypttext_node_range(1 << 33);
                let _ = layout.extension_range(EXTENSION_LEN_MAX);
            }
        }
    }
}
