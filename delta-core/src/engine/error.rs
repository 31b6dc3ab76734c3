//! What can go wrong in the engine.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_table::DeltaError;
use boathouse_frames::kind_of;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// A result whose error is [`EngineError`].
pub(crate) type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Why rows could not be deleted, updated or merged, or a query not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The table could not be read, written or committed to.
    #[error(transparent)]
    Table(#[from] DeltaError),
    /// A sink that writes by key is to use a column that the rows do not have.
    #[error("merge an epoch into the table {url}: its rows have no column `{column}`; they have [{available}]")]
    UpsertColumn {
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// Those that there are.
        available: String,
    },
    /// Two rows of an epoch have one key.
    #[error(
        "merge an epoch into the table {url}: it has several rows with {key}{}, and one of them has to count; \
         name a column that says which is the newest (`sequence_by`), or leave one in the query",
        sequence.as_ref().map(|column| format!(" and the same `{column}`")).unwrap_or_default()
    )]
    KeyTwice {
        /// The table.
        url: String,
        /// The key.
        key: String,
        /// The column that was to decide.
        sequence: Option<String>,
    },
    /// An expression cannot be understood.
    #[error("{attempted} the table {url}: `{expression}`: {source}")]
    Expression {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The expression.
        expression: String,
        /// What the engine said.
        source: Box<DataFusionError>,
    },
    /// A condition that is neither true nor false.
    #[error("{attempted} the table {url}: the condition `{expression}` is of type {found}; it must be a boolean")]
    NotBoolean {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The condition.
        expression: String,
        /// Its type.
        found: Box<DataType>,
    },
    /// A condition that gives another answer each time.
    #[error(
        "{attempted} the table {url}: the condition `{expression}` gives another answer each time it is asked; write its value into the source or the condition"
    )]
    Volatile {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The condition.
        expression: String,
    },
    /// A column that the table does not have is assigned to.
    #[error("{attempted} the table {url}: it has no column `{column}`; it has {available}")]
    UnknownColumn {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The columns that there are.
        available: String,
    },
    /// A column is assigned to twice.
    #[error("{attempted} the table {url}: column `{column}` is set twice; set it once")]
    SetTwice {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
    },
    /// DEFAULT for a column that has none, and cannot have one.
    #[error("{attempted} the table {url}: the table fills in column `{column}` itself, so it has no DEFAULT; leave it out")]
    NoDefault {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
    },
    /// Nothing would be changed.
    #[error("{attempted} the table {url}: no column is set; name at least one")]
    NothingSet {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
    },
    /// A merge without any clause.
    #[error("merge into the table {url}: there is no WHEN clause; say what happens to the rows")]
    NoClause {
        /// The table.
        url: String,
    },
    /// A clause of a merge that no row reaches.
    #[error(
        "merge into the table {url}: the {nth}. WHEN {kind} clause has no condition, so no row reaches the ones behind it; give it one, or put it last"
    )]
    Unreached {
        /// The table.
        url: String,
        /// Which rows it is for: `MATCHED`, `NOT MATCHED` or `NOT MATCHED BY SOURCE`.
        kind: &'static str,
        /// Which of these clauses it is, from 1.
        nth: usize,
    },
    /// A column of the table has no namesake in the source.
    #[error(
        "merge into the table {url}: `update_all` and `insert_all` need every column of the table in the source, and `{column}` is not there; it has {available}"
    )]
    MissingInSource {
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The columns of the source.
        available: String,
    },
    /// Two source rows want to change the same row.
    #[error(
        "merge into the table {url}: {rows} rows of the table are matched by several source rows that would change them, one of these rows by {key}; make the source unique by the columns of `{on}`"
    )]
    AmbiguousMatch {
        /// The table.
        url: String,
        /// The condition.
        on: String,
        /// How many rows of the table.
        rows: u64,
        /// The values of the source that `on` reads, of one such source row.
        key: String,
    },
    /// A value has a type that cannot become the column's.
    #[error("{attempted} the table {url}: column `{column}` is of type {to}, and {from} cannot become that; cast the value")]
    NoCast {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The type of the value.
        from: Box<DataType>,
        /// The type of the column.
        to: Box<DataType>,
    },
    /// A value cannot be read as the column's type.
    #[error("{attempted} the table {url}: column `{column}`: cast {from} to {to}: {source}")]
    Cast {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The type of the value.
        from: Box<DataType>,
        /// The type of the column.
        to: Box<DataType>,
        /// What did not fit.
        source: ArrowError,
    },
    /// A value would be another one after the cast.
    #[error(
        "{attempted} the table {url}: column `{column}`: {value} of type {from} is another value as {to}; round or cast it in the expression"
    )]
    Lossy {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The first such value.
        value: String,
        /// The type of the value.
        from: Box<DataType>,
        /// The type of the column.
        to: Box<DataType>,
    },
    /// An expression failed on some row.
    #[error("{attempted} the table {url}: evaluate `{expression}`: {source}")]
    Evaluate {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The expression.
        expression: String,
        /// What the engine said.
        source: Box<DataFusionError>,
    },
    /// Rows of the table or of the source could not be read.
    #[error("{attempted} the table {url}: {source}")]
    Rows {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// What came out of the stream.
        source: boathouse_base::Error,
    },
    /// A computation on rows failed.
    #[error("{attempted} the table {url}: {source}")]
    Compute {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// What Arrow said.
        source: ArrowError,
    },
    /// A statement cannot be planned, or run.
    #[error("run `{statement}`: {source}")]
    Plan {
        /// The statement.
        statement: String,
        /// What the engine said.
        source: boathouse_base::Error,
    },
    /// An expression of a table that has no counterpart here.
    #[error("understand the expression `{expression}`: {what} cannot be translated; state it in another way")]
    ForeignExpression {
        /// The expression.
        expression: String,
        /// What has no counterpart.
        what: &'static str,
    },
    /// A column is set that the table numbers itself.
    #[error("{attempted} the table {url}: the table numbers column `{column}` itself; leave it as it is")]
    SetsIdentity {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
    },
    /// Rows are to be ordered by a column of which each file holds one value.
    #[error("{attempted} the table {url}: `{column}` is a partition column, and files hold one value of it; order by others")]
    OrderByPartition {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
    },
    /// Rows are to be ordered by a column whose values have no order.
    #[error(
        "{attempted} the table {url}: column `{column}` is of type {found}, whose values have no order; name another, or a part of it"
    )]
    NotOrderable {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// Its type.
        found: Box<DataType>,
    },
    /// Rows are to be ordered by a column by which no file could be skipped.
    #[error(
        "{attempted} the table {url}: files have no statistics of column `{column}`, so nothing could be skipped by it; name it in `delta.dataSkippingStatsColumns` first"
    )]
    NoStatistics {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
    },
    /// A condition that must choose whole partitions speaks of another column.
    #[error(
        "{attempted} the table {url}: the condition reads column `{column}`; only partition columns may choose what is tidied: {available}"
    )]
    NotPartition {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The partition columns.
        available: String,
    },
    /// What is asked for does not go together with clustering.
    #[error("{attempted} the table {url}: it is a clustered table (columns: {columns}), where {what} has no place; leave it out")]
    Clustered {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The clustering columns.
        columns: String,
        /// What was asked for.
        what: &'static str,
    },
    /// All of a table is to be clustered, and it has no clustering columns.
    #[error("{attempted} the table {url}: FULL is for clustered tables, and this one has no clustering columns; leave it out")]
    NotClustered {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
    },
    /// A pattern of paths that cannot be understood.
    #[error("copy into the table {url}: {source}")]
    Glob {
        /// The table.
        url: String,
        /// What is wrong with it.
        source: Box<boathouse_storage::GlobError>,
    },
    /// Files that are to be loaded cannot be found.
    #[error("copy into the table {url}: {source}")]
    Source {
        /// The table.
        url: String,
        /// What the store said.
        source: Box<boathouse_storage::StorageError>,
    },
    /// There is nothing to load from.
    #[error("copy into the table {url}: there is no file and no folder {path}; check the path")]
    NoSource {
        /// The table.
        url: String,
        /// The file or folder.
        path: String,
    },
    /// A file that is to be loaded cannot be read, or a value of it does not fit.
    #[error("copy into the table {url}: load {file}: {source}")]
    CopyFile {
        /// The table.
        url: String,
        /// The file.
        file: String,
        /// What is wrong with it.
        source: boathouse_base::Error,
    },
    /// A file has a column that the table does not have.
    #[error(
        "copy into the table {url}: {file} has a column `{column}`, and the table has none of that name; {nearest}. COPY_OPTIONS ('mergeSchema' = 'true') adds it"
    )]
    CopyColumn {
        /// The table.
        url: String,
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What may have been meant.
        nearest: String,
    },
    /// A file has a column twice.
    #[error("copy into the table {url}: {file} has two columns `{column}`; go by their place, with BY POSITION")]
    CopyTwice {
        /// The table.
        url: String,
        /// The file.
        file: String,
        /// The column.
        column: String,
    },
    /// A file has another number of columns than there are places for.
    #[error(
        "copy into the table {url}: {file} has {found} columns, and by their place {wanted} are filled; name the columns to fill"
    )]
    CopyWidth {
        /// The table.
        url: String,
        /// The file.
        file: String,
        /// How many columns the file has.
        found: usize,
        /// How many are filled.
        wanted: usize,
    },
    /// Two files have columns of one name whose types have nothing in common.
    #[error(
        "copy into the table {url}: column `{column}` is of type {} in {} and of type {} in {}; load them one by one, or cast it in a SELECT", .types.0, .files.0, .types.1, .files.1
    )]
    CopyTypes {
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The types.
        types: Box<(DataType, DataType)>,
        /// A file with each of them.
        files: Box<(String, String)>,
    },
    /// A statement that cannot be read.
    #[error("line {line}, column {column} of `{statement}`: {problem}")]
    Syntax {
        /// The statement.
        statement: String,
        /// The line, from 1.
        line: u64,
        /// The character of the line, from 1.
        column: u64,
        /// What is wrong there.
        problem: String,
    },
    /// A statement names a column that is not there.
    #[error("line {line}, column {place} of `{statement}`: there is no column `{column}`; {nearest}")]
    NoSuchColumn {
        /// The statement.
        statement: String,
        /// The line, from 1.
        line: u64,
        /// The character of the line, from 1.
        place: u64,
        /// The column, as it was understood.
        column: String,
        /// What may have been meant.
        nearest: String,
    },
    /// A statement names a path that is none.
    #[error("open {path}: {source}")]
    Location {
        /// The path or URL.
        path: String,
        /// What is wrong with it.
        source: Box<boathouse_storage::StorageError>,
    },
    /// A statement names a table that is not there.
    #[error("run `{statement}`: there is no table `{table}`; {nearest}")]
    NoSuchTable {
        /// The statement.
        statement: String,
        /// The table.
        table: String,
        /// What may have been meant.
        nearest: String,
    },
    /// A table is to stand in a schema, or a catalog, that is not there.
    #[error(
        "run `{statement}`: `{table}` names a schema or a catalog that is not there; there are: {known}; CREATE SCHEMA makes one"
    )]
    NoSuchSchema {
        /// What was to be run.
        statement: String,
        /// The table, as it was written.
        table: String,
        /// The schemas, or catalogs, that there are.
        known: String,
    },
    /// A schema that is to be made is there.
    #[error("run `{statement}`: there is a schema `{schema}`; write IF NOT EXISTS, or choose another name")]
    SchemaExists {
        /// The statement.
        statement: String,
        /// The schema.
        schema: String,
    },
    /// A schema that is to go has tables.
    #[error("run `{statement}`: the schema `{schema}` has tables: {tables}; drop them, or write CASCADE")]
    SchemaNotEmpty {
        /// The statement.
        statement: String,
        /// The schema.
        schema: String,
        /// Its tables.
        tables: String,
    },
    /// A new table without columns.
    #[error("run `{statement}`: a new table needs columns; name them, or write AS SELECT …")]
    NoColumns {
        /// The statement.
        statement: String,
    },
    /// A statement asks for something that is not there yet.
    #[error("run `{statement}`: {what} is not supported; {instead}")]
    Unsupported {
        /// The statement.
        statement: String,
        /// What is not supported.
        what: &'static str,
        /// What would help.
        instead: &'static str,
    },
    /// A statement changes a table that is no Delta table.
    #[error("run `{statement}`: `{table}` is not a Delta table of this session; register it with `register_delta`")]
    NotDelta {
        /// The statement.
        statement: String,
        /// The table.
        table: String,
    },
    /// A statement changes a table that is registered at one version.
    #[error("run `{statement}`: `{table}` is registered at version {version}, which cannot change; register the table itself")]
    Pinned {
        /// The statement.
        statement: String,
        /// The table.
        table: String,
        /// The version.
        version: u64,
    },
}

