use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::contract::{self, KnownModel, SinkFixture, SourceFixture};
use boathouse_base::memory::{
    FunctionModel, MemoryCatalog, MemoryFeatures, MemorySink, MemorySource, MemoryTable, MemoryTables, SinkFault,
};
use boathouse_base::{
    BatchStream, BoxFuture, Env, EpochCommit, ErrorKind, ManualClock, OutputMode, ReadLimit, Signature, StreamSink, StreamSource,
    Table, TableResolver, TableVersion, WriteRequest,
};

use crate::drive;

fn ids(from: i64, rows: i64) -> RecordBatch {
    let ids: Int64Array = (from..from + rows).map(Some).collect();
    RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef)]).unwrap()
}

#[test]
fn a_table_in_memory_keeps_the_contract() {
    drive(contract::table(async || {
        Arc::new(MemoryTable::new("t", Env::new(ManualClock::starting_at_us(1_000_000), 1))) as Arc<dyn Table>
    }));
}

#[test]
fn a_table_in_memory_takes_its_time_from_the_clock_and_never_goes_back() {
    drive(async {
        let clock = ManualClock::starting_at_us(5_000_000);
        let table = MemoryTable::new("t", Env::new(clock.clone(), 1));
        let write = |from| {
            table.write(WriteRequest::append().or_create(), BatchStream::from_batches(ids(from, 1).schema(), vec![ids(from, 1)]))
        };
        write(0).await.unwrap();
        clock.advance(Duration::from_secs(1));
        write(1).await.unwrap();
        let times: Vec<i64> = table.history().iter().map(|commit| commit.timestamp_us).collect();
        assert_eq!(times, [5_000_000, 6_000_000]);
        let between = table.snapshot(TableVersion::AtUs(5_999_999)).await.unwrap();
        assert_eq!(between.version(), 0);
    });
}

#[test]
fn tables_by_name_are_the_same_table_each_time_and_no_name_is_refused() {
    drive(async {
        let tables = MemoryTables::new(Env::new(ManualClock::default(), 1));
        let batch = ids(0, 3);
        tables
            .table("a")
            .unwrap()
            .write(WriteRequest::append().or_create(), BatchStream::from_batches(batch.schema(), vec![batch]))
            .await
            .unwrap();
        assert_eq!(tables.get("a").snapshot(TableVersion::Latest).await.unwrap().version(), 0);
        assert_eq!(tables.get("b").snapshot(TableVersion::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(tables.table("").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(tables.names(), ["a", "b"]);
    });
}

struct Pushes(MemorySource);

impl SourceFixture for Pushes {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSource>> {
        Box::pin(async { Arc::new(self.0.clone()) as Arc<dyn StreamSource> })
    }

    fn grow(&self) -> BoxFuture<'_, usize> {
        Box::pin(async {
            let from = i64::try_from(self.0.rows()).unwrap();
            self.0.push(ids(from, 3)).unwrap();
            3
        })
    }
}

#[test]
fn a_source_in_memory_keeps_the_contract() {
    drive(contract::source(async || Pushes(MemorySource::new(ids(0, 0).schema()))));
}

#[test]
fn a_row_limit_cuts_a_push_exactly() {
    drive(async {
        let source = MemorySource::new(ids(0, 0).schema());
        source.push(ids(0, 5)).unwrap();
        source.push(ids(5, 5)).unwrap();
        let limit = ReadLimit { rows: Some(7), ..ReadLimit::default() };
        let planned = source.plan(None, limit).await.unwrap().unwrap();
        assert_eq!((planned.end.as_str(), planned.files, planned.more), ("7", 2, true));
        let rest = source.plan(Some(&planned.end), limit).await.unwrap().unwrap();
        assert_eq!((rest.end.as_str(), rest.more), ("10", false));
    });
}

#[test]
fn a_push_with_a_new_column_widens_later_ranges_only() {
    drive(async {
        let source = MemorySource::new(ids(0, 0).schema());
        source.push(ids(0, 2)).unwrap();
        let first = source.plan(None, ReadLimit::default()).await.unwrap().unwrap().end;
        let wider = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![2])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec![Some("ann")])) as ArrayRef),
        ])
        .unwrap();
        let wider = wider
            .with_schema(Arc::new(Schema::new(vec![
                Field::new("id", DataType::Int64, false),
                Field::new("name", DataType::Utf8, true),
            ])))
            .unwrap();
        source.push(wider).unwrap();
        let second = source.plan(Some(&first), ReadLimit::default()).await.unwrap().unwrap().end;
        assert_eq!(source.read(None, &first).await.unwrap().schema().fields().len(), 1);
        let all = source.read(None, &second).await.unwrap().collect().await.unwrap();
        assert_eq!(all.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
        assert_eq!(all[0].column(1).null_count(), 2);
        assert_eq!(source.push(RecordBatch::new_empty(Arc::new(Schema::empty()))).unwrap_err().kind(), ErrorKind::Invalid);
    });
}

