//! One column of a row group while it is encoded.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedRowGroupWriter;

use super::encoder::Pages;
use super::flat::{FlatChunk, FlatColumn, Scratch};

/// What writes one column in the current row group.
pub(super) enum Column {
    /// Plain columns, which are most.
    Flat(Box<FlatColumn>),
    /// All others: one writer for each leaf.
    General { writers: Vec<ArrowColumnWriter>, has_nan: Vec<bool> },
}

/// A column that is done: its leaves, and which of them hold a NaN.
pub(super) struct Closed {
    pub(super) chunks: Vec<Chunk>,
    pub(super) has_nan: Vec<bool>,
}

impl Column {
    /// About how many bytes it has by now.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Flat(column) => column.bytes(),
            Self::General { writers, .. } => writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
        }
    }

    /// Appends values of this field.
    pub(super) fn write(&mut self, field: &Field, array: &ArrayRef, scratch: &mut Scratch) -> Result<(), ParquetError> {
        match self {
            Self::Flat(column) => column.write(array.as_ref(), scratch),
            Self::General { writers, has_nan } => {
                mark_nan(array, has_nan, &mut 0);
                let leaves = compute_leaves(field, array)?;
                leaves.iter().zip(writers.iter_mut()).try_for_each(|(leaf, writer)| writer.write(leaf))
            }
        }
    }

    pub(super) fn close(self, scratch: &mut Scratch) -> Result<Closed, ParquetError> {
        Ok(match self {
            // It takes no floating-point numbers.
            Self::Flat(column) => Closed { chunks: vec![Chunk::Flat(column.close(scratch)?)], has_nan: vec![false] },
            Self::General { writers, has_nan } => {
                let chunks = writers.into_iter().map(|writer| Ok(Chunk::General(writer.close()?)));
                Closed { chunks: chunks.collect::<Result<_, ParquetError>>()?, has_nan }
            }
        })
    }
}

/// The encoded pages of a leaf column in a row group.
pub(super) enum Chunk {
    Flat(FlatChunk),
    General(ArrowColumnChunk),
}

impl Chunk {
    pub(super) fn close(&self) -> &ColumnCloseResult {
        match self {
            Self::Flat(chunk) => chunk.close(),
            Self::General(chunk) => chunk.close(),
        }
    }

    pub(super) fn append(self, group: &mut SerializedRowGroupWriter<'_, Pages>) -> Result<(), ParquetError> {
        match self {
            Self::Flat(chunk) => chunk.append(group),
            Self::General(chunk) => chunk.append_to_row_group(group),
        }
    }
}

/// How many Parquet columns a column becomes.
pub(super) fn leaf_count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|f| leaf_count(f.data_type())).sum(),
        DataType::List(field) | DataType::Map(field, _) => leaf_count(field.data_type()),
        _ => 1,
    }
}

/// Marks the leaves that hold a NaN. Lists and maps have no bounds, so they are not looked at.
fn mark_nan(array: &ArrayRef, has_nan: &mut [bool], leaf: &mut usize) {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|c| mark_nan(c, has_nan, leaf)),
        other => {
            let found = match other {
                DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()),
                DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()),
                _ => false,
            };
            if let Some(seen) = has_nan.get_mut(*leaf) {
                *seen |= found;
            }
            *leaf += leaf_count(other);
        }
    }
}
