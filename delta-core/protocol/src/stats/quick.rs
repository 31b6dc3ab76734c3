//! Statistics of chosen columns, without looking at the others.

use super::file_stats::ColumnStats;
use super::read::{RawStats, leaf};
use crate::scan::Cursor;
use crate::schema::StructField;

/// What is known of the rows of a file, and of chosen columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChosenStats {
    pub(crate) num_records: Option<u64>,
    pub(crate) tight_bounds: bool,
    pub(crate) columns: Vec<ColumnStats>,
}

/// A column: names of the structs around it in files, its own name there, and itself.
pub(crate) type Chosen<'a> = (&'a [String], &'a str, &'a StructField);

/// Reads `add.stats`. What does not parse is unknown.
pub(crate) fn read_chosen(text: &str, chosen: &[Chosen<'_>]) -> ChosenStats {
    quick(text, chosen).unwrap_or_else(|| slow(text, chosen))
}

/// The way for any JSON, and for columns within structs.
fn slow(text: &str, chosen: &[Chosen<'_>]) -> ChosenStats {
    let raw = RawStats::parse(text).unwrap_or_default();
    let levels = raw.levels();
    let columns = chosen.iter().map(|(parents, name, field)| match parents.split_first() {
        None => levels.leaf(field, name),
        Some((top, rest)) => rest.iter().fold(levels.below(top), |level, parent| level.below(parent)).leaf(field, name),
    });
    ChosenStats { num_records: raw.num_records(), tight_bounds: raw.tight_bounds(), columns: columns.collect() }
}

/// The way for what writers usually write. `None`: take the other one.
fn quick(text: &str, chosen: &[Chosen<'_>]) -> Option<ChosenStats> {
    if chosen.iter().any(|(parents, ..)| !parents.is_empty()) {
        return None;
    }
    let (mut num_records, mut tight_bounds) = (None, true);
    let mut found: Vec<[Option<&str>; 3]> = vec![[None; 3]; chosen.len()];
    let mut cursor = Cursor::new(text);
    cursor.eat(b'{')?;
    if cursor.eat(b'}').is_none() {
        loop {
            let tree = match cursor.key()? {
                "numRecords" => {
                    num_records = cursor.value()?.parse().ok();
                    None
                }
                "tightBounds" => {
                    tight_bounds = matches!(cursor.value()?, "true" | "null");
                    None
                }
                "minValues" => Some(0),
                "maxValues" => Some(1),
                "nullCount" => Some(2),
                _ => {
                    cursor.value()?;
                    None
                }
            };
            if let Some(tree) = tree {
                collect(&mut cursor, chosen, |column, value| found[column][tree] = Some(value))?;
            }
            if !cursor.more(b'}')? {
                break;
            }
        }
    }
    cursor.end()?;
    let columns = chosen.iter().zip(found).map(|((_, _, field), [min, max, nulls])| leaf(field, min, max, nulls));
    Some(ChosenStats { num_records, tight_bounds, columns: columns.collect() })
}

/// The values of chosen columns in one of the three trees.
fn collect<'a>(cursor: &mut Cursor<'a>, chosen: &[Chosen<'_>], mut found: impl FnMut(usize, &'a str)) -> Option<()> {
    if cursor.null() {
        return Some(());
    }
    cursor.eat(b'{')?;
    if cursor.eat(b'}').is_some() {
        return Some(());
    }
    loop {
        let key = cursor.key()?;
        let value = cursor.value()?;
        if let Some(at) = chosen.iter().position(|(_, name, _)| *name == key) {
            found(at, value);
        }
        if !cursor.more(b'}')? {
            return Some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::PrimitiveType;

    fn fields() -> Vec<StructField> {
        vec![
            StructField::nullable("a", PrimitiveType::Long),
            StructField::nullable("b", PrimitiveType::String),
            StructField::nullable("c", PrimitiveType::Double),
            StructField::nullable("d", PrimitiveType::Date),
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            "-?[0-9]{1,4}(\\.[0-9]{1,2})?",
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("{\"x\":[1,{\"y\":2}]}".to_owned()),
            "\"[a-z\\-0-9\\\\\\\\é]{0,12}\"",
            Just("\"2024-02-29\"".to_owned()),
        ];
        text.prop_map(|text: String| text)
    }

    fn tree() -> impl Strategy<Value = String> {
        let entry = (prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("other")], value());
        let object = proptest::collection::btree_map(entry.0, entry.1, 0..5).prop_map(|entries| {
            let entries: Vec<String> = entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            format!("{{{}}}", entries.join(" , "))
        });
        prop_oneof![8 => object, 1 => Just("null".to_owned())]
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same(min in tree(), max in tree(), nulls in tree(), rows in value(), tight in any::<bool>()) {
            let text = format!(
                "{{\"numRecords\":{rows},\"minValues\":{min},\"maxValues\":{max},\"nullCount\":{nulls},\"tightBounds\":{tight}}}"
            );
            let fields = fields();
            let chosen: Vec<Chosen<'_>> = fields.iter().map(|field| (&[][..], field.name.as_str(), field)).collect();
            // Of text that is no JSON, what can be read counts or nothing does: both are safe.
            let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            if let Some(quick) = quick(&text, &chosen).filter(|_| is_json) {
                prop_assert_eq!(quick, slow(&text, &chosen), "{}", text);
            }
        }

        #[test]
        fn any_text_is_read_or_unknown(text in any::<String>()) {
            let fields = fields();
            let chosen: Vec<Chosen<'_>> = fields.iter().map(|field| (&[][..], field.name.as_str(), field)).collect();
            read_chosen(&text, &chosen);
        }
    }
}
