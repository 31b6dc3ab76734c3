//! Training, saving, loading.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use boathouse_base::{ErrorKind, Model, contract};
use boathouse_serving::ServingError;
use boathouse_serving::model::{
    ForestSettings, LinfaModel, LogisticSettings, ModelFiles, ModelInfo, ModelKind, ModelLoader, StorageLoader,
};
use boathouse_storage::{Location, Storage, Stores};
use bytes::Bytes;

use crate::fixtures::{encoder, env, flights, logistic};

fn forest(rows: &RecordBatch, threads: usize) -> LinfaModel {
    let settings = ForestSettings {
        trees: 12,
        max_depth: 6,
        rows_per_tree: 1500,
        feature_share: 0.7,
        threads: std::num::NonZeroUsize::new(threads),
        ..ForestSettings::default()
    };
    LinfaModel::train_random_forest(&encoder(rows), std::slice::from_ref(rows), "late", &settings).unwrap()
}

fn scores(model: &dyn Model, rows: &RecordBatch) -> Vec<f64> {
    model.predict(rows).unwrap().column(0).as_primitive::<Float64Type>().values().to_vec()
}

/// The chance that a late flight scores above one that is not.
fn auc(model: &dyn Model, rows: &RecordBatch) -> f64 {
    let late = rows.column_by_name("late").unwrap().as_boolean();
    let scores = scores(model, rows);
    let (mut won, mut pairs) = (0.0, 0.0);
    for i in (0..late.len()).filter(|i| late.value(*i)) {
        for j in (0..late.len()).filter(|j| !late.value(*j)) {
            pairs += 1.0;
            won += if scores[i] > scores[j] {
                1.0
            } else if scores[i] == scores[j] {
                0.5
            } else {
                0.0
            };
        }
    }
    won / pairs
}

#[test]
fn both_kinds_keep_the_contract_of_a_model() {
    let rows = flights(3000, 1);
    contract::model(&logistic(&rows), &rows.slice(0, 20));
    contract::model(&forest(&rows, 2), &rows.slice(0, 20));
}

#[test]
fn both_kinds_learn_what_makes_a_flight_late_and_say_how_likely_it_is() {
    let (train, test) = (flights(4000, 2), flights(1500, 3));
    let late = test.column_by_name("late").unwrap().as_boolean();
    let base_rate = late.true_count() as f64 / late.len() as f64;
    for model in [logistic(&train), forest(&train, 2)] {
        let auc = auc(&model, &test);
        assert!(auc > 0.75, "{}: {auc}", model.kind());
        let scores = scores(&model, &test);
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        assert!((mean - base_rate).abs() < 0.06, "{}: mean {mean}, base rate {base_rate}", model.kind());
        assert!(scores.iter().all(|p| (0.0..=1.0).contains(p)));
    }
}

#[test]
fn logistic_weights_point_the_way_the_data_does_whichever_class_is_more_frequent() {
    let rows = flights(3000, 4);
    let (weights, _) = logistic(&rows).weights().unwrap();
    let weight = |name: &str| weights.iter().find(|(n, _)| n == name).unwrap().1;
    assert!(weight("hour") > 0.5, "{weights:?}");
    assert!(weight("carrier=ZZ") > weight("carrier=AA"), "{weights:?}");

    // Only late flights but one: now the other class is the rare one.
    let late = rows.column_by_name("late").unwrap().as_boolean();
    let mut picked: Vec<RecordBatch> = (0..rows.num_rows()).filter(|i| late.value(*i)).map(|i| rows.slice(i, 1)).collect();
    picked.extend((0..rows.num_rows()).filter(|i| !late.value(*i)).take(50).map(|i| rows.slice(i, 1)));
    let model = LinfaModel::train_logistic(&encoder(&rows), &picked, "late", &LogisticSettings::default()).unwrap();
    let mean = scores(&model, &rows).iter().sum::<f64>() / rows.num_rows() as f64;
    assert!(mean > 0.7, "nearly every training row was late: {mean}");
}

#[test]
fn a_forest_is_the_same_whatever_the_number_of_threads() {
    let rows = flights(2000, 5);
    assert_eq!(forest(&rows, 1).to_json().unwrap(), forest(&rows, 4).to_json().unwrap());
}

