//! Whether the history is one that a table may have.
//!
//! The log is read by [`log_reader`](crate::log_reader), and every committed operation is done again, by its meaning, on
//! what the table held at its place in the log. Under `Serializable` the commit must have had that very effect. Under
//! `WriteSerializable` it may have overlooked rows that blind appends committed after the version that it read.

use std::collections::BTreeMap;
use std::fmt::Write;

use boathouse_base::ErrorKind;

use crate::data_files::Row;
use crate::disk::Disk;
use crate::identities::rows_are_known_again;
use crate::intent::{Content, Intent};
use crate::ledger::{Attempt, Observation, Outcome};
use crate::log_reader::{Commit, History, State, TABLE};
use crate::schedule::Schedule;
use crate::violation::Violation;

/// Checks what actors were told against the history.
pub(crate) fn check(history: &History, attempts: &[Attempt], schedule: &Schedule, disk: &Disk) -> Result<(), Violation> {
    rows_are_known_again(history)?;
    times_rise(history)?;
    let mut by_op: BTreeMap<usize, Vec<&Commit>> = BTreeMap::new();
    for commit in history.commits.iter().skip(1) {
        let asked = commit.author.op.filter(|op| attempts.get(*op).is_some_and(|attempt| attempt.intent.writes()));
        let says = commit.user_metadata.as_deref();
        match asked {
            Some(op) if says.is_none_or(|says| says == format!("op {op}")) => by_op.entry(op).or_default().push(commit),
            _ => return Err(Violation::Unasked { version: commit.version, operation: commit.operation.clone() }),
        }
    }
    for (op, attempt) in attempts.iter().enumerate() {
        let found = by_op.get(&op).map_or(&[][..], Vec::as_slice);
        outcome(op, attempt, found, history)?;
        for commit in found {
            effect(op, attempts, commit, history, schedule)?;
        }
        for observation in &attempt.observations {
            read(op, attempt, observation, history, schedule)?;
        }
        explained(op, attempt, schedule, attempts)?;
    }
    files_are_there(history, disk)
}

/// Commits of a table that wants times in them have them, later ones later times, whatever the clocks say.
fn times_rise(history: &History) -> Result<(), Violation> {
    let mut last_ms = None;
    for (commit, state) in history.commits.iter().zip(&history.states) {
        let wanted = state.properties.get("delta.enableInCommitTimestamps").is_some_and(|on| on == "true");
        if wanted && (commit.in_commit_ms.is_none() || commit.in_commit_ms <= last_ms) {
            let what = format!("it holds the time {:?} after {last_ms:?}", commit.in_commit_ms);
            return Err(Violation::MalformedCommit { version: commit.version, what });
        }
        last_ms = commit.in_commit_ms.or(last_ms);
    }
    Ok(())
}

/// What was acknowledged is there once, what was refused is not there.
fn outcome(op: usize, attempt: &Attempt, found: &[&Commit], history: &History) -> Result<(), Violation> {
    let what = || attempt.intent.to_string();
    if let Intent::Burst { rows } = &attempt.intent {
        return burst(op, attempt, rows, found, history);
    }
    if let [first, second, ..] = found {
        return Err(Violation::CommittedTwice { op, what: what(), first: first.version, second: second.version });
    }
    let ghost = |said: &str| match found.first() {
        Some(commit) => Err(Violation::Ghost { op, what: what(), said: said.to_owned(), version: commit.version }),
        None => Ok(()),
    };
    match &attempt.outcome {
        Outcome::Unknown | Outcome::Undecided { .. } => Ok(()),
        Outcome::Nothing => ghost("said that there was nothing to do"),
        Outcome::Refused { message, .. } => ghost(&format!("was refused ({message})")),
        Outcome::Skipped => {
            ghost("was skipped")?;
            let Intent::AppendOnce { app, number, .. } = &attempt.intent else { return Ok(()) };
            let last = history.states.last().and_then(|state| state.txns.get(*app)).copied();
            if last.is_some_and(|last| last >= number.cast_signed()) {
                Ok(())
            } else {
                Err(Violation::Lost {
                    op,
                    what: what(),
                    version: 0,
                    found: format!("has transaction {last:?} of the application"),
                })
            }
        }
        Outcome::Committed { version } if found.first().is_some_and(|commit| commit.version == *version) => Ok(()),
        Outcome::Committed { version } => {
            let at = usize::try_from(*version).ok().and_then(|at| history.commits.get(at));
            let found = match (found.first(), at) {
                (Some(elsewhere), _) => format!("is not its version: that is {}", elsewhere.version),
                (None, Some(other)) => format!("is the {} of another operation ({:?})", other.operation, other.author.op),
                (None, None) => "does not exist".to_owned(),
            };
            Err(Violation::Lost { op, what: what(), version: *version, found })
        }
    }
}

