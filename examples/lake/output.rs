//! Rows on standard output.

use std::io::{IsTerminal, Stdout, Write};
use std::sync::Arc;

use anyhow::{Result, bail};
use boathouse::base::BatchStream;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::DataFrame;
use parquet::arrow::ArrowWriter;

use crate::place::Working;

/// Rows of one block of `table`: what is held in memory.
const BLOCK_ROWS: usize = 10_000;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people; a header for every 10,000 rows.
    Table,
    /// One object a line.
    Json,
    /// With a header; lists, maps and structs as text.
    Csv,
    /// A Parquet file.
    Parquet,
}

/// Prints rows in one of the forms.
struct Printer {
    schema: SchemaRef,
    form: Form,
}

enum Form {
    Table { held: Vec<RecordBatch>, printed: bool },
    Json(datafusion::arrow::json::LineDelimitedWriter<Stdout>, SchemaRef),
    Csv(Box<datafusion::arrow::csv::Writer<Stdout>>, SchemaRef),
    Parquet(Box<ArrowWriter<Stdout>>),
}

impl Printer {
    fn new(format: Format, schema: SchemaRef) -> Result<Self> {
        let out = std::io::stdout();
        let form = match format {
            Format::Table => Form::Table { held: Vec::new(), printed: false },
            Format::Json => {
                let texts = Schema::new(schema.fields().iter().map(|field| text_keys(field)).collect::<Vec<_>>());
                Form::Json(datafusion::arrow::json::LineDelimitedWriter::new(out), Arc::new(texts))
            }
            Format::Csv => {
                let flat = flat_schema(&schema);
                let mut writer = datafusion::arrow::csv::WriterBuilder::new().with_header(true).build(out);
                writer.write(&RecordBatch::new_empty(Arc::clone(&flat)))?;
                Form::Csv(Box::new(writer), flat)
            }
            Format::Parquet if out.is_terminal() => bail!("print Parquet: standard output is a terminal; send it to a file"),
            Format::Parquet => Form::Parquet(Box::new(ArrowWriter::try_new(out, Arc::clone(&schema), None)?)),
        };
        Ok(Self { schema, form })
    }

    fn print(&mut self, batch: RecordBatch) -> Result<()> {
        match &mut self.form {
            Form::Table { held, printed } => {
                held.push(batch);
                if held.iter().map(RecordBatch::num_rows).sum::<usize>() >= BLOCK_ROWS {
                    block(&self.schema, held, printed)?;
                }
            }
            Form::Json(writer, texts) => writer.write(&with_text_keys(&batch, texts)?)?,
            Form::Csv(writer, flat) => writer.write(&flattened(&batch, flat)?)?,
            Form::Parquet(writer) => writer.write(&batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self.form {
            Form::Table { mut held, mut printed } => {
                if !held.is_empty() || !printed {
                    block(&self.schema, &mut held, &mut printed)?;
                }
            }
            Form::Json(mut writer, _) => writer.finish()?,
            Form::Csv(_, _) => {}
            Form::Parquet(writer) => drop(writer.close()?),
        }
        Ok(std::io::stdout().flush()?)
    }
}

fn block(schema: &SchemaRef, held: &mut Vec<RecordBatch>, printed: &mut bool) -> Result<()> {
    let batch = concat_batches(schema, held.iter())?;
    held.clear();
    *printed = true;
    let shown = pretty_format_batches(&[batch])?;
    Ok(writeln!(std::io::stdout(), "{shown}")?)
}

/// The column with texts for keys of maps: JSON knows no others.
fn text_keys(field: &Field) -> Field {
    field.clone().with_data_type(match field.data_type() {
        DataType::Map(entries, sorted) => {
            let mut fields = match entries.data_type() {
                DataType::Struct(fields) => fields.iter().map(|field| text_keys(field)).collect::<Vec<_>>(),
                _ => Vec::new(),
            };
            if let Some(key) = fields.first_mut() {
                *key = key.clone().with_data_type(DataType::Utf8);
            }
            let entries = entries.as_ref().clone().with_data_type(DataType::Struct(fields.into()));
            DataType::Map(Arc::new(entries), *sorted)
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| text_keys(field)).collect()),
        DataType::List(field) => DataType::List(Arc::new(text_keys(field))),
        DataType::LargeList(field) => DataType::LargeList(Arc::new(text_keys(field))),
        DataType::ListView(field) => DataType::ListView(Arc::new(text_keys(field))),
        other => other.clone(),
    })
}

fn with_text_keys(batch: &RecordBatch, texts: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(texts.fields());
    let columns = columns.map(|(column, field)| Ok(cast(column, field.data_type())?)).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(texts), columns)?)
}

fn is_nested(data_type: &DataType) -> bool {
    data_type.is_nested() || matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// The columns as CSV can hold them.
fn flat_schema(schema: &SchemaRef) -> SchemaRef {
    let flat = |field: &Arc<Field>| match is_nested(field.data_type()) {
        true => Field::new(field.name(), DataType::Utf8, true),
        false => field.as_ref().clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(flat).collect::<Vec<_>>()))
}

fn flattened(batch: &RecordBatch, flat: &SchemaRef) -> Result<RecordBatch> {
    let options = FormatOptions::default();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for column in batch.columns() {
        if !is_nested(column.data_type()) {
            columns.push(Arc::clone(column));
            continue;
        }
        let shown = ArrayFormatter::try_new(column, &options)?;
        let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| shown.value(row).to_string()));
        columns.push(Arc::new(texts.collect::<StringArray>()) as ArrayRef);
    }
    Ok(RecordBatch::try_new(Arc::clone(flat), columns)?)
}

/// Prints the rows of a query, as they come.
pub(crate) async fn print_frame(frame: DataFrame, format: Format) -> Result<()> {
    print_rows(boathouse::frames::batch_stream(frame).await?, format).await
}

/// Prints rows, as they come.
pub(crate) async fn print_rows(mut rows: BatchStream, format: Format) -> Result<()> {
    let mut printer = Printer::new(format, rows.schema())?;
    let working = (!std::io::stdout().is_terminal()).then(|| Working::on("reading"));
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        count += batch.num_rows() as u64;
        printer.print(batch)?;
        working.iter().for_each(|working| working.rows(count));
    }
    printer.finish()
}

/// Prints a batch that is there.
pub(crate) fn print_batch(batch: RecordBatch, format: Format) -> Result<()> {
    let mut printer = Printer::new(format, batch.schema())?;
    printer.print(batch)?;
    printer.finish()
}
