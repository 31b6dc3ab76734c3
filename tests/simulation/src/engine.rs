//! How the engine under test does what an intent means. Everything that is asked of it stands here.

use std::collections::BTreeMap;
use std::num::NonZero;

use arrow_schema::ArrowError;
use boathouse_base::{AppTransaction, Comparison, DomainError, Env, Predicate, ScanRequest, TableVersion};
use boathouse_delta_table::protocol::action::Metadata;
use boathouse_delta_table::protocol::features::RowChange;
use boathouse_delta_table::{
    DataFile, DataWriter, DataWriterSettings, DeltaError, DeltaTable, FileRead, Retention, RowOrigins, Snapshot, Transaction,
    UpkeepSettings, UpkeepTime, WrittenFiles,
};
use boathouse_storage::Storage;

use crate::data_files::{Part, Row, batch, numbers_of, rows_of, schema, stream};
use crate::intent::{COUNTER, Intent, count};
use crate::ledger::{Ledger, Observation, Outcome};
use crate::sabotage::Sabotage;
use crate::world::World;

type Result<T> = std::result::Result<T, DeltaError>;

/// The properties of the simulated table, isolation aside. Files that left are kept for an hour.
const PROPERTIES: [(&str, &str); 1] = [("delta.deletedFileRetentionDuration", "interval 1 hour")];

/// A handle on the table. What comes after its commits is done before they return: a task beside the actors would not be
/// in the hands of the schedule.
pub(crate) fn open(storage: Storage, env: Env) -> DeltaTable {
    DeltaTable::at(storage, env).with_upkeep(UpkeepSettings { when: UpkeepTime::BeforeReturn, ..UpkeepSettings::default() })
}

/// Creates the table.
pub(crate) async fn create(table: &DeltaTable, properties: &BTreeMap<String, String>) -> Result<()> {
    let mut create = table.create(schema()).partition_by(["part"]);
    for (key, value) in PROPERTIES {
        create = create.property(key, value);
    }
    for (key, value) in properties {
        create = create.property(key, value);
    }
    create.run().await.map(drop)
}

