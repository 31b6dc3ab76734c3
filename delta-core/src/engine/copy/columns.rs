//! What the columns of files become.
//!
//! | | text in CSV | number, text, … in JSON | Parquet |
//! | --- | --- | --- | --- |
//! | a column of the table | cast to its type, and refused when that changes a value | the same | the same |
//! | another column | text, or what all files say | what all files say | what all files say |
//!
//! Lists, maps and structs go to the writer as they are: it goes by the names within them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::format::CopyFormat;
use crate::engine::cast::more_digits;

/// A type that holds the values of two; nothing when there is none.
pub(super) fn merged(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64, List, Map, Null, Struct};
    const WHOLE: [DataType; 4] = [Int8, Int16, Int32, Int64];
    let whole = |t: &DataType| WHOLE.iter().position(|known| known == t);
    Some(match (a, b) {
        (a, b) if a == b => a.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (Float32, Float64) | (Float64, Float32) => Float64,
        (a, float @ (Float32 | Float64)) if whole(a).is_some() => float_of(a, float),
        (float @ (Float32 | Float64), b) if whole(b).is_some() => float_of(b, float),
        (Struct(a), Struct(b)) => Struct(merged_fields(a, b)?),
        (List(a), List(b)) => List(merged_field(a, b)?),
        (Map(a, sorted), Map(b, _)) => Map(merged_field(a, b)?, *sorted),
        (a, b) => WHOLE[whole(a)?.max(whole(b)?)].clone(),
    })
}

fn float_of(whole: &DataType, float: &DataType) -> DataType {
    match whole {
        DataType::Int8 | DataType::Int16 => float.clone(),
        _ => DataType::Float64,
    }
}

fn merged_field(a: &FieldRef, b: &FieldRef) -> Option<FieldRef> {
    let nullable = a.is_nullable() || b.is_nullable();
    Some(Arc::new(a.as_ref().clone().with_data_type(merged(a.data_type(), b.data_type())?).with_nullable(nullable)))
}

fn merged_fields(a: &Fields, b: &Fields) -> Option<Fields> {
    let mut fields: Vec<FieldRef> = Vec::with_capacity(a.len().max(b.len()));
    for field in a {
        fields.push(match b.iter().find(|other| other.name() == field.name()) {
            Some(other) => merged_field(field, other)?,
            None => Arc::new(field.as_ref().clone().with_nullable(true)),
        });
    }
    let new = b.iter().filter(|field| a.iter().all(|known| known.name() != field.name()));
    fields.extend(new.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
    Some(fields.into())
}

/// The type that tables have for it: text where all was null, microseconds, no layouts of the engine.
pub(super) fn of_table(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(of_table(field.data_type())));
    match data_type {
        DataType::Null | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, values) => of_table(values),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        DataType::Float16 => DataType::Float32,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::List(inner) | DataType::LargeList(inner) | DataType::ListView(inner) => DataType::List(field(inner)),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        other => other.clone(),
    }
}

/// How a column is read whose values become `target`.
pub(super) fn read_as(format: &CopyFormat, found: &DataType, target: &DataType) -> DataType {
    match format {
        // The reader fills in what a struct lacks.
        CopyFormat::Parquet if found.is_nested() => target.clone(),
        CopyFormat::Parquet => found.clone(),
        CopyFormat::Csv(_) => DataType::Utf8,
        CopyFormat::Json(_) => match (found, target) {
            (DataType::Null, _) => target.clone(),
            (found, target) if found.is_nested() || target.is_nested() => target.clone(),
            // Digits beyond those of the column are read too, so that they are missed.
            (DataType::Int64 | DataType::Float64, DataType::Decimal128(_, scale)) => more_digits(*scale),
            _ => found.clone(),
        },
    }
}

/// Whether JSON of the type that was found can be read as that of the table, and nothing is lost or passed over.
fn reads_as(found: &DataType, table: &DataType) -> bool {
    let fields = |found: &Fields, table: &Fields| {
        let fits =
            |field: &FieldRef| table.iter().any(|t| t.name() == field.name() && reads_as(field.data_type(), t.data_type()));
        found.iter().all(fits)
    };
    match (found, table) {
        (DataType::Null, _) => true,
        (DataType::Struct(found), DataType::Struct(table)) => fields(found, table),
        (DataType::Struct(found), DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                pair[0].data_type() == &DataType::Utf8 && found.iter().all(|f| reads_as(f.data_type(), pair[1].data_type()))
            }
            _ => false,
        },
        (DataType::List(found), DataType::List(table)) => reads_as(found.data_type(), table.data_type()),
        (DataType::Int64, table) => table.is_integer() || table.is_floating(),
        (DataType::Float64, table) => table.is_floating(),
        (DataType::Utf8, table) => matches!(table, DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..)),
        (found, table) => found == table,
    }
}

/// The columns of the rows that files become: those of the table first, in its order.
#[derive(Debug, Default)]
pub(super) struct Union {
    /// By their name in lower case: the column, whether a type was found for it, and the file that it came from first.
    columns: Vec<(Field, usize)>,
    places: HashMap<String, usize>,
}

