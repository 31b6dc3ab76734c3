//! The distinct values of a column chunk, in the order in which they came.
//!
//! Values of up to 16 bytes are held as two numbers: looking one up compares numbers, never bytes. A table of places
//! is searched from where the hash points to, one place after the other. Input may be made so that all values hash
//! alike: after [`STEPS`] places the dictionary is full, and the column goes on without one. Which values it holds
//! follows from the input alone.

use super::packing::width_of;

/// Bytes of a dictionary page: readers hold it in memory, and decode each value by looking into it.
const PAGE_BYTES: usize = 1 << 20;
/// Places that are looked at for a value.
const STEPS: usize = 64;
const FIRST_SLOTS: usize = 256;

/// A dictionary that grows.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// The values as they are written: the length in four bytes, the bytes.
    page: Vec<u8>,
    entries: Vec<Entry>,
    /// The upper half of the hash, and one more than the key; nothing when that is zero. Their number is a power of two.
    slots: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    length: u32,
    /// As [`word`] gives it.
    word: (u64, u64),
    hash: u64,
    /// The last page that the value was seen in.
    page: u32,
}

/// What looking up a value gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: u32,
    /// It is the first time in this page.
    pub(super) first: bool,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { page: Vec::new(), entries: Vec::new(), slots: vec![(0, 0); FIRST_SLOTS] }
    }
}

impl Dictionary {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The values, as the dictionary page has them.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    /// Bits of a key.
    pub(super) fn width(&self) -> u32 {
        width_of(self.entries.len().saturating_sub(1) as u64)
    }

    /// The key of a value, which is new perhaps. `page` is the number of the page, counted from 1.
    ///
    /// Nothing when the dictionary is full and the value is not in it.
    #[inline]
    pub(super) fn key_of(&mut self, value: &[u8], page: u32) -> Option<Found> {
        let word = word(value);
        let hash = if value.len() <= 16 { mix(word, value.len()) } else { word.0 };
        let tag = (hash >> 32) as u32;
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        for _ in 0..STEPS {
            let (held, key) = self.slots[at];
            if key == 0 {
                return self.insert(value, page, word, hash, at);
            }
            if held == tag {
                let entry = &mut self.entries[key as usize - 1];
                let alike = entry.length as usize == value.len() && entry.word == word;
                if alike && (value.len() <= 16 || self.page[entry.start as usize..][..value.len()] == *value) {
                    let first = entry.page != page;
                    entry.page = page;
                    return Some(Found { key: key - 1, first });
                }
            }
            at = (at + 1) & mask;
        }
        None
    }

    #[cold]
    fn insert(&mut self, value: &[u8], page: u32, word: (u64, u64), hash: u64, at: usize) -> Option<Found> {
        if self.page.len() + 4 + value.len() > PAGE_BYTES {
            return None;
        }
        // Both fit: the page is small.
        let (length, start) = (value.len() as u32, self.page.len() as u32 + 4);
        self.page.extend_from_slice(&length.to_le_bytes());
        self.page.extend_from_slice(value);
        self.entries.push(Entry { start, length, word, hash, page });
        let key = self.entries.len() as u32;
        self.slots[at] = ((hash >> 32) as u32, key);
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
        Some(Found { key: key - 1, first: true })
    }

    fn grow(&mut self) {
        let mut slots = vec![(0, 0); self.slots.len() * 2];
        let mask = slots.len() - 1;
        for (key, entry) in (1..).zip(&self.entries) {
            let mut at = entry.hash as usize & mask;
            // Half of the places are free, so there is one. It may lie further away than a look-up goes: then the
            // value is not found, as if the dictionary were full.
            while slots[at].1 != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = ((entry.hash >> 32) as u32, key);
        }
        self.slots = slots;
    }
}

