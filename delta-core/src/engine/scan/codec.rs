//! Scans as bytes.
//!
//! ```text
//!   length of the header (4, little-endian) │ header (JSON) │ the same scan as one of Parquet (protobuf of DataFusion)
//! ```
//! DataFusion encodes a scan of Parquet files without what is attached to its files: deletion vectors would be lost, and
//! deleted rows would come back. Therefore scans with deletion vectors, and those whose columns Parquet cannot find, are
//! of a type that DataFusion does not know, and come here.

use std::collections::BTreeMap;
use std::sync::Arc;

use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType};
use boathouse_delta_table::{FileColumns, FileVector};
use datafusion::common::{Result, exec_err, not_impl_err};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use serde::{Deserialize, Serialize};

use super::adapter::DeltaAdapters;
use super::footers::FooterCache;
use super::source::DeltaFileSource;
use super::vectors::Deleted;

/// The form of the header.
const FORMAT: u32 = 1;

/// Encodes and decodes scans of Delta tables with `datafusion-proto`.
///
/// Needed where a scan has deletion vectors, or columns that go by field id, parts of columns that were renamed, or
/// variants. All other scans are plain Parquet, and need no codec. Whoever decodes a plan reads files, and deletion
/// vectors, from the object store that its own session has for the URL of the table.
///
/// **Errors**: plans that write, scans inside a MERGE, and scans with `_metadata` do not leave the process. A scan that compares with the result
/// of a subquery is refused when it is decoded: DataFusion does not hand subqueries to codecs.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaPlanCodec, DeltaTable, DeltaTableExt};
/// use datafusion::physical_plan::collect;
/// use datafusion::prelude::SessionContext;
/// use datafusion_proto::bytes::{physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec};
/// # use boathouse_storage::{Location, Storage, system_env};
/// # let folder = tempfile::tempdir()?;
/// # let storage = Storage::open(&Location::from_path(folder.path())?)?;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(storage, system_env());
/// # let ids = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)])?;
/// # table.append(ids.into()).create_if_absent().run().await?;
/// let here = SessionContext::new();
/// let plan = here.read_table(Arc::new(table.provider().await?))?.create_physical_plan().await?;
/// let bytes = physical_plan_to_bytes_with_extension_codec(plan, &DeltaPlanCodec)?;
///
/// let there = SessionContext::new();
/// let plan = physical_plan_from_bytes_with_extension_codec(&bytes, &there.task_ctx(), &DeltaPlanCodec)?;
/// assert_eq!(collect(plan, there.task_ctx()).await?[0].num_rows(), 2);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct DeltaPlanCodec;

/// What Parquet does not know of a scan.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// The columns as the log has them.
    schema: String,
    column_mapping: String,
    /// By path of the data file in the store.
    vectors: BTreeMap<String, FileVector>,
}

impl PhysicalExtensionCodec for DeltaPlanCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let config = node.downcast_ref::<DataSourceExec>().and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>());
        let source = config.and_then(|config| config.file_source().downcast_ref::<DeltaFileSource>());
        let (Some(config), Some(source)) = (config, source) else {
            return not_impl_err!("a {} does not leave the process", node.name());
        };
        // The encoding of DataFusion has no place for them: whoever decodes it would look for a column of the file.
        if !source.table_schema().virtual_columns().is_empty() {
            return not_impl_err!("a scan that numbers the rows of its files, as for `_metadata`, does not leave the process");
        }
        let files = config.file_groups.iter().flat_map(FileGroup::iter);
        let vectors = files.filter_map(|file| {
            let deleted = file.extension::<Deleted>()?;
            Some((file.object_meta.location.to_string(), deleted.vector.as_ref().clone()))
        });
        let header = Header {
            format: FORMAT,
            schema: source.columns().schema().to_json(),
            column_mapping: name_of(source.columns().mode()).to_owned(),
            vectors: vectors.collect(),
        };
        let header = serde_json::to_vec(&header).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let parquet = FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source.parquet().clone())).build();
        let parquet: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(parquet);
        let parquet = converter.execution_plan_to_proto(&parquet, self)?;
        let Ok(length) = u32::try_from(header.len()) else { return exec_err!("a scan of too many files to be one message") };
        buf.extend_from_slice(&length.to_le_bytes());
        buf.extend_from_slice(&header);
        parquet.try_encode(buf)
    }

    fn try_decode(
        &self,
        buf: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some((header, parquet)) = split(buf) else { return exec_err!("decode a scan of a Delta table: it ends too early") };
        let header: Header = serde_json::from_slice(header).map_err(|error| DataFusionError::External(Box::new(error)))?;
        if header.format != FORMAT {
            return exec_err!("decode a scan of a Delta table: it is of form {}, and this is form {FORMAT}", header.format);
        }
        let Some(mode) = mode_of(&header.column_mapping) else {
            return exec_err!("decode a scan of a Delta table: there is no column mapping `{}`", header.column_mapping);
        };
        let schema = StructType::from_json(&header.schema).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let parquet = PhysicalPlanNode::try_decode(parquet)?;
        let plan = converter.proto_to_execution_plan(&parquet, &PhysicalPlanDecodeContext::new(context, self))?;
        let config = plan.downcast_ref::<DataSourceExec>().and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>());
        let source = config.and_then(|config| config.file_source().downcast_ref::<ParquetSource>());
        let (Some(config), Some(parquet)) = (config, source) else {
            return exec_err!("decode a scan of a Delta table: a {} is no scan of Parquet files", plan.name());
        };
        let columns = Arc::new(FileColumns::new(&schema, mode));
        let deleted: BTreeMap<String, Deleted> =
            header.vectors.into_iter().map(|(path, vector)| (path, Deleted::new(vector))).collect();
        let mut met = std::collections::BTreeSet::new();
        let groups = config.file_groups.iter().map(|group| {
            let files = group.iter().cloned().map(|file| match deleted.get_key_value(file.object_meta.location.as_ref()) {
                Some((path, deleted)) => {
                    met.insert(path.clone());
                    file.with_extension(deleted.clone())
                }
                None => file,
            });
            FileGroup::new(files.collect())
        });
        let groups: Vec<FileGroup> = groups.collect();
        // A vector that belongs to no file belonged to one that now has another name: its rows would come back.
        if let Some(path) = deleted.keys().find(|path| !met.contains(*path)) {
            return exec_err!("decode a scan of a Delta table: the deletion vector of {path} belongs to none of its files");
        }
        let source = DeltaFileSource::new(parquet.clone(), Arc::clone(&columns), None, Arc::new(FooterCache::default()));
        let config = FileScanConfigBuilder::from(config.clone())
            .with_source(Arc::new(source))
            .with_file_groups(groups)
            .with_expr_adapter(Some(Arc::new(DeltaAdapters::new(columns))))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

fn split(buf: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = buf.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

fn name_of(mode: ColumnMappingMode) -> &'static str {
    match mode {
        ColumnMappingMode::None => "none",
        ColumnMappingMode::Id => "id",
        ColumnMappingMode::Name => "name",
    }
}

fn mode_of(name: &str) -> Option<ColumnMappingMode> {
    [ColumnMappingMode::None, ColumnMappingMode::Id, ColumnMappingMode::Name].into_iter().find(|mode| name_of(*mode) == name)
}
