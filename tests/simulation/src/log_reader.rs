//! A slow and obvious reader of the log: every commit from the first on, as JSON. It shares nothing with the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringTreemap;
use serde_json::Value;

use crate::data_files::{Part, Row, Stored, decode};
use crate::disk::{Author, Disk};
use crate::violation::Violation;

/// The folder of the table in the simulated store.
pub(crate) const TABLE: &str = "t";
/// The folder of its log.
pub(crate) const LOG: &str = "t/_delta_log/";

/// The path of a commit.
pub(crate) fn commit_path(version: u64) -> String {
    format!("{LOG}{version:020}.json")
}

/// The version of a commit file; nothing for other paths.
pub(crate) fn version_of_commit(path: &str) -> Option<u64> {
    let digits = path.strip_prefix(LOG)?.strip_suffix(".json")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// Path, and the id of the deletion vector.
pub(crate) type FileKey = (String, Option<String>);

/// A data file in the table.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) rows: Arc<Vec<Row>>,
    /// For each of them, where the table tracks its rows.
    identities: Vec<Identity>,
    /// The object that holds its deletion vector.
    pub(crate) vector: Option<String>,
}

/// What stays with a row wherever it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) row_id: i64,
    pub(crate) commit_version: i64,
}

/// The table at a version.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<FileKey, File>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) schema: String,
    pub(crate) txns: BTreeMap<String, i64>,
    /// By id. What a reader of this version sees.
    pub(crate) rows: BTreeMap<i64, Row>,
    /// By the same id, as far as the table tracks its rows.
    pub(crate) identities: BTreeMap<i64, Identity>,
}

impl State {
    /// Whether the table tracks its rows.
    pub(crate) fn is_tracked(&self) -> bool {
        self.properties.get("delta.enableRowTracking").is_some_and(|on| on == "true")
    }

    fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

/// What a commit did.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) version: u64,
    pub(crate) author: Author,
    pub(crate) operation: String,
    pub(crate) user_metadata: Option<String>,
    pub(crate) read_version: Option<u64>,
    /// The time that it holds, in milliseconds.
    pub(crate) in_commit_ms: Option<i64>,
    pub(crate) blind_append: bool,
    /// Whether a file action says that data changed.
    pub(crate) data_change: bool,
    pub(crate) sets_metadata: bool,
    /// Files that came, and left.
    pub(crate) added: Vec<FileKey>,
    pub(crate) removed: Vec<FileKey>,
}

/// The whole history.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) commits: Vec<Commit>,
    /// By version.
    pub(crate) states: Vec<State>,
}

