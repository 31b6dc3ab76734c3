//! Rows become batches: data columns, rescued data, metadata.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::builder::{PrimitiveBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::adapt::{adapt, to_json};
use super::column::{Column, add_member};
use super::json::quote_into;
use super::output::Output;
use super::{SourceFile, Stop};
use crate::schema::{is_partition, value_of};
use crate::settings::{METADATA, MetadataColumn, Settings};

/// A batch ends after about so many bytes of text, whatever its rows: offsets of 32 bits never overflow.
const BATCH_BYTES: usize = 32 << 20;

/// What the batches of a range look like.
#[derive(Debug)]
pub(crate) struct Target {
    /// The data columns.
    fields: Fields,
    /// Those whose values stand in paths.
    partitions: HashSet<String>,
    /// All columns.
    pub(crate) schema: SchemaRef,
    pub(crate) rescued: bool,
    metadata: bool,
    pub(crate) batch_rows: usize,
}

impl Target {
    pub(crate) fn new(fields: Fields, settings: &Settings) -> Self {
        let partitions = fields.iter().filter(|field| is_partition(field)).map(|field| field.name().clone()).collect();
        // The mark is ours alone.
        let fields: Fields =
            fields.iter().map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable())).collect();
        let mut all: Vec<_> = fields.iter().map(Arc::clone).collect();
        if let Some(name) = &settings.rescued_data_column {
            all.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        }
        let metadata = settings.metadata_column == MetadataColumn::Present;
        if metadata {
            all.push(Arc::new(Field::new(METADATA, DataType::Struct(metadata_fields()), true)));
        }
        Self {
            fields,
            partitions,
            schema: Arc::new(Schema::new(all)),
            rescued: settings.rescued_data_column.is_some(),
            metadata,
            batch_rows: settings.batch_rows.max(1),
        }
    }

    /// A batch from columns of an earlier version of the schema; columns that came later are null.
    pub(super) fn assemble(
        &self,
        fields: &Fields,
        arrays: &[ArrayRef],
        rescued: Option<ArrayRef>,
        runs: &[Run],
    ) -> Result<RecordBatch, ArrowError> {
        let rows = runs.iter().map(|run| run.rows).sum();
        let mut rescued = rescued;
        let mut all = Vec::with_capacity(self.schema.fields().len());
        for field in &self.fields {
            if self.partitions.contains(field.name()) {
                all.push(partition(field, runs)?);
                continue;
            }
            all.push(match fields.iter().position(|known| known.name() == field.name()) {
                Some(at) => {
                    let adapted = adapt(&arrays[at], field.data_type())?;
                    if !adapted.misfits.is_empty() {
                        // Only widening a type can lose something here: a whole number that no float holds.
                        rescued = add_misfits(rescued, runs, field.name(), &arrays[at], &adapted.misfits)?;
                    }
                    adapted.array
                }
                None => arrow_array::new_null_array(field.data_type(), rows),
            });
        }
        if self.rescued {
            all.push(rescued.unwrap_or_else(|| arrow_array::new_null_array(&DataType::Utf8, rows)));
        }
        if self.metadata {
            all.push(metadata(runs)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), all, &options)
    }
}