/// All of a value of up to 16 bytes, as two numbers that may overlap: together with the length they say which it is.
/// For a longer one the hash of all of its bytes.
#[inline]
fn word(value: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (value.first_chunk::<8>(), value.last_chunk::<8>()) {
        if value.len() > 16 { (long(value), 0) } else { (u64::from_le_bytes(*first), u64::from_le_bytes(*last)) }
    } else if let (Some(first), Some(last)) = (value.first_chunk::<4>(), value.last_chunk::<4>()) {
        (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
    } else {
        let byte = |at: usize| u64::from(value.get(at).copied().unwrap_or_default());
        (byte(0) | byte(1) << 8 | byte(2) << 16, 0)
    }
}

/// 16 bytes after the other, and the last 16, some of which may have been seen before.
fn long(value: &[u8]) -> u64 {
    let (pieces, _) = value.as_chunks::<16>();
    pieces.iter().chain(value.last_chunk::<16>()).fold(0, |hash, piece| {
        let both = u128::from_le_bytes(*piece);
        mix((both as u64 ^ hash, (both >> 64) as u64), value.len())
    })
}

/// The two halves of a product of 128 bits, one over the other: each bit of the input moves about half of the output.
#[inline]
fn mix(word: (u64, u64), length: usize) -> u64 {
    const ODD: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
    let length = (length as u64).wrapping_mul(ODD[2]);
    let product = u128::from(word.0 ^ ODD[0]) * u128::from(word.1.rotate_left(32) ^ ODD[1] ^ length);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn values_of(dictionary: &Dictionary) -> Vec<Vec<u8>> {
        let (mut rest, mut values) = (dictionary.page(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (value, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            values.push(value.to_vec());
            rest = after;
        }
        values
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn equal_values_have_one_key_and_others_have_others(
            values in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0_u8), Just(7), any::<u8>()], 0..36), 0..150),
            page_rows in 1_usize..50,
        ) {
            let (mut dictionary, mut model) = (Dictionary::default(), HashMap::new());
            for (page, values) in (1..).zip(values.chunks(page_rows)) {
                let mut seen = std::collections::HashSet::new();
                for value in values {
                    let found = dictionary.key_of(value, page).unwrap();
                    let next = model.len() as u32;
                    prop_assert_eq!(found.key, *model.entry(value.clone()).or_insert(next));
                    prop_assert_eq!(found.first, seen.insert(value));
                }
            }
            prop_assert_eq!(dictionary.len(), model.len());
            for (key, value) in (0..).zip(values_of(&dictionary)) {
                prop_assert_eq!(model.get(&value), Some(&key));
            }
        }
    }

    #[test]
    fn a_full_dictionary_still_finds_what_it_holds() {
        let mut dictionary = Dictionary::default();
        let value = |nth: u64| format!("value number {nth} of many").into_bytes();
        // Not for want of places: the page has no room.
        let full = (0..).find(|nth| dictionary.key_of(&value(*nth), 1).is_none()).unwrap();
        assert!(dictionary.page().len() <= PAGE_BYTES && dictionary.page().len() > PAGE_BYTES - 100);
        assert_eq!(dictionary.len() as u64, full);
        assert_eq!(dictionary.key_of(&value(full / 2), 2), Some(Found { key: (full / 2) as u32, first: true }));
        assert_eq!(dictionary.key_of(&value(full), 2), None);
    }

    #[test]
    fn values_that_all_hash_alike_end_the_dictionary_and_not_the_time() {
        // The first factor becomes zero, and with it every product.
        let zero = 0x9e37_79b9_7f4a_7c15_u64.to_le_bytes();
        let mut dictionary = Dictionary::default();
        let taken = (0_u64..100_000).take_while(|nth| {
            let value = [zero, nth.to_le_bytes()].concat();
            dictionary.key_of(&value, 1).is_some()
        });
        assert_eq!(taken.count(), STEPS);
    }

    #[test]
    fn no_values_need_no_bits_and_two_need_one() {
        let mut dictionary = Dictionary::default();
        assert_eq!(dictionary.width(), 0);
        dictionary.key_of(b"a", 1);
        assert_eq!(dictionary.width(), 0);
        dictionary.key_of(b"", 1);
        assert_eq!(dictionary.width(), 1);
    }
}
