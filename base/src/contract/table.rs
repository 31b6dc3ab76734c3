//! The contract of [`Table`] and [`TableSnapshot`](crate::TableSnapshot).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::rows::{assert_kind, batch, columns, failing_stream, ids, rows_of, scan_ids, schema, stream, stream_of, table_ids};
use super::together::{both, polled_at_most};
use crate::batch_stream::BatchStream;
use crate::error::ErrorKind;
use crate::predicate::{Comparison, Predicate};
use crate::table::{AppTransaction, IfAbsent, ScanRequest, SchemaMode, Table, TableVersion, WriteMode, WriteRequest};

/// Checks an implementation of [`Table`]. `make` gives a table that does not exist yet, another at each call.
///
/// Timestamps may come from any clock that does not run backwards.
pub async fn table(make: impl AsyncFn() -> Arc<dyn Table>) {
    absent(make().await).await;
    created_by_a_write(make().await).await;
    created_empty(make().await).await;
    versions(make().await).await;
    failed_writes(make().await).await;
    failed_creation(make().await).await;
    enforced_schema(make().await).await;
    merged_schema(make().await).await;
    overwritten_schema(make().await).await;
    partitions(make().await).await;
    unknown_partition(make().await).await;
    replaced_where(make().await).await;
    scans(make().await).await;
    transactions(make().await).await;
    two_writers(make().await).await;
    two_creators(make().await).await;
    for polls in 0..24 {
        dropped_write(make().await, polls).await;
    }
}

async fn with_rows(table: &Arc<dyn Table>, ids: &[i64]) {
    table.write(WriteRequest::append().or_create(), stream(ids)).await.expect("a write creates the table");
}

async fn latest(table: &Arc<dyn Table>) -> u64 {
    table.snapshot(TableVersion::Latest).await.expect("the latest version can be opened").version()
}

async fn absent(table: Arc<dyn Table>) {
    assert!(!table.location().is_empty(), "a table has a location");
    for version in [TableVersion::Latest, TableVersion::Number(0), TableVersion::AtUs(i64::MAX)] {
        assert_kind(&table.snapshot(version).await, ErrorKind::NotFound, &[], "open a table that does not exist");
    }
    let written = table.write(WriteRequest::append(), stream(&[1])).await;
    assert_kind(&written, ErrorKind::NotFound, &[], "append without `IfAbsent::Create`");
    let written = table.write(WriteRequest::overwrite(), stream(&[1])).await;
    assert_kind(&written, ErrorKind::NotFound, &[], "overwrite without `IfAbsent::Create`");
    let opened = table.snapshot(TableVersion::Latest).await;
    assert_kind(&opened, ErrorKind::NotFound, &[], "open after refused writes");
}

async fn created_by_a_write(table: Arc<dyn Table>) {
    let location = table.location().to_owned();
    let report = table.write(WriteRequest::append().or_create(), stream(&[1, 2, 3])).await.expect("a write creates the table");
    assert_eq!((report.version, report.rows, report.skipped), (0, 3, false), "the first commit is version 0");
    assert!(report.attempts >= 1, "a write takes at least one attempt");
    let snapshot = table.snapshot(TableVersion::Latest).await.expect("a created table opens");
    assert_eq!(snapshot.version(), 0);
    assert_eq!(columns(&snapshot.schema()), columns(&schema()), "the schema is that of the data");
    assert!(snapshot.partition_columns().is_empty());
    assert_eq!(scan_ids(&snapshot).await, [1, 2, 3]);
    assert_eq!(table.location(), location, "the location of a table does not change");
    let report = table.write(WriteRequest::append().or_create(), stream(&[4])).await.expect("`or_create` appends as well");
    assert_eq!(report.version, 1);
    assert_eq!(table_ids(&table).await, [1, 2, 3, 4]);
}

