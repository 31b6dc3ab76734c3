//! Who knows SQL expressions: a table only carries their text.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

/// Compiles the SQL text of a table's constraints, generated columns and defaults.
///
/// Tables with such rules are written to by handles that have one: see
/// [`DeltaTable::with_expressions`](crate::DeltaTable::with_expressions).
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use arrow_schema::{DataType, Field, Schema, SchemaRef};
/// use boathouse_base::BatchStream;
/// use boathouse_delta_table::{DeltaTable, Expression, Expressions};
/// use boathouse_storage::{Storage, system_env};
///
/// /// Knows numbers, and nothing else.
/// #[derive(Debug)]
/// struct Numbers;
/// #[derive(Debug)]
/// struct Number(i64);
///
/// impl Expressions for Numbers {
///     fn compile(&self, sql: &str, _: &SchemaRef) -> boathouse_base::Result<Arc<dyn Expression>> {
///         match sql.parse() {
///             Ok(number) => Ok(Arc::new(Number(number))),
///             Err(error) => Err(boathouse_base::Error::new(boathouse_base::ErrorKind::Invalid, error)),
///         }
///     }
/// }
///
/// impl Expression for Number {
///     fn evaluate(&self, batch: &RecordBatch) -> boathouse_base::Result<ArrayRef> {
///         Ok(Arc::new(Int64Array::from(vec![self.0; batch.num_rows()])))
///     }
/// }
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let seats = Field::new("seats", DataType::Int64, false).with_metadata([("CURRENT_DEFAULT".into(), "4".into())].into());
/// let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), seats]);
/// let table = DeltaTable::at(Storage::memory(), system_env()).with_expressions(Arc::new(Numbers));
/// table.create(schema).run().await?;
///
/// let rows = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)])?;
/// table.append(rows.into()).run().await?;
/// let read = table.snapshot().await?.scan(Default::default())?.collect().await?;
/// assert_eq!(read[0].column(1).as_ref(), &Int64Array::from(vec![4, 4]));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait Expressions: fmt::Debug + Send + Sync {
    /// An expression over rows of this schema. The text is that of Spark SQL: names regard no letter case, and
    /// stand in back-ticks where they hold other characters.
    ///
    /// **Errors**: `Invalid` when the text cannot be understood over these columns.
    fn compile(&self, sql: &str, schema: &SchemaRef) -> boathouse_base::Result<Arc<dyn Expression>>;
}

/// An expression that was compiled.
pub trait Expression: fmt::Debug + Send + Sync {
    /// Its value for each row of a batch, which has the schema that it was compiled for.
    fn evaluate(&self, batch: &RecordBatch) -> boathouse_base::Result<ArrayRef>;
}