#[tokio::test]
async fn a_model_comes_back_from_its_folder_bit_for_bit() {
    let rows = flights(2000, 6);
    for model in [logistic(&rows), forest(&rows, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::parse(folder.path().to_str().unwrap()).unwrap().join("models/late");
        let info = ModelInfo::new(&env()).with_run("0123456789abcdef0123456789abcdef");
        let files = ModelFiles::linfa(&model, &info).unwrap();
        files.write(&Storage::open(&location).unwrap()).await.unwrap();

        let mlmodel = files.mlmodel().unwrap();
        assert_eq!(mlmodel.run_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
        assert_eq!(mlmodel.signature.as_ref(), Some(model.signature()));
        assert_eq!(mlmodel.flavors["linfa"]["kind"], model.kind().as_str());

        let loaded = StorageLoader::new(Stores::new()).load(location.as_str()).await.unwrap();
        let (before, after) = (scores(&model, &rows), scores(loaded.as_ref(), &rows));
        assert!(before.iter().zip(&after).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!(loaded.signature(), model.signature());
    }
}

#[test]
fn training_says_what_is_wrong_with_its_rows_or_settings() {
    let rows = flights(200, 7);
    let encoder = encoder(&rows);
    let batches = std::slice::from_ref(&rows);
    let train =
        |label: &str, settings: &LogisticSettings| LinfaModel::train_logistic(&encoder, batches, label, settings).unwrap_err();
    let ok = LogisticSettings::default();
    assert!(matches!(train("nowhere", &ok), ServingError::MissingColumn { column, .. } if column == "nowhere"));
    assert!(matches!(train("hour", &ok), ServingError::Label { column, .. } if column == "hour"));
    assert!(matches!(train("carrier", &ok), ServingError::Label { .. }));
    let none_late = rows.column_by_name("late").unwrap().as_boolean();
    let first = (0..rows.num_rows()).find(|i| !none_late.value(*i)).unwrap();
    let one = LinfaModel::train_logistic(&encoder, &[rows.slice(first, 1)], "late", &ok).unwrap_err();
    assert!(matches!(one, ServingError::OneClass { rows: 1, positives: 0, .. }), "{one}");
    assert!(matches!(train("late", &LogisticSettings { l2: -1.0, ..ok }), ServingError::TrainSetting { setting: "l2", .. }));
    let share = ForestSettings { feature_share: 0.0, ..ForestSettings::default() };
    let error = LinfaModel::train_random_forest(&encoder, batches, "late", &share).unwrap_err();
    assert!(matches!(error, ServingError::TrainSetting { setting: "feature_share", .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_no_model_says_why() {
    let rows = flights(300, 8);
    let model = logistic(&rows);
    assert_eq!(model.kind(), ModelKind::LogisticRegression);
    let whole = ModelFiles::linfa(&model, &ModelInfo::default()).unwrap();
    let load = |files: Vec<(&str, &str)>| {
        let files = files.into_iter().map(|(path, text)| (path.to_owned(), Bytes::from(text.to_owned())));
        boathouse_base::Error::from(ModelFiles::from_files(files).load().unwrap_err())
    };
    let mlmodel = std::str::from_utf8(whole.file("MLmodel").unwrap()).unwrap();
    let json = std::str::from_utf8(whole.file("model.json").unwrap()).unwrap();
    let other_format = json.replacen("\"format\":1", "\"format\":99", 1);
    let fewer_weights = json.replacen("carrier", "carrier2", 1).replacen("\"values\":[\"AA\",", "\"values\":[", 1);
    let escape = mlmodel.replace("model.json", "../model.json");
    for (files, kind, part) in [
        (vec![], ErrorKind::NotFound, "MLmodel"),
        (vec![("MLmodel", mlmodel)], ErrorKind::NotFound, "model.json"),
        (vec![("MLmodel", "flavors:\n  sklearn: {}\n")], ErrorKind::Unsupported, "sklearn"),
        (vec![("MLmodel", "flavors: [\n")], ErrorKind::Corrupt, "line 1"),
        (vec![("MLmodel", mlmodel), ("model.json", "{\"format\":1")], ErrorKind::Corrupt, "model.json"),
        (vec![("MLmodel", mlmodel), ("model.json", &other_format)], ErrorKind::Corrupt, "format 99"),
        (vec![("MLmodel", mlmodel), ("model.json", &fewer_weights)], ErrorKind::Corrupt, "weights"),
        (vec![("MLmodel", &escape), ("../model.json", json)], ErrorKind::Corrupt, "flavors.linfa.data"),
    ] {
        let error = load(files);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    let error = StorageLoader::default().load(nowhere.path().to_str().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("MLmodel"), "{error}");
}
