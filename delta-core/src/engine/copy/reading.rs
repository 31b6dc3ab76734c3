//! The rows of files, with the columns that they become.

use std::sync::Arc;

use async_trait::async_trait;
use boathouse_frames::{from_datafusion, into_datafusion};
use boathouse_storage::Storage;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use datafusion::arrow::compute::kernels::cmp::eq;
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as FrameResult;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};

use super::columns::read_as;
use super::files::SourceFile;
use super::format::CopyFormat;
use crate::engine::cast::to_column;
use crate::engine::error::{Attempt, EngineError, Result};

/// The name that the store of the files has within [`Reader`].
const STORE: &str = "copy://source";

/// Reads files of one format from one store.
#[derive(Clone)]
pub(super) struct Reader {
    format: CopyFormat,
    storage: Storage,
    /// A session of its own: in that of the caller the store may have another name, or its name another store.
    session: SessionContext,
    store: ObjectStoreUrl,
    attempt: Attempt,
}

/// A file, and its columns.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) file: SourceFile,
    /// As its format knows them.
    pub(super) found: Schema,
    /// What they are called.
    pub(super) names: Vec<String>,
    /// Columns that its folders speak of, and that it does not have itself.
    pub(super) folders: Vec<(String, Option<String>)>,
}

impl Reader {
    pub(super) fn new(format: CopyFormat, storage: Storage, runtime: &RuntimeEnv, attempt: Attempt) -> Result<Self> {
        let failed = |error| attempt.rows(from_datafusion("open the store of the files", error));
        let store = ObjectStoreUrl::parse(STORE).map_err(failed)?;
        let own = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&runtime.memory_pool)).build_arc().map_err(failed)?;
        own.register_object_store(store.as_ref(), Arc::clone(storage.object_store()));
        let session = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), own);
        Ok(Self { format, storage, session, store, attempt })
    }

    pub(super) fn format(&self) -> &CopyFormat {
        &self.format
    }

    /// An error of a file.
    pub(super) fn failed(&self, file: &SourceFile, source: boathouse_base::Error) -> EngineError {
        EngineError::CopyFile { url: self.attempt.url.clone(), file: file.url.clone(), source }
    }

    fn frame(&self, file: &SourceFile, error: DataFusionError) -> EngineError {
        self.failed(file, from_datafusion("read the file", error))
    }

    /// The columns of a file.
    pub(super) async fn columns(&self, file: &SourceFile) -> Result<Schema> {
        let columns = self.format.columns(&self.session.state(), self.storage.object_store(), &file.meta).await;
        columns.map_err(|error| self.frame(file, error))
    }

    /// Reads a file to its end. Its values are not looked at.
    pub(super) async fn try_out(&self, file: &SourceFile, found: &Schema) -> Result<()> {
        let text = |field: &FieldRef| Field::new(field.name(), DataType::Utf8, true);
        let schema = match &self.format {
            CopyFormat::Csv(_) => Schema::new(found.fields().iter().map(text).collect::<Vec<_>>()),
            _ => found.clone(),
        };
        let mut rows = self.open(file, Arc::new(schema)).await.map_err(|error| self.frame(file, error))?;
        while let Some(batch) = rows.next().await {
            batch.map_err(|error| self.frame(file, error))?;
        }
        Ok(())
    }

    /// The rows of a file with these columns.
    async fn open(&self, file: &SourceFile, schema: SchemaRef) -> FrameResult<SendableRecordBatchStream> {
        let format = self.format.reader();
        let source = format.file_source(TableSchema::from(schema));
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file(PartitionedFile::new_from_meta(file.meta.clone()))
            .with_batch_size(Some(self.session.state().config().batch_size()))
            .build();
        let plan = format.create_physical_plan(&self.session.state(), config).await?;
        execute_stream(plan, self.session.task_ctx())
    }

    /// The rows of a file as they are to be.
    async fn rows(&self, known: Arc<Known>, wanted: SchemaRef) -> Result<SendableRecordBatchStream> {
        let target = |name: &String| wanted.fields().iter().position(|field| field.name().eq_ignore_ascii_case(name));
        let places: Vec<Option<usize>> = known.names.iter().map(target).collect();
        let read = |(field, place): (&FieldRef, &Option<usize>)| {
            let target = place.map_or(field.data_type(), |at| wanted.field(at).data_type());
            Field::new(field.name(), read_as(&self.format, field.data_type(), target), true)
        };
        let schema = Schema::new(known.found.fields().iter().zip(&places).map(read).collect::<Vec<_>>());
        let rows = self.open(&known.file, Arc::new(schema)).await.map_err(|error| self.frame(&known.file, error))?;
        let (this, shown) = (self.clone(), SchemaRef::clone(&wanted));
        let rows = rows.map(move |batch| {
            let batch = batch.map_err(|error| this.frame(&known.file, error));
            let become_rows = |batch| this.become_rows(batch, &known, &places, &wanted);
            batch.and_then(become_rows).map_err(|error| into_datafusion(error.into()))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(shown, rows)))
    }

    fn become_rows(
        &self,
        batch: RecordBatch,
        known: &Known,
        places: &[Option<usize>],
        wanted: &SchemaRef,
    ) -> Result<RecordBatch> {
        let in_file = |error: EngineError| self.failed(&known.file, error.into());
        let rows = batch.num_rows();
        let column = |(at, field): (usize, &FieldRef)| {
            if let Some(place) = places.iter().position(|place| *place == Some(at)) {
                let values = self.without_null_texts(batch.column(place))?;
                // What is nested has been read as it is to be.
                return if values.data_type() == field.data_type() {
                    Ok(values)
                } else {
                    to_column(values, field, &self.attempt)
                };
            }
            match known.folders.iter().find(|(name, _)| name.eq_ignore_ascii_case(field.name())) {
                Some((_, value)) => {
                    let values: StringArray = std::iter::repeat_n(value.as_deref(), rows).collect();
                    to_column(Arc::new(values), field, &self.attempt)
                }
                None => Ok(new_null_array(field.data_type(), rows)),
            }
        };
        let columns: Result<Vec<ArrayRef>> = wanted.fields().iter().enumerate().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(SchemaRef::clone(wanted), columns.map_err(in_file)?, &options);
        batch.map_err(|source| in_file(self.attempt.compute(source)))
    }

    /// Text that stands for null becomes null.
    fn without_null_texts(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let CopyFormat::Csv(csv) = &self.format else { return Ok(Arc::clone(values)) };
        if csv.null_value.is_empty() {
            return Ok(Arc::clone(values));
        }
        let null = StringArray::new_scalar(&csv.null_value);
        let without = eq(&values.as_ref(), &null).and_then(|is_null| nullif(values, &is_null));
        without.map_err(|source| self.attempt.compute(source))
    }
}

