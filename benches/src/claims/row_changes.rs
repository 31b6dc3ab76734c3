//! DELETE, UPDATE and MERGE of a few rows in twelve files, and reading what they changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use boathouse_base::BatchStream;
use boathouse_delta_core::{DeltaTable, DeltaTableExt, MergeReport};
use boathouse_storage::{Location, Storage, system_env};
use datafusion::execution::options::ArrowReadOptions;
use datafusion::prelude::{DataFrame, SessionContext};

use super::{Bar, Claim, Peer, Run};
use crate::data;
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// Files of the table.
const FILES: usize = 12;
/// Versions whose changes are read.
const VERSIONS: usize = 100;
/// Rows that each of them adds, and updates.
const VERSION_ROWS: usize = 10_000;
/// Which rows: about one in a thousand, in each file.
const SCATTERED: &str = "l_orderkey % 1000 = 7";
const KEYS: &str = "t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowChanges {
    DeleteScattered,
    UpdateScattered,
    Upsert1,
    Upsert10,
    Merge200,
    InsertOnly,
    Cdf,
}

impl RowChanges {
    pub(crate) const ALL: [Self; 7] = [
        Self::DeleteScattered,
        Self::UpdateScattered,
        Self::Upsert1,
        Self::Upsert10,
        Self::Merge200,
        Self::InsertOnly,
        Self::Cdf,
    ];

    /// Of so many rows of the table the source has one, and of so many a new one.
    fn source(self, rows: usize) -> Option<(usize, usize)> {
        match self {
            Self::Upsert1 => Some((200, 200)),
            Self::Upsert10 => Some((20, 20)),
            Self::Merge200 => Some(((rows / 200).max(1), usize::MAX)),
            Self::InsertOnly => Some((usize::MAX, 20)),
            Self::DeleteScattered | Self::UpdateScattered | Self::Cdf => None,
        }
    }
}

