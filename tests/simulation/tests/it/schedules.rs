//! No schedule breaks a promise.

use boathouse_simulation::{Simulation, Sweep, Tally};

#[expect(clippy::panic, reason = "test support: a number that cannot be read must not pass for none")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[test]
fn ten_thousand_schedules_break_no_promise() {
    if let Some(seed) = number("BOATHOUSE_SEED") {
        let report = Simulation::of_seed(seed).run();
        println!("{}\n{}", report.schedule, report.trace);
        assert_eq!(report.violation, None, "seed {seed}");
        return;
    }
    let schedules = number("BOATHOUSE_SCHEDULES").unwrap_or(10_000);
    let first = number("BOATHOUSE_FIRST_SEED").unwrap_or(0);
    let sweep = Sweep::over(first..first + schedules);
    let swept = if number("BOATHOUSE_KEEP_GOING").is_some() { sweep.keep_going() } else { sweep }.run();
    let broken: Vec<String> = swept.broken.iter().map(|(seed, violation)| format!("seed {seed}: {violation}")).collect();
    assert!(broken.is_empty(), "{}\nBOATHOUSE_SEED=… shows what happens with a seed", broken.join("\n"));
    println!("{:#?}", swept.tally);
    everything_happens(&swept.tally);
}

/// A sweep in which something never happens says nothing about it.
fn everything_happens(tally: &Tally) {
    let each = tally.schedules / 100;
    let happened = [
        ("commits", tally.commits),
        ("conflicts", tally.conflicts),
        ("failures of the store", tally.unavailable),
        ("skipped transactions", tally.skipped),
        ("crashes", tally.crashed),
        ("reads", tally.reads),
        ("restores", tally.restores),
        ("late requests", tally.late),
        ("checkpoints", tally.checkpoints),
        ("rows marked as deleted", tally.marks),
        ("shared commits", tally.shared),
        ("deleted files", tally.deleted),
        ("copies of files", tally.copied),
    ];
    for (what, times) in happened {
        assert!(times >= each, "{what}: only {times} in {} schedules", tally.schedules);
    }
}
