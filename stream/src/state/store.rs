//! Rows that an operator keeps, found by key.

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::Result;
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use hashbrown::HashTable;

use super::changelog::{Changes, Removals};
use super::keys::{Keying, Keys};
use super::segment::{Place, Segment};

/// A segment is merged with the next older one when that has less than so many times its rows: each row is then rewritten
/// a logarithmic number of times.
const GROWTH: usize = 2;

/// What says that a row of a store is over, so that it is gone after a restart without being said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverBy {
    /// Its end, when the watermark has passed it.
    Watermark,
    /// Its end, when the clock has passed it.
    ProcessingTime,
    /// Nothing but being taken out.
    Removal,
}

/// Rows that an operator keeps, found by key. Whether several rows have one key is up to the operator.
///
/// **Cost**: about 18 bytes for each row beside its columns.
pub(crate) struct Store {
    schema: SchemaRef,
    keying: Keying,
    over_by: OverBy,
    /// By number; numbers only go up.
    segments: BTreeMap<u32, Segment>,
    places: HashTable<Place>,
    next: u32,
    /// Segments that no file holds yet.
    unwritten: BTreeSet<u32>,
    /// What was taken out of segments that files hold, by the segment that says so.
    removals: BTreeMap<u32, Removals>,
    /// Files that hold nothing else.
    without_rows: BTreeSet<u32>,
    /// What this epoch has taken out.
    removing: Removals,
}

impl Store {
    /// A store of rows with this schema, whose key are these columns.
    ///
    /// **Errors**: when a key column has a type without an order.
    pub(crate) fn new(schema: SchemaRef, keys: Vec<usize>) -> Result<Self, ArrowError> {
        let keying = Keying::new(&schema, keys)?;
        Ok(Self {
            schema,
            keying,
            over_by: OverBy::Watermark,
            segments: BTreeMap::new(),
            places: HashTable::new(),
            next: 0,
            unwritten: BTreeSet::new(),
            removals: BTreeMap::new(),
            without_rows: BTreeSet::new(),
            removing: Removals::default(),
        })
    }

    /// Says what its rows are over by.
    pub(crate) fn over_by(mut self, over_by: OverBy) -> Self {
        self.over_by = over_by;
        self
    }

    /// What its rows are over by.
    pub(crate) fn is_over_by(&self) -> OverBy {
        self.over_by
    }

    #[cfg(test)]
    pub(crate) fn with_mask(mut self, mask: u64) -> Self {
        self.keying = self.keying.with_mask(mask);
        self
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Makes keys.
    pub(crate) fn keying(&self) -> &Keying {
        &self.keying
    }

    /// Rows in it.
    pub(crate) fn rows(&self) -> u64 {
        self.segments.values().map(|segment| segment.live_rows() as u64).sum()
    }

    /// In memory.
    pub(crate) fn bytes(&self) -> u64 {
        let rows: usize = self.segments.values().map(Segment::bytes).sum();
        (rows + self.places.allocation_size()) as u64
    }

    /// The place of each key, where no two rows have the same.
    pub(crate) fn find(&self, keys: &Keys) -> Result<Vec<Option<Place>>, ArrowError> {
        let mut found: Vec<Option<Place>> = keys
            .hashes()
            .iter()
            .map(|hash| self.places.find(*hash, |place| self.hash_of(*place) == Some(*hash)).copied())
            .collect();
        let hits: Vec<usize> = (0..found.len()).filter(|index| found[*index].is_some()).collect();
        let places: Vec<Place> = hits.iter().filter_map(|index| found[*index]).collect();
        let stored = self.keys_at(&places)?;
        for (at, index) in hits.into_iter().enumerate() {
            if !keys.is_same(index, &stored, at) {
                found[index] = self.find_slowly(keys, index)?;
            }
        }
        Ok(found)
    }

    /// Another key has the same hash: look at all that have it.
    fn find_slowly(&self, keys: &Keys, index: usize) -> Result<Option<Place>, ArrowError> {
        let hash = keys.hash(index);
        let places: Vec<Place> =
            self.places.iter_hash(hash).filter(|place| self.hash_of(**place) == Some(hash)).copied().collect();
        let stored = self.keys_at(&places)?;
        Ok((0..places.len()).find(|at| keys.is_same(index, &stored, *at)).map(|at| places[at]))
    }

    /// All places of each key, as (index of the key, place), by key, then oldest first.
    pub(crate) fn find_all(&self, keys: &Keys) -> Result<Vec<(u32, Place)>, ArrowError> {
        let mut found = Vec::new();
        for (index, hash) in (0_u32..).zip(keys.hashes()) {
            let before = found.len();
            let places = self.places.iter_hash(*hash).filter(|place| self.hash_of(**place) == Some(*hash));
            found.extend(places.map(|place| (index, *place)));
            found[before..].sort_unstable();
        }
        let places: Vec<Place> = found.iter().map(|(_, place)| *place).collect();
        let stored = self.keys_at(&places)?;
        let mut at = 0;
        found.retain(|(index, _)| {
            at += 1;
            keys.is_same(*index as usize, &stored, at - 1)
        });
        Ok(found)
    }

    fn hash_of(&self, place: Place) -> Option<u64> {
        self.segments.get(&place.segment).and_then(|segment| segment.hashes.get(place.row as usize)).copied()
    }

    fn keys_at(&self, places: &[Place]) -> Result<Keys, ArrowError> {
        let columns = self.keying.columns().to_vec();
        let rows = self.gather_columns(places, &columns)?;
        self.keying.of_columns(rows.columns(), places.len())
    }

    /// The rows at these places, in this order.
    pub(crate) fn gather(&self, places: &[Place]) -> Result<RecordBatch, ArrowError> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        self.gather_columns(places, &all)
    }