fn metadata_fields() -> Fields {
    vec![
        Field::new("file_path", DataType::Utf8, true),
        Field::new("file_name", DataType::Utf8, true),
        Field::new("file_size", DataType::Int64, true),
        Field::new("file_modification_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("row_index", DataType::Int64, true),
    ]
    .into()
}

fn metadata(runs: &[Run]) -> Result<ArrayRef, ArrowError> {
    let (mut paths, mut names) = (StringBuilder::new(), StringBuilder::new());
    let mut sizes = PrimitiveBuilder::<Int64Type>::new();
    let mut times = PrimitiveBuilder::<TimestampMicrosecondType>::new().with_timezone("UTC");
    let mut indexes = PrimitiveBuilder::<Int64Type>::new();
    for Run { file, first_row, rows } in runs {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        for _ in 0..*rows {
            paths.append_value(&file.url);
            names.append_value(name);
        }
        sizes.append_value_n(i64::try_from(file.size_bytes).unwrap_or(i64::MAX), *rows);
        times.append_value_n(file.modified_us, *rows);
        (*first_row..*first_row + *rows as u64).for_each(|row| indexes.append_value(i64::try_from(row).unwrap_or(i64::MAX)));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(paths.finish()),
        Arc::new(names.finish()),
        Arc::new(sizes.finish()),
        Arc::new(times.finish()),
        Arc::new(indexes.finish()),
    ];
    Ok(Arc::new(StructArray::try_new(metadata_fields(), columns, None)?))
}

/// A column whose values stand in the paths of the files.
fn partition(field: &Field, runs: &[Run]) -> Result<ArrayRef, ArrowError> {
    let mut column = Column::new(field.data_type())
        .ok_or_else(|| ArrowError::NotYetImplemented(format!("read the name of a folder into {}", field.data_type())))?;
    for run in runs {
        let value = value_of(&run.file.path, field.name());
        for _ in 0..run.rows {
            match &value {
                // A value that does not fit has been rescued with the row.
                Some(value) => {
                    column.push_text(value);
                }
                None => column.push_null(),
            }
        }
    }
    column.finish()
}

/// Adds values to the rescued data of their rows.
fn add_misfits(
    rescued: Option<ArrayRef>,
    runs: &[Run],
    name: &str,
    array: &ArrayRef,
    misfits: &[usize],
) -> Result<Option<ArrayRef>, ArrowError> {
    let Some(rescued) = rescued else { return Ok(None) };
    let before = rescued.as_string::<i32>();
    let values = to_json(array, misfits)?;
    let mut added = misfits.iter().zip(values).peekable();
    let mut files = runs.iter().flat_map(|run| std::iter::repeat_n(&run.file, run.rows));
    let mut texts = StringBuilder::new();
    for row in 0..before.len() {
        let Some(file) = files.next() else { break };
        match added.next_if(|(misfit, _)| **misfit == row) {
            None => texts.append_option(before.is_valid(row).then(|| before.value(row))),
            Some((_, value)) => {
                let mut inside = String::new();
                add_member(&mut inside, name, &value);
                texts.append_value(match before.is_valid(row) {
                    // `{"a":1,"_file_path":"…"}` gets the member in front.
                    true => format!("{{{inside},{}", &before.value(row)[1..]),
                    false => rescued_text(inside, file),
                });
            }
        }
    }
    Ok(Some(Arc::new(texts.finish())))
}

/// Rows of one file, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) file: Arc<SourceFile>,
    /// Which row of the file the first one is, from 0.
    pub(super) first_row: u64,
    pub(super) rows: usize,
}

/// The rescued data of a row: the members, and where they were found.
pub(super) fn rescued_text(mut inside: String, file: &SourceFile) -> String {
    let mut url = String::new();
    quote_into(&mut url, &file.url);
    add_member(&mut inside, "_file_path", &url);
    inside.insert(0, '{');
    inside.push('}');
    inside
}

/// Rows of text files on their way to a batch.
pub(super) struct Rows<'a> {
    pub(super) output: Output<'a>,
    columns: Vec<Column>,
    rescued: StringBuilder,
    runs: Vec<Run>,
    /// Rows of the last file that have been flushed.
    flushed: Option<(u64, u64)>,
    rows: usize,
    bytes: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(output: Output<'a>) -> Result<Self, ArrowError> {
        let column = |field: &Arc<Field>| {
            Column::new(field.data_type())
                .ok_or_else(|| ArrowError::NotYetImplemented(format!("read text into {}", field.data_type())))
        };
        Ok(Self {
            columns: output.fields.iter().map(column).collect::<Result<_, _>>()?,
            output,
            rescued: StringBuilder::new(),
            runs: Vec::new(),
            flushed: None,
            rows: 0,
            bytes: 0,
        })
    }

    pub(super) fn column(&mut self, at: usize) -> &mut Column {
        &mut self.columns[at]
    }

    /// Every column has got its value: the row is whole. `rest` holds the members that did not fit.
    pub(super) fn end_row(&mut self, file: &Arc<SourceFile>, mut rest: String, bytes: usize) -> Result<(), Stop> {
        if !file.rest.is_empty() {
            if !rest.is_empty() {
                rest.push(',');
            }
            rest.push_str(&file.rest);
        }
        if self.output.target.rescued {
            if rest.is_empty() {
                self.rescued.append_null();
            } else {
                self.rescued.append_value(rescued_text(rest, file));
            }
        }
        match self.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.file, file) => run.rows += 1,
            _ => {
                let first_row = self.flushed.filter(|(sequence, _)| *sequence == file.sequence).map_or(0, |(_, rows)| rows);
                self.runs.push(Run { file: Arc::clone(file), first_row, rows: 1 });
            }
        }
        self.rows += 1;
        self.bytes += bytes;
        if self.rows >= self.output.target.batch_rows || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Emits what is left.
    pub(super) fn finish(mut self) -> Result<Output<'a>, Stop> {
        self.flush()?;
        Ok(self.output)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.rows == 0 {
            return Ok(());
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let rescued: ArrayRef = Arc::new(self.rescued.finish());
        let rescued = self.output.target.rescued.then_some(rescued);
        let batch = self.output.target.assemble(&self.output.fields, &arrays, rescued, &self.runs)?;
        self.flushed = self.runs.last().map(|run| (run.file.sequence, run.first_row + run.rows as u64));
        self.runs.clear();
        self.rows = 0;
        self.bytes = 0;
        self.output.emit(batch)
    }
}
