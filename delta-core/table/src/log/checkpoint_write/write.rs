//! One checkpoint: encoded, uploaded, read back, pointed to.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use boathouse_base::{DomainError, Env, ErrorKind};
use boathouse_delta_protocol::action::{Action, CheckpointMetadata, Sidecar, encode_path};
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::log_path::{
    Checkpoint, CheckpointFormat, LastCheckpoint, LogFile, SIDECAR_FOLDER, checkpoint_name, uuid_checkpoint_name,
};
use boathouse_storage::Storage;
use parquet::errors::ParquetError;

use super::super::checkpoint_read::{self, CheckpointFiles};
use super::super::files::LazyFiles;
use super::super::list::log_path;
use super::adds::SortedAdds;
use super::contents::{Contents, columns, only, rows};
use super::parquet_file::{ParquetFile, RowGroup, StatsColumn};
use super::pointer;
use super::texts::Texts;
use crate::error::{DeltaError, OnTable, Result};
use crate::processor::{Amount, compute};

/// Files whose statistics are in memory as text at once.
const PASS_FILES: usize = if cfg!(test) { 14 } else { 1_000_000 };
/// Actions of a sidecar; a pass is a whole number of them.
const SIDECAR_ACTIONS: usize = if cfg!(test) { 7 } else { 250_000 };
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
pub(crate) async fn write_checkpoint(
    storage: &Storage,
    env: &Env,
    contents: Contents,
    stats: &LazyFiles,
    shape: Shape,
) -> Result<Written> {
    let work = Work::new(storage, env, contents, stats).await?;
    let (file, bytes, sidecars) = match shape {
        Shape::Classic => work.classic().await?,
        Shape::ClassicV2 | Shape::Uuid => work.with_sidecars(shape).await?,
    };
    if let Err(error) = work.read_back(&file, bytes - sidecars.iter().map(|s| s.size_in_bytes).sum::<u64>()).await {
        // Nobody was pointed to it. A reader that finds it in a listing falls back, as from every damaged checkpoint.
        // An error of the store says nothing of the file, which may be that of another writer by now: it stays.
        if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Internal) {
            work.discard(&file, &sidecars).await;
        }
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
    stats: &'a LazyFiles,
    /// The statistics of this pass.
    texts: tokio::sync::Mutex<Option<(usize, Arc<Texts>)>>,
}

/// Rows of adds, or of removes.
#[derive(Debug, Clone)]
enum Chunk {
    Adds(Range<usize>),
    Removes(Range<usize>),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Adds(range) | Self::Removes(range) => range.len(),
        }
    }
}

impl<'a> Work<'a> {
    async fn new(storage: &'a Storage, env: &'a Env, contents: Contents, stats: &'a LazyFiles) -> Result<Self> {
        let contents = Arc::new(contents);
        let sorting = Arc::clone(&contents);
        let adds = compute(Amount::of_actions(contents.file_actions()), move || SortedAdds::new(&sorting));
        let sorted = async { adds.await.map_err(|source| DeltaError::Task { url: storage.url().to_owned(), source }) };
        // All files in one pass: which ones need not be known.
        let first = async {
            let all = contents.files.len() <= PASS_FILES && contents.has_stats();
            let texts = if all { Some(Texts::collect(storage, &contents.files, stats, None).await?) } else { None };
            Ok(texts.map(|texts| (0, Arc::new(texts))))
        };
        let (adds, texts) = futures::try_join!(sorted, first)?;
        let (adds, texts, head) = (Arc::new(adds), tokio::sync::Mutex::new(texts), contents.head());
        Ok(Self { storage, env, head, contents, adds, stats, texts })
    }

    /// The statistics of the files at these places, and of others of the same pass.
    async fn texts(&self, range: &Range<usize>) -> Result<Arc<Texts>> {
        if !self.contents.has_stats() {
            return Ok(Arc::default());
        }
        let pass = range.start / PASS_FILES;
        let mut known = self.texts.lock().await;
        if let Some((of, texts)) = known.as_ref()
            && *of == pass
        {
            return Ok(Arc::clone(texts));
        }
        *known = None;
        let wanted = self.adds.wanted(pass * PASS_FILES..self.adds.len().min((pass + 1) * PASS_FILES));
        let texts = Texts::collect(self.storage, &self.contents.files, self.stats, Some(Arc::new(wanted))).await?;
        let (_, texts) = known.insert((pass, Arc::new(texts)));
        Ok(Arc::clone(texts))
    }

    fn version(&self) -> u64 {
        self.contents.head.version
    }

