//! Changes of a query that its state cannot follow.

use std::fmt;

/// A change of a query that what it remembers cannot follow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryChange {
    /// The operator is not in the query any more.
    OperatorGone {
        /// The operators of the query.
        found: Vec<String>,
    },
    /// The operator was not in the query before.
    OperatorNew {
        /// The operators in the checkpoint.
        recorded: Vec<String>,
    },
    /// It remembers by other keys, or windows.
    Keys {
        /// In the checkpoint.
        recorded: Vec<String>,
        /// In the query.
        found: Vec<String>,
    },
    /// The kind of a join is another, or rows are over at another time.
    Terms {
        /// In the checkpoint.
        recorded: Vec<String>,
        /// In the query.
        found: Vec<String>,
    },
    /// A column of the state has another type.
    ColumnType {
        /// The column.
        column: String,
        /// Its type in the checkpoint.
        recorded: String,
        /// Its type in the query.
        found: String,
    },
    /// A column of the state is not computed any more.
    ColumnGone {
        /// The column.
        column: String,
    },
    /// The state that is stored does not have a column.
    ColumnNew {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// Some aggregates went, and others came.
    Replaced {
        /// That the checkpoint has, and the query not.
        gone: Vec<String>,
        /// That the query has, and the checkpoint not.
        new: Vec<String>,
    },
    /// The operator has other stores.
    Stores {
        /// In the checkpoint.
        recorded: Vec<String>,
        /// In the query.
        found: Vec<String>,
    },
}

impl fmt::Display for QueryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[String]| items.join(", ");
        match self {
            Self::OperatorGone { found } => write!(
                f,
                "the checkpoint holds its state, and the query now has the operators [{}]; put it back, or use a new checkpoint",
                list(found)
            ),
            Self::OperatorNew { recorded } => write!(
                f,
                "the checkpoint holds the state of [{}] alone, so it would have missed all rows until now; use a new checkpoint",
                list(recorded)
            ),
            Self::Keys { recorded, found } => write!(
                f,
                "the checkpoint was made by the keys [{}], and the query now has [{}]; keep the keys, or use a new checkpoint",
                list(recorded),
                list(found)
            ),
            Self::Terms { recorded, found } => write!(
                f,
                "the checkpoint was made with [{}], and the query now has [{}]; keep them, or use a new checkpoint",
                list(recorded),
                list(found)
            ),
            Self::ColumnType { column, recorded, found } => write!(
                f,
                "the column `{column}` of its state is stored as {recorded}, and the query now computes {found}; cast it to {recorded}, \
                 or use a new checkpoint"
            ),
            Self::ColumnGone { column } => {
                write!(f, "the column `{column}` of its state is no longer computed; put it back, or use a new checkpoint")
            }
            Self::ColumnNew { column, data_type } => write!(
                f,
                "the rows that it has stored do not have the column `{column}` ({data_type}) that the query now needs; leave it out, or use \
                 a new checkpoint"
            ),
            Self::Replaced { gone, new } => write!(
                f,
                "the checkpoint has the aggregates [{}] that the query no longer computes, and the query has [{}] that are not stored; if \
                 they are meant to begin anew, run an epoch without the old ones first, and then add the new ones",
                list(gone),
                list(new)
            ),
            Self::Stores { recorded, found } => write!(
                f,
                "the checkpoint has its parts [{}], and the query now needs [{}]; use a new checkpoint",
                list(recorded),
                list(found)
            ),
        }
    }
}
