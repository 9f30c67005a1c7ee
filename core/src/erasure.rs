//! The erasure code: any `needed` of `total` blocks give back the others.
//!
//! It is zfec's code. Byte by byte, the primary blocks are the values of a polynomial of degree
//! below `needed` over GF(2^8) (modulus 0x11d) at the points of shares `0..needed`; block `i` is
//! its value at the point of share `i`. The points are 0, then the powers of 2: 0, 1, 2, 4, 8, ...
//! So both encoding and decoding are one thing, Lagrange's interpolation at other points.
//!
//! This is the only module that names the crate `reed_solomon_erasure`, and it uses nothing but its
//! field arithmetic: the crate's own matrices have other points and make other shares.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use reed_solomon_erasure::galois_8;

use crate::encoding::check_shares;

/// Makes the secondary blocks of segments; built once for a file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Encoder {
    needed: u16,
    total: u16,
    /// One row of `needed` coefficients for each share from `needed` on.
    rows: Vec<u8>,
}

impl Encoder {
    /// Prepares an encoder for `needed`-of-`total`; takes time and memory in proportion to
    /// `needed * total`.
    ///
    /// # Errors
    /// [`ErasureError::Shares`] unless `1 <= needed <= total <= 256`.
    pub fn new(needed: u16, total: u16) -> Result<Self, ErasureError> {
        check_shares(needed, total).map_err(|_| ErasureError::Shares)?;
        let primaries: Vec<u16> = (0..needed).collect();
        let interpolation = Interpolation::new(&primaries);
        let rows = (needed..total).flat_map(|share| interpolation.row(share)).collect();
        Ok(Self { needed, total, rows })
    }

    /// How many blocks suffice.
    pub fn needed(&self) -> u16 {
        self.needed
    }

    /// How many blocks there are.
    pub fn total(&self) -> u16 {
        self.total
    }

