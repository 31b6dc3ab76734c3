//! Where a join decides which rows of a scan count, other columns of those rows alone are decoded.
//!
//! The side of a join that is read first tells the other side what its keys are: a dynamic filter. DataFusion skips
//! files, row groups and pages by it. It can also decide row by row, before other columns are decoded
//! (`pushdown_filters`), but does so for all filters or for none, and where many rows stay, the detour costs more than
//! it saves. Here each file decides when it is opened, when keys are known:
//!
//! ```text
//!   filters of the scan ─▶ keys, few of those that the table has ─▶ `key IN (…)`, row by row
//!                      └─▶ all others ───────────────────────────▶ PruneOnly: files, row groups and pages, as before
//! ```
//! The filters of the query stay in the plan above the scan.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, Statistics};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_expr_adapter::{DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::keys::{Keys, whole};
use super::prune_only::PruneOnly;
use crate::engine::scan::DeltaFileSource;

/// Of so many keys that a table can have at most one may be wanted.
///
/// Rows that are scattered more densely are decoded slower one by one than all of them at once.
const ONE_OF: i128 = 50;

/// See the module.
#[derive(Debug)]
pub(super) struct LateColumns;

impl PhysicalOptimizerRule for LateColumns {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        // Whoever wants all filters decided row by row gets that.
        if options.execution.parquet.pushdown_filters {
            return Ok(plan);
        }
        plan.transform_up(|plan| {
            let late = plan.downcast_ref::<DataSourceExec>().and_then(|scan| scan.data_source().downcast_ref()).and_then(late);
            Ok(match late {
                Some(config) => Transformed::yes(DataSourceExec::from_data_source(config)),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "late_columns"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan with late columns, where that can help.
fn late(config: &FileScanConfig) -> Option<FileScanConfig> {
    let source = config.file_source();
    if !split_conjunction(&source.filter()?).iter().any(|filter| is_dynamic(filter)) {
        return None;
    }
    let late: Arc<dyn FileSource> = if let Some(parquet) = source.downcast_ref::<ParquetSource>() {
        Arc::new(parquet.clone().with_pushdown_filters(true))
    } else {
        Arc::new(source.downcast_ref::<DeltaFileSource>()?.with_row_filters())
    };
    let ranges = ranges(source.table_schema().table_schema(), &config.statistics());
    if ranges.is_empty() {
        return None;
    }
    let inner = config.expr_adapter_factory.clone().unwrap_or_else(|| Arc::new(DefaultPhysicalExprAdapterFactory));
    let adapters = LateAdapters { inner, ranges: Arc::new(ranges) };
    let config = FileScanConfigBuilder::from(config.clone()).with_source(late).with_expr_adapter(Some(Arc::new(adapters)));
    Some(config.build())
}

fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    filter.downcast_ref::<DynamicFilterPhysicalExpr>().is_some()
}

/// How many values a column of whole numbers can have, by the name that files have for it.
fn ranges(schema: &SchemaRef, statistics: &Statistics) -> HashMap<String, i128> {
    let columns = schema.fields().iter().zip(&statistics.column_statistics);
    let ranges = columns.filter_map(|(field, known)| {
        let (least, most) = (whole(known.min_value.get_value()?)?, whole(known.max_value.get_value()?)?);
        Some((field.name().clone(), most.checked_sub(least)?.checked_add(1)?))
    });
    ranges.collect()
}

/// Makes filters of the table to those of a file, and says which of them are decided row by row.
#[derive(Debug)]
struct LateAdapters {
    inner: Arc<dyn PhysicalExprAdapterFactory>,
    ranges: Arc<HashMap<String, i128>>,
}

impl PhysicalExprAdapterFactory for LateAdapters {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let inner = self.inner.create(table, Arc::clone(&file))?;
        Ok(Arc::new(LateAdapter { inner, file, ranges: Arc::clone(&self.ranges) }))
    }
}

#[derive(Debug)]
struct LateAdapter {
    inner: Arc<dyn PhysicalExprAdapter>,
    file: SchemaRef,
    ranges: Arc<HashMap<String, i128>>,
}

impl LateAdapter {
    /// What is decided row by row, when it is worth it.
    fn few(&self, filter: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(filter) = filter.downcast_ref::<DynamicFilterPhysicalExpr>() else { return Ok(None) };
        let Some(keys) = Keys::of(&filter.current()?) else { return Ok(None) };
        let Some(range) = self.ranges.get(keys.column().name()) else { return Ok(None) };
        if keys.count() * ONE_OF > *range {
            return Ok(None);
        }
        keys.into_filter(&self.file).map(Some)
    }
}

impl PhysicalExprAdapter for LateAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = self.inner.rewrite(expr)?;
        let filters = split_conjunction(&expr);
        // Expressions of a projection have none.
        if !filters.iter().any(|filter| is_dynamic(filter)) {
            return Ok(expr);
        }
        let filters = filters.into_iter().map(|filter| {
            Ok(match self.few(filter)? {
                Some(few) => few,
                None => Arc::new(PruneOnly::new(Arc::clone(filter))?),
            })
        });
        Ok(conjunction(filters.collect::<Result<Vec<_>>>()?))
    }
}
