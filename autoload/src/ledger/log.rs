//! The log, replayed and written.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::Fields;
use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::keys;
use super::marks::{CleanMark, CommitMark, Marks};
use super::record::{FORMAT, Landed, Record, SchemaVersion, StoredVersion};
use super::segment::{Segment, SegmentInfo};
use crate::discovery::FileFacts;
use crate::error::AutoLoadError;
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::schema::{from_stored, to_stored};

pub(super) const LOG: &str = "log";
const SCHEMAS: &str = "schemas";

/// Records are put together when there are so many,
const COMPACT_RECORDS: u64 = 64;

/// or when they hold so many files.
const COMPACT_FILES: usize = 16 << 10;

/// What one plan adds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addition {
    pub(crate) discovered: Vec<Landed>,
    pub(crate) schemas: Vec<SchemaVersion>,
    pub(crate) clean: Option<CleanMark>,
    /// Files that are never read.
    pub(crate) skipped: Vec<Fingerprint>,
}

/// The memory of the memory: the log, replayed.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) state: Storage,
    pub(super) fingerprints: Fingerprints,
    pub(super) next_record: u64,
    /// The record that stands for all before the loose ones.
    pub(super) base: Option<u64>,
    pub(super) segments: Vec<Segment>,
    pub(super) skipped: Option<Segment>,
    /// Named by the base, and not needed by it.
    pub(super) retired: Vec<SegmentInfo>,
    /// The files of the loose records.
    pub(super) loose: Vec<Landed>,
    pub(super) loose_keys: HashSet<Fingerprint>,
    pub(super) schemas: Vec<SchemaVersion>,
    pub(super) marks: Marks,
    /// Known, and not durable yet.
    pub(super) pending_commits: Vec<CommitMark>,
    /// The details of one segment, packed.
    pub(super) opened: Option<(SegmentInfo, Bytes)>,
    pub(super) clock: u64,
}

/// How an append ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    Yes,
    /// The number was taken: the ledger has been read anew.
    Raced,
}