/// Files as a table of the engine.
pub(super) struct Reading {
    reader: Reader,
    files: Vec<Arc<Known>>,
    schema: SchemaRef,
}

impl Reading {
    pub(super) fn new(reader: Reader, files: Vec<Arc<Known>>, schema: SchemaRef) -> Self {
        Self { reader, files, schema }
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reading({} files below {})", self.files.len(), self.reader.storage.url())
    }
}

#[async_trait]
impl TableProvider for Reading {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> FrameResult<Arc<dyn ExecutionPlan>> {
        let count = session.config().target_partitions().min(self.files.len()).max(1);
        let share = |nth: usize| {
            let files = self.files.iter().skip(nth).step_by(count).map(Arc::clone).collect();
            let schema = SchemaRef::clone(&self.schema);
            Arc::new(Share { reader: self.reader.clone(), files, schema }) as Arc<dyn PartitionStream>
        };
        let shares = (0..count).map(share).collect();
        let exec = StreamingTableExec::try_new(SchemaRef::clone(&self.schema), shares, projection, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// Some of the files, one after the other.
struct Share {
    reader: Reader,
    files: Vec<Arc<Known>>,
    schema: SchemaRef,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({} files)", self.files.len())
    }
}

impl PartitionStream for Share {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (reader, schema) = (self.reader.clone(), SchemaRef::clone(&self.schema));
        let open = move |known: Arc<Known>| {
            let (reader, schema) = (reader.clone(), SchemaRef::clone(&schema));
            async move { reader.rows(known, schema).await.map_err(|error| into_datafusion(error.into())) }
        };
        let rows = stream::iter(self.files.clone()).then(open).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), rows))
    }
}
