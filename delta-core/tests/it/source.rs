//! A table as a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use boathouse_base::contract::{self, SourceFixture};
use boathouse_base::{BoxFuture, ErrorKind, Offset, ReadLimit, StreamSource};
use boathouse_delta_core::{
    DeltaSource, DeltaSourceOptions, DeltaTable, DeltaTableExt, EventTime, OnChange, OnDataLoss, OnNewColumns, StreamRows,
    StreamStart,
};
use boathouse_storage::testing::{CountingStore, Fault, FaultRule, FaultStore};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{batch, row, table_of};

struct Growing {
    storage: Storage,
    next: AtomicI64,
}

impl SourceFixture for Growing {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSource>> {
        let table = DeltaTable::at(self.storage.clone(), seeded_env(2));
        Box::pin(async move { Arc::new(DeltaSource::new(table)) as Arc<dyn StreamSource> })
    }

    fn grow(&self) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            let id = self.next.fetch_add(2, Ordering::Relaxed);
            let table = DeltaTable::at(self.storage.clone(), seeded_env(id.unsigned_abs()));
            table.append(batch(&[row(id, "a", 1), row(id + 1, "b", 2)]).into()).create_if_absent().run().await.unwrap();
            2
        })
    }
}

#[tokio::test]
async fn a_delta_source_keeps_the_contract() {
    let state = async || {
        let table = DeltaTable::at(Storage::memory(), seeded_env(1));
        table.create(crate::rows::schema()).run().await.unwrap();
        Growing { storage: table.storage().clone(), next: AtomicI64::new(1) }
    };
    contract::source(state).await;
}

#[tokio::test]
async fn a_delete_stops_the_stream_with_the_version_that_did_it() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "a", 2)]]).await;
    let source = DeltaSource::new(table.clone());
    let first = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    table.delete().filter("id = 1").run().await.unwrap();
    let error = source.plan(Some(&first.end), ReadLimit::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 2 (DELETE)"), "{error}");
}

#[tokio::test]
async fn a_batch_does_not_read_again_the_commits_that_its_plan_has_read() {
    let (storage, counting) = CountingStore::wrap(&Storage::memory());
    let table = DeltaTable::at(storage, seeded_env(3));
    table.create(crate::rows::schema()).run().await.unwrap();
    for id in 0..5 {
        table.append(batch(&[row(id, "a", 1)]).into()).run().await.unwrap();
    }
    // What comes after commits reads the log, too.
    table.settle().await;
    // The same batch twice: by a source that planned it, and by one that is told of it.
    let options = DeltaSourceOptions { start: StreamStart::Version(0), ..Default::default() };
    let (planner, stranger) = (source_with(&table, options.clone()), source_with(&table, options));
    let end = planner.plan(None, ReadLimit::default()).await.unwrap().unwrap().end;
    let mut reads = Vec::new();
    for source in [stranger, planner] {
        counting.reset();
        let rows = source.read(None, &end).await.unwrap().collect().await.unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 5);
        reads.push(counting.log().iter().filter(|(_, path)| path.ends_with(".json")).count());
    }
    assert_eq!(reads[0] - reads[1], 6, "versions 0 to 5 were read by the plan: {reads:?}");
}

/// The ids that a stream gives from one offset to the next, batch by batch, until there is nothing new.
async fn batches_of(source: &DeltaSource, start: Option<Offset>, limit: ReadLimit) -> (Vec<Vec<i64>>, Option<Offset>) {
    let (mut start, mut batches) = (start, Vec::new());
    while let Some(planned) = source.plan(start.as_ref(), limit).await.unwrap() {
        // Another instance reads what this one planned.
        let reader = source.clone();
        let rows = reader.read(start.as_ref(), &planned.end).await.unwrap().collect().await.unwrap();
        let ids = rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        batches.push(ids.collect());
        start = Some(planned.end);
    }
    (batches, start)
}

const ONE_FILE: ReadLimit = ReadLimit { files: Some(1), bytes: None, rows: None };

fn source_with(table: &DeltaTable, options: DeltaSourceOptions) -> DeltaSource {
    DeltaSource::new(table.clone()).with_options(options)
}

