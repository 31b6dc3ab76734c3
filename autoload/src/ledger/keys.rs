//! Fingerprints on disk: sorted, behind a bloom filter.
//!
//! ```text
//!   "BHKEYS1\n" │ keys: u64 │ filter: 64-bit words │ keys, 128 bits each, ascending │ check: u64
//! ```
//! All numbers are little-endian. The filter's length follows from the number of keys, which the log knows, so that it
//! can be read alone.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::fingerprint::Fingerprint;

const MAGIC: &[u8; 8] = b"BHKEYS1\n";
const BITS_PER_KEY: u64 = 10;
const PROBES: u64 = 7;

/// Says "certainly not" or "maybe": one of a hundred maybes is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    pub(super) fn of(keys: &[Fingerprint]) -> Self {
        let mut bloom = Self { words: vec![0; word_count(keys.len() as u64)] };
        for key in keys {
            for bit in bloom.bits(*key) {
                bloom.words[bit / 64] |= 1 << (bit % 64);
            }
        }
        bloom
    }

    pub(super) fn may_hold(&self, key: Fingerprint) -> bool {
        self.bits(key).all(|bit| self.words[bit / 64] & (1 << (bit % 64)) != 0)
    }

    /// The key is a hash already: its halves give all probes.
    fn bits(&self, key: Fingerprint) -> impl Iterator<Item = usize> + use<> {
        let bits = (self.words.len() as u64 * 64).max(1);
        let (first, step) = (low(key), high(key) | 1);
        (0..PROBES).map(move |probe| {
            let place = (u128::from(first.wrapping_add(probe.wrapping_mul(step))) * u128::from(bits)) >> 64;
            usize::try_from(place).unwrap_or(0)
        })
    }
}

fn low(key: Fingerprint) -> u64 {
    key as u64
}

fn high(key: Fingerprint) -> u64 {
    (key >> 64) as u64
}

fn word_count(keys: u64) -> usize {
    usize::try_from((keys * BITS_PER_KEY).div_ceil(64).max(1)).unwrap_or(1)
}

/// Where the filter lies in a file of so many keys.
pub(super) fn bloom_range(keys: u64) -> std::ops::Range<u64> {
    0..16 + word_count(keys) as u64 * 8
}

/// The whole file. Keys must be sorted.
pub(super) fn encode(keys: &[Fingerprint]) -> Vec<u8> {
    let bloom = Bloom::of(keys);
    let mut bytes = Vec::with_capacity(24 + bloom.words.len() * 8 + keys.len() * 16);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(keys.len() as u64).to_le_bytes());
    bloom.words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    keys.iter().for_each(|key| bytes.extend_from_slice(&key.to_le_bytes()));
    let check = checksum(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes
}

/// The filter from the first bytes of a file of `keys` keys; the error says what is wrong.
pub(super) fn decode_bloom(bytes: &[u8], keys: u64) -> Result<Bloom, String> {
    let words = header(bytes, keys)?;
    let length = word_count(keys) * 8;
    let words = words.get(..length).ok_or_else(|| format!("it ends within its filter of {length} bytes"))?;
    Ok(Bloom { words: words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect() })
}

/// The keys from a whole file of `keys` keys; the error says what is wrong.
pub(super) fn decode(bytes: &[u8], keys: u64) -> Result<Vec<Fingerprint>, String> {
    let Some((body, check)) = bytes.split_last_chunk::<8>() else { return Err("it is empty".to_owned()) };
    if checksum(body) != u64::from_le_bytes(*check) {
        return Err("its checksum does not match".to_owned());
    }
    let rest = header(body, keys)?;
    let listed = rest.get(word_count(keys) * 8..).unwrap_or_default();
    if listed.len() as u64 != keys * 16 {
        return Err(format!("it has {} bytes of keys, and {keys} keys need {}", listed.len(), keys * 16));
    }
    Ok(listed.as_chunks().0.iter().map(|key| Fingerprint::from_le_bytes(*key)).collect())
}

/// A name that stands for the content of a file.
pub(super) fn name_of(encoded: &[u8]) -> String {
    encoded.last_chunk::<8>().map_or_else(String::new, |check| format!("{:016x}", u64::from_le_bytes(*check)))
}

fn header(bytes: &[u8], keys: u64) -> Result<&[u8], String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as a file of keys")?;
    let (count, rest) = rest.split_first_chunk::<8>().ok_or("it ends within its header")?;
    let count = u64::from_le_bytes(*count);
    if count != keys {
        return Err(format!("it holds {count} keys, and the log says {keys}"));
    }
    Ok(rest)
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_come_back_and_the_filter_knows_them_all(mut keys in prop::collection::vec(any::<u128>(), 0..300), others in prop::collection::vec(any::<u128>(), 100)) {
            keys.sort_unstable();
            keys.dedup();
            let bytes = encode(&keys);
            let count = keys.len() as u64;
            prop_assert_eq!(&decode(&bytes, count).unwrap(), &keys);
            let range = bloom_range(count);
            let bloom = decode_bloom(&bytes[..usize::try_from(range.end).unwrap()], count).unwrap();
            prop_assert_eq!(&bloom, &Bloom::of(&keys));
            prop_assert!(keys.iter().all(|key| bloom.may_hold(*key)));
            let wrong = others.iter().filter(|key| !keys.contains(key) && bloom.may_hold(**key)).count();
            prop_assert!(wrong <= 12, "{} of 100 are wrong", wrong);
        }
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_refused() {
        let keys: Vec<u128> = (1..50).map(|n| n << 70 | n).collect();
        let bytes = encode(&keys);
        for cut in [0, 7, 20, bytes.len() - 1] {
            assert!(decode(&bytes[..cut], 49).is_err(), "{cut}");
        }
        assert!(decode(&bytes, 48).is_err());
        assert!(decode_bloom(&bytes[..30], 49).is_err());
        assert!(decode_bloom(&bytes, u64::MAX / 1024).is_err());
        let mut changed = bytes;
        changed[100] ^= 1;
        assert_eq!(decode(&changed, 49).unwrap_err(), "its checksum does not match");
    }
}
