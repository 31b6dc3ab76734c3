//! One checkpoint: encoded, uploaded, read back, pointed to.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use boathouse_base::Env;
use boathouse_delta_protocol::action::{Action, CheckpointMetadata, Sidecar, encode_path};
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::log_path::{
    Checkpoint, CheckpointFormat, LastCheckpoint, LogFile, SIDECAR_FOLDER, checkpoint_name, uuid_checkpoint_name,
};
use boathouse_storage::Storage;
use futures::{StreamExt, TryStreamExt};

use super::super::checkpoint_read::{self, CheckpointFiles};
use super::super::list::log_path;
use super::adds::SortedAdds;
use super::contents::{Contents, columns, only, rows};
use super::parquet_file::ParquetFile;
use super::pointer;
use crate::error::{DeltaError, OnTable, Result};

/// Actions that are in memory as text at once, and actions of a sidecar.
const CHUNK_ACTIONS: usize = 250_000;
/// Actions of a row group: small enough that skipping one saves something.
const ROW_GROUP_ACTIONS: usize = 50_000;

/// Columns of V1 checkpoints. Those of V2 are left out: some readers take their presence for the other form.
const V1_COLUMNS: &[&str] = &["txn", "add", "remove", "metaData", "protocol", "domainMetadata"];
/// Columns of the main file of a V2 checkpoint, whose files stand in sidecars.
const V2_COLUMNS: &[&str] = &["txn", "metaData", "protocol", "domainMetadata", "checkpointMetadata", "sidecar"];
/// Columns of a sidecar.
const SIDECAR_COLUMNS: &[&str] = &["add", "remove"];

/// Which files a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One Parquet file with everything (V1).
    Classic,
    /// A Parquet file with the name of a V1 checkpoint, and sidecars (V2).
    ClassicV2,
    /// A JSON file with a UUID in its name, and sidecars (V2).
    Uuid,
}

/// A checkpoint that was written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) sidecars: usize,
    /// Whether `_last_checkpoint` speaks of it now.
    pub(crate) is_last: bool,
}

/// Writes a checkpoint, reads it back, and points to it.
pub(crate) async fn write_checkpoint(storage: &Storage, env: &Env, contents: Contents, shape: Shape) -> Result<Written> {
    let work = Work::new(storage, env, contents).await?;
    let (file, bytes, sidecars) = match shape {
        Shape::Classic => work.classic().await?,
        Shape::ClassicV2 | Shape::Uuid => work.with_sidecars(shape).await?,
    };
    if let Err(error) = work.read_back(&file, bytes - sidecars.iter().map(|s| s.size_in_bytes).sum::<u64>()).await {
        // Nobody was pointed to it. A reader that finds it in a listing falls back, as from every damaged checkpoint.
        work.discard(&file, &sidecars).await;
        return Err(error);
    }
    let contents = &work.contents;
    let pointer = LastCheckpoint {
        version: contents.head.version,
        size: (work.head.len() + contents.file_actions() + sidecars.len() + usize::from(shape != Shape::Classic)) as u64,
        size_in_bytes: Some(bytes),
        num_of_add_files: Some(contents.files.len() as u64),
        ..LastCheckpoint::default()
    };
    let is_last = pointer::advance(storage, &pointer).await?;
    Ok(Written { bytes, sidecars: sidecars.len(), is_last })
}

/// A checkpoint on its way.
struct Work<'a> {
    storage: &'a Storage,
    env: &'a Env,
    contents: Arc<Contents>,
    head: Vec<Action>,
    adds: Arc<SortedAdds>,
}

/// Rows of adds, or of removes.
#[derive(Debug, Clone)]
enum Chunk {
    Adds(Range<usize>),
    Removes(Range<usize>),
}

impl<'a> Work<'a> {
    async fn new(storage: &'a Storage, env: &'a Env, contents: Contents) -> Result<Self> {
        let contents = Arc::new(contents);
        let sorting = Arc::clone(&contents);
        let adds = tokio::task::spawn_blocking(move || SortedAdds::new(&sorting)).await;
        let adds = adds.map_err(|source| DeltaError::Task { url: storage.url().to_owned(), source })?;
        Ok(Self { storage, env, head: contents.head(), contents, adds: Arc::new(adds) })
    }

    fn version(&self) -> u64 {
        self.contents.head.version
    }

