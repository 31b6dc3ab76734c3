//! Writers that append, delete and compact at once, for a minute of simulated time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use boathouse_base::{BatchStream, DomainError, Env, ErrorKind, ManualClock};
use boathouse_delta_table::{DataFile, DataWriter, DataWriterSettings, DeltaError, DeltaTable, FileRead, Snapshot, Transaction};
use boathouse_storage::Storage;
use boathouse_storage::testing::{LatencyProfile, LatencyStore, run_on_clock};

use super::{Bar, Claim, Peer, Run};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// Writers at once.
const WRITERS: u64 = 8;
/// Operations of each writer: two a second.
const OPERATIONS: u64 = 120;
const PAUSE: Duration = Duration::from_millis(500);
/// Rows of an append.
const ROWS: u64 = 10;
/// Files that a compaction puts together at most.
const COMPACTED: usize = 8;

pub(crate) struct Conflicts;

impl Claim for Conflicts {
    fn name(&self) -> &'static str {
        "conflicts"
    }

    fn sentence(&self) -> &'static str {
        "8 writers append, delete rows and compact at once on a store with the latency of a cloud, for 60 s of simulated time: \
         no append ever fails, and no row is lost or doubled"
    }

    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn bar(&self) -> Bar {
        Bar::default()
    }

    fn prepare(&self, _settings: &Settings, folder: &Path) -> Result<PathBuf> {
        Ok(folder.to_path_buf())
    }

    fn ours(&self, Run { seed, .. }: Run<'_>) -> Result<Measured> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let watch = Stopwatch::start()?;
        let clock = ManualClock::default();
        let rows = runtime.block_on(run_on_clock(&clock, run(clock.clone(), seed)))?;
        watch.stop(rows, 0)
    }
}

/// What the writers did, and the rows that must be there.
#[derive(Debug, Default)]
struct Ledger {
    appended: BTreeSet<i64>,
    /// A row may be deleted before whoever appended it has heard that it is there.
    deleted: BTreeSet<i64>,
    appends: u64,
    deletes: u64,
    compactions: u64,
    deletes_lost: u64,
    compactions_lost: u64,
}

