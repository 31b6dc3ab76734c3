//! Two streams, joined: rows of each side wait for partners of the other until the watermark says that none can come.

use std::collections::HashSet;
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, Result};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::types::{Int64Type, UInt64Type};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array, new_null_array,
};
use datafusion::arrow::compute::{filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::JoinType;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::PhysicalExpr;

use super::expiry::{arrow, in_time, times_of};
use super::{Done, EpochTimes, Operator};
use crate::state::{Place, Store};

/// The number that a waiting row is known by.
const NUMBER: &str = "__number";

/// One side of a join, as it is planned.
#[derive(Debug, Clone)]
pub(crate) struct SidePlan {
    /// The rows of the side; its keys come after them.
    pub(crate) schema: SchemaRef,
    /// What each column is known by.
    pub(crate) names: Vec<String>,
    /// Columns that belong to the side; those after them are keys.
    pub(crate) width: usize,
    /// The column of the event time, for late rows.
    pub(crate) time: Option<usize>,
    /// When a row is over: this column, and what is added to it. `None`: never.
    pub(crate) over: Option<(usize, i64)>,
}

/// Two streams, joined.
pub(crate) struct StreamJoin {
    kind: JoinType,
    left: Side,
    right: Side,
    /// Over the columns of both sides, without keys.
    condition: Option<Arc<dyn PhysicalExpr>>,
    both: SchemaRef,
    output: SchemaRef,
}

struct Side {
    plan: SidePlan,
    rows: Store,
    /// Numbers of rows that have found a partner, where it matters.
    matched: Option<Store>,
    /// The number of the next row; `None`: the rows that wait must be asked.
    next: Option<u64>,
}

impl Side {
    fn new(plan: SidePlan, remembers_matches: bool) -> Result<Self, ArrowError> {
        let number = Field::new(NUMBER, DataType::UInt64, false);
        let named = plan.schema.fields().iter().zip(&plan.names).map(|(field, name)| field.as_ref().clone().with_name(name));
        let mut fields: Vec<Field> = named.collect();
        fields.push(number.clone());
        let keys = (plan.width..plan.schema.fields().len()).collect();
        let rows = Store::new(Arc::new(Schema::new(fields)), keys)?;
        let numbers = || Store::new(Arc::new(Schema::new(vec![number])), vec![0]);
        let matched = if remembers_matches { Some(numbers()?) } else { None };
        Ok(Self { plan, rows, matched, next: None })
    }

    /// The rows that are in time.
    async fn collect(&self, mut rows: BatchStream, times: EpochTimes, done: &mut Done) -> Result<RecordBatch> {
        let schema = rows.schema();
        let mut kept = Vec::new();
        while let Some(batch) = rows.next().await.transpose()? {
            kept.push(match self.plan.time {
                Some(time) => {
                    let column = times_of(batch.column(time));
                    let known = done.late_rows.len();
                    let kept = in_time(batch, column, times.late_us, false, done).map_err(arrow)?.0;
                    for late in done.late_rows.iter_mut().skip(known) {
                        // The key's columns are not the row's own.
                        let own: Vec<usize> = (0..self.plan.width).collect();
                        late.rows = late.rows.project(&own).map_err(arrow)?;
                    }
                    kept
                }
                None => batch,
            });
        }
        datafusion::arrow::compute::concat_batches(&schema, &kept).map_err(arrow)
    }

    /// Lets rows wait; gives them with their numbers.
    fn wait(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let first = match self.next {
            Some(next) => next,
            None => self.next_number()?,
        };
        let next = first + rows.num_rows() as u64;
        self.next = Some(next);
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(UInt64Array::from_iter_values(first..next)));
        let rows = RecordBatch::try_new(SchemaRef::clone(self.rows.schema()), columns)?;
        let keys = self.rows.keying().of_batch(&rows)?;
        self.rows.insert(&rows, &keys, self.ends_of(&rows))?;
        Ok(rows)
    }

    fn ends_of(&self, rows: &RecordBatch) -> Option<Int64Array> {
        let (column, plus_us) = self.plan.over?;
        Some(times_of(rows.column(column)).unary::<_, Int64Type>(|time| time.saturating_add(plus_us)))
    }

    /// Remembers that these rows have a partner; gives those that had none before.
    fn remember_matches(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let ends = self.ends_of(rows);
        let numbers = rows.project(&[rows.num_columns() - 1])?;
        let Some(matched) = &mut self.matched else { return Ok(rows.clone()) };
        let keys = matched.keying().of_batch(&numbers)?;
        let known = matched.find(&keys)?;
        let mut seen = HashSet::new();
        let values = numbers.column(0).as_primitive::<UInt64Type>().values().clone();
        let is_new: BooleanArray =
            known.iter().zip(values.iter()).map(|(known, number)| Some(known.is_none() && seen.insert(*number))).collect();
        let new = filter_record_batch(&numbers, &is_new)?;
        let ends = match ends {
            Some(ends) => Some(datafusion::arrow::compute::filter(&ends, &is_new)?.as_primitive::<Int64Type>().clone()),
            None => None,
        };
        let keys = matched.keying().of_batch(&new)?;
        matched.insert(&new, &keys, ends)?;
        filter_record_batch(rows, &is_new)
    }

    /// Which of these rows have had a partner.
    fn have_matched(&self, rows: &RecordBatch) -> Result<Vec<bool>, ArrowError> {
        let Some(matched) = &self.matched else { return Ok(vec![true; rows.num_rows()]) };
        let numbers = rows.project(&[rows.num_columns() - 1])?;
        let keys = matched.keying().of_batch(&numbers)?;
        Ok(matched.find(&keys)?.iter().map(Option::is_some).collect())
    }

    /// Takes rows out that are over; gives those that never had a partner.
    fn forget(&mut self, now_us: Option<i64>, done: &mut Done) -> Result<Option<RecordBatch>, ArrowError> {
        let ended = self.rows.ended(now_us);
        done.removed += ended.len() as u64;
        let mut alone = None;
        if self.matched.is_some() && !ended.is_empty() {
            let rows = self.rows.gather(&ended)?;
            let is_alone: BooleanArray = self.have_matched(&rows)?.into_iter().map(|matched| Some(!matched)).collect();
            alone = Some(filter_record_batch(&rows, &is_alone)?).filter(|rows| rows.num_rows() > 0);
        }
        self.rows.forget(&ended);
        if let Some(matched) = &mut self.matched {
            let ended = matched.ended(now_us);
            matched.forget(&ended);
        }
        Ok(alone)
    }

    /// The rows' own columns.
    fn own<'a>(&self, rows: &'a RecordBatch) -> &'a [ArrayRef] {
        &rows.columns()[..self.plan.width]
    }

    /// The number after the greatest one of a row that waits.
    fn next_number(&self) -> Result<u64, ArrowError> {
        let rows = self.rows.gather(&self.rows.all())?;
        let numbers = rows.column(rows.num_columns() - 1).as_primitive::<UInt64Type>().clone();
        Ok(datafusion::arrow::compute::max(&numbers).map_or(0, |max| max + 1))
    }
}