    fn chunks(&self) -> Vec<Chunk> {
        let ranges = |len: usize| (0..len).step_by(CHUNK_ACTIONS).map(move |start| start..len.min(start + CHUNK_ACTIONS));
        let removes = ranges(self.contents.tombstones.len()).map(Chunk::Removes);
        ranges(self.adds.len()).map(Chunk::Adds).chain(removes).collect()
    }

    async fn classic(&self) -> Result<(LogFile, u64, Vec<Sidecar>)> {
        let file = LogFile::Checkpoint { version: self.version() };
        let path = log_path(&checkpoint_name(self.version()));
        let schema = self.schema(V1_COLUMNS);
        let names = ["txn", "metaData", "protocol", "domainMetadata"];
        let bytes = self.parquet(&path, &schema, self.head_rows(&path, &schema, &self.head, &names)?, self.chunks()).await?;
        Ok((file, bytes, Vec::new()))
    }

    async fn with_sidecars(&self, shape: Shape) -> Result<(LogFile, u64, Vec<Sidecar>)> {
        let mut sidecars = Vec::new();
        let schema = self.schema(SIDECAR_COLUMNS);
        for chunk in self.chunks() {
            let name = format!("{}.parquet", self.env.uuid());
            let path = log_path(&format!("{SIDECAR_FOLDER}/{name}"));
            let size_in_bytes = self.parquet(&path, &schema, None, vec![chunk]).await?;
            let modification_time = self.env.now_ms();
            sidecars.push(Sidecar { path: encode_path(&name), size_in_bytes, modification_time, tags: None });
        }
        let sizes: u64 = sidecars.iter().map(|sidecar| sidecar.size_in_bytes).sum();
        let tags = [
            ("sidecarNumActions", self.contents.file_actions().to_string()),
            ("sidecarSizeInBytes", sizes.to_string()),
            ("numOfAddFiles", self.adds.len().to_string()),
        ];
        let tags = tags.iter().map(|(key, value)| (*key, Some(value.as_str()))).collect();
        let mut actions: Vec<Action> = vec![CheckpointMetadata { version: self.version(), tags: Some(tags) }.into()];
        actions.extend(self.head.iter().cloned());
        actions.extend(sidecars.iter().cloned().map(Action::Sidecar));
        let (file, bytes) = if shape == Shape::Uuid {
            let (uuid, format) = (self.env.uuid(), CheckpointFormat::Json);
            let path = log_path(&uuid_checkpoint_name(self.version(), &uuid, format));
            let json = commit::to_json(&actions).on(self.storage.url())?;
            let bytes = json.len() as u64;
            self.storage.put_if_absent(&path, json).await?;
            (LogFile::UuidCheckpoint { version: self.version(), uuid, format }, bytes)
        } else {
            let path = log_path(&checkpoint_name(self.version()));
            let schema = self.schema(V2_COLUMNS);
            let first = self.head_rows(&path, &schema, &actions, V2_COLUMNS)?;
            (LogFile::Checkpoint { version: self.version() }, self.parquet(&path, &schema, first, Vec::new()).await?)
        };
        Ok((file, bytes + sizes, sidecars))
    }

