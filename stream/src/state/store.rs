//! Rows that an operator keeps, found by key.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use boathouse_base::Result;
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::buffer::ScalarBuffer;
use datafusion::arrow::compute::{interleave_record_batch, take, take_record_batch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use super::changelog::{Changes, Recorded, Removals};
use super::keys::{Keying, Keys};
use super::rows::{Filed, Rows};
use super::segment::{Place, Segment};

/// A segment is merged with the next older one when that has less than so many times its rows: each row is then rewritten
/// a logarithmic number of times.
const GROWTH: usize = 2;
/// Segments are put together up to so many bytes of rows: what is rewritten at once, and is in memory meanwhile.
const MOST_BYTES: usize = 128 << 20;

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
/// **Cost**: 9 bytes of memory for each row beside its columns, 17 where rows have an end. The columns are in memory or in files.
pub(crate) struct Store {
    schema: SchemaRef,
    keying: Keying,
    over_by: OverBy,
    /// By number; a number is used once.
    segments: BTreeMap<u32, Segment>,
    /// Their numbers, the oldest first.
    ages: Vec<u32>,
    next: u32,
    /// Segments are merged up to so many bytes.
    most_bytes: usize,
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
            ages: Vec::new(),
            next: 0,
            most_bytes: MOST_BYTES,
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
        let removals: usize = self.removals.values().map(Removals::bytes).sum();
        (self.segments.values().map(Segment::bytes).sum::<usize>() + removals) as u64
    }

    /// In files, and not in memory.
    pub(crate) fn filed_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.rows.filed_bytes()).sum()
    }

    /// What the hashes of its keys begin with.
    pub(crate) fn seed(&self) -> u64 {
        self.keying.seed()
    }

    /// Of a store without rows.
    pub(crate) fn set_seed(&mut self, seed: u64) {
        self.keying.set_seed(seed);
    }

    /// Segments are merged up to so many bytes of rows.
    pub(crate) fn set_most_bytes(&mut self, bytes: usize) {
        self.most_bytes = bytes;
    }

    /// The place of each key, where no two rows have the same.
    pub(crate) fn find(&self, keys: &Keys) -> Result<Vec<Option<Place>>, ArrowError> {
        let mut found = vec![None; keys.hashes().len()];
        for (index, place) in self.find_all(keys)? {
            found[index as usize] = Some(place);
        }
        Ok(found)
    }

    /// All places of each key, as (index of the key, place), by key, then oldest first.
    ///
    /// **Cost**: the keys are sorted by their hashes, and each segment is walked along with them.
    pub(crate) fn find_all(&self, keys: &Keys) -> Result<Vec<(u32, Place)>, ArrowError> {
        let by_hash = keys.by_hash();
        let mut found: Vec<(u32, Place)> = Vec::new();
        for (number, segment) in self.oldest_first() {
            let mut from = 0;
            for (hash, index) in &by_hash {
                from = segment.seek(from, *hash);
                let rest = segment.hashes.get(from..).unwrap_or_default();
                let same = (0_u32..).zip(rest).take_while(|(_, other)| *other == hash);
                let rows = same.filter_map(|(offset, _)| u32::try_from(from).ok()?.checked_add(offset));
                found.extend(rows.filter(|row| segment.is_live(*row)).map(|row| (*index, Place { segment: number, row })));
                if rest.is_empty() {
                    break;
                }
            }
        }
        // Stable: the places of a key were found oldest first.
        found.sort_by_key(|(index, _)| *index);
        let places: Vec<Place> = found.iter().map(|(_, place)| *place).collect();
        let stored = self.keys_at(&places)?;
        let mut at = 0;
        found.retain(|(index, _)| {
            at += 1;
            keys.is_same(*index as usize, &stored, at - 1)
        });
        Ok(found)
    }

    fn oldest_first(&self) -> impl DoubleEndedIterator<Item = (u32, &Segment)> {
        self.ages.iter().filter_map(|number| Some((*number, self.segments.get(number)?)))
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
        if columns.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
            return RecordBatch::try_new_with_options(schema, Vec::new(), &options);
        }
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let mut of_segment: BTreeMap<u32, usize> = BTreeMap::new();
        let mut wanted: Vec<(u32, Vec<(u32, usize)>)> = Vec::new();
        let mut last = None;
        for (at, place) in places.iter().enumerate() {
            let source = match last {
                Some((segment, source)) if segment == place.segment => source,
                _ => *of_segment.entry(place.segment).or_insert_with(|| {
                    wanted.push((place.segment, Vec::new()));
                    wanted.len() - 1
                }),
            };
            last = Some((place.segment, source));
            wanted[source].1.push((place.row, at));
        }
        let mut sources = Vec::with_capacity(wanted.len());
        let mut picks = vec![(0, 0); places.len()];
        for (source, (number, mut rows)) in wanted.into_iter().enumerate() {
            let Some(segment) = self.segments.get(&number) else {
                return Err(ArrowError::InvalidArgumentError(format!("rows of the segment {number} are wanted, which is gone")));
            };
            match &segment.rows {
                Rows::Held(held) => {
                    rows.iter().for_each(|(row, at)| picks[*at] = (source, *row as usize));
                    sources.push(held.project(columns)?);
                }
                Rows::Filed(file) => {
                    rows.sort_unstable();
                    for (nth, (_, at)) in rows.iter().enumerate() {
                        picks[*at] = (source, nth);
                    }
                    let rows: Vec<u32> = rows.into_iter().map(|(row, _)| row).collect();
                    sources.push(file.pick(&rows, columns)?);
                }
            }
        }
        interleave_record_batch(&sources.iter().collect::<Vec<_>>(), &picks)
    }

    /// Places of all rows, oldest first.
    pub(crate) fn all(&self) -> Vec<Place> {
        self.oldest_first().flat_map(|(number, segment)| segment.live().map(move |row| Place { segment: number, row })).collect()
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
        let by_hash = keys.by_hash();
        let hashes = by_hash.iter().map(|(hash, _)| *hash).collect();
        let order = UInt32Array::from_iter_values(by_hash.into_iter().map(|(_, row)| row));
        let expires = expires.map(|expires| take(&expires, &order, None)).transpose()?;
        let expires = expires.map(|expires| expires.as_primitive::<Int64Type>().clone());
        let segment = Segment::new(Rows::Held(take_record_batch(&rows, &order)?), hashes, expires);
        self.put(segment, self.ages.len());
        Ok(())
    }

    /// A segment that no file holds, of this age.
    fn put(&mut self, segment: Segment, age: usize) {
        let number = self.next;
        self.next += 1;
        self.segments.insert(number, segment);
        self.ages.insert(age, number);
        self.unwritten.insert(number);
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

    /// The places of rows that are over at `until`, those of the oldest segments first.
    pub(crate) fn ended(&self, until: Option<i64>) -> Vec<Place> {
        let Some(until) = until else { return Vec::new() };
        let ended = |(number, segment): (u32, &Segment)| {
            segment.ended(until).into_iter().map(move |row| Place { segment: number, row }).collect::<Vec<_>>()
        };
        self.oldest_first().flat_map(ended).collect()
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
        self.segments.get_mut(&place.segment).is_some_and(|segment| segment.kill(place.row))
    }

    fn forget_dead_segments(&mut self) {
        let (segments, unwritten) = (&mut self.segments, &mut self.unwritten);
        self.ages.retain(|number| {
            let is_dead = segments.get(number).is_none_or(|segment| segment.live_rows() == 0);
            if is_dead {
                segments.remove(number);
                unwritten.remove(number);
            }
            !is_dead
        });
    }

    /// What must be written so that a restart finds what is here now: at most two segments, into which others were merged.
    pub(crate) fn changes(&mut self) -> Result<Vec<Changes>, ArrowError> {
        self.forget_dead_segments();
        self.merge()?;
        let mut removing = std::mem::take(&mut self.removing);
        let written = std::mem::take(&mut self.unwritten);
        // A file must not be kept for its removals when its rows are elsewhere, or gone: it would bring them back.
        let orphans: Vec<u32> = self.removals.keys().filter(|number| !self.segments.contains_key(number)).copied().collect();
        let must_move = orphans.iter().any(|number| !self.without_rows.contains(number));
        if !written.is_empty() || must_move || !removing.is_empty() {
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
        let mut changes = Vec::new();
        for number in written {
            if let Some(Segment { rows: Rows::Held(rows), hashes, expires, .. }) = self.segments.get(&number) {
                let (rows, hashes, expires) = (rows.clone(), hashes.clone(), expires.clone());
                changes.push(Changes { number, rows, hashes, expires, removals: Removals::default() });
            }
        }
        if !removing.is_empty() {
            if changes.is_empty() {
                let number = self.next;
                self.next += 1;
                self.without_rows.insert(number);
                let rows = RecordBatch::new_empty(SchemaRef::clone(&self.schema));
                changes.push(Changes {
                    number,
                    rows,
                    hashes: ScalarBuffer::default(),
                    expires: None,
                    removals: Removals::default(),
                });
            }
            if let Some(last) = changes.last_mut() {
                self.removals.insert(last.number, removing.clone());
                last.removals = removing;
            }
        }
        Ok(changes)
    }

    /// The numbers of segments whose files are needed.
    pub(crate) fn needed(&self) -> BTreeSet<u32> {
        self.segments.keys().chain(self.removals.keys()).copied().collect()
    }

    /// Where a segment stands among the others, the oldest first; files without rows stand before all.
    pub(crate) fn age(&self, number: u32) -> Option<usize> {
        self.ages.iter().position(|other| *other == number)
    }

    /// Merges what this epoch has put in with the newest segments, as long as the next older one is not much larger; and, beside that, segments
    /// most of whose rows are gone.
    fn merge(&mut self) -> Result<(), ArrowError> {
        let newest = self.newest_run();
        if newest.len() > 1 || newest.clone().any(|age| self.has_dead(age)) {
            self.merge_run(newest.clone())?;
        }
        if let Some(run) = self.dead_run(newest.start) {
            self.merge_run(run)?;
        }
        // After a restart in another order, segments of any age are in no file, and nothing is written about what has left them.
        while let Some(age) = (0..self.ages.len()).find(|age| self.is_new(*age) && self.has_dead(*age)) {
            self.merge_run(age..age + 1)?;
        }
        Ok(())
    }

    fn at(&self, age: usize) -> Option<&Segment> {
        self.ages.get(age).and_then(|number| self.segments.get(number))
    }

    fn has_dead(&self, age: usize) -> bool {
        self.at(age).is_some_and(|segment| segment.live_rows() < segment.rows.len())
    }

    fn is_new(&self, age: usize) -> bool {
        self.ages.get(age).is_some_and(|number| self.unwritten.contains(number))
    }

    /// The ages of segments that are put together into the newest one; none when this epoch put nothing in.
    fn newest_run(&self) -> Range<usize> {
        let mut start = self.ages.len();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(age) = start.checked_sub(1)
            && let Some(segment) = self.at(age)
        {
            let more = row_bytes(segment);
            let is_small = segment.live_rows() < rows * GROWTH || segment.is_mostly_dead();
            let joins = start < self.ages.len() && is_small && bytes + more <= self.most_bytes;
            if !(joins || self.is_new(age)) {
                break;
            }
            (rows, bytes, start) = (rows + segment.live_rows(), bytes + more, age);
        }
        start..self.ages.len()
    }

    /// The ages of neighbours before `end` of which one is mostly gone.
    fn dead_run(&self, end: usize) -> Option<Range<usize>> {
        let dead = (0..end).find(|age| self.at(*age).is_some_and(Segment::is_mostly_dead))?;
        let mut run = dead..dead + 1;
        let (mut rows, mut bytes) = self.at(dead).map(|segment| (segment.live_rows(), row_bytes(segment)))?;
        let fits = |age: usize, rows: usize, bytes: usize| {
            let segment = self.at(age).filter(|segment| segment.live_rows() < rows * GROWTH)?;
            let sum = (rows + segment.live_rows(), bytes + row_bytes(segment));
            (sum.1 <= self.most_bytes).then_some(sum)
        };
        while run.end < end
            && let Some(sum) = fits(run.end, rows, bytes)
        {
            ((rows, bytes), run.end) = (sum, run.end + 1);
        }
        while let Some(before) = run.start.checked_sub(1)
            && let Some(sum) = fits(before, rows, bytes)
        {
            ((rows, bytes), run.start) = (sum, before);
        }
        Some(run)
    }

    /// Puts neighbours together, without what is gone.
    fn merge_run(&mut self, run: Range<usize>) -> Result<(), ArrowError> {
        let start = run.start;
        let numbers: Vec<u32> = self.ages.drain(run).collect();
        let old: Vec<(u32, &Segment)> = numbers.iter().filter_map(|number| Some((*number, self.segments.get(number)?))).collect();
        let mut order: Vec<(u64, Place)> = Vec::new();
        for (number, segment) in &old {
            order.extend(segment.live().map(|row| (segment.hashes[row as usize], Place { segment: *number, row })));
        }
        // Stable: rows with one hash stay oldest first. What is sorted are runs that are sorted.
        order.sort_by_key(|(hash, _)| *hash);
        let has_ends = old.iter().any(|(_, segment)| segment.expires.is_some());
        let places: Vec<Place> = order.iter().map(|(_, place)| *place).collect();
        let expires = has_ends.then(|| places.iter().map(|place| self.end_of(*place)).collect::<Int64Array>());
        let rows = self.gather(&places)?;
        let hashes = order.iter().map(|(hash, _)| *hash).collect();
        for number in numbers {
            self.segments.remove(&number);
            self.unwritten.remove(&number);
        }
        self.put(Segment::new(Rows::Held(rows), hashes, expires), start);
        Ok(())
    }

    /// Puts what files hold back in, oldest first: `is_over` says which rows had ended when the last epoch was committed.
    pub(crate) fn restore(&mut self, files: Vec<Recorded>, is_over: impl Fn(i64) -> bool) -> Result<(), ArrowError> {
        let (mut gone, mut otherwise) = (Vec::new(), Vec::new());
        for Recorded { number, rows, hashes, expires, removals } in files {
            self.next = self.next.max(number.saturating_add(1));
            let has_rows = rows.len() > 0;
            if has_rows {
                if !self.hashes_so(&rows, &hashes)? {
                    otherwise.push(number);
                }
                let mut segment = Segment::new(rows, hashes, expires);
                let over: Vec<u32> = match &segment.expires {
                    Some(_) => segment.live().filter(|row| segment.end_of(*row).is_some_and(&is_over)).collect(),
                    None => Vec::new(),
                };
                for row in over {
                    segment.kill(row);
                }
                self.segments.insert(number, segment);
                self.ages.push(number);
            }
            if !removals.is_empty() {
                gone.push((number, has_rows, removals));
            }
        }
        for (number, has_rows, removals) in gone {
            for place in removals.places() {
                self.take_out(place);
            }
            self.removals.insert(number, removals);
            if !has_rows {
                self.without_rows.insert(number);
            }
        }
        self.segments.values_mut().for_each(Segment::find_first_end);
        self.forget_dead_segments();
        otherwise.into_iter().try_for_each(|number| self.hash_anew(number))
    }

    /// Whether the keys of rows have these hashes now: another version may compute others, and keys may stand in another order. Some rows
    /// are asked, since one may have the same hash by chance.
    fn hashes_so(&self, rows: &Rows, hashes: &[u64]) -> Result<bool, ArrowError> {
        let some = hashes.len().min(16);
        let first = match rows {
            Rows::Held(rows) => rows.slice(0, some),
            Rows::Filed(file) => {
                let rows: Vec<u32> = (0_u32..).take(some).collect();
                file.pick(&rows, &(0..self.schema.fields().len()).collect::<Vec<_>>())?
            }
        };
        Ok(self.keying.of_batch(&first)?.hashes() == &hashes[..some])
    }

    /// Puts the rows of a segment into the order of their hashes as they are now. They are written again.
    fn hash_anew(&mut self, number: u32) -> Result<(), ArrowError> {
        let (Some(age), Some(segment)) = (self.age(number), self.segments.remove(&number)) else { return Ok(()) };
        self.ages.remove(age);
        let all = match &segment.rows {
            Rows::Held(rows) => rows.clone(),
            Rows::Filed(file) => file.all()?,
        };
        let live: Vec<u32> = segment.live().collect();
        let by_hash = self.keying.of_batch(&take_record_batch(&all, &UInt32Array::from(live.clone()))?)?.by_hash();
        let order = UInt32Array::from_iter_values(by_hash.iter().map(|(_, row)| live[*row as usize]));
        let expires = segment.expires.as_ref().map(|expires| take(expires, &order, None)).transpose()?;
        let expires = expires.map(|expires| expires.as_primitive::<Int64Type>().clone());
        let hashes = by_hash.iter().map(|(hash, _)| *hash).collect();
        self.put(Segment::new(Rows::Held(take_record_batch(&all, &order)?), hashes, expires), age);
        Ok(())
    }

    /// The largest segment whose rows are in memory and in a file: its number and bytes.
    pub(crate) fn largest_held(&self) -> Option<(u32, usize)> {
        let held = self.segments.iter().filter(|(number, _)| !self.unwritten.contains(number));
        held.map(|(number, segment)| (*number, segment.rows.held_bytes()))
            .filter(|(_, bytes)| *bytes > 0)
            .max_by_key(|(_, bytes)| *bytes)
    }

    /// The rows of a segment that are in memory.
    pub(crate) fn held(&self, number: u32) -> Option<&RecordBatch> {
        match &self.segments.get(&number)?.rows {
            Rows::Held(rows) => Some(rows),
            Rows::Filed(_) => None,
        }
    }

    /// The rows of a segment are no longer in memory, but here.
    pub(crate) fn file(&mut self, number: u32, file: Filed) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.rows = Rows::Filed(Box::new(file));
        }
    }

    /// The smallest segment whose rows are not in memory: its number and bytes.
    pub(crate) fn smallest_filed(&self) -> Option<(u32, u64)> {
        let filed = self.segments.iter().map(|(number, segment)| (*number, segment.rows.filed_bytes()));
        filed.filter(|(_, bytes)| *bytes > 0).min_by_key(|(_, bytes)| *bytes)
    }

    /// Reads the rows of a segment into memory.
    pub(crate) fn hold(&mut self, number: u32) -> Result<(), ArrowError> {
        if let Some(segment) = self.segments.get_mut(&number)
            && let Rows::Filed(file) = &segment.rows
        {
            segment.rows = Rows::Held(file.all()?);
        }
        Ok(())
    }
}

/// About how many bytes the live rows of a segment take.
fn row_bytes(segment: &Segment) -> usize {
    let all = segment.rows.held_bytes() + usize::try_from(segment.rows.filed_bytes()).unwrap_or(usize::MAX);
    (all as u128 * segment.live_rows() as u128 / segment.rows.len().max(1) as u128).try_into().unwrap_or(usize::MAX)
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("rows", &self.rows()).field("segments", &self.segments.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
