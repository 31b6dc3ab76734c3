//! Each source with each operator, each operator with each sink, each sink with each source: dead at every step of the protocol, and
//! opened again.
//!
//! `BOATHOUSE_CRASHES=all` takes all three together, and each death by itself.

use boathouse::stream::{CrashPoint, RunningQuery, StepOutcome, StreamError};

use super::world::{Case, Operator, Origin, PUSHES, Target, World};

/// Steps until there is nothing to do.
async fn drain(query: &mut RunningQuery) -> Result<(), StreamError> {
    while let StepOutcome::Epoch(_) = query.step().await? {}
    Ok(())
}

/// What is in the sink, and how often the query has died. `dies(n, at, point)` says it of the nth run at the place `at`.
async fn run(
    case: Case,
    dies: impl Fn(u32, u32, CrashPoint) -> bool + Clone + Send + Sync + 'static,
) -> ((Vec<String>, Vec<String>), u32) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::in_folder(folder.path(), case);
    world.make().await;
    let mut runs = 0;
    let open = async |nth: u32| {
        let (dies, at) = (dies.clone(), std::sync::atomic::AtomicU32::new(0));
        let points = move |point, _| dies(nth, at.fetch_add(1, std::sync::atomic::Ordering::Relaxed), point);
        world.query().await.with_crash_points(points).open().await.unwrap()
    };
    let mut running = open(runs).await;
    for number in 0..PUSHES.len() {
        world.push(number).await;
        while let Err(error) = drain(&mut running).await {
            assert!(matches!(error, StreamError::Crashed { .. }), "{case:?}: {error}");
            runs += 1;
            drop(running);
            running = open(runs).await;
        }
    }
    drop(running);
    (world.result().await, runs)
}

fn all() -> bool {
    std::env::var("BOATHOUSE_CRASHES").is_ok_and(|cases| cases == "all")
}

/// What is proven here of a source; without the flag each pair of source, operator and sink meets once.
fn cases(origin: Origin) -> impl Iterator<Item = Case> {
    let pairs = Operator::ALL
        .into_iter()
        .enumerate()
        .flat_map(|(n, operator)| Target::ALL.into_iter().enumerate().map(move |(m, target)| (n + m, operator, target)));
    let meets = move |sum: usize| all() || Origin::ALL[sum % Origin::ALL.len()] == origin;
    pairs
        .filter(move |(sum, ..)| meets(*sum))
        .map(move |(_, operator, target)| Case { origin, operator, target })
        .filter(|case| case.is_possible())
}

async fn prove(origin: Origin) {
    for case in cases(origin) {
        let (expected, _) = run(case, |_, _, _| false).await;
        assert!(expected.0.len() > 3, "{case:?}: {expected:?}");
        assert_eq!(expected.1.is_empty(), case.operator != Operator::Windows, "{case:?}: {expected:?}");
        // The first run dies at the first point, the second at the second: an epoch may die many times.
        let (found, died) = run(case, |nth, _, point| CrashPoint::ALL.get(nth as usize) == Some(&point)).await;
        assert_eq!(found, expected, "{case:?}");
        assert_eq!(died, 10, "{case:?}");
        for place in (0..).take_while(|_| all()) {
            let (found, died) = run(case, move |nth, at, _| nth == 0 && at == place).await;
            assert_eq!(found, expected, "{case:?} dies at place {place}");
            if died == 0 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn files_lose_and_double_no_row() {
    prove(Origin::Files).await;
}

#[tokio::test]
async fn tables_lose_and_double_no_row() {
    prove(Origin::Delta).await;
}

#[tokio::test]
async fn change_feeds_lose_and_double_no_row() {
    prove(Origin::ChangeFeed).await;
}

#[tokio::test]
async fn sources_in_memory_lose_and_double_no_row() {
    prove(Origin::Memory).await;
}

/// Whatever the source and the sink, the operator gives the same rows.
#[tokio::test]
async fn every_source_and_sink_has_the_rows_of_every_other() {
    for operator in Operator::ALL {
        let one = Case { origin: Origin::Memory, operator, target: Target::Memory };
        let (expected, _) = run(one, |_, _, _| false).await;
        for (origin, target) in
            [(Origin::Files, Target::Function), (Origin::Delta, Target::Upsert), (Origin::ChangeFeed, Target::Parquet)]
        {
            let case = Case { origin, operator, target };
            if case.is_possible() {
                let (found, _) = run(case, |_, _, _| false).await;
                // Late rows are kept as they came: sources have columns of their own.
                assert_eq!((found.0, found.1.len()), (expected.0.clone(), expected.1.len()), "{case:?}");
            }
        }
    }
}
