//! A table's schema with other columns: `ALTER TABLE … REPLACE COLUMNS`.
//!
//! **Source**: the reference implementation, `AlterTableReplaceColumnsDeltaCommand`, `SchemaUtils.canChangeDataType`.

use super::check::path;
use super::data_type::{ArrayType, DataType, MapType, PrimitiveType, StructField, StructType};
use super::mapping::ColumnMappingMode;
use super::walk::{ELEMENT, KEY, VALUE};
use super::widen::TypeChange;

/// The key of a column's comment.
const COMMENT: &str = "comment";

/// What the columns of a table may become when they are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplaceRules {
    /// Without a mapping, files know columns by their names, and none can be dropped.
    pub mode: ColumnMappingMode,
    /// Whether types may become wider: `delta.enableTypeWidening`.
    pub widens: bool,
    /// Whether only as far as Iceberg can follow.
    pub iceberg: bool,
}

/// The columns that a table has from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplacedColumns {
    /// All of them, in the order that was asked for.
    pub schema: StructType,
    /// Those that are gone, at any depth, dotted.
    pub dropped: Vec<String>,
    /// Those that have another type, at any depth, dotted.
    pub widened: Vec<String>,
}

/// Why columns cannot be replaced by others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceProblem {
    /// A column that is gone may have got another name.
    #[error(
        "`{dropped}` is gone and `{added}` is new: nobody can say whether that is another name; add, drop and rename columns one after the other"
    )]
    Ambiguous {
        /// A column that is gone.
        dropped: String,
        /// A column that is new.
        added: String,
    },
    /// Files know columns by their names.
    #[error(
        "column `{column}` is missing, and cannot be dropped while files know it by this name; set `delta.columnMapping.mode` = `name` first"
    )]
    Drops {
        /// The column.
        column: String,
    },
    /// Rows that are there have no value for it.
    #[error("new column `{column}` is NOT NULL, and rows that are there have no value for it; make it nullable")]
    Required {
        /// The column.
        column: String,
    },
    /// Rows that are there may have nulls in it.
    #[error("column `{column}` may be null, and would not be any more; use ALTER COLUMN … SET NOT NULL, which looks at the rows")]
    Tightens {
        /// The column.
        column: String,
    },
    /// Another type.
    #[error(
        "column `{column}` of type {from} cannot become {to}; with `delta.enableTypeWidening`, types become wider as far as the protocol lets them"
    )]
    Type {
        /// The column.
        column: String,
        /// Its type.
        from: String,
        /// The type that was asked for.
        to: String,
    },
}

impl StructType {
    /// The columns that were asked for. Those that this schema has keep their name, their metadata and so their values, whatever their place;
    /// new ones are nullable; those that are missing are gone.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, ReplaceRules, StructField, StructType};
    ///
    /// let column = |name: &str| StructField::nullable(name, PrimitiveType::Long);
    /// let rules = ReplaceRules { mode: ColumnMappingMode::None, widens: false, iceberg: false };
    /// let table = StructType::new([column("id"), column("fare")]);
    /// let replaced = table.replace_columns(&StructType::new([column("fare"), column("tip"), column("ID")]), rules)?;
    /// assert_eq!(replaced.schema.names().collect::<Vec<_>>(), ["fare", "tip", "id"]);
    /// assert!(table.replace_columns(&StructType::new([column("id")]), rules).is_err());
    /// # Ok::<_, boathouse_delta_protocol::schema::ReplaceProblem>(())
    /// ```
    pub fn replace_columns(&self, asked: &Self, rules: ReplaceRules) -> Result<ReplacedColumns, ReplaceProblem> {
        let mut replacing = Replacing { rules, dropped: Vec::new(), widened: Vec::new() };
        let schema = replacing.in_struct("", self, asked)?;
        Ok(ReplacedColumns { schema, dropped: replacing.dropped, widened: replacing.widened })
    }
}