/// An actor at one operation.
pub(crate) struct Hand<'a> {
    pub(crate) world: &'a World,
    pub(crate) table: &'a DeltaTable,
    pub(crate) ledger: &'a Ledger,
    pub(crate) op: usize,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Hand<'_> {
    /// Does it, and says what came of it.
    pub(crate) async fn perform(&self, intent: &Intent) -> Result<Outcome> {
        let url = self.table.url().to_owned();
        let input = |source: ArrowError| DeltaError::Compute { attempted: "simulate", url: url.clone(), source };
        let label = format!("op {}", self.op);
        let written = |version| Ok(Outcome::Committed { version });
        match intent {
            Intent::Append { rows } => {
                let write = self.table.append(stream(rows).map_err(input)?).commit_metadata("userMetadata", label);
                written(write.with_writer_settings(settings()).run().await?.version)
            }
            Intent::AppendOnce { app, number, rows } => {
                let app = AppTransaction { app_id: (*app).to_owned(), version: *number, payload: None };
                let write = self.table.append(stream(rows).map_err(input)?).commit_metadata("userMetadata", label);
                let report = write.app_transaction(app).with_writer_settings(settings()).run().await?;
                if report.skipped { Ok(Outcome::Skipped) } else { written(report.version) }
            }
            Intent::ReplaceAll { rows } => {
                let write = self.table.overwrite(stream(rows).map_err(input)?).commit_metadata("userMetadata", label);
                written(write.with_writer_settings(settings()).run().await?.version)
            }
            Intent::ReplacePart { part, rows } => {
                let write = self.table.overwrite(stream(rows).map_err(input)?).replace_where(in_part(*part));
                let write = write.commit_metadata("userMetadata", label).with_writer_settings(settings());
                written(write.run().await?.version)
            }
            Intent::DeletePart { part } => self.delete_part(*part).await,
            Intent::DeleteRange { low, high } => self.delete_range(*low, *high).await,
            Intent::Mark { low, high } => self.mark(*low, *high).await,
            Intent::Burst { rows } => self.burst(rows).await,
            Intent::Raise { part } => self.raise(*part).await,
            Intent::Count { of, id, into } => self.count(*of, *id, *into).await,
            Intent::Bump => self.bump().await,
            Intent::Compact { part } => self.compact(*part).await,
            Intent::Restore { back } => {
                let now = self.newest(None).await?;
                let Some(target) = now.version().checked_sub(*back) else { return Ok(Outcome::Nothing) };
                self.ledger.change(self.op, |attempt| attempt.restored = Some(target));
                written(self.table.restore(TableVersion::Number(target)).run().await?.version)
            }
            Intent::Checkpoint => {
                self.table.checkpoint().await?;
                Ok(Outcome::Nothing)
            }
            Intent::Vacuum => {
                let retention = match self.sabotage {
                    Some(Sabotage::GreedyVacuum) => Retention::Unsafe(std::time::Duration::ZERO),
                    _ => Retention::Table,
                };
                self.table.vacuum().unrecorded().retention(retention).run().await?;
                Ok(Outcome::Nothing)
            }
            Intent::Read { nap_us } => {
                self.newest(Some(*nap_us)).await?;
                Ok(Outcome::Nothing)
            }
            Intent::ReadOld { back } => {
                let now = self.newest(None).await?;
                let version = now.version().saturating_sub(*back);
                let then = self.table.snapshot_at(TableVersion::Number(version)).await?;
                self.observe(&then, None, Some(0)).await?;
                Ok(Outcome::Nothing)
            }
        }
    }

    async fn delete_part(&self, part: Part) -> Result<Outcome> {
        let now = self.newest(None).await?;
        let files = files(&now, Some(&in_part(part))).await?;
        if files.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let delete = self.begin(&now, "DELETE", Some(in_part(part))).remove_all(&files);
        committed(delete).await
    }

    async fn delete_range(&self, low: i64, high: i64) -> Result<Outcome> {
        let now = self.newest(None).await?;
        let range = Predicate::compare("id", Comparison::GtEq, low).and(Predicate::compare("id", Comparison::LtEq, high));
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for file in files(&now, Some(&range)).await? {
            let rows = rows_of_file(&now, &file).await?;
            let stay: Vec<Held> = rows.iter().filter(|held| held.row.id < low || held.row.id > high).copied().collect();
            if stay.len() < rows.len() {
                kept.extend(stay);
                gone.push(file);
            }
        }
        if gone.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let written = Self::write_again(&now, &kept).await?;
        let delete = self.begin(&now, "DELETE", Some(range)).read_files_unless(self.sabotage, &gone);
        committed(delete.row_change(RowChange::Rewrite).remove_all(&gone).add_written(&written)?).await
    }

    async fn mark(&self, low: i64, high: i64) -> Result<Outcome> {
        let now = self.newest(None).await?;
        let range = Predicate::compare("id", Comparison::GtEq, low).and(Predicate::compare("id", Comparison::LtEq, high));
        let (mut delete, mut any) = (self.begin(&now, "DELETE", Some(range.clone())).row_change(RowChange::Rewrite), false);
        for file in files(&now, Some(&range)).await? {
            let read = FileRead { row_index: Some("at".to_owned()), ..FileRead::default() };
            let mut batches = now.read_file(&file, read)?;
            let mut places = Vec::new();
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(|source| DeltaError::Input { url: now.url().to_owned(), source })?;
                let rows = rows_of(&batch).into_iter().flatten().zip(numbers_of(&batch, "at").into_iter().flatten());
                places.extend(rows.filter(|(row, _)| row.id >= low && row.id <= high).map(|(_, at)| at.cast_unsigned()));
            }
            if !places.is_empty() {
                any = true;
                delete = delete.delete_rows(&file, places);
            }
        }
        if any { committed(delete).await } else { Ok(Outcome::Nothing) }
    }

    /// Appends each row by itself. They share the table handle, so they may share commits; none has facts of its own.
    async fn burst(&self, rows: &[Row]) -> Result<Outcome> {
        let appends = rows.iter().map(|row| async move {
            let url = || self.table.url().to_owned();
            let input = stream(&[*row]).map_err(|source| DeltaError::Compute { attempted: "simulate", url: url(), source });
            let append = async { self.table.append(input?).with_writer_settings(settings()).run().await };
            let outcome = told(append.await.map(|report| Outcome::Committed { version: report.version }));
            if let Outcome::Committed { version } = &outcome {
                let mut inside = self.world.lock();
                inside.acknowledged = inside.acknowledged.max(Some(*version));
            }
            self.ledger.change(self.op, |attempt| drop(attempt.members.insert(row.id, outcome)));
        });
        futures::future::join_all(appends).await;
        Ok(Outcome::Nothing)
    }

    async fn raise(&self, part: Part) -> Result<Outcome> {
        let now = self.newest(None).await?;
        let files = files(&now, Some(&in_part(part))).await?;
        if files.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let mut rows = rows_of_files(&now, &files).await?;
        for held in &mut rows {
            held.row.value += 1;
            // A row that is changed gets the version of the change.
            held.origin = held.origin.map(|(id, _)| (id, None));
        }
        let written = Self::write_again(&now, &rows).await?;
        let update = self.begin(&now, "UPDATE", Some(in_part(part))).row_change(RowChange::Rewrite);
        committed(update.remove_all(&files).add_written(&written)?).await
    }

    async fn count(&self, of: Part, id: i64, into: Part) -> Result<Outcome> {
        let now = self.newest(None).await?;
        let mut rows = now.scan(ScanRequest::default().filter(in_part(of)))?;
        let mut counted = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|source| DeltaError::Input { url: now.url().to_owned(), source })?;
            counted += rows_of(&batch).into_iter().flatten().filter(|row| row.part == of).count() as i64;
        }
        let written = write(&now, &[Row { id, part: into, value: counted }]).await?;
        committed(self.begin(&now, "MERGE", Some(in_part(of))).add_written(&written)?).await
    }

    async fn bump(&self) -> Result<Outcome> {
        let now = self.newest(None).await?;
        let mut metadata: Metadata = now.metadata().clone();
        let next = count(&metadata.configuration) + 1;
        metadata.configuration.insert(COUNTER.to_owned(), next.to_string());
        let change = self.begin(&now, "SET TBLPROPERTIES", None);
        let change = if self.sabotage == Some(Sabotage::UndeclaredReads) { change } else { change.read_metadata() };
        committed(change.set_metadata(metadata)).await
    }

    async fn compact(&self, part: Part) -> Result<Outcome> {
        let now = self.newest(None).await?;
        let files = files(&now, Some(&in_part(part))).await?;
        if files.len() < 2 {
            return Ok(Outcome::Nothing);
        }
        let rows = rows_of_files(&now, &files).await?;
        let mut written = Self::write_again(&now, &rows).await?;
        let compact = self.begin(&now, "OPTIMIZE", None);
        let compact = if written.keeps_row_ids { compact.keeps_row_ids() } else { compact };
        match (written.adds.pop(), written.adds.is_empty()) {
            // One file after the other: whoever marks rows of one of them meanwhile can follow.
            (Some(add), true) => committed(compact.concatenate(&files, add)?).await,
            _ => Ok(Outcome::Nothing),
        }
    }

    /// Writes rows that were in the table before.
    async fn write_again(now: &Snapshot, rows: &[Held]) -> Result<WrittenFiles> {
        let origins: Option<Vec<_>> = rows.iter().map(|held| held.origin).collect();
        let rows: Vec<Row> = rows.iter().map(|held| held.row).collect();
        let Some(origins) = origins.filter(|origins| !origins.is_empty()) else { return write(now, &rows).await };
        let ids = origins.iter().map(|(id, _)| Some(*id)).collect();
        let origins = RowOrigins::copied(ids, origins.iter().map(|(_, version)| *version).collect());
        let url = || now.url().to_owned();
        let batch = batch(&rows).map_err(|source| DeltaError::Compute { attempted: "simulate", url: url(), source })?;
        let mut writer = DataWriter::new(now, settings())?;
        writer.write_changed_from(&batch, &origins).await?;
        writer.finish().await
    }

    fn begin(&self, now: &Snapshot, name: &str, read: Option<Predicate>) -> Transaction {
        let label = BTreeMap::from([("userMetadata".to_owned(), format!("op {}", self.op))]);
        let transaction = Transaction::begin(now).operation(name, []).commit_metadata(&label);
        match read {
            Some(read) if self.sabotage != Some(Sabotage::UndeclaredReads) => transaction.read_predicate(read),
            _ => transaction,
        }
    }

    /// The newest snapshot, noted; with `nap_us`, after that time its rows as well.
    async fn newest(&self, nap_us: Option<u64>) -> Result<Snapshot> {
        let since = self.world.lock().acknowledged;
        let now = self.table.snapshot().await?;
        self.observe(&now, Some(since), nap_us).await?;
        Ok(now)
    }

    async fn observe(&self, snapshot: &Snapshot, newest_since: Option<Option<u64>>, nap_us: Option<u64>) -> Result<()> {
        let mut observation = observation(snapshot).await?;
        observation.newest_since = newest_since;
        if let Some(nap_us) = nap_us {
            if nap_us > 0 {
                self.world.sleep_us(nap_us).await;
            }
            observation.rows = Some(all_rows(snapshot).await?);
        }
        self.ledger.change(self.op, |attempt| attempt.observations.push(observation));
        Ok(())
    }
}

