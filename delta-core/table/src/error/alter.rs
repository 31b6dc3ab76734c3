//! Changes of a table that are refused.

use boathouse_delta_protocol::schema::ReplaceProblem;

/// Why a table cannot be changed in some way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlterProblem {
    /// Files know columns by the names that users see.
    #[error(
        "column `{column}` cannot be renamed or dropped while files know it by this name; set `delta.columnMapping.mode` = `name` first"
    )]
    NeedsMapping {
        /// The column.
        column: String,
    },
    /// The table is partitioned by the column.
    #[error("column `{column}` is a partition column, which cannot be dropped or get another type")]
    PartitionColumn {
        /// The column.
        column: String,
    },
    /// The table is clustered by the column.
    #[error("column `{column}` is a clustering column, which cannot be dropped")]
    ClusteringColumn {
        /// The column.
        column: String,
    },
    /// Nothing would be left.
    #[error("column `{column}` is the last one of its table or struct, which cannot be dropped")]
    LastColumn {
        /// The column.
        column: String,
    },
    /// The columns that were asked for cannot take the place of those that are there.
    #[error(transparent)]
    Replaces(#[from] ReplaceProblem),
    /// The numbers of an identity column would begin anew.
    #[error(
        "column `{column}` is an identity column, and columns of such a table are not replaced as a whole; add, drop and alter them one by one"
    )]
    ReplacesIdentity {
        /// The column.
        column: String,
    },
    /// There is such a column.
    #[error("there is a column `{column}` already")]
    NameTaken {
        /// The name.
        column: String,
    },
    /// Rows that are there have no value for it.
    #[error("column `{column}` is NOT NULL, and rows that are there have no value for it; make it nullable")]
    RequiredColumn {
        /// The column.
        column: String,
    },
    /// The property does not allow it.
    #[error("the type of column `{column}` can only be changed while `delta.enableTypeWidening` is true; set it first")]
    WideningOff {
        /// The column.
        column: String,
    },
    /// The protocol does not allow it.
    #[error("column `{column}` of type {from} cannot become {to}: the protocol does not count that as wider")]
    NotWider {
        /// The column.
        column: String,
        /// Its type.
        from: String,
        /// The type that was asked for.
        to: String,
    },
    /// Files that are there would not be understood any more.
    #[error("the column mapping mode cannot change from `{from}` to `{to}`: only from `none` to `name`")]
    MappingMode {
        /// The mode.
        from: String,
        /// The mode that was asked for.
        to: String,
    },
    /// Files that are there would have to be written again.
    #[error("`{key}` cannot be set while there are data files that were written without it; create a new table with it")]
    NeedsRewrite {
        /// The property.
        key: String,
    },
    /// Writers keep it, users do not.
    #[error("`{key}` is kept by writers and cannot be set")]
    InternalProperty {
        /// The property.
        key: String,
    },
    /// There is such a constraint.
    #[error("there is a CHECK constraint `{name}` already; drop it first")]
    ConstraintExists {
        /// Its name.
        name: String,
    },
    /// There is no such constraint.
    #[error("there is no CHECK constraint `{name}`")]
    NoConstraint {
        /// Its name.
        name: String,
    },
    /// Writers do not number it.
    #[error("column `{column}` is no identity column, and has no numbers to go on with; look at the columns with DESCRIBE")]
    NotIdentity {
        /// The column.
        column: String,
    },
    /// A rule needs the column as it was.
    #[error("column `{column}` is used by the {subject}, `{expression}`; drop or change that first")]
    UsedByRule {
        /// The column.
        column: String,
        /// The rule.
        subject: String,
        /// Its text.
        expression: String,
    },
    /// There is no such property.
    #[error("there is no property `{key}`; look at what is there with SHOW TBLPROPERTIES")]
    NoProperty {
        /// Its name.
        key: String,
    },
    /// A column was to be put behind one that is not there.
    #[error(
        "column `{column}` cannot stand after `{after}`: beside it are {siblings}; name one of them, without the struct that holds it"
    )]
    NoSibling {
        /// The column.
        column: String,
        /// The one that is missing.
        after: String,
        /// The columns beside it.
        siblings: String,
    },
    /// Rows that are there have no value.
    #[error(
        "column `{column}` cannot be NOT NULL: a row of the file `{path}` has a null in it; update or delete such rows first"
    )]
    HasNulls {
        /// The column.
        column: String,
        /// The data file.
        path: String,
    },
    /// Rows are read as the columns are, and not as they will be.
    #[error(
        "a CHECK constraint, or NOT NULL, is added, or an identity column synced, in one step with changes of columns; add it in a step of its own"
    )]
    ConstraintWithColumns,
    /// Nothing was asked for.
    #[error("no change was asked for")]
    Nothing,
}
