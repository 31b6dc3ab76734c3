//! Differences of neighbours, packed in as few bits as a group of them needs.
//!
//! **Source**: Parquet format, "Delta Encoding (DELTA_BINARY_PACKED = 5)".

use super::packing::{pack, varint, width_of, zigzag};

/// Differences that share their smallest one.
const BLOCK: usize = 128;
/// Differences that share a width.
const MINI: usize = 32;
const MINIS: usize = BLOCK / MINI;

/// Appends values. `narrow` ones are of 32 bits, in which readers add the differences up.
pub(super) fn encode(values: &[i64], narrow: bool, out: &mut Vec<u8>) {
    let mut previous = values.first().copied().unwrap_or(0);
    varint(BLOCK as u64, out);
    varint(MINIS as u64, out);
    varint(values.len() as u64, out);
    zigzag(previous, out);
    // A difference wraps around at the width of the type: the upper half is that of its sign.
    let wrap = if narrow { 32 } else { 0 };
    let mut deltas = [0_i64; BLOCK];
    let mut packed = [0_u64; BLOCK];
    for block in values.get(1..).unwrap_or_default().chunks(BLOCK) {
        let deltas = &mut deltas[..block.len()];
        for (delta, value) in deltas.iter_mut().zip(block) {
            *delta = value.wrapping_sub(previous) << wrap >> wrap;
            previous = *value;
        }
        let least = deltas.iter().copied().min().unwrap_or(0);
        // Above the least difference, none is negative. The last group is filled up with zeros.
        for (packed, delta) in packed.iter_mut().zip(&*deltas) {
            *packed = delta.wrapping_sub(least).cast_unsigned();
        }
        packed[block.len()..].fill(0);
        zigzag(least, out);
        let widths = out.len();
        out.extend_from_slice(&[0; MINIS]);
        for (nth, group) in packed[..block.len().next_multiple_of(MINI)].chunks(MINI).enumerate() {
            let width = width_of(group.iter().fold(0, |all, value| all | value));
            out[widths + nth] = width as u8;
            pack(group, width, out);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// Reads what the format says, bit by bit.
    fn decode(bytes: &[u8], narrow: bool) -> Vec<i64> {
        let mut at = 0;
        let varint = |at: &mut usize| {
            let (mut value, mut shift) = (0_u64, 0);
            loop {
                let byte = bytes[*at];
                *at += 1;
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return value;
                }
            }
        };
        let signed = |value: u64| (value >> 1).cast_signed() ^ -((value & 1).cast_signed());
        let (block, minis, count) = (varint(&mut at) as usize, varint(&mut at) as usize, varint(&mut at) as usize);
        let mut value = signed(varint(&mut at));
        let mut values = Vec::new();
        if count > 0 {
            values.push(value);
        }
        while values.len() < count {
            let least = signed(varint(&mut at));
            let widths = &bytes[at..at + minis];
            at += minis;
            for width in widths {
                let width = usize::from(*width);
                assert!(width <= if narrow { 32 } else { 64 });
                if values.len() >= count {
                    assert_eq!(width, 0, "a group that has no values");
                    continue;
                }
                for nth in 0..block / minis {
                    let bits = (0..width).map(|bit| nth * width + bit);
                    let above = bits.rev().fold(0_u64, |all, bit| all << 1 | u64::from(bytes[at + bit / 8] >> (bit % 8) & 1));
                    value = value.wrapping_add(least).wrapping_add(above.cast_signed());
                    if narrow {
                        value = i64::from(value as i32);
                    }
                    if values.len() < count {
                        values.push(value);
                    }
                }
                at += block / minis * width / 8;
            }
        }
        assert_eq!(at, bytes.len());
        values
    }

    fn encoded(values: &[i64], narrow: bool) -> Vec<u8> {
        let mut out = Vec::new();
        encode(values, narrow, &mut out);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn numbers_of_64_bits_come_back(
            values in prop::collection::vec(prop_oneof![any::<i64>(), -5_i64..5, Just(i64::MIN), Just(i64::MAX)], 0..600),
        ) {
            prop_assert_eq!(decode(&encoded(&values, false), false), values);
        }

        #[test]
        fn numbers_of_32_bits_come_back(
            values in prop::collection::vec(prop_oneof![any::<i32>(), -5_i32..5, Just(i32::MIN), Just(i32::MAX)], 0..600),
        ) {
            let values: Vec<i64> = values.into_iter().map(i64::from).collect();
            prop_assert_eq!(decode(&encoded(&values, true), true), values);
        }
    }

    #[test]
    fn a_counter_takes_next_to_nothing() {
        let values: Vec<i64> = (1_000_000..1_020_000).collect();
        assert!(encoded(&values, false).len() < 1000);
    }
}
