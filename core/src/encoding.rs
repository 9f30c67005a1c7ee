//! How a file is cut into segments and blocks.
//!
//! A file of `size` bytes is cut into segments; each segment, padded with zero bytes to a multiple
//! of `needed`, is cut into `needed` primary blocks, from which `total` blocks are made, one for
//! each share. All segments but the last (the tail) have the same length.

use core::fmt;
use core::ops::Range;

/// The most shares a file can have: the erasure code has 256 points.
pub const SHARES_MAX: u16 = 256;

/// The longest segment this implementation writes or reads, in bytes: 16 MiB.
///
/// A reader holds whole segments in memory and learns their length from the uploader, so there has
/// to be a bound. The peer writes 1 MiB by default (128 KiB before 1.20); 16 MiB leaves room for a
/// generous setting. A parsed segment may exceed it by the rounding to a multiple of `needed`.
pub const SEGMENT_SIZE_MAX: u32 = 16 << 20;

/// The most segments of one file, 2^32: a file of 512 TiB with segments of 128 KiB.
///
/// Together with [`SEGMENT_SIZE_MAX`] it keeps every offset within a share far below 2^64.
pub const SEGMENTS_MAX: u64 = 1 << 32;

/// What an uploader chooses: how many shares, how many of them suffice, how long segments may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncodingParams {
    needed: u16,
    total: u16,
    max_segment_size: u32,
}

impl EncodingParams {
    /// Checks `1 <= needed <= total <= 256` and `1 <= max_segment_size <= SEGMENT_SIZE_MAX` (bytes).
    ///
    /// # Errors
    /// Names the first condition that does not hold.
    pub fn new(needed: u16, total: u16, max_segment_size: u32) -> Result<Self, EncodingError> {
        check_shares(needed, total)?;
        if max_segment_size == 0 || max_segment_size > SEGMENT_SIZE_MAX {
            return Err(EncodingError::SegmentSize { segment_size: max_segment_size.into() });
        }
        Ok(Self { needed, total, max_segment_size })
    }

    /// How many shares suffice to read the file.
    pub const fn needed(&self) -> u16 {
        self.needed
    }

    /// How many shares there are.
    pub const fn total(&self) -> u16 {
        self.total
    }

    /// The longest segment wished for, in bytes; small files get shorter ones.
    pub const fn max_segment_size(&self) -> u32 {
        self.max_segment_size
    }
}

/// The geometry of one file: everything that follows from its size, shares and segment size.
///
/// Lengths and offsets are in bytes. There are no empty files: those are literal capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    size: u64,
    needed: u16,
    total: u16,
    segment_size: u32,
    num_segments: u64,
    tail_segment_size: u32,
}

impl Encoding {
    /// The geometry an uploader uses for a file of `size` bytes: segments as long as allowed but
    /// not longer than the file, rounded up to a multiple of `needed`.
    ///
    /// # Errors
    /// For an empty file, and for one of more than [`SEGMENTS_MAX`] segments.
    pub fn new(params: &EncodingParams, size: u64) -> Result<Self, EncodingError> {
        let unrounded = size.min(params.max_segment_size.into());
        let segment_size = unrounded.next_multiple_of(params.needed.into());
        Self::from_segment_size(params.needed, params.total, segment_size, size)
    }

    /// The geometry of a file whose actual segment size is known, as a reader learns it from the
    /// extension block. Safe to call with whatever was read.
    ///
    /// # Errors
    /// If the numbers do not describe a file, or one past this implementation's bounds.
    pub fn from_segment_size(
        needed: u16,
        total: u16,
        segment_size: u64,
        size: u64,
    ) -> Result<Self, EncodingError> {
        check_shares(needed, total)?;
        if size == 0 {
            return Err(EncodingError::EmptyFile);
        }
        let longest = u64::from(SEGMENT_SIZE_MAX).next_multiple_of(needed.into());
        if segment_size == 0 || segment_size > longest {
            return Err(EncodingError::SegmentSize { segment_size });
        }
        if !segment_size.is_multiple_of(needed.into()) {
            return Err(EncodingError::SegmentNotDivisible { segment_size, needed });
        }
        let num_segments = size.div_ceil(segment_size);
        if num_segments > SEGMENTS_MAX {
            return Err(EncodingError::TooManySegments { num_segments });
        }
        let tail = size - (num_segments - 1) * segment_size;
        let as_length = |length: u64| u32::try_from(length).expect("at most a segment");
        Ok(Self {
            size,
            needed,
            total,
            segment_size: as_length(segment_size),
            num_segments,
            tail_segment_size: as_length(tail),
        })
    }

