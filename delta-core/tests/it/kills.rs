//! A process that is killed in the middle of its work, by the system and at any moment: what it leaves is a table of whole versions.
//!
//! The test starts its own program again as a worker that repeats some steps on a folder, kills it, opens the table and goes
//! through every version that is new: each must be what one of the steps makes of the version before.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use arrow_schema::{DataType, Field};
use boathouse_base::{ScanRequest, TableVersion};
use boathouse_delta_core::{DeltaTable, DeltaTableExt, Retention};
use boathouse_storage::{Location, Storage, system_env};
use datafusion::parquet::arrow::ArrowWriter;

use crate::rows::{FEED, OwnedRow, Row, VECTORS, batch, frame, owned_rows, read, row, schema, sorted};

/// Tells a worker where its table is.
const FOLDER: &str = "BOATHOUSE_TEST_KILLED_FOLDER";
/// Tells a worker which program it repeats.
const PROGRAM: &str = "BOATHOUSE_TEST_KILLED_PROGRAM";

/// The table that a worker changes.
const TABLE: &str = "table";
/// The one that it clones.
const SOURCE: &str = "source";

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
    Cluster,
    Purge,
    Restore,
    CloneDeep,
    CloneShallow,
    Checkpoint,
    Vacuum,
}

/// What workers repeat.
const PROGRAMS: [&[Step]; 13] = [
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
    &[Step::Append, Step::Append, Step::Cluster],
    &[Step::Overwrite, Step::CloneDeep],
    &[Step::Append, Step::CloneShallow],
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
            Self::Cluster => drop(table.optimize().full().run().await.unwrap()),
            Self::CloneDeep | Self::CloneShallow => {
                let folder = table.storage().url().strip_prefix("file://").unwrap().trim_end_matches('/').to_owned();
                let source = opened(Path::new(&folder).parent().unwrap(), SOURCE);
                let clone = source.clone_to(table).or_replace();
                let clone = if matches!(self, Self::CloneShallow) { clone.shallow() } else { clone };
                clone.run().await.unwrap();
            }
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
            Self::CloneDeep | Self::CloneShallow => {
                rows = sorted(&new_rows());
                rows.retain(|row| row.0 >= Some(10));
            }
            Self::Optimize | Self::ZOrder | Self::Cluster | Self::Purge | Self::Checkpoint | Self::Vacuum => {}
        }
        rows.sort();
        rows
    }
}

fn opened(folder: &Path, name: &str) -> DeltaTable {
    DeltaTable::at(Storage::open(&Location::from_path(folder.join(name)).unwrap()).unwrap(), system_env())
}

async fn read_at(table: &DeltaTable, version: u64) -> Vec<OwnedRow> {
    let snapshot = table.snapshot_at(TableVersion::Number(version)).await.unwrap();
    let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let mut rows: Vec<_> = batches.iter().flat_map(owned_rows).collect();
    rows.sort();
    rows
}

/// A table whose version 1 has the rows of an append.
async fn made(folder: &Path, name: &str, is_clustered: bool) -> DeltaTable {
    let table = opened(folder, name);
    let create = table.create(schema()).property(VECTORS.0, VECTORS.1).property(FEED.0, FEED.1);
    let create = if is_clustered { create.cluster_by(["v", "id"]) } else { create.partition_by(["part"]) };
    create.run().await.unwrap();
    table.append(batch(&new_rows()).into()).run().await.unwrap();
    table
}

/// Repeats a program until it is killed, when this process is a worker.
async fn work_if_told(programs: &[&[Step]]) {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let program = programs[std::env::var(PROGRAM).unwrap().parse::<usize>().unwrap()];
    let table = opened(Path::new(&folder), TABLE);
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
    // A shallow clone names files of its source, which are no business of its own.
    let named = files.iter().map(|file| file.path().into_owned()).filter(|path| !path.contains("://")).collect();
    let listed = table.storage().list("").await.unwrap().into_iter().map(|entry| entry.path);
    (named, listed.filter(|path| path.ends_with(".parquet") && !path.starts_with("_delta_log/")).collect())
}