    /// Everything, in steps of so many actions. A step lies within one pass.
    fn chunks(&self, step: usize) -> Vec<Chunk> {
        let ranges = |len: usize| (0..len).step_by(step).map(move |start| start..len.min(start + step));
        let removes = ranges(self.contents.tombstones.len()).map(Chunk::Removes);
        ranges(self.adds.len()).map(Chunk::Adds).chain(removes).collect()
    }

    async fn classic(&self) -> Result<(LogFile, u64, Vec<Sidecar>)> {
        let file = LogFile::Checkpoint { version: self.version() };
        let path = log_path(&checkpoint_name(self.version()));
        let schema = self.schema(V1_COLUMNS);
        let names = ["txn", "metaData", "protocol", "domainMetadata"];
        let bytes =
            self.parquet(&path, &schema, self.head_rows(&path, &schema, &self.head, &names)?, self.chunks(PASS_FILES)).await?;
        Ok((file, bytes, Vec::new()))
    }

    async fn with_sidecars(&self, shape: Shape) -> Result<(LogFile, u64, Vec<Sidecar>)> {
        let mut sidecars = Vec::new();
        let schema = self.schema(SIDECAR_COLUMNS);
        for chunk in self.chunks(SIDECAR_ACTIONS) {
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
            let amount = Amount::of_actions(first.as_ref().map_or(0, RecordBatch::num_rows));
            let head = first.into_iter().map(|rows| move |_: Option<StatsColumn<'_>>| Ok(RowGroup { rows, stats: None }));
            file.write(head.collect(), amount).await?;
            for chunk in chunks {
                let amount = Amount::of_actions(chunk.len());
                file.write(self.row_groups(schema, chunk).await?, amount).await?;
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

    /// How the row groups of a chunk are made.
    async fn row_groups(
        &self,
        schema: &SchemaRef,
        chunk: Chunk,
    ) -> Result<Vec<impl FnOnce(Option<StatsColumn<'_>>) -> Result<RowGroup, ParquetError> + Send + 'static + use<>>> {
        let (range, texts) = match &chunk {
            Chunk::Adds(range) => (range.clone(), Some(self.texts(range).await?)),
            Chunk::Removes(range) => (range.clone(), None),
        };
        let groups = range.clone().step_by(ROW_GROUP_ACTIONS).map(move |start| start..range.end.min(start + ROW_GROUP_ACTIONS));
        let make = |group: Range<usize>| {
            let (contents, adds, schema, texts) =
                (Arc::clone(&self.contents), Arc::clone(&self.adds), Arc::clone(schema), texts.clone());
            move |mut column: Option<StatsColumn<'_>>| match texts {
                Some(texts) => {
                    let files = adds.chunk(group, &texts, column.as_mut())?;
                    let stats = column.map(StatsColumn::close).transpose()?;
                    Ok(RowGroup { rows: only(&schema, "add", Arc::new(files))?, stats })
                }
                None => Ok(RowGroup { rows: only(&schema, "remove", Arc::new(contents.removes(group)?))?, stats: None }),
            }
        };
        Ok(groups.map(make).collect())
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
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use arrow_array::{ArrayRef, Int64Array};
    use boathouse_storage::system_env;

    use super::*;
    use crate::table::DeltaTable;
    use crate::upkeep::UpkeepSettings;

    async fn statistics(table: &DeltaTable) -> BTreeMap<String, Option<String>> {
        let index = table.snapshot().await.unwrap().index_with_stats().await.unwrap();
        index.iter().map(|file| (file.path().to_owned(), file.stats())).collect()
    }

    #[tokio::test]
    async fn a_list_longer_than_a_pass_keeps_the_statistics_of_every_file() {
        let storage = Storage::memory();
        let open = || DeltaTable::at(storage.clone(), system_env()).with_upkeep(UpkeepSettings::none());
        let table = open();
        for id in 0..40 {
            let ids: ArrayRef = Arc::new(Int64Array::from(vec![id, 1000 + id]));
            let rows = RecordBatch::try_from_iter([("id", ids)]).unwrap();
            table.append(rows.into()).create_if_absent().run().await.unwrap();
        }
        let before = statistics(&table).await;
        assert_eq!(before.len(), 40);
        assert!(before.values().all(Option::is_some));
        // From commits, and from the checkpoint that was written before.
        for _ in 0..2 {
            let report = open().checkpoint().run().await.unwrap();
            assert_eq!(report.files, 40);
            assert_eq!(statistics(&open()).await, before);
        }
    }

    #[test]
    fn every_column_that_is_written_is_in_the_schema_that_is_read() {
        for names in [V1_COLUMNS, V2_COLUMNS, SIDECAR_COLUMNS] {
            let known = columns(names);
            assert_eq!(known.fields().len(), names.len());
            assert!(known.fields().iter().all(|field| matches!(field.data_type(), DataType::Struct(_))));
        }
    }
}
