//! The rows of the source, read once and held: in memory, or on disk when they are many or the memory of the session is used up.
//!
//! Of rows on disk the join gets a copy in memory of the columns that it compares, if these fit; the others are read where they are written.

use std::sync::Arc;

use boathouse_base::Value;
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use datafusion::arrow::compute::{concat, interleave, take, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;

use super::budget::Budget;
use super::spans::Spans;
use crate::engine::cast::nullable;
use crate::engine::error::{Attempt, Result};
use crate::engine::spill::{Spill, open};

/// What a join takes for each row that it holds, beside its columns: the row's entry in a table of hashes, and its links.
const HASHED_ROW_BYTES: usize = 32;

/// The rows of the source, in the order in which they came.
#[derive(Debug)]
pub(crate) struct SourceRows {
    /// The columns, all of which may be null.
    pub(crate) schema: SchemaRef,
    /// The same under the alias of the source.
    pub(crate) named: DFSchema,
    held: Held,
    /// The number of the first row of each batch.
    starts: Arc<[usize]>,
    pub(crate) rows: usize,
    /// What it took as it came, all together.
    bytes: usize,
    /// What it takes of the memory of the session, until it is dropped.
    reserved: MemoryReservation,
    /// Joins read it where it is written.
    is_joined_from_disk: bool,
}

/// Where the batches are.
#[derive(Clone)]
enum Held {
    Memory(Arc<[RecordBatch]>),
    Disk(Arc<dyn SpillFile>),
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(batches) => write!(f, "{} batches in memory", batches.len()),
            Self::Disk(_) => f.write_str("batches on disk"),
        }
    }
}

