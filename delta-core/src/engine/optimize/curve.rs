//! Curves through many dimensions: places that are near on the curve are near in space.
//!
//! Each coordinate has the same number of bits, and all of them together at most 64.
//!
//! ```text
//!   Z: the bits of both in turn          Hilbert: each step goes to a neighbour
//!
//!     0 ─ 1   4 ─ 5                        0 ─ 1   E ─ F
//!       ╱   ╱   ╱                              │   │
//!     2 ─ 3   6 ─ 7                        3 ─ 2   D ─ C
//!          ╱                               │           │
//!     8 ─ 9   C ─ D                        4   7 ─ 8   B
//!       ╱   ╱   ╱                          │   │   │   │
//!     A ─ B   E ─ F                        5 ─ 6   9 ─ A
//! ```
//! **Source**: J. Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707 (2004).

/// Which curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    /// The bits of all coordinates in turn.
    Z,
    /// The curve that never jumps.
    Hilbert,
}

/// Bits of a coordinate beyond which more would only follow the noise of the sample.
const MOST_BITS: u32 = 10;

/// Bits of each of so many coordinates.
pub(super) fn bits_of(dimensions: usize) -> u32 {
    let room = 64 / u32::try_from(dimensions.max(1)).unwrap_or(u32::MAX);
    room.clamp(1, MOST_BITS)
}

impl Curve {
    /// The place on the curve. Coordinates are changed on the way.
    pub(super) fn index(self, coordinates: &mut [u32], bits: u32) -> u64 {
        if self == Self::Hilbert {
            transpose(coordinates, bits);
        }
        interleave(coordinates, bits)
    }
}

fn interleave(coordinates: &[u32], bits: u32) -> u64 {
    let mut index = 0;
    for bit in (0..bits).rev() {
        for coordinate in coordinates {
            index = index << 1 | u64::from(coordinate >> bit & 1);
        }
    }
    index
}

/// Coordinates as those whose interleaved bits are the place on Hilbert's curve.
fn transpose(x: &mut [u32], bits: u32) {
    let Some(last) = x.len().checked_sub(1) else { return };
    let high = 1_u32 << (bits - 1);
    let mut q = high;
    while q > 1 {
        let below = q - 1;
        for at in 0..=last {
            if x[at] & q != 0 {
                x[0] ^= below;
            } else {
                let swapped = (x[0] ^ x[at]) & below;
                x[0] ^= swapped;
                x[at] ^= swapped;
            }
        }
        q >>= 1;
    }
    // Gray code.
    for at in 1..=last {
        x[at] ^= x[at - 1];
    }
    let mut turned = 0;
    let mut q = high;
    while q > 1 {
        if x[last] & q != 0 {
            turned ^= q - 1;
        }
        q >>= 1;
    }
    for coordinate in x {
        *coordinate ^= turned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All places of a small space, by their place on the curve.
    fn walk(curve: Curve, dimensions: usize, bits: u32) -> Vec<Vec<u32>> {
        let places = 1_usize << (bits as usize * dimensions);
        let mut found = vec![Vec::new(); places];
        for place in 0..places {
            let coordinates: Vec<u32> =
                (0..dimensions).map(|at| (place >> (at * bits as usize) & ((1 << bits) - 1)) as u32).collect();
            let index = curve.index(&mut coordinates.clone(), bits);
            let slot = &mut found[usize::try_from(index).unwrap()];
            assert!(slot.is_empty(), "two places of {curve:?} in {dimensions} dimensions have the index {index}");
            *slot = coordinates;
        }
        found
    }

    #[test]
    fn every_place_has_an_index_of_its_own() {
        for (dimensions, bits) in [(1, 5), (2, 4), (3, 3), (4, 2), (5, 2)] {
            for curve in [Curve::Z, Curve::Hilbert] {
                assert!(walk(curve, dimensions, bits).iter().all(|place| place.len() == dimensions));
            }
        }
    }

    #[test]
    fn hilberts_curve_goes_from_neighbour_to_neighbour() {
        for (dimensions, bits) in [(2, 5), (3, 3), (4, 2), (5, 2)] {
            let walk = walk(Curve::Hilbert, dimensions, bits);
            for pair in walk.windows(2) {
                let distance: u32 = pair[0].iter().zip(&pair[1]).map(|(a, b)| a.abs_diff(*b)).sum();
                assert_eq!(distance, 1, "{pair:?}");
            }
        }
    }

    #[test]
    fn the_z_curve_takes_bits_in_turn_the_first_column_first() {
        assert_eq!(Curve::Z.index(&mut [0b10, 0b01], 2), 0b1001);
        assert_eq!(Curve::Z.index(&mut [0b11, 0b00, 0b11], 2), 0b10_1101);
    }

    #[test]
    fn all_coordinates_together_fit() {
        for dimensions in 1..=64 {
            assert!(bits_of(dimensions) >= 1 && bits_of(dimensions) as usize * dimensions <= 64);
        }
    }
}
