//! By which columns a table is clustered: said when it is created, and changed later.
//!
//! Nothing is clustered here. Writers collect statistics of these columns, and OPTIMIZE orders rows by them.
//!
//! **Source**: Delta protocol, "Clustered Table".

use boathouse_delta_protocol::action::{DomainMetadata, Metadata, Protocol};
use boathouse_delta_protocol::clustering::{CLUSTERING_DOMAIN, clustering_domain};
use boathouse_delta_protocol::features::{self, FEATURE_PREFIX};
use boathouse_delta_protocol::schema::{ColumnMappingMode, DataType, PrimitiveType, StructType};
use boathouse_delta_protocol::stats::ColumnPath;

use crate::error::{ClusteringProblem, DeltaError, OnTable, Result};
use crate::scan::DataFile;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// Changes by which columns a table is clustered. Made by [`DeltaTable::cluster_by`].
///
/// Files stay as they are: OPTIMIZE clusters those that come from now on, and with FULL all of them.
///
/// # Example
/// ```
/// # use arrow_schema::{DataType, Field, Schema};
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let column = |name| Field::new(name, DataType::Int64, true);
/// table.create(Schema::new(vec![column("day"), column("plane"), column("delay")])).cluster_by(["day"]).run().await?;
/// table.cluster_by(["day", "plane"]).run().await?;
/// // No longer clustered: the list is empty.
/// let report = table.cluster_by(Vec::<String>::new()).run().await?;
/// assert_eq!((report.version, report.before), (2, vec!["day".to_owned(), "plane".to_owned()]));
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is changed before `run`"]
pub struct ClusterByBuilder {
    table: DeltaTable,
    columns: Vec<String>,
}

/// What a change of the clustering columns did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterByReport {
    /// The version that holds it.
    pub version: u64,
    /// The columns before, with dots before parts of structs.
    pub before: Vec<String>,
}

impl ClusterByBuilder {
    pub(crate) fn new(table: DeltaTable, columns: Vec<String>) -> Self {
        Self { table, columns }
    }

    /// Changes the columns.
    ///
    /// **Errors**: `Invalid` for a partitioned table, for a column whose values have no order, and for one of which a file that is there has
    /// no statistics; `Conflict` when another writer changed the table meanwhile.
    ///
    /// **Cost**: one commit; the statistics of all files are looked at.
    pub async fn run(self) -> Result<ClusterByReport> {
        let Self { table, columns } = self;
        let snapshot = table.snapshot().await?;
        let url = snapshot.url();
        let (schema, mode) = (snapshot.delta_schema(), snapshot.column_mapping());
        features::check_write(snapshot.protocol(), snapshot.metadata()).on(url)?;
        if !snapshot.partition_columns().is_empty() {
            let columns = snapshot.partition_columns().join(", ");
            return Err(problem(url, ClusteringProblem::Partitioned { columns }));
        }
        let before: Vec<String> = snapshot.clustering_columns()?.iter().map(ToString::to_string).collect();
        let (paths, domain) = clustering(url, schema, mode, &columns)?;
        for file in snapshot.files(None).await? {
            if let Some(path) = paths.iter().find(|path| !has_statistics(&file, path)) {
                let (column, file) = (path.to_string(), file.path().into_owned());
                return Err(problem(url, ClusteringProblem::NoStatistics { column, file }));
            }
        }
        let mut asked = snapshot.metadata().configuration.clone();
        asked.insert(feature_property(), "supported".to_owned());
        let upgrade = features::protocol_upgrade(snapshot.protocol(), schema, &asked).on(url)?;
        // Files that others add meanwhile may lack the statistics.
        let mut transaction = Transaction::begin(&snapshot).read_metadata().read_whole_table().read_domain(CLUSTERING_DOMAIN);
        if let Some(protocol) = upgrade {
            transaction = transaction.set_protocol(protocol);
        }
        let after: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let parameters = [("oldClusteringColumns", before.join(",")), ("newClusteringColumns", after.join(","))];
        let report = transaction.domain_metadata(domain).operation("CLUSTER BY", parameters).commit().await?;
        Ok(ClusterByReport { version: report.version, before })
    }
}

