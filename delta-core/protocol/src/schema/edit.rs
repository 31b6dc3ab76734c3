//! Changing one column of a schema, at any depth.

use super::data_type::{DataType, StructField, StructType, same_name};
use super::walk::{ELEMENT, KEY, VALUE};
use crate::error::{ProtocolError, Result};

/// One step from a column down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Field(usize),
    Element,
    Key,
    Value,
}

impl StructType {
    /// Changes the column at a dotted path; lists and maps are passed by `element`, `key` and `value`.
    ///
    /// `edit` gets the columns of the struct that holds it, and its place among them.
    ///
    /// **Errors**: `Invalid` when no column, or more than one, can be meant; what `edit` says.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_protocol::schema::{PrimitiveType, StructField, StructType};
    ///
    /// let place = StructType::new([StructField::nullable("zip", PrimitiveType::String)]);
    /// let mut schema = StructType::new([StructField::nullable("place", place)]);
    /// schema.edit_column("place.zip", |columns, at| columns[at].name = "code".to_owned())?;
    /// assert_eq!(schema.to_string(), "struct<place:struct<code:string>>");
    /// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
    /// ```
    pub fn edit_column<T>(&mut self, path: &str, edit: impl FnOnce(&mut Vec<StructField>, usize) -> T) -> Result<T> {
        let mut ways = Vec::new();
        in_struct(self, path, true, &mut Vec::new(), &mut ways);
        if ways.is_empty() {
            in_struct(self, path, false, &mut Vec::new(), &mut ways);
        }
        let unknown = |schema: &Self| ProtocolError::UnknownColumn {
            purpose: "change a column",
            column: path.to_owned(),
            available: schema.names().collect::<Vec<_>>().join(", "),
        };
        let [way] = ways.as_slice() else { return Err(unknown(self)) };
        match follow(self, way) {
            Some((columns, at)) => Ok(edit(columns, at)),
            None => Err(unknown(self)),
        }
    }
}

fn in_struct(inner: &StructType, path: &str, exact: bool, way: &mut Vec<Step>, ways: &mut Vec<Vec<Step>>) {
    let same = |a: &str, b: &str| if exact { a == b } else { same_name(a, b) };
    for (at, field) in inner.fields.iter().enumerate() {
        way.push(Step::Field(at));
        if same(&field.name, path) {
            ways.push(way.clone());
        } else if let Some((name, rest)) = path.split_at_checked(field.name.len())
            && same(name, &field.name)
            && let Some(rest) = rest.strip_prefix('.')
        {
            in_type(&field.data_type, rest, exact, way, ways);
        }
        way.pop();
    }
}

fn in_type(data_type: &DataType, path: &str, exact: bool, way: &mut Vec<Step>, ways: &mut Vec<Vec<Step>>) {
    let parts: Vec<(&str, Step, &DataType)> = match data_type {
        DataType::Primitive(_) | DataType::Variant => return,
        DataType::Struct(inner) => return in_struct(inner, path, exact, way, ways),
        DataType::Array(array) => vec![(ELEMENT, Step::Element, &array.element)],
        DataType::Map(map) => vec![(KEY, Step::Key, &map.key), (VALUE, Step::Value, &map.value)],
    };
    for (name, step, child) in parts {
        if let Some(rest) = path.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) {
            way.push(step);
            in_type(child, rest, exact, way, ways);
            way.pop();
        }
    }
}

/// The columns that hold the last one of a way, and its place.
fn follow<'a>(schema: &'a mut StructType, way: &[Step]) -> Option<(&'a mut Vec<StructField>, usize)> {
    let (Step::Field(last), parents) = way.split_last()? else { return None };
    let mut columns = &mut schema.fields;
    let mut steps = parents.iter();
    while let Some(step) = steps.next() {
        let Step::Field(at) = step else { return None };
        let mut data_type = &mut columns.get_mut(*at)?.data_type;
        columns = loop {
            data_type = match data_type {
                DataType::Struct(inner) => break &mut inner.fields,
                DataType::Array(array) => match steps.next()? {
                    Step::Element => &mut array.element,
                    _ => return None,
                },
                DataType::Map(map) => match steps.next()? {
                    Step::Key => &mut map.key,
                    Step::Value => &mut map.value,
                    _ => return None,
                },
                DataType::Primitive(_) | DataType::Variant => return None,
            };
        };
    }
    Some((columns, *last))
}
