"""DuckDB (`delta_scan`) and polars (`scan_delta`) answer the queries of TPC-H.

    BOATHOUSE_PEER=PACKAGE python tpch.py CLAIM FOLDER OUTPUT_FOLDER SEED [QUERY]

FOLDER holds the eight tables. With QUERY, that query is the first work of the process, and is timed from opening the tables
on; without, each query runs four times and the fastest counts. Queries that an engine cannot run are left out.
"""

import json
import os
import pathlib
import sys
import time

from measured import Stopwatch

package = os.environ["BOATHOUSE_PEER"]
_claim, data, _output, _seed, *part = sys.argv[1:]
HOT_RUNS = 4
TABLES = ["lineitem", "orders", "partsupp", "customer", "part", "supplier", "nation", "region"]
FOLDER = pathlib.Path(__file__).parent.parent / "queries" / "tpch"
QUERIES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("q*.sql"))}

if package == "duckdb":
    import duckdb
    import duckdb_extensions

    duckdb_extensions.import_extension("delta")

    def open_tables():
        connection = duckdb.connect()
        connection.execute("LOAD delta")
        for table in TABLES:
            path = os.path.join(data, table)
            if part:
                connection.execute(f"CREATE VIEW {table} AS SELECT * FROM delta_scan('{path}')")
            else:
                # The log is read once, as by our session: without this, DuckDB reads it for each query.
                connection.execute(f"ATTACH '{path}' AS d_{table} (TYPE delta, PIN_SNAPSHOT)")
                connection.execute(f"CREATE VIEW {table} AS SELECT * FROM d_{table}")
        return connection

    def run(connection, text):
        return connection.execute(text).fetchall()

else:
    import polars

    def open_tables():
        return polars.SQLContext({table: polars.scan_delta(os.path.join(data, table)) for table in TABLES})

    def run(context, text):
        return context.execute(text).collect(engine="streaming").rows()


def plain(value):
    return "" if value is None else str(value)


watch, began = Stopwatch(), time.perf_counter()
tables = open_tables()
parts, answers = {}, {}
for name in part or QUERIES:
    fastest = None
    try:
        for _ in range(1 if part else HOT_RUNS):
            start = began if part else time.perf_counter()
            rows = run(tables, QUERIES[name])
            took = time.perf_counter() - start
            fastest = took if fastest is None else min(fastest, took)
    except Exception as error:
        if package != "polars":
            raise
        print(f"polars cannot run {name}: {str(error).splitlines()[0]}", file=sys.stderr)
        continue
    parts[name] = fastest
    answers[name] = [[plain(value) for value in row] for row in rows]
watch.stop()

figures = {"cpu_s": watch.cpu_s, "wall_s": watch.wall_s, "rss_mb": watch.rss_mb, "rows": 1, "written_bytes": 0}
print(json.dumps({**figures, "parts": parts, "answers": answers}))