/// Of appends that were asked for at once, each that was acknowledged is in its version, and each that was refused is nowhere.
fn burst(op: usize, attempt: &Attempt, rows: &[Row], found: &[&Commit], history: &History) -> Result<(), Violation> {
    for row in rows {
        let came = |commit: &&&Commit| {
            let at = usize::try_from(commit.version).unwrap_or(usize::MAX);
            let here = history.states.get(at).is_some_and(|state| state.rows.contains_key(&row.id));
            let before = at.checked_sub(1).and_then(|at| history.states.get(at));
            here && before.is_some_and(|state| !state.rows.contains_key(&row.id))
        };
        let versions: Vec<u64> = found.iter().filter(came).map(|commit| commit.version).collect();
        let what = || format!("row {} of: {}", row.id, attempt.intent);
        match (attempt.members.get(&row.id).unwrap_or(&Outcome::Unknown), versions.as_slice()) {
            (_, [first, second, ..]) => {
                return Err(Violation::CommittedTwice { op, what: what(), first: *first, second: *second });
            }
            (Outcome::Committed { version }, [found]) if version == found => {}
            (Outcome::Committed { version }, found) => {
                return Err(Violation::Lost { op, what: what(), version: *version, found: format!("is not among {found:?}") });
            }
            (Outcome::Refused { message, .. }, [version]) => {
                let said = format!("was refused ({message})");
                return Err(Violation::Ghost { op, what: what(), said, version: *version });
            }
            _ => {}
        }
    }
    Ok(())
}

fn content(state: &State) -> Content {
    Content { rows: state.rows.clone(), properties: state.properties.clone() }
}

/// The commit did what its operation means at its place in the history.
fn effect(op: usize, attempts: &[Attempt], commit: &Commit, history: &History, schedule: &Schedule) -> Result<(), Violation> {
    let Some(attempt) = attempts.get(op) else { return Ok(()) };
    let malformed = |what: String| Err(Violation::MalformedCommit { version: commit.version, what });
    let state = |version: u64| usize::try_from(version).ok().and_then(|at| history.states.get(at));
    let (Some(before), Some(after)) = (commit.version.checked_sub(1).and_then(state), state(commit.version)) else {
        return malformed("there is no state before it".to_owned());
    };
    let Some(read_version) = commit.read_version.filter(|read| *read < commit.version) else {
        return malformed(format!("it says that it read version {:?}", commit.read_version));
    };
    if attempt.intent.is_blind() && !commit.blind_append {
        return malformed(format!("it does not say that it is a blind append: {}", attempt.intent));
    }
    if matches!(attempt.intent, Intent::Compact { .. }) && commit.data_change {
        return malformed("it only rearranges rows, and says that it changes them".to_owned());
    }
    let restored = attempt.restored.and_then(state).map(content);
    let (before, after) = (content(before), content(after));
    let mut expected = attempt.intent.apply(&before, restored.as_ref());
    if let Intent::Burst { rows } = &attempt.intent {
        // Some of the appends of a burst, in one commit or in several.
        let new = rows.iter().filter(|row| after.rows.contains_key(&row.id) && !before.rows.contains_key(&row.id));
        expected = before.clone();
        expected.rows.extend(new.map(|row| (row.id, *row)));
    }
    if expected == after {
        return Ok(());
    }
    if schedule.write_serializable {
        let mut seen = before.clone();
        let mut unseen = BTreeMap::new();
        for other in &history.commits {
            let blind = other.author.op.and_then(|op| attempts.get(op)).is_some_and(|attempt| attempt.intent.is_blind());
            if blind && other.version > read_version && other.version < commit.version {
                for (path, _) in &other.added {
                    let rows = state(other.version).into_iter().flat_map(|state| &state.files).filter(|(key, _)| key.0 == *path);
                    for row in rows.flat_map(|(_, file)| file.rows.iter()) {
                        unseen.extend(seen.rows.remove(&row.id).map(|row| (row.id, row)));
                    }
                }
            }
        }
        let mut expected = attempt.intent.apply(&seen, restored.as_ref());
        expected.rows.extend(unseen);
        if expected == after {
            return Ok(());
        }
    }
    Err(Violation::NotSerializable {
        version: commit.version,
        op,
        what: attempt.intent.to_string(),
        read_version,
        difference: difference(&expected, &after),
    })
}

