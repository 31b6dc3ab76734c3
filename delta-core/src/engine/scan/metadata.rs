//! `_metadata`: which file a row comes from, and its place there.
//!
//! ```text
//!   the log        path, size, time, base row id ─▶ a constant of each file ─┐
//!   the file       row ids that were stored      ─▶ a column of it           ├─▶ named_struct(…) AS _metadata
//!   the reader     the number of the row         ─▶ a virtual column         ┘
//! ```
//! The parts have names that no column of the table has. Deleted rows count: a row keeps its number while its file is there.
//!
//! **Source**: Apache Spark, "File Metadata Columns"; Delta protocol, "Row Tracking".

use std::sync::Arc;

use boathouse_delta_table::{DataFile, RowTrackingColumns, Snapshot};
use datafusion::arrow::array::{ArrayRef, StructArray, new_empty_array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue, ToDFSchema, internal_err};
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::parquet::arrow::RowNumber;
use datafusion::physical_expr::PhysicalExpr;

/// The name of the column.
pub(crate) const FILE_METADATA: &str = "_metadata";

/// Its fields that all rows of a file share.
const OF_FILE: [&str; 6] =
    ["file_path", "file_name", "file_size", "file_block_start", "file_block_length", "file_modification_time"];

/// The field with the number of a row in its file, from 0.
const ROW_INDEX: &str = "row_index";

/// The fields of tables that track their rows.
const TRACKED: [&str; 2] = ["row_id", "row_commit_version"];

/// The column as the engine is told of it.
pub(crate) fn field(tracks_rows: bool) -> FieldRef {
    let of_file = OF_FILE.into_iter().zip(types_of_file());
    let numbers = [ROW_INDEX].into_iter().chain(TRACKED.into_iter().filter(|_| tracks_rows));
    let fields = of_file.chain(numbers.map(|name| (name, DataType::Int64)));
    let fields: Vec<Field> = fields.map(|(name, data_type)| Field::new(name, data_type, true)).collect();
    Arc::new(Field::new(FILE_METADATA, DataType::Struct(fields.into()), true))
}

fn types_of_file() -> [DataType; 6] {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    [DataType::Utf8, DataType::Utf8, DataType::Int64, DataType::Int64, DataType::Int64, time]
}

/// What the log says of a file, in the order of its fields.
fn values_of_file(snapshot: &Snapshot, file: &DataFile) -> [ScalarValue; 6] {
    let path = url_of(snapshot.url(), &file.add().path);
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let size = i64::try_from(file.size_bytes()).unwrap_or(i64::MAX);
    let time = file.add().modification_time.checked_mul(1000);
    [
        ScalarValue::Utf8(Some(path)),
        ScalarValue::Utf8(Some(name)),
        ScalarValue::Int64(Some(size)),
        ScalarValue::Int64(Some(0)),
        ScalarValue::Int64(Some(size)),
        ScalarValue::TimestampMicrosecond(time, Some("UTC".into())),
    ]
}

/// The URL of a file that the log of the table at `table` names by `path`.
fn url_of(table: &str, path: &str) -> String {
    let has_scheme = path.contains("://") || path.starts_with("file:");
    if has_scheme {
        return path.to_owned();
    }
    match (path.starts_with('/'), table.split_once("://")) {
        (true, Some((scheme, rest))) => format!("{scheme}://{}{path}", rest.split('/').next().unwrap_or_default()),
        (true, None) => path.to_owned(),
        (false, _) => format!("{}/{path}", table.trim_end_matches('/')),
    }
}

/// Whether an expression reads the column.
pub(crate) fn reads_metadata(expr: &Expr) -> bool {
    expr.column_refs().iter().any(|column| column.name == FILE_METADATA)
}

/// Whether an expression reads no field of the column but those that all rows of a file share.
pub(crate) fn reads_no_rows(expr: &Expr) -> Result<bool> {
    let mut only = true;
    expr.apply(|expr| {
        Ok(match expr {
            Expr::ScalarFunction(function) if function.name() == "get_field" => match function.args.as_slice() {
                [Expr::Column(column), Expr::Literal(name, _)] if column.name == FILE_METADATA => {
                    only &= name.try_as_str().flatten().is_some_and(|name| OF_FILE.contains(&name));
                    TreeNodeRecursion::Jump
                }
                _ => TreeNodeRecursion::Continue,
            },
            Expr::Column(column) if column.name == FILE_METADATA => {
                only = false;
                TreeNodeRecursion::Stop
            }
            _ => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(only)
}

/// The column for some files, one row for each: what is not the same in all rows of a file is null.
pub(crate) fn of_files(snapshot: &Snapshot, files: &[DataFile], column: &Field) -> Result<ArrayRef> {
    let DataType::Struct(fields) = column.data_type() else {
        return internal_err!("`{FILE_METADATA}` is no struct");
    };
    let row = |file: &DataFile| -> Result<ScalarValue> {
        let known = values_of_file(snapshot, file).into_iter();
        let others = fields.iter().skip(OF_FILE.len()).map(|field| ScalarValue::try_new_null(field.data_type()));
        let arrays = known.map(Ok).chain(others).map(|value| value?.to_array()).collect::<Result<Vec<_>>>()?;
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields.clone(), arrays, None)?)))
    };
    if files.is_empty() {
        return Ok(new_empty_array(column.data_type()));
    }
    ScalarValue::iter_to_array(files.iter().map(row).collect::<Result<Vec<_>>>()?)
}

