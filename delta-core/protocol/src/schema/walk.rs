//! Looking into every column, at every depth.

use super::data_type::{DataType, PrimitiveType, StructField, StructType};

/// The last part of the path of a list's elements.
pub(crate) const ELEMENT: &str = "element";
/// The last part of the path of a map's keys.
pub(crate) const KEY: &str = "key";
/// The last part of the path of a map's values.
pub(crate) const VALUE: &str = "value";

impl StructType {
    /// The dotted path of the first column, at any depth, for which the test holds.
    pub fn find_column(&self, test: &mut dyn FnMut(&StructField) -> bool) -> Option<String> {
        find_in_struct("", self, test)
    }

    /// The dotted path of the first column of this type, at any depth; elements of lists and maps count.
    pub fn find_type(&self, wanted: PrimitiveType) -> Option<String> {
        let is_it = |found: &DataType| *found == DataType::Primitive(wanted);
        self.fields.iter().find_map(|field| find_leaf(&field.name, &field.data_type, &is_it))
    }

    /// The dotted path of the first column of variants, at any depth; elements of lists and maps count.
    pub fn find_variant(&self) -> Option<String> {
        self.fields.iter().find_map(|field| find_leaf(&field.name, &field.data_type, &|found| *found == DataType::Variant))
    }

    /// Looks at every column, at every depth.
    pub fn each_column(&self, look: &mut dyn FnMut(&StructField)) {
        self.find_column(&mut |field| {
            look(field);
            false
        });
    }
}

fn find_in_struct(parent: &str, inner: &StructType, test: &mut dyn FnMut(&StructField) -> bool) -> Option<String> {
    inner.fields.iter().find_map(|field| {
        let column = if parent.is_empty() { field.name.clone() } else { format!("{parent}.{}", field.name) };
        if test(field) { Some(column) } else { find_in(&column, &field.data_type, test) }
    })
}

fn find_in(column: &str, data_type: &DataType, test: &mut dyn FnMut(&StructField) -> bool) -> Option<String> {
    match data_type {
        DataType::Primitive(_) | DataType::Variant => None,
        DataType::Struct(inner) => find_in_struct(column, inner, test),
        DataType::Array(array) => find_in(&format!("{column}.{ELEMENT}"), &array.element, test),
        DataType::Map(map) => find_in(&format!("{column}.{KEY}"), &map.key, test)
            .or_else(|| find_in(&format!("{column}.{VALUE}"), &map.value, test)),
    }
}

fn find_leaf(column: &str, data_type: &DataType, is_it: &dyn Fn(&DataType) -> bool) -> Option<String> {
    match data_type {
        DataType::Primitive(_) | DataType::Variant => is_it(data_type).then(|| column.to_owned()),
        DataType::Struct(inner) => {
            inner.fields.iter().find_map(|field| find_leaf(&format!("{column}.{}", field.name), &field.data_type, is_it))
        }
        DataType::Array(array) => find_leaf(&format!("{column}.{ELEMENT}"), &array.element, is_it),
        DataType::Map(map) => find_leaf(&format!("{column}.{KEY}"), &map.key, is_it)
            .or_else(|| find_leaf(&format!("{column}.{VALUE}"), &map.value, is_it)),
    }
}