impl SourceRows {
    /// Computes the source. Beyond 32 MiB or an eighth of the memory pool of the session, or when this pool has no room
    /// for more, all of it goes to a temporary file.
    pub(crate) async fn collect(source: &DataFrame, alias: &str, session: &SessionContext, attempt: &Attempt) -> Result<Self> {
        // A new list of plain columns: the qualifiers of the query's own tables end here.
        let columns = source.schema().columns();
        let plain = columns.into_iter().map(|column| {
            let name = column.name.clone();
            Expr::Column(column).alias(name)
        });
        let failed = |error| attempt.rows(from_datafusion("compute the source", error));
        let frame = source.clone().select(plain).map_err(failed)?;
        let fields: Vec<Arc<Field>> = frame.schema().as_arrow().fields().iter().map(|field| nullable(field)).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let named = DFSchema::try_from_qualified_schema(alias, &schema).map_err(failed)?;
        let runtime = session.runtime_env();
        let held_bytes = Budget::of(&runtime).held_bytes();
        let reserved = MemoryConsumer::new("source of a MERGE").with_can_spill(true).register(&runtime.memory_pool);
        let (mut batches, mut starts, mut rows, mut bytes, mut spill) = (Vec::new(), Vec::new(), 0, 0, None::<Spill>);
        let mut stream = frame.execute_stream().await.map_err(failed)?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(failed)?;
            if batch.num_rows() == 0 {
                continue;
            }
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&schema), batch.columns().to_vec(), &options);
            let batch = batch.map_err(|source| attempt.compute(source))?;
            starts.push(rows);
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            let fits = |batch: &RecordBatch| bytes <= held_bytes && reserved.try_grow(batch.get_array_memory_size()).is_ok();
            if spill.is_none() && !fits(&batch) {
                let mut file = Spill::new(&runtime.disk_manager, "the source of a MERGE", &schema).map_err(failed)?;
                for batch in batches.drain(..) {
                    file.write(&batch).map_err(failed)?;
                }
                reserved.free();
                spill = Some(file);
            }
            match &mut spill {
                None => batches.push(batch),
                Some(spill) => spill.write(&batch).map_err(failed)?,
            }
        }
        let held = match spill {
            None => Held::Memory(batches.into()),
            Some(spill) => Held::Disk(spill.finish().map_err(failed)?),
        };
        tracing::debug!(table = attempt.url, rows, ?held, "the source of a merge");
        Ok(Self { schema, named, held, starts: starts.into(), rows, bytes, reserved, is_joined_from_disk: false })
    }

    /// Moves it to disk.
    pub(crate) fn move_to_disk(&mut self, runtime: &RuntimeEnv, attempt: &Attempt) -> Result<()> {
        let Held::Memory(batches) = &self.held else { return Ok(()) };
        let failed = |error| attempt.rows(from_datafusion("write the source to a temporary file", error));
        let mut file = Spill::new(&runtime.disk_manager, "the source of a MERGE", &self.schema).map_err(failed)?;
        for batch in batches.iter() {
            file.write(batch).map_err(failed)?;
        }
        self.held = Held::Disk(file.finish().map_err(failed)?);
        self.reserved.free();
        Ok(())
    }

    /// Joins get no copy in memory of what lies on disk.
    pub(crate) fn no_copies(&mut self) {
        self.is_joined_from_disk = true;
        self.joined();
    }

    /// About the bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.bytes / self.rows.max(1)
    }

    /// Whether it lies on disk.
    pub(crate) fn is_spilled(&self) -> bool {
        matches!(self.held, Held::Disk(_))
    }

    /// The batches, one after the other.
    pub(crate) fn batches(&self, attempt: &Attempt) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let failed = |error| attempt.rows(from_datafusion("read the source again", error));
        let batches = batches(&self.held, None).map_err(failed)?;
        Ok(batches.map(move |batch| batch.map_err(failed)))
    }

    /// These columns of the rows, with the number of each row as a further one, for a join.
    ///
    /// Of rows on disk these columns come into memory when the pool of the session has room for them and for what a join makes of them.
    pub(crate) fn numbered(&self, columns: &[usize], name: &str) -> std::result::Result<Joined, DataFusionError> {
        let mut fields: Vec<Arc<Field>> = columns.iter().map(|at| Arc::clone(&self.schema.fields()[*at])).collect();
        fields.push(Arc::new(Field::new(name, DataType::Int64, false)));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let (held, starts) = (self.held.clone(), Arc::clone(&self.starts));
        let numbered = Numbered { schema: SchemaRef::clone(&schema), columns: columns.to_vec(), held, starts };
        let from_disk = |numbered: Numbered| {
            self.joined();
            let rows = StreamingTable::try_new(SchemaRef::clone(&schema), vec![Arc::new(numbered)])?;
            Ok(Joined { rows: Arc::new(rows), is_on_disk: true })
        };
        if self.is_joined_from_disk {
            return from_disk(numbered);
        }
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for batch in numbered.batches()? {
            let mut batch = batch?;
            if self.is_spilled() {
                // What was read lies in one piece with columns that are not wanted.
                let all = UInt64Array::from_iter_values(0..batch.num_rows() as u64);
                batch = take_record_batch(&batch, &all)?;
                bytes += batch.get_array_memory_size();
                // The join will put the batches together, and has both for a while.
                let joined = 2 * batch.get_array_memory_size() + HASHED_ROW_BYTES * batch.num_rows();
                if self.reserved.try_grow(joined).is_err() {
                    drop(batches);
                    return from_disk(numbered);
                }
            }
            batches.push(batch);
        }
        if self.is_spilled() {
            self.reserved.resize(bytes);
        }
        let rows = MemTable::try_new(schema, vec![batches])?;
        Ok(Joined { rows: Arc::new(rows), is_on_disk: false })
    }

    /// What [`numbered`](Self::numbered) took of the memory of the session for rows on disk is free again.
    pub(crate) fn joined(&self) {
        if self.is_spilled() {
            self.reserved.free();
        }
    }

    /// These rows, column by column.
    ///
    /// **Cost**: from disk each batch with one of these rows is read once.
    pub(crate) fn take(&self, rows: &[usize], attempt: &Attempt) -> Result<Vec<ArrayRef>> {
        let place = |row: &usize| {
            let batch = self.starts.partition_point(|start| start <= row).saturating_sub(1);
            (batch, row - self.starts.get(batch).copied().unwrap_or(0))
        };
        let mut places: Vec<(usize, usize)> = rows.iter().map(place).collect();
        let file = match &self.held {
            Held::Memory(batches) => {
                let column = |at: usize| {
                    let arrays: Vec<_> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
                    interleave(&arrays, &places).map_err(|source| attempt.compute(source))
                };
                return (0..self.schema.fields().len()).map(column).collect();
            }
            Held::Disk(file) => file,
        };
        let failed = |error| attempt.rows(from_datafusion("read the source again", error));
        // In the order of the file first, and then as they are wanted.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_unstable_by_key(|at| places[*at]);
        let mut reader = open(file.as_ref(), None).map_err(failed)?;
        let mut parts: Vec<RecordBatch> = Vec::new();
        for same in order.chunk_by(|a, b| places[*a].0 == places[*b].0) {
            let Some(batch) = same.first().map(|at| places[*at].0) else { continue };
            reader.set_index(batch).map_err(|source| attempt.compute(source))?;
            let Some(batch) = reader.next() else { continue };
            let batch = batch.map_err(|source| attempt.compute(source))?;
            let at = UInt64Array::from_iter_values(same.iter().map(|at| places[*at].1 as u64));
            let columns = batch.columns().iter().map(|column| take(column, &at, None));
            let columns = columns.collect::<std::result::Result<_, _>>().map_err(|source| attempt.compute(source))?;
            parts.push(RecordBatch::try_new(SchemaRef::clone(&self.schema), columns).map_err(|source| attempt.compute(source))?);
        }
        for (rank, at) in order.into_iter().enumerate() {
            places[at] = (0, rank);
        }
        let column = |at: usize| {
            let arrays: Vec<_> = parts.iter().map(|batch| batch.column(at).as_ref()).collect();
            if arrays.is_empty() {
                return Ok(datafusion::arrow::array::new_empty_array(self.schema.field(at).data_type()));
            }
            let sorted = concat(&arrays).map_err(|source| attempt.compute(source))?;
            interleave(&[sorted.as_ref()], &places).map_err(|source| attempt.compute(source))
        };
        (0..self.schema.fields().len()).map(column).collect()
    }

    /// The values of a column, without nulls. `None`: some value has no place among the values of the log.
    pub(super) fn values(&self, at: usize, attempt: &Attempt) -> Result<Option<Spans>> {
        let mut values = Spans::default();
        for batch in self.batches(attempt)? {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                match Value::at(batch.column(at).as_ref(), row) {
                    None => return Ok(None),
                    Some(Value::Null) => {}
                    Some(value) => values.add(value),
                }
            }
        }
        Ok(Some(values))
    }
}

