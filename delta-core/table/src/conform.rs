//! Arrays as the table wants them: by name, with the table's types, nulls where a column is missing.
//!
//! Used on both sides: data that is written is brought to the table's schema, and files, which may be
//! older than the schema or come from other writers, are brought to it when they are read.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Fields, TimeUnit};
use boathouse_delta_protocol::schema::is_variant;

use crate::variant;

/// How fields of a struct are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldMatch {
    /// By name: exactly, or else without regard to letter case.
    Name,
    /// By the field id of column mapping alone; by name where the table gives a field none.
    Id,
}

/// The key under which the Parquet reader keeps a field id.
pub(crate) const PARQUET_FIELD_ID: &str = "PARQUET:field_id";
/// The key under which the schema of the table keeps it.
const MAPPING_ID: &str = "delta.columnMapping.id";

/// The place of the field that is `wanted`.
pub(crate) fn find_field(fields: &Fields, wanted: &Field, by: FieldMatch) -> Option<usize> {
    if by == FieldMatch::Id
        && let Some(id) = wanted.metadata().get(MAPPING_ID)
    {
        return fields.iter().position(|f| f.metadata().get(PARQUET_FIELD_ID) == Some(id));
    }
    let name = wanted.name();
    fields
        .iter()
        .position(|f| f.name() == name)
        .or_else(|| fields.iter().position(|f| f.name().to_lowercase() == name.to_lowercase()))
}

/// Whether any of these fields has a field id, at the top.
pub(crate) fn has_field_ids(fields: &Fields) -> bool {
    fields.iter().any(|f| f.metadata().contains_key(PARQUET_FIELD_ID))
}

/// As [`conform`], to the type of a field, which can be one of variants.
pub(crate) fn conform_field(array: &ArrayRef, to: &Field, by: FieldMatch) -> Result<ArrayRef, ArrowError> {
    if is_variant(to) && variant::is_shredded(array.data_type()) {
        return conform(&variant::whole(array.as_struct())?, to.data_type(), by);
    }
    conform(array, to.data_type(), by)
}

/// Casts an array to a type of the table.
///
/// Fields of structs are matched by `by`; those that are missing become null, those that are too many are dropped.
///
/// **Errors**: a value does not fit the type, or a null stands where the table allows none.
pub(crate) fn conform(array: &ArrayRef, to: &DataType, by: FieldMatch) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), to) {
        (DataType::Null, _) | (_, DataType::Null) => Ok(new_null_array(to, array.len())),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let source = array.as_struct();
            let columns = fields.iter().map(|field| match find_field(source.fields(), field, by) {
                Some(at) => conform_field(source.column(at), field, by),
                None => Ok(new_null_array(field.data_type(), array.len())),
            });
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, source.nulls().cloned(), array.len())?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let source = array.as_list::<i32>();
            let values = conform_field(source.values(), element, by)?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), source.offsets().clone(), values, source.nulls().cloned())?))
        }
        (
            DataType::LargeList(element)
            | DataType::FixedSizeList(element, _)
            | DataType::ListView(element)
            | DataType::LargeListView(element),
            DataType::List(_),
        ) => {
            let list = strict(array, &DataType::List(Arc::clone(element)))?;
            conform(&list, to, by)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let source = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else { return strict(array, to) };
            let [key, value] = fields.as_ref() else { return strict(array, to) };
            let columns = vec![conform_field(source.keys(), key, by)?, conform_field(source.values(), value, by)?];
            let pairs = StructArray::try_new(fields.clone(), columns, None)?;
            let nulls = source.nulls().cloned();
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), source.offsets().clone(), pairs, nulls, *sorted)?))
        }
        // Files keep instants as UTC, whether their type says so or not: the numbers are the same.
        (DataType::Timestamp(_, from), DataType::Timestamp(unit, zone)) if from.is_some() != zone.is_some() => {
            let here = strict(array, &DataType::Timestamp(*unit, from.clone()))?;
            match unit {
                TimeUnit::Microsecond => {
                    Ok(Arc::new(here.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(zone.clone())))
                }
                // No type of the table has another unit.
                _ => strict(&here, to),
            }
        }
        _ => strict(array, to),
    }
}

