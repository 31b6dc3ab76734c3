//! Expectations count every row, and act on those that do not meet them.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_pipelines::{Dataset, OnViolation, Pipeline, PipelineError, Query};
use proptest::prelude::*;

use crate::fixture::House;

fn copy(rules: &[(&str, &str, OnViolation)]) -> Pipeline {
    let copy = Dataset::materialized_view("copy", Query::sql("SELECT id, amount FROM bronze"));
    let copy = rules.iter().fold(copy, |copy, (name, predicate, action)| copy.expect(*name, *predicate, *action));
    Pipeline::named("p").external(["bronze"]).dataset(copy).build().unwrap()
}

#[tokio::test]
async fn warn_keeps_drop_leaves_out_and_null_is_a_violation() {
    let house = House::new();
    house.append("bronze", &[(1, Some(5)), (2, None), (3, Some(-1)), (4, Some(7))]).await;
    let rules = [("positive", "amount > 0", OnViolation::Drop), ("odd", "id % 2 = 1", OnViolation::Warn)];
    let report = copy(&rules).update(house.target()).run().await.unwrap().into_result().unwrap();
    let copied = report.dataset("copy").unwrap();
    assert_eq!(house.ints("copy", "id").await, [1, 4]);
    assert_eq!((copied.rows, copied.dropped_rows), (2, 2));
    let counts: Vec<_> = copied.expectations.iter().map(|c| (c.name.as_str(), c.passed, c.failed)).collect();
    assert_eq!(counts, [("positive", 2, 2), ("odd", 2, 2)]);
}

#[tokio::test]
async fn a_rule_may_use_functions_that_the_optimizer_rewrites() {
    let house = House::new();
    house.append("bronze", &[(1, Some(5)), (2, None)]).await;
    let rules = [("given", "coalesce(amount, 0) > 0 AND now() IS NOT NULL", OnViolation::Drop)];
    copy(&rules).update(house.target()).run().await.unwrap().into_result().unwrap();
    assert_eq!(house.ints("copy", "id").await, [1]);
}

#[tokio::test]
async fn fail_writes_nothing_and_says_which_rule_and_how_many_rows() {
    let house = House::new();
    house.append("bronze", &[(1, Some(5))]).await;
    let pipeline = copy(&[("positive", "amount > 0", OnViolation::Fail)]);
    pipeline.update(house.target()).run().await.unwrap().into_result().unwrap();
    let before = house.version("copy").await;
    house.append("bronze", &[(2, Some(-5)), (3, Some(6))]).await;
    let error = pipeline.update(house.target()).run().await.unwrap().into_result().unwrap_err();
    assert!(matches!(&error, PipelineError::Violated { expectation, failed: 1, .. } if expectation == "positive"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(house.version("copy").await, before);
    assert_eq!(house.ints("copy", "id").await, [1]);
}

#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_names_itself() {
    let house = House::new();
    house.append("bronze", &[(1, Some(5))]).await;
    for (predicate, words) in [("amnt > 0", "amnt"), ("amount + 1", "not Boolean")] {
        let pipeline = copy(&[("rule", predicate, OnViolation::Warn)]);
        let error = pipeline.update(house.target()).run().await.unwrap().into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("`rule`") && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn rules_of_one_name_and_rules_of_views_are_refused() {
    let twice = Dataset::materialized_view("a", Query::sql("SELECT 1 AS x"));
    let twice = twice.expect("r", "x > 0", OnViolation::Warn).expect("r", "x > 1", OnViolation::Warn);
    let error = Pipeline::named("p").dataset(twice).build().unwrap_err();
    assert!(matches!(error, PipelineError::DuplicateExpectation { .. }));
    let view = Dataset::view("v", Query::sql("SELECT 1 AS x")).expect("r", "x > 0", OnViolation::Warn);
    let error = Pipeline::named("p").dataset(view).build().unwrap_err();
    assert!(matches!(error, PipelineError::ExpectationOnView { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Counts and kept rows against a loop over the rows.
    #[test]
    fn counts_equal_those_of_a_loop(amounts in proptest::collection::vec(proptest::option::of(-3_i64..4), 0..60), low in -3_i64..4, high in -3_i64..4) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new();
            let rows: Vec<(i64, Option<i64>)> = (0..).zip(amounts).collect();
            house.append("bronze", &rows).await;
            let (above, below) = (format!("amount > {low}"), format!("amount < {high}"));
            let rules = [("above", above.as_str(), OnViolation::Drop), ("below", below.as_str(), OnViolation::Drop)];
            let report = copy(&rules).update(house.target()).run().await.unwrap().into_result().unwrap();
            let passes = |rule: &dyn Fn(i64) -> bool| rows.iter().filter(|(_, a)| a.is_some_and(rule)).count() as u64;
            let kept: Vec<i64> = rows.iter().filter(|(_, a)| a.is_some_and(|a| a > low && a < high)).map(|(id, _)| *id).collect();
            let counts = &report.dataset("copy").unwrap().expectations;
            prop_assert_eq!(counts[0].passed, passes(&|a| a > low));
            prop_assert_eq!(counts[1].passed, passes(&|a| a < high));
            prop_assert_eq!(counts[0].passed + counts[0].failed, rows.len() as u64);
            prop_assert_eq!(house.ints("copy", "id").await, kept);
            Ok(())
        })?;
    }
}