#[tokio::test]
async fn a_stream_begins_with_the_rows_that_are_there_and_a_commit_of_many_files_is_split() {
    let table = table_of(true, &[&[row(1, "a", 1)], &[row(2, "a", 2)]]).await;
    table.delete().filter("id = 1").run().await.unwrap();
    let source = DeltaSource::new(table.clone());
    let (first, at) = batches_of(&source, None, ONE_FILE).await;
    assert_eq!(first, [[2]], "what was deleted before is not there");
    table.append(batch(&[row(3, "a", 3), row(4, "b", 4), row(5, "c", 5)]).into()).run().await.unwrap();
    table.append(batch(&[row(6, "a", 6)]).into()).run().await.unwrap();
    let (one_by_one, _) = batches_of(&source, at.clone(), ONE_FILE).await;
    assert_eq!(one_by_one, [[3], [4], [5], [6]]);
    let two = ReadLimit { files: Some(2), ..ReadLimit::default() };
    assert_eq!(batches_of(&source, at, two).await.0, [[3, 4], [5, 6]]);
}

#[tokio::test]
async fn a_limit_of_rows_takes_whole_files_by_their_statistics() {
    let table = table_of(true, &[&[row(1, "a", 1), row(2, "a", 2), row(3, "a", 3)], &[row(4, "a", 4)]]).await;
    table.delete().filter("id = 1").run().await.unwrap();
    let rows = |rows| ReadLimit { rows: Some(rows), ..ReadLimit::default() };
    let source = DeltaSource::new(table.clone());
    let sizes = |batches: Vec<Vec<i64>>| batches.iter().map(Vec::len).collect::<Vec<_>>();
    let begin = async |limit| batches_of(&DeltaSource::new(table.clone()), None, rows(limit)).await;
    assert_eq!(sizes(begin(3).await.0), [3], "a deleted row is not counted");
    let mut apart = sizes(begin(2).await.0);
    apart.sort_unstable();
    assert_eq!(apart, [1, 2]);
    let (_, at) = begin(1).await;
    table.append(batch(&[row(5, "a", 5), row(6, "b", 6), row(7, "b", 7), row(8, "c", 8)]).into()).run().await.unwrap();
    table.append(batch(&[row(9, "c", 9)]).into()).run().await.unwrap();
    let batches = batches_of(&source, at.clone(), rows(3)).await.0;
    assert_eq!(batches, [[5, 6, 7].as_slice(), &[8, 9]], "a commit is split, and commits are put together");
    let batches = batches_of(&source, at, rows(1)).await.0;
    assert_eq!(batches, [[5].as_slice(), &[6, 7], &[8], &[9]], "a file is taken whole");
}

#[tokio::test]
async fn a_stream_begins_at_a_version_or_at_a_time() {
    let table = table_of(false, &[&[row(1, "a", 1)], &[row(2, "a", 2)], &[row(3, "a", 3)]]).await;
    let start = |start| source_with(&table, DeltaSourceOptions { start, ..Default::default() });
    let ids = async |source: DeltaSource| batches_of(&source, None, ReadLimit::default()).await.0.concat();
    assert_eq!(ids(start(StreamStart::Version(2))).await, [2, 3]);
    let error = start(StreamStart::Version(4)).plan(None, ReadLimit::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("its newest version is 3"), "{error}");
    let at_us = table.snapshot_at(boathouse_base::TableVersion::Number(3)).await.unwrap().timestamp_us();
    assert_eq!(ids(start(StreamStart::AtUs(at_us))).await, [3]);
    assert_eq!(ids(start(StreamStart::AtUs(0))).await, [1, 2, 3]);
    let error = start(StreamStart::AtUs(at_us + 1000)).plan(None, ReadLimit::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("its newest version, 3, is of"), "{error}");
    let later = start(StreamStart::Later);
    assert_eq!(later.plan(None, ReadLimit::default()).await.unwrap(), None, "nothing came yet");
    table.append(batch(&[row(4, "a", 4)]).into()).run().await.unwrap();
    assert_eq!(ids(later).await, [4], "what came between two plans is not lost");
}

#[tokio::test]
async fn a_rename_stops_the_stream_even_when_the_columns_before_it_cannot_be_read_at_first() {
    let table = crate::rows::table_of_with(&[("delta.columnMapping.mode", "name")], &[&[row(1, "a", 1)]]).await;
    table.alter().rename_column("v", "value").run().await.unwrap();
    table.append(table.snapshot().await.unwrap().scan(Default::default()).unwrap()).run().await.unwrap();
    let (mut failed, mut nth) = (0, 0);
    loop {
        let store = FaultStore::new(Arc::clone(table.storage().object_store()));
        let storage = table.storage().with_object_store(|_| Arc::new(store.clone()));
        let fresh = DeltaTable::at(storage, seeded_env(5));
        // The store fails at one request of the plan, for good.
        store.inject(FaultRule::new(Fault::FailBefore).skip(nth));
        let options = DeltaSourceOptions { start: StreamStart::Version(2), ..Default::default() };
        let planned = source_with(&fresh, options).plan(None, ReadLimit::default()).await;
        let error = planned.expect_err("a rename never passes");
        if store.injected().is_empty() {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            break;
        }
        (failed, nth) = (failed + 1, nth + 1);
    }
    assert!(failed > 2, "{failed} requests failed");
}