async fn created_empty(table: Arc<dyn Table>) {
    table
        .write(WriteRequest::append().or_create(), BatchStream::empty(schema()))
        .await
        .expect("an empty write creates the table");
    let snapshot = table.snapshot(TableVersion::Latest).await.expect("a table without rows opens");
    assert_eq!(columns(&snapshot.schema()), columns(&schema()));
    let rows = snapshot.scan(ScanRequest::default()).await.expect("a table without rows is scanned");
    assert_eq!(columns(&rows.schema()), columns(&schema()), "an empty scan has a schema");
    assert_eq!(rows_of(&rows.collect().await.unwrap()), 0);
}

async fn versions(table: Arc<dyn Table>) {
    with_rows(&table, &[1, 2]).await;
    let first = table.snapshot(TableVersion::Latest).await.unwrap();
    let appended = table.write(WriteRequest::append(), stream(&[3])).await.expect("an append to a table");
    assert_eq!((appended.version, appended.rows), (1, 1));
    let overwritten = table.write(WriteRequest::overwrite(), stream(&[7, 8])).await.expect("an overwrite of a table");
    assert_eq!(overwritten.version, 2);

    assert_eq!(scan_ids(&first).await, [1, 2], "a snapshot never changes");
    let expected: [&[i64]; 3] = [&[1, 2], &[1, 2, 3], &[7, 8]];
    let mut timestamps = Vec::new();
    for (number, expected) in expected.iter().enumerate() {
        let snapshot = table.snapshot(TableVersion::Number(number as u64)).await.expect("a past version opens");
        assert_eq!(snapshot.version(), number as u64);
        assert_eq!(scan_ids(&snapshot).await, *expected, "rows of version {number}");
        timestamps.push(snapshot.timestamp_us());
    }
    assert!(timestamps.is_sorted(), "the time of commits never runs backwards: {timestamps:?}");
    for at in &timestamps {
        let snapshot = table.snapshot(TableVersion::AtUs(*at)).await.expect("a version by its time");
        let last = timestamps.iter().rposition(|t| t <= at).unwrap() as u64;
        assert_eq!(snapshot.version(), last, "the last version at or before {at} of {timestamps:?}");
    }
    let later = table.snapshot(TableVersion::AtUs(timestamps[2].saturating_add(3_600_000_000))).await;
    assert_kind(&later, ErrorKind::NotFound, &[], "open after the newest commit");
    let early = table.snapshot(TableVersion::AtUs(timestamps[0].saturating_sub(1_000_000))).await;
    assert_kind(&early, ErrorKind::NotFound, &[], "open before the first commit");
    assert_kind(&table.snapshot(TableVersion::Number(99)).await, ErrorKind::NotFound, &["99"], "open a version to come");
}

async fn failed_writes(table: Arc<dyn Table>) {
    with_rows(&table, &[1, 2]).await;
    for request in [WriteRequest::append(), WriteRequest::overwrite()] {
        let what = format!("a write ({:?}) whose rows fail half-way", request.mode);
        let written = table.write(request, failing_stream(&[3])).await;
        assert_kind(&written, ErrorKind::Unavailable, &[], &what);
        assert_eq!((latest(&table).await, table_ids(&table).await), (0, vec![1, 2]), "{what} changed the table");
    }
    table.write(WriteRequest::append(), stream(&[3])).await.expect("a write after a failed one");
    assert_eq!(table_ids(&table).await, [1, 2, 3]);
}

async fn failed_creation(table: Arc<dyn Table>) {
    let written = table.write(WriteRequest::append().or_create(), failing_stream(&[1])).await;
    assert_kind(&written, ErrorKind::Unavailable, &[], "a creating write whose rows fail");
    let opened = table.snapshot(TableVersion::Latest).await;
    assert_kind(&opened, ErrorKind::NotFound, &[], "open a table whose creation failed");
}

/// `id` and one more column.
fn id_and(column: &str, values: ArrayRef) -> RecordBatch {
    let ids: Vec<i64> = (100..100 + values.len() as i64).collect();
    let schema =
        Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new(column, values.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(ids)), values]).unwrap()
}

