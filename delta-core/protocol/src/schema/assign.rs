//! Ids and physical names for the columns of tables with column mapping.
//!
//! **Source**: Delta protocol, "Writer Requirements for Column Mapping", "Iceberg Compatibility V2".

use serde_json::{Map, Value};

use super::data_type::{DataType, StructField, StructType};
use super::keys::{COLUMN_ID, NESTED_IDS, PHYSICAL_NAME};
use super::walk::{ELEMENT, KEY, VALUE};

/// What a column is called in files when it gets its mapping.
pub type PhysicalName<'a> = &'a mut dyn FnMut(&StructField) -> String;

/// Whether elements of lists, and keys and values of maps, have ids too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NestedIds {
    /// No: only columns have.
    #[default]
    None,
    /// Yes, as Iceberg wants it.
    Assigned,
}

impl StructType {
    /// The highest id of a column, or of what is nested in one.
    pub fn max_column_id(&self) -> i64 {
        let mut highest = 0;
        self.each_column(&mut |field| {
            let nested = field.metadata.get(NESTED_IDS).and_then(Value::as_object);
            let nested = nested.into_iter().flat_map(|ids| ids.values().filter_map(Value::as_i64));
            highest = nested.chain(field.column_mapping_id()).fold(highest, i64::max);
        });
        highest
    }

    /// Gives an id and a physical name to every column, at every depth, that has none. Those that are there stay.
    ///
    /// Ids go on after `max_id` and those of the schema, in the order of the columns, parents first. Returns the
    /// schema and the highest id, which becomes the table property `delta.columnMapping.maxColumnId`.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_protocol::schema::{ColumnMappingMode, NestedIds, PrimitiveType, StructField, StructType};
    ///
    /// let schema = StructType::new([StructField::nullable("fare", PrimitiveType::Double)]);
    /// let (mapped, max_id) = schema.assign_mapping(6, NestedIds::None, &mut |_| "col-1".to_owned());
    /// assert_eq!((mapped.fields[0].column_mapping_id(), max_id), (Some(7), 7));
    /// assert_eq!(mapped.fields[0].physical_name(ColumnMappingMode::Name), "col-1");
    /// ```
    #[must_use]
    pub fn assign_mapping(&self, max_id: i64, nested: NestedIds, name: PhysicalName<'_>) -> (Self, i64) {
        let mut highest = max_id.max(self.max_column_id());
        let mapped = self.map_fields(&mut |mut field| {
            let mut next = || {
                highest += 1;
                highest
            };
            if field.column_mapping_id().is_none() {
                field.metadata.insert(COLUMN_ID.to_owned(), next().into());
            }
            if !field.metadata.get(PHYSICAL_NAME).is_some_and(Value::is_string) {
                let name = name(&field);
                field.metadata.insert(PHYSICAL_NAME.to_owned(), name.into());
            }
            if nested == NestedIds::Assigned {
                let known = match field.metadata.get(NESTED_IDS) {
                    Some(Value::Object(known)) => known.clone(),
                    _ => Map::new(),
                };
                let mut ids = Map::new();
                let physical = field.metadata.get(PHYSICAL_NAME).and_then(Value::as_str).unwrap_or(&field.name).to_owned();
                nested_ids(&physical, &field.data_type, &known, &mut ids, &mut next);
                if !ids.is_empty() {
                    field.metadata.insert(NESTED_IDS.to_owned(), ids.into());
                }
            }
            field
        });
        (mapped, highest)
    }

    /// The schema with the mapping of `known` for columns of the same path and type, at every depth.
    ///
    /// Columns that are of another type now are other columns: they get no mapping here.
    #[must_use]
    pub fn keep_mapping(&self, known: &Self) -> Self {
        let fields = self.fields.iter().map(|field| match known.field(&field.name) {
            Some(same) if is_same_kind(&same.data_type, &field.data_type) => {
                let mut kept = field.clone();
                for key in [COLUMN_ID, PHYSICAL_NAME, NESTED_IDS] {
                    if let Some(value) = same.metadata.get(key) {
                        kept.metadata.insert(key.to_owned(), value.clone());
                    }
                }
                kept.data_type = keep_within(&field.data_type, &same.data_type);
                kept
            }
            _ => field.clone(),
        });
        Self { fields: fields.collect() }
    }
}

fn keep_within(data_type: &DataType, known: &DataType) -> DataType {
    match (data_type, known) {
        (DataType::Struct(inner), DataType::Struct(known)) => inner.keep_mapping(known).into(),
        (DataType::Array(array), DataType::Array(known)) => {
            let mut array = array.clone();
            array.element = keep_within(&array.element, &known.element);
            DataType::Array(array)
        }
        (DataType::Map(map), DataType::Map(known)) => {
            let mut map = map.clone();
            (map.key, map.value) = (keep_within(&map.key, &known.key), keep_within(&map.value, &known.value));
            DataType::Map(map)
        }
        _ => data_type.clone(),
    }
}

/// Whether a column of the one type can go on as a column of the other.
fn is_same_kind(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::Primitive(a), DataType::Primitive(b)) => a == b,
        (DataType::Variant, DataType::Variant) => true,
        (DataType::Struct(_), DataType::Struct(_)) => true,
        (DataType::Array(a), DataType::Array(b)) => is_same_kind(&a.element, &b.element),
        (DataType::Map(a), DataType::Map(b)) => is_same_kind(&a.key, &b.key) && is_same_kind(&a.value, &b.value),
        _ => false,
    }
}

/// Ids for what lies below a column up to the next columns.
fn nested_ids(
    path: &str,
    data_type: &DataType,
    known: &Map<String, Value>,
    ids: &mut Map<String, Value>,
    next: &mut dyn FnMut() -> i64,
) {
    let children: Vec<(&str, &DataType)> = match data_type {
        DataType::Primitive(_) | DataType::Variant | DataType::Struct(_) => Vec::new(),
        DataType::Array(array) => vec![(ELEMENT, &array.element)],
        DataType::Map(map) => vec![(KEY, &map.key), (VALUE, &map.value)],
    };
    for (part, child) in children {
        let path = format!("{path}.{part}");
        let id = known.get(&path).and_then(Value::as_i64).unwrap_or_else(&mut *next);
        ids.insert(path.clone(), id.into());
        nested_ids(&path, child, known, ids, next);
    }
}
