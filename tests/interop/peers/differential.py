"""The other half of the differential test: does what it is told to a Delta table with deltalake, and says what readers see.

Reads one JSON object a line: `{"do": NAME, "path": TABLE, …}`. Answers with one: what was found, or `{"error": …}`.
"""

import json
import sys
import traceback

import deltalake
import duckdb
import duckdb_extensions

from rows import by_deltalake, listed, table as given


def table(request):
    return given(request["columns"], request["rows"])


class Peer:
    def __init__(self):
        self.duckdb = duckdb.connect()
        duckdb_extensions.import_extension("delta")
        self.duckdb.sql("LOAD delta")

    def create(self, path, **request):
        deltalake.write_deltalake(path, table(request), partition_by=request["partition_by"] or None)

    def append(self, path, **request):
        deltalake.write_deltalake(path, table(request), mode="append", schema_mode="merge")

    def overwrite(self, path, **request):
        deltalake.write_deltalake(path, table(request), mode="overwrite")

    def delete(self, path, where):
        deltalake.DeltaTable(path).delete(where)

    def update(self, path, where, column, value):
        deltalake.DeltaTable(path).update(predicate=where, updates={column: value})

    def restore(self, path, version):
        deltalake.DeltaTable(path).restore(version)

    def checkpoint(self, path):
        deltalake.DeltaTable(path).create_checkpoint()

    def vacuum(self, path):
        deltalake.DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    def compact(self, path):
        deltalake.DeltaTable(path).optimize.compact()

    def look(self, path):
        opened = deltalake.DeltaTable(path)
        by_duckdb = listed(self.duckdb.sql("SELECT * FROM delta_scan('" + path.replace("'", "''") + "')").arrow())
        return {"version": opened.version(), "deltalake": by_deltalake(path), "duckdb": by_duckdb}


def main():
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(peer, request.pop("do"))(**request) or {}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


main()