#[tokio::test]
async fn a_killed_process_leaves_whole_versions_and_a_vacuum_takes_its_orphans() {
    work_if_told(&PROGRAMS).await;
    let mut committed = 0;
    for (number, program) in PROGRAMS.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let is_clustered = program.iter().any(|step| matches!(step, Step::Cluster));
        let mut version = made(folder.path(), TABLE, is_clustered).await.snapshot().await.unwrap().version();
        // Of half of its files, some rows are deleted, by vectors in a file.
        Step::Delete.run(&made(folder.path(), SOURCE, false).await).await;
        let mut rows = sorted(&new_rows());
        for round in 0..10 {
            let test = "kills::a_killed_process_leaves_whole_versions_and_a_vacuum_takes_its_orphans";
            kill(worker(test, folder.path(), number).await, Duration::from_millis(1 + round * 7)).await;
            let table = opened(folder.path(), TABLE);
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
        Step::Vacuum.run(&opened(folder.path(), TABLE)).await;
        assert_eq!(read(&opened(folder.path(), TABLE)).await, rows, "{program:?}");
        let (named, listed) = data_files(&opened(folder.path(), TABLE)).await;
        assert_eq!(listed.len(), named.len(), "{program:?}: {listed:?} and {named:?}");
    }
    assert!(committed >= 50, "workers commit before they are killed: {committed}");
}

#[tokio::test]
async fn a_vacuum_that_is_killed_leaves_every_row_of_the_newest_version() {
    const VACUUM: [&[Step]; 1] = [&[Step::Overwrite, Step::Vacuum]];
    work_if_told(&VACUUM).await;
    let folder = tempfile::tempdir().unwrap();
    made(folder.path(), TABLE, false).await;
    for round in 0..10 {
        let test = "kills::a_vacuum_that_is_killed_leaves_every_row_of_the_newest_version";
        kill(worker(test, folder.path(), 0).await, Duration::from_millis(1 + round * 7)).await;
        assert_eq!(read(&opened(folder.path(), TABLE)).await, sorted(&new_rows()));
    }
    Step::Vacuum.run(&opened(folder.path(), TABLE)).await;
    assert_eq!(read(&opened(folder.path(), TABLE)).await, sorted(&new_rows()));
}

/// How many rows each of the folders has that become tables.
const ROWS_OF_A_FOLDER: usize = 20;

/// Makes folders of Parquet files, and tables of them, until it is killed, when this process is a worker.
async fn convert_if_told() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let rows = batch(&new_rows()).project(&[0, 2]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows.slice(0, ROWS_OF_A_FOLDER / 4)).unwrap();
    let file = writer.into_inner().unwrap();
    std::fs::write(folder.join("started"), b"").unwrap();
    for number in std::fs::read_dir(folder).unwrap().count().. {
        let draft = folder.join(format!("draft-{number}"));
        for part in 0..4 {
            let part = draft.join(format!("part={part}"));
            std::fs::create_dir_all(&part).unwrap();
            std::fs::write(part.join("data.parquet"), &file).unwrap();
        }
        std::fs::rename(draft, folder.join(format!("raw-{number}"))).unwrap();
        converted(&opened(folder, &format!("raw-{number}"))).await;
    }
}

async fn converted(table: &DeltaTable) {
    let part = Field::new("part", DataType::Int32, true);
    table.convert_parquet().partitioned_by([part]).run().await.unwrap();
}

#[tokio::test]
async fn a_conversion_that_is_killed_leaves_a_table_or_a_folder_that_can_become_one() {
    convert_if_told().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut tables, mut folders) = (0, 0);
    for round in 0..20 {
        let test = "kills::a_conversion_that_is_killed_leaves_a_table_or_a_folder_that_can_become_one";
        kill(worker(test, folder.path(), 0).await, Duration::from_millis(1 + round * 3)).await;
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with("raw-") {
            continue;
        }
        let table = opened(folder.path(), &name);
        match table.exists().await.unwrap() {
            true => tables += 1,
            false => {
                folders += 1;
                converted(&table).await;
            }
        }
        let snapshot = table.snapshot().await.unwrap();
        let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        let rows: usize = batches.iter().map(arrow_array::RecordBatch::num_rows).sum();
        assert_eq!((snapshot.version(), rows), (0, ROWS_OF_A_FOLDER), "{name}");
        let missing = table.fsck().dry_run().await.unwrap().missing;
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
    assert!(tables > 0, "workers convert before they are killed: {tables} tables, {folders} folders");
}
