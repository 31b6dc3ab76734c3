//! Tables of our own, made action by action from the protocol: what no table of other engines covers.

mod builder;
mod column_mapping;
mod column_names;
mod data_types;
mod deletion_vectors;
mod features;
mod partition_values;
mod paths;
mod resilience;
mod warnings;