impl StreamJoin {
    pub(crate) fn new(
        kind: JoinType,
        left: SidePlan,
        right: SidePlan,
        condition: Option<Arc<dyn PhysicalExpr>>,
        output: SchemaRef,
    ) -> Result<Self, ArrowError> {
        let own = |side: &SidePlan| side.schema.fields()[..side.width].to_vec();
        let both = Arc::new(Schema::new([own(&left), own(&right)].concat()));
        let left = Side::new(left, matches!(kind, JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti))?;
        let right =
            Side::new(right, matches!(kind, JoinType::Right | JoinType::Full | JoinType::RightSemi | JoinType::RightAnti))?;
        Ok(Self { kind, left, right, condition, both, output })
    }

    async fn advance(&mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> Result<(Vec<RecordBatch>, Done)> {
        let mut done = Done::begin(times);
        let mut inputs = inputs.into_iter();
        let (left, right) = (inputs.next(), inputs.next());
        let left = match left {
            Some(rows) => self.left.collect(rows, times, &mut done).await?,
            None => RecordBatch::new_empty(SchemaRef::clone(&self.left.plan.schema)),
        };
        let right = match right {
            Some(rows) => self.right.collect(rows, times, &mut done).await?,
            None => RecordBatch::new_empty(SchemaRef::clone(&self.right.plan.schema)),
        };
        done.updated = (left.num_rows() + right.num_rows()) as u64;
        let rows = self.join(&left, &right, times, &mut done)?;
        Ok((rows, done))
    }

    fn join(&mut self, left: &RecordBatch, right: &RecordBatch, times: EpochTimes, done: &mut Done) -> Result<Vec<RecordBatch>> {
        let mut out = Vec::new();
        // New rows of the left meet the old ones of the right, and new rows of the right the old and new ones of the left.
        let left = self.left.wait(left).map_err(arrow)?;
        self.meet(&left, true, &mut out)?;
        let right = self.right.wait(right).map_err(arrow)?;
        self.meet(&right, false, &mut out)?;
        let left_alone = self.left.forget(times.now_us, done).map_err(arrow)?;
        let right_alone = self.right.forget(times.now_us, done).map_err(arrow)?;
        let keeps_left = matches!(self.kind, JoinType::Left | JoinType::Full | JoinType::LeftAnti);
        let keeps_right = matches!(self.kind, JoinType::Right | JoinType::Full | JoinType::RightAnti);
        if let Some(rows) = left_alone.filter(|_| keeps_left) {
            out.push(self.alone(&rows, true).map_err(arrow)?);
        }
        if let Some(rows) = right_alone.filter(|_| keeps_right) {
            out.push(self.alone(&rows, false).map_err(arrow)?);
        }
        out.retain(|batch| batch.num_rows() > 0);
        Ok(out)
    }

    /// New rows of one side meet all rows that wait at the other.
    fn meet(&mut self, new: &RecordBatch, new_is_left: bool, out: &mut Vec<RecordBatch>) -> Result<()> {
        let waiting = if new_is_left { &self.right } else { &self.left };
        let columns: Vec<ArrayRef> = self.side(new_is_left).key_columns(new);
        let has_null: Vec<bool> = (0..new.num_rows()).map(|row| columns.iter().any(|column| column.is_null(row))).collect();
        let keys = waiting.rows.keying().of_columns(&columns, new.num_rows()).map_err(arrow)?;
        let mut pairs = waiting.rows.find_all(&keys).map_err(arrow)?;
        pairs.retain(|(index, _)| !has_null[*index as usize]);
        if pairs.is_empty() {
            return Ok(());
        }
        let indices = UInt32Array::from_iter_values(pairs.iter().map(|(index, _)| *index));
        let places: Vec<Place> = pairs.iter().map(|(_, place)| *place).collect();
        let mut here = take_record_batch(new, &indices).map_err(arrow)?;
        let mut there = waiting.rows.gather(&places).map_err(arrow)?;
        if let Some(condition) = &self.condition {
            let (left, right) = if new_is_left { (&here, &there) } else { (&there, &here) };
            let holds = self.holds(condition, left, right)?;
            here = filter_record_batch(&here, &holds).map_err(arrow)?;
            there = filter_record_batch(&there, &holds).map_err(arrow)?;
        }
        if here.num_rows() == 0 {
            return Ok(());
        }
        let (left, right) = if new_is_left { (here, there) } else { (there, here) };
        let first_left = self.left.remember_matches(&left).map_err(arrow)?;
        let first_right = self.right.remember_matches(&right).map_err(arrow)?;
        let columns = match self.kind {
            JoinType::LeftSemi => self.left.own(&first_left).to_vec(),
            JoinType::RightSemi => self.right.own(&first_right).to_vec(),
            JoinType::LeftAnti | JoinType::RightAnti => return Ok(()),
            _ => [self.left.own(&left), self.right.own(&right)].concat(),
        };
        out.push(self.result(columns, left.num_rows()).map_err(arrow)?);
        Ok(())
    }

    fn side(&self, is_left: bool) -> &Side {
        if is_left { &self.left } else { &self.right }
    }

    fn holds(&self, condition: &Arc<dyn PhysicalExpr>, left: &RecordBatch, right: &RecordBatch) -> Result<BooleanArray> {
        let columns = [self.left.own(left), self.right.own(right)].concat();
        let options = RecordBatchOptions::new().with_row_count(Some(left.num_rows()));
        let both = RecordBatch::try_new_with_options(SchemaRef::clone(&self.both), columns, &options).map_err(arrow)?;
        let holds = condition.evaluate(&both).and_then(|value| value.into_array(both.num_rows()));
        let holds = holds.map_err(|error| from_datafusion("evaluate the condition of a join", error))?;
        match holds.as_boolean_opt() {
            Some(holds) => Ok(holds.iter().map(|holds| Some(holds == Some(true))).collect()),
            None => Err(from_datafusion(
                "evaluate the condition of a join",
                DataFusionError::Internal(format!("it has the type {}", holds.data_type())),
            )),
        }
    }

    /// Rows without a partner: nulls stand for the other side.
    fn alone(&self, rows: &RecordBatch, is_left: bool) -> Result<RecordBatch, ArrowError> {
        let own = self.side(is_left).own(rows).to_vec();
        let nulls = |side: &Side| -> Vec<ArrayRef> {
            side.plan.schema.fields()[..side.plan.width].iter().map(|f| new_null_array(f.data_type(), rows.num_rows())).collect()
        };
        let columns = match self.kind {
            JoinType::LeftAnti | JoinType::RightAnti => own,
            _ if is_left => [own, nulls(&self.right)].concat(),
            _ => [nulls(&self.left), own].concat(),
        };
        self.result(columns, rows.num_rows())
    }

    fn result(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let rows = columns.first().map_or(rows, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.output), columns, &options)
    }
}

impl Side {
    fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        rows.columns()[self.plan.width..self.plan.schema.fields().len()].to_vec()
    }
}

impl Operator for StreamJoin {
    fn kind(&self) -> &'static str {
        "symmetricHashJoin"
    }

    fn output(&self) -> SchemaRef {
        SchemaRef::clone(&self.output)
    }

    fn run<'a>(&'a mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> BoxFuture<'a, Result<(Vec<RecordBatch>, Done)>> {
        Box::pin(self.advance(inputs, times))
    }

    fn holds_rows(&self) -> bool {
        true
    }

    fn stores(&mut self) -> Vec<(&str, &mut Store)> {
        let mut stores = vec![("left", &mut self.left.rows), ("right", &mut self.right.rows)];
        stores.extend(self.left.matched.iter_mut().map(|store| ("left-matched", store)));
        stores.extend(self.right.matched.iter_mut().map(|store| ("right-matched", store)));
        stores
    }
}
