//! The durable memory of a source: which files were discovered in which order, how far they were
//! inspected, and which schema holds from which file on.
//!
//! # Format
//! ```text
//!   STATE/source.json                          who this state belongs to
//!   STATE/log/00000000000000000000.json        record 0 ┐
//!   STATE/log/00000000000000000001.json        record 1 ├ each written once, by put-if-absent
//!   STATE/log/00000000000000000002.json        record 2 ┘
//!   STATE/log/00000000000000000002.all.json    records 0 to 2 in one; then they may go
//!   STATE/schemas/00000000000000000000.json    for people: schema version 0
//!   STATE/quarantine/00000000000000000007.jsonl  bad lines of file 7
//! ```
//! The log is the truth. A record is written whole or not at all, and takes effect in memory only when it
//! is durable. Two processes over one state see the same log: who loses the race for a number reads what
//! the winner wrote and plans again. The same holds for a write whose answer was lost.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::Fields;
use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::error::AutoLoadError;
use crate::schema::{StoredField, from_stored, to_stored};

const LOG: &str = "log";
const SCHEMAS: &str = "schemas";
const FORMAT: u32 = 1;

/// Records are put together when there are so many.
const COMPACT_AFTER: u64 = 64;

/// A file that was discovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Landed {
    /// Below the landing folder.
    pub(crate) path: Arc<str>,
    pub(crate) size_bytes: u64,
    pub(crate) modified_us: i64,
}

/// A schema, and the first file that needs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SchemaVersion {
    pub(crate) from: u64,
    pub(crate) fields: Fields,
}

/// What one plan adds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addition {
    pub(crate) discovered: Vec<Landed>,
    /// Files that are never read.
    pub(crate) skipped: Vec<String>,
    /// Files up to here have been inspected.
    pub(crate) inspected: u64,
    pub(crate) schemas: Vec<SchemaVersion>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    v: u32,
    number: u64,
    at_us: i64,
    inspected: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    schemas: Vec<StoredVersion>,
    /// Path, bytes, time of modification in microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    discovered: Vec<(String, u64, i64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredVersion {
    version: u64,
    from: u64,
    fields: Vec<StoredField>,
}

