//! Experiments, runs, params, metrics and artifacts, with the MLflow REST API.
