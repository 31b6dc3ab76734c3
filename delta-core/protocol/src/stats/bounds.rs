//! From a file of the log to what a predicate can be over its rows.

use boathouse_base::{Bounds, ColumnBounds, Predicate, Value};

use super::file_stats::ColumnStats;
use super::quick::{Chosen, read_chosen};
use crate::action::{Add, Remove, StringMap};
use crate::deletion_vector::DeletionVectorDescriptor;
use crate::files::FileRef;
use crate::partition;
use crate::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};

/// Reads what is known of chosen columns, file after file.
///
/// # Example
/// ```
/// use boathouse_base::{Comparison, Predicate};
/// use boathouse_delta_protocol::action::Add;
/// use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
/// use boathouse_delta_protocol::stats::BoundsReader;
///
/// let schema = StructType::new([
///     StructField::nullable("month", PrimitiveType::Integer),
///     StructField::nullable("delay", PrimitiveType::Long),
/// ]);
/// let late_in_july = Predicate::eq("month", 7).and(Predicate::compare("delay", Comparison::Gt, 60));
/// let reader = BoundsReader::for_predicates(&schema, &["month".to_owned()], ColumnMappingMode::None, [&late_in_july]);
///
/// let mut file = Add { partition_values: [("month", Some("7"))].into_iter().collect(), ..Add::default() };
/// assert!(late_in_july.may_match(&reader.of_add(&file)));
/// file.stats = Some(r#"{"numRecords":5,"maxValues":{"delay":60}}"#.to_owned());
/// assert!(!late_in_july.may_match(&reader.of_add(&file)));
/// ```
#[derive(Debug, Clone)]
pub struct BoundsReader {
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    /// As predicates have it.
    name: String,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// The value stands in the log. Older writers may have used the logical name.
    Partition { physical: String, logical: String, data_type: PrimitiveType },
    /// Names of the structs around it in files, its own name there, and itself.
    Stats { parents: Vec<String>, name: String, field: StructField },
}

/// What is known of a file's rows.
#[derive(Debug, Clone)]
pub struct FileBounds<'r> {
    reader: &'r BoundsReader,
    row_count: Option<u64>,
    num_records: Option<u64>,
    is_tight: bool,
    columns: Vec<ColumnBounds>,
}

