"""deltalake, DuckDB and polars look for the rows of one key.

    BOATHOUSE_PEER=PACKAGE python lookup.py CLAIM FOLDER OUTPUT_FOLDER SEED

FOLDER is the table. Each package does it in the way that was fastest for it: deltalake by `QueryBuilder`, DuckDB by
`delta_scan`, polars by `scan_delta`. Imports are not part of the work, which begins with opening the table.
"""

import os
import sys

from measured import Stopwatch

package = os.environ["BOATHOUSE_PEER"]
_claim, data, _output, _seed = sys.argv[1:]
scale = float(os.path.basename(os.path.dirname(data)).rsplit("-", 1)[1])
key = int(3_000_000 * scale) // 32 * 32 + 1

if package == "deltalake":
    from deltalake import DeltaTable, QueryBuilder

    watch = Stopwatch()
    found = QueryBuilder().register("lineitem", DeltaTable(data))
    found = found.execute(f"SELECT * FROM lineitem WHERE l_orderkey = {key}").read_all()
    rows = found.num_rows
elif package == "duckdb":
    import duckdb
    import duckdb_extensions

    duckdb_extensions.import_extension("delta")
    watch = Stopwatch()
    connection = duckdb.connect()
    connection.execute("LOAD delta")
    rows = len(connection.execute(f"SELECT * FROM delta_scan('{data}') WHERE l_orderkey = {key}").fetchall())
else:
    import polars

    watch = Stopwatch()
    rows = polars.scan_delta(data).filter(polars.col("l_orderkey") == key).collect().height
watch.stop()
watch.print(rows, 0)