    /// As [`gather`](Self::gather), of these columns alone.
    pub(crate) fn gather_columns(&self, places: &[Place], columns: &[usize]) -> Result<RecordBatch, ArrowError> {
        let schema: SchemaRef = self.schema.project(columns)?.into();
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let used: BTreeSet<u32> = places.iter().map(|place| place.segment).collect();
        let segments: Vec<RecordBatch> = used
            .iter()
            .filter_map(|number| self.segments.get(number))
            .map(|segment| segment.rows.project(columns))
            .collect::<Result<_, _>>()?;
        let index: BTreeMap<u32, usize> = used.iter().enumerate().map(|(index, number)| (*number, index)).collect();
        let of = |place: &Place| index.get(&place.segment).copied().unwrap_or(0);
        let places: Vec<(usize, usize)> = places.iter().map(|place| (of(place), place.row as usize)).collect();
        if columns.is_empty() {
            let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(places.len()));
            return RecordBatch::try_new_with_options(schema, Vec::new(), &options);
        }
        interleave_record_batch(&segments.iter().collect::<Vec<_>>(), &places)
    }

    /// Places of all rows, oldest first.
    pub(crate) fn all(&self) -> Vec<Place> {
        self.segments.iter().flat_map(|(number, segment)| segment.live().map(|row| Place { segment: *number, row })).collect()
    }

    /// When the row at a place is over.
    pub(crate) fn end_of(&self, place: Place) -> Option<i64> {
        self.segments.get(&place.segment).and_then(|segment| segment.end_of(place.row))
    }

    /// Puts rows in, whose keys were made by [`keying`](Self::keying), with the times when they are over.
    pub(crate) fn insert(&mut self, rows: &RecordBatch, keys: &Keys, expires: Option<Int64Array>) -> Result<(), ArrowError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        // What a file holds must be exactly what was announced: metadata and nullability of the operator's columns.
        let rows = RecordBatch::try_new(SchemaRef::clone(&self.schema), rows.columns().to_vec())?;
        let number = self.next;
        self.next += 1;
        self.index(number, keys.hashes());
        self.segments.insert(number, Segment::new(rows, keys.hashes().to_vec(), expires));
        self.unwritten.insert(number);
        Ok(())
    }

    fn index(&mut self, number: u32, hashes: &[u64]) {
        // A hash is asked for again when the table grows: also those of this segment, which is not there yet.
        let segments = &self.segments;
        let hash_of = |place: &Place| match place.segment == number {
            true => hashes.get(place.row as usize).copied().unwrap_or(0),
            false => segments.get(&place.segment).and_then(|s| s.hashes.get(place.row as usize)).copied().unwrap_or(0),
        };
        self.places.reserve(hashes.len(), hash_of);
        for (row, hash) in (0_u32..).zip(hashes) {
            self.places.insert_unique(*hash, Place { segment: number, row }, hash_of);
        }
    }

    /// Takes rows out, as of this epoch.
    pub(crate) fn remove(&mut self, places: &[Place]) {
        for place in places {
            let is_written = !self.unwritten.contains(&place.segment);
            if self.take_out(*place) && is_written {
                self.removing.add(*place);
            }
        }
        self.forget_dead_segments();
    }

    /// The places of rows that are over at `until`, oldest first.
    pub(crate) fn ended(&self, until: Option<i64>) -> Vec<Place> {
        let Some(until) = until else { return Vec::new() };
        let ended = |(number, segment): (&u32, &Segment)| {
            let number = *number;
            segment.ended(until).into_iter().map(move |row| Place { segment: number, row }).collect::<Vec<_>>()
        };
        self.segments.iter().flat_map(ended).collect()
    }

    /// The earliest end of a row.
    ///
    /// **Cost**: a look at every row.
    pub(crate) fn first_end(&self) -> Option<i64> {
        self.segments.values().filter_map(Segment::first_end).min()
    }

    /// Takes rows out that are over. That they are is known from the watermark: nothing is written about it.
    pub(crate) fn forget(&mut self, places: &[Place]) {
        let mut touched = BTreeSet::new();
        for place in places {
            self.take_out(*place);
            touched.insert(place.segment);
        }
        for number in touched {
            if let Some(segment) = self.segments.get_mut(&number) {
                segment.find_first_end();
            }
        }
        self.forget_dead_segments();
    }

    fn take_out(&mut self, place: Place) -> bool {
        let Some(segment) = self.segments.get_mut(&place.segment) else { return false };
        let Some(hash) = segment.hashes.get(place.row as usize).copied() else { return false };
        if !segment.kill(place.row) {
            return false;
        }
        if let Ok(entry) = self.places.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        true
    }

    fn forget_dead_segments(&mut self) {
        let dead: Vec<u32> = self.segments.iter().filter(|(_, s)| s.live_rows() == 0).map(|(number, _)| *number).collect();
        for number in dead {
            self.segments.remove(&number);
            self.unwritten.remove(&number);
        }
    }

    /// What must be written so that a restart finds what is here now: at most one segment, into which small ones were merged.
    pub(crate) fn changes(&mut self) -> Result<Option<Changes>, ArrowError> {
        self.forget_dead_segments();
        self.merge()?;
        let mut removing = std::mem::take(&mut self.removing);
        let written = self.unwritten.pop_last();
        // A file must not be kept for its removals when its rows are elsewhere, or gone: it would bring them back.
        let orphans: Vec<u32> = self.removals.keys().filter(|number| !self.segments.contains_key(number)).copied().collect();
        let must_move = orphans.iter().any(|number| !self.without_rows.contains(number));
        if written.is_some() || must_move || !removing.is_empty() {
            for number in orphans {
                removing.extend(self.removals.remove(&number).unwrap_or_default());
                self.without_rows.remove(&number);
            }
        }
        let segments = &self.segments;
        removing.keep(|number| segments.contains_key(&number));
        self.removals.retain(|_, removals| {
            removals.keep(|number| segments.contains_key(&number));
            !removals.is_empty()
        });
        self.without_rows.retain(|number| self.removals.contains_key(number));
        let (number, rows, expires) = match written.and_then(|number| Some((number, self.segments.get(&number)?))) {
            Some((number, segment)) => (number, segment.rows.clone(), segment.expires.clone()),
            None if removing.is_empty() => return Ok(None),
            None => {
                let number = self.next;
                self.next += 1;
                self.without_rows.insert(number);
                (number, RecordBatch::new_empty(SchemaRef::clone(&self.schema)), None)
            }
        };
        if !removing.is_empty() {
            self.removals.insert(number, removing.clone());
        }
        Ok(Some(Changes { number, rows, expires, removals: removing }))
    }

    /// The numbers of segments whose files are needed.
    pub(crate) fn needed(&self) -> BTreeSet<u32> {
        self.segments.keys().chain(self.removals.keys()).copied().collect()
    }

    /// Merges what this epoch has put in, and then the newest segments as long as the next older one is not much larger.
    fn merge(&mut self) -> Result<(), ArrowError> {
        let mut merged: Vec<u32> = Vec::new();
        let mut rows = 0;
        for (number, segment) in self.segments.iter().rev() {
            let is_new = self.unwritten.contains(number);
            let is_small = !merged.is_empty() && segment.live_rows() < rows * GROWTH;
            let is_mostly_dead = segment.live_rows() * 2 < segment.rows.num_rows();
            if !(is_new || (is_small && !self.unwritten.is_empty()) || (is_mostly_dead && !merged.is_empty())) {
                break;
            }
            rows += segment.live_rows();
            merged.push(*number);
        }
        let has_dead = merged.first().and_then(|n| self.segments.get(n)).is_some_and(|s| s.live_rows() < s.rows.num_rows());
        if merged.is_empty() || (merged.len() == 1 && !has_dead) {
            return Ok(());
        }
        merged.reverse();
        let places: Vec<Place> = merged
            .iter()
            .filter_map(|number| self.segments.get(number).map(|segment| (number, segment)))
            .flat_map(|(number, segment)| segment.live().map(|row| Place { segment: *number, row }))
            .collect();
        let rows = self.gather(&places)?;
        let hashes: Vec<u64> = places.iter().map(|place| self.hash_of(*place).unwrap_or(0)).collect();
        let has_ends = merged.iter().any(|number| self.segments.get(number).is_some_and(|s| s.expires.is_some()));
        let expires = has_ends.then(|| places.iter().map(|place| self.end_of(*place)).collect::<Int64Array>());
        let number = self.next;
        self.next += 1;
        for ((row, old), hash) in (0_u32..).zip(&places).zip(&hashes) {
            if let Some(place) = self.places.find_mut(*hash, |other| other == old) {
                *place = Place { segment: number, row };
            }
        }
        for old in &merged {
            self.segments.remove(old);
            self.unwritten.remove(old);
        }
        self.segments.insert(number, Segment::new(rows, hashes, expires));
        self.unwritten.insert(number);
        Ok(())
    }

    /// Puts what files hold back in: `is_over` says which rows had ended when the last epoch was committed.
    pub(crate) fn restore(&mut self, files: Vec<Changes>, is_over: impl Fn(i64) -> bool) -> Result<(), ArrowError> {
        let mut gone: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for place in files.iter().flat_map(|changes| changes.removals.places()) {
            gone.entry(place.segment).or_default().insert(place.row);
        }
        for Changes { number, rows, expires, removals } in files {
            self.next = self.next.max(number.saturating_add(1));
            let keys = self.keying.of_batch(&rows)?;
            let mut segment = Segment::new(rows, keys.hashes().to_vec(), expires);
            let gone = gone.remove(&number).unwrap_or_default();
            let is_dead = |row: &u32| gone.contains(row) || segment.end_of(*row).is_some_and(&is_over);
            let dead: Vec<u32> = segment.live().filter(is_dead).collect();
            for row in dead {
                segment.kill(row);
            }
            segment.find_first_end();
            if !removals.is_empty() {
                self.removals.insert(number, removals);
                if segment.rows.num_rows() == 0 {
                    self.without_rows.insert(number);
                }
            }
            self.adopt(number, segment);
        }
        self.forget_dead_segments();
        Ok(())
    }

    fn adopt(&mut self, number: u32, segment: Segment) {
        self.segments.insert(number, segment);
        let segments = &self.segments;
        let hash_of =
            |place: &Place| segments.get(&place.segment).and_then(|s| s.hashes.get(place.row as usize)).copied().unwrap_or(0);
        let Some(segment) = segments.get(&number) else { return };
        self.places.reserve(segment.live_rows(), hash_of);
        for row in segment.live() {
            let place = Place { segment: number, row };
            self.places.insert_unique(hash_of(&place), place, hash_of);
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("rows", &self.rows()).field("segments", &self.segments.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
