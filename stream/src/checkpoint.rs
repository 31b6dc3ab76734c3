//! What a query keeps beside its sink: who it is, a copy of its position, and the state of its operators.
//!
//! ```text
//!   checkpoint/
//!     query.json                        id and definition; written once
//!     position.json                     copy of the last committed position; replaced after each epoch
//!     state/00000000000000000007-….arrow    what epoch 7 changed in a store of an operator
//!     shape/00000000000000000000-….arrow    schema of a source's rows, from epoch 0 on
//!     late/00000000000000000007-….arrow     rows that epoch 7 has dropped, until their sink has them
//! ```
//! Files of `state`, `shape` and `late` are written before the epoch is committed that refers to them, and deleted after the
//! commit of one that does not. What a crash leaves over is deleted when the query is opened again.

use std::path::PathBuf;

use boathouse_base::{DomainError, Env, ErrorKind};
use boathouse_storage::{Storage, StorageError};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::error::StreamError;
use crate::position::{LateFile, Position, StateFile};
use crate::state::{Budget, Changes, Recorded, decode, encode, open};

const IDENTITY: &str = "query.json";
const POSITION: &str = "position.json";

/// Who the query is, and what must not change about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) sink: String,
    pub(crate) output_mode: String,
}

impl Identity {
    /// The first part in which two queries differ. A name may change.
    fn difference<'a>(&'a self, found: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        [
            ("source", &self.source, &found.source),
            ("sink", &self.sink, &found.sink),
            ("output mode", &self.output_mode, &found.output_mode),
        ]
        .into_iter()
        .find(|(_, recorded, found)| recorded != found)
        .map(|(part, recorded, found)| (part, recorded.as_str(), found.as_str()))
    }
}

/// A query's checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    query: String,
    storage: Storage,
}

impl Checkpoint {
    pub(crate) fn new(query: &str, storage: Storage) -> Self {
        Self { query: query.to_owned(), storage }
    }

    fn failed(&self, attempt: &'static str) -> impl Fn(StorageError) -> StreamError + use<'_> {
        move |source| StreamError::Checkpoint { attempt, query: self.query.clone(), source: source.into() }
    }

    /// The id of the query: new on the first run, then always the same.
    pub(crate) async fn identify(&self, mut found: Identity) -> Result<String, StreamError> {
        loop {
            if let Some(recorded) = self.storage.get_optional(IDENTITY).await.map_err(self.failed("read the checkpoint"))? {
                let recorded: Identity = serde_json::from_slice(&recorded).map_err(|source| StreamError::Unreadable {
                    query: self.query.clone(),
                    what: self.storage.url_of(IDENTITY),
                    source,
                })?;
                return match recorded.difference(&found) {
                    None => Ok(recorded.id),
                    Some((part, recorded, found)) => Err(StreamError::CheckpointOfAnother {
                        query: self.query.clone(),
                        checkpoint: self.storage.url().to_owned(),
                        part,
                        recorded: recorded.to_owned(),
                        found: found.to_owned(),
                    }),
                };
            }
            found.name.clone_from(&self.query);
            match self.storage.put_if_absent(IDENTITY, json(&found)).await {
                Ok(()) => return Ok(found.id),
                // Another process, or our own write whose answer was lost: read what is there.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed("create the checkpoint")(error)),
            }
        }
    }

    /// The copy of the position.
    pub(crate) async fn seen(&self) -> Result<Option<Position>, StreamError> {
        let text = self.storage.get_optional(POSITION).await.map_err(self.failed("read the checkpoint"))?;
        text.map(|text| Position::parse(&self.query, || self.storage.url_of(POSITION), &text)).transpose()
    }

    pub(crate) async fn remember(&self, position: &Position) -> Result<(), StreamError> {
        self.storage.put(POSITION, json(position)).await.map_err(self.failed("copy the position"))
    }

    /// Writes the schema of a source's rows.
    pub(crate) async fn write_shape(&self, env: &Env, epoch: u64, schema: &SchemaRef) -> Result<String, StreamError> {
        let path = format!("shape/{epoch:020}-{:016x}.arrow", env.random_u64());
        let bytes = encode_schema(schema).map_err(|error| self.unusable(&path, &error))?;
        self.storage.put(&path, bytes).await.map_err(self.failed("write the state"))?;
        Ok(path)
    }

    pub(crate) async fn read_shape(&self, path: &str) -> Result<SchemaRef, StreamError> {
        let bytes = self.storage.get(path).await.map_err(self.failed("load the state"))?;
        let reader = arrow_ipc::reader::StreamReader::try_new(bytes.as_ref(), None);
        Ok(reader.map_err(|error| self.unusable(path, &error))?.schema())
    }

    /// Writes rows that came too late.
    pub(crate) async fn write_late(&self, env: &Env, epoch: u64, rows: &RecordBatch) -> Result<LateFile, StreamError> {
        let path = format!("late/{epoch:020}-{:016x}.arrow", env.random_u64());
        let bytes = encode_rows(rows).map_err(|error| self.unusable(&path, &error))?;
        let file = LateFile { epoch, path, rows: rows.num_rows() as u64, bytes: bytes.len() as u64 };
        self.storage.put(&file.path, bytes).await.map_err(self.failed("write late rows"))?;
        Ok(file)
    }

    pub(crate) async fn read_late(&self, file: &LateFile) -> Result<RecordBatch, StreamError> {
        let bytes = self.storage.get(&file.path).await.map_err(self.failed("read late rows"))?;
        let reader = arrow_ipc::reader::StreamReader::try_new(bytes.as_ref(), None);
        let rows = reader.and_then(|reader| {
            let schema = reader.schema();
            concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>()?)
        });
        let rows = rows.map_err(|error| self.unusable(&file.path, &error))?;
        if (bytes.len() as u64, rows.num_rows() as u64) != (file.bytes, file.rows) {
            let (found, were) = ((bytes.len(), rows.num_rows()), (file.bytes, file.rows));
            let problem = format!("it has {} bytes and {} rows, and {} and {} were written", found.0, found.1, were.0, were.1);
            return Err(self.unusable(&file.path, &problem));
        }
        Ok(rows)
    }

