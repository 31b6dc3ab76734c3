//! Type widening: which changes of a column's type a reader follows.
//!
//! Files keep the type that they were written with; `delta.typeChanges` in a column's metadata lists the changes
//! since. The reader casts, so that all it has to know is whether each change loses nothing.
//!
//! **Source**: Delta protocol, "Type Widening", "Type Change Metadata", "Reader Requirements for Type Widening".

use serde::Deserialize;

use super::data_type::{DataType, PrimitiveType, StructField, StructType};
use super::keys::TYPE_CHANGES;
use crate::error::{ProtocolError, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeChange {
    from_type: String,
    to_type: String,
    #[serde(default)]
    field_path: Option<String>,
}

impl StructType {
    /// Checks that every change of a type that the schema tells of can be read.
    ///
    /// **Errors**: `Unsupported` names the column and both types; `Corrupt` when the history is not one.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_protocol::schema::StructType;
    ///
    /// let column = |from: &str, to: &str| {
    ///     let changes = format!(r#"[{{"fromType":"{from}","toType":"{to}"}}]"#);
    ///     let field = format!(r#"{{"name":"n","type":"{to}","nullable":true,"metadata":{{"delta.typeChanges":{changes}}}}}"#);
    ///     StructType::from_json(&format!(r#"{{"type":"struct","fields":[{field}]}}"#))
    /// };
    /// assert!(column("date", "timestamp_ntz")?.check_type_changes().is_ok());
    /// let error = column("string", "long")?.check_type_changes().unwrap_err();
    /// assert!(error.to_string().contains("`n` from string to long"), "{error}");
    /// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
    /// ```
    pub fn check_type_changes(&self) -> Result<()> {
        check_struct("", self)
    }

    /// The columns at the top in which something, at any depth, had another type before.
    pub fn columns_with_type_changes(&self) -> Vec<&StructField> {
        let remembers = |field: &StructField| field.metadata.get(TYPE_CHANGES).is_some_and(|history| !history.is_null());
        let within = |field: &&StructField| Self::new([(*field).clone()]).find_column(&mut |field| remembers(field)).is_some();
        self.fields.iter().filter(within).collect()
    }
}

impl PrimitiveType {
    /// Whether a reader can follow a change from this type to the other one.
    ///
    /// Besides [`widens_to`](Self::widens_to), that is `date` to `timestamp_ntz`.
    pub fn changes_to(self, wide: Self) -> bool {
        self.widens_to(wide) || (self == Self::Date && wide == Self::TimestampNtz)
    }
}

fn check_struct(parent: &str, inner: &StructType) -> Result<()> {
    inner.fields.iter().try_for_each(|field| {
        let column = super::check::path(parent, &field.name);
        check_field(&column, field)?;
        check_type(&column, &field.data_type)
    })
}

fn check_type(column: &str, data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::Primitive(_) | DataType::Variant => Ok(()),
        DataType::Struct(inner) => check_struct(column, inner),
        DataType::Array(array) => check_type(&super::check::path(column, "element"), &array.element),
        DataType::Map(map) => {
            check_type(&super::check::path(column, "key"), &map.key)?;
            check_type(&super::check::path(column, "value"), &map.value)
        }
    }
}

fn check_field(column: &str, field: &StructField) -> Result<()> {
    let Some(history) = field.metadata.get(TYPE_CHANGES).filter(|history| !history.is_null()) else { return Ok(()) };
    let changes = Vec::<TypeChange>::deserialize(history).map_err(|source| ProtocolError::CorruptSchema { source })?;
    changes.into_iter().try_for_each(|change| {
        let types = PrimitiveType::from_name(&change.from_type).zip(PrimitiveType::from_name(&change.to_type));
        if types.is_some_and(|(from, to)| from.changes_to(to)) {
            return Ok(());
        }
        Err(ProtocolError::UnsupportedTypeChange {
            column: change.field_path.map_or_else(|| column.to_owned(), |path| super::check::path(column, &path)),
            from: change.from_type,
            to: change.to_type,
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    fn changed(path: Option<&str>, from: &str, to: &str) -> StructType {
        let mut change = serde_json::json!({"fromType": from, "toType": to, "tableVersion": 2});
        if let Some(path) = path {
            change["fieldPath"] = Value::from(path);
        }
        let mut field = StructField::nullable("outer", PrimitiveType::Long);
        field.metadata.insert(TYPE_CHANGES.to_owned(), Value::from(vec![change]));
        StructType::new([StructField::nullable("s", StructType::new([field]))])
    }

    #[test]
    fn changes_that_lose_nothing_are_followed_and_all_others_refused_by_column_and_types() {
        let fine = [
            ("byte", "long"),
            ("short", "double"),
            ("integer", "decimal(11,1)"),
            ("long", "decimal(21,1)"),
            ("float", "double"),
            ("decimal(10,2)", "decimal(20,5)"),
            ("date", "timestamp_ntz"),
        ];
        for (from, to) in fine {
            assert!(changed(None, from, to).check_type_changes().is_ok(), "{from} to {to}");
        }
        for (from, to) in
            [("long", "integer"), ("long", "double"), ("string", "long"), ("date", "timestamp"), ("long", "interval")]
        {
            let error = changed(Some("element.key"), from, to).check_type_changes().unwrap_err();
            let expected = format!("`s.outer.element.key` from {from} to {to}");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }

    #[test]
    fn a_history_that_is_none_is_corrupt() {
        let mut schema = changed(None, "byte", "long");
        let DataType::Struct(inner) = &mut schema.fields[0].data_type else { unreachable!() };
        inner.fields[0].metadata.insert(TYPE_CHANGES.to_owned(), Value::from("byte to long"));
        assert!(matches!(schema.check_type_changes(), Err(ProtocolError::CorruptSchema { .. })));
    }
}
