//! Registered models, versions, stages and aliases, with the MLflow REST API.