impl Claim for RowChanges {
    fn name(&self) -> &'static str {
        match self {
            Self::DeleteScattered => "delete-scattered",
            Self::UpdateScattered => "update-scattered",
            Self::Upsert1 => "merge-upsert-1pct",
            Self::Upsert10 => "merge-upsert-10pct",
            Self::Merge200 => "merge-200",
            Self::InsertOnly => "merge-insert-only",
            Self::Cdf => "cdf",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::DeleteScattered => {
                "DELETE 0.1 % of 6 M rows, some in each of 12 files: at most 0.1 of the CPU time of deltalake"
            }
            Self::UpdateScattered => {
                "UPDATE 0.1 % of 6 M rows, some in each of 12 files: at most 0.15 of the CPU time of deltalake"
            }
            Self::Upsert1 => {
                "MERGE 1 % into 6 M rows, half of it new: at most 0.2 of the CPU time and a quarter of the memory of deltalake"
            }
            Self::Upsert10 => {
                "MERGE 10 % into 6 M rows, half of it new: at most 0.35 of the CPU time and a quarter of the memory of deltalake"
            }
            Self::Merge200 => "MERGE 200 rows that are spread over 12 files of 6 M: at most 0.12 of the CPU time of deltalake",
            Self::InsertOnly => "MERGE 5 % new rows into 6 M without changing any: at most 0.33 of the CPU time of deltalake",
            Self::Cdf => "read what 100 versions changed, half of them updates: at most half the CPU time of deltalake",
        }
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Python { package: "deltalake", script: "row_changes.py" }]
    }

    fn bar(&self) -> Bar {
        let (cpu, rss) = match self {
            Self::DeleteScattered => (0.1, None),
            Self::UpdateScattered => (0.15, None),
            Self::Upsert1 => (0.2, Some(0.25)),
            Self::Upsert10 => (0.35, Some(0.25)),
            Self::Merge200 => (0.12, None),
            Self::InsertOnly => (0.33, None),
            Self::Cdf => (0.5, None),
        };
        let rss_mb = (*self == Self::Merge200).then_some(300.0);
        Bar { cpu_ratio: Some(cpu), rss_ratio: rss, rss_mb, ..Bar::default() }
    }

    /// A folder with the tables `ours` and `peer`, of the same rows, and the `source.arrow` of a merge.
    fn prepare(&self, settings: &Settings, folder: &Path) -> Result<PathBuf> {
        let lineitem = data::lineitem(folder, settings.scale)?;
        let done = folder.join(format!("{}-{}", self.name(), settings.scale));
        if done.exists() {
            return Ok(done);
        }
        eprintln!("making {} (once)", done.display());
        let part = done.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let rows = data::open(&lineitem)?.1.try_fold(0, |rows, batch| anyhow::Ok(rows + batch?.num_rows()))?;
        runtime.block_on(async {
            match self {
                Self::Cdf => make_versions(&lineitem, &part).await,
                _ => {
                    make_table(&lineitem, &part.join("ours"), rows, FILES, true).await?;
                    make_table(&lineitem, &part.join("peer"), rows, FILES, false).await
                }
            }
        })?;
        if let Some((old, new)) = self.source(rows) {
            make_source(&lineitem, &part.join("source.arrow"), old, new)?;
        }
        fs::rename(&part, &done).with_context(|| format!("rename {}", part.display()))?;
        Ok(done)
    }

    fn ours(&self, Run { data, output, .. }: Run<'_>) -> Result<Measured> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        link(&data.join("ours"), output)?;
        let table = DeltaTable::at(Storage::open(&Location::from_path(output)?)?, system_env());
        let before = size(output)?;
        // The rows of the source as they are read: neither side has to hold them.
        let source = || -> Result<DataFrame> {
            let path = data.join("source.arrow");
            let path = path.to_str().context("the folder of the data is not UTF-8")?;
            Ok(runtime.block_on(SessionContext::new().read_arrow(path, ArrowReadOptions::default()))?)
        };
        let changed = |report: MergeReport| report.rows_updated + report.rows_inserted;
        let (watch, rows) = match self {
            Self::DeleteScattered => {
                let watch = Stopwatch::start()?;
                let report = runtime.block_on(table.delete().filter(SCATTERED).run())?;
                (watch, report.rows_deleted.unwrap_or_default())
            }
            Self::UpdateScattered => {
                let watch = Stopwatch::start()?;
                let update = table.update().set("l_comment", "'changed'").filter(SCATTERED);
                (watch, runtime.block_on(update.run())?.rows_updated)
            }
            Self::Upsert1 | Self::Upsert10 | Self::Merge200 => {
                let source = source()?;
                let watch = Stopwatch::start()?;
                let merge = table.merge(source, KEYS).when_matched_update_all().when_not_matched_insert_all();
                (watch, changed(runtime.block_on(merge.run())?))
            }
            Self::InsertOnly => {
                let source = source()?;
                let watch = Stopwatch::start()?;
                (watch, changed(runtime.block_on(table.merge(source, KEYS).when_not_matched_insert_all().run())?))
            }
            Self::Cdf => {
                let watch = Stopwatch::start()?;
                let rows = runtime.block_on(async {
                    let (mut changes, mut rows) = (table.changes(1..).with_views().read().await?, 0);
                    while let Some(batch) = changes.next().await {
                        rows += batch?.num_rows() as u64;
                    }
                    anyhow::Ok(rows)
                })?;
                (watch, rows)
            }
        };
        watch.stop(rows, size(output)?.saturating_sub(before))
    }
}

fn table_at(path: &Path) -> Result<DeltaTable> {
    Ok(DeltaTable::at(Storage::open(&Location::from_path(path)?)?, system_env()))
}

/// The rows in so many files.
pub(super) async fn make_table(lineitem: &Path, path: &Path, rows: usize, wanted: usize, vectors: bool) -> Result<()> {
    let table = table_at(path)?;
    let (schema, batches) = data::open(lineitem)?;
    let each = rows.div_ceil(wanted);
    let (mut waiting, mut held) = (Vec::new(), 0);
    for batch in batches {
        let mut batch = batch?;
        while held + batch.num_rows() >= each {
            let fits = each - held;
            waiting.push(batch.slice(0, fits));
            batch = batch.slice(fits, batch.num_rows() - fits);
            append(&table, &schema, std::mem::take(&mut waiting), vectors).await?;
            held = 0;
        }
        held += batch.num_rows();
        waiting.push(batch);
    }
    if held > 0 {
        append(&table, &schema, waiting, vectors).await?;
    }
    let files = table.snapshot().await?.file_count().await?;
    ensure!(files == wanted, "the table has {files} files, not {wanted}");
    Ok(())
}

