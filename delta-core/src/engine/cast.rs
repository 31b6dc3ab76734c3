//! Values as a column of the table wants them.

use std::sync::Arc;

use boathouse_delta_protocol::schema::is_variant;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray};
use datafusion::arrow::array::{make_array, new_null_array};
use datafusion::arrow::compute::kernels::cmp::distinct;
use datafusion::arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use datafusion::arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;

use super::error::{Attempt, EngineError, Result};

/// Casts values to the type of a column. One that comes from [`loose`] allows nulls at every depth: the writer looks for them, and names them.
///
/// A cast that changes a value is an error. Some may: a number becomes the nearest `float`, which is what floats are, a time
/// keeps its microseconds, and text becomes what it says, as long as a decimal has room for all its digits.
///
/// Fields of structs go by their names, without regard to letter case. Those that are missing become null. A struct that has no name in
/// common with the column, and as many fields, goes by their places.
pub(crate) fn to_column(values: ArrayRef, field: &Field, attempt: &Attempt) -> Result<ArrayRef> {
    to_field(values, field, field.name(), attempt)
}

/// The same for a field within a column, by its path.
fn to_field(values: ArrayRef, field: &Field, path: &str, attempt: &Attempt) -> Result<ArrayRef> {
    let (from, to) = (values.data_type(), field.data_type());
    if from == to {
        return Ok(values);
    }
    if *from == DataType::Null {
        return Ok(new_null_array(to, values.len()));
    }
    match (from, to) {
        (DataType::Dictionary(_, inner), to) if to.is_nested() => {
            let plain = cast_with_options(&values, inner, &STRICT).map_err(|source| attempt.compute(source))?;
            to_field(plain, field, path, attempt)
        }
        (DataType::Struct(_), DataType::Struct(fields)) if !is_variant(field) => to_struct(&values, fields, path, attempt),
        (DataType::List(_), DataType::List(element)) => {
            let list = values.as_list::<i32>();
            let inner = to_field(Arc::clone(list.values()), element, &format!("{path}.element"), attempt)?;
            let list = ListArray::try_new(Arc::clone(element), list.offsets().clone(), inner, list.nulls().cloned());
            Ok(Arc::new(list.map_err(|source| attempt.compute(source))?))
        }
        (
            DataType::LargeList(element)
            | DataType::FixedSizeList(element, _)
            | DataType::ListView(element)
            | DataType::LargeListView(element),
            DataType::List(_),
        ) => {
            let plain = DataType::List(Arc::clone(element));
            let list = cast_with_options(&values, &plain, &STRICT).map_err(|source| attempt.compute(source))?;
            to_field(list, field, path, attempt)
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = values.as_map();
            let DataType::Struct(pair) = entries.data_type() else { return to_leaf(values, field, path, attempt) };
            let [key, value] = pair.as_ref() else { return to_leaf(values, field, path, attempt) };
            let keys = to_field(Arc::clone(map.keys()), key, &format!("{path}.key"), attempt)?;
            let inner = to_field(Arc::clone(map.values()), value, &format!("{path}.value"), attempt)?;
            let pairs = StructArray::try_new(pair.clone(), vec![keys, inner], None);
            let map = pairs.and_then(|pairs| {
                MapArray::try_new(Arc::clone(entries), map.offsets().clone(), pairs, map.nulls().cloned(), *sorted)
            });
            Ok(Arc::new(map.map_err(|source| attempt.compute(source))?))
        }
        _ => to_leaf(values, field, path, attempt),
    }
}

fn to_struct(values: &ArrayRef, fields: &Fields, path: &str, attempt: &Attempt) -> Result<ArrayRef> {
    let row = values.as_struct();
    let namesake = |field: &FieldRef| {
        let exact = row.fields().iter().position(|found| found.name() == field.name());
        exact.or_else(|| row.fields().iter().position(|found| found.name().to_lowercase() == field.name().to_lowercase()))
    };
    let mut places: Vec<Option<usize>> = fields.iter().map(namesake).collect();
    if places.iter().all(Option::is_none) && row.fields().len() == fields.len() {
        places = (0..fields.len()).map(Some).collect();
    }
    if let Some(extra) = (0..row.fields().len()).find(|at| !places.contains(&Some(*at))) {
        let available = fields.iter().map(|field| format!("{path}.{}", field.name())).collect::<Vec<_>>().join(", ");
        let (attempted, url, column) = (attempt.attempted, attempt.url.clone(), format!("{path}.{}", row.fields()[extra].name()));
        return Err(EngineError::UnknownColumn { attempted, url, column, available });
    }
    let column = |(field, place): (&FieldRef, &Option<usize>)| match place {
        Some(at) => to_field(Arc::clone(row.column(*at)), field, &format!("{path}.{}", field.name()), attempt),
        None => Ok(new_null_array(field.data_type(), row.len())),
    };
    let columns = fields.iter().zip(&places).map(column).collect::<Result<Vec<_>>>()?;
    let row = StructArray::try_new_with_length(fields.clone(), columns, row.nulls().cloned(), row.len());
    Ok(Arc::new(row.map_err(|source| attempt.compute(source))?))
}

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FORMAT };
const FORMAT: datafusion::arrow::util::display::FormatOptions<'static> = datafusion::arrow::util::display::FormatOptions::new();

