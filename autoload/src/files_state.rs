//! The files of a source as a table.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use boathouse_base::{BatchStream, Error};
use tokio::sync::Mutex;

use crate::error::AutoLoadError;
use crate::landing::Landing;
use crate::ledger::{Landed, Ledger};
use crate::loader::Inner;

const BATCH_FILES: u64 = 16 << 10;

pub(crate) fn files_state(inner: Arc<Mutex<Inner>>, landing: Arc<Landing>) -> BatchStream {
    let batches = futures::stream::try_unfold(0, move |start| {
        let (inner, landing) = (Arc::clone(&inner), Arc::clone(&landing));
        async move {
            let mut inner = inner.lock().await;
            let files = inner.ledger.files(start..start + BATCH_FILES).await?;
            if files.is_empty() {
                return Ok::<_, Error>(None);
            }
            let batch = to_batch(start, &files, &inner.ledger, &landing).map_err(AutoLoadError::Assemble)?;
            Ok(Some((batch, start + files.len() as u64)))
        }
    });
    BatchStream::new(schema(), batches)
}

fn schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("file_sequence", DataType::Int64, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("size_bytes", DataType::Int64, false),
        Field::new("modification_time", instant.clone(), false),
        Field::new("etag", DataType::Utf8, true),
        Field::new("discovery_time", instant.clone(), false),
        Field::new("commit_time", instant.clone(), true),
        Field::new("archive_time", instant, true),
        Field::new("archive_mode", DataType::Utf8, true),
    ]))
}

fn to_batch(start: u64, files: &[Landed], ledger: &Ledger, landing: &Landing) -> Result<RecordBatch, ArrowError> {
    let marks = ledger.marks();
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let instants = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let (mut sequences, mut sizes) = (Int64Builder::new(), Int64Builder::new());
    let (mut paths, mut etags, mut modes) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut modified, mut discovered, mut committed, mut archived) = (instants(), instants(), instants(), instants());
    for (sequence, file) in (start..).zip(files) {
        let cleaned = marks.clean_of(sequence);
        sequences.append_value(signed(sequence));
        paths.append_value(landing.url_of(&file.path));
        sizes.append_value(signed(file.size_bytes));
        modified.append_value(file.modified_us);
        etags.append_option(file.etag.as_deref());
        discovered.append_value(file.discovered_us);
        committed.append_option(marks.commit_time(sequence));
        archived.append_option(cleaned.map(|mark| mark.at_us));
        modes.append_option(cleaned.map(|mark| if mark.moved { "MOVE" } else { "DELETE" }));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(sequences.finish()),
        Arc::new(paths.finish()),
        Arc::new(sizes.finish()),
        Arc::new(modified.finish()),
        Arc::new(etags.finish()),
        Arc::new(discovered.finish()),
        Arc::new(committed.finish()),
        Arc::new(archived.finish()),
        Arc::new(modes.finish()),
    ];
    RecordBatch::try_new(schema(), columns)
}
