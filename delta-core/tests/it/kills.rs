//! A process that is killed in the middle of its work, by the system and at any moment: what it leaves is a table of whole versions.
//!
//! The test starts its own program again as a worker that repeats some steps on a folder, kills it, opens the table and goes
//! through every version that is new: each must be what one of the steps makes of the version before.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use boathouse_base::{ScanRequest, TableVersion};
use boathouse_delta_core::{DeltaTable, DeltaTableExt, Retention};
use boathouse_storage::{Location, Storage, system_env};

use crate::rows::{FEED, OwnedRow, Row, VECTORS, batch, frame, owned_rows, read, row, schema, sorted};

/// Tells a worker where its table is.
const FOLDER: &str = "BOATHOUSE_TEST_KILLED_FOLDER";
/// Tells a worker which program it repeats.
const PROGRAM: &str = "BOATHOUSE_TEST_KILLED_PROGRAM";

/// One thing that a worker does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Overwrite,
    Delete,
    Update,
    Merge,
    Optimize,
    ZOrder,
    Purge,
    Restore,
    Checkpoint,
    Vacuum,
}

/// What workers repeat.
const PROGRAMS: [&[Step]; 10] = [
    &[Step::Append],
    &[Step::Append, Step::Overwrite],
    &[Step::Append, Step::Delete],
    &[Step::Append, Step::Update, Step::Overwrite],
    &[Step::Append, Step::Merge, Step::Overwrite],
    &[Step::Append, Step::Append, Step::Optimize],
    &[Step::Append, Step::Append, Step::ZOrder],
    &[Step::Append, Step::Delete, Step::Purge],
    &[Step::Append, Step::Update, Step::Restore],
    &[Step::Append, Step::Checkpoint],
];

/// The rows that an append brings.
fn new_rows() -> Vec<Row> {
    (0..20).map(|id| row(id, if id % 2 == 0 { "even numbers" } else { "odd" }, 0)).collect()
}

/// The rows of a merge: one that is there after an append, one that is not.
const MERGED: [Row; 2] = [(Some(5), Some("odd"), Some(77)), (Some(900), Some("new"), Some(1))];

impl Step {
    async fn run(self, table: &DeltaTable) {
        match self {
            Self::Append => drop(table.append(batch(&new_rows()).into()).run().await.unwrap()),
            Self::Overwrite => drop(table.overwrite(batch(&new_rows()).into()).run().await.unwrap()),
            Self::Delete => drop(table.delete().filter("id < 10").run().await.unwrap()),
            Self::Update => drop(table.update().set("v", "v + 1").filter("id >= 10").run().await.unwrap()),
            Self::Merge => {
                let merge = table.merge(frame(&MERGED), "t.id = s.id");
                merge.when_matched_update_all().when_not_matched_insert_all().run().await.unwrap();
            }
            Self::Optimize => drop(table.optimize().run().await.unwrap()),
            Self::ZOrder => drop(table.optimize().z_order(["id", "v"]).run().await.unwrap()),
            Self::Purge => drop(table.purge().run().await.unwrap()),
            Self::Restore => drop(table.restore(TableVersion::Number(1)).run().await.unwrap()),
            Self::Checkpoint => drop(table.checkpoint().await.unwrap()),
            Self::Vacuum => drop(table.vacuum().retention(Retention::Unsafe(Duration::ZERO)).run().await.unwrap()),
        }
    }

    /// What it makes of these rows.
    fn applied(self, before: &[OwnedRow]) -> Vec<OwnedRow> {
        let mut rows = before.to_vec();
        match self {
            Self::Append => rows.extend(sorted(&new_rows())),
            Self::Overwrite | Self::Restore => rows = sorted(&new_rows()),
            Self::Delete => rows.retain(|row| row.0 >= Some(10)),
            Self::Update => rows.iter_mut().filter(|row| row.0 >= Some(10)).for_each(|row| row.2 = row.2.map(|v| v + 1)),
            Self::Merge => {
                for new in sorted(&MERGED) {
                    let matched = rows.iter().any(|row| row.0 == new.0);
                    rows.iter_mut().filter(|row| row.0 == new.0).for_each(|row| *row = new.clone());
                    rows.extend((!matched).then_some(new));
                }
            }
            Self::Optimize | Self::ZOrder | Self::Purge | Self::Checkpoint | Self::Vacuum => {}
        }
        rows.sort();
        rows
    }
}

fn opened(folder: &Path) -> DeltaTable {
    DeltaTable::at(Storage::open(&Location::from_path(folder.join("table")).unwrap()).unwrap(), system_env())
}