struct Epochs(MemorySink);

impl SinkFixture for Epochs {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSink>> {
        Box::pin(async { Arc::new(self.0.clone()) as Arc<dyn StreamSink> })
    }

    fn read(&self) -> BoxFuture<'_, Vec<RecordBatch>> {
        Box::pin(async { self.0.batches() })
    }
}

#[test]
fn a_sink_in_memory_keeps_the_contract() {
    drive(contract::sink(async || Epochs(MemorySink::new())));
}

#[test]
fn a_fault_before_the_commit_writes_nothing_and_one_after_it_loses_only_the_answer() {
    drive(async {
        let sink = MemorySink::new();
        let epoch = |epoch| EpochCommit { query_id: "q".into(), epoch, payload: "{}".into(), mode: OutputMode::Append };
        let rows = || BatchStream::from_batches(ids(0, 2).schema(), vec![ids(0, 2)]);
        sink.fail_next(SinkFault::BeforeCommit);
        sink.fail_next(SinkFault::AfterCommit);
        assert_eq!(sink.commit(epoch(0), rows()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(sink.rows(), 0);
        assert_eq!(sink.commit(epoch(0), rows()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(sink.rows(), 2);
        assert!(sink.commit(epoch(0), rows()).await.unwrap().skipped);
        assert_eq!(sink.epochs().len(), 1);
    });
}

#[test]
fn a_model_that_is_a_function_keeps_the_contract() {
    let inputs = Schema::new(vec![Field::new("a", DataType::Float64, false), Field::new("b", DataType::Float64, true)]);
    let outputs = Arc::new(Schema::new(vec![Field::new("prediction", DataType::Float64, true)]));
    let signature = Signature { inputs: Arc::new(inputs), outputs: Arc::clone(&outputs) };
    let model = FunctionModel::new(signature, move |batch: &RecordBatch| {
        let (a, b) = (batch.column(0).as_primitive::<Float64Type>(), batch.column(1).as_primitive::<Float64Type>());
        let sum: Float64Array = a.iter().zip(b.iter()).map(|(a, b)| Some(2.0 * a? + b?)).collect();
        Ok(RecordBatch::try_new(Arc::clone(&outputs), vec![Arc::new(sum)]).expect("one column"))
    });
    let sample = RecordBatch::try_from_iter([
        ("a", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])) as ArrayRef),
        ("b", Arc::new(Float64Array::from(vec![Some(0.5), None, Some(1.5)])) as ArrayRef),
    ])
    .unwrap();
    contract::model(&model, &sample);
}

#[test]
fn a_catalog_in_memory_keeps_the_contract() {
    let catalog = MemoryCatalog::new();
    for version in 1..=3 {
        assert_eq!(catalog.register("late", "memory:///models/late"), version);
    }
    catalog.set_stage("late", 2, "production").unwrap();
    catalog.set_alias("late", "champion", 1).unwrap();
    assert_eq!(catalog.set_alias("late", "champion", 9).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(catalog.set_stage("late", 1, "Prod").unwrap_err().kind(), ErrorKind::Invalid);
    let known = [("models:/late/Production", 2), ("models:/late@champion", 1), ("models:/late/latest", 3), ("models:/late/2", 2)];
    let known = known.map(|(text, version)| KnownModel { reference: text.parse().unwrap(), version });
    drive(contract::catalog(&catalog, &known));
}

#[test]
fn features_in_memory_keep_the_contract() {
    let features = MemoryFeatures::new();
    let rows = RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from(vec!["JFK", "LGA", "JFK"])) as ArrayRef),
        ("hour", Arc::new(Int64Array::from(vec![1, 2, 1])) as ArrayRef),
        ("wind", Arc::new(Float64Array::from(vec![5.0, 7.0, 9.0])) as ArrayRef),
        ("sky", Arc::new(StringArray::from(vec![Some("clear"), None, Some("rain")])) as ArrayRef),
    ])
    .unwrap();
    features.put("weather", &rows, &["origin", "hour"]).unwrap();
    let key = |origin: Vec<&str>, hour: Vec<i64>| {
        RecordBatch::try_from_iter([
            ("origin", Arc::new(StringArray::from(origin)) as ArrayRef),
            ("hour", Arc::new(Int64Array::from(hour)) as ArrayRef),
        ])
        .unwrap()
    };
    let known = key(vec!["LGA", "JFK"], vec![2, 1]);
    drive(contract::feature_lookup(&features, "weather", &known, &key(vec!["LGA", "EWR"], vec![1, 1])));
    let found = drive(boathouse_base::FeatureLookup::lookup(&features, "weather", &known)).unwrap();
    assert_eq!(found.column(0).as_primitive::<Float64Type>().values(), &[7.0, 9.0], "the later of two rows answers");
}