/// What an actor is told.
pub(crate) fn told(result: Result<Outcome>) -> Outcome {
    match result {
        Ok(outcome) => outcome,
        Err(error @ DeltaError::CommitUnknown { .. }) => Outcome::Undecided { message: error.to_string() },
        Err(error) => Outcome::Refused { kind: error.kind(), message: error.to_string() },
    }
}

/// What a snapshot says, rows aside.
pub(crate) async fn observation(snapshot: &Snapshot) -> Result<Observation> {
    let files = files(snapshot, None).await?.iter().map(|file| file.add().path.clone()).collect();
    let properties = snapshot.metadata().configuration.clone().into_iter().collect();
    Ok(Observation { version: snapshot.version(), newest_since: None, files, rows: None, properties })
}

/// Every row of a snapshot, by id.
pub(crate) async fn all_rows(snapshot: &Snapshot) -> Result<Vec<Row>> {
    let mut batches = snapshot.scan(ScanRequest::default())?;
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|source| DeltaError::Input { url: snapshot.url().to_owned(), source })?;
        rows.extend(rows_of(&batch).into_iter().flatten());
    }
    rows.sort_unstable();
    Ok(rows)
}

async fn committed(transaction: Transaction) -> Result<Outcome> {
    Ok(Outcome::Committed { version: transaction.commit().await?.version })
}

