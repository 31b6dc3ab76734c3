//! Typed columns take the type of the schema where nothing is lost, and say which rows do not fit.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, StructArray, UInt64Array, new_null_array};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field};

use crate::schema::normalize;

/// A column in its new type.
pub(super) struct Adapted {
    pub(super) array: ArrayRef,
    /// Rows whose value, or a part of it, is not in `array`; ascending.
    pub(super) misfits: Vec<usize>,
}

/// Casts value by value: a value fits when casting it back gives the same value.
///
/// Text takes every value. Struct fields are matched by name; fields that `to` does not have are misfits
/// where they hold a value.
pub(super) fn adapt(array: &ArrayRef, to: &DataType) -> Result<Adapted, ArrowError> {
    let from = array.data_type();
    if from == to {
        return Ok(Adapted { array: Arc::clone(array), misfits: Vec::new() });
    }
    match (from, to) {
        (DataType::Struct(_), DataType::Struct(wanted)) => {
            let source = array.as_struct();
            let mut misfits = vec![false; array.len()];
            let mut children = Vec::with_capacity(wanted.len());
            for field in wanted {
                match source.column_by_name(field.name()) {
                    None => children.push(new_null_array(field.data_type(), array.len())),
                    Some(child) => {
                        let adapted = adapt(child, field.data_type())?;
                        adapted.misfits.iter().for_each(|&row| misfits[row] |= array.is_valid(row));
                        children.push(adapted.array);
                    }
                }
            }
            for (child, name) in source.columns().iter().zip(source.column_names()) {
                if !wanted.iter().any(|field| field.name() == name) {
                    (0..array.len()).for_each(|row| misfits[row] |= array.is_valid(row) && child.is_valid(row));
                }
            }
            let array = StructArray::try_new_with_length(wanted.clone(), children, source.nulls().cloned(), source.len())?;
            Ok(Adapted { array: Arc::new(array), misfits: rows(&misfits) })
        }
        (DataType::LargeList(item) | DataType::FixedSizeList(item, _), DataType::List(_)) => {
            adapt(&cast(array, &DataType::List(Arc::clone(item)))?, to)
        }
        (DataType::List(_), DataType::List(wanted)) => {
            let source = array.as_list::<i32>();
            let items = adapt(source.values(), wanted.data_type())?;
            let mut misfit_items = items.misfits.iter().peekable();
            let mut misfits = Vec::new();
            for (row, ends) in source.offsets().windows(2).enumerate() {
                let (start, end) = (usize::try_from(ends[0]).unwrap_or(0), usize::try_from(ends[1]).unwrap_or(0));
                let mut hit = false;
                while let Some(item) = misfit_items.next_if(|item| **item < end) {
                    hit |= *item >= start;
                }
                if hit && source.is_valid(row) {
                    misfits.push(row);
                }
            }
            let array = ListArray::try_new(Arc::clone(wanted), source.offsets().clone(), items.array, source.nulls().cloned())?;
            Ok(Adapted { array: Arc::new(array), misfits })
        }
        (DataType::Map(_, _), DataType::Map(_, _)) if &normalize(from) == to => {
            Ok(Adapted { array: cast(array, to)?, misfits: Vec::new() })
        }
        (DataType::Dictionary(_, values), _) => adapt(&cast(array, values)?, to),
        (DataType::RunEndEncoded(_, values), _) => adapt(&cast(array, values.data_type())?, to),
        // An instant and a local time are different things, even where the digits agree.
        (DataType::Timestamp(_, a), DataType::Timestamp(_, b)) if a.is_some() != b.is_some() => none_fits(array, to),
        _ if from.is_nested() || to.is_nested() || !can_cast_types(from, to) || !can_cast_types(to, from) => none_fits(array, to),
        _ => leaf(array, to),
    }
}

fn none_fits(array: &ArrayRef, to: &DataType) -> Result<Adapted, ArrowError> {
    let misfits = (0..array.len()).filter(|&row| array.is_valid(row)).collect();
    Ok(Adapted { array: new_null_array(to, array.len()), misfits })
}

fn leaf(array: &ArrayRef, wanted: &DataType) -> Result<Adapted, ArrowError> {
    let array = &cast(array, &offset_zone(array.data_type()))?;
    let to = &offset_zone(wanted);
    let adapted = cast_and_back(array, to)?;
    Ok(Adapted { array: cast(&adapted.array, wanted)?, misfits: adapted.misfits })
}

/// The type with instants at offset zero. Casting and printing parse the zone, and know offsets only; which
/// instant a value means does not depend on it.
fn offset_zone(data_type: &DataType) -> DataType {
    let field = |field: &Field| field.clone().with_data_type(offset_zone(field.data_type()));
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|inner| field(inner)).collect()),
        DataType::List(item) => DataType::List(Arc::new(field(item))),
        other => other.clone(),
    }
}

fn cast_and_back(array: &ArrayRef, to: &DataType) -> Result<Adapted, ArrowError> {
    let there = cast(array, to)?;
    let lost: Vec<bool> = if to == &DataType::Utf8 {
        (0..array.len()).map(|row| array.is_valid(row) && there.is_null(row)).collect()
    } else {
        let back = cast(&there, array.data_type())?;
        let distinct = arrow_ord::cmp::distinct(array, &back)?;
        (0..array.len()).map(|row| distinct.value(row)).collect()
    };
    let misfits = rows(&lost);
    if misfits.is_empty() {
        return Ok(Adapted { array: there, misfits });
    }
    // A misfit that has a nearby value (2.5 → 2) must not show it.
    let kept = UInt64Array::from_iter(lost.iter().zip(0_u64..).map(|(lost, row)| (!lost).then_some(row)));
    Ok(Adapted { array: arrow_select::take::take(&there, &kept, None)?, misfits })
}

