//! What tracking and registry share of the MLflow wire: error bodies, search filters, page tokens, database pools.
