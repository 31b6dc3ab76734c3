//! Which columns are read, and how batches of a file become batches of the table.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use boathouse_base::Value;

use super::file::DataFile;
use crate::arrow_value::constant;
use crate::conform::{FieldMatch, conform_field, find_field, has_field_ids, relabel};
use crate::error::{DeltaError, Result};
use crate::layout::Layout;
use crate::row_tracking::RowTrackingColumns;

/// The columns of a read, resolved against the table.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    layout: Arc<Layout>,
    out: Vec<Out>,
    pub(crate) schema: SchemaRef,
    /// Whether texts and bytes at the top are views: pages of files are pointed at, not copied.
    has_views: bool,
}

#[derive(Debug, Clone, Copy)]
enum Out {
    /// A column of files, by its place in the table.
    File(usize),
    /// A partition column, by its place in the table and among them.
    Partition(usize, usize),
    /// The number of the row in its file.
    RowIndex,
    /// The id of the row.
    RowId,
    /// The version that added or last changed the row.
    CommitVersion,
    /// What happened to the row: a column of files of changes.
    ChangeType,
}

/// The column of files of changes that says what happened to a row.
///
/// **Source**: Delta protocol, "Change Data Files".
pub(crate) const CHANGE_TYPE: &str = "_change_type";

impl Columns {
    /// All columns, or those that are named; then the row index under that name, then row id and commit version.
    pub(crate) fn resolve(
        url: &str,
        layout: &Arc<Layout>,
        projection: Option<&[String]>,
        row_index: Option<&str>,
        row_tracking: Option<&RowTrackingColumns>,
    ) -> Result<Self> {
        let places: Vec<usize> = match projection {
            None => (0..layout.schema.fields.len()).collect(),
            Some(names) => {
                let place = |name: &String| {
                    layout.column(name).ok_or_else(|| DeltaError::UnknownColumn {
                        url: url.to_owned(),
                        column: name.clone(),
                        available: layout.schema.names().collect::<Vec<_>>().join(", "),
                    })
                };
                names.iter().map(place).collect::<Result<_>>()?
            }
        };
        let mut fields: Vec<FieldRef> = places.iter().map(|at| Arc::clone(&layout.arrow.fields()[*at])).collect();
        let mut out: Vec<Out> = places
            .into_iter()
            .map(|at| match layout.partition_at(&layout.schema.fields[at].name) {
                Some(partition) => Out::Partition(at, partition),
                None => Out::File(at),
            })
            .collect();
        if let Some(name) = row_index {
            fields.push(Arc::new(Field::new(name, DataType::Int64, false)));
            out.push(Out::RowIndex);
        }
        if let Some(RowTrackingColumns { row_id, commit_version }) = row_tracking {
            if layout.row_tracking.is_none() {
                return Err(DeltaError::RowTrackingOff { url: url.to_owned(), attempted: "read" });
            }
            fields.extend([row_id, commit_version].map(|name| Arc::new(Field::new(name, DataType::Int64, false))));
            out.extend([Out::RowId, Out::CommitVersion]);
        }
        Ok(Self { layout: Arc::clone(layout), out, schema: Arc::new(Schema::new(fields)), has_views: false })
    }

    /// The same of a file of changes, with what happened to each row as the last column.
    pub(crate) fn with_change_type(mut self) -> Self {
        let fields = self.schema.fields().iter().cloned();
        let change_type = Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, false));
        self.schema = Arc::new(Schema::new(fields.chain([change_type]).collect::<Vec<_>>()));
        self.out.push(Out::ChangeType);
        self
    }

    /// The same with views for texts and bytes.
    pub(crate) fn with_views(mut self) -> Self {
        self.schema = Arc::new(Schema::new(self.schema.fields().iter().map(as_view).collect::<Vec<_>>()));
        self.has_views = true;
        self
    }

    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The columns of a file as the decoder is to give them; nothing when it is as well as it is.
    pub(crate) fn decoded(&self, file: &Schema) -> Option<Schema> {
        // What happened to a row is no column of the table, and stays as it is.
        let told = self.out.iter().any(|out| matches!(out, Out::ChangeType));
        let view = |field: &FieldRef| if told && field.name() == CHANGE_TYPE { Arc::clone(field) } else { as_view(field) };
        self.has_views.then(|| Schema::new(file.fields().iter().map(view).collect::<Vec<_>>()))
    }

    pub(crate) fn needs_row_numbers(&self) -> bool {
        self.out.iter().any(|o| matches!(o, Out::RowIndex | Out::RowId))
    }

    /// Whether columns are wanted that only a field id finds, from a file without any.
    pub(crate) fn lack_field_ids(&self, fields: &Fields) -> bool {
        let wanted = self.out.iter().any(|out| matches!(out, Out::File(_)));
        wanted && !fields.is_empty() && self.layout.field_match() == FieldMatch::Id && !has_field_ids(fields)
    }

    /// Finds the columns in a file whose top-level columns are `fields`. `None` when row ids are wanted, and the log gives it none.
    pub(crate) fn in_file(&self, fields: &Fields, file: &DataFile) -> Option<InFile> {
        let by = self.layout.field_match();
        let tracked = self.out.iter().any(|out| matches!(out, Out::RowId | Out::CommitVersion));
        let (base_row_id, commit_version) = match tracked {
            true => (file.add().base_row_id?, file.add().default_row_commit_version?),
            false => (0, 0),
        };
        // The hidden columns have their names from the table's properties, in every mode of column mapping.
        let hidden = |name: fn(&RowTrackingColumns) -> &String| {
            let wanted = name(self.layout.row_tracking.as_ref()?);
            fields.iter().position(|field| field.name() == wanted)
        };
        let mut roots: Vec<usize> = Vec::new();
        let found: Vec<Option<usize>> = self
            .out
            .iter()
            .map(|out| match out {
                Out::File(at) => find_field(fields, self.layout.physical.field(*at), by),
                Out::RowId => hidden(|columns| &columns.row_id),
                Out::CommitVersion => hidden(|columns| &columns.commit_version),
                Out::ChangeType => fields.iter().position(|field| field.name() == CHANGE_TYPE),
                Out::Partition(..) | Out::RowIndex => None,
            })
            .collect();
        roots.extend(found.iter().flatten());
        roots.sort_unstable();
        roots.dedup();
        // The reader gives the columns in the order of the file.
        let sources = found.into_iter().map(|f| f.and_then(|root| roots.binary_search(&root).ok())).collect();
        Some(InFile {
            columns: self.clone(),
            roots,
            sources,
            values: file.partition_values().to_vec(),
            base_row_id,
            commit_version,
        })
    }
}