#[tokio::test]
async fn commits_that_change_rows_fail_or_are_skipped_or_give_files_again_as_the_options_say() {
    let changes = |on_change| DeltaSourceOptions { start: StreamStart::Version(1), on_change, ..Default::default() };
    let table = table_of(true, &[&[row(1, "a", 1), row(2, "a", 2)], &[row(3, "b", 3)]]).await;
    table.delete().filter("part = 'b'").run().await.unwrap();
    table.append(batch(&[row(4, "c", 4)]).into()).run().await.unwrap();
    table.update().set("v", "9").filter("id = 1").run().await.unwrap();
    table.append(batch(&[row(5, "c", 5)]).into()).run().await.unwrap();
    let skipped = source_with(&table, changes(OnChange::SkipCommit));
    assert_eq!(batches_of(&skipped, None, ReadLimit::default()).await.0.concat(), [1, 2, 3, 4, 5]);
    let again = source_with(&table, changes(OnChange::GiveAgain));
    assert_eq!(batches_of(&again, None, ReadLimit::default()).await.0.concat(), [1, 2, 3, 4, 1, 2, 5]);
    // A delete of whole files is passed over, and the update fails, once everything before it was given.
    let ignoring = source_with(&table, changes(OnChange::IgnoreDeletes));
    let first = ignoring.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    let rows = ignoring.read(None, &first.end).await.unwrap().collect().await.unwrap();
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 4);
    let error = ignoring.plan(Some(&first.end), ReadLimit::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("version 5 (UPDATE)"), "{error}");
}

#[tokio::test]
async fn the_change_feed_as_a_stream_is_the_feed_as_a_batch_after_the_rows_of_the_beginning() {
    let properties = [crate::rows::FEED, crate::rows::VECTORS];
    let table = crate::rows::table_of_with(&properties, &[&[row(1, "a", 1), row(2, "a", 2), row(3, "a", 3)]]).await;
    let options = DeltaSourceOptions { rows: StreamRows::Changes, ..Default::default() };
    let source = source_with(&table, options.clone());
    let beginning = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    table.update().set("v", "v + 10").filter("id = 2").run().await.unwrap();
    table.delete().filter("id = 1").run().await.unwrap();
    table.append(batch(&[row(9, "z", 9)]).into()).run().await.unwrap();
    let merge = table.merge(crate::rows::frame(&[row(3, "m", 30), row(8, "m", 80)]), "t.id = s.id");
    merge.when_matched_update_all().when_not_matched_insert_all().run().await.unwrap();
    let described = |batches: &[RecordBatch]| {
        let mut rows = Vec::new();
        for batch in batches {
            let text =
                |column: &arrow_array::ArrayRef, at| datafusion::arrow::util::display::array_value_to_string(column, at).unwrap();
            rows.extend(
                (0..batch.num_rows()).map(|at| batch.columns().iter().map(|c| text(c, at)).collect::<Vec<_>>().join(" ")),
            );
        }
        rows.sort();
        rows
    };
    let first = source.read(None, &beginning.end).await.unwrap().collect().await.unwrap();
    assert_eq!(described(&first).len(), 3);
    assert!(described(&first).iter().all(|row| row.contains(" insert 1 ")), "{:?}", described(&first));
    // Commit by commit, and by a source that knows nothing yet.
    let (mut at, mut streamed) = (beginning.end, Vec::new());
    loop {
        let fresh = source_with(&table, options.clone());
        let Some(planned) = fresh.plan(Some(&at), ONE_FILE).await.unwrap() else { break };
        streamed
            .extend(source_with(&table, options.clone()).read(Some(&at), &planned.end).await.unwrap().collect().await.unwrap());
        at = planned.end;
    }
    let batch = table.changes(2..).read().await.unwrap().collect().await.unwrap();
    assert_eq!(described(&streamed), described(&batch));
    assert_eq!(described(&batch).len(), 2 + 1 + 1 + 3);
}

