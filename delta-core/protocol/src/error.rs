//! What can be wrong with a Delta log, a schema, or a request that does not fit them.

use boathouse_base::{DomainError, ErrorKind};

/// Whether a table was to be read or written when a feature stood in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write to",
        })
    }
}

/// A value of the Delta protocol that cannot be understood, or must not be produced.
///
/// Two more errors stand beside their code because callers match on them:
/// [`SchemaMismatch`](crate::schema::SchemaMismatch) and [`Conflict`](crate::conflict::Conflict).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A line of a commit is not an action.
    #[error("read commit {version} of the log: line {line} is not a Delta action: {source}")]
    CorruptCommit {
        /// The version of the commit.
        version: u64,
        /// The line, from 1.
        line: usize,
        /// What the JSON parser found.
        source: serde_json::Error,
    },
    /// A commit without any line: the file was truncated.
    #[error("read commit {version} of the log: the file holds no action; it was probably truncated by a writer that died")]
    EmptyCommit {
        /// The version of the commit.
        version: u64,
    },
    /// A commit contradicts itself or the state before it.
    #[error("replay commit {version} of the log: a second `{action}` action for {subject}, where the protocol allows one")]
    DuplicateAction {
        /// The version of the commit.
        version: u64,
        /// The action's name in the log.
        action: &'static str,
        /// What it is about: a path, or the table.
        subject: String,
    },
    /// A commit adds a file that is there with another deletion vector.
    #[error(
        "replay commit {version} of the log: it adds {path} a second time; the file is there already with {known}, which no \
         action removes"
    )]
    TwoVectors {
        /// The version of the commit.
        version: u64,
        /// The path.
        path: String,
        /// The deletion vector with which the file is there.
        known: String,
    },
    /// A commit adds and removes the very same logical file: its lines have no order that could decide.
    #[error("replay commit {version} of the log: it adds and removes {path} at once; the protocol allows one of them")]
    AddedAndRemoved {
        /// The version of the commit.
        version: u64,
        /// The file.
        path: String,
    },
    /// Commits were handed to the replay out of order.
    #[error("replay the log: commit {found} follows {previous}, expected {}", .previous + 1)]
    CommitOutOfOrder {
        /// The last version applied.
        previous: u64,
        /// The version that came.
        found: u64,
    },
    /// The log has no `metaData` or `protocol` action.
    #[error("replay the log up to version {version}: there is no `{action}` action, which every table must have")]
    MissingAction {
        /// The version that was wanted.
        version: u64,
        /// The action's name in the log.
        action: &'static str,
    },
    /// An action could not be written as JSON.
    #[error("write a `{action}` action as JSON: {source}")]
    EncodeAction {
        /// The action's name in the log.
        action: &'static str,
        /// What the JSON writer found.
        source: serde_json::Error,
    },
    /// A path in the log is not a percent-encoded UTF-8 string.
    #[error("decode the path `{path}` of a file in the log: it is not percent-encoded UTF-8")]
    InvalidPath {
        /// The path as it stands in the log.
        path: String,
    },
    /// The schema string is not a Delta schema.
    #[error("read the table schema: {source}")]
    CorruptSchema {
        /// What the JSON parser found.
        source: serde_json::Error,
    },
    /// A column has a type that this build cannot handle.
    #[error("column `{column}` has the Delta type `{data_type}`, which is not supported yet")]
    UnsupportedType {
        /// The column, dotted when nested.
        column: String,
        /// The type's name.
        data_type: String,
    },
    /// A column changed its type in a way that this build cannot follow.
    #[error("read the table: it changed the type of column `{column}` from {from} to {to}, which this version cannot follow")]
    UnsupportedTypeChange {
        /// The column, dotted when nested.
        column: String,
        /// The type before.
        from: String,
        /// The type since.
        to: String,
    },
    /// Arrow data has a type that Delta cannot store.
    #[error("column `{column}` has the Arrow type {data_type}, which Delta cannot store; cast it first")]
    UnsupportedArrowType {
        /// The column, dotted when nested.
        column: String,
        /// The Arrow type.
        data_type: arrow_schema::DataType,
    },
    /// Two columns whose names differ in letter case at most.
    #[error("the columns `{first}` and `{second}` have the same name for Delta, which ignores letter case; rename one")]
    DuplicateColumn {
        /// The first of them.
        first: String,
        /// The second.
        second: String,
    },
    /// A column name holds a character that Parquet readers of Delta tables refuse.
    #[error("the column name `{column}` holds {character:?}; the characters ' ,;{{}}()\\n\\t=' need column mapping; rename it")]
    InvalidColumnName {
        /// The column.
        column: String,
        /// The first such character.
        character: char,
    },
    /// A column without a name.
    #[error("a column has an empty name (below `{parent}`)")]
    EmptyColumnName {
        /// The struct that holds it; empty at the top.
        parent: String,
    },
    /// A column that is named somewhere is not in the schema.
    #[error("{purpose}: the table has no column `{column}`; it has {available}")]
    UnknownColumn {
        /// What it was named for.
        purpose: &'static str,
        /// The column.
        column: String,
        /// The columns that there are.
        available: String,
    },
    /// A column cannot be a partition column.
    #[error("partition by column `{column}` of type `{data_type}`: partition columns must have a primitive type")]
    InvalidPartitionColumn {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// All columns would be partition columns.
    #[error("partition by all {columns} columns: a table needs at least one column that is not a partition column")]
    NoDataColumn {
        /// How many columns there are.
        columns: usize,
    },
    /// A partition value does not parse as its type.
    #[error("read the partition value {value:?} of column `{column}`: it is not a {data_type}")]
    InvalidPartitionValue {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
        /// The text in the log.
        value: String,
    },
    /// A value cannot be a partition value of this type.
    #[error("write the value {value} as a partition value of column `{column}`: it is not a {data_type}")]
    UnfitPartitionValue {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
        /// The value.
        value: String,
    },
    /// A table property has a value that it cannot have.
    #[error("table property `{key}` = {value:?}: expected {expected}")]
    InvalidProperty {
        /// The property.
        key: String,
        /// The value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A property asks for what no writer here does.
    #[error("set the table property `{key}` = {value:?}: nothing would come of it here; {instead}")]
    PropertyWithoutEffect {
        /// The property.
        key: String,
        /// The value.
        value: String,
        /// What would help.
        instead: &'static str,
    },
    /// The table needs a feature that this build does not have.
    #[error("{access} the table: it needs the table feature `{feature}`, which this version cannot {}{}", match .access { Access::Read => "read", Access::Write => "write" }, .reason)]
    UnsupportedFeature {
        /// The feature's name in the protocol.
        feature: String,
        /// What was attempted.
        access: Access,
        /// More about it; empty, or starting with a colon.
        reason: String,
    },
    /// The table needs a protocol version above ours.
    #[error(
        "{access} the table: it needs protocol version {required}, this build knows versions up to {known}; a newer release may help"
    )]
    UnsupportedVersion {
        /// What was attempted.
        access: Access,
        /// The version that the table needs.
        required: i32,
        /// The last one that is known.
        known: i32,
    },
    /// The protocol action contradicts itself.
    #[error("the protocol action of the table is inconsistent: {found}")]
    InvalidProtocol {
        /// What was found.
        found: String,
    },
    /// The metadata of a column holds something that the protocol does not know.
    #[error("column `{column}`: its metadata `{key}` is {found}, expected {expected}")]
    InvalidColumnMetadata {
        /// The column.
        column: String,
        /// The key of the metadata.
        key: String,
        /// What was found.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The text of a metadata domain of the protocol cannot be understood.
    #[error("read the metadata domain `{domain}`: found {found:?}, expected {expected}")]
    InvalidDomain {
        /// The domain.
        domain: &'static str,
        /// What was found.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// An identity column has no number left.
    #[error("number the rows of identity column `{column}` in steps of {step}: the next number does not fit into 64 bits")]
    IdentityExhausted {
        /// The column.
        column: String,
        /// Its step.
        step: i64,
    },
    /// A feature of the table and something else in it exclude each other.
    #[error("the table feature `{feature}`, which `{property}` enables, does not go together with {found}")]
    FeatureConflict {
        /// The feature.
        feature: &'static str,
        /// What enables it: a property, or the feature itself.
        property: String,
        /// What it excludes.
        found: String,
    },
    /// Rows of an append-only table were to be removed.
    #[error("remove rows from the table: its property `delta.appendOnly` is true; set it to false first")]
    AppendOnly,
    /// A deletion vector cannot be understood.
    #[error("read the deletion vector {vector}: {problem}")]
    CorruptDeletionVector {
        /// The vector's unique id.
        vector: String,
        /// What is wrong.
        problem: DeletionVectorProblem,
    },
    /// The log misses a commit.
    #[error("load version {wanted}: commit {missing} is missing from the log, though later ones are there")]
    LogGap {
        /// The version that was wanted.
        wanted: u64,
        /// The first version that is missing.
        missing: u64,
    },
    /// The version does not exist yet.
    #[error("load version {wanted}: the newest version is {latest}")]
    VersionNotFound {
        /// The version that was wanted.
        wanted: u64,
        /// The newest there is.
        latest: u64,
    },
    /// The version cannot be rebuilt any more: its commits were cleaned up.
    #[error("load version {wanted}: its log was cleaned up; the oldest version that can still be loaded is {oldest}")]
    VersionCleaned {
        /// The version that was wanted.
        wanted: u64,
        /// The oldest that can be loaded.
        oldest: u64,
    },
    /// There is no commit and no checkpoint at all.
    #[error("load the table: its log holds no commit and no checkpoint")]
    NoLog,
    /// No complete checkpoint and no commit 0 to start from.
    #[error("load version {wanted}: commits before {first} are missing, and no complete checkpoint stands in for them")]
    NoStart {
        /// The version that was wanted.
        wanted: u64,
        /// The first commit that is there.
        first: u64,
    },
    /// `_last_checkpoint` is not what it should be.
    #[error("read `_last_checkpoint`: {source}")]
    CorruptLastCheckpoint {
        /// What the JSON parser found.
        source: serde_json::Error,
    },
    /// `_last_checkpoint` was changed after it was written, or cut off.
    #[error("read `_last_checkpoint`: its checksum is {found}, it says {expected}")]
    LastCheckpointChecksum {
        /// What it says.
        expected: String,
        /// That of its fields.
        found: String,
    },
    /// A version checksum is not what it should be.
    #[error("read the checksum of version {version}: {problem}")]
    CorruptChecksum {
        /// The version.
        version: u64,
        /// What is wrong.
        problem: Box<ChecksumProblem>,
    },
    /// A file needs a count of its rows in the statistics, and has none.
    #[error(
        "commit file `{path}`: its statistics do not say how many rows it has (`numRecords`), which deletion vectors and row ids need; write the file again"
    )]
    NoRowCount {
        /// The file.
        path: String,
    },
    /// A deletion vector does not fit into a file of vectors.
    #[error("write a deletion vector of {bytes} bytes: a file of vectors ends at 2 GB; delete whole files instead")]
    VectorTooLarge {
        /// The bytes of the vector.
        bytes: usize,
    },
    /// The row ids of a table are used up.
    #[error("commit file `{path}`: the row ids of the table do not suffice for its rows")]
    RowIdsExhausted {
        /// The file.
        path: String,
    },
    /// The statistics of a file are not JSON.
    #[error("read the statistics of a file: {source}")]
    CorruptStats {
        /// What the JSON parser found.
        source: serde_json::Error,
    },
}

