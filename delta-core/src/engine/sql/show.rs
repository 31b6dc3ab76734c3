//! What is known of a table, as rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use boathouse_delta_table::{CommitSummary, Snapshot};
use datafusion::arrow::array::builder::{ListBuilder, MapBuilder, StringBuilder};
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::error::ArrowError;

use super::cursor::TableName;
use crate::engine::error::Result;

type Batch = std::result::Result<RecordBatch, ArrowError>;

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn instants(us: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(us).with_timezone("UTC"))
}

fn texts<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(texts.collect::<StringArray>())
}

fn maps<'a>(maps: impl Iterator<Item = &'a BTreeMap<String, String>>) -> std::result::Result<ArrayRef, ArrowError> {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for map in maps {
        for (key, value) in map {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for text in texts {
        builder.values().append_value(text);
    }
    builder.append(true);
    Arc::new(builder.finish())
}

/// `DESCRIBE HISTORY`: one row for each commit, newest first.
pub(crate) fn history(commits: &[CommitSummary]) -> Batch {
    let versions: Int64Array = commits.iter().map(|commit| Some(signed(commit.version))).collect();
    let read: Int64Array = commits.iter().map(|commit| commit.read_version.map(signed)).collect();
    let blind: BooleanArray = commits.iter().map(|commit| commit.is_blind_append).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("version", Arc::new(versions) as ArrayRef, false),
        ("timestamp", instants(commits.iter().map(|commit| Some(commit.timestamp_us)).collect()), false),
        ("operation", texts(commits.iter().map(|commit| commit.operation.as_deref())), true),
        ("operation_parameters", maps(commits.iter().map(|commit| &commit.parameters))?, false),
        ("read_version", Arc::new(read), true),
        ("isolation_level", texts(commits.iter().map(|commit| commit.isolation_level.as_deref())), true),
        ("is_blind_append", Arc::new(blind), true),
        ("operation_metrics", maps(commits.iter().map(|commit| &commit.metrics))?, false),
        ("user_metadata", texts(commits.iter().map(|commit| commit.user_metadata.as_deref())), true),
        ("engine_info", texts(commits.iter().map(|commit| commit.engine.as_deref())), true),
    ])
}

/// `DESCRIBE DETAIL`: one row.
pub(crate) async fn detail(snapshot: &Snapshot) -> Result<Batch> {
    let (files, bytes) = (snapshot.file_count().await?, snapshot.size_bytes().await?);
    let (metadata, protocol) = (snapshot.metadata(), snapshot.protocol());
    let configuration = metadata.configuration.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let features: std::collections::BTreeSet<&str> =
        protocol.reader_features.iter().chain(&protocol.writer_features).flatten().map(String::as_str).collect();
    let batch = maps(std::iter::once(&configuration)).and_then(|properties| {
        RecordBatch::try_from_iter_with_nullable([
            ("format", texts([Some("delta")].into_iter()), false),
            ("id", texts([Some(metadata.id.as_str())].into_iter()), false),
            ("name", texts([metadata.name.as_deref()].into_iter()), true),
            ("description", texts([metadata.description.as_deref()].into_iter()), true),
            ("location", texts([Some(snapshot.url())].into_iter()), false),
            ("created_at", instants(vec![metadata.created_time.map(|ms| ms.saturating_mul(1000))]), true),
            ("last_modified", instants(vec![Some(snapshot.timestamp_us())]), false),
            ("partition_columns", list(snapshot.partition_columns().iter().map(String::as_str)), false),
            ("num_files", Arc::new(Int64Array::from(vec![signed(files as u64)])), false),
            ("size_in_bytes", Arc::new(Int64Array::from(vec![signed(bytes)])), false),
            ("properties", properties, false),
            ("min_reader_version", Arc::new(Int32Array::from(vec![protocol.min_reader_version])), false),
            ("min_writer_version", Arc::new(Int32Array::from(vec![protocol.min_writer_version])), false),
            ("table_features", list(features.into_iter()), false),
        ])
    });
    Ok(batch)
}

/// `SHOW TBLPROPERTIES`: a row for each, or for the one asked for.
pub(crate) fn properties(snapshot: &Snapshot, name: &TableName, key: Option<&str>) -> Batch {
    let mut all: BTreeMap<String, String> =
        snapshot.metadata().configuration.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    all.insert("delta.minReaderVersion".to_owned(), snapshot.protocol().min_reader_version.to_string());
    all.insert("delta.minWriterVersion".to_owned(), snapshot.protocol().min_writer_version.to_string());
    if let Some(key) = key {
        all.retain(|property, _| property.eq_ignore_ascii_case(key));
        // As Spark says it: a row, and no error.
        if all.is_empty() {
            all.insert(key.to_owned(), format!("Table {name} does not have property: {key}"));
        }
    }
    RecordBatch::try_from_iter([
        ("key", texts(all.keys().map(|key| Some(key.as_str())))),
        ("value", texts(all.values().map(|value| Some(value.as_str())))),
    ])
}
