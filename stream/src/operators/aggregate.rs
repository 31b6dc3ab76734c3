//! Groups of a stream: their states are stored, combined with those of each epoch, and given on as the output mode says.

use boathouse_base::{BatchStream, BoxFuture, OutputMode, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use super::combine::{Combine, Value};
use super::expiry::{arrow, in_time, times_of};
use super::groups::Groups;
use super::{Done, EpochTimes, Operator};
use crate::state::{Place, Store};

/// Groups of a stream.
pub(crate) struct Aggregation {
    combine: Combine,
    groups: Groups,
    /// The column of the states that says when a group is over: the end of a window, or an event time; and whether it is followed
    /// by a watermark.
    time: Option<(usize, bool)>,
    store: Store,
}

impl Aggregation {
    /// `time` is a column of the states, and also of the input, which begins with the groups' columns.
    pub(crate) fn new(combine: Combine, groups: Groups, time: Option<(usize, bool)>) -> Result<Self, ArrowError> {
        let store = Store::new(combine.stored(groups.stored()), (0..groups.columns()).collect())?;
        Ok(Self { combine, groups, time, store })
    }

    async fn advance(&mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> Result<(Vec<RecordBatch>, Done)> {
        let mut done = Done::begin(times);
        // Complete mode keeps every group for ever.
        let (late_us, now_us) = match (times.mode, self.time) {
            (OutputMode::Complete, _) | (_, Some((_, false))) => (None, None),
            _ => (times.late_us, times.now_us),
        };
        let mut changed = None;
        for rows in inputs {
            let states = self.states_of(rows, late_us, &mut done).await?;
            if states.iter().any(|batch| batch.num_rows() > 0) {
                changed = Some(self.put(states, &mut done).await?);
            }
        }
        let ended = self.store.ended(now_us);
        done.removed = ended.len() as u64;
        let states = match times.mode {
            OutputMode::Append if ended.is_empty() => Vec::new(),
            OutputMode::Append => vec![self.store.gather(&ended).map_err(arrow)?],
            OutputMode::Update => changed.into_iter().collect(),
            OutputMode::Complete => vec![self.store.gather(&self.store.all()).map_err(arrow)?],
        };
        let rows = if states.is_empty() { Vec::new() } else { self.combine.finish(states).await? };
        self.store.forget(&ended);
        let rows = rows.iter().map(|batch| self.groups.assemble(batch)).collect::<Result<_, _>>().map_err(arrow)?;
        Ok((rows, done))
    }

    /// Partial states of the rows that are in time.
    async fn states_of(&self, mut rows: BatchStream, late_us: Option<i64>, done: &mut Done) -> Result<Vec<RecordBatch>> {
        let Some((time, _)) = self.time else { return self.combine.partial(rows).await };
        let schema = rows.schema();
        let mut kept = Vec::new();
        while let Some(batch) = rows.next().await.transpose()? {
            let times = times_of(batch.column(time));
            let (batch, _) = in_time(batch, times, late_us, true, done).map_err(arrow)?;
            kept.push(batch);
        }
        self.combine.partial(BatchStream::from_batches(schema, kept)).await
    }

    /// Combines states with the stored ones of their groups; gives the new ones.
    async fn put(&mut self, mut states: Vec<RecordBatch>, done: &mut Done) -> Result<RecordBatch> {
        let mut known: Vec<Place> = Vec::new();
        for batch in &states {
            let keys = self.store.keying().of_batch(batch).map_err(arrow)?;
            known.extend(self.store.find(&keys).map_err(arrow)?.into_iter().flatten());
        }
        // A group may have several partial states.
        known.sort_unstable();
        known.dedup();
        if !known.is_empty() {
            states.push(self.store.gather(&known).map_err(arrow)?);
        }
        let reduced = self.combine.reduce(states).await?;
        let keys = self.store.keying().of_batch(&reduced).map_err(arrow)?;
        let expires = self.time.filter(|(_, followed)| *followed).map(|(time, _)| times_of(reduced.column(time)));
        self.store.remove(&known);
        self.store.insert(&reduced, &keys, expires).map_err(arrow)?;
        done.updated += reduced.num_rows() as u64;
        Ok(reduced)
    }
}

impl Operator for Aggregation {
    fn kind(&self) -> &'static str {
        "stateStoreSave"
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
        vec![("groups", &mut self.store)]
    }
}