/// The parts of the column in a scan.
#[derive(Debug)]
pub(crate) struct MetadataParts {
    prefix: String,
    tracked: Option<RowTrackingColumns>,
}

impl MetadataParts {
    /// For a table with these columns in its files.
    pub(crate) fn new<'a>(columns: impl Iterator<Item = &'a str> + Clone, tracked: Option<RowTrackingColumns>) -> Self {
        let mut prefix = format!("{FILE_METADATA}.");
        while columns.clone().any(|column| column.starts_with(&prefix)) {
            prefix.insert(0, '_');
        }
        Self { prefix, tracked }
    }

    fn named(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    /// Columns that some files have.
    pub(crate) fn stored(&self) -> Vec<FieldRef> {
        let names = self.tracked.iter().flat_map(|columns| [&columns.row_id, &columns.commit_version]);
        names.map(|name| Arc::new(Field::new(name, DataType::Int64, true))).collect()
    }

    /// Constants of each file.
    pub(crate) fn constants(&self) -> Vec<FieldRef> {
        let of_file = OF_FILE.into_iter().zip(types_of_file());
        let tracked = TRACKED.into_iter().filter(|_| self.tracked.is_some()).map(|name| (name, DataType::Int64));
        let field = |(name, data_type)| Arc::new(Field::new(self.named(name), data_type, true));
        of_file.chain(tracked).map(field).collect()
    }

    /// The values of the constants.
    pub(crate) fn values(&self, snapshot: &Snapshot, file: &DataFile) -> Vec<ScalarValue> {
        let add = file.add();
        let tracked = self.tracked.iter().flat_map(|_| [add.base_row_id, add.default_row_commit_version]);
        values_of_file(snapshot, file).into_iter().chain(tracked.map(ScalarValue::Int64)).collect()
    }

    /// The number of each row, which the reader gives.
    pub(crate) fn row_number(&self) -> FieldRef {
        Arc::new(Field::new(self.named(ROW_INDEX), DataType::Int64, false).with_extension_type(RowNumber))
    }

    /// What the reader finds by its exact name.
    pub(crate) fn found_by_name(&self) -> Vec<String> {
        self.stored().iter().chain([&self.row_number()]).map(|field| field.name().clone()).collect()
    }

    /// The column, over a schema that has all parts.
    pub(crate) fn expression(&self, session: &dyn Session, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        let column = |name: &str| Expr::Column(Column::from_name(name));
        let part = |name: &str| column(&self.named(name));
        let mut arguments: Vec<Expr> = OF_FILE.into_iter().chain([ROW_INDEX]).flat_map(|name| [lit(name), part(name)]).collect();
        if let Some(RowTrackingColumns { row_id, commit_version }) = &self.tracked {
            let [id, version] = TRACKED;
            let or = |stored: &str, other| when(column(stored).is_not_null(), column(stored)).otherwise(other);
            arguments.extend([lit(id), or(row_id, part(id) + part(ROW_INDEX))?]);
            arguments.extend([lit(version), or(commit_version, part(version))?]);
        }
        session.create_physical_expr(named_struct(arguments), &Arc::clone(schema).to_dfschema()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_log_is_a_url_wherever_the_file_is() {
        assert_eq!(url_of("s3://lake/t", "day=1%202/a.parquet"), "s3://lake/t/day=1%202/a.parquet");
        assert_eq!(url_of("s3://lake/t/", "a.parquet"), "s3://lake/t/a.parquet");
        assert_eq!(url_of("file:///lake/t", "/other/a.parquet"), "file:///other/a.parquet");
        assert_eq!(url_of("s3://lake/t", "s3://other/a.parquet"), "s3://other/a.parquet");
        assert_eq!(url_of("s3://lake/t", "day=1:2/a.parquet"), "s3://lake/t/day=1:2/a.parquet");
    }

    #[test]
    fn parts_have_names_that_no_column_has() {
        let parts = MetadataParts::new(["id", "_metadata.row_index"].into_iter(), None);
        assert_eq!(parts.row_number().name(), "__metadata.row_index");
        assert_eq!(parts.constants().len(), OF_FILE.len());
        assert!(parts.stored().is_empty());
    }
}
