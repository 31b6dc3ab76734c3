//! What happens in a simulated world, all of it from one seed.

use std::collections::BTreeMap;
use std::fmt;

use crate::chance::Chance;
use crate::intent::Intent;
use crate::weather::Weather;

/// Who is in the world, and what they are up to.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(crate) actors: Vec<Actor>,
    pub(crate) weather: Weather,
    /// Properties of the table.
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) write_serializable: bool,
}

/// An actor: a process with its own clock.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) steps: Vec<Step>,
    pub(crate) skew_us: i64,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) pause_us: u64,
    pub(crate) intent: Intent,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table: {:?}", self.properties)?;
        writeln!(f, "store: {:?}", self.weather)?;
        for (at, actor) in self.actors.iter().enumerate() {
            writeln!(f, "actor {at}, whose clock is wrong by {} us:", actor.skew_us)?;
            for Step { pause_us, intent } in &actor.steps {
                writeln!(f, "  after {pause_us} us: {intent}")?;
            }
        }
        Ok(())
    }
}

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn draw(chance: &Chance) -> Self {
        let weather = Weather::draw(chance);
        let writers = chance.weighted(&[(1, 1), (5, 2), (4, 3), (2, 4)], 2);
        let readers = chance.weighted(&[(2, 0), (3, 1), (1, 2)], 1);
        let steps_each: Vec<usize> = (0..writers + readers).map(|_| usize::try_from(chance.between(1, 5)).unwrap_or(1)).collect();
        let ops: usize = steps_each.iter().sum();
        let longest_pause = chance.weighted(&[(3, 1_000), (3, weather.usual_us * 10)], 1_000);
        // Rows that are followed through a compaction are rare where everybody does anything.
        let crowded = chance.per_mille(60);
        let mut op = 0;
        let mut transactions: BTreeMap<&str, Vec<Intent>> = BTreeMap::new();
        let mut actors = Vec::new();
        for (at, steps) in steps_each.into_iter().enumerate() {
            let mut actor = Actor { steps: Vec::new(), skew_us: skew(chance, weather.skew_us) };
            for _ in 0..steps {
                op += 1;
                let intent = match at < writers {
                    true if crowded => Intent::of_crowd(chance, op),
                    true => Intent::of_writer(chance, op, ops),
                    false => Intent::of_reader(chance),
                };
                let intent = numbered(chance, intent, &mut transactions);
                // Now and then hours pass, so that something is old: before whoever deletes or wants back old files, often.
                let about_old = matches!(intent, Intent::Restore { .. } | Intent::Vacuum);
                let hours = chance.per_mille(if about_old { 500 } else { 120 });
                let pause_us = if hours { 7_200_000_000 } else { chance.below(longest_pause) };
                actor.steps.push(Step { pause_us, intent });
            }
            actors.push(actor);
        }
        let write_serializable = chance.per_mille(300);
        let interval = chance.weighted(&[(1, 2), (3, 4), (3, 10), (2, 100)], 10);
        let times_in_commits = chance.per_mille(500);
        let tracked = chance.per_mille(350);
        let properties = BTreeMap::from([
            ("delta.enableRowTracking".to_owned(), tracked.to_string()),
            ("delta.enableInCommitTimestamps".to_owned(), times_in_commits.to_string()),
            ("delta.checkpointInterval".to_owned(), interval.to_string()),
            ("delta.enableDeletionVectors".to_owned(), "true".to_owned()),
            ("delta.isolationLevel".to_owned(), isolation(write_serializable).to_owned()),
        ]);
        Self { actors, weather, properties, write_serializable }
    }
}

fn isolation(write_serializable: bool) -> &'static str {
    if write_serializable { "WriteSerializable" } else { "Serializable" }
}

fn skew(chance: &Chance, most_us: u64) -> i64 {
    chance.below(most_us.saturating_mul(2)).cast_signed() - most_us.cast_signed()
}

/// Gives the transaction of an application its number: a new one, or one that another instance of it tries as well.
fn numbered(chance: &Chance, intent: Intent, known: &mut BTreeMap<&'static str, Vec<Intent>>) -> Intent {
    let Intent::AppendOnce { app, rows, .. } = intent else { return intent };
    let known = known.entry(app).or_default();
    if let Some(same) = known.last()
        && chance.per_mille(500)
    {
        return same.clone();
    }
    let intent = Intent::AppendOnce { app, number: known.len() as u64 + 1, rows };
    known.push(intent.clone());
    intent
}