async fn enforced_schema(table: Arc<dyn Table>) {
    with_rows(&table, &[1, 2]).await;
    let unchanged = async |what: &str| {
        assert_eq!((latest(&table).await, table_ids(&table).await), (0, vec![1, 2]), "{what} changed the table");
    };
    let extra = id_and("altitude", Arc::new(Int64Array::from(vec![5])));
    let written = table.write(WriteRequest::append(), stream_of(extra)).await;
    assert_kind(&written, ErrorKind::Invalid, &["altitude"], "append a column that the table has not");
    unchanged("an unknown column").await;

    let other_type = id_and("delay", Arc::new(StringArray::from(vec!["soon"])));
    let written = table.write(WriteRequest::append(), stream_of(other_type)).await;
    assert_kind(&written, ErrorKind::Invalid, &["delay"], "append text to a column of numbers");
    unchanged("a column of another type").await;

    let no_id = RecordBatch::try_from_iter([("name", Arc::new(StringArray::from(vec!["ann"])) as ArrayRef)]).unwrap();
    let written = table.write(WriteRequest::append(), stream_of(no_id)).await;
    assert_kind(&written, ErrorKind::Invalid, &["id"], "append without a required column");
    unchanged("a missing required column").await;

    let null_id = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let null_id = RecordBatch::try_new(Arc::new(null_id), vec![Arc::new(Int64Array::from(vec![Some(9), None]))]).unwrap();
    let written = table.write(WriteRequest::append(), stream_of(null_id)).await;
    assert_kind(&written, ErrorKind::Invalid, &["id"], "append a null to a required column");
    unchanged("a null in a required column").await;

    let reordered = batch(&[3]).project(&[2, 0, 1]).unwrap();
    table.write(WriteRequest::append(), stream_of(reordered)).await.expect("columns are found by name, in any order");
    assert_eq!(table_ids(&table).await, [1, 2, 3]);
    let only_id = batch(&[50]).project(&[0]).unwrap();
    table.write(WriteRequest::append(), stream_of(only_id)).await.expect("a nullable column may be left out");
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    let names = snapshot.scan(ScanRequest::default().project(["name"])).await.unwrap().collect().await.unwrap();
    assert_eq!(names.iter().map(|b| b.column(0).null_count()).sum::<usize>(), 1, "a column left out is null");
    assert_eq!(columns(&snapshot.schema()), columns(&schema()), "enforcement keeps the schema");
}

async fn merged_schema(table: Arc<dyn Table>) {
    with_rows(&table, &[1, 2]).await;
    let wider = id_and("altitude", Arc::new(Int64Array::from(vec![5])));
    let report = table.write(WriteRequest::append().merge_schema(), stream_of(wider)).await.expect("merge adds a column");
    assert_eq!(report.version, 1);
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    let mut expected = columns(&schema());
    expected.push(("altitude".to_owned(), DataType::Int64, true));
    assert_eq!(columns(&snapshot.schema()), expected, "a merged column comes last and is nullable");
    let altitudes = snapshot.scan(ScanRequest::default().project(["altitude"])).await.unwrap().collect().await.unwrap();
    assert_eq!(rows_of(&altitudes), 3);
    assert_eq!(altitudes.iter().map(|b| b.column(0).null_count()).sum::<usize>(), 2, "earlier rows are null there");

    let other_type = id_and("altitude", Arc::new(StringArray::from(vec!["high"])));
    let written = table.write(WriteRequest::append().merge_schema(), stream_of(other_type)).await;
    assert_kind(&written, ErrorKind::Invalid, &["altitude"], "merge changes no type");
    assert_eq!(latest(&table).await, 1);
    let first = table.snapshot(TableVersion::Number(0)).await.unwrap();
    assert_eq!(columns(&first.schema()), columns(&schema()), "an old version keeps its schema");
}

