//! Clones: the same rows, and from then on nothing in common.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use boathouse_base::{AppTransaction, DomainError, ErrorKind, Predicate, ScanRequest, TableVersion};
use boathouse_delta_table::{CloneDepth, CloneProblem, DeltaError, DeltaTable, Transaction};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{append_each, batch, kept, latest_ids, people, reopened, stream};

const DEPTHS: [CloneDepth; 2] = [CloneDepth::Deep, CloneDepth::Shallow];

/// Three tables in one store; their folders have names that must be escaped.
fn tables() -> [DeltaTable; 3] {
    let store = Storage::memory();
    [("a lake/50% off", 1), ("a lake/trial", 2), ("a lake/trial of trial", 3)]
        .map(|(folder, seed)| kept(DeltaTable::at(store.at(folder), seeded_env(seed))))
}

/// The rows as text, sorted.
async fn bag(table: &DeltaTable) -> Vec<String> {
    let rows = reopened(table).snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    bag_of(&rows)
}

fn bag_of(rows: &[RecordBatch]) -> Vec<String> {
    let mut bag = Vec::new();
    for batch in rows {
        let shown: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| arrow_cast::display::ArrayFormatter::try_new(column, &Default::default()).unwrap())
            .collect();
        bag.extend((0..batch.num_rows()).map(|row| shown.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|")));
    }
    bag.sort();
    bag
}

/// A table with partitions whose values are awkward, renamed columns, deleted rows, and a property.
async fn awkward(table: &DeltaTable) {
    let parts = ["a b", "50%", "x/y=z", "ü"];
    let schema =
        arrow_schema::Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("part", DataType::Utf8, true)]);
    let create = table.create(schema).partition_by(["part"]).property("delta.columnMapping.mode", "name");
    create.property("delta.enableDeletionVectors", "true").property("team", "blue").run().await.unwrap();
    for (n, part) in (0_i64..).zip(parts) {
        table.append(people(&(n * 100..n * 100 + 50).collect::<Vec<_>>(), part)).run().await.unwrap();
    }
    table.alter().rename_column("part", "the part").run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let mut delete = Transaction::begin(&snapshot);
    // A vector of a few rows stands in the log, one of many in a file.
    for (file, rows) in snapshot.files(None).await.unwrap().iter().zip([vec![3], (0..50).step_by(2).collect::<Vec<u64>>()]) {
        delete = delete.delete_rows(file, rows);
    }
    delete.commit().await.unwrap();
}

#[tokio::test]
async fn a_clone_has_the_rows_and_the_definition_of_its_source() {
    for depth in DEPTHS {
        let [source, target, _] = tables();
        awkward(&source).await;
        let report = source.clone_to(&target).depth(depth).property("team", "red").run().await.unwrap();
        let (from, clone) = (source.snapshot().await.unwrap(), reopened(&target).snapshot().await.unwrap());
        assert_eq!((report.version, report.source_version, report.created, report.files), (0, from.version(), true, 4));
        assert_eq!(report.files_copied, if depth == CloneDepth::Deep { 4 } else { 0 });
        assert_eq!(bag(&target).await, bag(&source).await, "{depth:?}");
        assert_eq!(bag(&target).await.len(), 200 - 26);
        assert_eq!(clone.delta_schema(), from.delta_schema(), "ids and names in files are the same");
        assert_eq!(clone.protocol(), from.protocol());
        assert_ne!(clone.metadata().id, from.metadata().id);
        assert_eq!(clone.metadata().configuration["team"], "red");
        let known = Predicate::eq("the part", "50%");
        assert_eq!(clone.files(Some(&known)).await.unwrap().len(), 1, "partition values and statistics came along");
        assert_eq!(clone.row_count().await.unwrap(), Some(174));
        let history = target.history(1).await.unwrap().remove(0);
        assert_eq!(history.operation.as_deref(), Some("CLONE"));
        assert_eq!(history.parameters["source"], source.url());
        assert_eq!(history.parameters["isShallow"], (depth == CloneDepth::Shallow).to_string());
        assert_eq!(history.metrics["sourceNumOfFiles"], "4");
    }
}

