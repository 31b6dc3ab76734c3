//! Shredded variants, put together again.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Fields as ArrowFields, TimeUnit};

use super::value::{Fields, NULL, Names, VariantProblem, write_array, write_bytes, write_primitive};

const METADATA: &str = "metadata";
const VALUE: &str = "value";
const TYPED: &str = "typed_value";

/// Whether a column of files, which the table knows as variants, is shredded.
pub(crate) fn is_shredded(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(fields) if fields.iter().any(|f| f.name() == TYPED))
}

/// Puts shredded variants together: `{metadata, value, typed_value}` becomes `{metadata, value}`.
///
/// **Errors**: a variant is damaged, or shredded into columns that the specification does not know.
///
/// **Cost**: one pass over the rows; the names of each row are parsed only when it has an object.
pub(crate) fn whole(shredded: &StructArray) -> Result<ArrayRef, ArrowError> {
    let damaged = |problem: VariantProblem| ArrowError::ExternalError(Box::new(problem));
    let Some(metadata) = shredded.column_by_name(METADATA) else {
        return Err(ArrowError::SchemaError("a column of variants has no `metadata`".to_owned()));
    };
    let metadata = binary(metadata)?;
    let column = Column::new(shredded)?;
    let mut values = BinaryBuilder::with_capacity(shredded.len(), shredded.len() * 16);
    let mut value = Vec::new();
    for row in 0..shredded.len() {
        value.clear();
        if shredded.is_valid(row) {
            if metadata.is_null(row) {
                return Err(damaged(VariantProblem::Metadata { row }));
            }
            let names = LazyNames { metadata: metadata.value(row), row, parsed: std::cell::OnceCell::new() };
            if !column.write(row, row, &names, &mut value).map_err(damaged)? {
                value.push(NULL);
            }
        }
        values.append_value(&value);
    }
    let fields = [METADATA, VALUE].map(|name| Field::new(name, DataType::Binary, false));
    let columns: Vec<ArrayRef> = vec![Arc::new(metadata), Arc::new(values.finish())];
    Ok(Arc::new(StructArray::try_new(ArrowFields::from(fields.to_vec()), columns, shredded.nulls().cloned())?))
}

/// The names of a row, parsed when an object asks for them.
struct LazyNames<'a> {
    metadata: &'a [u8],
    row: usize,
    parsed: std::cell::OnceCell<Option<Names<'a>>>,
}

impl<'a> LazyNames<'a> {
    fn get(&self) -> Result<&Names<'a>, VariantProblem> {
        self.parsed.get_or_init(|| Names::parse(self.metadata)).as_ref().ok_or(VariantProblem::Metadata { row: self.row })
    }
}

/// A pair of `value` and `typed_value`.
struct Column {
    value: Option<BinaryArray>,
    typed: Option<Typed>,
}

enum Typed {
    Object { nulls: StructArray, fields: Vec<(String, Option<StructArray>, Column)> },
    List { list: ListArray, elements: StructArray, element: Box<Column> },
    Primitive(ArrayRef),
}

fn binary(array: &ArrayRef) -> Result<BinaryArray, ArrowError> {
    Ok(arrow_cast::cast(array, &DataType::Binary)?.as_binary::<i32>().clone())
}

fn unknown(data_type: &DataType) -> ArrowError {
    ArrowError::ExternalError(Box::new(VariantProblem::ColumnType { data_type: data_type.clone() }))
}

impl Column {
    fn new(group: &StructArray) -> Result<Self, ArrowError> {
        let value = group.column_by_name(VALUE).map(binary).transpose()?;
        let typed = group.column_by_name(TYPED).map(Typed::new).transpose()?;
        Ok(Self { value, typed })
    }

    /// Appends the value of a row; false when it has none. `outer` is the row of the batch, for errors.
    fn write(&self, outer: usize, row: usize, names: &LazyNames<'_>, into: &mut Vec<u8>) -> Result<bool, VariantProblem> {
        let value = self.value.as_ref().filter(|v| v.is_valid(row)).map(|v| v.value(row));
        let typed = self.typed.as_ref().filter(|t| t.is_valid(row));
        match (value, typed) {
            (None, None) => return Ok(false),
            (Some([]), None) => return Err(VariantProblem::Value { row: outer }),
            (Some(value), None) => into.extend_from_slice(value),
            (rest, Some(Typed::Object { fields, .. })) => {
                let known = names.get()?;
                let mut object = Fields::default();
                for (name, group, column) in fields {
                    let start = object.values.len();
                    let present = group.as_ref().is_none_or(|g| g.is_valid(row));
                    if present && column.write(outer, row, names, &mut object.values)? {
                        let unknown = || VariantProblem::UnknownField { row: outer, name: name.clone() };
                        object.close(name, known.number_of(name).ok_or_else(unknown)?, start);
                    }
                }
                if let Some(rest) = rest {
                    object.add_all(outer, rest, known)?;
                }
                object.write(outer, into)?;
            }
            (Some(_), Some(_)) => return Err(VariantProblem::TwoValues { row: outer }),
            (None, Some(Typed::List { list, elements, element })) => {
                let offsets = list.value_offsets();
                let (mut values, mut ends) = (Vec::new(), Vec::new());
                // Offsets of an Arrow list ascend and are never negative.
                for at in offsets[row]..offsets[row + 1] {
                    let at = usize::try_from(at).unwrap_or_default();
                    if elements.is_null(at) || !element.write(outer, at, names, &mut values)? {
                        values.push(NULL);
                    }
                    ends.push(values.len());
                }
                write_array(into, &values, &ends);
            }
            (None, Some(Typed::Primitive(array))) => write_typed(array.as_ref(), row, into),
        }
        Ok(true)
    }
}

