//! Statistics as typed columns: `stats_parsed`.

use std::sync::Arc;

use arrow_array::{ArrayRef, new_null_array};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{ArrowError, DataType, Field, Fields};
use boathouse_delta_protocol::schema::{DataType as DeltaType, PrimitiveType, StructType};
use boathouse_delta_protocol::stats::{ColumnPath, indexed_columns};

use crate::layout::Layout;

/// Texts that are parsed at once; one bad text costs this many a second pass.
const AT_ONCE: usize = 1024;

/// Parses the statistics of files into columns.
///
/// **Source**: Delta protocol, "Per-file Statistics", "Checkpoint Schema".
pub(super) struct StatsStruct {
    field: Arc<Field>,
}

/// Which of the three trees.
#[derive(Clone, Copy, PartialEq)]
enum Tree {
    Bounds,
    Nulls,
}

impl StatsStruct {
    /// For the columns that have statistics by the table's properties.
    pub(super) fn new(layout: &Layout) -> Self {
        let columns = indexed_columns(&layout.schema, &layout.partition_columns, &layout.properties).unwrap_or_default();
        let mut fields = vec![Field::new("numRecords", DataType::Int64, true)];
        for (name, tree) in [("minValues", Tree::Bounds), ("maxValues", Tree::Bounds), ("nullCount", Tree::Nulls)] {
            let inner = tree_fields(layout, None, &layout.schema, &columns, tree);
            // Parquet has no struct without columns.
            if !inner.is_empty() {
                fields.push(Field::new(name, DataType::Struct(inner), true));
            }
        }
        fields.push(Field::new("tightBounds", DataType::Boolean, true));
        Self { field: Arc::new(Field::new("stats_parsed", DataType::Struct(fields.into()), true)) }
    }

    pub(super) fn data_type(&self) -> DataType {
        self.field.data_type().clone()
    }

    /// The statistics of many files; null for a file without any, and for texts that do not fit the table's columns.
    pub(super) fn parse(&self, texts: &[Option<String>]) -> Result<ArrayRef, ArrowError> {
        let mut parts: Vec<ArrayRef> = Vec::new();
        for texts in texts.chunks(AT_ONCE) {
            match self.decode(texts) {
                Ok(part) => parts.push(part),
                // One of them is odd: the others still count.
                Err(_) => {
                    for text in texts {
                        let one = self.decode(std::slice::from_ref(text));
                        parts.push(one.unwrap_or_else(|_| new_null_array(self.field.data_type(), 1)));
                    }
                }
            }
        }
        if parts.is_empty() {
            return Ok(new_null_array(self.field.data_type(), 0));
        }
        arrow_select::concat::concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    fn decode(&self, texts: &[Option<String>]) -> Result<ArrayRef, ArrowError> {
        let mut decoder = self.decoder(texts.len())?;
        for text in texts {
            feed(&mut decoder, text.as_deref().unwrap_or("null"))?;
            feed(&mut decoder, "\n")?;
        }
        let rows = decoder.flush()?.ok_or_else(|| ArrowError::JsonError("no statistics".to_owned()))?;
        // A text with two values would shift all after it.
        if rows.num_rows() != texts.len() {
            return Err(ArrowError::JsonError(format!("{} statistics of {} files", rows.num_rows(), texts.len())));
        }
        Ok(Arc::clone(rows.column(0)))
    }

    fn decoder(&self, rows: usize) -> Result<Decoder, ArrowError> {
        ReaderBuilder::new_with_field(Arc::clone(&self.field)).with_batch_size(rows + 1).build_decoder()
    }
}

fn feed(decoder: &mut Decoder, text: &str) -> Result<(), ArrowError> {
    let taken = decoder.decode(text.as_bytes())?;
    if taken == text.len() { Ok(()) } else { Err(ArrowError::JsonError("statistics hold more than one value".to_owned())) }
}

fn tree_fields(layout: &Layout, parent: Option<&ColumnPath>, inner: &StructType, columns: &[ColumnPath], tree: Tree) -> Fields {
    let mut fields = Vec::new();
    for field in &inner.fields {
        let names = parent.map(ColumnPath::names).unwrap_or_default();
        let path = ColumnPath::new(names.iter().cloned().chain([field.name.clone()]));
        let physical = field.physical_name(layout.mode);
        let data_type = match &field.data_type {
            DeltaType::Struct(inner) => {
                let inner = tree_fields(layout, Some(&path), inner, columns, tree);
                (!inner.is_empty()).then_some(DataType::Struct(inner))
            }
            _ if !columns.contains(&path) => None,
            _ if tree == Tree::Nulls => Some(DataType::Int64),
            other => other.as_primitive().filter(|primitive| has_bounds(*primitive)).map(|_| other.to_arrow()),
        };
        fields.extend(data_type.map(|data_type| Field::new(physical, data_type, true)));
    }
    fields.into()
}

/// Types whose minima and maxima the log has.
fn has_bounds(primitive: PrimitiveType) -> bool {
    !matches!(primitive, PrimitiveType::Boolean | PrimitiveType::Binary | PrimitiveType::Void)
}
