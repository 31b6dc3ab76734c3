//! What a table is: `DESCRIBE [TABLE] [EXTENDED] t [column]`, `SHOW COLUMNS`, `SHOW PARTITIONS`, `SHOW CREATE TABLE`.

use std::sync::Arc;

use boathouse_delta_protocol::schema::{DataType, StructField, StructType};
use boathouse_delta_table::{DeltaTable, Snapshot};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::TableProvider;

use super::create_text::create_text;
use super::cursor::{Cursor, TableName};
use super::dml::StatementReport;
use super::run::{Run, provider_named};
use super::type_names::{comment, quoted, shown};
use crate::engine::error::{EngineError, Result};
use crate::engine::provider::DeltaTableProvider;

/// Words that come after `DESCRIBE` and are no table.
const NO_TABLES: [&str; 8] = ["HISTORY", "DETAIL", "FUNCTION", "QUERY", "SCHEMA", "DATABASE", "SELECT", "WITH"];

/// A question about one table.
#[derive(Debug)]
pub(crate) enum Describe {
    Table { table: TableName, extended: bool, column: Option<String> },
    Columns(TableName),
    Partitions(TableName),
    Create(TableName),
}

/// Reads one; nothing, with the cursor where it was, when it is another statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Describe>> {
    let start = cursor.place();
    let statement = if cursor.takes(&["SHOW", "COLUMNS"]) {
        if !cursor.takes(&["IN"]) {
            cursor.expect(&["FROM"])?;
        }
        Describe::Columns(cursor.table()?)
    } else if cursor.takes(&["SHOW", "PARTITIONS"]) {
        Describe::Partitions(cursor.table()?)
    } else if cursor.takes(&["SHOW", "CREATE", "TABLE"]) {
        Describe::Create(cursor.table()?)
    } else if cursor.takes(&["DESCRIBE"]) || cursor.takes(&["DESC"]) {
        let says_table = cursor.takes(&["TABLE"]);
        let extended = cursor.takes(&["EXTENDED"]) || cursor.takes(&["FORMATTED"]);
        if !says_table && !extended && NO_TABLES.iter().any(|word| cursor.sees(&[word])) {
            cursor.go_to(start);
            return Ok(None);
        }
        let table = cursor.table_or_path()?;
        let column = if cursor.is_at_end() { None } else { Some(cursor.column()?) };
        Describe::Table { table, extended, column }
    } else {
        return Ok(None);
    };
    cursor.expect_end()?;
    Ok(Some(statement))
}

