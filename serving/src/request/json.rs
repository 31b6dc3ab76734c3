//! JSON bodies of MLflow's scoring protocol, read straight into columns.

use std::borrow::Cow;
use std::fmt;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::column::Columns;
use crate::error::{Result, ServingError};
use crate::exact_json::Cell;

/// The rows of a body, as columns of `schema`.
///
/// Exactly one of these stands in it, beside an optional object `params`, which is not passed on:
///
/// | key | form |
/// | --- | --- |
/// | `dataframe_split` | `{"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}` |
/// | `dataframe_records` | `[{"a": 1, "b": 2}, {"a": 3, "b": 4}]` |
/// | `instances` | `[{"a": 1, "b": 2}]`, rows by position `[[1, 2]]`, or values of the one column `[1, 3]` |
/// | `inputs` | columns `{"a": [1, 3], "b": [2, 4]}`, or as `instances` |
///
/// Values are checked against the column's type as [`enforce`](crate::signature::enforce) does: integers
/// widen, nothing is cut. Times are ISO 8601 text, bytes are base64. Columns that the schema does not have
/// are read over; nullable ones may be absent.
///
/// **Errors**: of kind `Invalid`, naming the column and row where there is one.
///
/// **Source**: MLflow, "Inference server specification".
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field, Schema};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("distance", DataType::Float64, false)]));
/// let rows = boathouse_serving::request::rows_from_json(br#"{"instances": [{"distance": 733}]}"#, &schema)?;
/// assert_eq!(rows.num_rows(), 1);
/// let error = boathouse_serving::request::rows_from_json(br#"{"instances": [{}]}"#, &schema).unwrap_err();
/// assert!(error.to_string().contains("`distance` is missing"));
/// # Ok::<(), boathouse_serving::ServingError>(())
/// ```
pub fn rows_from_json(body: &[u8], schema: &SchemaRef) -> Result<RecordBatch> {
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        // Valid JSON that is no object has no form at all; other failures have a place in the text.
        Err(source) => {
            return Err(match body.iter().find(|b| !b.is_ascii_whitespace()) {
                Some(b'{') | None => ServingError::RequestJson { source },
                Some(_) if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() => {
                    ServingError::RequestForm { found: Vec::new() }
                }
                Some(_) => ServingError::RequestJson { source },
            });
        }
    };
    if let Some(params) = envelope.params
        && !matches!(params.get().as_bytes().first(), Some(b'{' | b'n'))
    {
        return Err(ServingError::RequestShape { part: "params", expected: "an object", found: shape(params) });
    }
    let forms = [
        ("dataframe_split", envelope.dataframe_split),
        ("dataframe_records", envelope.dataframe_records),
        ("instances", envelope.instances),
        ("inputs", envelope.inputs),
    ];
    let mut given = forms.into_iter().filter_map(|(name, form)| form.map(|form| (name, form)));
    match (given.next(), given.next()) {
        (Some(("dataframe_split", split)), None) => from_split(split, schema),
        (Some(("dataframe_records", records)), None) => match shape(records) {
            "an array" => from_records("dataframe_records", &items(records)?, schema),
            found => Err(ServingError::RequestShape { part: "dataframe_records", expected: "an array of objects", found }),
        },
        (Some((part, rows)), None) => match (part, shape(rows)) {
            (_, "an array") => from_rows(part, &items(rows)?, schema),
            ("inputs", "an object") => from_columns(rows, schema),
            ("inputs", found) => {
                Err(ServingError::RequestShape { part: "inputs", expected: "an object of columns, or an array of rows", found })
            }
            (_, found) => Err(ServingError::RequestShape { part: "instances", expected: "an array of rows", found }),
        },
        (first, second) => {
            let found = first.into_iter().chain(second).chain(given).map(|(name, _)| name).collect();
            Err(ServingError::RequestForm { found })
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    dataframe_split: Option<&'a RawValue>,
    #[serde(borrow)]
    dataframe_records: Option<&'a RawValue>,
    #[serde(borrow)]
    instances: Option<&'a RawValue>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Split<'a> {
    columns: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    data: Option<Vec<&'a RawValue>>,
}

/// The fields of an object in the order in which they stand.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn shape(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn items(raw: &RawValue) -> Result<Vec<&RawValue>> {
    read(raw)
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T> {
    serde_json::from_str(raw.get()).map_err(|source| ServingError::RequestJson { source })
}

fn from_split(raw: &RawValue, schema: &SchemaRef) -> Result<RecordBatch> {
    let wrong = |expected, found| ServingError::RequestShape { part: "dataframe_split", expected, found };
    if shape(raw) != "an object" {
        return Err(wrong("an object with `columns` and `data`", shape(raw)));
    }
    let split: Split<'_> = read(raw)?;
    let data = split.data.ok_or_else(|| wrong("the key `data`, an array of rows", "none"))?;
    let names = split.columns.ok_or_else(|| wrong("the key `columns`, an array of names", "none"))?;
    let mut columns = Columns::new(schema, data.len())?;
    let places = places(&columns, &names)?;
    columns.require(&places, || names.iter().map(|n| n.to_string()).collect())?;
    for (row, raw) in data.iter().enumerate() {
        if shape(raw) != "an array" {
            return Err(ServingError::RequestShape {
                part: "dataframe_split.data",
                expected: "an array of arrays",
                found: shape(raw),
            });
        }
        let values: Vec<&RawValue> = items(raw)?;
        if values.len() != names.len() {
            let columns = names.iter().map(|n| n.to_string()).collect();
            return Err(ServingError::RowWidth { row, expected: names.len(), found: values.len(), columns });
        }
        for (place, value) in places.iter().zip(values) {
            if let Some(at) = place {
                columns.push(*at, row, Cell::read(value))?;
            }
        }
        columns.complete(row, Vec::new)?;
    }
    columns.finish(data.len())
}

/// Where each named column goes; `None` for one that is not wanted.
pub(super) fn places<S: AsRef<str>>(columns: &Columns, names: &[S]) -> Result<Vec<Option<usize>>> {
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let place = columns.position(name.as_ref());
        if place.is_some() && places.contains(&place) {
            return Err(ServingError::DuplicateColumn { column: name.as_ref().to_owned() });
        }
        places.push(place);
    }
    Ok(places)
}

/// Rows of objects, of arrays, or of single values: the first row decides.
fn from_rows(part: &'static str, rows: &[&RawValue], schema: &SchemaRef) -> Result<RecordBatch> {
    let Some(first) = rows.first() else { return Columns::new(schema, 0)?.finish(0) };
    match shape(first) {
        "an object" => from_records(part, rows, schema),
        "an array" => {
            let mut columns = Columns::new(schema, rows.len())?;
            for (row, raw) in rows.iter().enumerate() {
                if shape(raw) != "an array" {
                    return Err(ServingError::RequestShape { part, expected: "rows that are all arrays", found: shape(raw) });
                }
                let values = items(raw)?;
                if values.len() != columns.width() {
                    return Err(ServingError::RowWidth {
                        row,
                        expected: columns.width(),
                        found: values.len(),
                        columns: columns.names(),
                    });
                }
                for (at, value) in values.into_iter().enumerate() {
                    columns.push(at, row, Cell::read(value))?;
                }
            }
            columns.finish(rows.len())
        }
        _ => {
            let mut columns = Columns::new(schema, rows.len())?;
            if columns.width() != 1 {
                return Err(ServingError::RowWidth { row: 0, expected: columns.width(), found: 1, columns: columns.names() });
            }
            for (row, raw) in rows.iter().enumerate() {
                columns.push(0, row, Cell::read(raw))?;
            }
            columns.finish(rows.len())
        }
    }
}

fn from_records(part: &'static str, rows: &[&RawValue], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Columns::new(schema, rows.len())?;
    for (row, raw) in rows.iter().enumerate() {
        if shape(raw) != "an object" {
            return Err(ServingError::RequestShape { part, expected: "rows that are all objects", found: shape(raw) });
        }
        let Fields(fields) = read(raw)?;
        for (name, value) in &fields {
            if let Some(at) = columns.position(name) {
                if columns.is_filled(at, row) {
                    return Err(ServingError::DuplicateColumn { column: name.to_string() });
                }
                columns.push(at, row, Cell::read(value))?;
            }
        }
        columns.complete(row, || fields.iter().map(|(name, _)| name.to_string()).collect())?;
    }
    columns.finish(rows.len())
}

fn from_columns(raw: &RawValue, schema: &SchemaRef) -> Result<RecordBatch> {
    let Fields(fields) = read(raw)?;
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_ref()).collect();
    let mut columns = Columns::new(schema, 1)?;
    let places = places(&columns, &names)?;
    columns.require(&places, || names.iter().map(|n| (*n).to_owned()).collect())?;
    let mut first: Option<(&str, usize)> = None;
    for ((name, values), place) in fields.iter().zip(places) {
        let Some(at) = place else { continue };
        if shape(values) != "an array" {
            return Err(ServingError::RequestShape {
                part: "inputs",
                expected: "an array of values for each column",
                found: shape(values),
            });
        }
        let values = items(values)?;
        let (first, expected) = *first.get_or_insert((name.as_ref(), values.len()));
        if values.len() != expected {
            return Err(ServingError::ColumnLength {
                column: name.to_string(),
                found: values.len(),
                first: first.to_owned(),
                expected,
            });
        }
        for (row, value) in values.into_iter().enumerate() {
            columns.push(at, row, Cell::read(value))?;
        }
    }
    let rows = first.map_or(0, |(_, rows)| rows);
    for row in 0..rows {
        columns.complete(row, Vec::new)?;
    }
    columns.finish(rows)
}