/// Reads the log from the first commit to the last.
///
/// It looks at what was written, not at what is there still: log clean-up may have deleted old commits.
pub(crate) fn read(disk: &Disk) -> Result<History, Violation> {
    let mut history = History::default();
    let mut state = State::default();
    let mut decoded: BTreeMap<String, Arc<Vec<Stored>>> = BTreeMap::new();
    for version in 0.. {
        let path = commit_path(version);
        let mut written = disk.revisions(&path).iter().filter_map(|revision| Some((revision.bytes.clone()?, revision)));
        let Some((bytes, first)) = written.next() else { break };
        if written.next().is_some() {
            return Err(Violation::CommitOverwritten { version });
        }
        let malformed = |what: String| Violation::MalformedCommit { version, what };
        let mut commit = Commit {
            version,
            author: first.author,
            operation: String::new(),
            user_metadata: None,
            read_version: None,
            in_commit_ms: None,
            blind_append: false,
            data_change: false,
            sets_metadata: false,
            added: Vec::new(),
            removed: Vec::new(),
        };
        let (mut adds, mut infos, mut protocols) = (Vec::new(), 0, 0);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Value = serde_json::from_slice(line).map_err(|error| malformed(format!("a line is no JSON: {error}")))?;
            let Some((kind, value)) = action.as_object().and_then(|object| object.iter().next()) else {
                return Err(malformed("a line is no action".to_owned()));
            };
            match kind.as_str() {
                "commitInfo" => {
                    infos += 1;
                    commit.operation = value["operation"].as_str().unwrap_or_default().to_owned();
                    commit.user_metadata = value["userMetadata"].as_str().map(str::to_owned);
                    commit.read_version = value["readVersion"].as_u64();
                    commit.in_commit_ms = value["inCommitTimestamp"].as_i64();
                    commit.blind_append = value["isBlindAppend"].as_bool().unwrap_or(false);
                }
                "protocol" => protocols += 1,
                "metaData" => {
                    if commit.sets_metadata {
                        return Err(malformed("it has two metaData actions".to_owned()));
                    }
                    commit.sets_metadata = true;
                    let properties = value["configuration"].as_object().into_iter().flatten();
                    state.properties =
                        properties.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
                    state.schema = value["schemaString"].as_str().unwrap_or_default().to_owned();
                }
                "txn" => {
                    let app = value["appId"].as_str().unwrap_or_default().to_owned();
                    let number = value["version"].as_i64().ok_or_else(|| malformed("a txn has no version".to_owned()))?;
                    let before = state.txns.insert(app.clone(), number);
                    if before.is_some_and(|before| before >= number) {
                        return Err(Violation::AppTransactionTwice { version, app, number });
                    }
                }
                "remove" => {
                    commit.data_change |= value["dataChange"].as_bool().unwrap_or(true);
                    commit.removed.push(key_of(value).ok_or_else(|| malformed("a remove has no path".to_owned()))?);
                }
                "add" => {
                    commit.data_change |= value["dataChange"].as_bool().unwrap_or(true);
                    adds.push(value.clone());
                }
                "domainMetadata" => {}
                other => return Err(malformed(format!("it has an action `{other}` that nobody asked for"))),
            }
        }
        if infos != 1 || protocols > 1 {
            return Err(malformed(format!("it has {infos} commitInfo and {protocols} protocol actions")));
        }
        for key in &commit.removed {
            if state.files.remove(key).is_none() {
                return Err(Violation::RemovesUnknown { version, path: key.0.clone() });
            }
        }
        for add in adds {
            let key = key_of(&add).ok_or_else(|| malformed("an add has no path".to_owned()))?;
            let file = file_of(disk, &state, &add, &mut decoded);
            let file = file.ok_or_else(|| Violation::UnreadableFile { version, path: key.0.clone() })?;
            commit.added.push(key.clone());
            if state.files.insert(key.clone(), file).is_some() {
                return Err(Violation::AddedTwice { version, path: key.0 });
            }
        }
        if let Some((path, _)) =
            state.files.keys().zip(state.files.keys().skip(1)).map(|(a, b)| (&a.0, &b.0)).find(|(a, b)| a == b)
        {
            return Err(Violation::AddedTwice { version, path: path.clone() });
        }
        (state.rows, state.identities) = (BTreeMap::new(), BTreeMap::new());
        for file in state.files.values() {
            for row in file.rows.iter() {
                if state.rows.insert(row.id, *row).is_some() {
                    return Err(Violation::RowTwice { version, id: row.id });
                }
            }
            state.identities.extend(file.rows.iter().map(|row| row.id).zip(file.identities.iter().copied()));
        }
        history.commits.push(commit);
        history.states.push(state.clone());
    }
    Ok(history)
}

fn key_of(action: &Value) -> Option<FileKey> {
    let path = action["path"].as_str()?.to_owned();
    let vector = &action["deletionVector"];
    let id = vector["storageType"].as_str().map(|storage| {
        let place = vector["pathOrInlineDv"].as_str().unwrap_or_default();
        let offset = vector["offset"].as_i64().map(|offset| format!("@{offset}")).unwrap_or_default();
        format!("{storage}{place}{offset}")
    });
    Some((path, id))
}

/// A data file, from its bytes, without the rows that its deletion vector marks.
fn file_of(disk: &Disk, state: &State, add: &Value, decoded: &mut BTreeMap<String, Arc<Vec<Stored>>>) -> Option<File> {
    let path = add["path"].as_str()?;
    let whole = match decoded.get(path) {
        Some(rows) => Arc::clone(rows),
        None => {
            let part = Part::named(add["partitionValues"]["part"].as_str()?)?;
            let bytes = disk.last_bytes(&format!("{TABLE}/{}", undo_percent(path)?))?;
            let id_column = state.property("delta.rowTracking.materializedRowIdColumnName");
            let version_column = state.property("delta.rowTracking.materializedRowCommitVersionColumnName");
            let rows = Arc::new(decode(&bytes, part, id_column, version_column)?);
            decoded.insert(path.to_owned(), Arc::clone(&rows));
            rows
        }
    };
    let vector = &add["deletionVector"];
    let marked = if vector.is_null() { RoaringTreemap::new() } else { crate::vectors::read(disk, vector)? };
    let left = || whole.iter().zip(0_u64..).filter(|(_, at)| !marked.contains(*at));
    let rows = Arc::new(left().map(|(stored, _)| stored.row).collect());
    let identities = match state.is_tracked() {
        false => Vec::new(),
        true => {
            let (first, usual) = (add["baseRowId"].as_i64()?, add["defaultRowCommitVersion"].as_i64()?);
            let identity = |(stored, at): (&Stored, u64)| Identity {
                row_id: stored.row_id.unwrap_or(first + at.cast_signed()),
                commit_version: stored.commit_version.unwrap_or(usual),
            };
            left().map(identity).collect()
        }
    };
    Some(File { rows, identities, vector: crate::vectors::object(vector) })
}

/// The path without percent-encoding.
pub(crate) fn undo_percent(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
