//! What may change about a query between two runs over one checkpoint.
//!
//! | changes | what happens |
//! | --- | --- |
//! | filters, projections, delays, limits, triggers, the name | nothing is asked |
//! | an aggregate more | groups that are stored have its state of no rows: it counts rows from the change on |
//! | an aggregate less | what it has counted is not read again; when it comes back it begins anew |
//! | both at once | refused: a changed aggregate looks the same |
//! | fewer columns of rows that wait for a partner | the others are not read |
//! | more of them | refused: the rows that wait do not have them |
//! | keys, widths of windows, kinds of joins, when rows are over, types | refused |
//! | operators come or go | refused |
//!
//! # Names
//! An operator is known by its kind and its keys: `stateStoreSave[origin, window(at, 10s)]`; a second one of the same name has ` (2)` after it.
//! The order of keys does not matter. A user can give a [name](crate::StreamFrame::named) instead. A key is known by the name of its column,
//! so a projection below may compute it otherwise; a window by its time, width, slide and offset; an aggregate by its text. Names of tables
//! count only in queries that join: elsewhere a subquery may be put in between.
//!
//! # Columns of the state
//! A file of state names its columns. One that came later has the epoch of that after its name: when an aggregate goes and comes back,
//! old files still have the column of its first life, by another name. So nothing has to be written again when a query changes.

mod adopt;
mod change;
mod check;
mod names;

use serde::{Deserialize, Serialize};

pub(crate) use adopt::{adopt, as_recorded};
pub use change::QueryChange;
pub(crate) use check::{carry_on, check};
pub(crate) use names::{Naming, unique};

use crate::position::StateFile;

/// What an operator remembers after an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OperatorRef {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: String,
    /// Its keys, in a fixed order.
    #[serde(default)]
    pub(crate) by: Vec<String>,
    /// What else must not change: the kind of a join, when rows are over.
    #[serde(default)]
    pub(crate) also: Vec<String>,
    pub(crate) stores: Vec<StoreRef>,
}

/// A store of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreRef {
    pub(crate) name: String,
    pub(crate) columns: Vec<ColumnRef>,
    /// What the hashes of its keys begin with.
    #[serde(default)]
    pub(crate) seed: u64,
    /// Of segments the oldest first; those that hold no rows before all.
    pub(crate) files: Vec<StateFile>,
}

/// A column of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnRef {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) data_type: String,
    pub(crate) role: Role,
    /// The aggregate that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) of: Option<String>,
    /// The epoch that it came with; 0: it was always there.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub(crate) since: u64,
}

/// What a column of a store is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Role {
    /// Rows are found by it.
    Key,
    /// Part of what is remembered; it stays.
    Fixed,
    /// A column of a row that waits; it may go.
    Carried,
    /// Of an aggregate, which may come and go.
    Aggregate,
}

impl ColumnRef {
    /// Its name in files.
    pub(crate) fn stored_as(&self) -> String {
        if self.since == 0 { self.name.clone() } else { format!("{}@{}", self.name, self.since) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(since: &u64) -> bool {
    *since == 0
}