fn to_leaf(values: ArrayRef, field: &Field, path: &str, attempt: &Attempt) -> Result<ArrayRef> {
    let (from, to) = (values.data_type(), field.data_type());
    let (attempted, url, column) = (attempt.attempted, attempt.url.clone(), path.to_owned());
    let (boxed_from, boxed_to) = (Box::new(from.clone()), Box::new(to.clone()));
    if !can_cast_types(from, to) {
        return Err(EngineError::NoCast { attempted, url, column, from: boxed_from, to: boxed_to });
    }
    let digits = match to {
        // Text would be rounded on the way.
        DataType::Decimal128(_, scale) if is_text(from) => cast_with_options(&values, &more_digits(*scale), &STRICT).ok(),
        _ => None,
    };
    let read = digits.as_ref().unwrap_or(&values);
    let cast = match cast_with_options(read, to, &STRICT) {
        Ok(cast) => cast,
        Err(source) => return Err(EngineError::Cast { attempted, url, column, from: boxed_from, to: boxed_to, source }),
    };
    if may_lose(read.data_type(), to) {
        let lenient = CastOptions { safe: true, ..CastOptions::default() };
        let back = cast_with_options(&cast, read.data_type(), &lenient).map_err(|source| attempt.compute(source))?;
        let changed = distinct(read, &back).map_err(|source| attempt.compute(source))?;
        if let Some(row) = changed.iter().position(|c| c == Some(true)) {
            let value = array_value_to_string(&values, row).map_err(|source| attempt.compute(source))?;
            return Err(EngineError::Lossy { attempted, url, column, value, from: boxed_from, to: boxed_to });
        }
    }
    Ok(cast)
}

/// A decimal with more digits behind the point than one of this scale, so that they can be missed.
pub(crate) fn more_digits(scale: i8) -> DataType {
    DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale.saturating_add(12))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn may_lose(from: &DataType, to: &DataType) -> bool {
    let text = is_text;
    let layout =
        |t: &DataType| matches!(t, DataType::Dictionary(..) | DataType::BinaryView | DataType::LargeBinary | DataType::Binary);
    if text(from) || text(to) || layout(from) || from.is_nested() || to.is_nested() {
        return false;
    }
    // A whole number that does not fit is an error by itself. The engine's own times have nanoseconds, and no column has.
    let whole = from.is_integer() && to.is_integer();
    let times = matches!((from, to), (DataType::Timestamp(..), DataType::Timestamp(..)));
    !(whole || times || matches!((from, to), (DataType::Float64, DataType::Float32)))
}

/// A field like this one that allows nulls.
pub(crate) fn nullable(field: &Field) -> Arc<Field> {
    Arc::new(field.clone().with_nullable(true))
}

/// A field like this one that allows nulls, at every depth where nulls can be.
pub(crate) fn loose(field: &Field) -> Arc<Field> {
    Arc::new(loosened(field).with_nullable(true))
}

/// A field like this one that allows nulls within it. The engine can compute a struct, and cannot promise what is in it.
fn loosened(field: &Field) -> Field {
    match loose_type(field.data_type()) {
        Some(data_type) if !is_variant(field) => field.clone().with_data_type(data_type),
        _ => field.clone(),
    }
}

/// Nothing when the type allows nulls already.
fn loose_type(data_type: &DataType) -> Option<DataType> {
    let within = |field: &FieldRef| Some(loose(field)).filter(|loose| loose != field);
    match data_type {
        DataType::Struct(fields) => {
            let loose: Fields = fields.iter().map(|field| loose(field)).collect();
            (loose != *fields).then_some(DataType::Struct(loose))
        }
        DataType::List(element) => within(element).map(DataType::List),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { return None };
            let [key, value] = pair.as_ref() else { return None };
            let loose = Fields::from(vec![Arc::new(loosened(key)), self::loose(value)]);
            let entry = || Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(loose.clone())));
            (loose != *pair).then(|| DataType::Map(entry(), *sorted))
        }
        _ => None,
    }
}

/// Columns that allow nulls within them.
pub(crate) fn loose_schema(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|field| loose_type(field.data_type()).is_none()) {
        return SchemaRef::clone(schema);
    }
    Arc::new(Schema::new(schema.fields().iter().map(|field| loosened(field)).collect::<Vec<_>>()))
}

/// The same rows as columns of [`loose_schema`].
pub(crate) fn loose_rows(rows: RecordBatch, attempt: &Attempt) -> Result<RecordBatch> {
    let (old, schema) = (rows.schema(), loose_schema(rows.schema_ref()));
    if Arc::ptr_eq(&old, &schema) {
        return Ok(rows);
    }
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| relabelled(column, field.data_type(), attempt)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|source| attempt.compute(source))
}

