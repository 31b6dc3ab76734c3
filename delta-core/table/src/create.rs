//! Creating a table.

use std::collections::BTreeMap;

use arrow_schema::Schema;
use boathouse_base::BatchStream;
use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::features::{self, FEATURE_PREFIX};
use boathouse_delta_protocol::properties::{TableProperties, check_effect};
use boathouse_delta_protocol::rules::Rules;
use boathouse_delta_protocol::schema::StructType;

use crate::cluster;
use crate::enforce::Enforcer;
use crate::error::{DeltaError, OnTable, Result};
use crate::layout::Layout;
use crate::mapping::{self, PhysicalNames};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;
use crate::write::{DataWriterSettings, Definition, WriteBuilder};

/// Creates a table, empty or with rows, or makes one anew. Made by [`DeltaTable::create`].
///
/// Metadata of the Arrow fields becomes that of the columns, and so do its keys of the protocol: `CURRENT_DEFAULT`,
/// `delta.generationExpression`, `delta.identity.start`, `delta.identity.step`, `delta.identity.allowExplicitInsert`.
/// Properties such as `delta.constraints.NAME`, `delta.columnMapping.mode` or `delta.enableDeletionVectors` enable
/// features, and the table demands of its clients what these need.
///
/// # Example
/// ```
/// # use arrow_schema::{DataType, Field, Schema};
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// let schema = Schema::new(vec![
///     Field::new("day", DataType::Date32, true),
///     Field::new("fare", DataType::Decimal128(10, 2), false),
/// ]);
/// let report = table
///     .create(schema.clone())
///     .partition_by(["day"])
///     .property("delta.checkpointInterval", "100")
///     .description("what was paid")
///     .run()
///     .await?;
/// assert!(report.created);
/// assert!(!table.create(schema).if_not_exists().run().await?.created);
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is created before `run`"]
pub struct CreateBuilder {
    table: DeltaTable,
    schema: Schema,
    partition_columns: Vec<String>,
    clustering: Vec<String>,
    properties: BTreeMap<String, String>,
    name: Option<String>,
    description: Option<String>,
    if_exists: IfExists,
    rows: Option<(BatchStream, DataWriterSettings)>,
}

/// What happens when there is a table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfExists {
    Fail,
    Leave,
    Replace,
}

/// What creating a table did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateReport {
    /// The version of the table: 0 for a new one.
    pub version: u64,
    /// False when the table was there before.
    pub created: bool,
    /// Rows that it came with.
    pub rows: u64,
}

impl CreateBuilder {
    pub(crate) fn new(table: DeltaTable, schema: Schema) -> Self {
        Self {
            table,
            schema,
            partition_columns: Vec::new(),
            clustering: Vec::new(),
            properties: BTreeMap::new(),
            name: None,
            description: None,
            if_exists: IfExists::Fail,
            rows: None,
        }
    }

    /// Partitions the table by these columns, whatever letter case they are named in.
    pub fn partition_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.partition_columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Clusters the table by these columns, with dots before parts of structs: OPTIMIZE then keeps similar values of them together. A
    /// clustered table has no partitions.
    pub fn cluster_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.clustering = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a property, such as `delta.appendOnly`.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Names the table.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Describes the table.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Leaves a table that exists as it is, whatever its schema.
    pub fn if_not_exists(mut self) -> Self {
        self.if_exists = IfExists::Leave;
        self
    }

    /// Makes a table that exists anew, in one commit: its rows leave, and its columns, partitions, clustering, properties and rules become
    /// those given here. Its history goes on, and so do its id, its way of mapping columns, and whether commits hold their time.
    pub fn or_replace(mut self) -> Self {
        self.if_exists = IfExists::Replace;
        self
    }

    /// Brings rows along, in the same commit. They obey the rules of the table, which fills in what they lack.
    pub fn with_rows(mut self, rows: BatchStream, settings: DataWriterSettings) -> Self {
        self.rows = Some((rows, settings));
        self
    }

