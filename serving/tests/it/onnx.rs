//! ONNX graphs, written here byte by byte.
//!
//! **Source**: onnx.proto of ONNX 1.16 (field numbers), and the Protocol Buffers encoding.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{Model, Signature, contract};
use boathouse_serving::ServingError;
use boathouse_serving::model::{ModelFiles, ModelInfo, OnnxModel};
use bytes::Bytes;

use crate::fixtures::{fixed, post, predictions, serve};

/// A protobuf message in the making.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn int(self, field: u64, value: u64) -> Self {
        self.varint(field << 3).varint(value)
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        let mut out = self.varint(field << 3 | 2).varint(value.len() as u64);
        out.0.extend_from_slice(value);
        out
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

const FLOAT: u64 = 1;
const INT64: u64 = 7;

/// `ValueInfoProto` of a tensor; `None` is the axis of rows.
fn value(name: &str, element: u64, shape: &[Option<u64>]) -> Message {
    let shape = shape.iter().fold(Message::default(), |m, dim| {
        let dim = match dim {
            Some(size) => Message::default().int(1, *size),
            None => Message::default().text(2, "N"),
        };
        m.message(1, &dim)
    });
    let tensor = Message::default().int(1, element).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// `NodeProto`.
fn node(op: &str, inputs: &[&str], output: &str) -> Message {
    let message = inputs.iter().fold(Message::default(), |m, input| m.text(1, input));
    message.text(2, output).text(3, output).text(4, op)
}

/// `TensorProto` of floats.
fn floats(name: &str, shape: &[u64], values: &[f32]) -> Message {
    let message = shape.iter().fold(Message::default(), |m, size| m.int(1, *size)).int(2, FLOAT).text(8, name);
    message.bytes(9, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// `ModelProto`: IR version 8, operator set 13.
fn model(nodes: &[Message], constants: &[Message], inputs: &[Message], outputs: &[Message]) -> Vec<u8> {
    let graph = Message::default();
    let graph = nodes.iter().fold(graph, |m, n| m.message(1, n)).text(2, "g");
    let graph = constants.iter().fold(graph, |m, c| m.message(5, c));
    let graph = inputs.iter().fold(graph, |m, i| m.message(11, i));
    let graph = outputs.iter().fold(graph, |m, o| m.message(12, o));
    Message::default().int(1, 8).message(7, &graph).message(8, &Message::default().text(1, "").int(2, 13)).0
}

const WEIGHTS: [f32; 3] = [0.5, -1.25, 2.0];
const BIAS: f32 = 0.125;

/// `sigmoid(features · weights + bias)`, one tensor of three columns.
fn logistic() -> Vec<u8> {
    model(
        &[
            node("MatMul", &["features", "w"], "product"),
            node("Add", &["product", "b"], "sum"),
            node("Sigmoid", &["sum"], "probability"),
        ],
        &[floats("w", &[3, 1], &WEIGHTS), floats("b", &[1], &[BIAS])],
        &[value("features", FLOAT, &[None, Some(3)])],
        &[value("probability", FLOAT, &[None, Some(1)])],
    )
}

/// `x + n`, two tensors, of which one is whole numbers; gives the sum and both side by side.
fn two_inputs() -> Vec<u8> {
    let cast = node("Cast", &["n"], "float_n").message(5, &Message::default().text(1, "to").int(3, FLOAT).int(20, 2));
    let concat = node("Concat", &["x", "float_n"], "both").message(5, &Message::default().text(1, "axis").int(3, 1).int(20, 2));
    model(
        &[cast, node("Add", &["x", "float_n"], "sum"), concat],
        &[],
        &[value("x", FLOAT, &[None, Some(1)]), value("n", INT64, &[None, Some(1)])],
        &[value("sum", FLOAT, &[None, Some(1)]), value("both", FLOAT, &[None, Some(2)])],
    )
}

fn expected(row: [f32; 3]) -> f32 {
    let sum: f32 = row.iter().zip(WEIGHTS).map(|(x, w)| x * w).sum::<f32>() + BIAS;
    1.0 / (1.0 + (-sum).exp())
}

const ROWS: [[f32; 3]; 4] = [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-1.5, 0.25, 0.5], [4.0, -4.0, 0.1]];

fn column(at: usize) -> Vec<f32> {
    ROWS.iter().map(|row| row[at]).collect()
}

#[test]
fn a_graph_of_one_tensor_takes_a_column_for_each_place_and_keeps_the_contract() {
    let model = OnnxModel::load(&logistic(), None).unwrap();
    let names: Vec<_> = model.signature().inputs.fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["features_0", "features_1", "features_2"]);
    let rows = RecordBatch::try_from_iter(
        (0..3).map(|at| (format!("features_{at}"), Arc::new(Float32Array::from(column(at))) as ArrayRef)),
    )
    .unwrap();
    let scored = model.predict(&rows).unwrap();
    assert_eq!(scored.schema().field(0).name(), "probability");
    for (found, row) in scored.column(0).as_primitive::<Float32Type>().values().iter().zip(ROWS) {
        assert!((found - expected(row)).abs() < 1e-6, "{found}, {}", expected(row));
    }
    contract::model(&model, &rows);
}

#[test]
fn a_graph_of_several_tensors_takes_a_column_for_each_and_names_wide_outputs() {
    let model = OnnxModel::load(&two_inputs(), None).unwrap();
    let rows = RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from(vec![1, 2, -3])) as ArrayRef),
        ("x", Arc::new(Float32Array::from(vec![0.5, 1.5, 2.5]))),
    ])
    .unwrap();
    let scored = model.predict(&rows).unwrap();
    let names: Vec<_> = scored.schema_ref().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["sum", "both_0", "both_1"]);
    let values = |at: usize| scored.column(at).as_primitive::<Float32Type>().values().to_vec();
    assert_eq!((values(0), values(1), values(2)), (vec![1.5, 3.5, -0.5], vec![0.5, 1.5, 2.5], vec![1.0, 2.0, -3.0]));
    contract::model(&model, &rows);
}

