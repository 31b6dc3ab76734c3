//! Random files in random order, random limits, restarts at any moment: nothing lost, nothing twice.

use std::collections::BTreeMap;

use boathouse_autoload::{AutoLoader, ColumnTypes};
use boathouse_base::Offset;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{Site, files, read, rescued, rows, step};

/// A line as it lands.
#[derive(Debug, Clone)]
enum Line {
    Row(Map<String, Value>),
    Broken(String),
    Blank,
}

#[derive(Debug, Clone)]
enum Action {
    Land { path: String, lines: Vec<Line> },
    Step { limit: u64 },
    Restart,
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => (-3_i64..3).prop_map(Value::from),
        1 => Just(json!(1.5)),
        1 => "[a-c]{0,2}".prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!("quote\" and \\ and ü\n")),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[xyX]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn line() -> impl Strategy<Value = Line> {
    prop_oneof![
        8 => prop::collection::btree_map("[a-dA]", value(), 0..4).prop_map(|map| Line::Row(map.into_iter().collect())),
        1 => prop::sample::select(vec!["{\"a\":", "[1]", "{} x", "nul", "{\"a\":01}", "\"x\""]).prop_map(|text| Line::Broken(text.to_owned())),
        1 => Just(Line::Blank),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => ("[a-c]{1,3}(/[a-c]{1,2})?", prop::collection::vec(line(), 0..5)).prop_map(|(path, lines)| Action::Land { path: format!("{path}.json"), lines }),
        2 => (1_u64..4).prop_map(|limit| Action::Step { limit }),
        1 => Just(Action::Restart),
    ]
}

async fn open(site: &Site, types: ColumnTypes) -> AutoLoader {
    site.describe().infer_column_types(types).open().await.unwrap()
}

/// A row and its rescued data together are the line that landed.
fn whole(row: &Value) -> Value {
    let mut whole = row.clone();
    if let Some(rescued) = rescued(row) {
        merge(&mut whole, rescued);
    }
    whole.as_object_mut().unwrap().remove("_rescued_data");
    whole
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Equal but for nulls, for numbers written as floats, and for values kept as text.
fn same(landed: &Value, found: Option<&Value>) -> bool {
    match (landed, found) {
        (Value::Null, found) => found.is_none_or(|found| found.is_null()),
        (Value::Object(a), Some(Value::Object(b))) => {
            a.iter().all(|(name, value)| same(value, b.get(name))) && b.keys().all(|name| a.contains_key(name))
        }
        (Value::Array(a), Some(Value::Array(b))) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, Some(b))),
        (Value::Number(a), Some(Value::Number(b))) => a.as_f64() == b.as_f64(),
        (Value::String(a), Some(Value::String(b))) => a == b,
        (other, Some(Value::String(text))) => serde_json::from_str::<Value>(text).is_ok_and(|value| &value == other),
        (a, Some(b)) => a == b,
        (_, None) => false,
    }
}

async fn run(actions: Vec<Action>, types: ColumnTypes) -> Result<(), TestCaseError> {
    let site = Site::new();
    let mut source = open(&site, types).await;
    let mut landed: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    let mut ranges: Vec<(Option<Offset>, Offset, Vec<Value>)> = Vec::new();
    let mut position: Option<Offset> = None;
    let mut found = Vec::new();
    // In the end everything is drained.
    let drain = std::iter::repeat_n(Action::Step { limit: 3 }, actions.len() + 1);
    for action in actions.iter().cloned().chain(drain) {
        match action {
            Action::Land { path, lines } => {
                if landed.contains_key(&path) {
                    continue;
                }
                let text: Vec<String> = lines
                    .iter()
                    .map(|line| match line {
                        Line::Row(row) => serde_json::to_string(row).unwrap(),
                        Line::Broken(text) => text.clone(),
                        Line::Blank => "  ".to_owned(),
                    })
                    .collect();
                site.land(&path, text.join("\n")).await;
                landed.insert(path, lines);
            }
            Action::Step { limit } => {
                if let Some((batches, end)) = step(&source, position.as_ref(), files(limit)).await {
                    let some = rows(&batches);
                    found.extend(some.clone());
                    ranges.push((position.replace(end.clone()), end, some));
                }
            }
            Action::Restart => source = open(&site, types).await,
        }
    }

    let mut expected: Vec<&Map<String, Value>> = Vec::new();
    let mut broken = 0;
    for line in landed.values().flatten() {
        match line {
            Line::Row(row) => expected.push(row),
            Line::Broken(_) => broken += 1,
            Line::Blank => {}
        }
    }
    prop_assert_eq!(found.len(), expected.len());
    let mut left: Vec<Value> = found.iter().map(whole).collect();
    // Equal rows first: one that is only alike must not take the place of another's equal.
    expected.retain(|row| match left.iter().position(|found| found.as_object() == Some(*row)) {
        Some(at) => {
            left.swap_remove(at);
            false
        }
        None => true,
    });
    for row in expected {
        let landed = Value::Object(row.clone());
        let at = left.iter().position(|found| same(&landed, Some(found)));
        prop_assert!(at.is_some(), "the line {landed} is not among {left:?}");
        left.swap_remove(at.unwrap());
    }

    // Another process reads the same from every range, and from all of them at once.
    let again = open(&site, types).await;
    for (start, end, some) in &ranges {
        prop_assert_eq!(&rows(&read(&again, start.as_ref(), end).await), some);
    }
    if let Some(end) = &position {
        prop_assert_eq!(rows(&read(&again, None, end).await), found);
    }
    prop_assert_eq!(again.quarantine_counts().await.unwrap().lines, broken);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_quarantined_lines_are_the_landed_lines(actions in prop::collection::vec(action(), 0..14), inferred in any::<bool>()) {
        let types = if inferred { ColumnTypes::Inferred } else { ColumnTypes::Text };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(actions, types))?;
    }
}