/// What can be wrong with a deletion vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeletionVectorProblem {
    /// Not Z85 text.
    #[error("its text is not Base85 (Z85)")]
    NotBase85,
    /// Not the bytes that its descriptor speaks of.
    #[error("it has {found} bytes, its descriptor says {expected}")]
    Size {
        /// The descriptor's size.
        expected: usize,
        /// The bytes that are there.
        found: usize,
    },
    /// Too short to be one.
    #[error("it ends after {found} bytes")]
    Truncated {
        /// The bytes that are there.
        found: usize,
    },
    /// Another format.
    #[error("its magic number is {found}, expected 1681511377")]
    Magic {
        /// What stands there.
        found: u32,
    },
    /// The bitmap inside is damaged.
    #[error("its bitmap is damaged: {found}")]
    Bitmap {
        /// What the decoder found.
        found: String,
    },
    /// It does not remove as many rows as it should.
    #[error("it removes {found} rows, its descriptor says {expected}")]
    Cardinality {
        /// The descriptor's number.
        expected: u64,
        /// The rows in the bitmap.
        found: u64,
    },
    /// The checksum is wrong.
    #[error("its checksum is {found:08x}, the file says {expected:08x}")]
    Checksum {
        /// The file's checksum.
        expected: u32,
        /// That of the bytes.
        found: u32,
    },
    /// The file has another format version.
    #[error("its file has format version {found}, expected 1")]
    FileVersion {
        /// What stands there.
        found: u8,
    },
    /// The file name does not hold a UUID.
    #[error("its file name is not a Base85 UUID")]
    NotUuid,
    /// It removes rows that a Parquet file cannot have.
    #[error("it removes row {row}, beyond the largest row number")]
    RowNumber {
        /// The row.
        row: u64,
    },
    /// It removes rows that its data file does not have.
    #[error("it removes rows beyond the {rows} rows of its data file")]
    BeyondFile {
        /// The rows of the file.
        rows: u64,
    },
    /// The bytes were asked from a vector that keeps them elsewhere, or the other way round.
    #[error("it is stored {stored}, not {asked}")]
    Storage {
        /// Where it is.
        stored: &'static str,
        /// Where it was looked for.
        asked: &'static str,
    },
}

