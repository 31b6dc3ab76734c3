//! Rows spread over ranges of their keys, in memory as far as it reaches, and on disk.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::error::Result;
use datafusion::execution::SpillFile;
use datafusion::execution::disk_manager::DiskManager;

use super::keys::{Keys, RANGE_BITS};
use crate::engine::spill::{Spill, open};

/// How the rows of a bin are spread: each part is a run of neighbouring ranges.
pub(super) struct Plan {
    keys: Keys,
    parts: usize,
    /// The columns, and behind them the key.
    schema: SchemaRef,
}

impl Plan {
    /// For rows of these columns, with the key under a name that none of them has.
    pub(super) fn new(keys: Keys, parts: usize, rows: &Schema, key_name: String) -> Self {
        let key = Arc::new(Field::new(key_name, keys.data_type(), true));
        let fields: Vec<FieldRef> = rows.fields().iter().cloned().chain([key]).collect();
        Self { keys, parts: parts.clamp(1, 1 << RANGE_BITS), schema: Arc::new(Schema::new(fields)) }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The columns of spread rows: the key is the last one.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of each part, in their order; parts without rows are left out.
    pub(super) fn split(&self, batches: &[RecordBatch]) -> std::result::Result<Vec<(usize, RecordBatch)>, ArrowError> {
        let mut places: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.parts];
        let mut keyed = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            let keys = self.keys.keys(batch)?;
            for (row, range) in self.keys.ranges(&keys)?.into_iter().enumerate() {
                places[(range as usize * self.parts) >> RANGE_BITS].push((at, row));
            }
            keyed.push(batch.columns().iter().cloned().chain([keys]).collect::<Vec<ArrayRef>>());
        }
        let mut parts: Vec<(usize, Vec<ArrayRef>)> =
            (0..).zip(&places).filter(|(_, places)| !places.is_empty()).map(|(part, _)| (part, Vec::new())).collect();
        // Column by column: one of them stays in the processor's cache.
        for column in 0..self.schema.fields().len() {
            let values: Vec<&dyn Array> = keyed.iter().map(|columns| columns[column].as_ref()).collect();
            for (part, columns) in &mut parts {
                columns.push(interleave(&values, &places[*part])?);
            }
        }
        let batch = |(part, columns)| Ok((part, RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?));
        parts.into_iter().map(batch).collect()
    }
}

/// The parts while rows still come.
pub(super) struct Spread {
    parts: Vec<Part>,
    schema: SchemaRef,
    disk: Arc<DiskManager>,
    held_bytes: usize,
    most_bytes: usize,
}

#[derive(Default)]
struct Part {
    batches: Vec<RecordBatch>,
    held_bytes: usize,
    bytes: usize,
    spill: Option<Spill>,
}

/// All rows of a part, in the order in which they came.
pub(super) struct Gathered {
    /// Came first.
    file: Option<Arc<dyn SpillFile>>,
    batches: Vec<RecordBatch>,
    /// Bytes that the rows take in memory.
    pub(super) bytes: usize,
}

impl Spread {
    /// Nothing yet. Beyond `most_bytes` rows go to temporary files.
    pub(super) fn new(plan: &Plan, most_bytes: usize, disk: Arc<DiskManager>) -> Self {
        let parts = std::iter::repeat_with(Part::default).take(plan.parts).collect();
        Self { parts, schema: SchemaRef::clone(&plan.schema), disk, held_bytes: 0, most_bytes }
    }

    /// Takes rows of parts. Writes to disk when there are too many: those of the last parts first, which are wanted last.
    pub(super) fn add(&mut self, split: Vec<(usize, RecordBatch)>) -> Result<()> {
        for (part, batch) in split {
            let bytes = batch.get_array_memory_size();
            let part = &mut self.parts[part];
            part.batches.push(batch);
            part.held_bytes += bytes;
            part.bytes += bytes;
            self.held_bytes += bytes;
        }
        if self.held_bytes <= self.most_bytes {
            return Ok(());
        }
        for part in self.parts.iter_mut().rev() {
            if self.held_bytes <= self.most_bytes / 2 {
                break;
            }
            self.held_bytes -= part.held_bytes;
            part.write(&self.disk, &self.schema)?;
        }
        Ok(())
    }

    /// The parts in the order of their keys.
    pub(super) fn finish(self) -> Result<Vec<Gathered>> {
        let gathered = |part: Part| {
            let file = part.spill.map(Spill::finish).transpose()?;
            Ok(Gathered { file, batches: part.batches, bytes: part.bytes })
        };
        self.parts.into_iter().map(gathered).collect()
    }
}

impl Part {
    fn write(&mut self, disk: &Arc<DiskManager>, schema: &SchemaRef) -> Result<()> {
        if self.batches.is_empty() {
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new(disk, "rows that are put in order", schema)?),
        };
        self.batches.drain(..).try_for_each(|batch| spill.write(&batch))?;
        self.held_bytes = 0;
        Ok(())
    }
}

impl Gathered {
    /// The batches, one after the other.
    pub(super) fn batches(self) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        let held = self.batches.into_iter().map(Ok);
        Ok(match self.file {
            None => Box::new(held),
            // The file lives as long as somebody reads it.
            Some(file) => {
                let reader = open(file.as_ref(), None)?;
                let kept = reader.map(move |batch| {
                    let _ = &file;
                    Ok(batch?)
                });
                Box::new(kept.chain(held))
            }
        })
    }
}