    /// The length of the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many shares suffice to read the file.
    pub const fn needed(&self) -> u16 {
        self.needed
    }

    /// How many shares there are.
    pub const fn total(&self) -> u16 {
        self.total
    }

    /// The length of every segment but the tail; a multiple of `needed`. In a file of one segment
    /// it can exceed the file's length.
    pub const fn segment_size(&self) -> u32 {
        self.segment_size
    }

    /// How many segments there are; at least one.
    pub const fn num_segments(&self) -> u64 {
        self.num_segments
    }

    /// The length of every block but those of the tail.
    pub const fn block_size(&self) -> u32 {
        self.segment_size / self.needed as u32
    }

    /// The length of the last segment's content; from one to `segment_size`.
    pub const fn tail_segment_size(&self) -> u32 {
        self.tail_segment_size
    }

    /// The tail's length once padded to a multiple of `needed`.
    pub const fn tail_padded_size(&self) -> u32 {
        self.tail_segment_size.next_multiple_of(self.needed as u32)
    }

    /// The length of the tail's blocks.
    pub const fn tail_block_size(&self) -> u32 {
        self.tail_padded_size() / self.needed as u32
    }

    /// The length of all blocks of one share together.
    pub const fn share_data_size(&self) -> u64 {
        (self.num_segments - 1) * self.block_size() as u64 + self.tail_block_size() as u64
    }

    /// The content length of a segment, without padding.
    ///
    /// # Panics
    /// If there is no such segment; so do the other functions of a segment number.
    pub const fn segment_len(&self, segnum: u64) -> u32 {
        if self.is_tail(segnum) { self.tail_segment_size } else { self.segment_size }
    }

    /// The length of a segment with its padding: `needed` blocks.
    pub const fn padded_len(&self, segnum: u64) -> u32 {
        self.block_len(segnum) * self.needed as u32
    }

    /// The length of each block of a segment.
    pub const fn block_len(&self, segnum: u64) -> u32 {
        if self.is_tail(segnum) { self.tail_block_size() } else { self.block_size() }
    }

    /// Where a segment begins in the file.
    pub const fn segment_offset(&self, segnum: u64) -> u64 {
        assert!(segnum < self.num_segments, "no such segment");
        segnum * self.segment_size as u64
    }

    /// The bytes of the file that a segment holds.
    pub const fn segment_range(&self, segnum: u64) -> Range<u64> {
        let start = self.segment_offset(segnum);
        start..start + self.segment_len(segnum) as u64
    }

    /// The segment that holds the byte at `offset`; `None` past the end of the file.
    pub const fn segment_of(&self, offset: u64) -> Option<u64> {
        if offset < self.size { Some(offset / self.segment_size as u64) } else { None }
    }

    const fn is_tail(&self, segnum: u64) -> bool {
        assert!(segnum < self.num_segments, "no such segment");
        segnum == self.num_segments - 1
    }
}

/// Why some numbers are not the encoding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncodingError {
    /// Not `1 <= needed <= total <= 256`.
    Shares {
        /// Shares that should suffice.
        needed: u16,
        /// Shares in all.
        total: u16,
    },
    /// A segment of no bytes, or of more than [`SEGMENT_SIZE_MAX`].
    SegmentSize {
        /// In bytes.
        segment_size: u64,
    },
    /// A segment cannot be cut into `needed` equal blocks.
    SegmentNotDivisible {
        /// In bytes.
        segment_size: u64,
        /// Shares that suffice.
        needed: u16,
    },
    /// More than [`SEGMENTS_MAX`] segments.
    TooManySegments {
        /// How many there would be.
        num_segments: u64,
    },
    /// An empty file has no shares.
    EmptyFile,
}

impl fmt::Display for EncodingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shares { needed, total } => write!(
                out,
                "{needed}-of-{total} is no encoding: at least 1 share must suffice, \
                 and there can be at most {SHARES_MAX}"
            ),
            Self::SegmentSize { segment_size } => {
                write!(out, "segments of {segment_size} bytes are not within 1 to {SEGMENT_SIZE_MAX}")
            }
            Self::SegmentNotDivisible { segment_size, needed } => {
                write!(out, "a segment of {segment_size} bytes cannot be cut into {needed} equal blocks")
            }
            Self::TooManySegments { num_segments } => {
                write!(out, "{num_segments} segments are more than the {SEGMENTS_MAX} a file may have")
            }
            Self::EmptyFile => write!(out, "an empty file has no shares"),
        }
    }
}

