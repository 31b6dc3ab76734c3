//! Opening, draining, and looking at rows as JSON.

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field};
use boathouse_autoload::{AutoLoader, AutoLoaderBuilder, ColumnTypes};
use boathouse_base::{Env, ManualClock, Offset, ReadLimit, StreamSource};
use boathouse_storage::Storage;
use serde_json::Value;

/// A landing folder and a state that outlive the sources over them.
pub(crate) struct Site {
    pub(crate) landing: Storage,
    pub(crate) state: Storage,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { landing: Storage::memory().at("landing"), state: Storage::memory().at("state") }
    }

    pub(crate) async fn land(&self, path: &str, content: impl Into<bytes::Bytes>) {
        self.landing.put(path, content).await.unwrap();
    }

    /// JSON with inferred types.
    pub(crate) fn describe(&self) -> AutoLoaderBuilder {
        AutoLoader::over(self.landing.clone())
            .state(self.state.clone())
            .infer_column_types(ColumnTypes::Inferred)
            .env(Env::new(ManualClock::starting_at_us(1), 1))
    }

    pub(crate) async fn open(&self) -> AutoLoader {
        self.describe().open().await.unwrap()
    }
}

pub(crate) fn files(n: u64) -> ReadLimit {
    ReadLimit { files: Some(n), ..ReadLimit::default() }
}

/// One batch; `None` when nothing is new.
pub(crate) async fn step(source: &AutoLoader, start: Option<&Offset>, limit: ReadLimit) -> Option<(Vec<RecordBatch>, Offset)> {
    let planned = source.plan(start, limit).await.unwrap()?;
    let batches = source.read(start, &planned.end).await.unwrap().collect().await.unwrap();
    Some((batches, planned.end))
}

/// Everything that is new, and where it ends.
pub(crate) async fn drain(source: &AutoLoader, start: Option<Offset>) -> (Vec<Value>, Option<Offset>) {
    let (mut all, mut position) = (Vec::new(), start);
    while let Some((batches, end)) = step(source, position.as_ref(), ReadLimit::default()).await {
        assert_ne!(position.as_ref(), Some(&end), "a batch goes forward");
        assert!(all.len() < 10_000, "a folder that does not grow comes to an end");
        all.extend(rows(&batches));
        position = Some(end);
    }
    (all, position)
}

pub(crate) async fn read(source: &AutoLoader, start: Option<&Offset>, end: &Offset) -> Vec<RecordBatch> {
    source.read(start, end).await.unwrap().collect().await.unwrap()
}

/// Rows as JSON objects, without nulls.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Value> {
    let mut out = Vec::new();
    let mut writer = arrow_json::LineDelimitedWriter::new(&mut out);
    for batch in batches {
        writer.write(&printable(batch)).unwrap();
    }
    writer.finish().unwrap();
    out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The rescued data of a row, without the path.
pub(crate) fn rescued(row: &Value) -> Option<Value> {
    let mut value: Value = serde_json::from_str(row.get("_rescued_data")?.as_str().unwrap()).unwrap();
    assert!(value.as_object_mut().unwrap().remove("_file_path").is_some(), "{row}");
    Some(value)
}

pub(crate) async fn quarantine(source: &AutoLoader) -> Vec<Value> {
    rows(&source.quarantine().await.unwrap().collect().await.unwrap())
}

pub(crate) fn names(batches: &[RecordBatch]) -> Vec<String> {
    batches[0].schema().fields().iter().map(|field| field.name().clone()).collect()
}

/// The batch with instants at offset zero: the writer knows offsets only.
fn printable(batch: &RecordBatch) -> RecordBatch {
    fn zone(data_type: &DataType) -> DataType {
        match data_type {
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
            DataType::Struct(fields) => DataType::Struct(
                fields.iter().map(|field| Field::new(field.name(), zone(field.data_type()), field.is_nullable())).collect(),
            ),
            other => other.clone(),
        }
    }
    let columns = batch
        .columns()
        .iter()
        .zip(batch.schema_ref().fields())
        .map(|(array, field)| (field.name().clone(), arrow_cast::cast(array, &zone(field.data_type())).unwrap(), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