/// The memory of the memory: the log, replayed.
#[derive(Debug)]
pub(crate) struct Ledger {
    state: Storage,
    next_record: u64,
    first_loose_record: u64,
    files: Vec<Landed>,
    known: HashSet<Arc<str>>,
    skipped: Vec<String>,
    inspected: u64,
    schemas: Vec<SchemaVersion>,
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
    pub(crate) async fn load(state: Storage) -> Result<Self, AutoLoadError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_load(state.clone()).await {
                // Records went away between LIST and GET because another process put them together.
                Err(AutoLoadError::Storage(error)) if error.kind() == ErrorKind::NotFound && attempts < 5 => {}
                result => return result,
            }
        }
    }

    async fn try_load(state: Storage) -> Result<Self, AutoLoadError> {
        let mut numbers = Vec::new();
        let mut base: Option<u64> = None;
        for object in state.list(LOG).await? {
            let name = object.path.rsplit('/').next().unwrap_or_default().to_owned();
            if let Some(number) = name.strip_suffix(".all.json").and_then(|digits| digits.parse().ok()) {
                base = base.max(Some(number));
            } else if let Some(number) = name.strip_suffix(".json").and_then(|digits| digits.parse().ok()) {
                numbers.push(number);
            }
        }
        let mut ledger = Self {
            state,
            next_record: 0,
            first_loose_record: 0,
            files: Vec::new(),
            known: HashSet::new(),
            skipped: Vec::new(),
            inspected: 0,
            schemas: Vec::new(),
        };
        if let Some(number) = base {
            let record = ledger.get(all_path(number), number).await?;
            ledger.apply(record)?;
            ledger.first_loose_record = number + 1;
            ledger.next_record = number + 1;
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
            ledger.next_record += 1;
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

    fn corrupt(&self, path: String, reason: &str) -> AutoLoadError {
        AutoLoadError::CorruptState { path: self.state.url_of(&path), reason: reason.to_owned() }
    }

    fn apply(&mut self, record: Record) -> Result<(), AutoLoadError> {
        let path = record_path(record.number);
        for (path, size_bytes, modified_us) in record.discovered {
            let path: Arc<str> = path.into();
            self.known.insert(Arc::clone(&path));
            self.files.push(Landed { path, size_bytes, modified_us });
        }
        for path in record.skipped {
            self.known.insert(Arc::from(path.as_str()));
            self.skipped.push(path);
        }
        for version in record.schemas {
            if version.version != self.schemas.len() as u64 {
                return Err(self.corrupt(path, &format!("schema version {} follows {}", version.version, self.schemas.len())));
            }
            let fields = from_stored(&version.fields)
                .map_err(|text| self.corrupt(path.clone(), &format!("`{text}` is no type that this version knows")))?;
            self.schemas.push(SchemaVersion { from: version.from, fields });
        }
        self.inspected = record.inspected;
        if self.inspected > self.files.len() as u64 {
            return Err(self.corrupt(path, "more files were inspected than discovered"));
        }
        Ok(())
    }

    /// Makes an addition durable, and then known.
    pub(crate) async fn append(&mut self, addition: Addition, at_us: i64) -> Result<Appended, AutoLoadError> {
        let first_version = self.schemas.len() as u64;
        let schemas = (first_version..)
            .zip(&addition.schemas)
            .map(|(version, schema)| stored(version, schema))
            .collect::<Result<Vec<_>, _>>()?;
        let record = Record {
            v: FORMAT,
            number: self.next_record,
            at_us,
            inspected: addition.inspected,
            schemas: schemas.clone(),
            discovered: addition
                .discovered
                .into_iter()
                .map(|file| (file.path.to_string(), file.size_bytes, file.modified_us))
                .collect(),
            skipped: addition.skipped,
        };
        let bytes = to_bytes(&record)?;
        match self.state.put_if_absent(&record_path(record.number), bytes).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                *self = Self::load(self.state.clone()).await?;
                return Ok(Appended::Raced);
            }
            Err(error) => return Err(error.into()),
        }
        if self.was_compacted(record.number).await? {
            // The number was free only because its record had been put together with others.
            self.state.delete(&record_path(record.number)).await?;
            *self = Self::load(self.state.clone()).await?;
            return Ok(Appended::Raced);
        }
        self.apply(record)?;
        self.next_record += 1;
        // From here on the record stands: what follows is a convenience, and its failure no error.
        for version in &schemas {
            if let Ok(bytes) = to_bytes(version) {
                let path = format!("{SCHEMAS}/{:020}.json", version.version);
                if let Err(error) = self.state.put(&path, bytes).await {
                    tracing::warn!(%error, "autoload.schema_copy: the readable copy of a schema was not written");
                }
            }
        }
        if self.next_record - self.first_loose_record >= COMPACT_AFTER
            && let Err(error) = self.compact(at_us).await
        {
            tracing::warn!(%error, "autoload.compact: the log stays long for now");
        }
        Ok(Appended::Yes)
    }

    /// Whether another process has put this record together with others. It writes the whole before it
    /// removes the parts, so a number that is free again is always seen here.
    async fn was_compacted(&self, number: u64) -> Result<bool, AutoLoadError> {
        let found = self.state.list(LOG).await?;
        Ok(found.iter().any(|object| {
            let name = object.path.rsplit('/').next().unwrap_or_default();
            name.strip_suffix(".all.json").and_then(|digits| digits.parse().ok()).is_some_and(|all: u64| all >= number)
        }))
    }

    /// Writes all records as one, then removes them. Whoever reads meanwhile finds the one or the others.
    async fn compact(&mut self, at_us: i64) -> Result<(), AutoLoadError> {
        let last = self.next_record - 1;
        let record = Record {
            v: FORMAT,
            number: last,
            at_us,
            inspected: self.inspected,
            schemas: (0..).zip(&self.schemas).map(|(version, schema)| stored(version, schema)).collect::<Result<_, _>>()?,
            discovered: self.files.iter().map(|file| (file.path.to_string(), file.size_bytes, file.modified_us)).collect(),
            skipped: self.skipped.clone(),
        };
        self.state.put(&all_path(last), to_bytes(&record)?).await?;
        self.first_loose_record = self.next_record;
        let keep = all_path(last);
        for object in self.state.list(LOG).await? {
            let name = object.path.rsplit('/').next().unwrap_or_default();
            let number = name.split('.').next().and_then(|digits| digits.parse::<u64>().ok());
            if number.is_some_and(|number| number <= last) && !keep.ends_with(name) {
                self.state.delete(&object.path).await?;
            }
        }
        Ok(())
    }

    /// All files, in the order of discovery.
    pub(crate) fn files(&self) -> &[Landed] {
        &self.files
    }

    /// Whether a path was seen before.
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.known.contains(path)
    }

    /// Files up to here have been inspected.
    pub(crate) fn inspected(&self) -> u64 {
        self.inspected
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_new(&self) -> bool {
        self.next_record == 0
    }

    /// The newest columns.
    pub(crate) fn latest(&self) -> Option<&Fields> {
        self.schemas.last().map(|version| &version.fields)
    }

    /// The columns that hold for a file. They depend on files up to this one alone.
    pub(crate) fn schema_of(&self, file: u64) -> Fields {
        let after = self.schemas.partition_point(|version| version.from <= file);
        after.checked_sub(1).map_or_else(Fields::empty, |at| self.schemas[at].fields.clone())
    }
}

fn stored(version: u64, schema: &SchemaVersion) -> Result<StoredVersion, AutoLoadError> {
    let fields = to_stored(&schema.fields).map_err(|data_type| AutoLoadError::UnsupportedType {
        format: "files",
        column: schema.fields.iter().find(|f| f.data_type() == &data_type).map_or_else(String::new, |f| f.name().clone()),
        data_type,
    })?;
    Ok(StoredVersion { version, from: schema.from, fields })
}

fn to_bytes(value: &impl Serialize) -> Result<Bytes, AutoLoadError> {
    let bytes = serde_json::to_vec(value).map_err(|source| AutoLoadError::Encode { what: "a record", source })?;
    Ok(Bytes::from(bytes))
}

fn record_path(number: u64) -> String {
    format!("{LOG}/{number:020}.json")
}

fn all_path(number: u64) -> String {
    format!("{LOG}/{number:020}.all.json")
}
