//! Rows whose key was not seen before.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, OutputMode, Result};
use datafusion::arrow::array::{BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::expiry::{arrow, in_time, times_of};
use super::{Done, EpochTimes, Operator};
use crate::state::{Keys, Store};

/// Rows whose key was not seen before; the first of each key passes.
///
/// **Source**: Spark, `dropDuplicates` and `dropDuplicatesWithinWatermark`.
pub(crate) struct Deduplication {
    schema: SchemaRef,
    keys: Vec<usize>,
    time: Option<Time>,
    store: Store,
}

/// Until when a key is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    /// The column of the event time.
    pub(crate) column: usize,
    /// Added to it: nothing where the time is part of the key, the delay for "within the watermark".
    pub(crate) plus_us: i64,
    /// Whether rows without a time pass (they are remembered for ever) or are left out.
    pub(crate) needs_time: bool,
}

impl Deduplication {
    pub(crate) fn new(schema: SchemaRef, keys: Vec<usize>, names: &[String], time: Option<Time>) -> Result<Self, ArrowError> {
        let projected = schema.project(&keys)?;
        let named = projected.fields().iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(name));
        let stored: SchemaRef = Arc::new(Schema::new(named.collect::<Vec<_>>()));
        let store = Store::new(stored, (0..keys.len()).collect())?;
        Ok(Self { schema, keys, time, store })
    }

    async fn advance(&mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> Result<(Vec<RecordBatch>, Done)> {
        let mut done = Done::begin(times);
        let mut passed = Vec::new();
        // What was over before this epoch is as if it had never been seen, whenever it is cleaned away.
        let over = self.store.ended(times.late_us);
        self.store.forget(&over);
        for mut rows in inputs {
            while let Some(batch) = rows.next().await.transpose()? {
                let kept = self.pass(batch, times, &mut done).map_err(arrow)?;
                passed.extend(kept.filter(|kept| kept.num_rows() > 0));
            }
        }
        let ended = self.store.ended(times.now_us);
        done.removed = (over.len() + ended.len()) as u64;
        self.store.forget(&ended);
        Ok((passed, done))
    }

    fn pass(&mut self, batch: RecordBatch, times: EpochTimes, done: &mut Done) -> Result<Option<RecordBatch>, ArrowError> {
        let (batch, expires) = match self.time {
            None => (batch, None),
            Some(time) => {
                let column = times_of(batch.column(time.column));
                let (batch, kept) = in_time(batch, column, times.late_us, time.needs_time, done)?;
                (batch, Some(kept.unary::<_, datafusion::arrow::array::types::Int64Type>(|t| t.saturating_add(time.plus_us))))
            }
        };
        let rows = batch.project(&self.keys)?;
        let keys = self.store.keying().of_batch(&rows)?;
        let known = self.store.find(&keys)?;
        let is_new: BooleanArray = first_of_each(&keys, &known.iter().map(Option::is_none).collect::<Vec<_>>());
        let new_rows = filter_record_batch(&rows, &is_new)?;
        let expires = match expires {
            Some(expires) => {
                let kept = datafusion::arrow::compute::filter(&expires, &is_new)?;
                Some(datafusion::arrow::array::AsArray::as_primitive::<datafusion::arrow::array::types::Int64Type>(&kept).clone())
            }
            None => None::<Int64Array>,
        };
        let new_keys = self.store.keying().of_batch(&new_rows)?;
        self.store.insert(&new_rows, &new_keys, expires)?;
        done.updated += new_rows.num_rows() as u64;
        let passed = filter_record_batch(&batch, &is_new)?;
        Ok((passed.num_rows() > 0).then_some(passed))
    }
}

/// Marks the first row of each key among those that are candidates.
fn first_of_each(keys: &Keys, candidates: &[bool]) -> BooleanArray {
    let mut seen: HashSet<u64> = HashSet::with_capacity(candidates.len());
    let mut firsts: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mark = |(index, is_candidate): (usize, &bool)| {
        if !is_candidate {
            return false;
        }
        if seen.insert(keys.hash(index)) {
            firsts.insert(keys.hash(index), vec![index]);
            return true;
        }
        let same_hash = firsts.entry(keys.hash(index)).or_default();
        if same_hash.iter().any(|first| keys.is_same(index, keys, *first)) {
            return false;
        }
        same_hash.push(index);
        true
    };
    candidates.iter().enumerate().map(mark).map(Some).collect()
}

impl Operator for Deduplication {
    fn kind(&self) -> &'static str {
        "dedupe"
    }

    fn output(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn run<'a>(&'a mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> BoxFuture<'a, Result<(Vec<RecordBatch>, Done)>> {
        debug_assert!(times.mode != OutputMode::Complete, "refused when the plan is cut");
        Box::pin(self.advance(inputs, times))
    }

    fn stores(&mut self) -> Vec<(&str, &mut Store)> {
        vec![("keys", &mut self.store)]
    }
}
