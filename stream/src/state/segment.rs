//! Rows that came into a store together.

use datafusion::arrow::array::{Array, Int64Array};
use datafusion::arrow::buffer::ScalarBuffer;

use super::rows::Rows;

/// Where a row of a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) row: u32,
}

/// Rows that came into a store together, in the order of the hashes of their keys; some of them may be gone.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) rows: Rows,
    /// Ascending. Rows with one hash lie as they came.
    pub(crate) hashes: ScalarBuffer<u64>,
    /// When each row is over, in microseconds; null: never.
    pub(crate) expires: Option<Int64Array>,
    live: Vec<bool>,
    live_rows: usize,
    /// The earliest end of its live rows, or earlier.
    first_end: i64,
}

impl Segment {
    pub(crate) fn new(rows: Rows, hashes: ScalarBuffer<u64>, expires: Option<Int64Array>) -> Self {
        let live = vec![true; rows.len()];
        let mut segment = Self { live_rows: live.len(), live, rows, hashes, expires, first_end: i64::MIN };
        segment.find_first_end();
        segment
    }

    /// The number of the first row from `from` on whose hash is not less than this one.
    ///
    /// **Cost**: the logarithm of how far it is away.
    pub(crate) fn seek(&self, from: usize, hash: u64) -> usize {
        let rest = self.hashes.get(from..).unwrap_or_default();
        let mut step = 1;
        while rest.get(step - 1).is_some_and(|found| *found < hash) {
            step *= 2;
        }
        let (low, high) = (step / 2, step.min(rest.len()));
        from + low + rest[low..high].partition_point(|found| *found < hash)
    }

    pub(crate) fn is_live(&self, row: u32) -> bool {
        self.live.get(row as usize).copied().unwrap_or(false)
    }

    /// Whether the row was there until now.
    pub(crate) fn kill(&mut self, row: u32) -> bool {
        match self.live.get_mut(row as usize) {
            Some(live) if *live => {
                *live = false;
                self.live_rows -= 1;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn live_rows(&self) -> usize {
        self.live_rows
    }

    /// Whether more than half of its rows are gone.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        self.live_rows * 2 < self.rows.len()
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.live).filter(|(_, live)| **live).map(|(row, _)| row)
    }

    pub(crate) fn end_of(&self, row: u32) -> Option<i64> {
        self.expires.as_ref().filter(|ends| ends.is_valid(row as usize)).map(|ends| ends.value(row as usize))
    }

    /// Live rows that are over at `until`, in their order.
    pub(crate) fn ended(&self, until: i64) -> Vec<u32> {
        if self.expires.is_none() || self.first_end > until {
            return Vec::new();
        }
        self.live().filter(|row| self.end_of(*row).is_some_and(|end| end <= until)).collect()
    }

    /// The earliest end of its live rows.
    pub(crate) fn first_end(&self) -> Option<i64> {
        self.expires.as_ref()?;
        self.live().filter_map(|row| self.end_of(row)).min()
    }

    /// After rows were taken out.
    pub(crate) fn find_first_end(&mut self) {
        self.first_end = self.first_end().unwrap_or(i64::MAX);
    }

    /// In memory.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.held_bytes() + self.hashes.len() * 9 + self.expires.as_ref().map_or(0, Array::get_array_memory_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
    use datafusion::arrow::datatypes::Schema;

    #[test]
    fn a_hash_is_found_from_anywhere_before_it() {
        let hashes: Vec<u64> = vec![1, 3, 3, 3, 7, 9, 9, 20];
        let options = RecordBatchOptions::new().with_row_count(Some(hashes.len()));
        let rows = RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options).unwrap();
        let segment = Segment::new(Rows::Held(rows), hashes.clone().into(), None);
        for from in 0..=hashes.len() {
            for hash in 0..25 {
                let plain = (from..hashes.len()).find(|row| hashes[*row] >= hash).unwrap_or(hashes.len());
                assert_eq!(segment.seek(from, hash), plain, "{hash} from {from}");
            }
        }
    }
}
