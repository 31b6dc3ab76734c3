//! One bit a row.

/// A bit for each of many rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// All bits the same.
    pub(super) fn all(value: bool, len: usize) -> Self {
        Self { words: vec![if value { u64::MAX } else { 0 }; len.div_ceil(64)], len }
    }

    pub(super) fn push(&mut self, value: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.len += 1;
        self.set(self.len - 1, value);
    }

    pub(super) fn set(&mut self, at: usize, value: bool) {
        let mask = 1 << (at % 64);
        if value {
            self.words[at / 64] |= mask;
        } else {
            self.words[at / 64] &= !mask;
        }
    }

    pub(super) fn get(&self, at: usize) -> bool {
        self.words[at / 64] & (1 << (at % 64)) != 0
    }
}