async fn read_at(table: &DeltaTable, version: u64) -> Vec<OwnedRow> {
    let snapshot = table.snapshot_at(TableVersion::Number(version)).await.unwrap();
    let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let mut rows: Vec<_> = batches.iter().flat_map(owned_rows).collect();
    rows.sort();
    rows
}

/// A table whose version 1 has the rows of an append.
async fn made(folder: &Path) -> DeltaTable {
    let table = opened(folder);
    table.create(schema()).partition_by(["part"]).property(VECTORS.0, VECTORS.1).property(FEED.0, FEED.1).run().await.unwrap();
    table.append(batch(&new_rows()).into()).run().await.unwrap();
    table
}

/// Repeats a program until it is killed, when this process is a worker.
async fn work_if_told(programs: &[&[Step]]) {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let program = programs[std::env::var(PROGRAM).unwrap().parse::<usize>().unwrap()];
    let table = opened(Path::new(&folder));
    table.snapshot().await.unwrap();
    std::fs::write(Path::new(&folder).join("started"), b"").unwrap();
    loop {
        for step in program {
            step.run(&table).await;
        }
    }
}

/// A worker at its first step.
async fn worker(test: &str, folder: &Path, program: usize) -> Child {
    let mark = folder.join("started");
    std::fs::remove_file(&mark).ok();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder).env(PROGRAM, program.to_string());
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    while !mark.exists() {
        assert!(child.try_wait().unwrap().is_none(), "a worker cannot open what the one before it left");
        system_env().sleep(Duration::from_millis(1)).await;
    }
    child
}

/// Kills a worker after so long.
async fn kill(mut child: Child, after: Duration) {
    system_env().sleep(after).await;
    assert!(child.try_wait().unwrap().is_none(), "a worker works until it is killed");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The data files that the newest version names, and those in the folder.
async fn data_files(table: &DeltaTable) -> (BTreeSet<String>, BTreeSet<String>) {
    let files = table.snapshot().await.unwrap().files(None).await.unwrap();
    let named = files.iter().map(|file| file.path().into_owned()).collect();
    let listed = table.storage().list("").await.unwrap().into_iter().map(|entry| entry.path);
    (named, listed.filter(|path| path.ends_with(".parquet") && !path.starts_with("_delta_log/")).collect())
}

#[tokio::test]
async fn a_killed_process_leaves_whole_versions_and_a_vacuum_takes_its_orphans() {
    work_if_told(&PROGRAMS).await;
    let mut committed = 0;
    for (number, program) in PROGRAMS.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let mut version = made(folder.path()).await.snapshot().await.unwrap().version();
        let mut rows = sorted(&new_rows());
        for round in 0..10 {
            let test = "kills::a_killed_process_leaves_whole_versions_and_a_vacuum_takes_its_orphans";
            kill(worker(test, folder.path(), number).await, Duration::from_millis(1 + round * 7)).await;
            let table = opened(folder.path());
            let newest = table.snapshot().await.unwrap().version();
            while version < newest {
                version += 1;
                let after = read_at(&table, version).await;
                assert!(program.iter().any(|step| step.applied(&rows) == after), "{program:?}: version {version} is half a step");
                rows = after;
                committed += 1;
            }
        }
        system_env().sleep(Duration::from_millis(5)).await;
        Step::Vacuum.run(&opened(folder.path())).await;
        assert_eq!(read(&opened(folder.path())).await, rows, "{program:?}");
        let (named, listed) = data_files(&opened(folder.path())).await;
        assert_eq!(listed.len(), named.len(), "{program:?}: {listed:?} and {named:?}");
    }
    assert!(committed >= 50, "workers commit before they are killed: {committed}");
}

#[tokio::test]
async fn a_vacuum_that_is_killed_leaves_every_row_of_the_newest_version() {
    const VACUUM: [&[Step]; 1] = [&[Step::Overwrite, Step::Vacuum]];
    work_if_told(&VACUUM).await;
    let folder = tempfile::tempdir().unwrap();
    made(folder.path()).await;
    for round in 0..10 {
        let test = "kills::a_vacuum_that_is_killed_leaves_every_row_of_the_newest_version";
        kill(worker(test, folder.path(), 0).await, Duration::from_millis(1 + round * 7)).await;
        assert_eq!(read(&opened(folder.path())).await, sorted(&new_rows()));
    }
    Step::Vacuum.run(&opened(folder.path())).await;
    assert_eq!(read(&opened(folder.path())).await, sorted(&new_rows()));
}
