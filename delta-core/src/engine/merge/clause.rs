//! What happens to rows: the clauses of a merge as a caller gives them.

use crate::engine::formula::Formula;

/// `THEN UPDATE SET …`.
///
/// # Example
/// ```
/// use boathouse_delta_core::MergeUpdate;
///
/// let restock = MergeUpdate::set("stock", "t.stock + s.stock").and_set("seen", "s.seen").only_if("s.stock > 0");
/// let mirror = MergeUpdate::all();
/// assert_ne!(restock, mirror);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MergeUpdate {
    pub(crate) condition: Option<Formula>,
    /// Nothing: every column from its namesake in the source.
    pub(crate) sets: Option<Vec<(String, Formula)>>,
}

/// `THEN DELETE`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MergeDelete {
    pub(crate) condition: Option<Formula>,
}

/// `THEN INSERT …`.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeInsert {
    pub(crate) condition: Option<Formula>,
    /// Nothing: every column from its namesake in the source.
    pub(crate) values: Option<Vec<(String, Formula)>>,
}

impl MergeUpdate {
    /// Sets every column to the source's column of that name.
    pub fn all() -> Self {
        Self { condition: None, sets: None }
    }

    /// Sets a column.
    pub fn set(column: impl Into<String>, value: impl Into<Formula>) -> Self {
        Self { condition: None, sets: Some(vec![(column.into(), value.into())]) }
    }

    /// Sets a further column.
    #[must_use]
    pub fn and_set(mut self, column: impl Into<String>, value: impl Into<Formula>) -> Self {
        self.sets.get_or_insert_default().push((column.into(), value.into()));
        self
    }

    /// Only where this is true.
    #[must_use]
    pub fn only_if(mut self, condition: impl Into<Formula>) -> Self {
        self.condition = Some(condition.into());
        self
    }
}

impl MergeDelete {
    /// Deletes.
    pub fn all() -> Self {
        Self::default()
    }

    /// Deletes where this is true.
    pub fn only_if(condition: impl Into<Formula>) -> Self {
        Self { condition: Some(condition.into()) }
    }
}

impl MergeInsert {
    /// Takes every column from the source's column of that name.
    pub fn all() -> Self {
        Self { condition: None, values: None }
    }

    /// Gives a column a value. Columns without one are null.
    pub fn value(column: impl Into<String>, value: impl Into<Formula>) -> Self {
        Self { condition: None, values: Some(vec![(column.into(), value.into())]) }
    }

    /// Gives a further column a value.
    #[must_use]
    pub fn and_value(mut self, column: impl Into<String>, value: impl Into<Formula>) -> Self {
        self.values.get_or_insert_default().push((column.into(), value.into()));
        self
    }

    /// Only where this is true.
    #[must_use]
    pub fn only_if(mut self, condition: impl Into<Formula>) -> Self {
        self.condition = Some(condition.into());
        self
    }
}

/// `THEN UPDATE` or `THEN DELETE`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Update(MergeUpdate),
    Delete(MergeDelete),
}

impl Change {
    pub(crate) fn condition(&self) -> Option<&Formula> {
        match self {
            Self::Update(update) => update.condition.as_ref(),
            Self::Delete(delete) => delete.condition.as_ref(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Update(_) => "update",
            Self::Delete(_) => "delete",
        }
    }
}
