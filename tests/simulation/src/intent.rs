//! What an operation means, apart from how the engine does it.

use std::collections::BTreeMap;
use std::fmt;

use crate::chance::Chance;
use crate::data_files::{Part, Row};

/// What an operation is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Adds rows.
    Append { rows: Vec<Row> },
    /// Adds rows once, whoever tries how often.
    AppendOnce { app: &'static str, number: u64, rows: Vec<Row> },
    /// Deletes all rows of a partition: whole files.
    DeletePart { part: Part },
    /// Deletes the rows with these ids; files are found by their statistics, and written again without them.
    DeleteRange { low: i64, high: i64 },
    /// Deletes the rows with these ids, by marking them in their files.
    Mark { low: i64, high: i64 },
    /// Appends these rows one by one, all at the same time, through one table handle.
    Burst { rows: Vec<Row> },
    /// Adds one to the value of every row of a partition.
    Raise { part: Part },
    /// Adds one row to a partition, whose value is the number of rows in another one.
    Count { of: Part, id: i64, into: Part },
    /// Replaces all rows.
    ReplaceAll { rows: Vec<Row> },
    /// Replaces the rows of a partition.
    ReplacePart { part: Part, rows: Vec<Row> },
    /// Adds one to a property of the table.
    Bump,
    /// Writes the files of a partition as one.
    Compact { part: Part },
    /// Brings back what was some versions ago.
    Restore { back: u64 },
    /// Writes a checkpoint.
    Checkpoint,
    /// Deletes files that are not needed any more.
    Vacuum,
    /// Reads the newest version; with a nap between opening and reading.
    Read { nap_us: u64 },
    /// Reads an older version.
    ReadOld { back: u64 },
}

/// The property that [`Intent::Bump`] counts.
pub(crate) const COUNTER: &str = "simulation.counter";

/// The ids of the rows that a table begins with, in one file: writers meet there.
const FIRST_IDS: std::ops::Range<i64> = -24..-6;

/// The rows that a table begins with.
pub(crate) fn first_rows() -> impl Iterator<Item = Row> {
    FIRST_IDS.map(|id| Row { id, part: Part(0), value: 0 })
}

/// What a table holds, as far as intents care.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) rows: BTreeMap<i64, Row>,
    pub(crate) properties: BTreeMap<String, String>,
}

impl Intent {
    /// What the table holds afterwards. `ago` says what it held some versions before `then`.
    pub(crate) fn apply(&self, before: &Content, restored: Option<&Content>) -> Content {
        let mut after = before.clone();
        match self {
            Self::Append { rows } | Self::AppendOnce { rows, .. } | Self::Burst { rows } => {
                after.rows.extend(rows.iter().map(|row| (row.id, *row)))
            }
            Self::DeletePart { part } => after.rows.retain(|_, row| row.part != *part),
            Self::DeleteRange { low, high } | Self::Mark { low, high } => after.rows.retain(|id, _| id < low || id > high),
            Self::Raise { part } => {
                after.rows.values_mut().filter(|row| row.part == *part).for_each(|row| row.value += 1);
            }
            Self::Count { of, id, into } => {
                let value = before.rows.values().filter(|row| row.part == *of).count() as i64;
                after.rows.insert(*id, Row { id: *id, part: *into, value });
            }
            Self::ReplaceAll { rows } => after.rows = rows.iter().map(|row| (row.id, *row)).collect(),
            Self::ReplacePart { part, rows } => {
                after.rows.retain(|_, row| row.part != *part);
                after.rows.extend(rows.iter().map(|row| (row.id, *row)));
            }
            Self::Bump => {
                let count = count(&before.properties) + 1;
                after.properties.insert(COUNTER.to_owned(), count.to_string());
            }
            Self::Restore { .. } => {
                if let Some(restored) = restored {
                    after = restored.clone();
                }
            }
            Self::Compact { .. } | Self::Checkpoint | Self::Vacuum | Self::Read { .. } | Self::ReadOld { .. } => {}
        }
        after
    }

