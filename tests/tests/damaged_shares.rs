//! Shares of which any single byte is flipped.

use std::time::Duration;
use tallac_core::capability::ChkCap;
use tallac_core::download::DownloadError;
use tallac_core::encoding::{Encoding, EncodingParams};
use tallac_core::share::ShareLayout;
use tallac_core::task::Trouble;
use tallac_tests::content;
use tallac_tests::memory_grid::{GridSetup, Honest, MemoryGrid};

/// Length of the header of a container; its leases follow the share.
const CONTAINER_HEADER: usize = 12;

/// What a byte of a container is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// Nobody reads it: flipped or not, the share is good.
    None,
    /// The share is of no use without it.
    Vital,
    /// It depends on the bit, or on which share the hash is taken from.
    Perhaps,
}

fn use_of(layout: &ShareLayout, share_len: usize, at: usize) -> Use {
    let Some(at) = at.checked_sub(CONTAINER_HEADER) else {
        // The schema's version must be known, a stated length may become one that is still enough,
        // and how many leases there are does not matter to a reader.
        return [Use::Vital, Use::Perhaps, Use::None][at / 4];
    };
    let at64 = at as u64;
    // Offsets of the blocks and of the trees; the first two numbers are not trusted anyway.
    let header = [Use::Vital, Use::None, Use::None];
    let within = |range: std::ops::Range<u64>| range.contains(&at64);
    match at {
        _ if at >= share_len => Use::None,
        0..12 => header[at / 4],
        // The offset of the unused tree only bounds the blocks; the ciphertext hash tree may have come
        // from another share, and a tree of a single segment is its root, which is known.
        16..24 => Use::Perhaps,
        24..28 if layout.block_hashes_range().end - layout.block_hashes_range().start == 32 => Use::Perhaps,
        _ if at < layout.header().len() => Use::Vital,
        _ if within(layout.plaintext_tree_range()) => Use::None,
        // A root is known from elsewhere.
        _ if within(layout.crypttext_node_range(0)) || within(layout.block_node_range(0)) => Use::None,
        _ if within(layout.crypttext_tree_range()) => Use::Perhaps,
        _ => Use::Vital,
    }
}

struct Flipping {
    grid: MemoryGrid<Honest>,
    cap: ChkCap,
    content: Vec<u8>,
    damaged: usize,
    layout: ShareLayout,
    share_len: usize,
    len: usize,
}

impl Flipping {
    fn new(setup: &GridSetup, len: usize) -> Flipping {
        let mut grid = MemoryGrid::new(setup, Honest);
        let content = content(len as u64, len);
        let cap = grid.put(&content).cap();
        let damaged = 0;
        let (_, container) = grid.disk(damaged).shares().next().expect("each server has a share");
        let len = container.len();
        let share_len = len - CONTAINER_HEADER - 72;
        let params = EncodingParams::new(setup.shares.0, setup.shares.1, setup.segment).expect("good");
        let encoding = Encoding::new(&params, cap.size).expect("it was encoded");
        let layout = ShareLayout::for_upload(&encoding);
        Flipping { grid, cap, content, damaged, layout, share_len, len }
    }

    fn flip(&mut self, at: usize, mask: u8) {
        let (_, container) = self.grid.disk(self.damaged).shares().next().expect("its share");
        container[at] ^= mask;
    }

    /// Flips one byte after the other and reads the file each time.
    fn each(&mut self, mask: impl Fn(usize) -> u8, check: impl Fn(&mut Flipping, usize)) {
        for at in 0..self.len {
            self.flip(at, mask(at));
            check(self, at);
            self.flip(at, mask(at));
        }
    }
}

fn masks() -> [fn(usize) -> u8; 2] {
    [|at| 1 << (at % 8), |_| 0xff]
}

/// A spare share is there: nothing may go wrong.
fn a_spare_makes_up_for_it(setup: GridSetup, len: usize) {
    let mut flipping = Flipping::new(&setup, len);
    let spares = usize::from(setup.shares.1 - setup.shares.0) - 1;
    (0..spares).for_each(|spare| flipping.grid.switch_off(setup.servers - 1 - spare));
    for mask in masks() {
        flipping.each(mask, |this, at| {
            let got = this.grid.get(&this.cap);
            assert!(got.result.is_ok(), "byte {at}: {}", got.result.unwrap_err());
            assert!(got.content == this.content, "byte {at}: wrong bytes");
            assert!(got.took < Duration::from_secs(1), "byte {at}: {:?}", got.took);
        });
    }
}

/// There is no spare: it is said which share is damaged, if the byte matters.
fn without_a_spare_it_is_named(setup: GridSetup, len: usize) {
    let mut flipping = Flipping::new(&setup, len);
    let spares = usize::from(setup.shares.1 - setup.shares.0);
    (0..spares).for_each(|spare| flipping.grid.switch_off(setup.servers - 1 - spare));
    let damaged = flipping.grid.id(flipping.damaged);
    let mut failures = 0;
    for mask in masks() {
        let before = failures;
        let counted = std::cell::Cell::new(0);
        flipping.each(mask, |this, at| {
            let usage = use_of(&this.layout, this.share_len, at);
            let got = this.grid.get(&this.cap);
            assert!(this.content.starts_with(&got.content), "byte {at}: wrong bytes");
            match got.result.map_err(|error| *error) {
                Ok(()) => {
                    assert_ne!(usage, Use::Vital, "byte {at} is vital");
                    assert!(got.content == this.content, "byte {at}: too few bytes");
                }
                Err(DownloadError::NotEnoughShares { trouble, found, needed, .. }) => {
                    assert_ne!(usage, Use::None, "byte {at} is of no use");
                    assert_eq!(found + 1, usize::from(needed), "byte {at}");
                    let about = trouble.iter().find(|trouble| trouble.server == damaged);
                    let about = about.unwrap_or_else(|| panic!("byte {at}: nothing is said of the server"));
                    // A damaged container is noticed by the server itself.
                    let named = match &about.trouble {
                        Trouble::BadShare { .. } => true,
                        other => at < CONTAINER_HEADER && matches!(other, Trouble::Ask(_)),
                    };
                    assert!(named, "byte {at}: {}", about.trouble);
                    counted.set(counted.get() + 1);
                }
                Err(other) => panic!("byte {at}: {other}"),
            }
        });
        failures += counted.get();
        assert!(failures > before + flipping.share_len / 3, "most bytes matter");
    }
}

fn many_segments() -> (GridSetup, usize) {
    (GridSetup::new(2, 3), 5 * 64 - 7)
}

#[test]
fn any_flipped_byte_with_a_spare_share() {
    let (setup, len) = many_segments();
    a_spare_makes_up_for_it(setup, len);
}

#[test]
fn any_flipped_byte_without_a_spare_share() {
    let (setup, len) = many_segments();
    without_a_spare_it_is_named(setup, len);
}

#[test]
fn any_flipped_byte_of_a_single_segment() {
    let setup = GridSetup { segment: 1024, ..GridSetup::new(3, 5) };
    a_spare_makes_up_for_it(setup.clone(), 90);
    without_a_spare_it_is_named(setup, 90);
}
