//! A column of a file as the table wants it, as an expression.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use boathouse_delta_table::FileColumns;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

/// What a file says of a nested column, with the names and types of the table.
#[derive(Debug, Clone)]
pub(crate) struct ConformExpr {
    columns: Arc<FileColumns>,
    /// As the table has it, under its physical name.
    field: FieldRef,
    read: Arc<dyn PhysicalExpr>,
}

impl ConformExpr {
    pub(crate) fn new(columns: Arc<FileColumns>, field: FieldRef, read: Arc<dyn PhysicalExpr>) -> Self {
        Self { columns, field, read }
    }
}

// The rules for one table are the same for all of its columns: the column says which one it is.
impl PartialEq for ConformExpr {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.columns, &other.columns) && self.field == other.field && self.read.as_ref() == other.read.as_ref()
    }
}

impl Eq for ConformExpr {}

impl Hash for ConformExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.field.hash(state);
        self.read.hash(state);
    }
}

impl fmt::Display for ConformExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conform({})", self.read)
    }
}

impl PhysicalExpr for ConformExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(self.field.is_nullable())
    }

    fn return_field(&self, _: &Schema) -> Result<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let read = self.read.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(self.columns.conform(self.field.name(), &read, self.field.data_type())?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.read]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [read] = children.as_slice() else { return internal_err!("a column is one expression") };
        Ok(Arc::new(Self { read: Arc::clone(read), ..self.as_ref().clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read.fmt_sql(f)
    }
}