/// Gives an array a type that differs in the names of nested fields alone.
pub(crate) fn relabel(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match to {
        DataType::Struct(fields) => {
            let source = array.as_struct();
            let columns = source.columns().iter().zip(fields).map(|(column, field)| relabel(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, source.nulls().cloned(), array.len())?))
        }
        DataType::List(element) => {
            let source = array.as_list::<i32>();
            let values = relabel(source.values(), element.data_type())?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), source.offsets().clone(), values, source.nulls().cloned())?))
        }
        DataType::Map(entries, sorted) => {
            let source = array.as_map();
            let pairs: ArrayRef = Arc::new(source.entries().clone());
            let pairs = relabel(&pairs, entries.data_type())?.as_struct().clone();
            let nulls = source.nulls().cloned();
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), source.offsets().clone(), pairs, nulls, *sorted)?))
        }
        _ => strict(array, to),
    }
}

/// A cast that fails where a value does not fit, instead of making it null.
fn strict(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow_array::{Int32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_struct_with_other_order_case_and_missing_fields_gets_the_fields_of_the_table() {
        let source: ArrayRef = Arc::new(
            StructArray::try_from(vec![
                ("B", Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef),
                ("a", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
            ])
            .unwrap(),
        );
        let to = DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
            Field::new("c", DataType::Boolean, true),
        ]));
        let out = conform(&source, &to, FieldMatch::Name).unwrap();
        assert_eq!(out.data_type(), &to);
        assert_eq!(out.as_struct().column(0).as_ref(), &Int64Array::from(vec![1, 2]));
        assert_eq!(out.as_struct().column(1).as_ref(), &StringArray::from(vec!["x", "y"]));
        assert_eq!(out.as_struct().column(2).null_count(), 2);
    }

    #[test]
    fn a_list_with_another_element_name_and_type_is_cast_inside() {
        let source: ArrayRef = Arc::new(ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            None,
        ]));
        let to = DataType::List(Arc::new(Field::new("element", DataType::Int64, true)));
        let out = conform(&source, &to, FieldMatch::Name).unwrap();
        assert_eq!(out.data_type(), &to);
        assert_eq!(out.as_list::<i32>().values().as_ref(), &Int64Array::from(vec![Some(1), None]));
        assert!(out.is_null(1));
    }

    #[test]
    fn an_instant_without_a_zone_is_taken_as_utc() {
        let nanos: ArrayRef = Arc::new(arrow_array::TimestampNanosecondArray::from(vec![Some(1_500), None]));
        let to = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let out = conform(&nanos, &to, FieldMatch::Name).unwrap();
        assert_eq!(out.data_type(), &to);
        assert_eq!(out.as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(), [Some(1), None]);
        let back = conform(&out, &DataType::Timestamp(TimeUnit::Microsecond, None), FieldMatch::Name).unwrap();
        assert_eq!(back.as_primitive::<TimestampMicrosecondType>().value(0), 1);
    }

    #[test]
    fn with_field_ids_a_name_alone_finds_nothing() {
        let id = |key: &str, id: &str| std::collections::HashMap::from([(key.to_owned(), id.to_owned())]);
        let wanted = Field::new("a", DataType::Int32, true).with_metadata(id(MAPPING_ID, "2"));
        let field = |name: &str, at: &str| Field::new(name, DataType::Int32, true).with_metadata(id(PARQUET_FIELD_ID, at));
        let swapped = Fields::from(vec![field("a", "1"), field("b", "2")]);
        assert_eq!(find_field(&swapped, &wanted, FieldMatch::Id), Some(1));
        assert_eq!(find_field(&swapped, &wanted, FieldMatch::Name), Some(0));
        let absent = Fields::from(vec![field("a", "1")]);
        assert_eq!(find_field(&absent, &wanted, FieldMatch::Id), None);
    }

    #[test]
    fn a_null_in_a_nested_required_field_is_an_error() {
        let source: ArrayRef =
            Arc::new(StructArray::try_from(vec![("a", Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef)]).unwrap());
        let to = DataType::Struct(Fields::from(vec![Field::new("a", DataType::Int32, false)]));
        assert!(conform(&source, &to, FieldMatch::Name).is_err());
    }
}