    /// Makes the blocks of the shares `wanted`, each in the place of `out` with the same index,
    /// whose content is replaced. Shares below `needed` are the primaries themselves and are not
    /// accepted here: there is nothing to compute.
    ///
    /// # Errors
    /// [`ErasureError::Count`] unless there are `needed` primaries and as many places as wanted
    /// shares, [`ErasureError::Length`] unless the primaries are equally long,
    /// [`ErasureError::NoSuchShare`] for a wanted share outside `needed..total`.
    pub fn encode(
        &self,
        primaries: &[&[u8]],
        wanted: &[u16],
        out: &mut [Vec<u8>],
    ) -> Result<(), ErasureError> {
        if primaries.len() != usize::from(self.needed) || wanted.len() != out.len() {
            return Err(ErasureError::Count);
        }
        let block_len = equal_length(primaries)?;
        let mut rows = Vec::with_capacity(wanted.len());
        for &share in wanted {
            if share < self.needed || share >= self.total {
                return Err(ErasureError::NoSuchShare { share });
            }
            let start = usize::from(share - self.needed) * primaries.len();
            rows.push(&self.rows[start..start + primaries.len()]);
        }
        for block in out.iter_mut() {
            block.clear();
            block.reserve_exact(block_len);
        }
        for strip in strips(block_len) {
            for (row, block) in rows.iter().zip(out.iter_mut()) {
                block.resize(strip.end, 0);
                combine(
                    row,
                    primaries.iter().map(|primary| &primary[strip.clone()]),
                    &mut block[strip.clone()],
                );
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Encoder({}-of-{})", self.needed, self.total)
    }
}

/// Puts the primary blocks together from any `needed` different shares: `segment`, of `needed`
/// blocks' length, receives them in order. Blocks that are primaries are copied, the others
/// computed.
///
/// # Errors
/// [`ErasureError::Shares`] for an impossible encoding, [`ErasureError::Count`] unless exactly
/// `needed` shares are given, [`ErasureError::Length`] unless they are equally long and fill
/// `segment`, [`ErasureError::NoSuchShare`] and [`ErasureError::Duplicate`] for their numbers.
pub fn decode_into(
    needed: u16,
    total: u16,
    shares: &[(u16, &[u8])],
    segment: &mut [u8],
) -> Result<(), ErasureError> {
    let numbers = check_decode(needed, total, shares)?;
    let blocks: Vec<&[u8]> = shares.iter().map(|(_, block)| *block).collect();
    let block_len = equal_length(&blocks)?;
    if segment.len() != block_len * blocks.len() {
        return Err(ErasureError::Length);
    }
    if block_len == 0 {
        return Ok(());
    }
    let mut missing = Vec::new();
    for (primary, place) in (0..needed).zip(segment.chunks_exact_mut(block_len)) {
        match numbers.iter().position(|&share| share == primary) {
            Some(given) => place.copy_from_slice(blocks[given]),
            None => missing.push((primary, place)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let interpolation = Interpolation::new(&numbers);
    let rows: Vec<Vec<u8>> = missing.iter().map(|(primary, _)| interpolation.row(*primary)).collect();
    for strip in strips(block_len) {
        for (row, (_, place)) in rows.iter().zip(&mut missing) {
            combine(row, blocks.iter().map(|block| &block[strip.clone()]), &mut place[strip.clone()]);
        }
    }
    Ok(())
}

/// The primary blocks that are not among `shares`, with their numbers in ascending order.
///
/// # Errors
/// As [`decode_into`].
pub fn decode(needed: u16, total: u16, shares: &[(u16, &[u8])]) -> Result<Vec<(u16, Vec<u8>)>, ErasureError> {
    let numbers = check_decode(needed, total, shares)?;
    let blocks: Vec<&[u8]> = shares.iter().map(|(_, block)| *block).collect();
    let block_len = equal_length(&blocks)?;
    let interpolation = Interpolation::new(&numbers);
    let missing = (0..needed).filter(|primary| !numbers.contains(primary));
    Ok(missing
        .map(|primary| {
            let row = interpolation.row(primary);
            let mut out = vec![0; block_len];
            for strip in strips(block_len) {
                combine(&row, blocks.iter().map(|block| &block[strip.clone()]), &mut out[strip.clone()]);
            }
            (primary, out)
        })
        .collect())
}

/// Why blocks cannot be encoded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErasureError {
    /// Not `1 <= needed <= total <= 256`.
    Shares,
    /// Another number of blocks than the code needs.
    Count,
    /// Blocks of different lengths, or of another length than the place for the result.
    Length,
    /// The same share twice.
    Duplicate {
        /// Its number.
        share: u16,
    },
    /// A share number outside the code.
    NoSuchShare {
        /// The number.
        share: u16,
    },
}

impl fmt::Display for ErasureError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shares => write!(out, "there is no erasure code with these numbers of shares"),
            Self::Count => write!(out, "the erasure code was given a wrong number of blocks"),
            Self::Length => write!(out, "the blocks of a segment differ in length"),
            Self::Duplicate { share } => write!(out, "share {share} was given twice"),
            Self::NoSuchShare { share } => write!(out, "there is no share {share} here"),
        }
    }
}

impl core::error::Error for ErasureError {}

/// Bytes of each block worked on at a time. The strip of an output stays in the first-level cache
/// while every input is multiplied into it, and those of the inputs in the second while all
/// outputs are made, so that memory sees each byte once. Measured, 8 to 32 KiB are alike.
const STRIP_LEN: usize = 16 << 10;

fn strips(block_len: usize) -> impl Iterator<Item = core::ops::Range<usize>> {
    // An empty block has no strip: the SIMD kernels panic on empty slices.
    (0..block_len).step_by(STRIP_LEN).map(move |start| start..block_len.min(start + STRIP_LEN))
}

/// `out` becomes the sum of the inputs, each times its coefficient.
fn combine<'a>(row: &[u8], inputs: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
    for (index, (&coefficient, input)) in row.iter().zip(inputs).enumerate() {
        match (index, coefficient) {
            (0, 0) => out.fill(0),
            (0, 1) => out.copy_from_slice(input),
            (0, _) => galois_8::mul_slice(coefficient, input, out),
            (_, 0) => {}
            (_, 1) => out.iter_mut().zip(input).for_each(|(out, input)| *out ^= input),
            (_, _) => galois_8::mul_slice_xor(coefficient, input, out),
        }
    }
}