/// An array with a type that differs in where nulls may be alone.
fn relabelled(array: &ArrayRef, to: &DataType, attempt: &Attempt) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let children = |to: &DataType| match to {
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type().clone()).collect::<Vec<_>>(),
        DataType::List(inner) | DataType::Map(inner, _) => vec![inner.data_type().clone()],
        _ => Vec::new(),
    };
    let data = array.to_data();
    let inner = data.child_data().iter().map(|child| make_array(child.clone())).zip(children(to));
    let inner = inner.map(|(child, to)| Ok(relabelled(&child, &to, attempt)?.to_data())).collect::<Result<Vec<_>>>()?;
    let data = data.into_builder().data_type(to.clone()).child_data(inner).build();
    Ok(make_array(data.map_err(|source| attempt.compute(source))?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use datafusion::arrow::array::{Decimal128Array, Float64Array, Int64Array, StringArray};

    use super::*;

    fn cast(values: impl Array + 'static, to: DataType) -> Result<ArrayRef> {
        to_column(Arc::new(values), &Field::new("x", to, true), &Attempt::new("update", "memory:///t"))
    }

    #[test]
    fn a_value_that_would_change_is_refused_with_the_column_and_the_value() {
        let error = cast(Float64Array::from(vec![1.0, 1.5]), DataType::Int32).unwrap_err();
        assert!(matches!(&error, EngineError::Lossy { column, value, .. } if column == "x" && value == "1.5"), "{error}");
        let error = cast(Int64Array::from(vec![1 << 40]), DataType::Int32).unwrap_err();
        assert!(matches!(error, EngineError::Cast { .. }), "{error}");
        let cents = Decimal128Array::from(vec![1005]).with_precision_and_scale(10, 3).unwrap();
        assert!(matches!(cast(cents, DataType::Decimal128(10, 2)).unwrap_err(), EngineError::Lossy { .. }));
        let error = cast(StringArray::from(vec!["1.25", "1.255"]), DataType::Decimal128(38, 2)).unwrap_err();
        assert!(matches!(&error, EngineError::Lossy { value, .. } if value == "1.255"), "{error}");
    }

    #[test]
    fn a_value_that_stays_the_same_is_cast() {
        assert_eq!(cast(Float64Array::from(vec![Some(2.0), None]), DataType::Int32).unwrap().null_count(), 1);
        assert_eq!(cast(StringArray::from(vec!["1.2500", "-0"]), DataType::Decimal128(4, 2)).unwrap().len(), 2);
        assert_eq!(cast(StringArray::from(vec!["2020-01-05"]), DataType::Date32).unwrap().len(), 1);
        assert_eq!(cast(Float64Array::from(vec![0.1]), DataType::Float32).unwrap().len(), 1);
    }

    #[test]
    fn structs_go_by_the_names_within_them_and_values_are_refused_by_their_path() {
        let field = |name: &str, to: DataType, nullable: bool| Field::new(name, to, nullable);
        let inner = Fields::from(vec![field("A", DataType::Int32, false), field("b", DataType::Utf8, true)]);
        let to = DataType::List(Arc::new(field("element", DataType::Struct(inner), false)));
        let list = |names: [&str; 2], numbers: Vec<f64>| {
            let texts = Arc::new(StringArray::from(vec!["x"; numbers.len()])) as ArrayRef;
            let row =
                StructArray::try_from(vec![(names[0], texts), (names[1], Arc::new(Float64Array::from(numbers)) as ArrayRef)]);
            let row = row.unwrap();
            let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([row.len()]);
            ListArray::new(Arc::new(Field::new("item", row.data_type().clone(), true)), offsets, Arc::new(row), None)
        };
        let to = loose_type(&to).unwrap();
        assert_eq!(cast(list(["B", "a"], vec![1.0, 2.0]), to.clone()).unwrap().data_type(), &to);
        let error = cast(list(["b", "a"], vec![1.0, 2.5]), to.clone()).unwrap_err();
        assert!(matches!(&error, EngineError::Lossy { column, .. } if column == "x.element.A"), "{error}");
        let error = cast(list(["b", "c"], vec![1.0]), to).unwrap_err();
        assert!(matches!(&error, EngineError::UnknownColumn { column, .. } if column == "x.element.c"), "{error}");
    }

    #[test]
    fn rows_with_required_fields_within_them_become_loose_and_keep_their_values() {
        let inner = Field::new("a", DataType::Int64, false);
        let row = StructArray::from(vec![(Arc::new(inner), Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
        let schema = Arc::new(Schema::new(vec![Field::new("n", row.data_type().clone(), false)]));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(row.clone())]).unwrap();
        let loose = loose_rows(rows, &Attempt::new("update", "memory:///t")).unwrap();
        assert_eq!((loose.schema(), loose.schema().field(0).is_nullable()), (loose_schema(&schema), false));
        assert_eq!(loose.column(0).as_struct().column(0), row.column(0));
    }

    #[test]
    fn text_that_does_not_say_a_value_of_the_type_is_refused() {
        assert!(matches!(cast(StringArray::from(vec!["soon"]), DataType::Date32).unwrap_err(), EngineError::Cast { .. }));
    }
}