async fn overwritten_schema(table: Arc<dyn Table>) {
    with_rows(&table, &[1, 2]).await;
    let other = || id_and("altitude", Arc::new(StringArray::from(vec!["high", "low"])));
    let request = WriteRequest { schema_mode: SchemaMode::Overwrite, ..WriteRequest::append() };
    let written = table.write(request, stream_of(other())).await;
    assert_kind(&written, ErrorKind::Invalid, &[], "replace the schema without the rows");
    assert_kind(
        &table.write(WriteRequest::overwrite(), stream_of(other())).await,
        ErrorKind::Invalid,
        &["altitude"],
        "overwrite with other columns and an enforced schema",
    );
    let request = WriteRequest { schema_mode: SchemaMode::Overwrite, ..WriteRequest::overwrite() };
    let report = table.write(request, stream_of(other())).await.expect("the schema is replaced with the rows");
    assert_eq!(report.version, 1);
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    assert_eq!(columns(&snapshot.schema()), columns(&other().schema()));
    assert_eq!(scan_ids(&snapshot).await, [100, 101]);
    let first = table.snapshot(TableVersion::Number(0)).await.unwrap();
    assert_eq!(scan_ids(&first).await, [1, 2], "an old version is read with its own schema");
}

fn partitioned(columns: &[&str]) -> WriteRequest {
    let if_absent =
        IfAbsent::Create { partition_columns: columns.iter().map(|c| (*c).to_owned()).collect(), properties: BTreeMap::new() };
    WriteRequest { if_absent, ..WriteRequest::append() }
}

async fn partitions(table: Arc<dyn Table>) {
    let all: Vec<i64> = (0..40).collect();
    table.write(partitioned(&["name"]), stream(&all)).await.expect("a write creates a partitioned table");
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    assert_eq!(snapshot.partition_columns(), ["name"]);
    assert_eq!(columns(&snapshot.schema()), columns(&schema()), "the schema holds the partition columns, in their place");
    assert_eq!(scan_ids(&snapshot).await, all, "rows come back with their partition values");
    table.write(WriteRequest::append(), stream(&[40, 41])).await.expect("an append to a partitioned table");
    assert_eq!(table_ids(&table).await.len(), 42);
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    let bobs = ScanRequest::default().project(["id", "name"]).filter(Predicate::eq("name", "bob"));
    let found = ids(&snapshot.scan(bobs).await.unwrap().collect().await.unwrap());
    assert!((0..42).filter(|id| id % 4 == 1).all(|id| found.contains(&id)), "a partition filter loses no row: {found:?}");
}

async fn unknown_partition(table: Arc<dyn Table>) {
    let written = table.write(partitioned(&["altitude"]), stream(&[1])).await;
    assert_kind(&written, ErrorKind::Invalid, &["altitude"], "partition by a column that is not there");
    assert_kind(&table.snapshot(TableVersion::Latest).await, ErrorKind::NotFound, &[], "open after a refused creation");
}

async fn replaced_where(table: Arc<dyn Table>) {
    with_rows(&table, &[1, 2, 3, 4, 5]).await;
    let replace = |predicate| WriteRequest { mode: WriteMode::ReplaceWhere(predicate), ..WriteRequest::append() };
    // Row 5 has no delay, so `delay > 1` is unknown for it: it stays.
    let late = Predicate::compare("delay", Comparison::Gt, 1.0);
    let written = table.write(replace(late.clone()), stream(&[7, 1])).await;
    assert_kind(&written, ErrorKind::Invalid, &["delay"], "replace with a row that does not match");
    assert_eq!(table_ids(&table).await, [1, 2, 3, 4, 5], "a refused replacement changed the table");
    let report = table.write(replace(late.clone()), stream(&[7, 8])).await.expect("rows that match are replaced");
    assert_eq!((report.version, report.rows), (1, 2));
    assert_eq!(table_ids(&table).await, [1, 2, 5, 7, 8]);
    table.write(replace(late), BatchStream::empty(schema())).await.expect("rows are replaced by none");
    assert_eq!(table_ids(&table).await, [1, 2, 5]);
    let nowhere = table.write(replace(Predicate::eq("altitude", 1)), BatchStream::empty(schema())).await;
    assert!(nowhere.is_err(), "a predicate over a column that is not there replaces nothing");
    assert_eq!(table_ids(&table).await, [1, 2, 5]);
}

