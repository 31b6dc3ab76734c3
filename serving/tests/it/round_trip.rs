//! The same row gets the same bits, whichever way it comes.

use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
use boathouse_base::Model;
use boathouse_serving::model::LinfaModel;
use proptest::prelude::*;

use crate::fixtures::{fixed, flights, logistic, post, predictions, serve};

type Row = (f64, Option<f64>, String, bool);

fn row() -> impl Strategy<Value = Row> {
    let float = prop_oneof![any::<f64>().prop_filter("finite", |v| v.is_finite()), -1e3..1e3, (-50_i32..50).prop_map(f64::from)];
    let text = prop_oneof!["AA|UA|ZZ", any::<String>()];
    (float.clone(), proptest::option::of(float), text, any::<bool>())
}

fn model() -> &'static LinfaModel {
    static MODEL: OnceLock<LinfaModel> = OnceLock::new();
    MODEL.get_or_init(|| logistic(&flights(800, 30)))
}

fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("hour", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.0))) as ArrayRef, false),
        ("wind", Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>()), true),
        ("carrier", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.2))), false),
        ("holiday", Arc::new(BooleanArray::from(rows.iter().map(|r| r.3).collect::<Vec<_>>())), false),
    ])
    .unwrap()
}

fn records(rows: &[Row]) -> String {
    let rows = rows.iter().map(|r| serde_json::json!({"hour": r.0, "wind": r.1, "carrier": r.2, "holiday": r.3})).collect();
    serde_json::json!({"dataframe_records": serde_json::Value::Array(rows)}).to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn http_answers_what_the_model_predicts_bit_for_bit(rows in proptest::collection::vec(row(), 1..100)) {
        let expected = model().predict(&batch(&rows)).unwrap();
        let expected: Vec<u64> = expected.column(0).as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (whole, single) = runtime.block_on(async {
            let server = serve(&fixed("late", 1, Arc::new(model().clone())).await).await;
            let (client, url) = (reqwest::Client::new(), format!("{}/invocations", server.url));
            let (status, _, whole) = post(&client, &url, "application/json", records(&rows)).await;
            assert_eq!(status, 200, "{whole}");
            let mut single = Vec::new();
            for row in &rows {
                single.extend(predictions(&post(&client, &url, "application/json", records(std::slice::from_ref(row))).await.2));
            }
            (predictions(&whole), single)
        });
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        prop_assert_eq!(bits(whole), expected.clone());
        prop_assert_eq!(bits(single), expected);
    }
}