#[tokio::test]
async fn new_columns_come_with_a_new_batch_and_renamed_ones_stop_the_stream_unless_it_is_to_follow() {
    let table = crate::rows::table_of_with(&[("delta.columnMapping.mode", "name")], &[&[row(1, "a", 1)]]).await;
    let options = |on_new_columns| DeltaSourceOptions { start: StreamStart::Version(1), on_new_columns, ..Default::default() };
    let source = source_with(&table, options(OnNewColumns::Fail));
    table.alter().add_column(arrow_schema::Field::new("w", arrow_schema::DataType::Int64, true)).run().await.unwrap();
    table.append(batch(&[row(2, "a", 2)]).into()).run().await.unwrap();
    let first = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    let columns = async |start: Option<&Offset>, end: &Offset| source.read(start, end).await.unwrap().schema().fields().len();
    assert_eq!(columns(None, &first.end).await, 3);
    let second = source.plan(Some(&first.end), ReadLimit::default()).await.unwrap().unwrap();
    assert_eq!(columns(Some(&first.end), &second.end).await, 4);
    table.alter().rename_column("v", "value").run().await.unwrap();
    let error = source.plan(Some(&second.end), ReadLimit::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("version 4"), "{error}");
    let follows = source_with(&table, options(OnNewColumns::Follow));
    assert_eq!(follows.plan(Some(&second.end), ReadLimit::default()).await.unwrap(), None, "a rename has no rows");
}

#[tokio::test]
async fn commits_that_are_gone_fail_the_stream_or_are_passed_over() {
    let table = table_of(false, &[&[row(1, "a", 1)], &[row(2, "a", 2)], &[row(3, "a", 3)]]).await;
    table.checkpoint().run().await.unwrap();
    table.settle().await;
    for version in 0..2 {
        table.storage().delete(&format!("_delta_log/{version:020}.json")).await.unwrap();
    }
    let options = |on_data_loss| DeltaSourceOptions { start: StreamStart::Version(1), on_data_loss, ..Default::default() };
    let fresh = DeltaTable::at(table.storage().clone(), seeded_env(9));
    let error = source_with(&fresh, options(OnDataLoss::Fail)).plan(None, ReadLimit::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("version 1"), "{error}");
    let goes_on = source_with(&fresh, options(OnDataLoss::GoOn));
    assert_eq!(batches_of(&goes_on, None, ReadLimit::default()).await.0, [[2, 3]]);
    // A stream that begins with the rows that are there does not need them.
    let mut all = batches_of(&DeltaSource::new(fresh), None, ReadLimit::default()).await.0.concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
}

#[tokio::test]
async fn the_rows_of_the_beginning_come_in_the_order_of_their_event_time() {
    let hour = 3_600_000_000_i64;
    let events = |times: &[Option<i64>]| {
        let ids = Int64Array::from_iter_values(times.iter().map(|at| at.map_or(-1, |at| at / 1000)));
        let at = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC");
        RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(ids) as arrow_array::ArrayRef, true),
            ("at", Arc::new(at) as arrow_array::ArrayRef, true),
        ])
        .unwrap()
    };
    let table = DeltaTable::at(Storage::memory(), seeded_env(4));
    // Late and early rows lie in both files; one has no time.
    for file in [[Some(5 * hour), Some(hour / 2), None], [Some(hour), Some(5 * hour + 7), Some(2 * hour - 1)]] {
        table.append(events(&file).into()).create_if_absent().run().await.unwrap();
    }
    let event_time = |interval_us| Some(EventTime { column: "at".to_owned(), interval_us });
    let options = |us| DeltaSourceOptions { event_time: event_time(us), ..Default::default() };
    let source = source_with(&table, options(hour.unsigned_abs()));
    let (batches, at) = batches_of(&source, None, ONE_FILE).await;
    let all = batches.concat();
    assert_eq!(all.len(), 6, "{batches:?}");
    let hours: Vec<i64> = all.iter().filter(|id| **id >= 0).map(|id| (id * 1000 - hour / 2) / hour).collect();
    assert!(hours.is_sorted() && batches.len() > 2, "{batches:?}");
    table.append(events(&[Some(0)]).into()).run().await.unwrap();
    assert_eq!(batches_of(&source, at, ReadLimit::default()).await.0, [[0]], "later rows come when they come");
    // Intervals of a microsecond are too many: they become fewer, and every row still comes once.
    let fine = source_with(&table, options(1));
    assert_eq!(batches_of(&fine, None, ReadLimit::default()).await.0.concat().len(), 7);
    let wrong = source_with(
        &table,
        DeltaSourceOptions { event_time: Some(EventTime { column: "id".into(), interval_us: 1 }), ..Default::default() },
    );
    assert_eq!(wrong.plan(None, ReadLimit::default()).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_file_that_was_compacted_away_is_read_until_it_is_vacuumed() {
    let table = table_of(false, &[&[row(1, "a", 1)], &[row(2, "a", 2)]]).await;
    let source = source_with(&table, DeltaSourceOptions { start: StreamStart::Version(1), ..Default::default() });
    crate::marks::compact(&table).await;
    assert_eq!(batches_of(&source, None, ONE_FILE).await.0, [[1], [2]]);
}
