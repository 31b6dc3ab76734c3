//! ONNX graphs, run by tract.
//!
//! Rows are run one by one. A graph that runs many rows at once may take other kernels, which round
//! otherwise: then a row would score one way alone and another way in a table. For the small graphs of
//! tabular models one row costs some microseconds. Forests are slow in tract whatever the batch: train
//! them as [`LinfaModel`](super::LinfaModel) instead.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use boathouse_base::{Model, Signature};
use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, TValue, TVec, Tensor, TypedRunnableModel, tvec,
};
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use crate::error::{Result, ServingError};
use crate::signature::enforce;

/// A model that is an ONNX graph.
///
/// **Shape**: inputs are one tensor `[rows, n]` whose n columns stand in the order of the signature, or
/// tensors `[rows]` or `[rows, 1]`, each a column of its name. Outputs `[rows]`, `[rows, 1]` give one
/// column, `[rows, k]` give `NAME_0` to `NAME_k-1`, unless the signature names them.
#[derive(Clone)]
pub struct OnnxModel {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    signature: Signature,
}

#[derive(Clone)]
struct Input {
    element: Element,
    /// Of one row.
    shape: Vec<usize>,
    /// How many columns it takes.
    width: usize,
}

#[derive(Clone)]
struct Output {
    element: Element,
    width: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Element {
    Float32,
    Float64,
    Int32,
    Int64,
    Boolean,
}

impl Element {
    fn of(name: &str, datum: DatumType) -> Result<Self> {
        match datum {
            DatumType::F32 => Ok(Self::Float32),
            DatumType::F64 => Ok(Self::Float64),
            DatumType::I32 => Ok(Self::Int32),
            DatumType::I64 => Ok(Self::Int64),
            DatumType::Bool => Ok(Self::Boolean),
            other => Err(ServingError::SignatureSpec { column: name.to_owned(), found: format!("{other:?}") }),
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Boolean => DataType::Boolean,
        }
    }
}

impl OnnxModel {
    /// Reads a graph. `signature` names its columns; without one they are called as the graph calls its tensors.
    ///
    /// **Errors**: [`ServingError::Onnx`] of kind `Corrupt` when it is no graph that can be run;
    /// [`ServingError::SignatureSpec`] for tensors of other types than numbers and booleans;
    /// [`ServingError::ModelContradiction`] when the signature has another number of columns than the graph.
    pub fn load(graph: &[u8], signature: Option<Signature>) -> Result<Self> {
        let failed = |e: tract_onnx::prelude::TractError| ServingError::Onnx { action: "read", message: format!("{e:#}") };
        let mut model = tract_onnx::onnx().with_ignore_output_shapes(true).model_for_read(&mut &graph[..]).map_err(failed)?;
        let outlets = model.input_outlets().map_err(failed)?.to_vec();
        let mut inputs = Vec::with_capacity(outlets.len());
        let mut names = Vec::with_capacity(outlets.len());
        for (at, outlet) in outlets.iter().enumerate() {
            let name = model.node(outlet.node).name.clone();
            let fact = model.input_fact(at).map_err(failed)?;
            let wrong =
                |problem: &str| ServingError::ModelContradiction { problem: format!("input `{name}` of the graph {problem}") };
            let datum = fact.datum_type.concretize().ok_or_else(|| wrong("has no type"))?;
            let dims: Vec<_> = fact.shape.dims().cloned().collect();
            let mut shape = Vec::with_capacity(dims.len());
            for (axis, dim) in dims.iter().enumerate() {
                let size = dim.concretize().and_then(|d| d.to_usize().ok());
                // The first axis counts rows.
                let size = if axis == 0 { Some(1) } else { size };
                shape.push(size.ok_or_else(|| wrong("has an axis of unknown size beside that of the rows"))?);
            }
            if shape.is_empty() || shape.len() > 2 {
                return Err(wrong("is not of the form [rows] or [rows, columns]"));
            }
            let element = Element::of(&name, datum)?;
            model.set_input_fact(at, InferenceFact::dt_shape(datum, &shape)).map_err(failed)?;
            inputs.push(Input { element, width: shape.iter().product(), shape });
            names.push(name);
        }
        let labels: Vec<String> = model
            .output_outlets()
            .map_err(failed)?
            .iter()
            .map(|outlet| model.outlet_label(*outlet).map_or_else(|| model.node(outlet.node).name.clone(), str::to_owned))
            .collect();
        let model = model.into_optimized().map_err(failed)?;
        let mut outputs = Vec::with_capacity(labels.len());
        for (at, label) in labels.iter().enumerate() {
            let fact = model.output_fact(at).map_err(failed)?;
            let size = fact.shape.as_concrete().map(|shape| shape.iter().product::<usize>());
            let width = size.ok_or_else(|| ServingError::ModelContradiction {
                problem: format!("output `{label}` of the graph has no fixed size for one row"),
            })?;
            outputs.push(Output { element: Element::of(label, fact.datum_type)?, width });
        }
        let plan = model.into_runnable().map_err(failed)?;

        let of_graph = Signature {
            inputs: columns(names.iter().zip(inputs.iter().map(|i| (i.element, i.width)))),
            outputs: columns(labels.iter().zip(outputs.iter().map(|o| (o.element, o.width)))),
        };
        let signature = match signature {
            None => of_graph,
            Some(given) => Self::named(given, &of_graph, inputs.len() > 1)?,
        };
        Ok(Self { plan, inputs, outputs, signature })
    }