struct Replacing {
    rules: ReplaceRules,
    dropped: Vec<String>,
    widened: Vec<String>,
}

impl Replacing {
    fn in_struct(&mut self, parent: &str, from: &StructType, asked: &StructType) -> Result<StructType, ReplaceProblem> {
        let (mut left, mut added) = (vec![true; from.fields.len()], None);
        let mut fields = Vec::with_capacity(asked.fields.len());
        for wanted in &asked.fields {
            let Some(at) = from.index_of(&wanted.name) else {
                let column = path(parent, &wanted.name);
                if !wanted.nullable {
                    return Err(ReplaceProblem::Required { column });
                }
                added.get_or_insert(column);
                fields.push(wanted.clone());
                continue;
            };
            let known = &from.fields[at];
            left[at] = false;
            fields.push(self.column(&path(parent, &known.name), known, wanted)?);
        }
        let gone = from.fields.iter().zip(left).filter(|(_, left)| *left).map(|(field, _)| path(parent, &field.name));
        let gone: Vec<String> = gone.collect();
        if let Some(first) = gone.first() {
            if let Some(added) = added {
                return Err(ReplaceProblem::Ambiguous { dropped: first.clone(), added });
            }
            if self.rules.mode == ColumnMappingMode::None {
                return Err(ReplaceProblem::Drops { column: first.clone() });
            }
        }
        self.dropped.extend(gone);
        Ok(StructType { fields })
    }

    fn column(&mut self, column: &str, known: &StructField, wanted: &StructField) -> Result<StructField, ReplaceProblem> {
        tightens(column, known.nullable, wanted.nullable)?;
        let mut changes = Vec::new();
        let mut field = known.clone();
        field.data_type = self.data_type(column, "", &known.data_type, &wanted.data_type, &mut changes)?;
        field.nullable = wanted.nullable;
        if let Some(comment) = wanted.metadata.get(COMMENT) {
            field.metadata.insert(COMMENT.to_owned(), comment.clone());
        }
        field.remember_changes(changes);
        Ok(field)
    }

    /// The type of a column, or of a part of it: `below` leads there from the column that remembers changes.
    fn data_type(
        &mut self,
        column: &str,
        below: &str,
        from: &DataType,
        to: &DataType,
        changes: &mut Vec<TypeChange>,
    ) -> Result<DataType, ReplaceProblem> {
        Ok(match (from, to) {
            (DataType::Primitive(PrimitiveType::Void), _) => to.clone(),
            (DataType::Struct(from), DataType::Struct(to)) => self.in_struct(column, from, to)?.into(),
            (DataType::Array(from), DataType::Array(to)) => {
                let element = path(column, ELEMENT);
                tightens(&element, from.contains_null, to.contains_null)?;
                let element = self.data_type(&element, &path(below, ELEMENT), &from.element, &to.element, changes)?;
                ArrayType { element, contains_null: to.contains_null }.into()
            }
            (DataType::Map(from), DataType::Map(to)) => {
                let (key, value) = (path(column, KEY), path(column, VALUE));
                tightens(&value, from.value_contains_null, to.value_contains_null)?;
                MapType {
                    key: self.data_type(&key, &path(below, KEY), &from.key, &to.key, changes)?,
                    value: self.data_type(&value, &path(below, VALUE), &from.value, &to.value, changes)?,
                    value_contains_null: to.value_contains_null,
                }
                .into()
            }
            (DataType::Primitive(narrow), DataType::Primitive(wide))
                if narrow != wide && self.rules.widens && narrow.may_become(*wide, self.rules.iceberg) =>
            {
                changes.push(TypeChange { path: below.to_owned(), from: *narrow, to: *wide });
                self.widened.push(column.to_owned());
                to.clone()
            }
            (from, to) if from == to => from.clone(),
            (from, to) => {
                let (column, from, to) = (column.to_owned(), from.to_string(), to.to_string());
                return Err(ReplaceProblem::Type { column, from, to });
            }
        })
    }
}