type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, DataFusionError>> + Send>;

/// The batches: these columns of them, or all.
fn batches(held: &Held, columns: Option<&[usize]>) -> std::result::Result<Batches, DataFusionError> {
    Ok(match held {
        Held::Memory(batches) => {
            let (batches, columns) = (Arc::clone(batches), columns.map(<[usize]>::to_vec));
            Box::new((0..batches.len()).map(move |at| match &columns {
                Some(columns) => Ok(batches[at].project(columns)?),
                None => Ok(batches[at].clone()),
            }))
        }
        Held::Disk(file) => Box::new(open(file.as_ref(), columns)?.map(|batch| batch.map_err(DataFusionError::from))),
    })
}

/// What a join reads of the source.
pub(crate) struct Joined {
    pub(crate) rows: Arc<dyn TableProvider>,
    /// Then it is as well to join by what goes on on disk, too.
    pub(crate) is_on_disk: bool,
}

/// The rows with their numbers, as often as they are asked for.
#[derive(Debug)]
struct Numbered {
    schema: SchemaRef,
    columns: Vec<usize>,
    held: Held,
    starts: Arc<[usize]>,
}

impl Numbered {
    fn batches(&self) -> std::result::Result<Batches, DataFusionError> {
        let (schema, starts) = (SchemaRef::clone(&self.schema), Arc::clone(&self.starts));
        let number = move |(at, batch): (usize, std::result::Result<RecordBatch, DataFusionError>)| {
            let (batch, start) = (batch?, starts.get(at).copied().unwrap_or_default());
            let numbers = (start..start + batch.num_rows()).map(|row| i64::try_from(row).unwrap_or(i64::MAX));
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
            Ok(RecordBatch::try_new(SchemaRef::clone(&schema), columns)?)
        };
        Ok(Box::new(batches(&self.held, Some(&self.columns))?.enumerate().map(number)))
    }
}

impl PartitionStream for Numbered {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches: Batches = match self.batches() {
            Ok(batches) => batches,
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), futures::stream::iter(batches)))
    }
}

/// Some rows of the source under their numbers.
#[derive(Debug, Default)]
pub(crate) struct Picked {
    /// Nothing: the source itself is at hand.
    rows: Option<(Vec<usize>, Vec<ArrayRef>)>,
}

impl Picked {
    /// Gets these rows ready. In memory all are; from disk they come in one pass.
    pub(crate) fn new(source: &SourceRows, mut rows: Vec<usize>, attempt: &Attempt) -> Result<Self> {
        if !source.is_spilled() {
            return Ok(Self { rows: None });
        }
        rows.sort_unstable();
        rows.dedup();
        let columns = source.take(&rows, attempt)?;
        Ok(Self { rows: Some((rows, columns)) })
    }

    /// Some of them, column by column.
    pub(crate) fn take(&self, source: &SourceRows, rows: &[usize], attempt: &Attempt) -> Result<Vec<ArrayRef>> {
        let Some((ready, columns)) = &self.rows else { return source.take(rows, attempt) };
        let at = rows.iter().map(|row| ready.partition_point(|ready| ready < row) as u64);
        let at = UInt64Array::from_iter_values(at);
        columns.iter().map(|column| take(column, &at, None).map_err(|source| attempt.compute(source))).collect()
    }
}
