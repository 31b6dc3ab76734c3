//! Everything that can go wrong while a model is trained, loaded, asked or served.

use arrow_schema::{ArrowError, DataType};
use boathouse_base::{DomainError, ErrorKind};

/// The error of this crate. What a caller can do about it says [`DomainError::kind`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServingError {
    /// A required input column is not there.
    #[error("score rows: the required column `{column}` is missing (found {found:?}); add it to the request")]
    MissingColumn {
        /// The column that is missing.
        column: String,
        /// The columns that were found.
        found: Vec<String>,
    },
    /// An input column has a type that cannot be widened to the model's.
    #[error("score rows: column `{column}` must be {expected}, found {found}; only casts that keep every value are made")]
    ColumnType {
        /// The column.
        column: String,
        /// The type that the signature asks for.
        expected: DataType,
        /// The type that was found.
        found: DataType,
    },
    /// One value of a request has the wrong type, or cannot be held by the column's type.
    #[error("score rows: column `{column}`, row {row}: expected {expected}, found {found}")]
    CellType {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
        /// The type that the signature asks for.
        expected: DataType,
        /// What was found, in words.
        found: String,
    },
    /// A required column holds a null.
    #[error("score rows: column `{column}`, row {row}: the value is null, but the model requires one")]
    NullValue {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
    },
    /// A row of a request has more or fewer values than there are columns.
    #[error("read the request: row {row} has {found} values, expected {expected} (columns {columns:?})")]
    RowWidth {
        /// The row, from 0.
        row: usize,
        /// Values wanted.
        expected: usize,
        /// Values found.
        found: usize,
        /// The columns, in the order expected.
        columns: Vec<String>,
    },
    /// The columns of a request have different lengths.
    #[error("read the request: column `{column}` has {found} values, column `{first}` has {expected}")]
    ColumnLength {
        /// The column that differs.
        column: String,
        /// Its length.
        found: usize,
        /// The column that was read first.
        first: String,
        /// The length of that one.
        expected: usize,
    },
    /// A column stands twice in a request.
    #[error("read the request: column `{column}` stands twice")]
    DuplicateColumn {
        /// The column.
        column: String,
    },
    /// The request does not name exactly one way of giving rows.
    #[error(
        "read the request: expected exactly one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, found {found:?}"
    )]
    RequestForm {
        /// The ones that were found.
        found: Vec<&'static str>,
    },
    /// A part of the request is not shaped as its name says.
    #[error("read `{part}` of the request: expected {expected}, found {found}")]
    RequestShape {
        /// The part of the request.
        part: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The request is not JSON.
    #[error("read the request as JSON: {source}")]
    RequestJson {
        /// Where the text breaks.
        source: serde_json::Error,
    },
    /// The request is not CSV.
    #[error("read the request as CSV: line {line}: {problem}")]
    RequestCsv {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The request is in a format that is not served.
    #[error("read the request: content type `{found}` is not supported; send `application/json` or `text/csv`")]
    ContentType {
        /// The content type of the request.
        found: String,
    },
    /// The request is larger than allowed.
    #[error("read the request: the body is larger than {limit_bytes} bytes; send fewer rows at once")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The connection broke while the request was read.
    #[error("read the request: the body ended early: {message}")]
    BodyBroken {
        /// What the connection said.
        message: String,
    },
    /// No endpoint has this name.
    #[error("find the endpoint `{name}`: there is none; known are {known:?}")]
    NoEndpoint {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The endpoint has not loaded a model yet.
    #[error("score rows at endpoint `{endpoint}`: no model is loaded yet{}", last_error.as_ref().map(|e| format!("; the last attempt failed: {e}")).unwrap_or_default())]
    NotReady {
        /// The endpoint.
        endpoint: String,
        /// Why the last attempt to load one failed.
        last_error: Option<String>,
    },
    /// An endpoint was built without something that it needs.
    #[error("open endpoint `{endpoint}`: {missing} is not set")]
    EndpointSetting {
        /// The endpoint.
        endpoint: String,
        /// What is missing, with the call that sets it.
        missing: &'static str,
    },
    /// The version that the catalog names could not be taken into service.
    #[error("load {reference} for endpoint `{endpoint}`: {source}")]
    Follow {
        /// The endpoint.
        endpoint: String,
        /// The reference that it follows.
        reference: String,
        /// Why not.
        source: boathouse_base::Error,
    },
    /// The features of a request could not be looked up.
    #[error("look up features in `{table}`: {source}")]
    FeatureLookup {
        /// The feature table.
        table: String,
        /// Why not.
        source: boathouse_base::Error,
    },
    /// A lookup was declared with another number of keys than its table has.
    #[error("look up features in `{table}`: its keys are {keys:?}, but the endpoint gives {given:?}")]
    LookupKeys {
        /// The feature table.
        table: String,
        /// The keys of the table.
        keys: Vec<String>,
        /// The request columns that should feed them.
        given: Vec<String>,
    },
    /// Two lookups give the same column.
    #[error("look up features: both `{first}` and `{second}` give column `{column}`, which the model takes")]
    AmbiguousFeature {
        /// The column.
        column: String,
        /// One table.
        first: String,
        /// The other table.
        second: String,
    },
    /// A lookup or a model gave another number of rows than it was asked for.
    #[error("score rows: {what} gave {found} rows for {expected}")]
    RowCount {
        /// Who gave them.
        what: String,
        /// Rows asked for.
        expected: usize,
        /// Rows given.
        found: usize,
    },
    /// A file of a model folder could not be read or written.
    #[error("{action} the model file {url}: {source}")]
    ModelFile {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        url: String,
        /// Why not.
        source: boathouse_base::Error,
    },
    /// The folder has no file that its MLmodel names.
    #[error("load a model: the folder has no file `{file}` (it has {found:?})")]
    ModelFileMissing {
        /// The file.
        file: String,
        /// The files that there are.
        found: Vec<String>,
    },
    /// `MLmodel` is not in the part of YAML that MLflow writes.
    #[error("read MLmodel: line {line}: {problem}")]
    MlmodelSyntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `MLmodel` lacks a key, or it holds something else.
    #[error("read MLmodel: key `{key}`: expected {expected}")]
    MlmodelKey {
        /// The key, with dots.
        key: String,
        /// What should be there.
        expected: &'static str,
    },
    /// None of the flavors of a model can be loaded.
    #[error("load a model: its flavors are {found:?}; this build loads {known:?}{hint}")]
    Flavor {
        /// The flavors of the model.
        found: Vec<String>,
        /// The flavors that this build loads.
        known: Vec<&'static str>,
        /// What would help.
        hint: &'static str,
    },
    /// A column type that MLflow signatures cannot say.
    #[error("write the signature: column `{column}` is {found}, for which MLflow signatures have no word")]
    SignatureType {
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
    },
    /// A signature of a kind that is not served.
    #[error("read the signature: `{column}` has type {found}, which this build does not serve")]
    SignatureSpec {
        /// The column or tensor.
        column: String,
        /// The type as it is written there.
        found: String,
    },
    /// The stored model is not what this build writes.
    #[error("read the model `{file}`: {source}")]
    ModelPayload {
        /// The file.
        file: String,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// The stored model contradicts itself.
    #[error("read the model: {problem}")]
    ModelContradiction {
        /// What does not fit.
        problem: String,
    },
    /// A column cannot be encoded as numbers.
    #[error("encode column `{column}`: {found} is neither a number, a boolean nor text; convert or leave it out")]
    Encode {
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
    },
    /// A label is not a yes or no.
    #[error("train on label `{column}`, row {row}: expected true, false, 0 or 1, found {found}")]
    Label {
        /// The label column.
        column: String,
        /// The row over all batches, from 0.
        row: usize,
        /// What was found.
        found: String,
    },
    /// There is nothing to learn.
    #[error("train a {kind}: {positives} of {rows} rows are positive; both classes are needed")]
    OneClass {
        /// The kind of model.
        kind: &'static str,
        /// Rows.
        rows: usize,
        /// Rows with a true label.
        positives: usize,
    },
    /// A training setting is out of its range.
    #[error("train a {kind}: setting `{setting}` must be {expected}, found {found}")]
    TrainSetting {
        /// The kind of model.
        kind: &'static str,
        /// The setting.
        setting: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: String,
    },
    /// The algorithm gave up.
    #[error("train a {kind} on {rows} rows and {features} features: {source}")]
    Train {
        /// The kind of model.
        kind: &'static str,
        /// Rows.
        rows: usize,
        /// Encoded features.
        features: usize,
        /// What the algorithm said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An ONNX graph could not be read or run.
    #[error("{action} the ONNX graph: {message}")]
    Onnx {
        /// What was attempted.
        action: &'static str,
        /// What the engine said.
        message: String,
    },
    /// The port is taken, or the address cannot be listened on.
    #[error("listen on {address}: {source}; choose another port, or port 0 for any free one")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The HTTP server broke.
    #[error("serve HTTP on {address}: {source}")]
    Serve {
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A kept column has the name of another output column.
    #[error("score to a table: column `{column}` stands twice in the result; rename it in the input, or do not keep it")]
    OutputName {
        /// The column.
        column: String,
    },
    /// A table could not be read or written while its rows were scored.
    #[error("{action} the table while scoring: {source}")]
    ScoreTable {
        /// `read` or `write`.
        action: &'static str,
        /// Why not.
        source: boathouse_base::Error,
    },
    /// The work was stopped before it ended, because the runtime shuts down or the model panicked.
    #[error("score rows: the work ended early: {message}")]
    Stopped {
        /// What the runtime said.
        message: String,
        /// Whether the model panicked.
        panicked: bool,
    },
    /// Arrow refused what should always fit.
    #[error("{action}: {source}")]
    Arrow {
        /// What was attempted.
        action: &'static str,
        /// What Arrow said.
        source: ArrowError,
    },
    /// A model failed.
    #[error("score rows with `{model}`: {source}")]
    Predict {
        /// The model.
        model: String,
        /// Why.
        source: boathouse_base::Error,
    },
}

impl DomainError for ServingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingColumn { .. }
            | Self::ColumnType { .. }
            | Self::CellType { .. }
            | Self::NullValue { .. }
            | Self::RowWidth { .. }
            | Self::ColumnLength { .. }
            | Self::DuplicateColumn { .. }
            | Self::RequestForm { .. }
            | Self::RequestShape { .. }
            | Self::RequestJson { .. }
            | Self::RequestCsv { .. }
            | Self::BodyBroken { .. }
            | Self::EndpointSetting { .. }
            | Self::LookupKeys { .. }
            | Self::AmbiguousFeature { .. }
            | Self::SignatureType { .. }
            | Self::Encode { .. }
            | Self::Label { .. }
            | Self::OneClass { .. }
            | Self::TrainSetting { .. }
            | Self::Train { .. }
            | Self::OutputName { .. } => ErrorKind::Invalid,
            Self::ContentType { .. } | Self::Flavor { .. } | Self::SignatureSpec { .. } => ErrorKind::Unsupported,
            Self::BodyTooLarge { .. } => ErrorKind::Exhausted,
            Self::NoEndpoint { .. } | Self::ModelFileMissing { .. } => ErrorKind::NotFound,
            Self::NotReady { .. } | Self::Serve { .. } => ErrorKind::Unavailable,
            Self::Follow { source, .. }
            | Self::FeatureLookup { source, .. }
            | Self::ModelFile { source, .. }
            | Self::ScoreTable { source, .. }
            | Self::Predict { source, .. } => source.kind(),
            Self::MlmodelSyntax { .. }
            | Self::MlmodelKey { .. }
            | Self::ModelPayload { .. }
            | Self::ModelContradiction { .. } => ErrorKind::Corrupt,
            Self::Onnx { action, .. } => match *action {
                "read" => ErrorKind::Corrupt,
                _ => ErrorKind::Internal,
            },
            Self::Listen { source, .. } => match source.kind() {
                std::io::ErrorKind::AddrInUse => ErrorKind::AlreadyExists,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Invalid,
            },
            Self::Stopped { panicked, .. } => {
                if *panicked {
                    ErrorKind::Internal
                } else {
                    ErrorKind::Cancelled
                }
            }
            Self::RowCount { .. } | Self::Arrow { .. } => ErrorKind::Internal,
        }
    }
}

/// A result whose error is [`ServingError`].
pub(crate) type Result<T, E = ServingError> = std::result::Result<T, E>;