impl EngineError {
    /// The text of the statement, where it is one that failed.
    pub(crate) fn statement_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Plan { statement, .. }
            | Self::NoSuchColumn { statement, .. }
            | Self::NoSuchTable { statement, .. }
            | Self::NoSuchSchema { statement, .. }
            | Self::NoColumns { statement }
            | Self::SchemaExists { statement, .. }
            | Self::SchemaNotEmpty { statement, .. }
            | Self::Unsupported { statement, .. }
            | Self::NotDelta { statement, .. }
            | Self::Pinned { statement, .. } => Some(statement),
            _ => None,
        }
    }
}

impl DomainError for EngineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Table(source) => source.kind(),
            Self::Expression { source, .. } | Self::Evaluate { source, .. } => kind_of(source),
            Self::Rows { source, .. } | Self::Plan { source, .. } => source.kind(),
            Self::CopyFile { source, .. } => source.kind(),
            Self::Location { source, .. } | Self::Source { source, .. } => source.kind(),
            Self::NoSuchTable { .. } | Self::NoSuchSchema { .. } | Self::NoSource { .. } => ErrorKind::NotFound,
            Self::SchemaExists { .. } => ErrorKind::AlreadyExists,
            Self::Syntax { .. } | Self::NoColumns { .. } | Self::NoSuchColumn { .. } | Self::SchemaNotEmpty { .. } => {
                ErrorKind::Invalid
            }
            Self::NotBoolean { .. }
            | Self::Volatile { .. }
            | Self::UnknownColumn { .. }
            | Self::SetTwice { .. }
            | Self::SetsIdentity { .. }
            | Self::NothingSet { .. }
            | Self::NoDefault { .. }
            | Self::Unreached { .. }
            | Self::NoClause { .. }
            | Self::UpsertColumn { .. }
            | Self::KeyTwice { .. }
            | Self::MissingInSource { .. }
            | Self::AmbiguousMatch { .. }
            | Self::NoCast { .. }
            | Self::Cast { .. }
            | Self::Lossy { .. }
            | Self::OrderByPartition { .. }
            | Self::NotOrderable { .. }
            | Self::NoStatistics { .. }
            | Self::NotPartition { .. }
            | Self::Clustered { .. }
            | Self::NotClustered { .. }
            | Self::Glob { .. }
            | Self::CopyColumn { .. }
            | Self::CopyTwice { .. }
            | Self::CopyWidth { .. }
            | Self::CopyTypes { .. }
            | Self::NotDelta { .. }
            | Self::Pinned { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } | Self::ForeignExpression { .. } => ErrorKind::Unsupported,
            Self::Compute { .. } => ErrorKind::Internal,
        }
    }
}

