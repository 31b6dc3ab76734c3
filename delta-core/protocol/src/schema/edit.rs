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

impl StructType {
    /// Changes the columns of the struct at a dotted path: a column that is one, or the `element`, `key` or `value` of one that holds structs. An
    /// empty path means the table itself.
    ///
    /// **Errors**: `Invalid` when no such struct, or more than one, can be meant.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_protocol::schema::{ArrayType, PrimitiveType, StructField, StructType};
    ///
    /// let stop = StructType::new([StructField::nullable("name", PrimitiveType::String)]);
    /// let stops = ArrayType { element: stop.into(), contains_null: true };
    /// let mut schema = StructType::new([StructField::nullable("stops", stops)]);
    /// schema.edit_struct("stops.element", |columns| columns.push(StructField::nullable("at", PrimitiveType::Date)))?;
    /// assert_eq!(schema.to_string(), "struct<stops:array<struct<name:string,at:date>>>");
    /// assert!(schema.edit_struct("stops", |_| ()).is_err());
    /// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
    /// ```
    pub fn edit_struct<T>(&mut self, path: &str, edit: impl FnOnce(&mut Vec<StructField>) -> T) -> Result<T> {
        if path.is_empty() {
            return Ok(edit(&mut self.fields));
        }
        let mut ways = Vec::new();
        for exact in [true, false] {
            if ways.is_empty() {
                structs_in(self, path, exact, &mut Vec::new(), &mut ways);
            }
        }
        let unknown = |schema: &Self| ProtocolError::UnknownColumn {
            purpose: "find the struct to change",
            column: path.to_owned(),
            available: schema.names().collect::<Vec<_>>().join(", "),
        };
        let [way] = ways.as_slice() else { return Err(unknown(self)) };
        match type_at(self, way) {
            Some(DataType::Struct(inner)) => Ok(edit(&mut inner.fields)),
            _ => Err(unknown(self)),
        }
    }
}

/// All ways to a struct at a path.
fn structs_in(inner: &StructType, path: &str, exact: bool, way: &mut Vec<Step>, ways: &mut Vec<Vec<Step>>) {
    for (at, field) in inner.fields.iter().enumerate() {
        let Some((name, rest)) = path.split_at_checked(field.name.len()) else { continue };
        if if exact { name == field.name } else { same_name(name, &field.name) } {
            way.push(Step::Field(at));
            structs_of(&field.data_type, rest, exact, way, ways);
            way.pop();
        }
    }
}

/// The same below a type; the rest of the path is empty, or begins with a dot.
fn structs_of(data_type: &DataType, rest: &str, exact: bool, way: &mut Vec<Step>, ways: &mut Vec<Vec<Step>>) {
    if rest.is_empty() {
        if matches!(data_type, DataType::Struct(_)) {
            ways.push(way.clone());
        }
        return;
    }
    let Some(rest) = rest.strip_prefix('.') else { return };
    let parts: Vec<(&str, Step, &DataType)> = match data_type {
        DataType::Primitive(_) | DataType::Variant => return,
        DataType::Struct(inner) => return structs_in(inner, rest, exact, way, ways),
        DataType::Array(array) => vec![(ELEMENT, Step::Element, &array.element)],
        DataType::Map(map) => vec![(KEY, Step::Key, &map.key), (VALUE, Step::Value, &map.value)],
    };
    for (name, step, child) in parts {
        if let Some((found, rest)) = rest.split_at_checked(name.len())
            && found.eq_ignore_ascii_case(name)
        {
            way.push(step);
            structs_of(child, rest, exact, way, ways);
            way.pop();
        }
    }
}

/// The type at the end of a way.
fn type_at<'a>(schema: &'a mut StructType, way: &[Step]) -> Option<&'a mut DataType> {
    let (Step::Field(first), rest) = way.split_first()? else { return None };
    let mut data_type = &mut schema.fields.get_mut(*first)?.data_type;
    for step in rest {
        data_type = match (data_type, step) {
            (DataType::Struct(inner), Step::Field(at)) => &mut inner.fields.get_mut(*at)?.data_type,
            (DataType::Array(array), Step::Element) => &mut array.element,
            (DataType::Map(map), Step::Key) => &mut map.key,
            (DataType::Map(map), Step::Value) => &mut map.value,
            _ => return None,
        };
    }
    Some(data_type)
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
    if parents.is_empty() {
        return Some((&mut schema.fields, *last));
    }
    match type_at(schema, parents)? {
        DataType::Struct(inner) => Some((&mut inner.fields, *last)),
        _ => None,
    }
}
