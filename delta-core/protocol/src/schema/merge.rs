//! A table's schema with the new columns of some data.

use super::check::{SchemaMismatch, check_duplicates, check_missing, path};
use super::data_type::{ArrayType, DataType, MapType, PrimitiveType, StructField, StructType};
use super::walk::{ELEMENT, KEY, VALUE};
use super::widen::{TypeChange, Widening};

impl StructType {
    /// This schema with the columns of `data` that it does not have, nested ones too, at the end.
    ///
    /// Types of columns that are there do not change, except that `void` becomes what the data has. New columns
    /// are nullable. When nothing is added, the result equals this schema. The data
    /// [fits](Self::check_write) the result.
    ///
    /// **Errors**: names the column and both types when they differ in more than
    /// [`PrimitiveType::widens_to`] allows; a NOT NULL column that the data misses; a new column that is NOT NULL.
    pub fn merge(&self, data: &StructType) -> Result<StructType, SchemaMismatch> {
        self.merge_widening(data, Widening::Off)
    }

    /// As [`merge`](Self::merge), and types of columns become those of the data where these are wider and `widening`
    /// lets them. The columns remember it.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_protocol::schema::{PrimitiveType, StructField, StructType, Widening};
    ///
    /// let table = StructType::new([StructField::nullable("n", PrimitiveType::Integer)]);
    /// let data = StructType::new([StructField::nullable("n", PrimitiveType::Long)]);
    /// let merged = table.merge_widening(&data, Widening::SameKind)?;
    /// assert_eq!(merged.fields[0].data_type, PrimitiveType::Long.into());
    /// assert_eq!(merged.fields[0].metadata["delta.typeChanges"][0]["fromType"], "integer");
    /// # Ok::<_, boathouse_delta_protocol::schema::SchemaMismatch>(())
    /// ```
    pub fn merge_widening(&self, data: &StructType, widening: Widening) -> Result<StructType, SchemaMismatch> {
        merge_struct("", self, data, widening)
    }
}

fn merge_struct(parent: &str, table: &StructType, data: &StructType, widening: Widening) -> Result<StructType, SchemaMismatch> {
    check_duplicates(parent, data)?;
    check_missing(parent, table, data)?;
    let mut merged = table.clone();
    for field in &data.fields {
        match table.index_of(&field.name) {
            Some(at) => {
                let known = &mut merged.fields[at];
                let mut changes = Changes { widening, path: String::new(), found: Vec::new() };
                known.data_type = merge_type(&path(parent, &known.name), &known.data_type, &field.data_type, &mut changes)?;
                known.remember_changes(changes.found);
            }
            None if !field.nullable => {
                return Err(SchemaMismatch::RequiredColumn {
                    column: path(parent, &field.name),
                    data_type: field.data_type.to_string(),
                });
            }
            None => merged.fields.push(StructField { nullable: true, ..field.clone() }),
        }
    }
    Ok(merged)
}

/// Changes of types below one column.
struct Changes {
    widening: Widening,
    /// The path from the column to here.
    path: String,
    found: Vec<TypeChange>,
}

impl Changes {
    /// Goes one step down.
    fn below<T>(&mut self, part: &str, visit: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(part);
        let result = visit(self);
        self.path.truncate(length);
        result
    }
}

fn merge_type(column: &str, table: &DataType, data: &DataType, changes: &mut Changes) -> Result<DataType, SchemaMismatch> {
    Ok(match (table, data) {
        (_, DataType::Primitive(PrimitiveType::Void)) => table.clone(),
        (DataType::Primitive(PrimitiveType::Void), _) => data.clone(),
        (DataType::Variant, DataType::Variant) => DataType::Variant,
        (DataType::Variant, DataType::Struct(data)) if data.is_like_a_variant() => DataType::Variant,
        (DataType::Primitive(to), DataType::Primitive(from)) if from.widens_to(*to) => table.clone(),
        (DataType::Primitive(from), DataType::Primitive(to)) if changes.widening.allows(*from, *to) => {
            changes.found.push(TypeChange { path: changes.path.clone(), from: *from, to: *to });
            data.clone()
        }
        (DataType::Struct(table), DataType::Struct(data)) => merge_struct(column, table, data, changes.widening)?.into(),
        (DataType::Array(table), DataType::Array(data)) => {
            let element = |changes: &mut Changes| merge_type(&path(column, ELEMENT), &table.element, &data.element, changes);
            ArrayType { element: changes.below(ELEMENT, element)?, contains_null: table.contains_null }.into()
        }
        (DataType::Map(table), DataType::Map(data)) => {
            let key = |changes: &mut Changes| merge_type(&path(column, KEY), &table.key, &data.key, changes);
            let value = |changes: &mut Changes| merge_type(&path(column, VALUE), &table.value, &data.value, changes);
            MapType {
                key: changes.below(KEY, key)?,
                value: changes.below(VALUE, value)?,
                value_contains_null: table.value_contains_null,
            }
            .into()
        }
        _ => {
            return Err(SchemaMismatch::Type {
                column: column.to_owned(),
                table_type: table.to_string(),
                data_type: data.to_string(),
            });
        }
    })
}
