#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use boathouse_base::{Env, ManualClock};
use proptest::prelude::*;

use super::*;
use crate::{Database, Migration};

const THINGS: SearchSchema = SearchSchema {
    searched: "things",
    attributes: &[
        Attribute { names: &["name"], sql: "t.name", kind: ValueKind::Text, usage: Usage::FilterAndOrder },
        Attribute { names: &["created", "Created"], sql: "t.created", kind: ValueKind::Number, usage: Usage::FilterAndOrder },
    ],
    groups: &[
        Group {
            names: &["metrics", "metric"],
            from: "metrics x WHERE x.name = t.name",
            keys: Keys::Rows { key: "x.key", value: "x.value" },
            kind: ValueKind::Number,
            nan: Some("x.is_nan"),
        },
        Group {
            names: &["tags", "tag"],
            from: "tags x WHERE x.name = t.name",
            keys: Keys::Rows { key: "x.key", value: "x.value" },
            kind: ValueKind::Text,
            nan: None,
        },
    ],
};

async fn things() -> Database {
    let database = Database::open("sqlite::memory:", &Env::new(ManualClock::default(), 1)).await.unwrap();
    let sql = "CREATE TABLE things (name {text}, created {int});
        CREATE TABLE metrics (name {text}, key {text}, value {real}, is_nan {int});
        CREATE TABLE tags (name {text}, key {text}, value {text});
        INSERT INTO things VALUES ('a', 1), ('b', 2), ('c', NULL), ('D', 4);
        INSERT INTO metrics VALUES ('a', 'auc', 0.5, 0), ('b', 'auc', 0.9, 0), ('c', 'auc', 0, 1);
        INSERT INTO tags VALUES ('a', 'k', 'Hello'), ('b', 'k', 'hello'), ('b', 'x y', '50%*?[a'), ('D', 'k', '');";
    database.migrate("things", &[Migration { version: 1, name: "things", sql }]).await.unwrap();
    database
}

async fn search(database: &Database, filter: &str, order: &[&str]) -> Vec<String> {
    let filter: Filter = filter.parse().unwrap();
    let order: Vec<OrderBy> = order.iter().map(|o| o.parse().unwrap()).collect();
    let mut sql = Sql::new("SELECT t.name AS name FROM things t WHERE ");
    sql.append(THINGS.condition(&filter, database.dialect()).unwrap());
    sql.push(" ORDER BY ").append(THINGS.order(&order).unwrap()).push("t.name");
    database.fetch_all("search", sql).await.unwrap().iter().map(|r| r.text("name").unwrap()).collect()
}

#[tokio::test]
async fn filters_select_what_they_say() {
    let db = things().await;
    for (filter, expected) in [
        ("", "D a b c"),
        ("metrics.auc > 0.5", "b"),
        ("metrics.auc >= 0.5 AND metric.auc < 1", "a b"),
        ("metrics.auc != 0.5", "b c"),
        ("metrics.auc = 0", ""),
        ("tags.k = 'hello'", "b"),
        ("tags.k LIKE 'hel%'", "b"),
        ("tags.k LIKE '_ello'", "a b"),
        ("tags.k ILIKE 'HEL%'", "a b"),
        ("tags.`x y` LIKE '50%*?[_'", "b"),
        ("tags.`x y` = '50%*?[a'", "b"),
        ("tags.k IS NULL", "c"),
        ("tags.k IS NOT NULL", "D a b"),
        ("tags.k IN ('hello', 'Hello')", "a b"),
        ("tags.k NOT IN ('hello')", "D a"),
        ("attributes.name IN ('a', 'c', 'zz')", "a c"),
        ("name != 'a' AND created <= 4", "D b"),
        ("name = 'a'' OR 1=1 --'", ""),
    ] {
        assert_eq!(search(&db, filter, &[]).await.join(" "), expected, "{filter}");
    }
}

#[tokio::test]
async fn orders_put_nan_and_missing_values_last() {
    let db = things().await;
    for (order, expected) in [
        (&["metrics.auc DESC"][..], "b a c D"),
        (&["metrics.auc"], "a b c D"),
        (&["tags.k", "name"], "D a b c"),
        (&["created DESC"], "D b a c"),
        (&["name DESC"], "c b a D"),
    ] {
        assert_eq!(search(&db, "", order).await.join(" "), expected, "{order:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    for (filter, expected) in [
        ("metrics.auc LIKE 'x'", "< <="),
        ("metrics.auc > '1'", "a number"),
        ("tags.k = 3", "in quotes"),
        ("tags.k > '3'", "ILIKE"),
        ("name IS NULL", "LIKE ILIKE IN"),
        ("color = 'x'", "name, created, metrics.KEY, tags.KEY"),
        ("params.x = 'x'", "tags.KEY"),
        ("tags.k IN ('a', 1)", "in quotes"),
    ] {
        let filter: Filter = filter.parse().unwrap();
        let error = THINGS.condition(&filter, Dialect::Sqlite).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// The slow, obvious meaning of LIKE.
fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|i| like(&text[i..], rest)),
        Some(('_', rest)) => !text.is_empty() && like(&text[1..], rest),
        Some((c, rest)) => text.first() == Some(c) && like(&text[1..], rest),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn like_in_sqlite_means_what_like_means(rows in proptest::collection::vec(("[ab*?%_\\[\\]]{0,5}", "[ab*?%_\\[\\]\\\\]{0,5}"), 16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let db = Database::open("sqlite::memory:", &Env::new(ManualClock::default(), 1)).await.unwrap();
            for (text, pattern) in rows {
                let row = db
                    .fetch_optional("match", Sql::new("SELECT ? GLOB ? AS hit").bind(text.as_str()).bind(like_to_glob(&pattern)))
                    .await
                    .unwrap()
                    .unwrap();
                let (t, p): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
                assert_eq!(row.flag("hit").unwrap(), like(&t, &p), "{text} LIKE {pattern}");
            }
        });
    }
}
