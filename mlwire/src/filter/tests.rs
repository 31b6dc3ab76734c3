#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::Error;

fn parse(text: &str) -> Filter {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn one(text: &str) -> (Option<String>, String, Operator, Operand) {
    let mut filter = parse(text);
    assert_eq!(filter.comparisons.len(), 1, "{text}");
    let c = filter.comparisons.remove(0);
    (c.key.group, c.key.name, c.operator, c.operand)
}

#[test]
fn an_empty_filter_has_no_comparison() {
    assert_eq!(parse(""), Filter::default());
    assert_eq!(parse("  \n"), Filter::default());
}

#[test]
fn keys_are_read_bare_quoted_and_with_dots() {
    for (text, group, name) in [
        ("metrics.auc > 1", Some("metrics"), "auc"),
        ("tags.mlflow.source.name > 1", Some("tags"), "mlflow.source.name"),
        ("tags.\"a key\" > 1", Some("tags"), "a key"),
        ("tags.`a.b c` > 1", Some("tags"), "a.b c"),
        ("`tags`.`a b` > 1", Some("tags"), "a b"),
        ("params.lr-0/x>1", Some("params"), "lr-0/x"),
        ("start_time>1", None, "start_time"),
        ("\"Run name\" > 1", None, "Run name"),
    ] {
        let (g, n, operator, operand) = one(text);
        assert_eq!((g.as_deref(), n.as_str(), operator, operand), (group, name, Operator::Greater, Operand::Int(1)), "{text}");
    }
}

#[test]
fn operators_are_read_in_any_case_and_spacing() {
    use Operator::*;
    for (text, operator) in [
        ("a=1", Equal),
        ("a !=1", NotEqual),
        ("a< 1", Less),
        ("a<=1", LessOrEqual),
        ("a >1", Greater),
        ("a>=1", GreaterOrEqual),
        ("a like '1'", Like),
        ("a ILike '1'", ILike),
        ("a IN ('1')", In),
        ("a in('1',)", In),
        ("a not  in ('1', '2')", NotIn),
        ("a is null", IsNull),
        ("a IS NOT NULL", IsNotNull),
    ] {
        assert_eq!(one(text).2, operator, "{text}");
    }
}

#[test]
fn values_are_numbers_or_quoted_text() {
    for (text, value) in [
        ("a = -3", Operand::Int(-3)),
        ("a = +0.5", Operand::Float(0.5)),
        ("a = 1e3", Operand::Float(1000.0)),
        ("a = .5", Operand::Float(0.5)),
        ("a = 'it''s'", Operand::Text("it's".into())),
        ("a = \"x\"", Operand::Text("x".into())),
        ("a = ''", Operand::Text(String::new())),
        ("a = 'and 1 = 2'", Operand::Text("and 1 = 2".into())),
        ("a IN ('x', 2)", Operand::List(vec![Operand::Text("x".into()), Operand::Int(2)])),
    ] {
        assert_eq!(one(text).3, value, "{text}");
    }
}

#[test]
fn comparisons_are_joined_by_and() {
    let filter = parse("metrics.a > 1 AND params.b = 'and' and tags.c IS NULL");
    let keys: Vec<String> = filter.comparisons.iter().map(|c| c.key.to_string()).collect();
    assert_eq!(keys, ["metrics.a", "params.b", "tags.c"]);
}

#[test]
fn errors_say_where_and_what_was_expected() {
    for (text, at, found, expected) in [
        ("metrics.a >", 12, "the end", "a number"),
        ("metrics.a > 1 OR metrics.b > 2", 15, "OR", "no OR"),
        ("metrics.a > 1 metrics.b > 2", 15, "metrics.b", "AND"),
        ("metrics.a ~ 1", 11, "~", "a comparison"),
        ("metrics.a = abc", 13, "abc", "in quotes"),
        ("params.a = 'x", 12, "never closed", "a number"),
        ("tags. = 'x'", 7, "=", "after the dot"),
        (".x = 1", 1, ".x", "a key"),
        ("a IN 'x'", 6, "'x'", "( and a list"),
        ("a IN ()", 7, ")", "a number"),
        ("a IS 3", 6, "3", "NULL"),
        ("a NOT LIKE 'x'", 7, "LIKE", "IN after NOT"),
        ("a = 1 AND", 10, "the end", "a key"),
        ("é = 'x' AND (a = 1)", 13, "(", "a key"),
    ] {
        let Err(Error::Filter { position, found: f, expected: e, .. }) = text.parse::<Filter>() else {
            panic!("{text} was read")
        };
        assert_eq!(position, at, "{text}");
        assert!(f.contains(found), "{text}: found {f}");
        assert!(e.contains(expected), "{text}: expected {e}");
    }
}

#[test]
fn order_clauses_have_a_key_and_a_direction() {
    let order = |text: &str| text.parse::<OrderBy>();
    assert_eq!(order("metrics.`a b` DESC").unwrap().direction, Direction::Descending);
    assert_eq!(order("start_time").unwrap().key, Key { group: None, name: "start_time".into() });
    assert_eq!(order("name asc").unwrap().direction, Direction::Ascending);
    for wrong in ["", "name sideways", "name DESC, x", "DESC DESC DESC", "= 1"] {
        assert!(matches!(order(wrong), Err(Error::OrderBy { .. })), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in ".{0,40}") {
        let _ = text.parse::<Filter>();
        let _ = text.parse::<OrderBy>();
    }

    #[test]
    fn a_written_filter_is_read_back(
        parts in proptest::collection::vec(("[a-z][a-z0-9_]{0,6}", "[^\"`]{1,8}", "[^']{0,8}", any::<i64>(), 0..4_u8), 1..5)
    ) {
        let text: Vec<String> = parts.iter().map(|(group, key, value, number, shape)| match shape {
            0 => format!("{group}.\"{key}\" = '{value}'"),
            1 => format!("{group}.`{key}` >= {number}"),
            2 => format!("{group}.\"{key}\" NOT IN ('{value}', {number})"),
            _ => format!("{group}.`{key}` IS NOT NULL"),
        }).collect();
        let filter: Filter = text.join(" AND ").parse().unwrap();
        prop_assert_eq!(filter.comparisons.len(), parts.len());
        for (c, (group, key, value, number, shape)) in filter.comparisons.into_iter().zip(parts) {
            prop_assert_eq!(c.key, Key { group: Some(group), name: key });
            let expected = match shape {
                0 => (Operator::Equal, Operand::Text(value)),
                1 => (Operator::GreaterOrEqual, Operand::Int(number)),
                2 => (Operator::NotIn, Operand::List(vec![Operand::Text(value), Operand::Int(number)])),
                _ => (Operator::IsNotNull, Operand::Nothing),
            };
            prop_assert_eq!((c.operator, c.operand), expected);
        }
    }
}
