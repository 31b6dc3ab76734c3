//! Writing a checkpoint: a single Parquet file (V1), then the pointer to it.

use std::sync::Arc;

use arrow_json::ReaderBuilder;
use arrow_schema::{Field, Schema};
use boathouse_delta_protocol::action::{Action, Add, Remove};
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::log_path::{LAST_CHECKPOINT, LastCheckpoint, checkpoint_name};
use boathouse_delta_protocol::replay::TableState;
use boathouse_storage::Storage;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::checkpoint_read::schema;
use super::list::{last_checkpoint, log_path};
use crate::error::{DeltaError, Result};
use crate::write::upload::Upload;

/// Actions that become Arrow data at once.
const BATCH_ACTIONS: usize = 8192;
/// Actions of a row group, small enough that readers can skip.
const ROW_GROUP_ACTIONS: usize = 64 * 1024;

/// Columns of V1 checkpoints. Those of V2 are left out: some readers take their presence for the other form.
const V1_COLUMNS: &[&str] = &["txn", "add", "remove", "metaData", "protocol", "domainMetadata"];

/// What a checkpoint holds.
pub(crate) struct Contents {
    pub(crate) head: TableState,
    /// With their statistics.
    pub(crate) files: Arc<FileIndex>,
    pub(crate) tombstones: Vec<Remove>,
    /// Txns that were last updated before this have expired.
    pub(crate) txns_since_ms: Option<i64>,
}

impl Contents {
    /// In order: protocol, metadata, txns, domains, files, tombstones. File actions have `dataChange` false, as the
    /// reference writer has them.
    fn actions(&self) -> impl Iterator<Item = Action> {
        let adds = self.files.iter().map(|file| Action::Add(Add { data_change: false, ..file.to_add() }));
        let removes = self.tombstones.iter().map(|remove| Action::Remove(Remove { data_change: false, ..remove.clone() }));
        self.head.head_actions(self.txns_since_ms).chain(adds).chain(removes)
    }
}

/// Writes a checkpoint, and points to it. Returns its bytes.
pub(crate) async fn write_checkpoint(storage: &Storage, contents: Contents) -> Result<u64> {
    let (url, version, files) = (storage.url().to_owned(), contents.head.version, contents.files.len() as u64);
    let path = log_path(&checkpoint_name(version));
    let encoded = tokio::task::spawn_blocking(move || encode(&contents)).await;
    let encoded = encoded.map_err(|source| DeltaError::Task { url: url.clone(), source })?;
    let (bytes, actions) = encoded.map_err(|source| DeltaError::Encode { url: url.clone(), path: path.clone(), source })?;
    let size = bytes.len() as u64;
    let mut upload = Upload::new(Arc::clone(storage.object_store()), storage.path_of(&path)?);
    let moved = |source| DeltaError::Store { attempted: "write", url: url.clone(), path: path.clone(), source: Box::new(source) };
    if let Err(error) = upload.put(bytes).await {
        upload.abort().await;
        return Err(moved(error));
    }
    upload.finish().await.map_err(moved)?;
    // Another writer may have been further already.
    if last_checkpoint(storage).await?.is_none_or(|last| last.version < version) {
        let pointer = LastCheckpoint {
            version,
            size: actions,
            size_in_bytes: Some(size),
            num_of_add_files: Some(files),
            ..LastCheckpoint::default()
        };
        let json = pointer.to_json().map_err(|source| DeltaError::Protocol { url: url.clone(), source })?;
        storage.put(&log_path(LAST_CHECKPOINT), json).await?;
    }
    Ok(size)
}

fn encode(contents: &Contents) -> Result<(Bytes, u64), ParquetError> {
    let all = schema();
    let fields: Vec<Field> = V1_COLUMNS.iter().filter_map(|name| all.field_with_name(name).ok().cloned()).collect();
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ACTIONS))
        .set_created_by(crate::ENGINE_INFO.to_owned())
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    let mut decoder = ReaderBuilder::new(schema).with_batch_size(BATCH_ACTIONS).build_decoder()?;
    let (mut count, mut batch) = (0, Vec::with_capacity(BATCH_ACTIONS));
    let mut write = |actions: &mut Vec<Action>| -> Result<(), ParquetError> {
        decoder.serialize(actions)?;
        actions.clear();
        if let Some(rows) = decoder.flush()? {
            writer.write(&rows)?;
        }
        Ok(())
    };
    for action in contents.actions() {
        count += 1;
        batch.push(action);
        if batch.len() == BATCH_ACTIONS {
            write(&mut batch)?;
        }
    }
    write(&mut batch)?;
    Ok((writer.into_inner()?.into(), count))
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;

    #[test]
    fn every_v1_column_is_in_the_schema_that_is_read() {
        let all = schema();
        for name in V1_COLUMNS {
            assert!(matches!(all.field_with_name(name).map(|f| f.data_type()), Ok(DataType::Struct(_))), "{name}");
        }
    }
}