/// What can be wrong with a version checksum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChecksumProblem {
    /// Not the JSON that it should be.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A required field is not there. Old writers left some out.
    #[error("it has no `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A table has one of them.
    #[error("`{field}` is {found}, and must be 1")]
    NotOne {
        /// The field.
        field: &'static str,
        /// What stands there.
        found: u64,
    },
    /// The lists of a histogram do not fit each other.
    #[error("the lists of `{field}` do not fit each other")]
    Histogram {
        /// The field.
        field: &'static str,
    },
    /// The number of files and the files disagree.
    #[error("`numFiles` is {expected}, and `allFiles` has {found}")]
    FileCount {
        /// The number.
        expected: u64,
        /// The files that are listed.
        found: u64,
    },
}

impl DomainError for ProtocolError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::CorruptCommit { .. }
            | Self::EmptyCommit { .. }
            | Self::DuplicateAction { .. }
            | Self::AddedAndRemoved { .. }
            | Self::TwoVectors { .. }
            | Self::MissingAction { .. }
            | Self::InvalidPath { .. }
            | Self::CorruptSchema { .. }
            | Self::InvalidPartitionValue { .. }
            | Self::InvalidProtocol { .. }
            | Self::InvalidColumnMetadata { .. }
            | Self::InvalidDomain { .. }
            | Self::CorruptDeletionVector { .. }
            | Self::LogGap { .. }
            | Self::NoStart { .. }
            | Self::CorruptLastCheckpoint { .. }
            | Self::CorruptChecksum { .. }
            | Self::LastCheckpointChecksum { .. }
            | Self::CorruptStats { .. } => ErrorKind::Corrupt,
            Self::UnsupportedType { .. }
            | Self::UnsupportedTypeChange { .. }
            | Self::UnsupportedFeature { .. }
            | Self::PropertyWithoutEffect { .. }
            | Self::UnsupportedVersion { .. } => ErrorKind::Unsupported,
            Self::UnsupportedArrowType { .. }
            | Self::DuplicateColumn { .. }
            | Self::InvalidColumnName { .. }
            | Self::EmptyColumnName { .. }
            | Self::UnknownColumn { .. }
            | Self::InvalidPartitionColumn { .. }
            | Self::NoDataColumn { .. }
            | Self::UnfitPartitionValue { .. }
            | Self::InvalidProperty { .. }
            | Self::NoRowCount { .. }
            | Self::FeatureConflict { .. }
            | Self::AppendOnly => ErrorKind::Invalid,
            Self::RowIdsExhausted { .. } | Self::VectorTooLarge { .. } => ErrorKind::Exhausted,
            Self::VersionNotFound { .. } | Self::VersionCleaned { .. } | Self::NoLog => ErrorKind::NotFound,
            Self::IdentityExhausted { .. } => ErrorKind::Exhausted,
            Self::CommitOutOfOrder { .. } | Self::EncodeAction { .. } => ErrorKind::Internal,
        }
    }
}

/// A result whose error is [`ProtocolError`].
pub type Result<T, E = ProtocolError> = std::result::Result<T, E>;