#[tokio::test]
async fn source_and_clone_go_their_own_ways() {
    for depth in DEPTHS {
        let [source, target, _] = tables();
        awkward(&source).await;
        source.clone_to(&target).depth(depth).run().await.unwrap();
        let (before, version) = (bag(&source).await, source.snapshot().await.unwrap().version());
        let rows = |id: i64| {
            let part: ArrayRef = Arc::new(StringArray::from(vec!["new"]));
            stream(batch(&[("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef), ("the part", part)]))
        };
        target.append(rows(-1)).run().await.unwrap();
        let snapshot = target.snapshot().await.unwrap();
        let files = snapshot.files(Some(&Predicate::eq("the part", "ü"))).await.unwrap();
        Transaction::begin(&snapshot).delete_rows(&files[0], [0, 1]).commit().await.unwrap();
        assert_eq!((bag(&source).await, source.snapshot().await.unwrap().version()), (before, version), "{depth:?}");
        assert_eq!(bag(&target).await.len(), 174 + 1 - 2);
        let clone = bag(&target).await;
        source.append(rows(-2)).run().await.unwrap();
        source.overwrite(rows(-3)).run().await.unwrap();
        assert_eq!(bag(&target).await, clone, "{depth:?}");
    }
}

#[tokio::test]
async fn a_deep_clone_outlives_its_source_and_a_shallow_one_says_which_file_is_gone() {
    for depth in DEPTHS {
        let [source, target, _] = tables();
        awkward(&source).await;
        source.clone_to(&target).depth(depth).run().await.unwrap();
        let rows = bag(&source).await;
        for entry in source.storage().list("").await.unwrap() {
            source.storage().delete(&entry.path).await.unwrap();
        }
        let read = reopened(&target).snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await;
        match depth {
            CloneDepth::Deep => assert_eq!(bag_of(&read.unwrap()), rows),
            CloneDepth::Shallow => assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound),
        }
    }
}

#[tokio::test]
async fn a_vacuum_of_a_clone_leaves_the_files_of_the_source() {
    let [source, target, _] = tables();
    append_each(&source, 0..3).await;
    source.clone_to(&target).shallow().run().await.unwrap();
    target.overwrite(people(&[9], "a")).run().await.unwrap();
    let unsafe_retention = boathouse_delta_table::Retention::Unsafe(std::time::Duration::ZERO);
    target.vacuum().retention(unsafe_retention).run().await.unwrap();
    assert_eq!(latest_ids(&source).await, [0, 1, 2]);
}

#[tokio::test]
async fn earlier_versions_are_cloned_by_number() {
    for depth in DEPTHS {
        let [source, target, _] = tables();
        append_each(&source, 0..3).await;
        let report = source.clone_to(&target).depth(depth).at(TableVersion::Number(1)).run().await.unwrap();
        assert_eq!((report.source_version, latest_ids(&target).await), (1, vec![0, 1]));
    }
}

#[tokio::test]
async fn a_clone_of_a_clone_has_the_same_rows_whatever_the_two_are() {
    for first in DEPTHS {
        for second in DEPTHS {
            let [source, target, third] = tables();
            awkward(&source).await;
            source.clone_to(&target).depth(first).run().await.unwrap();
            target.clone_to(&third).depth(second).run().await.unwrap();
            assert_eq!(bag(&third).await, bag(&source).await, "{first:?}, then {second:?}");
        }
    }
}

#[tokio::test]
async fn a_second_deep_clone_copies_what_is_new_alone() {
    let [source, target, _] = tables();
    awkward(&source).await;
    source.clone_to(&target).run().await.unwrap();
    let first: BTreeSet<String> =
        target.snapshot().await.unwrap().files(None).await.unwrap().iter().map(|file| file.path().into_owned()).collect();
    // New rows, and rows of a file that is here already are deleted.
    let part: ArrayRef = Arc::new(StringArray::from(vec!["new"]));
    source
        .append(stream(batch(&[("id", Arc::new(Int64Array::from(vec![7])) as ArrayRef), ("the part", part)])))
        .run()
        .await
        .unwrap();
    let snapshot = source.snapshot().await.unwrap();
    let file = &snapshot.files(Some(&Predicate::eq("the part", "ü"))).await.unwrap()[0];
    Transaction::begin(&snapshot).delete_rows(file, 0..20).commit().await.unwrap();
    let report = source.clone_to(&target).or_replace().run().await.unwrap();
    assert_eq!((report.version, report.files, report.files_copied, report.files_removed), (1, 5, 1, 1));
    assert_eq!(bag(&target).await, bag(&source).await);
    let second: BTreeSet<String> =
        target.snapshot().await.unwrap().files(None).await.unwrap().iter().map(|file| file.path().into_owned()).collect();
    assert_eq!(first.difference(&second).count(), 0, "the files stay");
    // What was changed in the clone is as in the source again.
    target.overwrite_ids(&[1, 2]).await;
    let report = source.clone_to(&target).or_replace().run().await.unwrap();
    assert_eq!(report.files_copied, 5);
    assert_eq!(bag(&target).await, bag(&source).await);
    let snapshot = target.snapshot().await.unwrap();
    let file = &snapshot.files(Some(&Predicate::eq("the part", "ü"))).await.unwrap()[0];
    Transaction::begin(&snapshot).delete_rows(file, 30..40).commit().await.unwrap();
    let report = source.clone_to(&target).or_replace().run().await.unwrap();
    assert_eq!((report.files_copied, report.files_removed), (0, 1));
    assert_eq!(bag(&target).await, bag(&source).await);
    assert_eq!(source.clone_to(&target).or_replace().run().await.unwrap().files_copied, 0);
}

trait OverwriteIds {
    async fn overwrite_ids(&self, ids: &[i64]);
}

impl OverwriteIds for DeltaTable {
    async fn overwrite_ids(&self, ids: &[i64]) {
        let part: ArrayRef = Arc::new(StringArray::from(vec!["mine"; ids.len()]));
        let rows = batch(&[("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef), ("the part", part)]);
        self.overwrite(stream(rows)).run().await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_is_there_is_refused_left_or_replaced_as_was_asked() {
    for depth in DEPTHS {
        let [source, target, _] = tables();
        append_each(&source, 0..2).await;
        append_each(&target, 5..6).await;
        let id = target.snapshot().await.unwrap().metadata().id.clone();
        let error = source.clone_to(&target).depth(depth).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(!source.clone_to(&target).depth(depth).if_not_exists().run().await.unwrap().created);
        assert_eq!(latest_ids(&target).await, [5]);
        let report = source.clone_to(&target).depth(depth).or_replace().run().await.unwrap();
        assert_eq!((report.version, report.created, report.files_removed), (1, false, 1));
        assert_eq!(latest_ids(&target).await, [0, 1]);
        assert_eq!(target.snapshot().await.unwrap().metadata().id, id);
        let before = target.snapshot_at(TableVersion::Number(0)).await.unwrap();
        assert_eq!(crate::rows::ids(&before).await, [5], "earlier versions stay");
    }
}

#[tokio::test]
async fn rows_of_a_clone_have_ids_of_their_own() {
    for depth in DEPTHS {
        let [source, target, _] = tables();
        let schema = arrow_schema::Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        source.create(schema).property("delta.enableRowTracking", "true").run().await.unwrap();
        for ids in [[1, 2], [3, 4]] {
            source.append(stream(batch(&[("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef)]))).run().await.unwrap();
        }
        source.clone_to(&target).depth(depth).run().await.unwrap();
        let (from, clone) = (source.snapshot().await.unwrap(), reopened(&target).snapshot().await.unwrap());
        let columns = clone.row_tracking().unwrap().clone();
        assert_ne!(&columns, from.row_tracking().unwrap());
        let rows = clone.scan_with_row_ids(ScanRequest::default(), &columns).unwrap().collect().await.unwrap();
        let ids: BTreeSet<i64> =
            rows.iter().flat_map(|b| b.column(1).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()).collect();
        assert_eq!(ids, (0..4).collect());
        assert!(rows.iter().all(|b| b.column(2).as_any().downcast_ref::<Int64Array>().unwrap().values().iter().all(|v| *v == 0)));
    }
}

#[tokio::test]
async fn applications_go_on_with_a_deep_clone() {
    let [source, target, shallow] = tables();
    append_each(&source, 0..1).await;
    let snapshot = source.snapshot().await.unwrap();
    let done = AppTransaction { app_id: "stream".into(), version: 41, payload: None };
    Transaction::begin(&snapshot).app_transaction(&done).unwrap().commit().await.unwrap();
    source.clone_to(&target).run().await.unwrap();
    source.clone_to(&shallow).shallow().run().await.unwrap();
    let found = target.snapshot().await.unwrap().app_transaction("stream").await.unwrap();
    assert_eq!(found.map(|found| found.version), Some(41));
    assert_eq!(shallow.snapshot().await.unwrap().app_transaction("stream").await.unwrap(), None);
}

#[tokio::test]
async fn places_that_cannot_be_are_refused() {
    let [source, target, _] = tables();
    append_each(&source, 0..1).await;
    let within = DeltaTable::at(source.storage().at("within"), seeded_env(4));
    for depth in DEPTHS {
        let error = source.clone_to(&within).depth(depth).run().await.unwrap_err();
        assert!(matches!(error, DeltaError::CannotClone { problem: CloneProblem::Nested { .. }, .. }), "{error}");
    }
    let elsewhere = DeltaTable::at(Storage::memory().at("a lake/trial"), seeded_env(4));
    let error = source.clone_to(&elsewhere).shallow().run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CannotClone { problem: CloneProblem::AnotherStore { .. }, .. }), "{error}");
    assert!(!elsewhere.exists().await.unwrap());
    source.clone_to(&elsewhere).run().await.unwrap();
    assert_eq!(latest_ids(&elsewhere).await, [0]);
    let mapped = source.clone_to(&target).property("delta.columnMapping.mode", "name").run().await.unwrap_err();
    assert!(matches!(mapped, DeltaError::CannotClone { problem: CloneProblem::MappingMode { .. }, .. }), "{mapped}");
}

#[tokio::test]
async fn a_clone_on_the_local_disk_has_absolute_paths_that_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let location = boathouse_storage::Location::from_path(folder.path().join(name)).unwrap();
        kept(DeltaTable::at(Storage::open(&location).unwrap(), seeded_env(11)))
    };
    for (n, depth) in DEPTHS.into_iter().enumerate() {
        let (source, target) = (at(&format!("so urce {n}%41")), at(&format!("tar get {n}%20")));
        awkward(&source).await;
        source.clone_to(&target).depth(depth).run().await.unwrap();
        assert_eq!(bag(&target).await, bag(&source).await, "{depth:?}");
        if depth == CloneDepth::Shallow {
            let path = target.snapshot().await.unwrap().files(None).await.unwrap()[0].add().path.clone();
            assert!(path.starts_with("file:///") && path.contains("so%20urce"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_whole_clone_or_none_and_no_copies() {
    for fault in [Fault::FailBefore, Fault::LostReply, Fault::CrashBefore, Fault::CrashAfter] {
        let mut at = 0;
        loop {
            let [source, target, _] = tables();
            awkward(&source).await;
            let mut store = None;
            let wrapped = target.storage().with_object_store(|inner| {
                let faulty = FaultStore::new(inner);
                store = Some(faulty.clone());
                Arc::new(faulty)
            });
            let store = store.unwrap();
            store.inject(FaultRule::new(fault).skip(at));
            let result = source.clone_to(&DeltaTable::at(wrapped, seeded_env(5))).run().await;
            let hit = !store.injected().is_empty();
            let clone = reopened(&target);
            if clone.exists().await.unwrap() {
                assert_eq!(bag(&target).await, bag(&source).await, "{fault:?} at request {at}");
            } else {
                let error = result.unwrap_err();
                let left = target.storage().list("").await.unwrap().len();
                let known = store.is_crashed() || matches!(error, DeltaError::CommitUnknown { .. });
                assert!(left == 0 || known || fault == Fault::LostReply, "{fault:?} at request {at}: {left} left after {error}");
                source.clone_to(&clone).run().await.unwrap();
                assert_eq!(bag(&target).await, bag(&source).await);
            }
            if !hit {
                break;
            }
            at += 1;
        }
        assert!(at >= 6, "a clone makes several requests");
    }
}
