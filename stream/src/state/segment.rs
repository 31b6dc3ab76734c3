//! Rows that came into a store together.

use datafusion::arrow::array::{Array, Int64Array, RecordBatch};

/// Where a row of a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) row: u32,
}

/// Rows that came into a store together, some of which may be gone.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) rows: RecordBatch,
    pub(crate) hashes: Vec<u64>,
    /// When each row is over, in microseconds; null: never.
    pub(crate) expires: Option<Int64Array>,
    live: Vec<bool>,
    live_rows: usize,
    /// The earliest end of its live rows, or earlier.
    first_end: i64,
}

impl Segment {
    pub(crate) fn new(rows: RecordBatch, hashes: Vec<u64>, expires: Option<Int64Array>) -> Self {
        let live = vec![true; rows.num_rows()];
        let mut segment = Self { live_rows: live.len(), live, rows, hashes, expires, first_end: i64::MIN };
        segment.find_first_end();
        segment
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
        self.live().filter_map(|row| self.end_of(row)).min()
    }

    /// After rows were taken out.
    pub(crate) fn find_first_end(&mut self) {
        self.first_end = self.first_end().unwrap_or(i64::MAX);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.hashes.len() * 9 + self.expires.as_ref().map_or(0, Array::get_array_memory_size)
    }
}
