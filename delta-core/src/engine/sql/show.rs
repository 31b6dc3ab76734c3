//! What is known of a table, as rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boathouse_delta_table::{CommitJob, CommitSummary, Snapshot};
use datafusion::arrow::array::builder::{ListBuilder, MapBuilder, StringBuilder};
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field};
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

/// A struct of texts; null where there is none.
fn structs(fields: Vec<(&str, ArrayRef)>, present: Vec<bool>) -> std::result::Result<ArrayRef, ArrowError> {
    let (fields, columns): (Vec<_>, Vec<_>) =
        fields.into_iter().map(|(name, column)| (Field::new(name, DataType::Utf8, true), column)).unzip();
    Ok(Arc::new(StructArray::try_new(fields.into(), columns, Some(present.into()))?))
}

fn jobs(commits: &[CommitSummary]) -> std::result::Result<ArrayRef, ArrowError> {
    let fact = |fact: fn(&CommitJob) -> &Option<String>| {
        texts(commits.iter().map(move |commit| commit.provenance.job.as_ref().and_then(|job| fact(job).as_deref())))
    };
    let fields = vec![
        ("jobId", fact(|job| &job.job_id)),
        ("jobName", fact(|job| &job.job_name)),
        ("jobRunId", fact(|job| &job.job_run_id)),
        ("runId", fact(|job| &job.run_id)),
        ("jobOwnerId", fact(|job| &job.job_owner_id)),
        ("triggerType", fact(|job| &job.trigger_type)),
    ];
    structs(fields, commits.iter().map(|commit| commit.provenance.job.is_some()).collect())
}

fn notebooks(commits: &[CommitSummary]) -> std::result::Result<ArrayRef, ArrowError> {
    let ids = texts(commits.iter().map(|commit| commit.provenance.notebook_id.as_deref()));
    structs(vec![("notebookId", ids)], commits.iter().map(|commit| commit.provenance.notebook_id.is_some()).collect())
}

/// `DESCRIBE HISTORY`: one row for each commit, newest first.
///
/// **Source**: names and order of the reference implementation, `DeltaHistory`.
pub(crate) fn history(commits: &[CommitSummary]) -> Batch {
    let versions: Int64Array = commits.iter().map(|commit| Some(signed(commit.version))).collect();
    let read: Int64Array = commits.iter().map(|commit| commit.read_version.map(signed)).collect();
    let blind: BooleanArray = commits.iter().map(|commit| commit.is_blind_append).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("version", Arc::new(versions) as ArrayRef, false),
        ("timestamp", instants(commits.iter().map(|commit| Some(commit.timestamp_us)).collect()), false),
        ("userId", texts(commits.iter().map(|commit| commit.provenance.user_id.as_deref())), true),
        ("userName", texts(commits.iter().map(|commit| commit.provenance.user_name.as_deref())), true),
        ("operation", texts(commits.iter().map(|commit| commit.operation.as_deref())), true),
        ("operationParameters", maps(commits.iter().map(|commit| &commit.parameters))?, false),
        ("job", jobs(commits)?, true),
        ("notebook", notebooks(commits)?, true),
        ("clusterId", texts(commits.iter().map(|commit| commit.provenance.cluster_id.as_deref())), true),
        ("readVersion", Arc::new(read), true),
        ("isolationLevel", texts(commits.iter().map(|commit| commit.isolation_level.as_deref())), true),
        ("isBlindAppend", Arc::new(blind), true),
        ("operationMetrics", maps(commits.iter().map(|commit| &commit.metrics))?, false),
        ("userMetadata", texts(commits.iter().map(|commit| commit.user_metadata.as_deref())), true),
        ("engineInfo", texts(commits.iter().map(|commit| commit.engine.as_deref())), true),
    ])
}

/// `DESCRIBE DETAIL`: one row.
///
/// **Source**: names and order of the reference implementation, `TableDetail`.
pub(crate) async fn detail(snapshot: &Snapshot) -> Result<Batch> {
    let (files, bytes) = (snapshot.file_count().await?, snapshot.size_bytes().await?);
    let clustering: Vec<String> = snapshot.clustering_columns()?.iter().map(ToString::to_string).collect();
    let (metadata, protocol) = (snapshot.metadata(), snapshot.protocol());
    let configuration = metadata.configuration.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let features: BTreeSet<&str> =
        protocol.reader_features.iter().chain(&protocol.writer_features).flatten().map(String::as_str).collect();
    let batch = maps(std::iter::once(&configuration)).and_then(|properties| {
        RecordBatch::try_from_iter_with_nullable([
            ("format", texts([Some("delta")].into_iter()), false),
            ("id", texts([Some(metadata.id.as_str())].into_iter()), false),
            ("name", texts([metadata.name.as_deref()].into_iter()), true),
            ("description", texts([metadata.description.as_deref()].into_iter()), true),
            ("location", texts([Some(snapshot.url())].into_iter()), false),
            ("createdAt", instants(vec![metadata.created_time.map(|ms| ms.saturating_mul(1000))]), true),
            ("lastModified", instants(vec![Some(snapshot.timestamp_us())]), false),
            ("partitionColumns", list(snapshot.partition_columns().iter().map(String::as_str)), false),
            ("clusteringColumns", list(clustering.iter().map(String::as_str)), false),
            ("numFiles", Arc::new(Int64Array::from(vec![signed(files as u64)])), false),
            ("sizeInBytes", Arc::new(Int64Array::from(vec![signed(bytes)])), false),
            ("properties", properties, false),
            ("minReaderVersion", Arc::new(Int32Array::from(vec![protocol.min_reader_version])), false),
            ("minWriterVersion", Arc::new(Int32Array::from(vec![protocol.min_writer_version])), false),
            ("tableFeatures", list(features.into_iter()), false),
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