    /// Creates the table.
    ///
    /// **Errors**: `AlreadyExists`; `Conflict` when a table is replaced that another writer changes meanwhile; what a
    /// [write](crate::WriteBuilder::run) says of rows; `Invalid` names the column or property that cannot be; `Unsupported` names a
    /// feature that a property asks for.
    pub async fn run(self) -> Result<CreateReport> {
        let Self { table, schema, partition_columns, clustering, properties, name, description, if_exists, rows } = self;
        let url = table.url().to_owned();
        properties.iter().try_for_each(|(key, value)| check_effect(key, value)).on(&url)?;
        let present = table.try_snapshot().await?;
        if let Some(found) = present.as_ref().filter(|_| if_exists != IfExists::Replace) {
            return exists(if_exists, url, found.version());
        }
        let schema = StructType::from_arrow(&schema).on(&url)?;
        let partition_columns = spelled(&schema, &partition_columns);
        if present.is_some() || rows.is_some() {
            let definition = Definition { schema, partition_columns, clustering, properties, name, description };
            return define(table, definition, present, if_exists, rows).await;
        }
        let (mut protocol, metadata) = new_table(&table, schema, &partition_columns, &properties, name, description.clone())?;
        let (clustering, domain) = cluster::of_new_table(&url, &mut protocol, &metadata, &clustering)?;
        let clustering: Vec<String> = clustering.iter().map(ToString::to_string).collect();
        let parameters = [
            ("isManaged", "false".to_owned()),
            ("description", description.unwrap_or_default()),
            ("partitionBy", serde_json::Value::from(partition_columns).to_string()),
            ("clusterBy", serde_json::Value::from(clustering).to_string()),
            ("properties", serde_json::json!(properties).to_string()),
        ];
        let mut transaction = Transaction::create(table.clone(), protocol, metadata).operation("CREATE TABLE", parameters);
        if let Some(domain) = domain {
            transaction = transaction.domain_metadata(domain);
        }
        let committed = transaction.commit().await;
        match committed {
            Ok(report) => Ok(CreateReport { version: report.version, created: true, rows: 0 }),
            Err(DeltaError::CreatedMeanwhile { .. }) => {
                let found = table.snapshot().await?;
                exists(if_exists, url, found.version())
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes a table with rows, or one over another, in one commit.
async fn define(
    table: DeltaTable,
    definition: Definition,
    present: Option<Snapshot>,
    if_exists: IfExists,
    rows: Option<(BatchStream, DataWriterSettings)>,
) -> Result<CreateReport> {
    let operation = match (if_exists, &rows) {
        (IfExists::Replace, Some(_)) => "CREATE OR REPLACE TABLE AS SELECT",
        (IfExists::Replace, None) => "CREATE OR REPLACE TABLE",
        (_, Some(_)) => "CREATE TABLE AS SELECT",
        (_, None) => "CREATE TABLE",
    };
    let parameters = [
        ("isManaged", "false".to_owned()),
        ("description", definition.description.clone().unwrap_or_default()),
        ("partitionBy", serde_json::Value::from(definition.partition_columns.clone()).to_string()),
        ("clusterBy", serde_json::Value::from(definition.clustering.clone()).to_string()),
        ("properties", serde_json::json!(definition.properties).to_string()),
    ];
    let created = present.is_none();
    let columns = std::sync::Arc::new(definition.schema.to_arrow());
    let none = || (BatchStream::empty(columns), DataWriterSettings::default());
    let (rows, settings) = rows.unwrap_or_else(none);
    let write = WriteBuilder::defining(table.clone(), definition, rows, present);
    match write.with_writer_settings(settings).operation(operation, parameters).run().await {
        Ok(report) => Ok(CreateReport { version: report.version, created, rows: report.rows }),
        Err(DeltaError::CreatedMeanwhile { .. }) => exists(if_exists, table.url().to_owned(), table.snapshot().await?.version()),
        Err(error) => Err(error),
    }
}

fn exists(if_exists: IfExists, url: String, version: u64) -> Result<CreateReport> {
    match if_exists {
        IfExists::Leave => Ok(CreateReport { version, created: false, rows: 0 }),
        IfExists::Fail | IfExists::Replace => Err(DeltaError::TableExists { url, version }),
    }
}

/// Names of columns as the columns are spelled, whatever letter case they are given in. One that is no column stays as it is.
fn spelled(schema: &StructType, names: &[String]) -> Vec<String> {
    names.iter().map(|name| schema.field(name).map_or(name, |field| &field.name).clone()).collect()
}

/// Protocol and metadata of a new table, checked.
pub(crate) fn new_table(
    table: &DeltaTable,
    schema: StructType,
    partition_columns: &[String],
    properties: &BTreeMap<String, String>,
    name: Option<String>,
    description: Option<String>,
) -> Result<(Protocol, Metadata)> {
    let url = table.url();
    let parsed = TableProperties::parse(properties).on(url)?;
    let schema = schema.without_mapping();
    schema.validate(parsed.column_mapping_mode).on(url)?;
    let partition_columns = spelled(&schema, partition_columns);
    schema.validate_partitioning(&partition_columns).on(url)?;
    let protocol = features::protocol_for(&schema, properties).on(url)?;
    let kept = properties.iter().filter(|(key, _)| !key.starts_with(FEATURE_PREFIX));
    let mut configuration: BTreeMap<String, String> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    let schema = mapping::map_new_columns(table, &schema, &mut configuration, PhysicalNames::Fresh).on(url)?;
    require_times(&protocol, &mut configuration);
    if parsed.enable_row_tracking {
        name_hidden_columns(table, &mut configuration);
    }
    let metadata = Metadata {
        id: table.env().uuid(),
        name,
        description,
        schema_string: schema.to_json(),
        partition_columns,
        created_time: Some(table.env().now_ms()),
        configuration,
        ..Metadata::default()
    };
    features::check_write(&protocol, &metadata).on(url)?;
    // A rule that nobody understands would make a table that nobody can write to.
    let layout = Layout::new(url, &protocol, &metadata)?;
    let rules = Rules::of(&protocol, &metadata, &layout.schema).on(url)?;
    Enforcer::new(url, &layout, &rules, table.expressions())?;
    Ok((protocol, metadata))
}

/// The versions of a catalog hold their time: nobody knows when their files are published.
pub(crate) fn require_times(protocol: &Protocol, configuration: &mut BTreeMap<String, String>) {
    const KEY: &str = "delta.enableInCommitTimestamps";
    if features::catalog_feature(protocol).is_some() && !configuration.keys().any(|key| key.eq_ignore_ascii_case(KEY)) {
        configuration.insert(KEY.to_owned(), "true".to_owned());
    }
}

/// The properties that name the columns of files in which rows carry their ids and commit versions along.
pub(crate) const ROW_TRACKING_NAMES: [&str; 2] =
    ["delta.rowTracking.materializedRowIdColumnName", "delta.rowTracking.materializedRowCommitVersionColumnName"];

/// Gives the columns of row tracking names that no other column has, now or later; those that have one keep it.
pub(crate) fn name_hidden_columns(table: &DeltaTable, configuration: &mut BTreeMap<String, String>) {
    for (key, prefix) in ROW_TRACKING_NAMES.into_iter().zip(["_row-id-col-", "_row-commit-version-col-"]) {
        configuration.entry(key.to_owned()).or_insert_with(|| format!("{prefix}{}", table.env().uuid()));
    }
}