/// What is being done to which table: the beginning of every message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) attempted: &'static str,
    pub(crate) url: String,
}

impl Attempt {
    pub(crate) fn new(attempted: &'static str, url: &str) -> Self {
        Self { attempted, url: url.to_owned() }
    }

    pub(crate) fn expression(&self, expression: &str, source: DataFusionError) -> EngineError {
        let (attempted, url) = (self.attempted, self.url.clone());
        EngineError::Expression { attempted, url, expression: expression.to_owned(), source: Box::new(source) }
    }

    pub(crate) fn evaluate(&self, expression: &str, source: DataFusionError) -> EngineError {
        let (attempted, url) = (self.attempted, self.url.clone());
        EngineError::Evaluate { attempted, url, expression: expression.to_owned(), source: Box::new(source) }
    }

    pub(crate) fn rows(&self, source: boathouse_base::Error) -> EngineError {
        EngineError::Rows { attempted: self.attempted, url: self.url.clone(), source }
    }

    pub(crate) fn frame(&self, source: DataFusionError) -> EngineError {
        self.rows(boathouse_frames::from_datafusion("join the rows", source))
    }

    pub(crate) fn compute(&self, source: ArrowError) -> EngineError {
        EngineError::Compute { attempted: self.attempted, url: self.url.clone(), source }
    }
}