    /// The names and types that the signature gives, if they fit the graph.
    fn named(given: Signature, of_graph: &Signature, by_name: bool) -> Result<Signature> {
        let wrong = |problem| Err(ServingError::ModelContradiction { problem });
        let (wanted, found) = (of_graph.inputs.fields().len(), given.inputs.fields().len());
        if wanted != found {
            return wrong(format!("the signature has {found} input columns, the graph takes {wanted}"));
        }
        let inputs = if by_name {
            // Columns go to the tensors of their names: bring them into the order of the graph.
            let mut fields = Vec::with_capacity(wanted);
            for field in of_graph.inputs.fields() {
                match given.inputs.field_with_name(field.name()) {
                    Ok(field) => fields.push(field.clone()),
                    Err(_) => return wrong(format!("the signature has no column for the input `{}` of the graph", field.name())),
                }
            }
            Arc::new(Schema::new(fields)) as SchemaRef
        } else {
            given.inputs
        };
        let (wanted, found) = (of_graph.outputs.fields().len(), given.outputs.fields().len());
        if wanted != found {
            return wrong(format!("the signature has {found} output columns, the graph gives {wanted}"));
        }
        // What comes out has the graph's types, under the names of the signature.
        let outputs = given.outputs.fields().iter().zip(of_graph.outputs.fields());
        let outputs =
            outputs.map(|(given, graph)| Field::new(given.name(), graph.data_type().clone(), false)).collect::<Vec<_>>();
        Ok(Signature { inputs, outputs: Arc::new(Schema::new(outputs)) })
    }

    fn run(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = enforce(&self.signature.inputs, batch)?;
        let mut tensors = Vec::with_capacity(self.inputs.len());
        let mut next = 0;
        for input in &self.inputs {
            let fields = rows.schema_ref().fields().iter().zip(rows.columns()).skip(next).take(input.width);
            let columns = fields.map(|(field, column)| Values::read(field.name(), column, input.element));
            tensors.push(columns.collect::<Result<Vec<_>>>()?);
            next += input.width;
        }
        let failed = |e: tract_onnx::prelude::TractError| ServingError::Onnx { action: "run", message: format!("{e:#}") };
        let mut answers: Vec<Vec<TValue>> = vec![Vec::with_capacity(rows.num_rows()); self.outputs.len()];
        for row in 0..rows.num_rows() {
            let mut given: TVec<TValue> = tvec!();
            for (input, columns) in self.inputs.iter().zip(&tensors) {
                given.push(Values::tensor(columns, row, input).map_err(failed)?.into());
            }
            for (answer, value) in answers.iter_mut().zip(self.plan.run(given).map_err(failed)?) {
                answer.push(value);
            }
        }
        let mut columns = Vec::with_capacity(self.signature.outputs.fields().len());
        for (output, answer) in self.outputs.iter().zip(&answers) {
            for at in 0..output.width {
                columns.push(output.column(answer, at).map_err(failed)?);
            }
        }
        RecordBatch::try_new(Arc::clone(&self.signature.outputs), columns)
            .map_err(|source| ServingError::Arrow { action: "gather the predictions", source })
    }
}

fn columns<'a>(tensors: impl Iterator<Item = (&'a String, (Element, usize))>) -> SchemaRef {
    let mut fields = Vec::new();
    for (name, (element, width)) in tensors {
        if width == 1 {
            fields.push(Field::new(name, element.data_type(), false));
        } else {
            fields.extend((0..width).map(|at| Field::new(format!("{name}_{at}"), element.data_type(), false)));
        }
    }
    Arc::new(Schema::new(fields))
}