fn tightens(column: &str, known: bool, wanted: bool) -> Result<(), ReplaceProblem> {
    if known && !wanted { Err(ReplaceProblem::Tightens { column: column.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MAPPED: ReplaceRules = ReplaceRules { mode: ColumnMappingMode::Name, widens: true, iceberg: false };

    fn table() -> StructType {
        let mut id = StructField::nullable("id", PrimitiveType::Integer);
        id.metadata.insert("delta.columnMapping.physicalName".to_owned(), "col-1".into());
        let stop = StructType::new([
            StructField::nullable("name", PrimitiveType::String),
            StructField::nullable("seconds", PrimitiveType::Integer),
        ]);
        let stops = ArrayType { element: stop.into(), contains_null: true };
        StructType::new([id, StructField::nullable("stops", stops), StructField::required("fare", PrimitiveType::Double)])
    }

    #[test]
    fn columns_that_stay_keep_what_they_are_and_nested_ones_come_go_and_widen() {
        let stop = |fields: Vec<StructField>| ArrayType { element: StructType::new(fields).into(), contains_null: true };
        let wide = StructField::nullable("seconds", PrimitiveType::Long);
        let more = vec![
            wide.clone(),
            StructField::nullable("NAME", PrimitiveType::String),
            StructField::nullable("x", PrimitiveType::Date),
        ];
        let mut id = StructField::nullable("ID", PrimitiveType::Integer);
        id.metadata.insert(COMMENT.to_owned(), "who".into());
        let asked = StructType::new([StructField::nullable("stops", stop(more)), id]);
        let replaced = table().replace_columns(&asked, MAPPED).unwrap();
        assert_eq!(replaced.dropped, ["fare"]);
        assert_eq!(replaced.widened, ["stops.element.seconds"]);
        assert_eq!(replaced.schema.to_string(), "struct<stops:array<struct<seconds:long,name:string,x:date>>,id:integer>");
        let id = &replaced.schema.fields[1];
        assert_eq!((id.physical_name(ColumnMappingMode::Name), id.metadata.len()), ("col-1", 2));
        assert_eq!(replaced.schema.columns_with_type_changes().len(), 1);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let with = |edit: &dyn Fn(&mut Vec<StructField>)| {
            let mut asked = table();
            edit(&mut asked.fields);
            asked
        };
        let problem = |asked: &StructType, rules| table().replace_columns(asked, rules).unwrap_err();
        let dropped = with(&|fields| drop(fields.remove(2)));
        let none = ReplaceRules { mode: ColumnMappingMode::None, ..MAPPED };
        assert_eq!(problem(&dropped, none), ReplaceProblem::Drops { column: "fare".to_owned() });
        let renamed = with(&|fields| fields[2].name = "price".to_owned());
        let renamed = StructType::new(renamed.fields.into_iter().map(|field| StructField { nullable: true, ..field }));
        let ambiguous = ReplaceProblem::Ambiguous { dropped: "fare".to_owned(), added: "price".to_owned() };
        assert_eq!(problem(&renamed, MAPPED), ambiguous);
        let required = with(&|fields| fields.push(StructField::required("tip", PrimitiveType::Double)));
        assert_eq!(problem(&required, MAPPED), ReplaceProblem::Required { column: "tip".to_owned() });
        let tight = with(&|fields| fields[0].nullable = false);
        assert_eq!(problem(&tight, MAPPED), ReplaceProblem::Tightens { column: "id".to_owned() });
        let wide = with(&|fields| fields[0].data_type = PrimitiveType::Long.into());
        assert!(matches!(problem(&wide, ReplaceRules { widens: false, ..MAPPED }), ReplaceProblem::Type { .. }));
        assert!(table().replace_columns(&wide, MAPPED).is_ok());
        let other = with(&|fields| fields[2].data_type = PrimitiveType::String.into());
        assert!(matches!(problem(&other, MAPPED), ReplaceProblem::Type { column, .. } if column == "fare"));
    }
}
