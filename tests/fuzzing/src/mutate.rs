//! Valid bytes, damaged.

/// Numbers that readers stumble over.
const EXTREMES: [&str; 14] = [
    "0",
    "-1",
    "1",
    "127",
    "-129",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e308",
    "-1e400",
    "0.00000000000000000000000000000000000000000000001",
];

/// Pieces that mean something to a reader of JSON, of paths or of dates.
const PIECES: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    ":",
    ",",
    "\n",
    "\r\n",
    "\u{feff}",
    "%2F",
    "%",
    "../",
    "é",
    "-0001-01-01",
    "9999-12-31T23:59:60Z",
    "\"numRecords\":",
    "\"add\":{}",
];

/// Random numbers from a seed.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        // SplitMix64, by Sebastiano Vigna (public domain).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next_u64()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    fn byte(&mut self) -> u8 {
        self.next_u64().to_le_bytes()[0]
    }
}

/// Makes cases from seeds.
///
/// One case in sixteen is noise, one in sixteen a seed as it is; the others are seeds with one to six wounds: bytes
/// flipped, cut off, taken out, doubled, exchanged with another seed, lines doubled or swapped, numbers made extreme.
#[derive(Debug, Clone)]
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    chance: Chance,
    /// No case is longer.
    limit: usize,
}

impl Mutator {
    /// From these seeds; no case is longer than `limit` bytes.
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64, limit: usize) -> Self {
        Self { seeds, chance: Chance::new(seed), limit }
    }

    /// The next case.
    pub fn case(&mut self) -> Vec<u8> {
        let mut bytes = self.chance.pick(&self.seeds).cloned().unwrap_or_default();
        match self.chance.below(16) {
            0 => {
                let length = self.chance.below(200);
                bytes = (0..length).map(|_| self.chance.byte()).collect();
            }
            1 => {}
            _ => {
                for _ in 0..=self.chance.below(6) {
                    self.wound(&mut bytes);
                }
            }
        }
        bytes.truncate(self.limit);
        bytes
    }

    fn wound(&mut self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let at = self.chance.below(length);
        match self.chance.below(13) {
            0 | 1 if length > 0 => bytes[at] ^= 1 << self.chance.below(8),
            2 if length > 0 => bytes[at] = self.chance.byte(),
            3 => bytes.truncate(at),
            4 => {
                let end = (at + 1 + self.chance.below(32)).min(length);
                bytes.drain(at..end);
            }
            5 => {
                let end = (at + 1 + self.chance.below(64)).min(length);
                let piece = bytes[at..end].to_vec();
                insert(bytes, at, &piece);
            }
            6 => {
                let other = self.chance.pick(&self.seeds).cloned().unwrap_or_default();
                let from = self.chance.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 | 8 => self.number(bytes),
            9 => {
                let piece = *self.chance.pick(&PIECES).unwrap_or(&"");
                insert(bytes, at, piece.as_bytes());
            }
            10 => self.lines(bytes),
            11 => {
                // A number of four bytes, as lengths and offsets stand in binary files.
                let value: [u8; 4] = match self.chance.below(4) {
                    0 => [0xff; 4],
                    1 => [0xff, 0xff, 0xff, 0x7f],
                    2 => [0x7f, 0xff, 0xff, 0xff],
                    _ => [0; 4],
                };
                for (byte, value) in bytes.iter_mut().skip(at).zip(value) {
                    *byte = value;
                }
            }
            _ => self.tokens(bytes),
        }
    }

    /// Makes a number extreme.
    fn number(&mut self, bytes: &mut Vec<u8>) {
        let starts: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at].is_ascii_digit() && at.checked_sub(1).is_none_or(|before| !bytes[before].is_ascii_digit()))
            .collect();
        let Some(&start) = self.chance.pick(&starts) else { return };
        let end = bytes[start..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |run| start + run);
        let value = *self.chance.pick(&EXTREMES).unwrap_or(&"0");
        bytes.splice(start..end, value.bytes());
    }

    /// Doubles, drops or swaps lines.
    fn lines(&mut self, bytes: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let (a, b) = (self.chance.below(lines.len()), self.chance.below(lines.len()));
        match self.chance.below(3) {
            0 => lines.insert(b, lines[a].clone()),
            1 => lines.swap(a, b),
            _ => drop(lines.remove(a)),
        }
        *bytes = lines.join(&b'\n');
    }

    /// Puts a piece of JSON in the place of another one: text for a number, an object for text.
    fn tokens(&mut self, bytes: &mut Vec<u8>) {
        let starts: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b':').map(|(at, _)| at + 1).collect();
        let Some(&start) = self.chance.pick(&starts) else { return };
        let end = bytes[start..].iter().position(|b| matches!(b, b',' | b'}' | b'\n')).map_or(bytes.len(), |run| start + run);
        const VALUES: [&str; 8] = ["null", "true", "\"\"", "{}", "[]", "-1", "\"x\"", "[[{\"a\":[]}]]"];
        let value = *self.chance.pick(&VALUES).unwrap_or(&"null");
        bytes.splice(start..end, value.bytes());
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_cases() {
        let seeds = || vec![b"{\"version\":10}\n{\"size\":3}".to_vec(), b"abc".to_vec()];
        let cases = |seed| -> Vec<Vec<u8>> {
            let mut mutator = Mutator::new(seeds(), seed, 100);
            (0..200).map(|_| mutator.case()).collect()
        };
        assert_eq!(cases(1), cases(1));
        assert_ne!(cases(1), cases(2));
        assert!(cases(1).iter().all(|case| case.len() <= 100));
        assert!(cases(1).contains(&b"abc".to_vec()), "seeds come as they are, too");
    }

    #[test]
    fn no_seeds_and_empty_seeds_make_cases_as_well() {
        for seeds in [vec![], vec![vec![]]] {
            let mut mutator = Mutator::new(seeds, 3, 64);
            assert!((0..500).map(|_| mutator.case()).any(|case| !case.is_empty()));
        }
    }
}