impl Ledger {
    /// Reads the log.
    pub(crate) async fn load(state: Storage, fingerprints: Fingerprints) -> Result<Self, AutoLoadError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_load(state.clone(), fingerprints.clone()).await {
                // Records went away between LIST and GET because another process put them together.
                Err(AutoLoadError::Storage(error)) if error.kind() == ErrorKind::NotFound && attempts < 5 => {}
                result => return result,
            }
        }
    }

    /// Reads the log anew.
    pub(crate) async fn reload(&mut self) -> Result<(), AutoLoadError> {
        let mut pending = std::mem::take(&mut self.pending_commits);
        *self = Self::load(self.state.clone(), self.fingerprints.clone()).await?;
        pending.retain(|mark| mark.end > self.marks.committed());
        self.pending_commits = pending;
        Ok(())
    }

    async fn try_load(state: Storage, fingerprints: Fingerprints) -> Result<Self, AutoLoadError> {
        let mut numbers = Vec::new();
        let mut base: Option<u64> = None;
        for object in state.list(LOG).await? {
            match parse_name(&object.path) {
                Some((number, true)) => base = base.max(Some(number)),
                Some((number, false)) => numbers.push(number),
                None => {}
            }
        }
        let mut ledger = Self {
            state,
            fingerprints,
            next_record: 0,
            base,
            segments: Vec::new(),
            skipped: None,
            retired: Vec::new(),
            loose: Vec::new(),
            loose_keys: HashSet::new(),
            schemas: Vec::new(),
            marks: Marks::default(),
            pending_commits: Vec::new(),
            opened: None,
            clock: 0,
        };
        if let Some(number) = base {
            let record = ledger.get(all_path(number), number).await?;
            ledger.apply(record)?;
        }
        numbers.sort_unstable();
        numbers.retain(|number| *number >= ledger.next_record);
        let log = &ledger;
        let records: Vec<Record> = futures::stream::iter(numbers)
            .map(|number| async move { log.get(record_path(number), number).await })
            .buffered(16)
            .try_collect()
            .await?;
        for record in records {
            if record.number != ledger.next_record {
                return Err(ledger.corrupt(record_path(ledger.next_record), "the record is missing, later ones are there"));
            }
            ledger.apply(record)?;
        }
        Ok(ledger)
    }

    async fn get(&self, path: String, number: u64) -> Result<Record, AutoLoadError> {
        let bytes = self.state.get(&path).await?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| self.corrupt(path.clone(), &error.to_string()))?;
        if record.v != FORMAT {
            return Err(self.corrupt(path, &format!("its format {} is unknown to this version, which knows {FORMAT}", record.v)));
        }
        if record.number != number {
            return Err(self.corrupt(path, &format!("it says that it is record {}", record.number)));
        }
        Ok(record)
    }

    pub(super) fn corrupt(&self, path: String, reason: &str) -> AutoLoadError {
        AutoLoadError::CorruptState { path: self.state.url_of(&path), reason: reason.to_owned() }
    }

    fn apply(&mut self, record: Record) -> Result<(), AutoLoadError> {
        let path = record_path(record.number);
        for info in record.segments {
            let end = self.segments.last().map_or(0, |segment| segment.info.end);
            if info.start != end || info.end < info.start || info.keys > info.files() {
                return Err(self.corrupt(path, &format!("a segment of files {} to {} follows file {end}", info.start, info.end)));
            }
            self.segments.push(Segment::new(info));
        }
        if let Some(info) = record.skipped {
            self.skipped = Some(Segment::new(info));
        }
        self.retired.extend(record.retired);
        let mut etags = record.etags.into_iter();
        for (path, size_bytes, modified_us) in record.discovered {
            let etag = etags.next().flatten();
            let facts = FileFacts { size_bytes, modified_us, etag };
            let fingerprint = self.fingerprints.of(&path, Some(&facts));
            self.loose_keys.insert(fingerprint);
            self.loose.push(Landed {
                fingerprint,
                path: path.into(),
                size_bytes,
                modified_us,
                etag: facts.etag.map(Arc::from),
                discovered_us: record.at_us,
            });
        }
        for version in record.schemas {
            if version.version != self.schemas.len() as u64 {
                return Err(self.corrupt(path, &format!("schema version {} follows {}", version.version, self.schemas.len())));
            }
            let fields = from_stored(&version.fields)
                .map_err(|text| self.corrupt(path.clone(), &format!("`{text}` is no type that this version knows")))?;
            self.schemas.push(SchemaVersion { from: version.from, fields, evidence: version.evidence });
        }
        record.commits.into_iter().for_each(|mark| self.marks.commit(mark));
        record.cleans.into_iter().for_each(|mark| self.marks.clean(mark));
        if self.marks.committed() > self.total() || self.marks.cleaned() > self.marks.committed() {
            return Err(self.corrupt(path, "more files were committed than discovered, or cleaned than committed"));
        }
        self.next_record = record.number + 1;
        Ok(())
    }

    /// Makes an addition durable, and then known. What was committed meanwhile comes along.
    pub(crate) async fn append(&mut self, addition: Addition, at_us: i64) -> Result<Appended, AutoLoadError> {
        let first_version = self.schemas.len() as u64;
        let schemas = (first_version..)
            .zip(&addition.schemas)
            .map(|(version, schema)| stored(version, schema))
            .collect::<Result<Vec<_>, _>>()?;
        let mut skipped = None;
        if !addition.skipped.is_empty() {
            let mut keys = addition.skipped;
            keys.sort_unstable();
            keys.dedup();
            let encoded = keys::encode(&keys);
            // Named by its content: two processes that skip at once may see different folders, and who writes the record
            // decides which of them counts.
            let name = format!("skipped-{}", keys::name_of(&encoded));
            let info = SegmentInfo { start: 0, end: keys.len() as u64, keys: keys.len() as u64, name: Some(name) };
            self.state.put(&info.keys_path(), encoded).await?;
            skipped = Some(info);
        }
        let etags: Vec<Option<String>> = addition.discovered.iter().map(|file| file.etag.as_deref().map(str::to_owned)).collect();
        let record = Record {
            v: FORMAT,
            number: self.next_record,
            at_us,
            schemas: schemas.clone(),
            discovered: addition
                .discovered
                .into_iter()
                .map(|file| (file.path.to_string(), file.size_bytes, file.modified_us))
                .collect(),
            etags: if etags.iter().any(Option::is_some) { etags } else { Vec::new() },
            commits: self.pending_commits.clone(),
            cleans: addition.clean.into_iter().collect(),
            segments: Vec::new(),
            skipped,
            retired: Vec::new(),
        };
        let bytes = to_bytes(&record)?;
        match self.state.put_if_absent(&record_path(record.number), bytes).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.reload().await?;
                return Ok(Appended::Raced);
            }
            Err(error) => return Err(error.into()),
        }
        match self.newest_base().await? {
            // The number was free only because its record had been put together with others. It writes the whole before
            // it removes the parts, so a number that is free again is always seen here.
            Some(base) if base >= record.number => {
                self.state.delete(&record_path(record.number)).await?;
                self.reload().await?;
                return Ok(Appended::Raced);
            }
            // Somebody else put records together: what this process knows of segments is old, and its record stands.
            base if base != self.base => self.reload().await?,
            _ => {
                self.apply(record)?;
                self.pending_commits.clear();
            }
        }
        // From here on the record stands: what follows is a convenience, and its failure no error.
        for version in &schemas {
            if let Ok(bytes) = to_bytes(version) {
                let path = format!("{SCHEMAS}/{:020}.json", version.version);
                if let Err(error) = self.state.put(&path, bytes).await {
                    tracing::warn!(%error, "autoload.schema_copy: the readable copy of a schema was not written");
                }
            }
        }
        let loose_records = self.next_record - self.base.map_or(0, |base| base + 1);
        if (loose_records >= COMPACT_RECORDS || self.loose.len() >= COMPACT_FILES)
            && let Err(error) = self.compact(at_us).await
        {
            tracing::warn!(%error, "autoload.compact: the log stays long for now");
        }
        Ok(Appended::Yes)
    }

    async fn newest_base(&self) -> Result<Option<u64>, AutoLoadError> {
        let found = self.state.list(LOG).await?;
        Ok(found.iter().filter_map(|object| parse_name(&object.path)).filter(|(_, all)| *all).map(|(number, _)| number).max())
    }

    /// Files that were discovered.
    pub(crate) fn total(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.info.end) + self.loose.len() as u64
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_new(&self) -> bool {
        self.next_record == 0
    }

    /// Files up to here are committed downstream. It becomes durable with the next record.
    pub(crate) fn note_committed(&mut self, end: u64, at_us: i64) {
        if end > self.committed() && end <= self.total() {
            self.pending_commits.push(CommitMark { end, at_us });
        }
    }

    /// Whether a commit is not durable.
    pub(crate) fn has_pending_commits(&self) -> bool {
        !self.pending_commits.is_empty()
    }

    /// Files before this are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.pending_commits.last().map_or(self.marks.committed(), |mark| mark.end)
    }

    /// What became of files, with what is not durable yet.
    pub(crate) fn marks(&self) -> Marks {
        let mut marks = self.marks.clone();
        self.pending_commits.iter().for_each(|mark| marks.commit(*mark));
        marks
    }

    /// The newest columns.
    pub(crate) fn latest(&self) -> Option<&Fields> {
        self.schemas.last().map(|version| &version.fields)
    }

    /// All versions of the schema.
    pub(crate) fn schemas(&self) -> &[SchemaVersion] {
        &self.schemas
    }

    /// The columns that hold for a file. They depend on files up to this one alone.
    pub(crate) fn schema_of(&self, file: u64) -> Fields {
        let after = self.schemas.partition_point(|version| version.from <= file);
        after.checked_sub(1).map_or_else(Fields::empty, |at| self.schemas[at].fields.clone())
    }
}

