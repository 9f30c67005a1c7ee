//! How a mutable file is cut up.

use core::ops::Range;

use super::version::SALT_LEN;
use crate::capability::MutableFormat;
use crate::encoding::{Encoding, EncodingError};

/// The most shares a mutable file can have: the number is one byte in the share.
pub const MUTABLE_SHARES_MAX: u16 = 255;

/// The length of the segments of MDMF in bytes, but for the rounding to a multiple of k.
pub const MDMF_SEGMENT_SIZE: u32 = 128 << 10;

/// The geometry of one version of a mutable file, which may be empty.
///
/// A block *as stored* is, in MDMF, the salt of its segment and the block; in SDMF the block alone.
/// Either way its hash is that of the bytes as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MutableEncoding {
    format: MutableFormat,
    needed: u8,
    total: u8,
    segment_size: u64,
    /// `None` for an empty file.
    cut: Option<Encoding>,
}

impl MutableEncoding {
    /// The geometry a writer uses for a file of `size` bytes: one segment (SDMF), or segments of
    /// [`MDMF_SEGMENT_SIZE`], whatever the size.
    ///
    /// # Errors
    /// For impossible numbers of shares, and for a file too large: SDMF files can have one segment
    /// of at most [`SEGMENT_SIZE_MAX`](crate::encoding::SEGMENT_SIZE_MAX).
    pub fn for_writing(
        format: MutableFormat,
        needed: u8,
        total: u8,
        size: u64,
    ) -> Result<Self, EncodingError> {
        let unrounded = match format {
            MutableFormat::Sdmf => size,
            MutableFormat::Mdmf => MDMF_SEGMENT_SIZE.into(),
        };
        let segment_size = unrounded.checked_next_multiple_of(needed.max(1).into());
        let segment_size = segment_size.ok_or(EncodingError::SegmentSize { segment_size: unrounded })?;
        Self::from_segment_size(format, needed, total, segment_size, size)
    }

    /// The geometry of a file as its shares tell it. Safe to call with whatever was read.
    ///
    /// # Errors
    /// If the numbers do not describe a file, or one past this implementation's bounds.
    pub fn from_segment_size(
        format: MutableFormat,
        needed: u8,
        total: u8,
        segment_size: u64,
        size: u64,
    ) -> Result<Self, EncodingError> {
        // An empty file's numbers must be possible, too.
        let checked_size = if size == 0 { 1 } else { size };
        let checked_segment = if size == 0 && segment_size == 0 { needed.into() } else { segment_size };
        let cut = Encoding::from_segment_size(needed.into(), total.into(), checked_segment, checked_size)?;
        if format == MutableFormat::Sdmf && cut.num_segments() > 1 {
            return Err(EncodingError::TooManySegments { num_segments: cut.num_segments() });
        }
        Ok(Self { format, needed, total, segment_size, cut: (size > 0).then_some(cut) })
    }

    /// The layout of the shares.
    pub const fn format(&self) -> MutableFormat {
        self.format
    }

    /// How many shares suffice to read the file.
    pub const fn needed(&self) -> u8 {
        self.needed
    }

    /// How many shares there are.
    pub const fn total(&self) -> u8 {
        self.total
    }

    /// The length of every segment but the last, as written into shares; of an empty SDMF file 0.
    pub const fn segment_size(&self) -> u64 {
        self.segment_size
    }

    /// The length of the file in bytes.
    pub fn size(&self) -> u64 {
        self.cut.map_or(0, |cut| cut.size())
    }

    /// How segments are cut into blocks; `None` for an empty file, which has none.
    pub const fn cut(&self) -> Option<&Encoding> {
        self.cut.as_ref()
    }

    /// How many segments there are; none in an empty file.
    pub fn num_segments(&self) -> u64 {
        self.cut.map_or(0, |cut| cut.num_segments())
    }

    /// Where the block of a segment is stored, from the beginning of the share's data.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn stored_range(&self, segnum: u64) -> Range<u64> {
        let cut = self.cut.expect("a segment that exists");
        let start = segnum * (u64::from(cut.block_size()) + self.salt_len());
        start..start + u64::from(cut.block_len(segnum)) + self.salt_len()
    }

    /// The length of all blocks of one share as stored.
    pub fn data_len(&self) -> u64 {
        self.cut.map_or(0, |cut| cut.share_data_size() + cut.num_segments() * self.salt_len())
    }

    const fn salt_len(&self) -> u64 {
        match self.format {
            MutableFormat::Sdmf => 0,
            MutableFormat::Mdmf => SALT_LEN as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MutableFormat::{Mdmf, Sdmf};

    #[test]
    fn sizes_that_writers_choose() {
        for (format, needed, size, segment_size, segments, data_len) in [
            (Sdmf, 3, 0, 0, 0, 0),
            (Sdmf, 3, 1, 3, 1, 1),
            (Sdmf, 3, 1000, 1002, 1, 334),
            (Mdmf, 3, 0, 131_073, 0, 0),
            (Mdmf, 3, 1, 131_073, 1, 17),
            (Mdmf, 1, 131_072, 131_072, 1, 131_088),
            (Mdmf, 3, 131_074, 131_073, 2, 43_691 + 16 + 17),
        ] {
            let encoding = MutableEncoding::for_writing(format, needed, 10, size).expect("possible");
            assert_eq!(encoding.segment_size(), segment_size, "{format:?} {size}");
            assert_eq!((encoding.num_segments(), encoding.data_len()), (segments, data_len));
            assert_eq!(encoding.size(), size);
            let last = (0..segments).last().map_or(0, |segnum| encoding.stored_range(segnum).end);
            assert_eq!(last, data_len);
        }
    }

    #[test]
    fn impossible_numbers() {
        let read = |format, needed, total, segment_size, size| {
            MutableEncoding::from_segment_size(format, needed, total, segment_size, size).map(|_| ())
        };
        assert_eq!(read(Sdmf, 3, 10, 6, 6), Ok(()));
        assert_eq!(read(Sdmf, 3, 10, 6, 7), Err(EncodingError::TooManySegments { num_segments: 2 }));
        for size in [0, 7] {
            assert_eq!(read(Mdmf, 0, 10, 6, size), Err(EncodingError::Shares { needed: 0, total: 10 }));
            assert_eq!(read(Mdmf, 4, 3, 8, size), Err(EncodingError::Shares { needed: 4, total: 3 }));
            assert_eq!(
                read(Mdmf, 3, 10, 7, size),
                Err(EncodingError::SegmentNotDivisible { segment_size: 7, needed: 3 })
            );
            let segment_size = 3 << 40;
            assert_eq!(
                read(Mdmf, 3, 10, segment_size, size),
                Err(EncodingError::SegmentSize { segment_size })
            );
        }
        assert_eq!(read(Mdmf, 3, 10, 0, 7), Err(EncodingError::SegmentSize { segment_size: 0 }));
        assert!(MutableEncoding::for_writing(Sdmf, 3, 10, 17 << 20).is_err());
        assert!(MutableEncoding::for_writing(Sdmf, 3, 10, u64::MAX).is_err());
        assert!(MutableEncoding::for_writing(Sdmf, 0, 10, 5).is_err());
    }
}
