//! Parquet files that cannot be read by Parquet alone.

use std::fmt;
use std::sync::Arc;

use boathouse_delta_table::FileColumns;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::Morselizer;

use super::footers::{FilesOf, FooterCache, Footers};
use super::vectors::VectorMorselizer;

/// A [`ParquetSource`] with what Delta adds: deletion vectors of files, columns that go by field id, variants, `_metadata`.
///
/// It is a type of its own so that nobody takes it for Parquet: an encoding that does not know it refuses it, instead
/// of returning deleted rows. Everything else is Parquet's: filters, projections, pruning, orders.
#[derive(Debug, Clone)]
pub(crate) struct DeltaFileSource {
    parquet: ParquetSource,
    columns: Arc<FileColumns>,
    /// Where files are, when that is known better than by the registry of the session.
    store: Option<(Arc<dyn ObjectStore>, FilesOf)>,
    footers: Arc<FooterCache>,
}

impl DeltaFileSource {
    pub(crate) fn new(
        parquet: ParquetSource,
        columns: Arc<FileColumns>,
        store: Option<(Arc<dyn ObjectStore>, FilesOf)>,
        footers: Arc<FooterCache>,
    ) -> Self {
        Self { parquet, columns, store, footers }
    }

    #[cfg(feature = "proto")]
    pub(crate) fn columns(&self) -> &FileColumns {
        &self.columns
    }

    #[cfg(feature = "proto")]
    pub(crate) fn parquet(&self) -> &ParquetSource {
        &self.parquet
    }

    /// The same, which decides filters row by row before it decodes other columns.
    pub(crate) fn with_row_filters(&self) -> Self {
        Self { parquet: self.parquet.clone().with_pushdown_filters(true), ..self.clone() }
    }

    /// The same around another Parquet source, which this one has become.
    fn around(&self, parquet: &Arc<dyn FileSource>) -> Result<Arc<dyn FileSource>> {
        match parquet.downcast_ref::<ParquetSource>() {
            Some(parquet) => Ok(Arc::new(Self { parquet: parquet.clone(), ..self.clone() })),
            None => internal_err!("a Parquet source became a source of {}", parquet.file_type()),
        }
    }

    /// Whether Parquet can decide this filter: it reads no column that has to be conformed first.
    fn is_plain(&self, filter: &Arc<dyn PhysicalExpr>) -> Result<bool> {
        let mut plain = true;
        filter.apply(|expr| {
            if let Some(column) = expr.downcast_ref::<Column>()
                && self.columns.must_conform(column.name())
            {
                plain = false;
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plain)
    }
}

impl FileSource for DeltaFileSource {
    fn create_file_opener(&self, _: Arc<dyn ObjectStore>, _: &FileScanConfig, _: usize) -> Result<Arc<dyn FileOpener>> {
        internal_err!("files of Delta tables are opened as morsels")
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let (store, of) = match self.store.clone() {
            Some((store, of)) => (store, Some(of)),
            None => (store, None),
        };
        let footers = Footers::new(store, Arc::clone(&self.footers), of);
        let parquet = self.parquet.clone().with_parquet_file_reader_factory(Arc::new(footers.clone()));
        let parquet = parquet.create_morselizer(Arc::clone(footers.store()), config, partition)?;
        Ok(Box::new(VectorMorselizer::new(parquet, footers)))
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let parquet = self.parquet.with_batch_size(batch_size);
        // A Parquet source stays one.
        self.around(&parquet).unwrap_or_else(|_| Arc::new(self.clone()))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &'static str {
        "delta"
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parquet.fmt_extra(t, f)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let plain = filters.iter().map(|filter| self.is_plain(filter)).collect::<Result<Vec<_>>>()?;
        let handed = filters.into_iter().zip(&plain).filter_map(|(filter, plain)| plain.then_some(filter)).collect();
        let mut taken = self.parquet.try_pushdown_filters(handed, config)?;
        let mut answers = std::mem::take(&mut taken.filters).into_iter();
        let answers = plain.iter().map(|plain| if *plain { answers.next().unwrap_or(PushedDown::No) } else { PushedDown::No });
        let updated_node = taken.updated_node.map(|parquet| self.around(&parquet)).transpose()?;
        Ok(FilterPushdownPropagation { filters: answers.collect(), updated_node })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(match self.parquet.try_pushdown_sort(order, properties)? {
            SortOrderPushdownResult::Exact { inner } => SortOrderPushdownResult::Exact { inner: self.around(&inner)? },
            SortOrderPushdownResult::Inexact { inner } => SortOrderPushdownResult::Inexact { inner: self.around(&inner)? },
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(
        &self,
        files: Vec<datafusion::datasource::listing::PartitionedFile>,
    ) -> Vec<datafusion::datasource::listing::PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        self.parquet.try_pushdown_projection(projection)?.map(|parquet| self.around(&parquet)).transpose()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(f)
    }
}