impl BoundsReader {
    /// For these columns, by dotted path. A path that means no column, or more than one, is unknown in every file.
    pub fn for_columns<'a>(
        schema: &StructType,
        partition_columns: &[String],
        mode: ColumnMappingMode,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut columns: Vec<Column> = Vec::new();
        for name in names {
            if columns.iter().any(|c| c.name == name) {
                continue;
            }
            let mut ways = schema.paths_to(name);
            let (Some(way), true) = (ways.pop(), ways.is_empty()) else { continue };
            let Some((field, parents)) = way.split_last() else { continue };
            let physical = field.physical_name(mode).to_owned();
            let source = if parents.is_empty() && partition_columns.contains(&field.name) {
                let Some(data_type) = field.data_type.as_primitive() else { continue };
                Source::Partition { physical, logical: field.name.clone(), data_type }
            } else {
                let parents = parents.iter().map(|p| p.physical_name(mode).to_owned()).collect();
                Source::Stats { parents, name: physical, field: (*field).clone() }
            };
            columns.push(Column { name: name.to_owned(), source });
        }
        Self { columns }
    }

    /// For the columns that these predicates read.
    pub fn for_predicates<'a>(
        schema: &StructType,
        partition_columns: &[String],
        mode: ColumnMappingMode,
        predicates: impl IntoIterator<Item = &'a Predicate>,
    ) -> Self {
        let names: Vec<&str> = predicates.into_iter().flat_map(Predicate::columns).collect();
        Self::for_columns(schema, partition_columns, mode, names)
    }

    /// What is known of a file that is added. Never fails: what does not parse is unknown.
    pub fn of_add(&self, add: &Add) -> FileBounds<'_> {
        self.read(Some(&add.partition_values), add.stats.as_deref(), add.deletion_vector.as_deref())
    }

    /// What is known of a file that is removed; often nothing.
    pub fn of_remove(&self, remove: &Remove) -> FileBounds<'_> {
        self.read(remove.partition_values.as_ref(), remove.stats.as_deref(), remove.deletion_vector.as_deref())
    }

    /// What is known of a file of an index.
    pub fn of_file(&self, file: &FileRef<'_>) -> FileBounds<'_> {
        let needs_stats = self.columns.iter().any(|column| match &column.source {
            Source::Stats { .. } => true,
            // How many rows are null stands there.
            Source::Partition { physical, logical, .. } => {
                let value = file.partition_value(physical).or_else(|| file.partition_value(logical));
                value.is_some_and(|value| value.is_none_or(str::is_empty))
            }
        });
        // Partition values alone decide often, and then the text need not be unpacked.
        let stats = if needs_stats { file.stats() } else { None };
        self.read_values(|key| file.partition_value(key), stats.as_deref(), file.deletion_vector())
    }

    fn read(
        &self,
        partition: Option<&StringMap>,
        stats: Option<&str>,
        vector: Option<&DeletionVectorDescriptor>,
    ) -> FileBounds<'_> {
        self.read_values(|key| partition.and_then(|values| values.get(key)), stats, vector)
    }

    fn read_values<'p>(
        &self,
        partition: impl Fn(&str) -> Option<Option<&'p str>>,
        stats: Option<&str>,
        vector: Option<&DeletionVectorDescriptor>,
    ) -> FileBounds<'_> {
        let chosen: Vec<Chosen<'_>> = self.chosen().collect();
        let stats = read_chosen(stats.unwrap_or("{}"), &chosen);
        self.put_together(partition, stats.num_records, stats.tight_bounds, stats.columns.into_iter(), vector)
    }

    /// The columns whose bounds are statistics, in order.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = Chosen<'_>> {
        self.columns.iter().filter_map(|column| match &column.source {
            Source::Partition { .. } => None,
            Source::Stats { parents, name, field } => Some((parents.as_slice(), name.as_str(), field)),
        })
    }

    /// What is known of a file whose statistics were read: those of the [chosen](Self::chosen) columns, in order.
    pub(crate) fn of_typed(
        &self,
        file: &FileRef<'_>,
        num_records: Option<u64>,
        tight_bounds: bool,
        stats: impl Iterator<Item = ColumnStats>,
    ) -> FileBounds<'_> {
        self.put_together(|key| file.partition_value(key), num_records, tight_bounds, stats, file.deletion_vector())
    }

    fn put_together<'p>(
        &self,
        partition: impl Fn(&str) -> Option<Option<&'p str>>,
        num_records: Option<u64>,
        tight_bounds: bool,
        mut stats: impl Iterator<Item = ColumnStats>,
        vector: Option<&DeletionVectorDescriptor>,
    ) -> FileBounds<'_> {
        let wide = vector.is_some() || !tight_bounds;
        let columns = self.columns.iter().map(|column| match &column.source {
            Source::Partition { physical, logical, data_type } => {
                let value = partition(physical)
                    .or_else(|| partition(logical))
                    .and_then(|text| partition::parse(logical, *data_type, text).ok());
                match value {
                    None => ColumnBounds::default(),
                    Some(Value::Null) => ColumnBounds { null_count: num_records, ..ColumnBounds::default() },
                    Some(value) => ColumnBounds { min: Some(value.clone()), max: Some(value), null_count: Some(0) },
                }
            }
            Source::Stats { .. } => bounds(stats.next().unwrap_or_default(), num_records, wide),
        });
        let columns = columns.collect();
        let row_count = match (num_records, vector) {
            (Some(rows), Some(vector)) if vector.cardinality >= rows => Some(0),
            _ => num_records,
        };
        FileBounds { reader: self, row_count, num_records, is_tight: !wide, columns }
    }
}

impl FileBounds<'_> {
    /// Rows of the file, deleted ones too.
    pub fn num_records(&self) -> Option<u64> {
        self.num_records
    }

    /// Whether bounds and null counts are those of the rows that are there: no row is deleted.
    pub fn is_tight(&self) -> bool {
        self.is_tight
    }
}

fn bounds(known: ColumnStats, num_records: Option<u64>, wide: bool) -> ColumnBounds {
    let ColumnStats { min, max, null_count } = known;
    let null_count = null_count.filter(|nulls| !wide || *nulls == 0 || Some(*nulls) == num_records);
    ColumnBounds { min, max, null_count }
}

impl Bounds for FileBounds<'_> {
    fn row_count(&self) -> Option<u64> {
        self.row_count
    }

    fn column(&self, column: &str) -> ColumnBounds {
        let at = self.reader.columns.iter().position(|c| c.name == column);
        at.map(|at| self.columns[at].clone()).unwrap_or_default()
    }
}