fn signature(inputs: &[&str]) -> Signature {
    let fields = |names: &[&str]| {
        Arc::new(Schema::new(names.iter().map(|n| Field::new(*n, DataType::Float64, false)).collect::<Vec<_>>()))
    };
    Signature { inputs: fields(inputs), outputs: fields(&["late"]) }
}

#[tokio::test]
async fn a_folder_with_a_signature_is_served_under_its_names_with_doubles() {
    let files = ModelFiles::onnx(Bytes::from(logistic()), Some(signature(&["a", "b", "c"])), &ModelInfo::default()).unwrap();
    let model = files.load().unwrap();
    let server = serve(&fixed("late", 1, model).await).await;
    let body = serde_json::json!({"inputs": {"c": column(2), "a": column(0), "b": column(1)}}).to_string();
    let (status, _, reply) =
        post(&reqwest::Client::new(), &format!("{}/invocations", server.url), "application/json", body).await;
    assert_eq!(status, 200, "{reply}");
    for (found, row) in predictions(&reply).into_iter().zip(ROWS) {
        assert!((found - f64::from(expected(row))).abs() < 1e-6, "{reply}");
    }
}

#[test]
fn a_graph_that_is_none_or_does_not_fit_its_signature_says_so() {
    let error = OnnxModel::load(b"not a graph", None).unwrap_err();
    assert!(matches!(error, ServingError::Onnx { action: "read", .. }), "{error}");
    let error = OnnxModel::load(&logistic(), Some(signature(&["a", "b"]))).unwrap_err();
    assert!(matches!(&error, ServingError::ModelContradiction { problem } if problem.contains("takes 3")), "{error}");
    let rows = RecordBatch::try_from_iter([("features_0", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
    let error = OnnxModel::load(&logistic(), None).unwrap().predict(&rows).unwrap_err();
    assert!(error.to_string().contains("features_0"), "{error}");
}
