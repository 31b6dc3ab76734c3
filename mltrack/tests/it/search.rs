//! Search, order, pages, and Arrow.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use boathouse_base::{DomainError as _, ErrorKind};
use boathouse_mltrack::{DatasetInput, ExperimentSearch, RunSearch, RunStatus, View};
use proptest::prelude::*;

use crate::fixture::Fixture;

/// Six runs, r0 to r5, each a millisecond after the other.
async fn runs(f: &Fixture) -> String {
    let experiment = f.experiment().await;
    for i in 0..6_i32 {
        f.tick();
        let run = experiment.start_run(format!("r{i}")).await.unwrap();
        run.log_param("model", if i % 2 == 0 { "Tree" } else { "linear" }).await.unwrap();
        match i {
            4 => run.log_metric("auc", f64::NAN, 0).await.unwrap(),
            5 => run.set_tag("odd key", "x").await.unwrap(),
            _ => run.log_metric("auc", f64::from(i) / 10.0, 0).await.unwrap(),
        }
        if i == 2 {
            run.log_input(DatasetInput::table_version("silver", "mem", 7, "training")).await.unwrap();
            run.end(RunStatus::Failed).await.unwrap();
        }
    }
    experiment.id().to_owned()
}

async fn names(f: &Fixture, search: RunSearch) -> Vec<String> {
    f.tracker.search_runs(search).await.unwrap().runs.into_iter().map(|r| r.info.run_name).collect()
}

#[tokio::test]
async fn filters_find_the_runs_they_describe() {
    for f in Fixture::each().await {
        let id = runs(&f).await;
        for (filter, expected) in [
            ("", "r5 r4 r3 r2 r1 r0"),
            ("metrics.auc >= 0.2", "r3 r2"),
            ("metrics.auc < 0.2 AND params.model = 'Tree'", "r0"),
            ("params.model LIKE 'T%'", "r4 r2 r0"),
            ("params.model LIKE 't%'", ""),
            ("params.model ILIKE 't%e'", "r4 r2 r0"),
            ("tags.`odd key` IS NOT NULL", "r5"),
            ("tags.\"odd key\" IS NULL AND metrics.auc != 0.1", "r4 r3 r2 r0"),
            ("attributes.status = 'FAILED'", "r2"),
            ("run_name IN ('r1', 'r4', 'zz')", "r4 r1"),
            ("attributes.run_name NOT IN ('r1', 'r4')", "r5 r3 r2 r0"),
            ("dataset.name = 'silver' AND datasets.digest = 'v7' AND dataset.context ILIKE 'TRAIN%'", "r2"),
            ("start_time > 1700000000004 AND attribute.end_time >= 0", ""),
            ("attributes.`Run name` = 'r3'", "r3"),
            ("params.nothing != 'x'", ""),
        ] {
            let search = RunSearch { experiment_ids: vec![id.clone()], filter: filter.into(), ..RunSearch::default() };
            assert_eq!(names(&f, search).await.join(" "), expected, "{filter} in {}", f.tracker.database_url());
        }
    }
}

#[tokio::test]
async fn orders_put_what_is_missing_last() {
    for f in Fixture::each().await {
        let id = runs(&f).await;
        for (order, expected) in [
            (&["metrics.auc DESC"][..], "r3 r2 r1 r0 r4 r5"),
            (&["metrics.`auc` ASC"], "r0 r1 r2 r3 r4 r5"),
            (&["params.model", "start_time ASC"], "r0 r2 r4 r1 r3 r5"),
            (&["attributes.end_time"], "r2 r5 r4 r3 r1 r0"),
            (&["tags.`odd key`", "run_name DESC"], "r5 r4 r3 r2 r1 r0"),
        ] {
            let order_by = order.iter().map(|o| (*o).to_owned()).collect();
            let search = RunSearch { experiment_ids: vec![id.clone()], order_by, ..RunSearch::default() };
            assert_eq!(names(&f, search).await.join(" "), expected, "{order:?} in {}", f.tracker.database_url());
        }
    }
}

