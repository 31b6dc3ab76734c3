//! Declarative pipelines: a graph of datasets with expectations, over stream and Delta tables.
