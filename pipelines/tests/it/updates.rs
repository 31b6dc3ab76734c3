//! Updates compute what is out of date, in order, and nothing else.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_pipelines::{Dataset, DatasetStatus, Pipeline, PipelineError, Query};

use crate::fixture::House;

fn medallion() -> Pipeline {
    Pipeline::named("sales")
        .external(["bronze"])
        .dataset(Dataset::materialized_view("gold", Query::sql("SELECT sum(amount) AS total FROM big")))
        .dataset(Dataset::view("big", Query::sql("SELECT * FROM silver WHERE amount >= 10")))
        .dataset(Dataset::materialized_view("silver", Query::sql("SELECT id, amount FROM bronze WHERE amount IS NOT NULL")))
        .build()
        .unwrap()
}

#[tokio::test]
async fn an_update_computes_what_is_declared_in_any_order_through_views() {
    let house = House::new();
    house.append("bronze", &[(1, Some(5)), (2, Some(10)), (3, None), (4, Some(20))]).await;
    let report = medallion().update(house.target()).run().await.unwrap().into_result().unwrap();
    assert_eq!(report.datasets.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["silver", "big", "gold"]);
    assert_eq!(house.ints("silver", "id").await, [1, 2, 4]);
    assert_eq!(house.ints("gold", "total").await, [30]);
    assert_eq!(report.dataset("silver").unwrap().rows, 3);
}

#[tokio::test]
async fn a_second_update_finds_everything_up_to_date_and_writes_nothing() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10))]).await;
    medallion().update(house.target()).run().await.unwrap();
    let versions = (house.version("silver").await, house.version("gold").await);
    let report = medallion().update(house.target()).run().await.unwrap();
    assert!(matches!(report.dataset("silver").unwrap().status, DatasetStatus::UpToDate));
    assert!(matches!(report.dataset("gold").unwrap().status, DatasetStatus::UpToDate));
    assert_eq!((house.version("silver").await, house.version("gold").await), versions);
}

#[tokio::test]
async fn new_rows_upstream_reach_every_dataset_below() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10))]).await;
    medallion().update(house.target()).run().await.unwrap();
    house.append("bronze", &[(2, Some(15))]).await;
    medallion().update(house.target()).run().await.unwrap().into_result().unwrap();
    assert_eq!(house.ints("gold", "total").await, [25]);
}

#[tokio::test]
async fn a_changed_query_computes_its_dataset_again_and_what_reads_it() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10)), (2, Some(12))]).await;
    medallion().update(house.target()).run().await.unwrap();
    let changed = Pipeline::named("sales")
        .external(["bronze"])
        .dataset(Dataset::materialized_view("silver", Query::sql("SELECT id, amount * 2 AS amount FROM bronze")))
        .dataset(Dataset::view("big", Query::sql("SELECT * FROM silver WHERE amount >= 10")))
        .dataset(Dataset::materialized_view("gold", Query::sql("SELECT sum(amount) AS total FROM big")))
        .build()
        .unwrap();
    changed.update(house.target()).run().await.unwrap().into_result().unwrap();
    assert_eq!(house.ints("gold", "total").await, [44]);
}

#[tokio::test]
async fn a_full_refresh_computes_again_what_is_up_to_date() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10))]).await;
    medallion().update(house.target()).run().await.unwrap();
    let before = house.version("silver").await;
    medallion().update(house.target()).full_refresh().run().await.unwrap();
    assert_eq!(house.version("silver").await, before + 1);
}

#[tokio::test]
async fn a_selection_leaves_the_rest_as_it_is() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10))]).await;
    let report = medallion().update(house.target()).only(["silver"]).run().await.unwrap();
    assert!(matches!(report.dataset("gold").unwrap().status, DatasetStatus::Excluded));
    assert_eq!(house.ints("silver", "id").await, [1]);
    let error = medallion().update(house.target()).only(["sliver"]).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("did you mean `silver`?"), "{error}");
}

#[tokio::test]
async fn a_failed_dataset_stops_those_that_read_it_and_no_other() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10)), (2, Some(0))]).await;
    let pipeline = Pipeline::named("sales")
        .external(["bronze"])
        .dataset(Dataset::materialized_view("broken", Query::sql("SELECT id, 10 / amount AS share FROM bronze")))
        .dataset(Dataset::materialized_view("below", Query::sql("SELECT id FROM broken")))
        .dataset(Dataset::materialized_view("beside", Query::sql("SELECT id FROM bronze")))
        .build()
        .unwrap();
    let report = pipeline.update(house.target()).run().await.unwrap();
    assert!(matches!(&report.dataset("below").unwrap().status, DatasetStatus::SkippedAfter(upstream) if upstream == "broken"));
    assert!(matches!(report.dataset("beside").unwrap().status, DatasetStatus::Completed));
    assert_eq!(house.ints("beside", "id").await, [1, 2]);
    let error = report.into_result().unwrap_err();
    assert!(error.to_string().contains("`broken`"), "{error}");
    assert!(!house.tables.names().contains(&"broken".to_owned()) || house.tables.get("broken").history().is_empty());
}

#[tokio::test]
async fn the_event_log_tells_what_happened() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10))]).await;
    medallion().update(house.target()).run().await.unwrap();
    let text = |values: Vec<Option<String>>| values.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
    assert_eq!(text(house.events("dataset").await), ["", "silver", "big", "gold", ""]);
    assert_eq!(text(house.events("status").await), ["STARTING", "COMPLETED", "VIEW", "COMPLETED", "COMPLETED"]);
}

#[test]
fn sql_that_does_not_parse_names_its_dataset() {
    let error = Pipeline::named("p").dataset(Dataset::materialized_view("bad", Query::sql("SELEC 1"))).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(matches!(error, PipelineError::Query { dataset, .. } if dataset == "bad"));
}

#[tokio::test]
async fn a_function_reads_what_it_names_and_is_computed_again_with_its_version() {
    let house = House::new();
    house.append("bronze", &[(1, Some(10))]).await;
    let pipeline = |version: &'static str| {
        let query = Query::function(version, ["bronze"], |session| async move { session.table("bronze").await });
        Pipeline::named("p").external(["bronze"]).dataset(Dataset::materialized_view("copy", query)).build().unwrap()
    };
    pipeline("1").update(house.target()).run().await.unwrap().into_result().unwrap();
    let same = pipeline("1").update(house.target()).run().await.unwrap();
    assert!(matches!(same.dataset("copy").unwrap().status, DatasetStatus::UpToDate));
    let next = pipeline("2").update(house.target()).run().await.unwrap();
    assert!(matches!(next.dataset("copy").unwrap().status, DatasetStatus::Completed));
}
