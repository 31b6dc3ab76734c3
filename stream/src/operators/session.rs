//! Sessions of a stream: windows that grow as long as rows keep coming, and merge when a row closes the gap between them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, OutputMode, Result};
use datafusion::arrow::array::types::TimestampMicrosecondType;
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch};
use datafusion::arrow::compute::{concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use super::combine::{Combine, Value};
use super::expiry::{arrow, in_time, times_of};
use super::groups::Groups;
use super::{Done, EpochTimes, Operator};
use crate::state::{Keys, Place, Store};

/// Sessions of a stream, by the other columns of the groups.
///
/// A row is a session from its time to the end of its gap. Sessions of one key that overlap, or touch, are one.
///
/// **Source**: Spark, `MergingSessionsIterator`: the next session belongs to this one when it starts at its end or before.
pub(crate) struct Sessions {
    combine: Combine,
    groups: Groups,
    /// The column of the states where sessions start; that of their ends comes after it.
    start: usize,
    /// Whether the event time is followed by a watermark.
    is_followed: bool,
    store: Store,
}

impl Sessions {
    pub(crate) fn new(combine: Combine, groups: Groups, start: usize, is_followed: bool) -> Result<Self, ArrowError> {
        let keys = (0..groups.columns()).filter(|column| *column != start && *column != start + 1).collect();
        let store = Store::new(combine.stored(groups.stored()), keys)?;
        Ok(Self { combine, groups, start, is_followed, store })
    }

    async fn advance(&mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> Result<(Vec<RecordBatch>, Done)> {
        let mut done = Done::begin(times);
        let (late_us, now_us) = match (times.mode, self.is_followed) {
            (OutputMode::Complete, _) | (_, false) => (None, None),
            _ => (times.late_us, times.now_us),
        };
        for mut rows in inputs {
            let schema = rows.schema();
            let mut kept = Vec::new();
            while let Some(batch) = rows.next().await.transpose()? {
                let ends = times_of(batch.column(self.start + 1));
                kept.push(in_time(batch, ends, late_us, true, &mut done).map_err(arrow)?.0);
            }
            let states = self.combine.partial(BatchStream::from_batches(schema, kept)).await?;
            if states.iter().any(|batch| batch.num_rows() > 0) {
                self.put(&states, &mut done).await?;
            }
        }
        let ended = self.store.ended(now_us);
        done.removed = ended.len() as u64;
        let states = match times.mode {
            OutputMode::Complete => vec![self.store.gather(&self.store.all()).map_err(arrow)?],
            _ if ended.is_empty() => Vec::new(),
            _ => vec![self.store.gather(&ended).map_err(arrow)?],
        };
        let rows = if states.is_empty() { Vec::new() } else { self.combine.finish(states).await? };
        self.store.forget(&ended);
        let rows = rows.iter().map(|batch| self.groups.assemble(batch)).collect::<Result<_, _>>().map_err(arrow)?;
        Ok((rows, done))
    }

    /// Merges new sessions with each other and with those of the same keys.
    async fn put(&mut self, states: &[RecordBatch], done: &mut Done) -> Result<()> {
        let new = concat_batches(self.combine.state(), states).map_err(arrow)?;
        let keys = self.store.keying().of_batch(&new).map_err(arrow)?;
        let places: BTreeSet<Place> = self.store.find_all(&keys).map_err(arrow)?.into_iter().map(|(_, place)| place).collect();
        let places: Vec<Place> = places.into_iter().collect();
        let stored = self.store.gather(&places).map_err(arrow)?;
        let all = concat_batches(self.combine.state(), [&stored, &new]).map_err(arrow)?;
        let keys = self.store.keying().of_batch(&all).map_err(arrow)?;
        let merged = Merged::of(&keys, &self.side(&all, 0), &self.side(&all, 1), stored.num_rows());
        let gone: Vec<Place> =
            places.iter().zip(&merged.changed).filter(|(_, changed)| **changed).map(|(place, _)| *place).collect();
        let all = self.with_sides(&all, &merged)?;
        let changed: BooleanArray = merged.changed.iter().map(|changed| Some(*changed)).collect();
        let changed = filter_record_batch(&all, &changed).map_err(arrow)?;
        let reduced = self.combine.reduce(vec![changed]).await?;
        let keys = self.store.keying().of_batch(&reduced).map_err(arrow)?;
        let ends = self.is_followed.then(|| times_of(reduced.column(self.start + 1)));
        self.store.remove(&gone);
        self.store.insert(&reduced, &keys, ends).map_err(arrow)?;
        done.updated += reduced.num_rows() as u64;
        Ok(())
    }

    /// The starts (0) or the ends (1) of sessions.
    fn side(&self, states: &RecordBatch, side: usize) -> Vec<i64> {
        states.column(self.start + side).as_primitive::<TimestampMicrosecondType>().values().to_vec()
    }

    fn with_sides(&self, states: &RecordBatch, merged: &Merged) -> Result<RecordBatch> {
        let mut columns = states.columns().to_vec();
        for (side, values) in [&merged.starts, &merged.ends].into_iter().enumerate() {
            let column: &mut ArrayRef = &mut columns[self.start + side];
            let times = PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(values.iter().copied());
            *column = Arc::new(times.with_data_type(column.data_type().clone()));
        }
        RecordBatch::try_new(states.schema(), columns).map_err(arrow)
    }
}

/// Sessions after they were merged, in the order in which they came.
#[derive(Debug, PartialEq, Eq)]
struct Merged {
    starts: Vec<i64>,
    ends: Vec<i64>,
    /// Whether a session is new, or part of one with a new one.
    changed: Vec<bool>,
}

impl Merged {
    /// The first `stored` are not new.
    fn of(keys: &Keys, starts: &[i64], ends: &[i64], stored: usize) -> Self {
        let mut order: Vec<usize> = (0..starts.len()).collect();
        order.sort_by(|a, b| keys.compare(*a, *b).then_with(|| starts[*a].cmp(&starts[*b])));
        let mut merged = Self { starts: starts.to_vec(), ends: ends.to_vec(), changed: vec![true; starts.len()] };
        let mut rest = order.as_slice();
        while let [first, ..] = rest {
            let mut end = ends[*first];
            let belongs = |next: &&usize, end: i64| keys.compare(*first, **next) == Ordering::Equal && starts[**next] <= end;
            let mut count = 1;
            while let Some(next) = rest.get(count).filter(|next| belongs(next, end)) {
                end = end.max(ends[*next]);
                count += 1;
            }
            let (session, after) = rest.split_at(count);
            let changed = session.iter().any(|row| *row >= stored);
            for row in session {
                merged.starts[*row] = starts[*first];
                merged.ends[*row] = end;
                merged.changed[*row] = changed;
            }
            rest = after;
        }
        merged
    }
}

impl Operator for Sessions {
    fn kind(&self) -> &'static str {
        "sessionWindowStateStoreSave"
    }

    fn output(&self) -> SchemaRef {
        SchemaRef::clone(&self.groups.output)
    }

    fn run<'a>(&'a mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> BoxFuture<'a, Result<(Vec<RecordBatch>, Done)>> {
        Box::pin(self.advance(inputs, times))
    }

    fn values(&self) -> &[Value] {
        self.combine.values()
    }

    fn stores(&mut self) -> Vec<(&str, &mut Store)> {
        vec![("sessions", &mut self.store)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    fn merged(sessions: &[(i64, i64, i64)], stored: usize) -> Merged {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let store = Store::new(Arc::clone(&schema), vec![0]).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(sessions.iter().map(|session| session.0)));
        let keys = store.keying().of_batch(&RecordBatch::try_new(schema, vec![column]).unwrap()).unwrap();
        let side = |side: fn(&(i64, i64, i64)) -> i64| sessions.iter().map(side).collect::<Vec<_>>();
        Merged::of(&keys, &side(|s| s.1), &side(|s| s.2), stored)
    }

    #[test]
    fn a_row_closes_the_gap_between_two_sessions_and_leaves_others_alone() {
        let all = merged(&[(1, 0, 10), (1, 20, 30), (1, 31, 40), (2, 5, 15), (1, 10, 20)], 4);
        assert_eq!(all.starts, [0, 0, 31, 5, 0]);
        assert_eq!(all.ends, [30, 30, 40, 15, 30]);
        assert_eq!(all.changed, [true, true, false, false, true], "sessions that touch are one");
    }

    #[test]
    fn a_session_within_another_does_not_shorten_it() {
        let all = merged(&[(1, 0, 100), (1, 10, 20), (1, 50, 60)], 1);
        assert_eq!((all.starts, all.ends), (vec![0; 3], vec![100; 3]));
    }
}