/// The property that asks for the feature.
fn feature_property() -> String {
    format!("{FEATURE_PREFIX}clustering")
}

/// What a new table says of its clustering: nothing without columns.
pub(crate) fn of_new_table(
    url: &str,
    protocol: &mut Protocol,
    metadata: &Metadata,
    columns: &[String],
) -> Result<(Vec<ColumnPath>, Option<DomainMetadata>)> {
    if columns.is_empty() {
        return Ok((Vec::new(), None));
    }
    if !metadata.partition_columns.is_empty() {
        let columns = metadata.partition_columns.join(", ");
        return Err(problem(url, ClusteringProblem::Partitioned { columns }));
    }
    let schema = metadata.schema().on(url)?;
    let mode = features::column_mapping(protocol, &metadata.properties().on(url)?);
    let mut asked = metadata.configuration.clone();
    asked.insert(feature_property(), "supported".to_owned());
    if let Some(upgraded) = features::protocol_upgrade(protocol, &schema, &asked).on(url)? {
        *protocol = upgraded;
    }
    features::check_write(protocol, metadata).on(url)?;
    let (paths, domain) = clustering(url, &schema, mode, columns)?;
    Ok((paths, Some(domain)))
}

/// The columns of these names, and the domain that says so.
fn clustering(
    url: &str,
    schema: &StructType,
    mode: ColumnMappingMode,
    names: &[String],
) -> Result<(Vec<ColumnPath>, DomainMetadata)> {
    let (mut paths, mut physical) = (Vec::new(), Vec::new());
    for name in names {
        let Some(found) = find(schema, mode, name) else {
            let available = schema.names().collect::<Vec<_>>().join(", ");
            return Err(DeltaError::UnknownColumn { url: url.to_owned(), column: name.clone(), available });
        };
        if found.data_type.as_primitive().is_none_or(|primitive| primitive == PrimitiveType::Void) {
            let (column, found) = (name.clone(), found.data_type.to_string());
            return Err(problem(url, ClusteringProblem::NoOrder { column, found }));
        }
        let path = ColumnPath::new(found.logical);
        if paths.contains(&path) {
            return Err(problem(url, ClusteringProblem::Twice { column: name.clone() }));
        }
        paths.push(path);
        physical.push(found.physical);
    }
    Ok((paths, clustering_domain(&physical)))
}

struct Found {
    logical: Vec<String>,
    physical: Vec<String>,
    data_type: DataType,
}

/// A column by its path with dots; letter case does not matter, and a dot may be part of a name.
fn find(schema: &StructType, mode: ColumnMappingMode, name: &str) -> Option<Found> {
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    if let Some(field) = schema.fields.iter().find(|field| same(&field.name, name)) {
        let (logical, physical) = (vec![field.name.clone()], vec![field.physical_name(mode).to_owned()]);
        return Some(Found { logical, physical, data_type: field.data_type.clone() });
    }
    name.match_indices('.').find_map(|(at, _)| {
        let field = schema.fields.iter().find(|field| same(&field.name, &name[..at]))?;
        let DataType::Struct(parts) = &field.data_type else { return None };
        let mut below = find(parts, mode, &name[at + 1..])?;
        below.logical.insert(0, field.name.clone());
        below.physical.insert(0, field.physical_name(mode).to_owned());
        Some(below)
    })
}

fn has_statistics(file: &DataFile, path: &ColumnPath) -> bool {
    file.stats()
        .is_some_and(|stats| stats.columns.get(path).is_some_and(|known| known.null_count.is_some() || known.min.is_some()))
}

fn problem(url: &str, problem: ClusteringProblem) -> DeltaError {
    DeltaError::Clustering { url: url.to_owned(), problem }
}
