//! The flights example, killed at random moments, ends where an undisturbed run ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use boathouse::Lakehouse;
use boathouse::base::{Env, ManualClock, ScanRequest};
use boathouse::storage::system_env;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// A small story: every 40th flight.
const SAMPLE: &str = "40";
const KILLS: usize = 20;
const TABLES: [&str; 11] = [
    "bronze",
    "silver",
    "carrier_day",
    "hourly_departures",
    "weather",
    "route_delays",
    "carrier_delays",
    "origin_delays",
    "december_predictions",
    "corrections",
    "logbook",
];

/// Every row of every table as text, sorted: what two runs must agree on.
type State = BTreeMap<&'static str, Vec<String>>;

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join("flights");
    assert!(built.is_file(), "{} is not there: `cargo build --example flights` makes it", built.display());
    built
}

fn start(folder: &Path) -> Child {
    let mut command = Command::new(example());
    command.args(["--quiet", "--sample-every", SAMPLE, "--dir"]).arg(folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs to the end, and gives what it printed.
fn finish(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the example failed:\n{said}");
    said
}

async fn state(folder: &Path) -> State {
    let lake = Lakehouse::at(folder.display().to_string()).open().await.unwrap();
    let mut state = State::new();
    for name in TABLES {
        let snapshot = lake.table(name).snapshot().await.unwrap();
        let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &batches {
            let columns: Vec<_> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            rows.extend(
                (0..batch.num_rows()).map(|row| columns.iter().map(|c| format!("{}|", c.value(row))).collect::<String>()),
            );
        }
        // Rescued data names the file that it came from: the folder is the one thing in which two runs differ.
        let place = folder.display().to_string();
        rows.iter_mut().for_each(|row| *row = row.replace(&place, "FOLDER"));
        rows.sort_unstable();
        state.insert(name, rows);
    }
    lake.close().await;
    state
}

fn assert_same(expected: &State, found: &State, seed: u64) {
    for (name, rows) in expected {
        let other = &found[name];
        let first = rows.iter().zip(other).find(|(a, b)| a != b);
        assert_eq!(rows.len(), other.len(), "seed {seed}: rows of {name}");
        assert_eq!(first, None, "seed {seed}: rows of {name}");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a process is killed by the clock on the wall")]
async fn flights_killed_at_random_moments_ends_in_the_same_state() {
    let seed =
        std::env::var("BOATHOUSE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| system_env().random_u64());
    println!("BOATHOUSE_SEED={seed}");
    let chance = Env::new(ManualClock::default(), seed);
    let root = tempfile::tempdir().unwrap();

    let clean = root.path().join("clean");
    let began = Instant::now();
    let said = finish(start(&clean));
    let whole = began.elapsed();
    assert!(said.contains("nothing lost, nothing twice"), "{said}");
    assert!(said.contains("got deletion vectors, and 0 other rows were written again"), "{said}");
    let expected = state(&clean).await;
    assert!(expected.values().all(|rows| !rows.is_empty()));

    let again = finish(start(&clean));
    for line in [
        "0 of 3 datasets",
        "0 of 4 feature tables",
        "nothing new to promote",
        "nothing new to serve",
        "nothing to mend",
        "nothing to correct",
    ] {
        assert!(again.contains(line), "a second run finds something new; it does not say `{line}`:\n{again}");
    }
    assert_same(&expected, &state(&clean).await, seed);

    // A run gets about an eighth of the time that it needs, so that kills fall everywhere. One that gets to its end is
    // compared, and a new folder begins.
    let (mut nth, mut kills, mut folder) = (0, 0, root.path().join("killed-0"));
    while kills < KILLS {
        let patience = Duration::from_micros(chance.random_below(u64::try_from(whole.as_micros()).unwrap() / 4));
        let mut child = start(&folder);
        let deadline = Instant::now() + patience;
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() >= deadline {
                break None;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        if ended.is_some() {
            finish(child);
            assert_same(&expected, &state(&folder).await, seed);
            nth += 1;
            folder = root.path().join(format!("killed-{nth}"));
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
    }
    finish(start(&folder));
    assert_same(&expected, &state(&folder).await, seed);
}