    pub(crate) async fn write_state(&self, env: &Env, epoch: u64, changes: &Changes) -> Result<StateFile, StreamError> {
        let path = format!("state/{epoch:020}-{:016x}.arrow", env.random_u64());
        let bytes = encode(changes).map_err(|error| self.unusable(&path, &error))?;
        let file = StateFile { number: changes.number, path, rows: changes.rows.num_rows() as u64, bytes: bytes.len() as u64 };
        self.storage.put(&file.path, bytes).await.map_err(self.failed("write the state"))?;
        Ok(file)
    }

    /// A file of state. The rows of a large one stay where they are, if that is on the local disk.
    pub(crate) async fn read_state(&self, file: &StateFile) -> Result<Recorded, StreamError> {
        if !Budget::is_small(file.bytes)
            && let Some(path) = self.local_path(&file.path)
            && let Ok(recorded) = open(file.number, &path, file.bytes)
        {
            return self.checked(file, recorded);
        }
        let bytes = self.storage.get(&file.path).await.map_err(self.failed("load the state"))?;
        if bytes.len() as u64 != file.bytes {
            return Err(self.unusable(&file.path, &format!("it has {} bytes, and {} were written", bytes.len(), file.bytes)));
        }
        let recorded = decode(file.number, &bytes).map_err(|error| self.unusable(&file.path, &error))?;
        self.checked(file, recorded)
    }

    fn checked(&self, file: &StateFile, recorded: Recorded) -> Result<Recorded, StreamError> {
        let rows = recorded.rows.len() as u64;
        match rows == file.rows {
            true => Ok(recorded),
            false => Err(self.unusable(&file.path, &format!("it has {rows} rows, and {} were written", file.rows))),
        }
    }

    /// Where a file is, if that is on the local disk.
    pub(crate) fn local_path(&self, path: &str) -> Option<PathBuf> {
        self.storage.local_path(path)
    }

    /// Deletes files of `before` that `now` does not refer to.
    pub(crate) async fn delete_unreferenced(&self, before: &Position, now: &Position) -> Result<(), StreamError> {
        for path in before.paths().difference(&now.paths()) {
            self.storage.delete(path).await.map_err(self.failed("delete old state"))?;
        }
        Ok(())
    }

    /// Deletes what crashes have left: files up to the committed epoch that its position does not refer to. Files of
    /// later epochs may belong to another run that is about to commit.
    pub(crate) async fn delete_leftovers(&self, position: &Position) -> Result<(), StreamError> {
        let live = position.paths();
        for folder in ["state", "shape", "late"] {
            for entry in self.storage.list(folder).await.map_err(self.failed("list old state"))? {
                let epoch =
                    entry.path.rsplit('/').next().and_then(|name| name.get(..20)).and_then(|digits| digits.parse::<u64>().ok());
                if epoch.is_some_and(|epoch| epoch <= position.epoch) && !live.contains(entry.path.as_str()) {
                    self.storage.delete(&entry.path).await.map_err(self.failed("delete old state"))?;
                }
            }
        }
        Ok(())
    }

    /// The error of a file that is not what it should be.
    pub(crate) fn unusable(&self, path: &str, problem: &dyn std::fmt::Display) -> StreamError {
        StreamError::State { query: self.query.clone(), file: self.storage.url_of(path), problem: problem.to_string() }
    }
}

#[expect(clippy::expect_used, reason = "structs of text and numbers always serialize: no map keys, no fallible impls")]
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs serialize")
}

fn encode_rows(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &rows.schema())?;
    writer.write(rows)?;
    writer.into_inner()
}

/// An Arrow IPC stream without rows.
fn encode_schema(schema: &SchemaRef) -> Result<Vec<u8>, ArrowError> {
    arrow_ipc::writer::StreamWriter::try_new(Vec::new(), schema)?.into_inner()
}
