"""DuckDB answers the queries of TPC-H over Parquet files.

    tpch.py FOLDER QUERIES ANSWERS.json

FOLDER has a folder of Parquet files for each table; QUERIES has one `.sql` file for each query. The answers are rows of text
by the name of the query.
"""

import json
import pathlib
import sys

import duckdb

folder, queries, answers = map(pathlib.Path, sys.argv[1:])
connection = duckdb.connect()
for table in sorted(folder.iterdir()):
    connection.execute(f"CREATE VIEW {table.name} AS SELECT * FROM read_parquet('{table}/*.parquet')")


def plain(value):
    return "" if value is None else str(value)


def answer(query):
    return [[plain(value) for value in row] for row in connection.execute(query.read_text()).fetchall()]


answers.write_text(json.dumps({query.stem: answer(query) for query in sorted(queries.glob("q*.sql"))}))
