//! Writes logs and data files as another engine would.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use boathouse_base::{Predicate, ScanRequest};
use boathouse_delta_table::{DeltaTable, Result, Snapshot};
use boathouse_storage::{Location, Storage, seeded_env};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::corpora::rows::bag_of_batches;

/// A table that is made by hand.
pub(crate) struct Made {
    pub(crate) storage: Storage,
    next: u64,
    /// Keeps the folder of a table on disk.
    pub(crate) folder: Option<tempfile::TempDir>,
}

impl Made {
    pub(crate) fn in_memory() -> Self {
        Self { storage: Storage::memory().at("lake/made"), next: 0, folder: None }
    }

    /// In a folder whose name has a space and a percent sign.
    pub(crate) fn on_disk() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::from_path(folder.path().join("a %20 table")).unwrap();
        Self { storage: Storage::open(&location).unwrap(), next: 0, folder: Some(folder) }
    }

    /// A table with these columns and without rows.
    pub(crate) async fn with_columns(mut self, fields: Value, protocol: Value) -> Self {
        self.commit(&[protocol, metadata(fields, &[], json!({}))]).await;
        self
    }

    /// The next commit.
    pub(crate) async fn commit(&mut self, actions: &[Value]) {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        self.storage.put(&format!("_delta_log/{:020}.json", self.next), lines.join("\n")).await.unwrap();
        self.next += 1;
    }

    /// Writes a Parquet file, and gives the action that adds it.
    pub(crate) async fn write(&self, path: &str, batch: &RecordBatch) -> Value {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        self.put(path, bytes).await
    }

    /// Puts the bytes of a data file, and gives the action that adds it.
    pub(crate) async fn put(&self, path: &str, bytes: Vec<u8>) -> Value {
        let size = bytes.len();
        self.storage.put(path, bytes).await.unwrap();
        json!({"add": {"path": path, "partitionValues": {}, "size": size, "modificationTime": 1, "dataChange": true}})
    }

    pub(crate) fn table(&self) -> DeltaTable {
        DeltaTable::at(self.storage.clone(), seeded_env(5))
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.table().snapshot().await.unwrap()
    }

    /// The rows as text, sorted.
    pub(crate) async fn rows(&self) -> Vec<String> {
        rows_of(&self.snapshot().await, None).await
    }

    /// Opens and reads it all.
    pub(crate) async fn read(&self) -> boathouse_base::Result<Vec<RecordBatch>> {
        let snapshot = self.table().snapshot().await?;
        snapshot.scan(ScanRequest::default())?.collect().await
    }

    /// Opens it, and asks for its files.
    pub(crate) async fn files(&self) -> Result<usize> {
        self.table().snapshot().await?.file_count().await
    }
}

/// The rows of the files that can match, as text, sorted.
pub(crate) async fn rows_of(snapshot: &Snapshot, predicate: Option<Predicate>) -> Vec<String> {
    let request = ScanRequest { predicate, ..ScanRequest::default() };
    let batches = snapshot.scan(request).unwrap().collect().await.unwrap();
    bag_of_batches(&snapshot.schema(), &batches).unwrap()
}

/// An action with other fields.
pub(crate) fn with(mut action: Value, changes: Value) -> Value {
    let inner = action.as_object_mut().unwrap().values_mut().next().unwrap().as_object_mut().unwrap();
    inner.extend(changes.as_object().unwrap().clone());
    action
}

/// A `protocol` action of versions alone.
pub(crate) fn versions(reader: u32, writer: u32) -> Value {
    json!({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}})
}

/// A `protocol` action that names features for readers and writers.
pub(crate) fn features(names: &[&str]) -> Value {
    json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": names, "writerFeatures": names}})
}

/// A `metaData` action. `fields` is the list of columns.
pub(crate) fn metadata(fields: Value, partition_columns: &[&str], configuration: Value) -> Value {
    let schema = json!({"type": "struct", "fields": fields}).to_string();
    json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema,
        "partitionColumns": partition_columns,
        "configuration": configuration,
    }})
}

/// A nullable column of the log.
pub(crate) fn column(name: &str, data_type: Value) -> Value {
    json!({"name": name, "type": data_type, "nullable": true, "metadata": {}})
}

/// A nullable column with a place in column mapping.
pub(crate) fn mapped(name: &str, data_type: Value, id: i64, physical: &str) -> Value {
    let mapping = json!({"delta.columnMapping.id": id, "delta.columnMapping.physicalName": physical});
    json!({"name": name, "type": data_type, "nullable": true, "metadata": mapping})
}

/// A batch of nullable columns.
pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

/// A field with a Parquet field id.
pub(crate) fn with_id(field: Field, id: i64) -> Field {
    field.with_metadata(HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())]))
}