async fn files(snapshot: &Snapshot, predicate: Option<&Predicate>) -> Result<Vec<DataFile>> {
    snapshot.files(predicate).await
}

/// A row of the table, and its row id and commit version where the table tracks its rows.
#[derive(Debug, Clone, Copy)]
struct Held {
    row: Row,
    origin: Option<(i64, Option<i64>)>,
}

async fn rows_of_files(snapshot: &Snapshot, files: &[DataFile]) -> Result<Vec<Held>> {
    let mut rows = Vec::new();
    for file in files {
        rows.extend(rows_of_file(snapshot, file).await?);
    }
    Ok(rows)
}

async fn rows_of_file(snapshot: &Snapshot, file: &DataFile) -> Result<Vec<Held>> {
    let tracked = snapshot.row_tracking();
    let mut batches = snapshot.read_file(file, FileRead { row_tracking: tracked.cloned(), ..FileRead::default() })?;
    let mut held = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|source| DeltaError::Input { url: snapshot.url().to_owned(), source })?;
        let (batch, origins) = match tracked.and_then(|columns| columns.split(&batch)) {
            Some((batch, origins)) => (batch, Some(origins)),
            None => (batch, None),
        };
        held.extend(rows_of(&batch).into_iter().flatten().enumerate().map(|(at, row)| {
            let origin = origins.as_ref().map(|origins| (origins.ids.value(at), Some(origins.commit_versions.value(at))));
            Held { row, origin }
        }));
    }
    Ok(held)
}

/// Writes new rows.
async fn write(snapshot: &Snapshot, rows: &[Row]) -> Result<WrittenFiles> {
    let url = || snapshot.url().to_owned();
    let batch = batch(rows).map_err(|source| DeltaError::Compute { attempted: "simulate", url: url(), source })?;
    let mut writer = DataWriter::new(snapshot, settings())?;
    if !rows.is_empty() {
        writer.write(&batch).await?;
    }
    writer.finish().await
}

fn settings() -> DataWriterSettings {
    DataWriterSettings { workers: NonZero::new(1), ..DataWriterSettings::default() }
}

fn in_part(part: Part) -> Predicate {
    Predicate::eq("part", part.name())
}

/// Declares which files were read, but for a sabotaged engine.
trait ReadFilesUnless {
    fn read_files_unless<'f>(self, sabotage: Option<Sabotage>, files: impl IntoIterator<Item = &'f DataFile>) -> Self;
}

impl ReadFilesUnless for Transaction {
    fn read_files_unless<'f>(self, sabotage: Option<Sabotage>, files: impl IntoIterator<Item = &'f DataFile>) -> Self {
        if sabotage == Some(Sabotage::UndeclaredReads) { self } else { self.read_files(files) }
    }
}
