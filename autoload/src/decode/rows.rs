//! Rows become batches: data columns, rescued data, metadata.

use std::sync::Arc;

use arrow_array::builder::{PrimitiveBuilder, StringBuilder};
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::adapt::adapt;
use super::column::{Column, add_member};
use super::json::quote_into;
use super::{Emit, SourceFile, Stop};
use crate::settings::{METADATA, MetadataColumn, Settings};

/// A batch ends after about so many bytes of text, whatever its rows: offsets of 32 bits never overflow.
const BATCH_BYTES: usize = 32 << 20;

/// What the batches of a range look like.
#[derive(Debug)]
pub(crate) struct Target {
    /// The data columns.
    fields: Fields,
    /// All columns.
    pub(crate) schema: SchemaRef,
    pub(crate) rescued: bool,
    metadata: bool,
    pub(crate) batch_rows: usize,
}

impl Target {
    pub(crate) fn new(fields: Fields, settings: &Settings) -> Self {
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
        files: &[(Arc<SourceFile>, usize)],
    ) -> Result<RecordBatch, ArrowError> {
        let rows = files.iter().map(|(_, rows)| rows).sum();
        let mut all = Vec::with_capacity(self.schema.fields().len());
        for field in &self.fields {
            all.push(match fields.iter().position(|known| known.name() == field.name()) {
                Some(at) => adapt(&arrays[at], field.data_type())?.array,
                None => arrow_array::new_null_array(field.data_type(), rows),
            });
        }
        if self.rescued {
            all.push(rescued.unwrap_or_else(|| arrow_array::new_null_array(&DataType::Utf8, rows)));
        }
        if self.metadata {
            all.push(metadata(files)?);
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
    ]
    .into()
}

fn metadata(files: &[(Arc<SourceFile>, usize)]) -> Result<ArrayRef, ArrowError> {
    let (mut paths, mut names) = (StringBuilder::new(), StringBuilder::new());
    let mut sizes = PrimitiveBuilder::<Int64Type>::new();
    let mut times = PrimitiveBuilder::<TimestampMicrosecondType>::new().with_timezone("UTC");
    for (file, rows) in files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        for _ in 0..*rows {
            paths.append_value(&file.url);
            names.append_value(name);
        }
        sizes.append_value_n(i64::try_from(file.size_bytes).unwrap_or(i64::MAX), *rows);
        times.append_value_n(file.modified_us, *rows);
    }
    let columns: Vec<ArrayRef> =
        vec![Arc::new(paths.finish()), Arc::new(names.finish()), Arc::new(sizes.finish()), Arc::new(times.finish())];
    Ok(Arc::new(StructArray::try_new(metadata_fields(), columns, None)?))
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
pub(crate) struct Rows {
    fields: Fields,
    target: Arc<Target>,
    columns: Vec<Column>,
    rescued: StringBuilder,
    files: Vec<(Arc<SourceFile>, usize)>,
    rows: usize,
    bytes: usize,
}

impl Rows {
    pub(crate) fn new(fields: &Fields, target: Arc<Target>) -> Result<Self, ArrowError> {
        let column = |field: &Arc<Field>| {
            Column::new(field.data_type())
                .ok_or_else(|| ArrowError::NotYetImplemented(format!("read text into {}", field.data_type())))
        };
        Ok(Self {
            columns: fields.iter().map(column).collect::<Result<_, _>>()?,
            fields: fields.clone(),
            target,
            rescued: StringBuilder::new(),
            files: Vec::new(),
            rows: 0,
            bytes: 0,
        })
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(super) fn column(&mut self, at: usize) -> &mut Column {
        &mut self.columns[at]
    }

    /// Every column has got its value: the row is whole. `rest` holds the members that did not fit.
    pub(super) fn end_row(&mut self, file: &Arc<SourceFile>, rest: String, bytes: usize, emit: Emit<'_>) -> Result<(), Stop> {
        if self.target.rescued {
            if rest.is_empty() {
                self.rescued.append_null();
            } else {
                self.rescued.append_value(rescued_text(rest, file));
            }
        }
        match self.files.last_mut() {
            Some((last, rows)) if Arc::ptr_eq(last, file) => *rows += 1,
            _ => self.files.push((Arc::clone(file), 1)),
        }
        self.rows += 1;
        self.bytes += bytes;
        if self.rows >= self.target.batch_rows || self.bytes >= BATCH_BYTES {
            self.flush(emit)?;
        }
        Ok(())
    }

    /// Emits what is there.
    pub(super) fn flush(&mut self, emit: Emit<'_>) -> Result<(), Stop> {
        if self.rows == 0 {
            return Ok(());
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let rescued: ArrayRef = Arc::new(self.rescued.finish());
        let rescued = self.target.rescued.then_some(rescued);
        let batch = self.target.assemble(&self.fields, &arrays, rescued, &self.files)?;
        self.files.clear();
        self.rows = 0;
        self.bytes = 0;
        emit(batch)
    }
}