/// Two files that disagree.
#[derive(Debug)]
pub(super) struct Disagreement {
    pub(super) column: String,
    pub(super) types: Box<(DataType, DataType)>,
    /// The file that said the first of them.
    pub(super) first: usize,
}

impl Union {
    /// Takes the columns of a file.
    pub(super) fn take(&mut self, nth: usize, schema: &Schema) -> Result<(), Disagreement> {
        for field in schema.fields() {
            let found = normal(field.data_type());
            match self.places.get(&field.name().to_lowercase()) {
                None => {
                    self.places.insert(field.name().to_lowercase(), self.columns.len());
                    self.columns.push((Field::new(field.name(), found, true), nth));
                }
                Some(at) => {
                    let (known, first) = &mut self.columns[*at];
                    match merged(known.data_type(), &found) {
                        Some(both) => known.set_data_type(both),
                        None => {
                            let types = Box::new((known.data_type().clone(), found));
                            return Err(Disagreement { column: known.name().clone(), types, first: *first });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What the rows have, when they go to this table as they are.
    pub(super) fn for_table(&self, format: &CopyFormat, table: &Schema) -> SchemaRef {
        let mut fields: Vec<(usize, Field)> = Vec::with_capacity(self.columns.len());
        for (found, _) in &self.columns {
            let at = table.fields().iter().position(|field| field.name().eq_ignore_ascii_case(found.name()));
            let Some(at) = at else {
                fields.push((usize::MAX, found.clone().with_data_type(of_table(found.data_type()))));
                continue;
            };
            let known = table.field(at);
            let nested = found.data_type().is_nested() || known.data_type().is_nested();
            let takes = match format {
                CopyFormat::Json(_) => reads_as(found.data_type(), known.data_type()),
                _ => false,
            };
            let data_type = if nested && !takes { of_table(found.data_type()) } else { known.data_type().clone() };
            fields.push((at, Field::new(known.name(), data_type, true)));
        }
        fields.sort_by_key(|(at, _)| *at);
        Arc::new(Schema::new(fields.into_iter().map(|(_, field)| field).collect::<Vec<_>>()))
    }

    /// What the rows have for a query over them.
    pub(super) fn for_query(&self) -> SchemaRef {
        let columns = self.columns.iter().map(|(found, _)| found.clone().with_data_type(of_table(found.data_type())));
        Arc::new(Schema::new(columns.collect::<Vec<_>>()))
    }
}

/// One layout for each type, so that files agree.
fn normal(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Null,
        DataType::Struct(fields) => {
            let field = |field: &FieldRef| field.as_ref().clone().with_data_type(normal(field.data_type()));
            DataType::Struct(fields.iter().map(field).collect())
        }
        DataType::List(inner) => DataType::List(Arc::new(inner.as_ref().clone().with_data_type(normal(inner.data_type())))),
        other => of_table(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::format::JsonFiles;
    use super::*;

    fn of(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_become_wider_and_structs_get_all_fields() {
        assert_eq!(merged(&DataType::Int16, &DataType::Int64), Some(DataType::Int64));
        assert_eq!(merged(&DataType::Int64, &DataType::Float32), Some(DataType::Float64));
        assert_eq!(merged(&DataType::Null, &DataType::Date32), Some(DataType::Date32));
        assert_eq!(merged(&DataType::Int64, &DataType::Utf8), None);
        let structs =
            |names: &[&str]| DataType::Struct(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect());
        assert_eq!(merged(&structs(&["a", "b"]), &structs(&["c", "b"])), Some(structs(&["a", "b", "c"])));
    }

    #[test]
    fn columns_of_the_table_come_first_with_its_names_and_types() {
        let mut union = Union::default();
        union.take(0, &of(&[("extra", DataType::Null), ("ID", DataType::Int64)])).unwrap();
        union.take(1, &of(&[("id", DataType::Float64), ("extra", DataType::Boolean)])).unwrap();
        let table = of(&[("name", DataType::Utf8), ("id", DataType::Int32)]);
        let json = CopyFormat::Json(JsonFiles::default());
        assert_eq!(*union.for_table(&json, &table), of(&[("id", DataType::Int32), ("extra", DataType::Boolean)]));
        let disagreement = union.take(2, &of(&[("extra", DataType::Utf8)])).unwrap_err();
        assert_eq!((disagreement.column.as_str(), disagreement.first), ("extra", 0));
    }

    #[test]
    fn nested_json_is_read_as_the_table_has_it_unless_something_would_be_lost() {
        let point = |inner: DataType| DataType::Struct(vec![Field::new("x", inner, true)].into());
        assert!(reads_as(&point(DataType::Int64), &point(DataType::Int32)));
        assert!(!reads_as(&point(DataType::Float64), &point(DataType::Int32)));
        assert!(!reads_as(&DataType::Struct(vec![Field::new("y", DataType::Int64, true)].into()), &point(DataType::Int64)));
    }
}