impl Typed {
    fn new(typed: &ArrayRef) -> Result<Self, ArrowError> {
        match typed.data_type() {
            DataType::Struct(fields) => {
                let group = typed.as_struct();
                let fields = fields.iter().zip(group.columns()).map(|(field, column)| {
                    let inner = column.as_struct_opt().ok_or_else(|| unknown(column.data_type()))?;
                    let nulls = inner.nulls().is_some().then(|| inner.clone());
                    Ok((field.name().clone(), nulls, Column::new(inner)?))
                });
                Ok(Self::Object { fields: fields.collect::<Result<_, ArrowError>>()?, nulls: group.clone() })
            }
            DataType::List(_) => {
                let list = typed.as_list::<i32>();
                let elements = list.values().as_struct_opt().ok_or_else(|| unknown(typed.data_type()))?;
                let element = Box::new(Column::new(elements)?);
                Ok(Self::List { list: list.clone(), elements: elements.clone(), element })
            }
            DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(1..=38, 0..=38)
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            | DataType::Utf8
            | DataType::Binary
            | DataType::FixedSizeBinary(16) => Ok(Self::Primitive(Arc::clone(typed))),
            other => Err(unknown(other)),
        }
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Object { nulls, .. } => nulls.is_valid(row),
            Self::List { list, .. } => list.is_valid(row),
            Self::Primitive(array) => array.is_valid(row),
        }
    }
}