/// What a snapshot of the log reader lacks or has beyond what is expected, in words.
fn difference(expected: &Content, found: &Content) -> String {
    let mut text = String::new();
    let ids: std::collections::BTreeSet<_> = expected.rows.keys().chain(found.rows.keys()).collect();
    for id in ids {
        let (wanted, is) = (expected.rows.get(id), found.rows.get(id));
        let show = |row: Option<&Row>| {
            row.map_or_else(|| "absent".to_owned(), |row| format!("in part {} with value {}", row.part.name(), row.value))
        };
        if wanted != is {
            // Writing to a string never fails.
            let _ = write!(text, "row {id} should be {}, and is {}; ", show(wanted), show(is));
        }
    }
    let keys: std::collections::BTreeSet<_> = expected.properties.keys().chain(found.properties.keys()).collect();
    for key in keys {
        let (wanted, is) = (expected.properties.get(key), found.properties.get(key));
        if wanted != is {
            let _ = write!(text, "property {key} should be {wanted:?}, and is {is:?}; ");
        }
    }
    text.trim_end_matches("; ").to_owned()
}

/// What an operation saw is what the log says of that version, and it is new enough.
fn read(
    op: usize,
    attempt: &Attempt,
    observation: &Observation,
    history: &History,
    schedule: &Schedule,
) -> Result<(), Violation> {
    let what = || attempt.intent.to_string();
    if let Some(Some(acknowledged)) = observation.newest_since
        && observation.version < acknowledged
        && schedule.weather.stale_list_us == 0
    {
        return Err(Violation::StaleRead { op, what: what(), seen: observation.version, acknowledged });
    }
    compare(observation, history).map_err(|difference| Violation::WrongRead {
        op,
        what: what(),
        version: observation.version,
        difference,
    })
}

/// Compares what a snapshot said with the log.
pub(crate) fn compare(observation: &Observation, history: &History) -> Result<(), String> {
    let Some(state) = usize::try_from(observation.version).ok().and_then(|at| history.states.get(at)) else {
        return Err("the log has no such version".to_owned());
    };
    let paths: std::collections::BTreeSet<&str> = state.files.keys().map(|(path, _)| path.as_str()).collect();
    let seen: std::collections::BTreeSet<&str> = observation.files.iter().map(String::as_str).collect();
    if paths != seen {
        let lacks: Vec<_> = paths.difference(&seen).collect();
        let invents: Vec<_> = seen.difference(&paths).collect();
        return Err(format!("it lacks the files {lacks:?} and has {invents:?} beside"));
    }
    let properties: BTreeMap<String, String> = state.properties.clone();
    if properties != observation.properties {
        return Err(format!("its properties are {:?} in place of {properties:?}", observation.properties));
    }
    if let Some(rows) = &observation.rows {
        let wanted: Vec<_> = state.rows.values().copied().collect();
        if *rows != wanted {
            return Err(format!("its rows are {rows:?} in place of {wanted:?}"));
        }
    }
    Ok(())
}

/// Every error has a cause in the schedule.
fn explained(op: usize, attempt: &Attempt, schedule: &Schedule, attempts: &[Attempt]) -> Result<(), Violation> {
    let Some((kind, message)) = [&attempt.outcome].into_iter().chain(attempt.members.values()).find_map(Outcome::refusal) else {
        return Ok(());
    };
    let old = matches!(attempt.intent, Intent::ReadOld { .. } | Intent::Restore { .. });
    let vacuumed = attempts.iter().any(|attempt| attempt.intent == Intent::Vacuum);
    let fine = match kind {
        // Nothing that others do here makes a blind append wrong.
        ErrorKind::Conflict => !matches!(attempt.intent, Intent::Append { .. } | Intent::Burst { .. }),
        ErrorKind::Unavailable => schedule.weather.is_faulty(),
        // Vacuum may have taken the files of an old version; an old listing may not show a version that was seen before.
        ErrorKind::NotFound => (old && vacuumed) || schedule.weather.stale_list_us > 0,
        _ => false,
    };
    if fine {
        return Ok(());
    }
    Err(Violation::Unexplained { op, what: attempt.intent.to_string(), kind, message: message.to_owned() })
}

/// No file that the newest version needs is gone.
fn files_are_there(history: &History, disk: &Disk) -> Result<(), Violation> {
    let Some(last) = history.states.last() else { return Ok(()) };
    for ((path, _), file) in &last.files {
        let data = crate::log_reader::undo_percent(path).map(|path| format!("{TABLE}/{path}"));
        for object in data.into_iter().chain(file.vector.clone()) {
            if disk.get(&object).is_none() {
                let deleted_by = disk.revisions(&object).last().and_then(|revision| revision.author.op);
                let version = history.states.len() as u64 - 1;
                let deleted_by = deleted_by.map_or_else(|| "?".to_owned(), |op| op.to_string());
                return Err(Violation::MissingFile { version, path: object, deleted_by });
            }
        }
    }
    Ok(())
}
