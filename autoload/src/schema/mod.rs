//! Schemas: what values look like, how types widen, how a schema grows, and how it is stored.

mod evolve;
mod partition;
mod shape;
mod stored;

pub(crate) use evolve::{Observed, evolve, first, normalize, position};
pub(crate) use partition::{data_fields, is_partition, partitions, value_of};
pub(crate) use shape::{Shape, Shapes, shape_of_json, shape_of_text};
pub(crate) use stored::{StoredField, from_stored, to_stored};
