//! Actions: the lines of a commit, and the rows of a checkpoint.
//!
//! Field names are those of the protocol in snake case; times are milliseconds since the Unix epoch, as there.
//! Unknown actions and unknown fields are ignored on reading, as the protocol demands.
//!
//! **Source**: Delta protocol, "Actions".

mod checkpoint;
mod commit_info;
mod domain;
mod file;
mod metadata;
mod protocol;
mod string_map;
mod txn;

pub use checkpoint::{CheckpointMetadata, Sidecar};
pub use commit_info::CommitInfo;
pub use domain::DomainMetadata;
pub use file::{Add, Cdc, FileKey, Remove, decode_path, encode_path};
pub use metadata::{Format, Metadata};
pub use protocol::Protocol;
pub use string_map::StringMap;
pub use txn::Txn;

pub use crate::deletion_vector::DeletionVectorDescriptor;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// One change of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Action {
    /// A data file becomes part of the table.
    Add(Add),
    /// A data file leaves the table.
    Remove(Remove),
    /// Name, schema, partitioning, properties.
    #[serde(rename = "metaData")]
    Metadata(Metadata),
    /// What a client must be able to do.
    Protocol(Protocol),
    /// How far a writer with its own numbering has come.
    Txn(Txn),
    /// Who did what.
    CommitInfo(CommitInfo),
    /// A named text that belongs to the table.
    DomainMetadata(DomainMetadata),
    /// A file of changed rows, for change readers.
    Cdc(Cdc),
    /// Marks a V2 checkpoint; only in checkpoints.
    CheckpointMetadata(CheckpointMetadata),
    /// A file with more of the checkpoint's actions; only in checkpoints.
    Sidecar(Sidecar),
}

impl Action {
    /// The action's name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::Metadata(_) => "metaData",
            Self::Protocol(_) => "protocol",
            Self::Txn(_) => "txn",
            Self::CommitInfo(_) => "commitInfo",
            Self::DomainMetadata(_) => "domainMetadata",
            Self::Cdc(_) => "cdc",
            Self::CheckpointMetadata(_) => "checkpointMetadata",
            Self::Sidecar(_) => "sidecar",
        }
    }
}

macro_rules! from {
    ($($type:ident),*) => {
        $(impl From<$type> for Action {
            fn from(action: $type) -> Self {
                Self::$type(action)
            }
        })*
    };
}

from!(Add, Remove, Metadata, Protocol, Txn, CommitInfo, DomainMetadata, Cdc, CheckpointMetadata, Sidecar);

/// A line of a log file: an action, or one that is not known.
pub(crate) struct Line(pub(crate) Option<Action>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Line;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with one action")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Line, M::Error> {
                let mut action = None;
                // The key is compared, never kept.
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    let found = match key.as_ref() {
                        "add" => map.next_value::<Option<Add>>()?.map(Action::Add),
                        "remove" => map.next_value::<Option<Remove>>()?.map(Action::Remove),
                        "metaData" => map.next_value::<Option<Metadata>>()?.map(Action::Metadata),
                        "protocol" => map.next_value::<Option<Protocol>>()?.map(Action::Protocol),
                        "txn" => map.next_value::<Option<Txn>>()?.map(Action::Txn),
                        "commitInfo" => map.next_value::<Option<CommitInfo>>()?.map(Action::CommitInfo),
                        "domainMetadata" => map.next_value::<Option<DomainMetadata>>()?.map(Action::DomainMetadata),
                        "cdc" => map.next_value::<Option<Cdc>>()?.map(Action::Cdc),
                        "checkpointMetadata" => map.next_value::<Option<CheckpointMetadata>>()?.map(Action::CheckpointMetadata),
                        "sidecar" => map.next_value::<Option<Sidecar>>()?.map(Action::Sidecar),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            None
                        }
                    };
                    if found.is_some() {
                        if action.is_some() {
                            return Err(serde::de::Error::custom("two actions in one line"));
                        }
                        action = found;
                    }
                }
                Ok(Line(action))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