#[tokio::test]
async fn pages_join_to_the_whole() {
    for f in Fixture::each().await {
        let id = runs(&f).await;
        let mut search = RunSearch { experiment_ids: vec![id], max_results: 4, ..RunSearch::default() };
        let first = f.tracker.search_runs(search.clone()).await.unwrap();
        search.page_token = first.next_page_token;
        assert_eq!((first.runs.len(), search.page_token.is_some()), (4, true));
        let last = f.tracker.search_runs(search.clone()).await.unwrap();
        assert_eq!((last.runs.len(), last.next_page_token), (2, None));
        search.page_token = Some("junk".into());
        assert_eq!(f.tracker.search_runs(search).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_search_with_a_wrong_filter_says_what_is_wrong() {
    let f = Fixture::file().await;
    for (filter, expected) in [
        ("metrics.auc >", "at character 14"),
        ("params.x = 1", "text in quotes"),
        ("attributes.color = 'red'", "run_id, run_name, status"),
        ("metrics.a > 1 OR metrics.b > 1", "no OR"),
    ] {
        let error = f.tracker.search_runs(RunSearch { filter: filter.into(), ..RunSearch::default() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn views_show_active_or_deleted_runs() {
    for f in Fixture::each().await {
        let experiment = f.experiment().await;
        let (a, b) = (experiment.start_run("a").await.unwrap(), experiment.start_run("b").await.unwrap());
        f.tracker.delete_run(b.id()).await.unwrap();
        for (view, expected) in [(View::Active, 1), (View::Deleted, 1), (View::All, 2)] {
            let search = RunSearch { experiment_ids: vec![experiment.id().into()], view, ..RunSearch::default() };
            assert_eq!(f.tracker.search_runs(search).await.unwrap().runs.len(), expected, "{view:?}");
        }
        assert_ne!(a.id(), b.id());
    }
}

#[tokio::test]
async fn experiments_are_found_by_name_and_tag() {
    for f in Fixture::each().await {
        let mark = f.env.uuid();
        for name in ["x", "y"] {
            f.tick();
            f.tracker.experiment(format!("{mark} {name}")).with_tag("team", name).create().await.unwrap();
        }
        let find = async |filter: String| {
            let search = ExperimentSearch { filter, ..ExperimentSearch::default() };
            let found = f.tracker.search_experiments(search).await.unwrap().experiments;
            found.into_iter().map(|e| e.name.chars().last().unwrap()).collect::<String>()
        };
        assert_eq!(find(format!("name LIKE '{mark}%'")).await, "yx");
        assert_eq!(find(format!("name ILIKE '{}%' AND tags.team = 'x'", mark.to_uppercase())).await, "x");
    }
}

#[tokio::test]
async fn runs_and_metrics_are_tables_for_an_analyst() {
    for f in Fixture::each().await {
        let id = runs(&f).await;
        let search =
            RunSearch { experiment_ids: vec![id], max_results: 4, order_by: vec!["run_name".into()], ..RunSearch::default() };
        let table = f.tracker.runs_table(search).await.unwrap();
        assert_eq!(table.num_rows(), 6, "all pages");
        let names: Vec<_> = table["run_name"].as_string::<i32>().iter().flatten().collect();
        assert_eq!(names, ["r0", "r1", "r2", "r3", "r4", "r5"]);
        assert_eq!(table["metrics"].as_map().value(3).column(1).as_primitive::<Float64Type>().value(0), 0.3);
        let ids: Vec<String> = table["run_id"].as_string::<i32>().iter().flatten().map(str::to_owned).collect();
        let points = f.tracker.metrics_table(&ids).await.unwrap();
        assert_eq!(points.num_rows(), 5);
        assert!(points["value"].as_primitive::<Float64Type>().value(4).is_nan());
        let none = f.tracker.metrics_table(&[]).await.unwrap();
        assert_eq!((none.num_rows(), none.schema()), (0, points.schema()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The latest point and the history, against a list in memory.
    #[test]
    fn metrics_agree_with_a_simple_model(points in proptest::collection::vec((0..3_u8, -2..3_i64, 0..3_i64, -2..3_i8), 1..40), cut in 0..40_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let f = Fixture::file().await;
            let run = f.experiment().await.start_run("model").await.unwrap();
            let metrics: Vec<_> = points.iter().map(|(k, step, at, v)| boathouse_mltrack::Metric::new(format!("m{k}"), (*v).into(), *at, *step)).collect();
            let (first, second) = metrics.split_at(cut.min(metrics.len()));
            for part in [first, second] {
                let batch = boathouse_mltrack::RunBatch { metrics: part.to_vec(), ..Default::default() };
                run.log_batch(batch).await.unwrap();
            }
            let mut model: BTreeMap<String, Vec<(i64, i64, i8)>> = BTreeMap::new();
            for (k, step, at, v) in &points {
                model.entry(format!("m{k}")).or_default().push((*at, *step, *v));
            }
            let latest = run.get().await.unwrap().metrics;
            assert_eq!(latest.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
            for (key, mut expected) in model {
                expected.sort_unstable();
                expected.dedup();
                let history = f.tracker.get_metric_history(run.id(), &key).await.unwrap();
                let history: Vec<_> = history.iter().map(|m| (m.timestamp_ms, m.step, m.value)).collect();
                assert_eq!(history, expected.iter().map(|(at, step, v)| (*at, *step, f64::from(*v))).collect::<Vec<_>>());
                let last = expected.iter().max_by_key(|(at, step, v)| (*step, *at, *v)).unwrap();
                assert_eq!((latest[&key].timestamp_ms, latest[&key].step, latest[&key].value), (last.0, last.1, f64::from(last.2)));
            }
        });
    }
}