fn as_view(field: &FieldRef) -> FieldRef {
    match view_of(field.data_type()) {
        Some(view) => Arc::new(field.as_ref().clone().with_data_type(view)),
        None => Arc::clone(field),
    }
}

fn view_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 => Some(DataType::Utf8View),
        DataType::Binary => Some(DataType::BinaryView),
        _ => None,
    }
}

/// The columns of a read in one file.
#[derive(Debug, Clone)]
pub(crate) struct InFile {
    columns: Columns,
    /// The top-level columns of the file that are needed, ascending.
    pub(crate) roots: Vec<usize>,
    /// For each column of the result: which of the read columns it is.
    sources: Vec<Option<usize>>,
    /// The file's partition values.
    values: Vec<Value>,
    /// The id of its first row, where the row has none of its own.
    base_row_id: i64,
    /// The version of its rows, where they have none of their own.
    commit_version: i64,
}

impl InFile {
    /// A batch of the file as a batch of the table. Row numbers, if asked for, are the last column of it.
    pub(crate) fn batch(&self, read: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let layout = &self.columns.layout;
        let rows = read.num_rows();
        let columns = self.columns.out.iter().zip(&self.sources).map(|(out, source)| -> Result<ArrayRef, ArrowError> {
            match (out, source) {
                (Out::File(at), Some(source))
                    if view_of(layout.physical.field(*at).data_type()).as_ref() == Some(read.column(*source).data_type()) =>
                {
                    Ok(Arc::clone(read.column(*source)))
                }
                (Out::File(at), Some(source)) => {
                    let physical = conform_field(read.column(*source), layout.physical.field(*at), layout.field_match())?;
                    relabel(&physical, layout.arrow.field(*at).data_type())
                }
                (Out::File(at), None) => Ok(arrow_array::new_null_array(layout.arrow.field(*at).data_type(), rows)),
                (Out::Partition(at, partition), _) => {
                    let value = self.values.get(*partition).unwrap_or(&Value::Null);
                    constant(value, layout.arrow.field(*at).data_type(), rows)
                }
                (Out::RowIndex, _) => row_numbers(read).map(Arc::clone),
                (Out::RowId, source) => {
                    let fresh: Int64Array =
                        row_numbers(read)?.as_primitive::<Int64Type>().unary(|row| self.base_row_id.wrapping_add(row));
                    own_or(read, *source, &fresh)
                }
                (Out::CommitVersion, source) => own_or(read, *source, &Int64Array::from_value(self.commit_version, rows)),
                (Out::ChangeType, Some(source)) => {
                    conform_field(read.column(*source), &Field::new(CHANGE_TYPE, DataType::Utf8, false), FieldMatch::Name)
                }
                (Out::ChangeType, None) => {
                    Err(ArrowError::SchemaError(format!("a file of changes has no column `{CHANGE_TYPE}`")))
                }
            }
        });
        let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
        if self.columns.has_views {
            for (field, column) in self.columns.schema.fields().iter().zip(&mut columns) {
                if view_of(column.data_type()).as_ref() == Some(field.data_type()) {
                    *column = cast(column, field.data_type())?;
                }
            }
        }
        for (field, column) in self.columns.schema.fields().iter().zip(&columns) {
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(ArrowError::SchemaError(format!(
                    "column `{}` is NOT NULL, and the file has a null in it",
                    field.name()
                )));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.columns.schema), columns, &options)
    }
}

fn row_numbers(read: &RecordBatch) -> Result<&ArrayRef, ArrowError> {
    let last = read.columns().last().filter(|column| column.data_type() == &DataType::Int64);
    last.ok_or_else(|| ArrowError::SchemaError("the reader gave no row numbers".to_owned()))
}

/// What rows carry along in a hidden column, or else what their place in the file says.
fn own_or(read: &RecordBatch, hidden: Option<usize>, otherwise: &Int64Array) -> Result<ArrayRef, ArrowError> {
    let Some(hidden) = hidden else { return Ok(Arc::new(otherwise.clone())) };
    let own = cast(read.column(hidden), &DataType::Int64)?;
    let values = own.as_primitive::<Int64Type>().iter().zip(otherwise.values());
    Ok(Arc::new(Int64Array::from_iter_values(values.map(|(own, otherwise)| own.unwrap_or(*otherwise)))))
}
