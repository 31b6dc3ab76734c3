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
        self.fields.iter().find_map(|field| find_type(&field.name, &field.data_type, wanted))
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

fn find_type(column: &str, data_type: &DataType, wanted: PrimitiveType) -> Option<String> {
    match data_type {
        DataType::Primitive(found) => (*found == wanted).then(|| column.to_owned()),
        DataType::Variant => None,
        DataType::Struct(inner) => {
            inner.fields.iter().find_map(|field| find_type(&format!("{column}.{}", field.name), &field.data_type, wanted))
        }
        DataType::Array(array) => find_type(&format!("{column}.{ELEMENT}"), &array.element, wanted),
        DataType::Map(map) => find_type(&format!("{column}.{KEY}"), &map.key, wanted)
            .or_else(|| find_type(&format!("{column}.{VALUE}"), &map.value, wanted)),
    }
}
