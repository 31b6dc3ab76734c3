"""Other engines read our tables, whatever features they have, and change them.

Reads one JSON object a line, `{"do": NAME, "path": TABLE, …}`. Answers with one: the rows that each reader finds, or
`{"refused": …}` with what it said.
"""

import json
import sys
import traceback

import deltalake
import duckdb
import duckdb_extensions
import polars

from rows import by_deltalake, changes_by_deltalake, listed, table, tried


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


class Peer:
    def __init__(self):
        self.duckdb = duckdb.connect()
        duckdb_extensions.import_extension("delta")
        self.duckdb.sql("LOAD delta")
        self.duckdb.sql("SET TimeZone = 'UTC'")

    def read(self, path):
        return {
            "deltalake": tried(lambda: by_deltalake(path)),
            "duckdb": tried(lambda: listed(self.duckdb.sql(f"SELECT * FROM delta_scan({quoted(path)})").arrow())),
            "polars": tried(lambda: listed(polars.scan_delta(path).collect().to_arrow())),
        }

    def changes(self, path, first):
        return {"deltalake": tried(lambda: changes_by_deltalake(path, first))}

    def delete(self, path, where):
        return tried(lambda: {"did": str(deltalake.DeltaTable(path).delete(where))})

    def update(self, path, where, column, value):
        return tried(lambda: {"did": str(deltalake.DeltaTable(path).update(predicate=where, updates={column: value}))})

    def merge(self, path, columns, source):
        def merge():
            merge = deltalake.DeltaTable(path).merge(table(columns, source), "t.id = s.id", source_alias="s", target_alias="t")
            return {"did": str(merge.when_matched_update_all().when_not_matched_insert_all().execute())}

        return tried(merge)

    def compact(self, path):
        return tried(lambda: {"did": str(deltalake.DeltaTable(path).optimize.compact())})

    def append(self, path, columns, source):
        return tried(lambda: {"did": str(deltalake.write_deltalake(path, table(columns, source), mode="append"))})

    def insert(self, path, columns, source):
        """By DuckDB."""
        def insert():
            given = table(columns, source)
            self.duckdb.sql(f"ATTACH {quoted(path)} AS ours (TYPE delta)")
            try:
                self.duckdb.sql("INSERT INTO ours SELECT * FROM given")
            finally:
                self.duckdb.sql("DETACH ours")
            return {"did": given.num_rows}

        return tried(insert)


def main():
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(peer, request.pop("do"))(**request)
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


main()