/// The polynomial through known blocks, to be evaluated elsewhere.
struct Interpolation {
    points: Vec<u8>,
    /// For each known point the product of its distances from the others.
    denominators: Vec<u8>,
}

impl Interpolation {
    /// `shares` must be different and below 256.
    fn new(shares: &[u16]) -> Self {
        let points: Vec<u8> = shares.iter().map(|&share| point(share)).collect();
        let denominators = points.iter().map(|&at| distances(&points, at)).collect();
        Self { points, denominators }
    }

    /// The coefficients that make the block of `share`, which must not be among the known ones,
    /// out of those.
    fn row(&self, share: u16) -> Vec<u8> {
        let at = point(share);
        let numerator = distances(&self.points, at);
        let known = self.points.iter().zip(&self.denominators);
        known
            .map(|(&point, &denominator)| galois_8::div(numerator, galois_8::mul(at ^ point, denominator)))
            .collect()
    }
}

/// The product of the distances of `at` from all `points` but itself; subtraction is xor.
fn distances(points: &[u8], at: u8) -> u8 {
    points.iter().map(|&point| at ^ point).filter(|&distance| distance != 0).fold(1, galois_8::mul)
}

/// Where share number `share` evaluates the polynomial.
fn point(share: u16) -> u8 {
    match share {
        0 => 0,
        _ => galois_8::exp(2, usize::from(share) - 1),
    }
}

fn check_decode(needed: u16, total: u16, shares: &[(u16, &[u8])]) -> Result<Vec<u16>, ErasureError> {
    check_shares(needed, total).map_err(|_| ErasureError::Shares)?;
    if shares.len() != usize::from(needed) {
        return Err(ErasureError::Count);
    }
    let mut numbers = Vec::with_capacity(shares.len());
    for &(share, _) in shares {
        if share >= total {
            return Err(ErasureError::NoSuchShare { share });
        }
        if numbers.contains(&share) {
            return Err(ErasureError::Duplicate { share });
        }
        numbers.push(share);
    }
    Ok(numbers)
}

