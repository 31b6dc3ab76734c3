//! What is to be found in a table.

use serde::Deserialize;

/// A line of `tables.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// The archive, and the table in it.
    pub(crate) table: String,
    /// Versions with their files and rows; the last one is the newest of the table. Rows that are null: the data
    /// files of that version are not there, so that it opens and reading it is `NotFound`.
    #[serde(default)]
    pub(crate) versions: Vec<(u64, usize, Option<u64>)>,
    /// Versions whose log was cleaned up.
    #[serde(default)]
    pub(crate) gone: Vec<u64>,
    /// Whether the archive has the rows of the newest version.
    #[serde(default)]
    pub(crate) expected: bool,
    /// The table must not be opened.
    #[serde(default)]
    pub(crate) refused: Option<Refused>,
    /// What is special about it, for people.
    #[serde(default, rename = "why")]
    _why: String,
}

/// How a table is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    /// The kind of the error.
    pub(crate) kind: String,
    /// What its message must name.
    pub(crate) says: String,
}

impl Line {
    /// The archive.
    pub(crate) fn group(&self) -> &str {
        self.table.split('/').next().unwrap()
    }
}

/// All lines.
pub(crate) fn lines() -> Vec<Line> {
    let text = include_str!("../../corpora/tables.jsonl");
    let mut lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    lines.sort_by(|a, b| a.table.cmp(&b.table));
    for line in &lines {
        let exclusive = line.refused.is_some() == line.versions.is_empty();
        assert!(exclusive && !(line.refused.is_some() && line.expected), "{} has versions, or is refused", line.table);
    }
    lines
}
