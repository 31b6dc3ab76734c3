//! What a version depends on in the one before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::row_tracking::{ROW_TRACKING_DOMAIN, domain, give_row_ids, gives_row_ids, high_water_mark};
use super::winner::Winner;
use crate::action::{Action, CommitInfo, DomainMetadata, Metadata, Protocol};
use crate::error::Result;
use crate::features::has_in_commit_timestamps;

/// The properties that say from which version, and from which time on, commits hold their time.
const ENABLEMENT: [&str; 2] = ["delta.inCommitTimestampEnablementVersion", "delta.inCommitTimestampEnablementTimestamp"];

/// The facts of a version that the next one continues: time, row ids, protocol and metadata.
///
/// A transaction that moves behind a winner takes them along, and [settles](Self::settle) on the last one.
///
/// # Example
/// ```
/// use std::collections::BTreeMap;
/// use boathouse_delta_protocol::action::{Action, Add, CommitInfo, Metadata, Protocol};
/// use boathouse_delta_protocol::conflict::{Ground, Winner};
///
/// let protocol = Protocol {
///     min_writer_version: 7,
///     writer_features: Some(vec!["inCommitTimestamp".into(), "rowTracking".into(), "domainMetadata".into()]),
///     ..Protocol::default()
/// };
/// let configuration = BTreeMap::from([("delta.enableInCommitTimestamps".to_owned(), "true".to_owned())]);
/// let metadata = Metadata { configuration, ..Metadata::default() };
/// let mut ground = Ground::new(4, protocol, metadata.into(), 1_000, None);
///
/// // Another writer's clock is ahead of ours.
/// let won = [Action::from(CommitInfo { in_commit_timestamp: Some(5_000), ..CommitInfo::default() })];
/// ground.follow(&Winner { version: 5, actions: &won });
/// let stats = Some(r#"{"numRecords":3}"#.to_owned());
/// let staged = vec![Action::from(Add { path: "a".into(), stats, data_change: true, ..Add::default() })];
/// let (info, actions) = ground.settle(CommitInfo::default(), staged, 2_000)?;
/// assert_eq!(info.in_commit_timestamp, Some(5_001));
/// let Action::Add(add) = &actions[0] else { panic!() };
/// assert_eq!((add.base_row_id, add.default_row_commit_version), (Some(0), Some(6)));
/// assert!(matches!(&actions[1], Action::DomainMetadata(d) if d.configuration == r#"{"rowIdHighWaterMark":2}"#));
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// `None` before the first version.
    version: Option<u64>,
    protocol: Protocol,
    metadata: Arc<Metadata>,
    /// When the version was committed, in milliseconds since the Unix epoch; `None` when only the store knows.
    committed_ms: Option<i64>,
    row_id_high_water: Option<i64>,
}

impl Ground {
    /// The facts of a version that was committed at `committed_ms`, by itself or by its file; `row_tracking` is its domain
    /// `delta.rowTracking`.
    pub fn new(
        version: u64,
        protocol: Protocol,
        metadata: Arc<Metadata>,
        committed_ms: i64,
        row_tracking: Option<&DomainMetadata>,
    ) -> Self {
        let row_id_high_water = row_tracking.and_then(high_water_mark);
        Self { version: Some(version), protocol, metadata, committed_ms: Some(committed_ms), row_id_high_water }
    }

    /// Where there is no table yet.
    pub fn empty(protocol: Protocol, metadata: Arc<Metadata>) -> Self {
        Self { version: None, protocol, metadata, committed_ms: None, row_id_high_water: None }
    }

    /// The version to be made next.
    pub fn next_version(&self) -> u64 {
        self.version.map_or(0, |version| version + 1)
    }

    /// Whether it must be said when the version was committed, before these actions can be [settled](Self::settle): commits hold their
    /// time once they are there, and this one does not.
    pub fn needs_time(&self, staged: &[Action]) -> bool {
        let (protocol, metadata) = self.with(staged);
        self.version.is_some()
            && self.committed_ms.is_none()
            && has_in_commit_timestamps(protocol.unwrap_or(&self.protocol), &metadata.unwrap_or(&self.metadata).configuration)
    }