fn equal_length(blocks: &[&[u8]]) -> Result<usize, ErasureError> {
    let len = blocks.first().map_or(0, |block| block.len());
    if blocks.iter().all(|block| block.len() == len) { Ok(len) } else { Err(ErasureError::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(needed: u16, total: u16, primaries: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let encoder = Encoder::new(needed, total).expect("valid numbers");
        let slices: Vec<&[u8]> = primaries.iter().map(Vec::as_slice).collect();
        let wanted: Vec<u16> = (needed..total).collect();
        let mut out = vec![Vec::new(); wanted.len()];
        encoder.encode(&slices, &wanted, &mut out).expect("matching blocks");
        primaries.iter().cloned().chain(out).collect()
    }

    #[test]
    fn the_points_are_all_different() {
        let mut points: Vec<u8> = (0..256).map(point).collect();
        points.sort_unstable();
        assert!(points.into_iter().eq(0..=255));
    }

    #[test]
    fn one_needed_share_is_a_copy() {
        let blocks = encode(1, 4, &[b"block".to_vec()]);
        assert!(blocks.iter().all(|block| block == b"block"));
    }

    #[test]
    fn refusals() {
        let encoder = Encoder::new(2, 4).expect("valid numbers");
        let mut one = [Vec::new()];
        let ok: [&[u8]; 2] = [b"ab", b"cd"];
        assert_eq!(encoder.encode(&ok[..1], &[2], &mut one), Err(ErasureError::Count));
        assert_eq!(encoder.encode(&ok, &[2, 3], &mut one), Err(ErasureError::Count));
        assert_eq!(encoder.encode(&[b"ab", b"c"], &[2], &mut one), Err(ErasureError::Length));
        assert_eq!(encoder.encode(&ok, &[1], &mut one), Err(ErasureError::NoSuchShare { share: 1 }));
        assert_eq!(encoder.encode(&ok, &[4], &mut one), Err(ErasureError::NoSuchShare { share: 4 }));
        assert_eq!(Encoder::new(3, 2), Err(ErasureError::Shares));

        let decode = |shares: &[(u16, &[u8])]| decode_into(2, 4, shares, &mut [0; 4]);
        assert_eq!(decode(&[(0, b"ab")]), Err(ErasureError::Count));
        assert_eq!(decode(&[(0, b"ab"), (0, b"ab")]), Err(ErasureError::Duplicate { share: 0 }));
        assert_eq!(decode(&[(0, b"ab"), (4, b"ab")]), Err(ErasureError::NoSuchShare { share: 4 }));
        assert_eq!(decode(&[(0, b"ab"), (1, b"a")]), Err(ErasureError::Length));
        assert_eq!(decode(&[(0, b"a"), (1, b"a")]), Err(ErasureError::Length));
    }

    #[test]
    fn empty_blocks() {
        assert!(encode(2, 4, &[vec![], vec![]]).iter().all(Vec::is_empty));
        assert_eq!(decode_into(2, 4, &[(2, b""), (3, b"")], &mut []), Ok(()));
        assert_eq!(decode(1, 2, &[(1, b"")]), Ok(vec![(0, vec![])]));
    }

    #[test]
    fn strips_make_no_difference() {
        let primaries: Vec<Vec<u8>> = (1..=3u8)
            .map(|seed| (0..3 * STRIP_LEN + 5).map(|i| (i as u8).wrapping_mul(seed)).collect())
            .collect();
        let blocks = encode(3, 5, &primaries);
        for at in [0, STRIP_LEN - 1, STRIP_LEN, 3 * STRIP_LEN + 4] {
            let column: Vec<Vec<u8>> = primaries.iter().map(|block| vec![block[at]]).collect();
            let expected = encode(3, 5, &column);
            assert!(blocks.iter().zip(expected).all(|(block, byte)| block[at] == byte[0]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_needed_shares_suffice(
            (needed, total) in (1u16..=256).prop_flat_map(|total| (1..=total, Just(total))),
            order in proptest::collection::vec(any::<u32>(), 256),
            seed: u8, block_len in 0usize..40,
        ) {
            let primaries: Vec<Vec<u8>> = (0..needed)
                .map(|i| (0..block_len).map(|j| seed ^ (i as u8).wrapping_mul(31) ^ (j as u8).wrapping_mul(7)).collect())
                .collect();
            let blocks = encode(needed, total, &primaries);
            let mut chosen: Vec<u16> = (0..total).collect();
            chosen.sort_by_key(|&share| order[usize::from(share)]);
            chosen.truncate(needed.into());
            let shares: Vec<(u16, &[u8])> =
                chosen.iter().map(|&share| (share, &blocks[usize::from(share)][..])).collect();
            let mut segment = vec![0xee; block_len * usize::from(needed)];
            decode_into(needed, total, &shares, &mut segment).expect("enough shares");
            prop_assert_eq!(segment, primaries.concat());
            for (primary, block) in decode(needed, total, &shares).expect("enough shares") {
                prop_assert!(!chosen.contains(&primary));
                prop_assert_eq!(&block, &primaries[usize::from(primary)]);
            }
        }
    }
}
