//! Nulls where a table allows none, at any depth.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};

use crate::conform::{FieldMatch, find_field};

/// The first null in a nested column that must have a value: its path, and the row.
///
/// A struct that is null itself has no values that could be missing.
pub(crate) fn first_null(array: &ArrayRef, field: &Field) -> Option<(String, usize)> {
    within(field.name(), array, field.data_type(), &Some)
}

/// Looks below one array; `row_of` gives the row of the table for a place in it, or nothing where a parent is null.
fn within(path: &str, array: &ArrayRef, to: &DataType, row_of: &dyn Fn(usize) -> Option<usize>) -> Option<(String, usize)> {
    let child = |path: String, values: &ArrayRef, field: &Field, row_of: &dyn Fn(usize) -> Option<usize>| {
        let missing = (!field.is_nullable())
            .then(|| values.logical_nulls())
            .flatten()
            .and_then(|nulls| (0..values.len()).filter(|at| nulls.is_null(*at)).find_map(row_of));
        match missing {
            Some(row) => Some((path, row)),
            None => within(&path, values, field.data_type(), row_of),
        }
    };
    match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let parent = array.as_struct();
            let live = |at: usize| row_of(at).filter(|_| parent.is_valid(at));
            fields.iter().find_map(|field| {
                let at = find_field(parent.fields(), field, FieldMatch::Name)?;
                child(format!("{path}.{}", field.name()), parent.column(at), field, &live)
            })
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let live = |at: usize| parent_at(list.value_offsets(), at).filter(|row| list.is_valid(*row)).and_then(row_of);
            child(format!("{path}.element"), list.values(), element, &live)
        }
        (DataType::LargeList(_), DataType::List(element)) => {
            let list = array.as_list::<i64>();
            let live = |at: usize| parent_at(list.value_offsets(), at).filter(|row| list.is_valid(*row)).and_then(row_of);
            child(format!("{path}.element"), list.values(), element, &live)
        }
        (DataType::Map(_, _), DataType::Map(entries, _)) => {
            let map = array.as_map();
            let live = |at: usize| parent_at(map.value_offsets(), at).filter(|row| map.is_valid(*row)).and_then(row_of);
            let DataType::Struct(fields) = entries.data_type() else { return None };
            let sides = [("key", map.keys()), ("value", map.values())];
            fields.iter().zip(sides).find_map(|(field, (name, values))| child(format!("{path}.{name}"), values, field, &live))
        }
        _ => None,
    }
}

/// The list that holds the element at a place.
fn parent_at<O: Copy + TryInto<usize>>(offsets: &[O], at: usize) -> Option<usize> {
    let begins_after = |offset: &O| (*offset).try_into().is_ok_and(|offset: usize| offset <= at);
    let parent = offsets.partition_point(begins_after).checked_sub(1)?;
    (parent + 1 < offsets.len()).then_some(parent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{Int32Array, ListArray, StructArray};
    use arrow_schema::Fields;

    use super::*;

    fn inner(nullable: bool) -> Fields {
        Fields::from(vec![Field::new("a", DataType::Int32, nullable)])
    }

    #[test]
    fn a_null_below_a_null_struct_is_none() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, None]));
        let nulls = |valid: Vec<bool>| Some(valid.into());
        let masked: ArrayRef =
            Arc::new(StructArray::new(inner(true), vec![Arc::clone(&values)], nulls(vec![true, false, false])));
        let to = Field::new("s", DataType::Struct(inner(false)), true);
        assert_eq!(first_null(&masked, &to), None);
        let open: ArrayRef = Arc::new(StructArray::new(inner(true), vec![values], nulls(vec![true, false, true])));
        assert_eq!(first_null(&open, &to), Some(("s.a".to_owned(), 2)));
    }

    #[test]
    fn a_null_element_is_found_in_its_row() {
        let rows = vec![Some(vec![Some(1)]), None, Some(vec![]), Some(vec![Some(2), None])];
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows));
        let to = |nullable| Field::new("l", DataType::List(Arc::new(Field::new("element", DataType::Int32, nullable))), true);
        assert_eq!(first_null(&list, &to(false)), Some(("l.element".to_owned(), 3)));
        assert_eq!(first_null(&list, &to(true)), None);
    }
}