fn rows(flags: &[bool]) -> Vec<usize> {
    flags.iter().enumerate().filter(|(_, flag)| **flag).map(|(row, _)| row).collect()
}

/// A cast that gives null where a value has no counterpart.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() })
}

/// The values of some rows as JSON texts.
///
/// Types that have no JSON form come as quoted text.
pub(super) fn to_json(array: &ArrayRef, wanted: &[usize]) -> Result<Vec<String>, ArrowError> {
    let picked = UInt64Array::from_iter_values(wanted.iter().map(|&row| row as u64));
    let picked = arrow_select::take::take(array, &picked, None)?;
    let picked = cast(&picked, &offset_zone(picked.data_type()))?;
    let field = Field::new("v", picked.data_type().clone(), true);
    let batch = arrow_array::RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(vec![field])), vec![Arc::clone(&picked)])?;
    let mut lines = Vec::new();
    let written = arrow_json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow_json::writer::LineDelimited>(&mut lines)
        .write(&batch);
    if written.is_ok() {
        let text = String::from_utf8_lossy(&lines);
        let values: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("{\"v\":")?.strip_suffix('}').map(str::to_owned)).collect();
        if values.len() == wanted.len() {
            return Ok(values);
        }
    }
    let options = arrow_cast::display::FormatOptions::default();
    let format = arrow_cast::display::ArrayFormatter::try_new(&picked, &options)?;
    Ok((0..picked.len())
        .map(|row| {
            let mut quoted = String::new();
            super::json::quote_into(&mut quoted, &format.value(row).to_string());
            quoted
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use arrow_array::types::{Float64Type, Int32Type, Int64Type};
    use arrow_array::{DictionaryArray, Float64Array, Int64Array, LargeStringArray, TimestampNanosecondArray};
    use arrow_schema::{Fields, TimeUnit};

    use super::*;

    #[test]
    fn numbers_fit_where_nothing_is_lost() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(2.5), None, Some(1e300)]));
        let adapted = adapt(&floats, &DataType::Int64).unwrap();
        assert_eq!(adapted.misfits, [1, 3]);
        let values: Vec<_> = adapted.array.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(values, [Some(1), None, None, None]);
        assert_eq!(to_json(&floats, &adapted.misfits).unwrap(), ["2.5", "1.0e300"]);

        let ints: ArrayRef = Arc::new(Int64Array::from(vec![(1 << 53) + 1, 7]));
        let adapted = adapt(&ints, &DataType::Float64).unwrap();
        assert_eq!(adapted.misfits, [0]);
        assert_eq!(adapted.array.as_primitive::<Float64Type>().value(1), 7.0);
    }

    #[test]
    fn encodings_are_unpacked_and_fine_instants_are_misfits() {
        let text: ArrayRef = Arc::new(LargeStringArray::from(vec!["a"]));
        assert!(adapt(&text, &DataType::Utf8).unwrap().misfits.is_empty());
        let packed: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b", "a"]));
        assert_eq!(adapt(&packed, &DataType::Utf8).unwrap().array.as_string::<i32>().value(2), "a");
        let fine: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]));
        assert_eq!(adapt(&fine, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap().misfits, [1]);
    }

    #[test]
    fn instants_keep_their_meaning_in_every_zone() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let berlin: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]).with_timezone("Europe/Berlin"));
        let adapted = adapt(&berlin, &utc).unwrap();
        assert_eq!((adapted.array.data_type(), adapted.misfits.as_slice()), (&utc, &[1][..]));
        assert_eq!(to_json(&berlin, &[1]).unwrap(), ["\"1970-01-01T00:00:00.000001001Z\""]);
        let text: ArrayRef = Arc::new(LargeStringArray::from(vec!["1970-01-01T00:00:01Z", "noon"]));
        assert_eq!(adapt(&text, &utc).unwrap().misfits, [1]);
        let local: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![0]));
        assert_eq!(adapt(&local, &utc).unwrap().misfits, [0]);
        assert_eq!(
            adapt(&adapted.array, &DataType::Utf8).unwrap().array.as_string::<i32>().value(0),
            "1970-01-01T00:00:00.000001Z"
        );
    }

    #[test]
    fn a_struct_is_matched_by_name() {
        let fields = Fields::from(vec![Field::new("a", DataType::Int64, false), Field::new("x", DataType::Int64, true)]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(Int64Array::from(vec![None, Some(9)]))];
        let source: ArrayRef = Arc::new(StructArray::new(fields, columns, None));
        let wanted = Fields::from(vec![Field::new("b", DataType::Utf8, true), Field::new("a", DataType::Int64, true)]);
        let adapted = adapt(&source, &DataType::Struct(wanted)).unwrap();
        assert_eq!(adapted.misfits, [1]);
        assert_eq!(adapted.array.as_struct().column(1).as_primitive::<Int64Type>().value(1), 2);
        assert_eq!(to_json(&source, &adapted.misfits).unwrap(), [r#"{"a":2,"x":9}"#]);
        assert_eq!(adapt(&source, &DataType::Int64).unwrap().misfits, [0, 1]);
    }

    #[test]
    fn a_list_names_the_row_of_a_misfit_item() {
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(1.0)]),
            None,
            Some(vec![]),
            Some(vec![Some(1.0), Some(1.5)]),
        ]));
        let to = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let adapted = adapt(&list, &to).unwrap();
        assert_eq!(adapted.misfits, [3]);
        assert_eq!(adapted.array.data_type(), &to);
    }
}
