//! Reading files of a snapshot as a plan of the engine.

use std::fmt;
use std::sync::Arc;

use boathouse_base::Predicate;
use boathouse_delta_table::{DataFile, FileRead, Snapshot};
use boathouse_frames::into_datafusion;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

use crate::engine::merge::KeyFilter;

/// Names of two more columns: which file a row comes from, and its number in it.
#[derive(Debug, Clone)]
pub(crate) struct Locators {
    pub(crate) file: String,
    pub(crate) row: String,
}

/// What is scanned.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) snapshot: Snapshot,
    pub(crate) files: Vec<DataFile>,
    /// Columns of the table, in the order wanted.
    pub(crate) projection: Vec<String>,
    pub(crate) predicate: Option<Predicate>,
    /// Rows that it does not let pass are left out.
    pub(crate) keys: Option<Arc<KeyFilter>>,
    pub(crate) locators: Option<Locators>,
    /// Whether rows of these files may be missing, because row groups, pages or rows are skipped.
    pub(crate) may_skip: bool,
}

/// Reads files, several at once: each partition of the plan has some of them, of about the same size in sum.
#[derive(Debug)]
pub(crate) struct DeltaScanExec {
    scan: Arc<Scan>,
    /// For each partition: the numbers of its files.
    groups: Vec<Vec<usize>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DeltaScanExec {
    pub(crate) fn new(scan: Scan, schema: SchemaRef, partitions: usize) -> Self {
        let groups = group(&scan.files, partitions);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(SchemaRef::clone(&schema)),
            Partitioning::UnknownPartitioning(groups.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::NonCooperative);
        let metrics = ExecutionPlanMetricsSet::new();
        Self { scan: Arc::new(scan), groups, schema, properties: Arc::new(properties), metrics }
    }
}

/// The columns of a scan, the locators last.
pub(crate) fn scan_schema(table: &SchemaRef, projection: &[usize], locators: Option<&Locators>) -> Result<SchemaRef> {
    let projected = table.project(projection)?;
    let Some(Locators { file, row }) = locators else { return Ok(Arc::new(projected)) };
    let extra = [file, row].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
    Ok(Arc::new(Schema::new(projected.fields().iter().cloned().chain(extra).collect::<Vec<_>>())))
}

/// Spreads files over partitions: the largest first, each to the partition with the least. At least one partition.
fn group(files: &[DataFile], partitions: usize) -> Vec<Vec<usize>> {
    let count = partitions.min(files.len()).max(1);
    let mut groups: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); count];
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(files[*at].size_bytes()));
    for at in order {
        if let Some((bytes, members)) = groups.iter_mut().min_by_key(|(bytes, members)| (*bytes, members.len())) {
            *bytes += files[at].size_bytes();
            members.push(at);
        }
    }
    for (_, members) in &mut groups {
        members.sort_unstable();
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

impl DisplayAs for DeltaScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scan { snapshot, files, projection, predicate, .. } = self.scan.as_ref();
        write!(f, "DeltaScanExec: version={}, files={}, partitions={}", snapshot.version(), files.len(), self.groups.len())?;
        write!(f, ", projection=[{}]", projection.join(", "))?;
        predicate.as_ref().map_or(Ok(()), |predicate| write!(f, ", skip_unless={predicate}"))
    }
}

impl ExecutionPlan for DeltaScanExec {
    fn name(&self) -> &'static str {
        "DeltaScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan of files has no inputs") }
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(files) = self.groups.get(partition).cloned() else {
            return internal_err!("a scan has {} partitions, and partition {partition} was asked for", self.groups.len());
        };
        let (scan, schema) = (Arc::clone(&self.scan), SchemaRef::clone(&self.schema));
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = stream::iter(files).map(move |at| read(&scan, at, &schema)).try_flatten();
        let rows = rows.inspect_ok(move |batch| {
            metrics.output_rows().add(batch.num_rows());
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let Scan { files, may_skip, .. } = self.scan.as_ref();
        let of: Vec<&DataFile> = match args.partition() {
            Some(partition) => self.groups.get(partition).into_iter().flatten().filter_map(|at| files.get(*at)).collect(),
            None => files.iter().collect(),
        };
        let mut statistics = Statistics::new_unknown(&self.schema);
        let rows = DataFile::total_rows(of);
        if let Some(rows) = rows.and_then(|rows| usize::try_from(rows).ok()) {
            statistics.num_rows = if *may_skip { Precision::Inexact(rows) } else { Precision::Exact(rows) };
        }
        Ok(Arc::new(statistics))
    }
}

type Rows = std::pin::Pin<Box<dyn futures::Stream<Item = Result<RecordBatch>> + Send>>;

/// The rows of one file.
fn read(scan: &Scan, at: usize, schema: &SchemaRef) -> Result<Rows> {
    let Some(file) = scan.files.get(at) else { return internal_err!("a scan has no file {at}") };
    let request = FileRead {
        projection: Some(scan.projection.clone()),
        predicate: scan.predicate.clone(),
        row_index: scan.locators.as_ref().map(|locators| locators.row.clone()),
        ..FileRead::default()
    };
    let number = scan.locators.as_ref().map(|_| i64::try_from(at).unwrap_or(i64::MAX));
    let rows = scan.snapshot.read_file(file, request).map_err(|error| into_datafusion(error.into()))?;
    let (schema, keys) = (SchemaRef::clone(schema), scan.keys.clone());
    let read = move |batch: boathouse_base::Result<RecordBatch>| {
        let batch = batch.map_err(into_datafusion)?;
        let batch = keys.as_ref().map_or_else(|| Ok(batch.clone()), |keys| keys.keep(&batch))?;
        announce(&batch, number, &schema)
    };
    Ok(rows.map(read).try_filter(|batch| std::future::ready(batch.num_rows() > 0)).boxed())
}

/// A batch of a file with the columns that the scan announced.
fn announce(batch: &RecordBatch, number: Option<i64>, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut columns = batch.columns().to_vec();
    if let Some(number) = number {
        let file: ArrayRef = Arc::new(Int64Array::from(vec![number; rows]));
        columns.insert(columns.len().saturating_sub(1), file);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options).map_err(DataFusionError::from)
}
