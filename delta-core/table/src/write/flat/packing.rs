//! Whole numbers as bits, bytes and groups of seven bits.

/// Appends values of `width` bits each, the lowest bit first, and fills the last byte with zeros.
///
/// Every value must fit into `width` bits, and `width` is 64 at most.
pub(super) fn pack<T: Copy + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    debug_assert!(width <= 64 && values.iter().all(|v| width == 64 || (*v).into() >> width == 0));
    out.reserve((values.len() * width as usize).div_ceil(8) + 8);
    let (mut held, mut bits) = (0_u64, 0);
    for value in values {
        let value: u64 = (*value).into();
        held |= value << bits;
        let room = 64 - bits;
        if width < room {
            bits += width;
        } else {
            out.extend_from_slice(&held.to_le_bytes());
            // All 64 bits are gone when nothing was held before.
            held = value.checked_shr(room).unwrap_or(0);
            bits = width - room;
        }
    }
    out.extend_from_slice(&held.to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// Bits that a value needs; none for zero.
pub(super) fn width_of(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Appends seven bits a byte, the lowest first; the eighth says that more follow.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The same for signed numbers: those near zero are short, whatever their sign.
pub(super) fn zigzag(value: i64, out: &mut Vec<u8>) {
    varint((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned(), out);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn slow(values: &[u64], width: u32) -> Vec<u8> {
        let bits: Vec<bool> = values.iter().flat_map(|v| (0..width).map(move |at| v >> at & 1 == 1)).collect();
        bits.chunks(8).map(|byte| byte.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum()).collect()
    }

    proptest! {
        #[test]
        fn packed_values_are_their_bits_one_after_the_other(
            width in 0_u32..=64,
            values in prop::collection::vec(any::<u64>(), 0..200),
        ) {
            let values: Vec<u64> = values.iter().map(|v| v.checked_shr(64 - width).unwrap_or(0)).collect();
            let mut out = vec![7];
            pack(&values, width, &mut out);
            prop_assert_eq!(out.split_off(1), slow(&values, width));
        }
    }

    #[test]
    fn varints_have_seven_bits_a_byte() {
        let bytes = |value| {
            let mut out = Vec::new();
            zigzag(value, &mut out);
            out
        };
        assert_eq!((bytes(0), bytes(-1), bytes(1), bytes(63)), (vec![0], vec![1], vec![2], vec![126]));
        assert_eq!(bytes(64), vec![0x80, 1]);
        assert_eq!(bytes(i64::MIN).len(), 10);
        assert_eq!((width_of(0), width_of(1), width_of(255), width_of(u64::MAX)), (0, 1, 8, 64));
    }
}