async fn append(table: &DeltaTable, schema: &SchemaRef, batches: Vec<RecordBatch>, vectors: bool) -> Result<()> {
    let rows = BatchStream::from_batches(Arc::clone(schema), batches);
    let write = table.append(rows).create_if_absent();
    let write = if vectors { write.property("delta.enableDeletionVectors", "true") } else { write };
    write.run().await?;
    Ok(())
}

/// A table whose versions by turns add rows and update them. Both sides read the same one.
async fn make_versions(lineitem: &Path, folder: &Path) -> Result<()> {
    let table = table_at(&folder.join("ours"))?;
    let (schema, mut batches) = data::open(lineitem)?;
    let first = batches.next().context("lineitem has rows")??;
    let rows = |from: usize, len: usize| BatchStream::from_batches(Arc::clone(&schema), vec![first.slice(from, len)]);
    table.append(rows(0, 1)).property("delta.enableChangeDataFeed", "true").run().await?;
    let most = first.num_rows().saturating_sub(VERSION_ROWS).max(1);
    for version in 0..VERSIONS / 2 {
        table.append(rows(version * 331 % most, VERSION_ROWS.min(first.num_rows()))).run().await?;
        let update = table.update().set("l_comment", format!("'version {version}'")).filter("l_linenumber = 1");
        update.run().await?;
    }
    copy(&folder.join("ours"), &folder.join("peer"))
}

/// Every `old`-th row with another comment, and after every `new`-th a row that the table does not have.
fn make_source(lineitem: &Path, path: &Path, old: usize, new: usize) -> Result<()> {
    let (schema, batches) = data::open(lineitem)?;
    let mut writer = FileWriter::try_new(fs::File::create(path)?, &schema)?;
    let mut at = 0;
    for batch in batches {
        let batch = batch?;
        let every = |n: usize, offset: usize| -> BooleanArray {
            (at..at + batch.num_rows()).map(|row| Some(n != usize::MAX && row % n == offset % n)).collect()
        };
        writer.write(&filter_record_batch(&batch, &every(old, 0))?)?;
        let fresh = filter_record_batch(&batch, &every(new, 1))?;
        let keys = fresh.column_by_name("l_orderkey").and_then(|keys| keys.as_primitive_opt::<Int64Type>().cloned());
        let keys = keys.context("l_orderkey is a number")?;
        // Between the keys that TPC-H leaves free: pruning by ranges must not find it easy.
        let moved: Int64Array = keys.values().iter().map(|key| Some(key | 24)).collect();
        let column = schema.index_of("l_orderkey")?;
        let mut columns: Vec<ArrayRef> = fresh.columns().to_vec();
        columns[column] = Arc::new(moved);
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        at += batch.num_rows();
    }
    writer.finish()?;
    Ok(())
}

/// The same table at another place. Data files never change: a second name is enough. The log is copied.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    each_file(from, to, &|from, to, log| if log { fs::copy(from, to).map(|_| ()) } else { fs::hard_link(from, to) })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    each_file(from, to, &|from, to, _| fs::copy(from, to).map(|_| ()))
}

fn each_file(from: &Path, to: &Path, make: &dyn Fn(&Path, &Path, bool) -> std::io::Result<()>) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let (path, to) = (entry?.path(), to);
        let to = to.join(path.file_name().context("a file has a name")?);
        if path.is_dir() {
            each_file(&path, &to, make)?;
        } else {
            let log = path.components().any(|part| part.as_os_str() == "_delta_log");
            make(&path, &to, log).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// Bytes of all files.
pub(super) fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        bytes += if path.is_dir() { size(&path)? } else { fs::metadata(&path)?.len() };
    }
    Ok(bytes)
}