async fn scans(table: Arc<dyn Table>) {
    let all: Vec<i64> = (0..100).collect();
    with_rows(&table, &all[..50]).await;
    table.write(WriteRequest::append(), stream(&all[50..])).await.unwrap();
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();

    let swapped = snapshot.scan(ScanRequest::default().project(["delay", "id"])).await.expect("a projection");
    let names: Vec<String> = swapped.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["delay", "id"], "columns come in the order asked for");
    assert_eq!(ids(&super::batch_stream(swapped).await.unwrap()), all);
    let none = snapshot.scan(ScanRequest::default().project(Vec::<String>::new())).await.expect("no columns");
    assert_eq!(rows_of(&super::batch_stream(none).await.unwrap()), 100, "rows are counted without columns");
    let wrong = snapshot.scan(ScanRequest::default().project(["id", "altitude"])).await;
    assert_kind(&wrong, ErrorKind::NotFound, &["altitude"], "project a column that is not there");

    let predicates = [
        (Predicate::compare("id", Comparison::GtEq, 90), (90..100).collect::<Vec<i64>>()),
        (Predicate::eq("name", "cyd").and(Predicate::compare("id", Comparison::Lt, 10)), vec![2, 6]),
        (Predicate::IsNull("delay".to_owned()).and(Predicate::compare("id", Comparison::Lt, 11)), vec![0, 5, 10]),
        (Predicate::In { column: "id".to_owned(), values: vec![3.into(), 77.into()] }, vec![3, 77]),
    ];
    for (predicate, expected) in predicates {
        let request = ScanRequest::default().project(["id"]).filter(predicate.clone());
        let found = ids(&super::batch_stream(snapshot.scan(request).await.unwrap()).await.unwrap());
        assert!(expected.iter().all(|id| found.contains(id)), "a scan with {predicate} lost rows: {found:?}");
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "a scan with {predicate} doubled rows");
        // A limit counts rows that may not match: with a predicate it must lose nothing.
        let request = ScanRequest { limit_rows: Some(1), ..ScanRequest::default().project(["id"]).filter(predicate.clone()) };
        let found = ids(&snapshot.scan(request).await.unwrap().collect().await.unwrap());
        assert!(expected.iter().all(|id| found.contains(id)), "a limit cut a scan with {predicate}: {found:?}");
    }
    for limit_rows in [1, 50, 60, 1000] {
        let request = ScanRequest { limit_rows: Some(limit_rows), ..ScanRequest::default() };
        let found = ids(&snapshot.scan(request).await.unwrap().collect().await.unwrap());
        assert!(found.len() >= limit_rows.min(100), "{} rows of {limit_rows} wanted", found.len());
    }
}

