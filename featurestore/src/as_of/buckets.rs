//! Rows by key and time.

use crate::error::{FeatureError, Result};

/// Where a feature row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) batch: u32,
    pub(crate) row: u32,
}

impl Place {
    pub(crate) fn new(batch: usize, row: usize, attempt: impl FnOnce() -> String) -> Result<Self> {
        match (u32::try_from(batch), u32::try_from(row)) {
            (Ok(batch), Ok(row)) => Ok(Self { batch, row }),
            _ => Err(FeatureError::TooManyRows { attempt: attempt() }),
        }
    }
}

/// A feature row: whose, since when, and where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) key: u32,
    pub(crate) place: Place,
    pub(crate) at: i64,
}

/// A label: whose features, as of when, and which row it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) key: u32,
    pub(crate) row: u32,
    pub(crate) at: i64,
}

pub(crate) trait Timed: Copy {
    fn key(&self) -> usize;
    fn at(&self) -> i64;
}

impl Timed for Event {
    fn key(&self) -> usize {
        self.key as usize
    }

    fn at(&self) -> i64 {
        self.at
    }
}

impl Timed for Probe {
    fn key(&self) -> usize {
        self.key as usize
    }

    fn at(&self) -> i64 {
        self.at
    }
}

/// Items in one bucket per key, each sorted by time.
#[derive(Debug)]
pub(crate) struct Buckets<T> {
    items: Vec<T>,
    /// The items of key `k` are `starts[k]..starts[k + 1]`.
    starts: Vec<usize>,
}

impl<T: Timed> Buckets<T> {
    /// Sorts items whose keys are all below `keys`. Items of one key and time keep their order.
    pub(crate) fn new(mut items: Vec<T>, keys: usize) -> Self {
        let mut starts = vec![0; keys + 1];
        for item in &items {
            starts[item.key() + 1] += 1;
        }
        for key in 0..keys {
            starts[key + 1] += starts[key];
        }
        if !items.is_sorted_by_key(Timed::key) {
            let mut next = starts.clone();
            let mut ordered = items.clone();
            for item in &items {
                let at = &mut next[item.key()];
                ordered[*at] = *item;
                *at += 1;
            }
            items = ordered;
        }
        for key in 0..keys {
            let bucket = &mut items[starts[key]..starts[key + 1]];
            if !bucket.is_sorted_by_key(Timed::at) {
                bucket.sort_by_key(Timed::at);
            }
        }
        Self { items, starts }
    }

    pub(crate) fn keys(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn of(&self, key: usize) -> &[T] {
        &self.items[self.starts[key]..self.starts[key + 1]]
    }

    /// The newest item of each key that has one.
    pub(crate) fn newest(&self) -> impl Iterator<Item = T> + '_ {
        (0..self.keys()).filter_map(|key| self.of(key).last().copied())
    }

    pub(crate) fn items(&self) -> &[T] {
        &self.items
    }
}