    /// Whether it commits anything.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self, Self::Checkpoint | Self::Vacuum | Self::Read { .. } | Self::ReadOld { .. })
    }

    /// Whether it adds rows without looking at any.
    pub(crate) fn is_blind(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::AppendOnce { .. } | Self::Burst { .. })
    }

    /// An intent of a writer, by chance, where all writers are at the first file.
    pub(crate) fn of_crowd(chance: &Chance, op: usize) -> Self {
        let first = i64::try_from(op).unwrap_or_default() * 10;
        match chance.weighted(&[(5, 0), (3, 1), (3, 2)], 0) {
            0 => {
                let (low, high) = range_of_first(chance);
                Self::Mark { low, high }
            }
            1 => Self::Compact { part: Part(0) },
            _ => Self::Append { rows: vec![Row { id: first, part: Part(0), value: 0 }] },
        }
    }

    /// An intent of a writer, by chance.
    pub(crate) fn of_writer(chance: &Chance, op: usize, ops: usize) -> Self {
        let part = |chance: &Chance| Part(u8::try_from(chance.below(Part::COUNT)).unwrap_or_default());
        let first = i64::try_from(op).unwrap_or_default() * 10;
        let rows_in = |part: Part| -> Vec<Row> {
            (0..chance.between(1, 3)).map(|at| Row { id: first + at as i64, part, value: 0 }).collect()
        };
        let rows = || rows_in(part(chance));
        let range = || {
            let span = i64::try_from(ops).unwrap_or_default() * 10;
            let low = chance.below(span.unsigned_abs()).cast_signed();
            (low, low + chance.below(40).cast_signed())
        };
        match chance.weighted(
            &[
                (30, 0),
                (10, 1),
                (8, 2),
                (10, 3),
                (9, 4),
                (10, 5),
                (4, 6),
                (5, 7),
                (5, 8),
                (7, 9),
                (5, 10),
                (3, 11),
                (6, 12),
                (18, 13),
                (8, 14),
            ],
            0,
        ) {
            0 => Self::Append { rows: rows() },
            1 => Self::AppendOnce { app: ["job", "stream"][usize::from(chance.per_mille(500))], number: 0, rows: rows() },
            2 => Self::DeletePart { part: part(chance) },
            3 => {
                let (low, high) = range();
                Self::DeleteRange { low, high }
            }
            13 => {
                let (low, high) = if chance.per_mille(700) { range_of_first(chance) } else { range() };
                Self::Mark { low, high }
            }
            14 => Self::Burst {
                rows: (0..chance.between(2, 5)).map(|at| Row { id: first + at as i64, part: part(chance), value: 0 }).collect(),
            },
            4 => Self::Raise { part: part(chance) },
            5 => Self::Count { of: part(chance), id: first, into: part(chance) },
            6 => Self::ReplaceAll { rows: rows() },
            7 => {
                let part = part(chance);
                Self::ReplacePart { part, rows: rows_in(part) }
            }
            8 => Self::Bump,
            9 => Self::Compact { part: part(chance) },
            10 => Self::Restore { back: chance.between(1, 4) },
            11 => Self::Checkpoint,
            _ => Self::Vacuum,
        }
    }

    /// An intent of a reader, by chance.
    pub(crate) fn of_reader(chance: &Chance) -> Self {
        if chance.per_mille(700) {
            Self::Read { nap_us: chance.weighted(&[(3, 0), (1, 50_000), (1, 20_000_000)], 0) }
        } else {
            Self::ReadOld { back: chance.between(0, 5) }
        }
    }
}

/// Few of the ids that a table begins with.
fn range_of_first(chance: &Chance) -> (i64, i64) {
    let low = FIRST_IDS.start + chance.below(FIRST_IDS.end.abs_diff(FIRST_IDS.start)).cast_signed();
    (low, low + chance.below(3).cast_signed())
}

/// What the counter shows.
pub(crate) fn count(properties: &BTreeMap<String, String>) -> u64 {
    properties.get(COUNTER).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |rows: &[Row]| {
            let texts: Vec<String> = rows.iter().map(|row| format!("{}{}", row.part.name(), row.id)).collect();
            texts.join(" ")
        };
        match self {
            Self::Append { rows } => write!(f, "append {}", ids(rows)),
            Self::AppendOnce { app, number, rows } => write!(f, "append {} as transaction {number} of `{app}`", ids(rows)),
            Self::DeletePart { part } => write!(f, "delete where part = {}", part.name()),
            Self::DeleteRange { low, high } => write!(f, "delete where id in {low}..={high}"),
            Self::Mark { low, high } => write!(f, "mark as deleted where id in {low}..={high}"),
            Self::Burst { rows } => write!(f, "append one by one and all at once {}", ids(rows)),
            Self::Raise { part } => write!(f, "raise the values where part = {}", part.name()),
            Self::Count { of, id, into } => write!(f, "count part {} into {}{id}", of.name(), into.name()),
            Self::ReplaceAll { rows } => write!(f, "replace all by {}", ids(rows)),
            Self::ReplacePart { part, rows } => write!(f, "replace part {} by {}", part.name(), ids(rows)),
            Self::Bump => f.write_str("bump the counter"),
            Self::Compact { part } => write!(f, "compact part {}", part.name()),
            Self::Restore { back } => write!(f, "restore {back} versions back"),
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Vacuum => f.write_str("vacuum"),
            Self::Read { nap_us } => write!(f, "read, after a nap of {nap_us} us"),
            Self::ReadOld { back } => write!(f, "read {back} versions back"),
        }
    }
}