    /// Says when the version was committed, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn committed_at(mut self, ms: i64) -> Self {
        self.committed_ms = Some(ms);
        self
    }

    /// Protocol and metadata that actions set.
    fn with<'a>(&self, staged: &'a [Action]) -> (Option<&'a Protocol>, Option<&'a Metadata>) {
        let protocol = staged.iter().rev().find_map(|a| if let Action::Protocol(p) = a { Some(p) } else { None });
        let metadata = staged.iter().rev().find_map(|a| if let Action::Metadata(m) = a { Some(m) } else { None });
        (protocol, metadata)
    }

    /// Moves behind a winner.
    pub fn follow(&mut self, winner: &Winner<'_>) {
        self.version = Some(winner.version);
        self.committed_ms = winner.info().and_then(|info| info.in_commit_timestamp);
        for action in winner.actions {
            match action {
                Action::Protocol(protocol) => self.protocol = protocol.clone(),
                Action::Metadata(metadata) => self.metadata = Arc::new(metadata.clone()),
                Action::DomainMetadata(domain) if domain.domain == ROW_TRACKING_DOMAIN => {
                    self.row_id_high_water = self.row_id_high_water.max(high_water_mark(domain));
                }
                _ => {}
            }
        }
    }

    /// What a transaction commits as the next version: the staged actions with the times, row ids and versions that it has there.
    ///
    /// - `inCommitTimestamp` is `now_ms`, but later than that of this version;
    /// - new files get row ids above those that were given out, and the new version as row commit version;
    /// - metadata that enables in-commit timestamps says since when, and metadata after it goes on saying so;
    /// - type changes of the preview form say the version that made them.
    ///
    /// **Errors**: `Invalid` for a file that needs row ids and has no count of rows; `Corrupt` for a schema that does not parse.
    pub fn settle(&self, mut info: CommitInfo, mut actions: Vec<Action>, now_ms: i64) -> Result<(CommitInfo, Vec<Action>)> {
        let version = self.next_version();
        let (staged_protocol, staged_metadata) = self.with(&actions);
        let protocol = staged_protocol.unwrap_or(&self.protocol).clone();
        let metadata = staged_metadata.map_or_else(|| Arc::clone(&self.metadata), |staged| Arc::new(staged.clone()));
        info.timestamp = Some(now_ms);
        info.in_commit_timestamp = None;
        let stamped = has_in_commit_timestamps(&protocol, &metadata.configuration);
        if stamped {
            let at = self.committed_ms.map_or(now_ms, |last| now_ms.max(last.saturating_add(1)));
            info.in_commit_timestamp = Some(at);
            self.keep_enablement(&mut actions, version, at);
        }
        for metadata in metadata_of(&mut actions) {
            if let Some(schema) = type_changes_at(&metadata.schema_string, &self.metadata.schema_string, version) {
                metadata.schema_string = schema;
            }
        }
        if gives_row_ids(&protocol, &metadata.configuration) {
            // Where the row ids of an earlier attempt had been given out, they would be taken for those of files from before.
            actions.retain(|action| !matches!(action, Action::DomainMetadata(d) if d.domain == ROW_TRACKING_DOMAIN));
            if let Some(high_water) = give_row_ids(&mut actions, self.row_id_high_water, version)? {
                actions.push(domain(high_water).into());
            }
            // Where ids are relied upon, no writer stages rows from before without theirs.
            let keeps = metadata.properties()?.enable_row_tracking || !copies_rows(&actions);
            let tags = info.extra.entry("tags").or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Value::Object(tags) = tags {
                tags.insert("delta.rowTracking.preserved".to_owned(), Value::String(keeps.to_string()));
            }
        }
        Ok((info, actions))
    }

    /// Metadata of a table whose commits hold their time says since when, unless they always did.
    fn keep_enablement(&self, actions: &mut Vec<Action>, version: u64, at_ms: i64) {
        let configuration = &self.metadata.configuration;
        let begins = self.version.is_some() && !has_in_commit_timestamps(&self.protocol, configuration);
        if begins && !actions.iter().any(|action| matches!(action, Action::Metadata(_))) {
            actions.push(Action::Metadata(self.metadata.as_ref().clone()));
        }
        let since = match begins {
            true => [Some(version.to_string()), Some(at_ms.to_string())],
            // Staged metadata may come from a version of another time.
            false if self.version.is_some() => ENABLEMENT.map(|key| configuration.get(key).cloned()),
            false => [None, None],
        };
        for metadata in metadata_of(actions) {
            for (key, value) in ENABLEMENT.into_iter().zip(&since) {
                match value {
                    Some(value) => metadata.configuration.insert(key.to_owned(), value.clone()),
                    None => metadata.configuration.remove(key),
                };
            }
        }
    }
}

/// Whether rows of files that leave may be in files that come. A file that comes back with fewer rows has them where they were.
fn copies_rows(actions: &[Action]) -> bool {
    let added: BTreeSet<&str> =
        actions.iter().filter_map(|a| if let Action::Add(add) = a { Some(add.path.as_str()) } else { None }).collect();
    let removed: BTreeSet<&str> =
        actions.iter().filter_map(|a| if let Action::Remove(remove) = a { Some(remove.path.as_str()) } else { None }).collect();
    removed.difference(&added).next().is_some() && added.difference(&removed).next().is_some()
}

fn metadata_of(actions: &mut [Action]) -> impl Iterator<Item = &mut Metadata> {
    actions.iter_mut().filter_map(|action| match action {
        Action::Metadata(metadata) => Some(metadata),
        _ => None,
    })
}

/// The schema with the version of its new type changes, which only the preview form of type widening keeps (`tableVersion`); nothing
/// when there is none.
///
/// Changes that stand in the schema before with the same version are old ones.
fn type_changes_at(schema: &str, before: &str, version: u64) -> Option<String> {
    if !schema.contains("\"tableVersion\"") {
        return None;
    }
    let mut schema: Value = serde_json::from_str(schema).ok()?;
    let before: Value = serde_json::from_str(before).unwrap_or(Value::Null);
    let mut known = Vec::new();
    visit_type_changes(&mut before.clone(), &mut |change| known.push(change.clone()));
    let mut moved = false;
    visit_type_changes(&mut schema, &mut |change| {
        if !known.contains(change)
            && let Some(at) = change.get_mut("tableVersion")
            && at.as_u64() != Some(version)
        {
            *at = Value::from(version);
            moved = true;
        }
    });
    moved.then(|| schema.to_string())
}

fn visit_type_changes(value: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner {
                    Value::Array(changes) if key == "delta.typeChanges" => changes.iter_mut().for_each(&mut *visit),
                    _ => visit_type_changes(inner, visit),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit_type_changes(item, visit)),
        _ => {}
    }
}
