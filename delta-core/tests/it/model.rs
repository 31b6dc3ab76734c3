//! Random DELETE, UPDATE and MERGE against a list of rows in memory.

use boathouse_delta_core::{DeltaTableExt, EngineError, MergeDelete, MergeInsert, MergeUpdate, RowChangeSettings};
use proptest::prelude::*;

use crate::feed::check_feed;
use crate::rows::{FEED, OwnedRow, Row, VECTORS, batch, frame, read, sorted, table_with};

/// What the table can do, and when files are copied.
#[derive(Debug, Clone)]
struct Features {
    partitioned: bool,
    vectors: bool,
    feed: bool,
    mapping: bool,
    tracking: bool,
    copy_above_percent: u8,
}

fn features() -> impl Strategy<Value = Features> {
    let percent = prop_oneof![Just(0), Just(20), Just(50), Just(100)];
    (any::<[bool; 5]>(), percent).prop_map(|([partitioned, vectors, feed, mapping, tracking], copy_above_percent)| Features {
        partitioned,
        vectors,
        feed,
        mapping,
        tracking,
        copy_above_percent,
    })
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    IdIs(i64),
    IdAbove(i64),
    PartIs(&'static str),
    PartIsNull,
    ValueIsNull,
    ValueBelowId,
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

impl Condition {
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::IdIs(k) => format!("id = {k}"),
            Self::IdAbove(k) => format!("id > {k}"),
            Self::PartIs(part) => format!("part = '{part}'"),
            Self::PartIsNull => "part IS NULL".to_owned(),
            Self::ValueIsNull => "v IS NULL".to_owned(),
            Self::ValueBelowId => "v < id".to_owned(),
            Self::Both(a, b) => format!("({}) AND ({})", a.sql(), b.sql()),
            Self::Either(a, b) => format!("({}) OR ({})", a.sql(), b.sql()),
            Self::Not(a) => format!("NOT ({})", a.sql()),
        }
    }

    fn truth(&self, row: &Row) -> Option<bool> {
        match self {
            Self::IdIs(k) => row.0.map(|id| id == *k),
            Self::IdAbove(k) => row.0.map(|id| id > *k),
            Self::PartIs(part) => row.1.map(|found| found == *part),
            Self::PartIsNull => Some(row.1.is_none()),
            Self::ValueIsNull => Some(row.2.is_none()),
            Self::ValueBelowId => Some(i64::from(row.2?) < row.0?),
            Self::Both(a, b) => match (a.truth(row), b.truth(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Either(a, b) => match (a.truth(row), b.truth(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(a) => a.truth(row).map(|truth| !truth),
        }
    }

    pub(crate) fn holds(&self, row: &Row) -> bool {
        self.truth(row) == Some(true)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    Delete(Condition),
    SetValue(Condition, i32),
    SetPart(Condition, &'static str),
    AddToValue(Condition),
    Merge { source: Vec<Row>, delete_zero: bool, update_larger: bool, insert: bool, by_source: bool },
}

pub(crate) fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let id = prop_oneof![8 => (0..12_i64).prop_map(Some), 1 => Just(None)];
    let part = prop_oneof![Just(Some("a b")), Just(Some("ü%/")), Just(None)];
    let value = prop_oneof![4 => (0..5_i32).prop_map(Some), 1 => Just(None)];
    prop::collection::vec((id, part, value), 1..most)
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        (0..12_i64).prop_map(Condition::IdIs),
        (0..12_i64).prop_map(Condition::IdAbove),
        prop_oneof![Just("a b"), Just("ü%/"), Just("none")].prop_map(Condition::PartIs),
        Just(Condition::PartIsNull),
        Just(Condition::ValueIsNull),
        Just(Condition::ValueBelowId),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::Both(a.into(), b.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::Either(a.into(), b.into())),
            inner.prop_map(|a| Condition::Not(a.into())),
        ]
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => rows(8).prop_map(Step::Append),
        2 => condition().prop_map(Step::Delete),
        1 => (condition(), 0..9_i32).prop_map(|(c, v)| Step::SetValue(c, v)),
        1 => condition().prop_map(|c| Step::SetPart(c, "a b")),
        1 => condition().prop_map(Step::AddToValue),
        3 => (rows(6), any::<[bool; 4]>()).prop_map(|(source, [delete_zero, update_larger, insert, by_source])| {
            // A merge without a clause is an error of its own.
            let insert = insert || !(delete_zero || update_larger || by_source);
            Step::Merge { source, delete_zero, update_larger, insert, by_source }
        }),
    ]
}

/// What a source row wants of a row that it matches.
#[derive(PartialEq)]
enum Wish {
    Delete,
    Update,
}

/// The merge on a list; nothing when it is ambiguous.
fn merged(table: &[Row], source: &[Row], [delete_zero, update_larger, insert, by_source]: [bool; 4]) -> Option<Vec<Row>> {
    let same = |t: &Row, s: &Row| t.0.is_some() && t.0 == s.0;
    let mut out = Vec::new();
    for t in table {
        let matching: Vec<&Row> = source.iter().filter(|s| same(t, s)).collect();
        if matching.is_empty() {
            match t.2 {
                Some(3) if by_source => {}
                Some(4) if by_source => out.push((t.0, t.1, Some(100))),
                _ => out.push(*t),
            }
            continue;
        }
        let wish = |s: &Row| {
            if delete_zero && s.2 == Some(0) {
                Some(Wish::Delete)
            } else {
                (update_larger && s.2.zip(t.2).is_some_and(|(s, t)| s > t)).then_some(Wish::Update)
            }
        };
        let wishes: Vec<(Wish, &Row)> = matching.iter().filter_map(|s| wish(s).map(|wish| (wish, *s))).collect();
        match wishes.first() {
            None => out.push(*t),
            Some(_) if wishes.iter().all(|(wish, _)| *wish == Wish::Delete) => {}
            Some((_, s)) if wishes.len() == 1 => out.push((t.0, s.1, s.2)),
            Some(_) => return None,
        }
    }
    if insert {
        out.extend(source.iter().filter(|s| s.2.is_some() && !table.iter().any(|t| same(t, s))));
    }
    Some(out)
}

async fn run(features: Features, steps: Vec<Step>) {
    let wanted = [
        (features.vectors, VECTORS),
        (features.feed, FEED),
        (features.mapping, ("delta.columnMapping.mode", "name")),
        (features.tracking, ("delta.enableRowTracking", "true")),
    ];
    let properties: Vec<_> = wanted.into_iter().filter(|(on, _)| *on).map(|(_, property)| property).collect();
    let settings = || RowChangeSettings { copy_above_percent: features.copy_above_percent };
    let table = table_with(features.partitioned, &properties).await;
    let mut model: Vec<Row> = Vec::new();
    // The rows after each version.
    let mut versions: Vec<Vec<OwnedRow>> = vec![Vec::new()];
    for step in steps {
        let before = table.snapshot().await.unwrap().version();
        match &step {
            Step::Append(rows) => {
                table.append(batch(rows).into()).run().await.unwrap();
                model.extend(rows);
            }
            Step::Delete(condition) => {
                let delete = table.delete().filter(condition.sql()).with_row_change_settings(settings());
                let report = delete.run().await.unwrap();
                let count = model.len();
                model.retain(|row| !condition.holds(row));
                assert_eq!(report.rows_deleted, Some((count - model.len()) as u64), "{step:?}");
                assert_eq!(report.committed, count != model.len());
                assert_eq!(report.version, before + u64::from(report.committed), "no row, no commit");
            }
            Step::SetValue(condition, value) => {
                let update = table.update().set("v", value.to_string()).filter(condition.sql());
                let report = update.with_row_change_settings(settings()).run().await.unwrap();
                assert!(features.copy_above_percent > 0 || report.files_marked == 0);
                let hit = model.iter_mut().filter(|row| condition.holds(row));
                assert_eq!(report.rows_updated, hit.map(|row| row.2 = Some(*value)).count() as u64, "{step:?}");
            }
            Step::SetPart(condition, part) => {
                let update = table.update().set("part", format!("'{part}'")).filter(condition.sql());
                let report = update.with_row_change_settings(settings()).run().await.unwrap();
                assert!(!features.vectors || features.copy_above_percent < 100 || report.rows_copied == 0);
                let hit = model.iter_mut().filter(|row| condition.holds(row));
                assert_eq!(report.rows_updated, hit.map(|row| row.1 = Some(part)).count() as u64, "{step:?}");
            }
            Step::AddToValue(condition) => {
                let update = table.update().set("v", "v + 1").set("id", "id").filter(condition.sql());
                update.with_row_change_settings(settings()).run().await.unwrap();
                model.iter_mut().filter(|row| condition.holds(row)).for_each(|row| row.2 = row.2.map(|v| v + 1));
            }
            Step::Merge { source, delete_zero, update_larger, insert, by_source } => {
                let mut merge = table.merge(frame(source), "t.id = s.id").with_row_change_settings(settings());
                if *delete_zero {
                    merge = merge.when_matched_delete(MergeDelete::only_if("s.v = 0"));
                }
                if *update_larger {
                    let update = MergeUpdate::set("v", "s.v").and_set("part", "s.part").only_if("s.v > t.v");
                    merge = merge.when_matched_update(update);
                }
                if *insert {
                    merge = merge.when_not_matched_insert(MergeInsert::all().only_if("s.v IS NOT NULL"));
                }
                if *by_source {
                    merge = merge.when_not_matched_by_source_delete(MergeDelete::only_if("t.v = 3"));
                    merge = merge.when_not_matched_by_source_update(MergeUpdate::set("v", "100").only_if("t.v = 4"));
                }
                let result = merge.run().await;
                match merged(&model, source, [*delete_zero, *update_larger, *insert, *by_source]) {
                    Some(rows) => {
                        let report = result.unwrap();
                        assert_eq!(model.len() as u64 + report.rows_inserted - report.rows_deleted, rows.len() as u64);
                        model = rows;
                    }
                    None => {
                        let error = result.unwrap_err();
                        assert!(matches!(error, EngineError::AmbiguousMatch { .. }), "{error}");
                        assert_eq!(table.snapshot().await.unwrap().version(), before, "an ambiguous merge leaves the table");
                    }
                }
            }
        }
        assert_eq!(read(&table).await, sorted(&model), "after {step:?}");
        let now = table.snapshot().await.unwrap().version();
        versions.resize(usize::try_from(now).unwrap() + 1, sorted(&model));
    }
    if features.feed {
        check_feed(&table, &versions).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn random_statements_give_the_rows_of_the_model(features in features(), steps in prop::collection::vec(step(), 1..9)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(features, steps));
    }
}
