//! The plan that reads files of a snapshot.

use std::sync::Arc;

use boathouse_base::Value;
use boathouse_delta_table::{DataFile, FileColumns, Snapshot};
use boathouse_frames::into_datafusion;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::ObjectMeta;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use super::adapter::DeltaAdapters;
use super::footers::{FilesOf, FooterCache, Footers};
use super::metadata::MetadataParts;
use super::source::DeltaFileSource;
use super::statistics::{KnownFiles, of_all, scalar};
use super::vectors::Deleted;

/// Files of a snapshot, to be read by the engine.
pub(crate) struct ScanBuilder<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// Its URL. The plan holds it as long as it is there.
    pub(crate) url: Arc<str>,
    /// The columns of the table as the engine sees them.
    pub(crate) schema: &'a SchemaRef,
    /// The column `_metadata`, with its parts; its place is behind the columns of the table.
    pub(crate) metadata: Option<(FieldRef, MetadataParts)>,
    pub(crate) files: &'a [DataFile],
    /// Places of the columns that are wanted, in that order.
    pub(crate) projection: &'a [usize],
    /// As many rows are enough.
    pub(crate) limit: Option<usize>,
    pub(crate) footers: &'a Arc<FooterCache>,
}

impl ScanBuilder<'_> {
    /// The plan. Does no I/O.
    pub(crate) fn build(self, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let fields = self.schema.fields().iter().cloned().chain(self.metadata.map(|(field, _)| field));
            let announced = Schema::new(fields.collect::<Vec<_>>());
            return Ok(Arc::new(EmptyExec::new(Arc::new(announced.project(self.projection)?))));
        }
        let columns = Arc::new(FileColumns::new(self.snapshot.delta_schema(), self.snapshot.column_mapping()));
        let (table, places) = self.source_schema();
        let known = self.known(table.table_schema(), &places);
        let mut files = self.files.iter().map(|file| self.file(file, &table, &known)).collect::<Result<Vec<_>>>()?;
        let statistics = of_all(files.iter().filter_map(|file| file.statistics.as_ref()), table.table_schema())?;

        let store = self.snapshot.table().storage().object_store();
        let of = FilesOf { url: Arc::clone(&self.url), version: self.snapshot.version() };
        let footers = Footers::new(Arc::clone(store), Arc::clone(self.footers), Some(of.clone()));
        let mut options =
            TableParquetOptions { global: session.config_options().execution.parquet.clone(), ..Default::default() };
        // As nanoseconds, the times of old writers end in the year 2262.
        options.global.coerce_int96 = Some("us".to_owned());
        let parquet = ParquetSource::new(table.clone()).with_table_parquet_options(options);
        let is_plain = columns.are_plain() && self.metadata.is_none();
        let is_plain = is_plain && self.files.iter().all(|file| file.deletion_vector().is_none());
        let source: Arc<dyn FileSource> = if is_plain {
            Arc::new(parquet.with_parquet_file_reader_factory(Arc::new(footers)))
        } else {
            Arc::new(DeltaFileSource::new(parquet, Arc::clone(&columns), Some((Arc::clone(store), of)), Arc::clone(self.footers)))
        };
        let wanted = self.projection.iter().map(|at| {
            let Some(place) = places.get(*at) else { return self.metadata_of(session, table.table_schema()) };
            let (name, physical) = (self.schema.field(*at).name(), table.table_schema().field(*place).name());
            Ok(ProjectionExpr { expr: Arc::new(Column::new(physical, *place)), alias: name.clone() })
        });
        let wanted = ProjectionExprs::new(wanted.collect::<Result<Vec<_>>>()?);
        let Some(source) = source.try_pushdown_projection(&wanted)? else {
            return internal_err!("a source of Parquet files takes no projection");
        };
        let others = self.metadata.as_ref().map(|(_, parts)| parts.found_by_name()).unwrap_or_default();
        let url = self.register(session)?;
        let groups = group(&mut files, session.config().target_partitions());
        let config = FileScanConfigBuilder::new(url, source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_limit(self.limit)
            .with_expr_adapter(Some(Arc::new(DeltaAdapters::new(columns).with_others(others))))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// `_metadata` over the columns of the source.
    fn metadata_of(&self, session: &dyn Session, source: &SchemaRef) -> Result<ProjectionExpr> {
        let Some((field, parts)) = &self.metadata else { return internal_err!("a scan has no such column") };
        Ok(ProjectionExpr { expr: parts.expression(session, source)?, alias: field.name().clone() })
    }

    /// The columns under their physical names, then partition columns, then what the reader makes; each with the parts of `_metadata`. And
    /// where each column of the table is there.
    fn source_schema(&self) -> (TableSchema, Vec<usize>) {
        let delta = self.snapshot.delta_schema();
        let mode = self.snapshot.column_mapping();
        let physical = |field: &FieldRef| -> FieldRef {
            let name = delta.field(field.name()).map_or(field.name().as_str(), |column| column.physical_name(mode));
            Arc::new(field.as_ref().clone().with_name(name))
        };
        let is_partition = |field: &FieldRef| self.snapshot.partition_columns().contains(field.name());
        let (of_log, of_files): (Vec<&FieldRef>, Vec<&FieldRef>) = self.schema.fields().iter().partition(|f| is_partition(f));
        // In the order in which the log has their values.
        let of_log: Vec<&FieldRef> = self
            .snapshot
            .partition_columns()
            .iter()
            .filter_map(|name| of_log.iter().find(|field| field.name() == name).copied())
            .collect();
        let parts = self.metadata.as_ref().map(|(_, parts)| parts);
        let stored = parts.map(MetadataParts::stored).unwrap_or_default();
        let name = |field: &&FieldRef| Some(field.name().clone());
        let order: Vec<Option<String>> =
            of_files.iter().map(name).chain(stored.iter().map(|_| None)).chain(of_log.iter().map(name)).collect();
        let place = |field: &FieldRef| order.iter().position(|name| name.as_ref() == Some(field.name())).unwrap_or_default();
        let places = self.schema.fields().iter().map(place).collect();
        let files = Schema::new(of_files.into_iter().map(physical).chain(stored).collect::<Vec<_>>());
        let constants = parts.map(MetadataParts::constants).unwrap_or_default();
        let constants: Vec<FieldRef> = of_log.into_iter().map(physical).chain(constants).collect();
        let numbers: Vec<FieldRef> = parts.map(MetadataParts::row_number).into_iter().collect();
        let source = TableSchema::builder(Arc::new(files)).with_table_partition_cols(constants).with_virtual_columns(numbers);
        (source.build(), places)
    }

    /// What the log knows of the columns that are wanted.
    fn known(&self, source: &SchemaRef, places: &[usize]) -> KnownFiles {
        let mut names = vec![None; source.fields().len()];
        for at in self.projection.iter().filter(|at| **at < places.len()) {
            names[places[*at]] = Some(self.schema.field(*at).name().clone());
        }
        KnownFiles::new(self.snapshot, source, names, self.files.len())
    }

    fn file(&self, file: &DataFile, table: &TableSchema, known: &KnownFiles) -> Result<PartitionedFile> {
        let failed = |error: boathouse_delta_table::DeltaError| into_datafusion(error.into());
        let location = file.object_path(self.snapshot.table().storage()).map_err(failed)?;
        let last_modified = datafusion::arrow::temporal_conversions::timestamp_ms_to_datetime(file.add().modification_time);
        let meta = ObjectMeta {
            location,
            last_modified: last_modified.map(|time| time.and_utc()).unwrap_or_default(),
            size: file.size_bytes(),
            e_tag: None,
            version: None,
        };
        let of_log = table.table_partition_cols().iter().take(self.snapshot.partition_columns().len()).enumerate();
        let values = of_log.map(|(at, field)| {
            let value = file.partition_values().get(at).unwrap_or(&Value::Null);
            scalar(value, field.data_type()).map_or_else(|| ScalarValue::try_new_null(field.data_type()), Ok)
        });
        let metadata = self.metadata.iter().flat_map(|(_, parts)| parts.values(self.snapshot, file)).map(Ok);
        let mut planned =
            PartitionedFile::new_from_meta(meta).with_partition_values(values.chain(metadata).collect::<Result<_>>()?);
        // Not `with_statistics`: it takes every partition value for one that is not null.
        planned.statistics = Some(Arc::new(known.of(file)));
        Ok(match file.vector(self.snapshot).map_err(failed)? {
            Some(vector) => planned.with_extension(Deleted::new(vector)),
            None => planned,
        })
    }

    /// The store under a name that plans can carry. One that the session knows already stays what it is: files are
    /// read from the store of the table, and the name is for those who get the plan.
    fn register(&self, session: &dyn Session) -> Result<ObjectStoreUrl> {
        let storage = self.snapshot.table().storage();
        let (scheme, rest) = storage.url().split_once("://").unwrap_or(("store", ""));
        let authority = rest.split('/').next().unwrap_or_default();
        let url =
            ObjectStoreUrl::parse(format!("{scheme}://{authority}")).or_else(|_| ObjectStoreUrl::parse("store://boathouse"))?;
        let runtime = session.runtime_env();
        if runtime.object_store(&url).is_err() {
            runtime.register_object_store(url.as_ref(), Arc::clone(storage.object_store()));
        }
        Ok(url)
    }
}

/// Spreads files over partitions: the largest first, each to the partition with the least bytes. Within one, the order
/// of the log.
fn group(files: &mut Vec<PartitionedFile>, partitions: usize) -> Vec<FileGroup> {
    let count = partitions.min(files.len()).max(1);
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(files[*at].object_meta.size));
    let mut loads: Vec<(u64, usize)> = (0..count).map(|nth| (0, nth)).collect();
    let mut group_of = vec![0; files.len()];
    for at in order {
        if let Some(load) = loads.iter_mut().min() {
            load.0 += files[at].object_meta.size;
            group_of[at] = load.1;
        }
    }
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); count];
    for (file, nth) in files.drain(..).zip(group_of) {
        groups[nth].push(file);
    }
    groups.into_iter().filter(|group| !group.is_empty()).map(FileGroup::new).collect()
}