async fn run(clock: ManualClock, seed: u64) -> Result<u64> {
    let sound = Storage::memory();
    let env = |nth: u64| Env::new(clock.clone(), seed.wrapping_mul(1000).wrapping_add(nth));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let first = DeltaTable::at(sound.clone(), env(0));
    first.append(rows(&[-1])?).create_if_absent().property("delta.enableDeletionVectors", "true").run().await?;
    let writers: Vec<_> = (1..=WRITERS)
        .map(|writer| {
            let storage = LatencyStore::wrap(&sound, env(0), LatencyProfile::default());
            let (table, ledger) = (DeltaTable::at(storage, env(writer)), Arc::clone(&ledger));
            tokio::spawn(async move { work(&table, writer, &ledger).await })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let ledger = std::mem::take(&mut *ledger.lock().unwrap_or_else(PoisonError::into_inner));
    let Ledger { appends, deletes, compactions, deletes_lost, compactions_lost, .. } = &ledger;
    let snapshot = DeltaTable::at(sound, env(99)).snapshot().await?;
    eprintln!(
        "{appends} appends, none failed; {deletes} deletes and {deletes_lost} conflicts; {compactions} compactions and {compactions_lost} \
         conflicts; {} versions in {} s",
        snapshot.version(),
        env(0).monotonic_us() / 1_000_000
    );
    let mut found = Vec::new();
    for file in snapshot.files(None).await? {
        found.extend(ids(&snapshot, &file).await?.into_iter().map(|(_, id)| id));
    }
    let once: BTreeSet<i64> = found.iter().copied().filter(|id| *id >= 0).collect();
    ensure!(once.len() + 1 == found.len(), "rows are doubled: {} of {}", found.len(), once.len() + 1);
    let expected: BTreeSet<i64> = ledger.appended.difference(&ledger.deleted).copied().collect();
    ensure!(once == expected, "rows are lost or came back: {} found, {} expected", once.len(), expected.len());
    ensure!(*deletes > 0 && *compactions > 0, "nothing but appends succeeded");
    Ok(appends * ROWS)
}

async fn work(table: &DeltaTable, writer: u64, ledger: &Mutex<Ledger>) -> Result<()> {
    let env = table.env().clone();
    let write = |change: &mut dyn FnMut(&mut Ledger)| change(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner));
    // What happens is the same in every run of a seed, when it happens is not: encoding runs on threads of its own.
    let plan: Vec<u64> = (0..OPERATIONS).map(|_| env.random_below(100)).collect();
    for (nth, chance) in (0_u64..).zip(plan) {
        env.sleep(PAUSE).await;
        match chance {
            0..60 => {
                let base = i64::try_from((writer * OPERATIONS + nth) * ROWS)?;
                let new: Vec<i64> = (base..).take(usize::try_from(ROWS)?).collect();
                table.append(rows(&new)?).run().await.context("an append failed")?;
                write(&mut |ledger| {
                    ledger.appended.extend(&new);
                    ledger.appends += 1;
                });
            }
            60..85 => match delete_one(table, &env).await? {
                Some(Ok(id)) => write(&mut |ledger| {
                    ledger.deleted.insert(id);
                    ledger.deletes += 1;
                }),
                Some(Err(_)) => write(&mut |ledger| ledger.deletes_lost += 1),
                None => {}
            },
            _ => match compact(table).await? {
                Some(Ok(())) => write(&mut |ledger| ledger.compactions += 1),
                Some(Err(_)) => write(&mut |ledger| ledger.compactions_lost += 1),
                None => {}
            },
        }
    }
    Ok(())
}

/// Deletes a row of some file. Nothing when there is none; an error inside is a conflict.
async fn delete_one(table: &DeltaTable, env: &Env) -> Result<Option<Result<i64, DeltaError>>> {
    let snapshot = table.snapshot().await?;
    let files = snapshot.files(None).await?;
    let file = &files[usize::try_from(env.random_below(files.len() as u64))?];
    let here: Vec<(u64, i64)> = ids(&snapshot, file).await?.into_iter().filter(|(_, id)| *id >= 0).collect();
    if here.is_empty() {
        return Ok(None);
    }
    let (row, id) = here[usize::try_from(env.random_below(here.len() as u64))?];
    let delete = Transaction::begin(&snapshot).delete_rows(file, [row]).operation("DELETE", []);
    Ok(Some(lost(delete.commit().await)?.map(|()| id)))
}

/// Puts a few files together.
async fn compact(table: &DeltaTable) -> Result<Option<Result<(), DeltaError>>> {
    let snapshot = table.snapshot().await?;
    let mut files = snapshot.files(None).await?;
    files.retain(|file| file.row_count().is_some_and(|rows| rows > 0));
    files.sort_by_key(DataFile::size_bytes);
    files.truncate(COMPACTED);
    if files.len() < 2 {
        return Ok(None);
    }
    let mut writer = DataWriter::new(&snapshot, DataWriterSettings::default())?;
    for file in &files {
        let mut rows = snapshot.read_file(file, FileRead::default())?;
        while let Some(batch) = rows.next().await {
            writer.write(&batch?).await?;
        }
    }
    let add = writer.finish().await?.adds.pop().context("a compaction writes a file")?;
    let compaction = Transaction::begin(&snapshot).operation("OPTIMIZE", []).concatenate(&files, add)?;
    Ok(Some(lost(compaction.commit().await)?))
}

/// A conflict may be; everything else may not.
fn lost<T>(result: Result<T, DeltaError>) -> Result<Result<(), DeltaError>> {
    match result {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

/// Row numbers and ids of a file, without deleted rows.
async fn ids(snapshot: &Snapshot, file: &DataFile) -> Result<Vec<(u64, i64)>> {
    let read = FileRead { row_index: Some("row".to_owned()), ..FileRead::default() };
    let mut rows = snapshot.read_file(file, read)?;
    let mut found = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let column = |name: &str| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>().cloned());
        let (Some(ids), Some(places)) = (column("id"), column("row")) else { continue };
        for (place, id) in places.values().iter().zip(ids.values()) {
            found.push((u64::try_from(*place)?, *id));
        }
    }
    Ok(found)
}

fn rows(ids: &[i64]) -> Result<BatchStream> {
    let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef)])?;
    Ok(BatchStream::from_batches(batch.schema(), vec![batch]))
}