impl Run<'_> {
    pub(super) async fn describe(&self, question: Describe) -> Result<StatementReport> {
        match question {
            Describe::Table { table, extended, column } => self.describe_table(&table, extended, column.as_deref()).await,
            Describe::Columns(name) => {
                let snapshot = self.table(&name).await?.snapshot().await?;
                let names = snapshot.delta_schema().fields.iter().map(|field| Some(field.name.as_str()));
                self.rows(texts("col_name", names.collect()))
            }
            Describe::Partitions(name) => self.show_partitions(&name).await,
            Describe::Create(name) => {
                let table = self.table(&name).await?;
                let text = create_text(&written(&name), &table.snapshot().await?, self.location_of(&name, &table)?)?;
                self.rows(texts("createtab_stmt", StringArray::from(vec![text])))
            }
        }
    }

    /// Where a table stands, if that is to be said when it is made: not of paths, and not of tables that the session placed.
    fn location_of<'t>(&self, name: &TableName, table: &'t DeltaTable) -> Result<Option<&'t str>> {
        let placed = self.placed(name)?.is_some_and(|managed| managed.url() == table.url());
        Ok((name.path().is_none() && !placed).then(|| table.url()))
    }

    async fn describe_table(&self, name: &TableName, extended: bool, column: Option<&str>) -> Result<StatementReport> {
        if name.path().is_none() {
            let provider = provider_named(self.session, name, self.text).await?;
            if <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(provider.as_ref()).is_none() {
                return self.rows(columns_of(&provider.schema()));
            }
        }
        let table = self.table(name).await?;
        let snapshot = table.snapshot().await?;
        if let Some(column) = column {
            let field = self.field(&snapshot, column)?;
            return self.rows(pairs(
                ("info_name", "info_value"),
                &[
                    ("col_name", field.name.clone()),
                    ("data_type", shown(&field.data_type)),
                    ("comment", comment(field).unwrap_or("NULL").to_owned()),
                ],
            ));
        }
        let mut rows = Rows::default();
        snapshot.delta_schema().fields.iter().for_each(|field| rows.column(field));
        if !snapshot.partition_columns().is_empty() {
            rows.head("# Partition Information");
            rows.add("# col_name", "data_type", Some("comment"));
            let columns = snapshot.partition_columns().iter().filter_map(|column| snapshot.delta_schema().field(column));
            columns.for_each(|field| rows.column(field));
        }
        let clustering = snapshot.clustering_columns()?;
        if !clustering.is_empty() {
            rows.head("# Clustering Information");
            rows.add("# col_name", "data_type", Some("comment"));
            for path in &clustering {
                let (data_type, comment) = match self.field(&snapshot, &path.to_string()) {
                    Ok(field) => (shown(&field.data_type), comment(field)),
                    Err(_) => (String::new(), None),
                };
                rows.add(&path.to_string(), &data_type, comment);
            }
        }
        if extended {
            rows.head("# Detailed Table Information");
            rows.add("Name", &name.to_string(), None);
            let kind = if self.location_of(name, &table)?.is_none() && name.path().is_none() { "MANAGED" } else { "EXTERNAL" };
            rows.add("Type", kind, None);
            if let Some(comment) = &snapshot.metadata().description {
                rows.add("Comment", comment, None);
            }
            rows.add("Location", table.url(), None);
            rows.add("Provider", "delta", None);
            let properties = snapshot.metadata().configuration.iter().map(|(key, value)| format!("{key}={value}"));
            rows.add("Table Properties", &format!("[{}]", properties.collect::<Vec<_>>().join(",")), None);
        }
        self.rows(rows.into_batch())
    }

    /// The column at a path of names.
    fn field<'s>(&self, snapshot: &'s Snapshot, path: &str) -> Result<&'s StructField> {
        let mut fields = snapshot.delta_schema();
        let mut names = path.split('.').peekable();
        loop {
            let name = names.next().unwrap_or_default();
            let field = fields.field(name).ok_or_else(|| EngineError::UnknownColumn {
                attempted: "describe",
                url: snapshot.url().to_owned(),
                column: path.to_owned(),
                available: fields.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", "),
            })?;
            if names.peek().is_none() {
                return Ok(field);
            }
            match &field.data_type {
                DataType::Struct(inner) => fields = inner,
                _ => return Ok(field),
            }
        }
    }

    /// The values of the partition columns, a row for each combination.
    async fn show_partitions(&self, name: &TableName) -> Result<StatementReport> {
        let snapshot = self.table(name).await?.snapshot().await?;
        if snapshot.partition_columns().is_empty() {
            return Err(EngineError::Unsupported {
                statement: self.text.to_owned(),
                what: "SHOW PARTITIONS of a table without partitions",
                instead: "look at DESCRIBE TABLE",
            });
        }
        let columns = snapshot.partition_columns().iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
        let query = format!("SELECT DISTINCT {columns} FROM {} ORDER BY {columns}", written(name));
        Ok(StatementReport::Rows(Box::new(self.query(&query).await?)))
    }
}

/// The columns of a table that is none of Delta.
fn columns_of(schema: &Schema) -> std::result::Result<RecordBatch, ArrowError> {
    let mut rows = Rows::default();
    match StructType::from_arrow(schema) {
        Ok(columns) => columns.fields.iter().for_each(|field| rows.column(field)),
        // Types that Delta does not have.
        Err(_) => schema.fields().iter().for_each(|field| rows.add(field.name(), &field.data_type().to_string(), None)),
    }
    rows.into_batch()
}

/// A name as it can stand in a statement.
fn written(name: &TableName) -> String {
    name.parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")
}

/// The rows of a description.
#[derive(Default)]
struct Rows {
    names: Vec<String>,
    types: Vec<String>,
    comments: Vec<Option<String>>,
}

impl Rows {
    fn add(&mut self, name: &str, data_type: &str, comment: Option<&str>) {
        self.names.push(name.to_owned());
        self.types.push(data_type.to_owned());
        self.comments.push(comment.map(str::to_owned));
    }

    fn column(&mut self, field: &StructField) {
        self.add(&field.name, &shown(&field.data_type), comment(field));
    }

    /// The title of what follows, behind an empty row.
    fn head(&mut self, title: &str) {
        self.add("", "", Some(""));
        self.add(title, "", Some(""));
    }

    fn into_batch(self) -> std::result::Result<RecordBatch, ArrowError> {
        RecordBatch::try_from_iter_with_nullable([
            ("col_name", Arc::new(StringArray::from(self.names)) as ArrayRef, false),
            ("data_type", Arc::new(StringArray::from(self.types)), false),
            ("comment", Arc::new(StringArray::from(self.comments)), true),
        ])
    }
}

fn texts(name: &str, values: StringArray) -> std::result::Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter([(name, Arc::new(values) as ArrayRef)])
}

fn pairs(names: (&str, &str), rows: &[(&str, String)]) -> std::result::Result<RecordBatch, ArrowError> {
    let (keys, values): (Vec<&str>, Vec<&str>) = rows.iter().map(|(key, value)| (*key, value.as_str())).unzip();
    RecordBatch::try_from_iter([
        (names.0, Arc::new(StringArray::from(keys)) as ArrayRef),
        (names.1, Arc::new(StringArray::from(values))),
    ])
}