pub(super) fn stored(version: u64, schema: &SchemaVersion) -> Result<StoredVersion, AutoLoadError> {
    let fields = to_stored(&schema.fields).map_err(|data_type| AutoLoadError::UnsupportedType {
        format: "files",
        column: schema.fields.iter().find(|f| f.data_type() == &data_type).map_or_else(String::new, |f| f.name().clone()),
        data_type,
    })?;
    Ok(StoredVersion { version, from: schema.from, fields, evidence: schema.evidence.clone() })
}

pub(super) fn to_bytes(value: &impl Serialize) -> Result<Bytes, AutoLoadError> {
    let bytes = serde_json::to_vec(value).map_err(|source| AutoLoadError::Encode { what: "a record", source })?;
    Ok(Bytes::from(bytes))
}

fn record_path(number: u64) -> String {
    format!("{LOG}/{number:020}.json")
}

pub(super) fn all_path(number: u64) -> String {
    format!("{LOG}/{number:020}.all.json")
}

/// The number of a record, and whether it stands for all before it.
pub(super) fn parse_name(path: &str) -> Option<(u64, bool)> {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.strip_suffix(".all.json") {
        Some(digits) => digits.parse().ok().map(|number| (number, true)),
        None => name.strip_suffix(".json")?.parse().ok().map(|number| (number, false)),
    }
}