/// Writes a value of one of the types that [`Typed::new`] lets in.
fn write_typed(array: &dyn Array, row: usize, into: &mut Vec<u8>) {
    let nanos = |unit: &TimeUnit| *unit == TimeUnit::Nanosecond;
    match array.data_type() {
        DataType::Boolean => write_primitive(into, if array.as_boolean().value(row) { 1 } else { 2 }, &[]),
        DataType::Int8 => write_primitive(into, 3, &array.as_primitive::<Int8Type>().value(row).to_le_bytes()),
        DataType::Int16 => write_primitive(into, 4, &array.as_primitive::<Int16Type>().value(row).to_le_bytes()),
        DataType::Int32 => write_primitive(into, 5, &array.as_primitive::<Int32Type>().value(row).to_le_bytes()),
        DataType::Int64 => write_primitive(into, 6, &array.as_primitive::<Int64Type>().value(row).to_le_bytes()),
        DataType::Float64 => write_primitive(into, 7, &array.as_primitive::<Float64Type>().value(row).to_le_bytes()),
        DataType::Float32 => write_primitive(into, 14, &array.as_primitive::<Float32Type>().value(row).to_le_bytes()),
        DataType::Decimal128(precision, scale) => {
            let (type_id, bytes) = match precision {
                0..=9 => (8, 4),
                10..=18 => (9, 8),
                _ => (10, 16),
            };
            let unscaled = array.as_primitive::<Decimal128Type>().value(row).to_le_bytes();
            write_primitive(into, type_id, &scale.to_le_bytes());
            into.extend_from_slice(&unscaled[..bytes]);
        }
        DataType::Date32 => write_primitive(into, 11, &array.as_primitive::<Date32Type>().value(row).to_le_bytes()),
        DataType::Time64(_) => write_primitive(into, 17, &array.as_primitive::<Time64MicrosecondType>().value(row).to_le_bytes()),
        DataType::Timestamp(unit, zone) if nanos(unit) => {
            let value = array.as_primitive::<TimestampNanosecondType>().value(row);
            write_primitive(into, if zone.is_some() { 18 } else { 19 }, &value.to_le_bytes());
        }
        DataType::Timestamp(_, zone) => {
            let value = array.as_primitive::<TimestampMicrosecondType>().value(row);
            write_primitive(into, if zone.is_some() { 12 } else { 13 }, &value.to_le_bytes());
        }
        DataType::Utf8 => write_bytes(into, 16, array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => write_bytes(into, 15, array.as_binary::<i32>().value(row)),
        // A UUID; `Typed::new` lets nothing else in.
        _ => match array.as_fixed_size_binary_opt() {
            Some(uuid) => write_primitive(into, 20, uuid.value(row)),
            None => into.push(NULL),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{Int64Array, StringArray};

    use super::*;

    /// The names `a` and `b`.
    const NAMES: &[u8] = b"\x11\x02\x00\x01\x02ab";

    fn group(columns: Vec<(&str, ArrayRef)>) -> StructArray {
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) =
            columns.into_iter().map(|(name, column)| (Field::new(name, column.data_type().clone(), true), column)).unzip();
        StructArray::try_new(fields.into(), columns, None).unwrap()
    }

    fn values(values: Vec<Option<&[u8]>>) -> ArrayRef {
        Arc::new(BinaryArray::from_opt_vec(values))
    }

    fn value_of(shredded: &StructArray) -> Result<Vec<Vec<u8>>, ArrowError> {
        let out = whole(shredded)?;
        let column = out.as_struct().column(1).as_binary::<i32>().clone();
        Ok(column.iter().map(|v| v.unwrap_or_default().to_vec()).collect())
    }

    #[test]
    fn a_typed_value_wins_a_value_stays_and_neither_is_the_null_of_variants() {
        let shredded = group(vec![
            ("metadata", values(vec![Some(NAMES); 3])),
            ("value", values(vec![None, Some(b"\x05x"), None])),
            ("typed_value", Arc::new(Int64Array::from(vec![Some(7), None, None]))),
        ]);
        assert_eq!(value_of(&shredded).unwrap(), [b"\x18\x07\0\0\0\0\0\0\0".to_vec(), b"\x05x".to_vec(), vec![0]]);
    }

    #[test]
    fn an_object_gets_its_typed_fields_and_the_rest_in_the_order_of_names() {
        let b = group(vec![("typed_value", Arc::new(StringArray::from(vec![Some("y"), None])))]);
        let typed = group(vec![("b", Arc::new(b))]);
        // `{"a": true}` in the rest of the first row, and nothing in that of the second.
        let shredded = group(vec![
            ("metadata", values(vec![Some(NAMES); 2])),
            ("value", values(vec![Some(b"\x02\x01\x00\x00\x01\x04"), None])),
            ("typed_value", Arc::new(typed)),
        ]);
        let expected = [b"\x02\x02\x00\x01\x00\x01\x03\x04\x05y".to_vec(), b"\x02\x00\x00".to_vec()];
        assert_eq!(value_of(&shredded).unwrap(), expected);
    }

    #[test]
    fn elements_of_a_list_are_values_again() {
        let mut texts = ListBuilder::new(StringBuilder::new());
        texts.values().append_value("x");
        texts.values().append_null();
        texts.append(true);
        let texts = texts.finish();
        let element = group(vec![("typed_value", Arc::clone(texts.values()))]);
        let list = ListArray::try_new(
            Arc::new(Field::new("element", element.data_type().clone(), true)),
            texts.offsets().clone(),
            Arc::new(element),
            None,
        );
        let shredded = group(vec![("metadata", values(vec![Some(NAMES)])), ("typed_value", Arc::new(list.unwrap()))]);
        assert_eq!(value_of(&shredded).unwrap(), [b"\x03\x02\x00\x02\x03\x05x\x00".to_vec()]);
    }

    #[test]
    fn contradictions_are_named_and_never_guessed() {
        let case = |value: Option<&'static [u8]>, typed: ArrayRef, metadata: &'static [u8]| {
            let shredded =
                group(vec![("metadata", values(vec![Some(metadata)])), ("value", values(vec![value])), ("typed_value", typed)]);
            value_of(&shredded).unwrap_err().to_string()
        };
        let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let object = |name: &str| {
            let field = group(vec![("typed_value", number())]);
            Arc::new(group(vec![(name, Arc::new(field))])) as ArrayRef
        };
        assert!(case(Some(b"\x00"), number(), NAMES).contains("two values"));
        assert!(case(None, object("c"), NAMES).contains("field `c` that its metadata does not name"));
        assert!(case(Some(b"\x02\x01\x00\x00\x01\x04"), object("a"), NAMES).contains("the field `a` twice"));
        assert!(case(Some(b"\x02\x01\x00\x00"), object("a"), NAMES).contains("value of a variant in row 0 is damaged"));
        assert!(case(None, object("a"), b"").contains("metadata of a variant in row 0 is damaged"));
        let unsigned = Arc::new(arrow_array::UInt8Array::from(vec![1]));
        assert!(case(None, unsigned, NAMES).contains("UInt8"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            metadata in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..24),
            rest in proptest::option::of(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..24)),
            lying_count in proptest::prelude::any::<bool>(),
        ) {
            // Half of the time, a header that begins well.
            let head: &[u8] = if lying_count { b"\x11\x02\x00\x01\x02ab" } else { b"" };
            let metadata = [head, &metadata].concat();
            let field = group(vec![("typed_value", Arc::new(Int64Array::from(vec![1])))]);
            let typed = group(vec![("a", Arc::new(field))]);
            let shredded = group(vec![
                ("metadata", values(vec![Some(&metadata)])),
                ("value", values(vec![rest.as_deref()])),
                ("typed_value", Arc::new(typed)),
            ]);
            // An error or a value; and the value of a whole object can be taken apart again.
            if let Ok(found) = value_of(&shredded) {
                proptest::prop_assert_eq!(super::super::value::length(&found[0]), Some(found[0].len()));
            }
        }
    }
}