async fn transactions(table: Arc<dyn Table>) {
    let within = |app_id: &str, version, payload: Option<&str>| {
        let transaction = AppTransaction { app_id: app_id.to_owned(), version, payload: payload.map(str::to_owned) };
        WriteRequest::append().or_create().in_transaction(transaction)
    };
    let report = table.write(within("q1", 5, Some("{\"at\":5}")), stream(&[1])).await.expect("the first write of an app");
    assert_eq!((report.version, report.skipped), (0, false));
    for version in [5, 4, 0] {
        let report = table.write(within("q1", version, Some("{}")), stream(&[2])).await.expect("a repeated write");
        assert!(report.skipped, "version {version} after 5 is skipped");
        assert_eq!((report.version, report.rows), (0, 0), "a skipped write reports the version that was found");
    }
    assert_eq!(table_ids(&table).await, [1], "a skipped write writes nothing");
    let report = table.write(within("q1", 6, Some("{\"at\":6}")), stream(&[3])).await.expect("the next write of an app");
    assert_eq!((report.version, report.skipped), (1, false));
    let report = table.write(within("q2", 1, None), stream(&[4])).await.expect("another app is not disturbed");
    assert_eq!((report.version, report.skipped), (2, false));
    table.write(WriteRequest::overwrite(), stream(&[9])).await.expect("an overwrite without an app");

    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    let committed = snapshot.app_transaction("q1").await.unwrap().expect("q1 wrote here");
    assert_eq!((committed.version, committed.payload.as_deref()), (6, Some("{\"at\":6}")), "rows and payload are one commit");
    let committed = snapshot.app_transaction("q2").await.unwrap().expect("q2 wrote here");
    assert_eq!((committed.version, committed.payload), (1, None));
    assert_eq!(snapshot.app_transaction("q3").await.unwrap(), None);
    let first = table.snapshot(TableVersion::Number(0)).await.unwrap();
    assert_eq!(first.app_transaction("q1").await.unwrap().map(|c| c.version), Some(5), "a past version knows its own time");
    assert_eq!(first.app_transaction("q2").await.unwrap(), None);

    let transaction = within("q1", 7, Some("{}"));
    assert!(table.write(transaction.clone(), failing_stream(&[5])).await.is_err());
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    assert_eq!(snapshot.app_transaction("q1").await.unwrap().map(|c| c.version), Some(6), "a failed write is no transaction");
    let report = table.write(transaction, stream(&[5])).await.expect("a failed write is repeated");
    assert!(!report.skipped);
}

async fn two_writers(table: Arc<dyn Table>) {
    with_rows(&table, &[0]).await;
    let mut expected = vec![0];
    for round in 1..5 {
        let (left, right) = (round * 10, round * 10 + 1);
        let written =
            both(table.write(WriteRequest::append(), stream(&[left])), table.write(WriteRequest::append(), stream(&[right])))
                .await;
        let mut versions = Vec::new();
        for (id, report) in [(left, written.0), (right, written.1)] {
            match report {
                Ok(report) => {
                    expected.push(id);
                    versions.push(report.version);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "two writers at once: {error}"),
            }
        }
        assert!(!versions.is_empty(), "of two writers at least one succeeds");
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions.last(), Some(&latest(&table).await));
        assert_eq!(versions.len(), expected.iter().filter(|id| **id >= left).count(), "each write has its own version");
        assert_eq!(table_ids(&table).await, expected, "what was reported is what is there");
    }
}

async fn two_creators(table: Arc<dyn Table>) {
    let create = || WriteRequest::append().or_create();
    let written = both(table.write(create(), stream(&[1])), table.write(create(), stream(&[2]))).await;
    let mut expected = Vec::new();
    for (id, report) in [(1, written.0), (2, written.1)] {
        match report {
            Ok(_) => expected.push(id),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "two writers create at once: {error}"),
        }
    }
    assert!(!expected.is_empty(), "of two creators at least one succeeds");
    assert_eq!(table_ids(&table).await, expected);
}

async fn dropped_write(table: Arc<dyn Table>, polls: u32) {
    with_rows(&table, &[1]).await;
    let _ = polled_at_most(polls, table.write(WriteRequest::append(), stream(&[2, 3]))).await;
    let (version, found) = {
        let snapshot = table.snapshot(TableVersion::Latest).await.expect("a table opens after a dropped write");
        (snapshot.version(), scan_ids(&snapshot).await)
    };
    match version {
        0 => assert_eq!(found, [1], "the old version, after {polls} polls"),
        1 => assert_eq!(found, [1, 2, 3], "the new version, after {polls} polls"),
        other => panic!("version {other} after one write that was dropped after {polls} polls"),
    }
    table.write(WriteRequest::append(), stream(&[9])).await.expect("a write after a dropped one");
    assert!(table_ids(&table).await.contains(&9));
}
