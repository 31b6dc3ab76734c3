//! Looking at a file for what the schema does not have.

use std::collections::HashSet;

use arrow_schema::{DataType, Fields};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use super::json::{Document, JsonObject, documents, parse_line};
use super::lines::lines;
use super::text::VALUE;
use super::typed::normalized;
use super::{avro, binary_fields, compression, csv, xml};
use crate::schema::{Observed, Shape, Shapes, shape_of_json, shape_of_text};
use crate::settings::{ColumnTypes, Format, SchemaEvolution, Settings};

/// Whether inspecting needs all bytes of a file. Parquet says everything in its footer.
pub(crate) fn needs_whole_file(format: &Format) -> bool {
    !matches!(format, Format::Parquet | Format::Binary | Format::Text(_))
}

/// What a file holds beside the known scalar columns. A file that cannot be read holds nothing.
///
/// Known columns of scalar types are skipped: their types never change.
pub(crate) fn inspect(settings: &Settings, known: &Fields, path: &str, bytes: &Bytes) -> Observed {
    let (format, types) = (&settings.format, settings.column_types);
    let widens = settings.evolution() == SchemaEvolution::AddNewColumnsWithTypeWidening;
    let skip: HashSet<&str> = known
        .iter()
        .filter(|field| types == ColumnTypes::Text || !may_grow(field.data_type(), widens))
        .map(|field| field.name().as_str())
        .collect();
    let mut shapes = Shapes::default();
    match format {
        Format::Parquet => {
            let fields = ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new())
                .map(|metadata| normalized(metadata.schema().fields()));
            return Observed::Typed(fields.unwrap_or_else(|_| Fields::empty()));
        }
        Format::Json(options) => {
            let Ok(content) = compression::decompress(path, bytes) else { return Observed::Text(shapes) };
            if options.multi_line {
                let _end: Result<_, std::convert::Infallible> = documents(&content, |document| {
                    if let Document::Object(object, _) = document {
                        count(object, &skip, types, &mut shapes);
                    }
                    Ok(())
                });
                return Observed::Text(shapes);
            }
            let mut object = JsonObject::default();
            for line in lines(&content) {
                if parse_line(options, &line, &mut object).is_ok() {
                    count(&object, &skip, types, &mut shapes);
                }
            }
        }
        Format::Avro => {
            return Observed::Typed(avro::fields(bytes).unwrap_or_else(|_| Fields::empty()));
        }
        Format::Binary => return Observed::Typed(binary_fields()),
        Format::Text(_) => shapes.add(VALUE, Shape::Text),
        Format::Xml(options) => {
            let Ok(content) = compression::decompress(path, bytes) else { return Observed::Text(shapes) };
            let wanted = xml::lists_of(options, &content, known);
            let _end: Result<_, std::convert::Infallible> = xml::rows(options, &content, |row| {
                let json = row.to_json(&wanted).unwrap_or_default();
                if let Ok(object) = JsonObject::parse(&json) {
                    count(&object, &skip, types, &mut shapes);
                }
                Ok(())
            });
        }
        Format::Csv(options) => {
            let Ok(content) = compression::decompress(path, bytes) else { return Observed::Text(shapes) };
            let wanted = std::cell::RefCell::new(Vec::new());
            let shapes_cell = std::cell::RefCell::new(&mut shapes);
            let begin = |names: &[String]| {
                for (at, name) in names.iter().enumerate() {
                    if !skip.contains(name.as_str()) {
                        shapes_cell.borrow_mut().add(name, Shape::Null);
                        wanted.borrow_mut().push((at, name.clone()));
                    }
                }
            };
            let each = |_: &_, values: Result<&[csv::Value<'_>], String>| {
                let Ok(values) = values else { return Ok(()) };
                for (at, name) in wanted.borrow().iter() {
                    let value = &values[*at];
                    if !csv::is_null(options, value) {
                        let shape = match types {
                            ColumnTypes::Text => Shape::Text,
                            ColumnTypes::Inferred => shape_of_text(&value.0),
                        };
                        shapes_cell.borrow_mut().count(name, shape);
                    }
                }
                Ok::<_, std::convert::Infallible>(())
            };
            // A file whose header is broken goes to quarantine when it is read.
            let _header: Result<Result<(), String>, _> = csv::records(options, &content, begin, each);
        }
    }
    Observed::Text(shapes)
}

fn count(object: &JsonObject<'_>, skip: &HashSet<&str>, types: ColumnTypes, shapes: &mut Shapes) {
    for (name, value) in &object.fields {
        if skip.contains(name.as_ref()) {
            continue;
        }
        let shape = match types {
            _ if *value == "null" => Shape::Null,
            _ if shapes.is_text(name) => Shape::Text,
            ColumnTypes::Text => Shape::Text,
            ColumnTypes::Inferred => shape_of_json(value),
        };
        shapes.count(name, shape);
    }
}

fn may_grow(data_type: &DataType, widens: bool) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(item) => may_grow(item.data_type(), widens),
        // The only looks that have a wider one beside text.
        DataType::Int64 => widens,
        _ => false,
    }
}

/// What the end of a Parquet file says about its columns. The error is how many more bytes from the end are needed.
pub(crate) fn observe_parquet_footer(tail: &Bytes, size_bytes: u64) -> Result<Observed, usize> {
    let nothing = || Observed::Typed(Fields::empty());
    let mut reader = ParquetMetaDataReader::new();
    let parsed = usize::try_from(size_bytes).map(|size| reader.try_parse_sized(tail, size as u64));
    match parsed {
        Ok(Ok(())) => {}
        Ok(Err(ParquetError::NeedMoreData(more))) if more as u64 <= size_bytes => return Err(more),
        _ => return Ok(nothing()),
    }
    let Ok(metadata) = reader.finish() else { return Ok(nothing()) };
    let file = metadata.file_metadata();
    Ok(parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())
        .map_or_else(|_| nothing(), |schema| Observed::Typed(normalized(schema.fields()))))
}
