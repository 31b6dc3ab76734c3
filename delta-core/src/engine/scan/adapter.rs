//! Expressions over columns of the table become expressions over columns of a file.
//!
//! | in the file | becomes |
//! | --- | --- |
//! | the column, of the same type | the column |
//! | of another type | a cast, which fails where a value does not fit |
//! | nested, with the names of the table | what DataFusion makes of it: fields by name, null where one is missing |
//! | nested, with other names, or a variant, or with a map of another type | [`ConformExpr`] |
//! | nothing | null |
//!
//! Columns are found as the protocol says: by field id, by physical name, and else without regard to letter case.

use std::sync::Arc;

use boathouse_delta_table::FileColumns;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{DefaultPhysicalExprAdapter, PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::conform_expr::ConformExpr;

/// Adapts expressions to the files of one table.
#[derive(Debug, Clone)]
pub(crate) struct DeltaAdapters {
    columns: Arc<FileColumns>,
    /// Columns that are none of the table, and are found by their exact name.
    others: Arc<[String]>,
}

impl DeltaAdapters {
    pub(crate) fn new(columns: Arc<FileColumns>) -> Self {
        Self { columns, others: Arc::default() }
    }

    /// Finds these by their exact name: they are no columns of the table.
    pub(crate) fn with_others(self, others: Vec<String>) -> Self {
        Self { others: others.into(), ..self }
    }
}

impl PhysicalExprAdapterFactory for DeltaAdapters {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        if self.columns.lack_field_ids(file.fields()) {
            return exec_err!(
                "the columns of this table are found by field id, and the file has none: it was not written for this table"
            );
        }
        Ok(Arc::new(DeltaAdapter { columns: Arc::clone(&self.columns), others: Arc::clone(&self.others), table, file }))
    }
}

/// Adapts expressions to one file.
#[derive(Debug)]
struct DeltaAdapter {
    columns: Arc<FileColumns>,
    others: Arc<[String]>,
    table: SchemaRef,
    file: SchemaRef,
}

impl DeltaAdapter {
    fn found(&self, column: &Column) -> Option<(usize, &FieldRef)> {
        let at = match self.others.iter().any(|other| other == column.name()) {
            true => self.file.index_of(column.name()).ok()?,
            false => self.columns.find(self.file.fields(), column.name())?,
        };
        self.file.fields().get(at).map(|field| (at, field))
    }

    /// Whether DataFusion knows better what becomes of this expression: it reads parts of nested columns alone. It casts no structs within
    /// maps.
    fn is_nested(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
        let mut nested = false;
        expr.apply(|expr| {
            if let Some(column) = expr.downcast_ref::<Column>()
                && let Ok(wanted) = self.table.field_with_name(column.name())
                && wanted.data_type().is_nested()
                && !self.columns.must_conform(column.name())
                && self.found(column).is_some_and(|(_, found)| found.data_type() != wanted.data_type())
            {
                nested = !holds_map(wanted.data_type());
                if !nested {
                    return Ok(TreeNodeRecursion::Stop);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(nested)
    }

    fn column(&self, expr: Arc<dyn PhysicalExpr>, column: &Column) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
        let Ok(at) = self.table.index_of(column.name()) else { return Ok(Transformed::no(expr)) };
        let wanted = Arc::clone(&self.table.fields()[at]);
        let Some((at, found)) = self.found(column) else {
            if !wanted.is_nullable() {
                return exec_err!("column `{}` is NOT NULL, and the file does not have it", wanted.name());
            }
            return Ok(Transformed::yes(Arc::new(Literal::new(ScalarValue::try_new_null(wanted.data_type())?))));
        };
        let read: Arc<dyn PhysicalExpr> = Arc::new(Column::new(found.name(), at));
        if found.data_type() == wanted.data_type() && !self.columns.must_conform(column.name()) {
            return Ok(Transformed::yes(read));
        }
        Ok(Transformed::yes(if wanted.data_type().is_nested() {
            Arc::new(ConformExpr::new(Arc::clone(&self.columns), wanted, read))
        } else {
            Arc::new(CastExpr::new_with_target_field(read, wanted, None))
        }))
    }

    /// The table with the letter case of the file.
    fn as_spelled(&self) -> Schema {
        let spelled = self.table.fields().iter().map(|field| {
            let found = self.columns.find(self.file.fields(), field.name()).map(|at| self.file.field(at).name());
            match found {
                Some(name) if name != field.name() => Arc::new(field.as_ref().clone().with_name(name)),
                _ => Arc::clone(field),
            }
        });
        Schema::new(spelled.collect::<Vec<_>>())
    }
}

/// Whether there is a map, at any depth.
fn holds_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_map(field.data_type())),
        DataType::List(element) | DataType::LargeList(element) => holds_map(element.data_type()),
        _ => false,
    }
}

impl PhysicalExprAdapter for DeltaAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        if !self.is_nested(&expr)? {
            return expr
                .transform(|expr| match expr.downcast_ref::<Column>() {
                    Some(column) => self.column(Arc::clone(&expr), &column.clone()),
                    None => Ok(Transformed::no(expr)),
                })
                .data();
        }
        let spelled = Arc::new(self.as_spelled());
        let renamed = expr.transform(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => match self.found(column) {
                Some((_, field)) if field.name() != column.name() => {
                    Ok(Transformed::yes(Arc::new(Column::new(field.name(), column.index())) as Arc<dyn PhysicalExpr>))
                }
                _ => Ok(Transformed::no(expr)),
            },
            None => Ok(Transformed::no(expr)),
        });
        DefaultPhysicalExprAdapter::new(spelled, Arc::clone(&self.file)).rewrite(renamed.data()?)
    }
}