impl core::error::Error for EncodingError {}

pub(crate) fn check_shares(needed: u16, total: u16) -> Result<(), EncodingError> {
    if 1 <= needed && needed <= total && total <= SHARES_MAX {
        Ok(())
    } else {
        Err(EncodingError::Shares { needed, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoding(needed: u16, total: u16, max_segment_size: u32, size: u64) -> Encoding {
        let params = EncodingParams::new(needed, total, max_segment_size).expect("valid");
        Encoding::new(&params, size).expect("valid")
    }

    #[test]
    fn one_small_segment() {
        let encoding = encoding(3, 10, 131_072, 56);
        assert_eq!(encoding.segment_size(), 57);
        assert_eq!(encoding.num_segments(), 1);
        assert_eq!(encoding.block_size(), 19);
        assert_eq!(encoding.tail_segment_size(), 56);
        assert_eq!(encoding.tail_padded_size(), 57);
        assert_eq!(encoding.share_data_size(), 19);
        assert_eq!(encoding.segment_len(0), 56);
    }

    #[test]
    fn segment_borders() {
        // 1024 is rounded up to 1026, so that is where the second segment begins.
        let encoding = encoding(3, 10, 1024, 1027);
        assert_eq!(encoding.segment_size(), 1026);
        assert_eq!(encoding.num_segments(), 2);
        assert_eq!(encoding.tail_segment_size(), 1);
        assert_eq!(encoding.tail_block_size(), 1);
        assert_eq!(encoding.share_data_size(), 343);
        assert_eq!(encoding.segment_of(1025), Some(0));
        assert_eq!(encoding.segment_of(1026), Some(1));
        assert_eq!(encoding.segment_of(1027), None);
        assert_eq!(encoding.segment_range(1), 1026..1027);
    }

    #[test]
    fn refusals() {
        use EncodingError::*;
        for (needed, total) in [(0, 1), (0, 0), (2, 1), (1, 257), (300, 300)] {
            assert_eq!(EncodingParams::new(needed, total, 1), Err(Shares { needed, total }));
        }
        assert_eq!(EncodingParams::new(1, 1, 0), Err(SegmentSize { segment_size: 0 }));
        assert!(EncodingParams::new(1, 1, SEGMENT_SIZE_MAX + 1).is_err());
        let parse = Encoding::from_segment_size;
        assert_eq!(parse(3, 10, 1024, 5000), Err(SegmentNotDivisible { segment_size: 1024, needed: 3 }));
        assert_eq!(parse(3, 10, 1026, 0), Err(EmptyFile));
        assert_eq!(parse(1, 1, 1, u64::MAX), Err(TooManySegments { num_segments: u64::MAX }));
    }

    proptest! {
        #[test]
        fn hostile_numbers_never_overflow(needed: u16, total: u16, segment_size: u64, size: u64) {
            let _ = Encoding::from_segment_size(needed, total, segment_size, size);
            let needed = needed % 256 + 1;
            let segment_size = (segment_size % 70_000 + 1) * u64::from(needed);
            let _ = Encoding::from_segment_size(needed, 256, segment_size, size);
        }

        #[test]
        fn the_parts_make_the_whole(
            needed in 1u16..=256, max_segment_size in 1u32..5000, size in 1u64..100_000
        ) {
            let encoding = encoding(needed, 256, max_segment_size, size);
            let segments = 0..encoding.num_segments();
            let lengths = segments.clone().map(|segnum| u64::from(encoding.segment_len(segnum)));
            prop_assert_eq!(lengths.sum::<u64>(), size);
            let blocks = segments.clone().map(|segnum| u64::from(encoding.block_len(segnum)));
            prop_assert_eq!(blocks.sum::<u64>(), encoding.share_data_size());
            prop_assert_eq!(encoding.share_data_size(), size.div_ceil(needed.into()));
            for segnum in segments {
                let range = encoding.segment_range(segnum);
                prop_assert_eq!(encoding.segment_of(range.start), Some(segnum));
                prop_assert_eq!(encoding.segment_of(range.end - 1), Some(segnum));
                prop_assert!(encoding.padded_len(segnum) >= encoding.segment_len(segnum));
            }
            let read_back =
                Encoding::from_segment_size(needed, 256, encoding.segment_size().into(), size);
            prop_assert_eq!(read_back, Ok(encoding));
        }
    }
}
