//! Runs and bit-packed groups: the encoding of dictionary keys and of definition levels.
//!
//! **Source**: Parquet format, "Run Length Encoding / Bit-Packing Hybrid (RLE = 3)".

use super::packing::{pack, varint};

/// Values are looked at in groups of so many; bit-packed ones come in such groups.
const GROUP: usize = 8;

/// Appends values of `width` bits each. Eight equal values in a row or more become a run, all others are packed.
pub(super) fn encode(values: &[u32], width: u32, out: &mut Vec<u8>) {
    // What is not written yet begins at `open`, and holds whole groups up to `at`.
    let (mut open, mut at) = (0, 0);
    while let Some(group) = values.get(at..at + GROUP) {
        let value = group[0];
        if group.iter().any(|other| *other != value) {
            at += GROUP;
            continue;
        }
        packed(&values[open..at], width, out);
        let length = values[at..].iter().position(|other| *other != value).unwrap_or(values.len() - at);
        run(value, length, width, out);
        at += length;
        open = at;
    }
    let rest = &values[open..];
    match rest.first() {
        Some(value) if rest.iter().all(|other| other == value) => run(*value, rest.len(), width, out),
        _ => packed(rest, width, out),
    }
}

/// Appends a run of one value.
pub(super) fn run(value: u32, length: usize, width: u32, out: &mut Vec<u8>) {
    varint((length as u64) << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

fn packed(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    varint((groups as u64) << 1 | 1, out);
    let end = out.len() + groups * width as usize;
    pack(values, width, out);
    // Only the last group of all may be short.
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::packing::width_of;
    use super::*;

    /// Reads what the format says, bit by bit.
    fn decode(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let mut header = 0_u64;
            for shift in 0.. {
                let (byte, rest) = bytes.split_first().unwrap();
                bytes = rest;
                header |= u64::from(byte & 0x7f) << (7 * shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(width.div_ceil(8) as usize);
                bytes = rest;
                let value = value.iter().rev().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
            } else {
                let groups = (header >> 1) as usize;
                let (packed, rest) = bytes.split_at(groups * width as usize);
                bytes = rest;
                let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
                let width = width as usize;
                values.extend((0..groups * 8).map(|nth| (0..width).map(|b| bit(nth * width + b) << b).sum::<u32>()));
            }
        }
        assert!(bytes.is_empty());
        values.truncate(count);
        values
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            runs in prop::collection::vec((0_u32..70_000, 1_usize..30), 0..60),
            mask in prop::sample::select(vec![0_u32, 1, 3, 0xff, 0xffff, u32::MAX]),
        ) {
            let values: Vec<u32> = runs.iter().flat_map(|(v, n)| std::iter::repeat_n(v & mask, *n)).collect();
            let width = width_of(values.iter().copied().max().unwrap_or(0).into());
            let mut out = Vec::new();
            encode(&values, width, &mut out);
            prop_assert_eq!(decode(&out, width, values.len()), values);
        }
    }

    #[test]
    fn a_long_run_takes_few_bytes() {
        let mut out = Vec::new();
        encode(&[5; 20_000], 3, &mut out);
        assert_eq!(out.len(), 4);
    }
}
