//! What a query keeps beside its sink: who it is, a copy of its position, and the state of its windows.
//!
//! ```text
//!   checkpoint/
//!     query.json                        id and definition; written once
//!     position.json                     copy of the last committed position; replaced after each epoch
//!     state/00000000000000000007-….arrow    states of the windows that epoch 7 changed
//!     shape/00000000000000000000-….arrow    schema of the transformed rows, from epoch 0 on
//! ```
//! Files of `state` and `shape` are written before the epoch is committed that refers to them, and deleted after the
//! commit of one that does not. What a crash leaves over is deleted when the query is opened again.

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::{DomainError, Env, ErrorKind};
use boathouse_storage::{Storage, StorageError};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::error::StreamError;
use crate::position::{Position, StateFile, StateRef};
use crate::window_plan::split_by_window;
use crate::window_state::WindowState;

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
    pub(crate) window: String,
    pub(crate) output_mode: String,
}

impl Identity {
    /// The first part in which two queries differ. A name may change.
    fn difference<'a>(&'a self, found: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        [
            ("source", &self.source, &found.source),
            ("sink", &self.sink, &found.sink),
            ("window", &self.window, &found.window),
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

    /// Writes the schema of the transformed rows.
    pub(crate) async fn write_shape(&self, env: &Env, epoch: u64, schema: &SchemaRef) -> Result<String, StreamError> {
        let path = format!("shape/{epoch:020}-{:016x}.arrow", env.random_u64());
        let bytes = encode(schema, &[]).map_err(|error| self.unusable(&path, &error))?;
        self.storage.put(&path, bytes).await.map_err(self.failed("write the state"))?;
        Ok(path)
    }

    pub(crate) async fn read_shape(&self, state: &StateRef) -> Result<SchemaRef, StreamError> {
        let bytes = self.storage.get(&state.shape).await.map_err(self.failed("load the state"))?;
        Ok(decode(&bytes).map_err(|error| self.unusable(&state.shape, &error))?.0)
    }

    pub(crate) async fn write_state(
        &self,
        env: &Env,
        epoch: u64,
        schema: &SchemaRef,
        states: &[RecordBatch],
    ) -> Result<StateFile, StreamError> {
        let path = format!("state/{epoch:020}-{:016x}.arrow", env.random_u64());
        let bytes = encode(schema, states).map_err(|error| self.unusable(&path, &error))?;
        let rows = states.iter().map(|batch| batch.num_rows() as u64).sum();
        let file = StateFile { path, epoch, rows, bytes: bytes.len() as u64 };
        self.storage.put(&file.path, bytes).await.map_err(self.failed("write the state"))?;
        Ok(file)
    }

    pub(crate) async fn load_state(&self, state: &StateRef, is_open: impl Fn(i64) -> bool) -> Result<WindowState, StreamError> {
        let mut files = Vec::with_capacity(state.files.len());
        for file in &state.files {
            files.push((file.clone(), self.read_state(file).await?));
        }
        Ok(WindowState::load(state.shape.clone(), files, is_open))
    }

    async fn read_state(&self, file: &StateFile) -> Result<BTreeMap<i64, RecordBatch>, StreamError> {
        let bytes = self.storage.get(&file.path).await.map_err(self.failed("load the state"))?;
        if bytes.len() as u64 != file.bytes {
            return Err(self.unusable(&file.path, &format!("it has {} bytes, and {} were written", bytes.len(), file.bytes)));
        }
        let (_, batches) = decode(&bytes).map_err(|error| self.unusable(&file.path, &error))?;
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if rows != file.rows {
            return Err(self.unusable(&file.path, &format!("it has {rows} rows, and {} were written", file.rows)));
        }
        let mut windows = BTreeMap::new();
        for batch in &batches {
            windows.extend(split_by_window(batch).map_err(|error| self.unusable(&file.path, &error))?);
        }
        Ok(windows)
    }

    /// Deletes files of `before` that `now` does not refer to.
    pub(crate) async fn delete_unreferenced(&self, before: Option<&StateRef>, now: Option<&StateRef>) -> Result<(), StreamError> {
        let (before, now) = (paths(before), paths(now));
        for path in before.difference(&now) {
            self.storage.delete(path).await.map_err(self.failed("delete old state"))?;
        }
        Ok(())
    }

    /// Deletes what crashes have left: files up to the committed epoch that its position does not refer to. Files of
    /// later epochs may belong to another run that is about to commit.
    pub(crate) async fn delete_leftovers(&self, position: &Position) -> Result<(), StreamError> {
        let live = paths(position.state.as_ref());
        for folder in ["state", "shape"] {
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

    fn unusable(&self, path: &str, problem: &dyn std::fmt::Display) -> StreamError {
        StreamError::State { query: self.query.clone(), file: self.storage.url_of(path), problem: problem.to_string() }
    }
}

fn paths(state: Option<&StateRef>) -> BTreeSet<&str> {
    state.into_iter().flat_map(|state| state.files.iter().map(|file| file.path.as_str()).chain([state.shape.as_str()])).collect()
}

#[expect(clippy::expect_used, reason = "structs of text and numbers always serialize: no map keys, no fallible impls")]
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs serialize")
}

/// An Arrow IPC stream.
fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

fn decode(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let reader = arrow_ipc::reader::StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}
