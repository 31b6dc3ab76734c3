//! What a checkpoint holds.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_json::ReaderBuilder;
use arrow_schema::{ArrowError, Field, Schema};
use boathouse_delta_protocol::action::{Action, Remove};
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::replay::TableState;

use super::super::checkpoint_read::schema;
use crate::layout::Layout;

/// What a checkpoint holds.
pub(crate) struct Contents {
    pub(crate) head: TableState,
    pub(crate) layout: Arc<Layout>,
    /// Their statistics are read on the way.
    pub(crate) files: Arc<FileIndex>,
    /// Those that have not expired.
    pub(crate) tombstones: Vec<Remove>,
    /// Txns that were last updated before this have expired.
    pub(crate) txns_since_ms: Option<i64>,
}

impl Contents {
    /// All actions but those of files.
    pub(super) fn head(&self) -> Vec<Action> {
        self.head.head_actions(self.txns_since_ms).collect()
    }

    /// Whether it holds statistics in some form.
    pub(super) fn has_stats(&self) -> bool {
        let properties = &self.layout.properties;
        properties.checkpoint_write_stats_as_json || properties.checkpoint_write_stats_as_struct
    }

    /// File actions that there are.
    pub(super) fn file_actions(&self) -> usize {
        self.files.len() + self.tombstones.len()
    }

    /// Tombstones as a column. They say nothing of statistics and tags: they only guard files from being deleted.
    pub(super) fn removes(&self, range: std::ops::Range<usize>) -> Result<StructArray, ArrowError> {
        let actions = self.tombstones[range]
            .iter()
            .map(|remove| Action::Remove(Remove { data_change: false, stats: None, tags: None, ..remove.clone() }));
        let batch = rows(&actions.collect::<Vec<_>>(), &["remove"])?;
        let column = batch.column(0).as_any().downcast_ref::<StructArray>().cloned();
        column.ok_or_else(|| ArrowError::SchemaError("`remove` is no struct".to_owned()))
    }
}

/// The schema of these columns.
pub(super) fn columns(names: &[&str]) -> Schema {
    let all = schema();
    Schema::new(names.iter().filter_map(|name| all.field_with_name(name).ok().cloned()).collect::<Vec<Field>>())
}

/// Few actions as rows with these columns.
pub(super) fn rows(actions: &[Action], names: &[&str]) -> Result<RecordBatch, ArrowError> {
    let schema = Arc::new(columns(names));
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(actions.len().max(1)).build_decoder()?;
    decoder.serialize(actions)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

/// One column with values, and nulls in the others.
pub(super) fn only(schema: &Arc<Schema>, name: &str, column: ArrayRef) -> Result<RecordBatch, ArrowError> {
    let length = column.len();
    let columns = schema.fields().iter().map(|field| {
        if field.name() == name { Arc::clone(&column) } else { arrow_array::new_null_array(field.data_type(), length) }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect())
}