    /// These columns; that of files as the table's properties want it.
    fn schema(&self, names: &[&str]) -> SchemaRef {
        let known = columns(names);
        let fields = known.fields().iter().map(|field| match field.name().as_str() {
            "add" => Arc::new(Field::new("add", DataType::Struct(self.adds.fields()), true)),
            _ => Arc::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The actions without files, as rows of a file with more columns.
    fn head_rows(&self, path: &str, schema: &SchemaRef, actions: &[Action], names: &[&str]) -> Result<Option<RecordBatch>> {
        let wide = || {
            let narrow = rows(actions, names)?;
            let columns = schema.fields().iter().map(|field| {
                let known = narrow.column_by_name(field.name()).map(Arc::clone);
                known.unwrap_or_else(|| arrow_array::new_null_array(field.data_type(), narrow.num_rows()))
            });
            RecordBatch::try_new(Arc::clone(schema), columns.collect())
        };
        wide().map(Some).map_err(|source| self.encode_error(path, source))
    }

    /// Writes a Parquet file.
    async fn parquet(&self, path: &str, schema: &SchemaRef, first: Option<RecordBatch>, chunks: Vec<Chunk>) -> Result<u64> {
        let mut file = ParquetFile::create(self.storage, path, Arc::clone(schema))?;
        let filled = async {
            file.write(first.into_iter().collect()).await?;
            // The next chunk is put together while this one is encoded.
            let batches = chunks.into_iter().map(|chunk| self.row_groups(path, schema, chunk));
            let mut batches = std::pin::pin!(futures::stream::iter(batches).buffered(2));
            while let Some(groups) = batches.try_next().await? {
                file.write(groups).await?;
            }
            Ok(())
        };
        match filled.await {
            Ok(()) => file.finish().await,
            Err(error) => {
                file.abort().await;
                Err(error)
            }
        }
    }

    async fn row_groups(&self, path: &str, schema: &SchemaRef, chunk: Chunk) -> Result<Vec<RecordBatch>> {
        let (contents, adds, wide) = (Arc::clone(&self.contents), Arc::clone(&self.adds), Arc::clone(schema));
        let made = tokio::task::spawn_blocking(move || {
            let (name, column): (&str, StructArray) = match chunk {
                Chunk::Adds(range) => ("add", adds.chunk(range)?),
                Chunk::Removes(range) => ("remove", contents.removes(range)?),
            };
            let column: ArrayRef = Arc::new(column);
            let slices = (0..column.len())
                .step_by(ROW_GROUP_ACTIONS)
                .map(|start| only(&wide, name, column.slice(start, ROW_GROUP_ACTIONS.min(column.len() - start))));
            slices.collect::<Result<Vec<_>, ArrowError>>()
        });
        let made = made.await.map_err(|source| DeltaError::Task { url: self.storage.url().to_owned(), source })?;
        made.map_err(|source| self.encode_error(path, source))
    }

    fn encode_error(&self, path: &str, source: ArrowError) -> DeltaError {
        DeltaError::Encode { url: self.storage.url().to_owned(), path: path.to_owned(), source: source.into() }
    }

    /// Reads the checkpoint as a reader would, and compares.
    async fn read_back(&self, file: &LogFile, bytes: u64) -> Result<()> {
        let checkpoint = Checkpoint { version: self.version(), files: vec![file.clone()] };
        let checkpoint = CheckpointFiles::new(checkpoint, |_| bytes);
        let head = checkpoint_read::head(self.storage, &checkpoint).await?;
        let head = head.iter().filter(|a| !matches!(a, Action::CheckpointMetadata(_) | Action::Sidecar(_))).count();
        let (mut files, mut size) = (0, 0_u64);
        for file in checkpoint_read::files(self.storage, &checkpoint).await? {
            for segment in checkpoint_read::adds(self.storage, &file, checkpoint_read::Columns::WithoutStats).await? {
                files += segment.len();
                size += (0..segment.len()).map(|row| segment.file(row).size_bytes()).sum::<u64>();
            }
        }
        let facts = [
            ("actions without files", self.head.len() as u64, head as u64),
            ("files", self.adds.len() as u64, files as u64),
            ("bytes of files", self.contents.files.size_bytes(), size),
        ];
        match facts.into_iter().find(|(_, written, found)| written != found) {
            None => Ok(()),
            Some((what, written, found)) => Err(DeltaError::CheckpointUnsound {
                url: self.storage.url().to_owned(),
                version: self.version(),
                what,
                written,
                found,
            }),
        }
    }

    /// Deletes a checkpoint that did not read back. Best effort.
    async fn discard(&self, file: &LogFile, sidecars: &[Sidecar]) {
        let main = match file {
            LogFile::UuidCheckpoint { version, uuid, format } => uuid_checkpoint_name(*version, uuid, *format),
            _ => checkpoint_name(self.version()),
        };
        let sidecars = sidecars.iter().map(|sidecar| format!("{SIDECAR_FOLDER}/{}", sidecar.path));
        for name in std::iter::once(main).chain(sidecars) {
            if let Err(error) = self.storage.delete(&log_path(&name)).await {
                tracing::warn!(table = self.storage.url(), name, %error, "a damaged checkpoint could not be deleted");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_that_is_written_is_in_the_schema_that_is_read() {
        for names in [V1_COLUMNS, V2_COLUMNS, SIDECAR_COLUMNS] {
            let known = columns(names);
            assert_eq!(known.fields().len(), names.len());
            assert!(known.fields().iter().all(|field| matches!(field.data_type(), DataType::Struct(_))));
        }
    }
}
