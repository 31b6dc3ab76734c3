//! A filter that files, row groups and pages are skipped by, and that is not decided row by row.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, internal_err};
use datafusion::functions::core::file_row_index::FileRowIndexFunc;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// The filter, in a form of which a Parquet reader makes no row filter.
///
/// Readers decide all filters row by row, or none, but for those that ask for what a row filter cannot know: the number
/// of the row. So this one has that number among its children, and never reads it. Statistics are asked through
/// [`snapshot`](PhysicalExpr::snapshot), which is the filter alone.
#[derive(Debug)]
pub(super) struct PruneOnly {
    filter: Arc<dyn PhysicalExpr>,
    row: Arc<dyn PhysicalExpr>,
}

impl PruneOnly {
    pub(super) fn new(filter: Arc<dyn PhysicalExpr>) -> Result<Self> {
        static ROW: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(FileRowIndexFunc::new())));
        let row =
            ScalarFunctionExpr::try_new(Arc::clone(&ROW), Vec::new(), &Schema::empty(), Arc::new(ConfigOptions::default()))?;
        Ok(Self { filter, row: Arc::new(row) })
    }
}

impl PartialEq for PruneOnly {
    fn eq(&self, other: &Self) -> bool {
        self.filter.as_ref() == other.filter.as_ref()
    }
}

impl Eq for PruneOnly {}

impl Hash for PruneOnly {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.filter.hash(state);
    }
}

impl fmt::Display for PruneOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prune_only({})", self.filter)
    }
}

impl PhysicalExpr for PruneOnly {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.filter.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.filter.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.filter.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.filter.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.filter, &self.row]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [filter, row] = children.as_slice() else { return internal_err!("a filter is one expression") };
        Ok(Arc::new(Self { filter: Arc::clone(filter), row: Arc::clone(row) }))
    }

    fn snapshot(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        Ok(Some(Arc::clone(&self.filter)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt_sql(f)
    }
}