/// One column as the graph wants it.
enum Values {
    Float32(Float32Array),
    Float64(Float64Array),
    Int32(Int32Array),
    Int64(Int64Array),
    Boolean(BooleanArray),
}

impl Values {
    /// A null becomes "not a number" where there is such a thing, and is refused elsewhere.
    fn read(name: &str, column: &ArrayRef, element: Element) -> Result<Self> {
        if !matches!(element, Element::Float32 | Element::Float64)
            && let Some(row) = (0..column.len()).find(|row| column.is_null(*row))
        {
            return Err(ServingError::NullValue { column: name.to_owned(), row });
        }
        // Doubles become floats here: graphs of tabular models compute in floats, tables hold doubles.
        let options = arrow_cast::CastOptions { safe: false, ..arrow_cast::CastOptions::default() };
        let cast = arrow_cast::cast_with_options(column, &element.data_type(), &options);
        let array = cast.map_err(|source| ServingError::Arrow { action: "give a column to the graph", source })?;
        Ok(match element {
            Element::Float32 => {
                Self::Float32(array.as_primitive::<Float32Type>().iter().map(|v| v.unwrap_or(f32::NAN)).collect())
            }
            Element::Float64 => {
                Self::Float64(array.as_primitive::<Float64Type>().iter().map(|v| v.unwrap_or(f64::NAN)).collect())
            }
            Element::Int32 => Self::Int32(array.as_primitive::<Int32Type>().clone()),
            Element::Int64 => Self::Int64(array.as_primitive::<Int64Type>().clone()),
            Element::Boolean => Self::Boolean(array.as_boolean().clone()),
        })
    }

    /// One row of the columns of one input.
    fn tensor(columns: &[Self], row: usize, input: &Input) -> Result<Tensor, tract_onnx::prelude::TractError> {
        macro_rules! tensor {
            ($variant:ident, $zero:expr) => {
                Tensor::from_shape(
                    &input.shape,
                    &columns.iter().map(|c| if let Self::$variant(a) = c { a.value(row) } else { $zero }).collect::<Vec<_>>(),
                )
            };
        }
        match input.element {
            Element::Float32 => tensor!(Float32, 0.0),
            Element::Float64 => tensor!(Float64, 0.0),
            Element::Int32 => tensor!(Int32, 0),
            Element::Int64 => tensor!(Int64, 0),
            Element::Boolean => tensor!(Boolean, false),
        }
    }
}

impl Output {
    /// The values at one place of the answers to each row.
    fn column(&self, answers: &[TValue], at: usize) -> Result<ArrayRef, tract_onnx::prelude::TractError> {
        macro_rules! column {
            ($native:ty, $array:ty) => {{
                let mut values: Vec<Option<$native>> = Vec::with_capacity(answers.len());
                for answer in answers {
                    values.push(answer.to_plain_array_view::<$native>()?.iter().nth(at).copied());
                }
                Arc::new(<$array>::from(values)) as ArrayRef
            }};
        }
        Ok(match self.element {
            Element::Float32 => column!(f32, Float32Array),
            Element::Float64 => column!(f64, Float64Array),
            Element::Int32 => column!(i32, Int32Array),
            Element::Int64 => column!(i64, Int64Array),
            Element::Boolean => column!(bool, BooleanArray),
        })
    }
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxModel").field("signature", &self.signature).finish_non_exhaustive()
    }
}

impl Model for OnnxModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, batch: &RecordBatch) -> boathouse_base::Result<RecordBatch> {
        Ok(self.run(batch)?)
    }
}
