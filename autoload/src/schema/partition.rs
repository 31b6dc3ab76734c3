//! Columns from the names of folders: `day=2024-01-01/hour=7/a.json`.

use std::collections::HashMap;

use arrow_schema::{DataType, Field, FieldRef, Fields};

use super::evolve::normalize;
use super::shape::{Shape, shape_of_text};
use crate::settings::{ColumnTypes, PartitionColumns, Settings};

/// Marks a column whose values stand in paths.
const MARK: &str = "boathouse.partition";

/// What Hive calls null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Whether the values of a column stand in paths.
pub(crate) fn is_partition(field: &Field) -> bool {
    field.metadata().contains_key(MARK)
}

/// A column whose values stand in paths.
pub(crate) fn as_partition(name: &str, data_type: DataType) -> FieldRef {
    let mark = HashMap::from([(MARK.to_owned(), "path".to_owned())]);
    Field::new(name, data_type, true).with_metadata(mark).into()
}

/// The columns whose values stand in files.
pub(crate) fn data_fields(fields: &Fields) -> Fields {
    fields.iter().filter(|field| !is_partition(field)).cloned().collect()
}

/// The value that a path has for a column; `None` where it has none, or null.
pub(crate) fn value_of(path: &str, name: &str) -> Option<String> {
    pairs(path).find(|(found, _)| found == name).and_then(|(_, value)| (value != NULL).then_some(value))
}

/// Names and values of a path's folders, unescaped.
fn pairs(path: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(|folder| {
        let (name, value) = folder.split_once('=')?;
        (!name.is_empty()).then(|| (unescape(name), unescape(value)))
    })
}

/// Hive writes letters that paths cannot hold as `%` and two digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'%').then(|| after.get(..2)).flatten();
        match code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The partition columns that the first files ask for.
///
/// With [`PartitionColumns::Inferred`] these are the folders that all the paths have. Types are those of hints, else
/// inferred where types of text are: whole numbers, floats, booleans, dates.
pub(crate) fn partitions<'a>(settings: &Settings, paths: impl Iterator<Item = &'a str> + Clone) -> Vec<FieldRef> {
    let names: Vec<String> = match &settings.partition_columns {
        PartitionColumns::Absent => return Vec::new(),
        PartitionColumns::Named(names) => names.clone(),
        PartitionColumns::Inferred => {
            let mut common: Option<Vec<String>> = None;
            for path in paths.clone() {
                let found: Vec<String> = pairs(path).map(|(name, _)| name).collect();
                match &mut common {
                    None => common = Some(found),
                    Some(common) => common.retain(|name| found.contains(name)),
                }
            }
            common.unwrap_or_default().into_iter().filter(|name| !settings.is_reserved(name)).collect()
        }
    };
    let typed = |name: &String| {
        let hinted = settings.schema_hints.get(name).map(normalize);
        let given = || {
            let schema = settings.schema.as_ref()?;
            schema.field_with_name(name).ok().map(|field| normalize(field.data_type()))
        };
        let data_type = hinted.or_else(given).unwrap_or_else(|| match settings.column_types {
            ColumnTypes::Text => DataType::Utf8,
            ColumnTypes::Inferred => infer(paths.clone().filter_map(|path| value_of(path, name))),
        });
        as_partition(name, data_type)
    };
    names.iter().map(typed).collect()
}

fn infer(values: impl Iterator<Item = String> + Clone) -> DataType {
    if values.clone().next().is_some() && values.clone().all(|value| is_date(&value)) {
        return DataType::Date32;
    }
    let mut shape = Shape::Null;
    for value in values {
        // `007` is a name, not a number.
        let padded = value.len() > 1 && value.starts_with('0') && !value.contains('.');
        shape.widen(if padded { Shape::Text } else { shape_of_text(&value) });
    }
    shape.data_type()
}

fn is_date(value: &str) -> bool {
    value.len() == 10 && chrono::NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_all_paths_have_become_columns_of_the_narrowest_type() {
        let settings = Settings {
            partition_columns: PartitionColumns::Inferred,
            column_types: ColumnTypes::Inferred,
            ..Settings::default()
        };
        let paths =
            ["day=2024-01-01/n=1/x=2/z=01/a.json", "x/day=2024-02-29/n=22/z=02/k=v", "day=__HIVE_DEFAULT_PARTITION__/z=3/n=3/b"];
        let fields = partitions(&settings, paths.into_iter());
        let found: Vec<_> = fields.iter().map(|field| (field.name().as_str(), field.data_type().clone())).collect();
        assert_eq!(found, [("day", DataType::Date32), ("n", DataType::Int64), ("z", DataType::Utf8)]);
        assert!(fields.iter().all(|field| is_partition(field)));
        assert_eq!(value_of(paths[2], "day"), None);
        assert_eq!(value_of("a=x%20y%2Fz%/f", "a").as_deref(), Some("x y/z%"));
        assert_eq!(value_of("a/b=1", "b"), None, "a file is no folder");
    }
}
