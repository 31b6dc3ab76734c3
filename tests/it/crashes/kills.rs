//! A process that runs a query and is killed by the system at any moment, a hundred times.
//!
//! The test starts its own program again as a worker over a folder, and kills it after a time of chance. Rows come while it works, and
//! while it is dead.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use boathouse::storage::system_env;
use boathouse::stream::StepOutcome;

use super::world::{Case, Operator, Origin, PUSHES, Target, World};

/// Tells a worker where its world is.
const FOLDER: &str = "BOATHOUSE_TEST_KILLED_STREAM";
/// Tells a worker which case it is.
const NUMBER: &str = "BOATHOUSE_TEST_KILLED_CASE";
const TEST: &str = "crashes::kills::a_hundred_kills_lose_and_double_no_row";
const KILLS: u32 = 100;

/// A source, an operator and a sink of each kind, all on disk.
const CASES: [Case; 10] = [
    Case { origin: Origin::Files, operator: Operator::Windows, target: Target::Delta },
    Case { origin: Origin::Delta, operator: Operator::Join, target: Target::Parquet },
    Case { origin: Origin::ChangeFeed, operator: Operator::Totals, target: Target::Upsert },
    Case { origin: Origin::Files, operator: Operator::Sessions, target: Target::Function },
    Case { origin: Origin::Delta, operator: Operator::Processor, target: Target::Json },
    Case { origin: Origin::Files, operator: Operator::LeftJoin, target: Target::Upsert },
    Case { origin: Origin::ChangeFeed, operator: Operator::WindowsOfWindows, target: Target::Function },
    Case { origin: Origin::Files, operator: Operator::Filter, target: Target::Parquet },
    Case { origin: Origin::Delta, operator: Operator::FirstOfKey, target: Target::Delta },
    Case { origin: Origin::ChangeFeed, operator: Operator::Sliding, target: Target::Json },
];

/// Runs a query until it is killed, when this process is a worker.
async fn work_if_told() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let number: usize = std::env::var(NUMBER).unwrap().parse().unwrap();
    let world = World::in_folder(Path::new(&folder), CASES[number]);
    let mut running = world.query().await.open().await.unwrap();
    loop {
        if running.step().await.unwrap() == StepOutcome::Idle {
            std::fs::write(Path::new(&folder).join("idle"), b"").unwrap();
            system_env().sleep(Duration::from_millis(1)).await;
        }
    }
}

fn worker(folder: &Path, number: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST, "--nocapture"]).env(FOLDER, folder).env(NUMBER, number.to_string());
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Waits until a worker has done all that there is.
async fn idle(worker: &mut Child, folder: &Path) {
    // What was idle before may not be it now.
    for _ in 0..2 {
        std::fs::remove_file(folder.join("idle")).ok();
        while !folder.join("idle").exists() {
            assert!(worker.try_wait().unwrap().is_none(), "a worker cannot go on after the one before it");
            system_env().sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn kill(mut worker: Child) {
    assert!(worker.try_wait().unwrap().is_none(), "a worker works until it is killed");
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[tokio::test]
async fn a_hundred_kills_lose_and_double_no_row() {
    work_if_told().await;
    let env = system_env();
    let chance = |most_ms: u64| Duration::from_micros(env.random_u64() % (most_ms * 1000));
    for (number, case) in CASES.into_iter().enumerate() {
        // What it is without a death.
        let calm = tempfile::tempdir().unwrap();
        let world = World::in_folder(calm.path(), case).without_late_rows();
        world.make().await;
        let mut running = world.query().await.open().await.unwrap();
        for push in 0..PUSHES.len() {
            world.push(push).await;
            while let StepOutcome::Epoch(_) = running.step().await.unwrap() {}
        }
        let expected = world.result().await;

        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let world = World::in_folder(folder, case).without_late_rows();
        world.make().await;
        for death in 0..KILLS / 10 {
            // Rows of two sources must come together: what is late depends on which come first.
            let comes_alone = !matches!(case.operator, Operator::Join | Operator::LeftJoin);
            let push = Some(death as usize).filter(|push| *push < PUSHES.len());
            if let Some(push) = push.filter(|_| !comes_alone) {
                world.push(push).await;
            }
            let mut child = worker(folder, number);
            if let Some(push) = push.filter(|_| comes_alone) {
                // Before the worker has opened the query, while it opens it, or after that.
                env.sleep(chance(200)).await;
                world.push(push).await;
            }
            env.sleep(chance(if death % 2 == 0 { 60 } else { 300 })).await;
            if death % 3 == 2 {
                idle(&mut child, folder).await;
            }
            kill(child).await;
        }
        let mut child = worker(folder, number);
        idle(&mut child, folder).await;
        kill(child).await;
        let found = world.result().await;
        assert_eq!(found, expected, "{case:?}");
    }
}
