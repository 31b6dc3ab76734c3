"""The other half of the test of MERGE: the same statement by deltalake and by DuckDB, each on a table of its own.

Reads one JSON object a line: the rows of the table by commits, conditions of rows deleted then, the rows of the source, the
statement, and the path of the table that was merged by us. Answers with one: the rows that each reader finds, or
`{"refused": …}` with what an engine said; and how many rows of the table the source matches twice, and how many ambiguously.
"""

import json
import pathlib
import shutil
import sys
import tempfile
import traceback

import deltalake
import duckdb
import duckdb_extensions

from rows import DUCKDB, by_deltalake, changes_by_deltalake, listed, table, tried


class Peer:
    def __init__(self):
        self.duckdb = duckdb.connect()
        duckdb_extensions.import_extension("delta")
        self.duckdb.sql("LOAD delta")
        self.duckdb.sql("SET TimeZone = 'UTC'")

    def scan(self, path):
        return listed(self.duckdb.sql("SELECT * FROM delta_scan('" + path.replace("'", "''") + "')").arrow())

    def by_duckdb(self, request, source, names):
        columns = ", ".join(f"{name} {DUCKDB[kind]}" for name, kind in request["columns"])
        self.duckdb.sql(f"CREATE OR REPLACE TABLE t ({columns})")
        for rows in request["commits"]:
            given = table(request["columns"], rows)
            self.duckdb.sql("INSERT INTO t SELECT * FROM given")
        for condition in request["deleted"]:
            self.duckdb.sql(f"DELETE FROM t WHERE {condition}")
        self.duckdb.sql("CREATE OR REPLACE TABLE s AS SELECT * FROM source")
        before = listed(self.duckdb.sql("SELECT * FROM t").arrow())
        clauses = request["merge"]["clauses"]
        ambiguous = self.ambiguous(request["merge"]["on"], [c for c in clauses if c["when"] == "matched"])
        pairs = f"SELECT t.rowid AS row FROM t JOIN s ON {request['merge']['on']}"
        twice = self.duckdb.sql(f"SELECT count(*) FROM (SELECT row FROM ({pairs}) GROUP BY row HAVING count(*) > 1)").fetchone()[0]

        def merge():
            words = [f"MERGE INTO t USING s ON {request['merge']['on']}"]
            for clause in clauses:
                when = {"matched": "MATCHED", "not_matched": "NOT MATCHED", "by_source": "NOT MATCHED BY SOURCE"}[clause["when"]]
                condition = f" AND {clause['if']}" if clause["if"] else ""
                given = clause["set"] if clause["set"] is not None else [[name, f"s.{name}"] for name in names]
                if clause["deletes"]:
                    action = "DELETE"
                elif clause["when"] == "not_matched":
                    action = f"INSERT ({', '.join(c for c, _ in given)}) VALUES ({', '.join(v for _, v in given)})"
                else:
                    action = "UPDATE SET " + ", ".join(f"{c} = {v}" for c, v in given)
                words.append(f"WHEN {when}{condition} THEN {action}")
            self.duckdb.sql("\n".join(words))
            return listed(self.duckdb.sql("SELECT * FROM t").arrow())

        return before, {"twice": twice, "ambiguous": ambiguous}, tried(merge)

    def ambiguous(self, on, matched):
        """Rows of the table that several source rows would change, unless all of these delete it."""
        if not matched:
            return 0
        wish = " ".join(f"WHEN {c['if'] or 'TRUE'} THEN {1 if c['deletes'] else 2}" for c in matched)
        wishes = f"SELECT t.rowid AS row, CASE {wish} END AS wish FROM t JOIN s ON {on}"
        found = f"SELECT row FROM ({wishes}) GROUP BY row HAVING count(wish) > 1 AND max(wish) = 2"
        return self.duckdb.sql(f"SELECT count(*) FROM ({found})").fetchone()[0]

    def by_deltalake(self, request, source, path):
        for rows in request["commits"]:
            given = table(request["columns"], rows)
            deltalake.write_deltalake(path, given, mode="append", partition_by=request["partition_by"] or None)
        for condition in request["deleted"]:
            deltalake.DeltaTable(path).delete(condition)
        before = by_deltalake(path)

        def merge():
            merge = deltalake.DeltaTable(path).merge(source, request["merge"]["on"], source_alias="s", target_alias="t")
            for clause in request["merge"]["clauses"]:
                given = dict(clause["set"]) if clause["set"] is not None else None
                match clause["when"], clause["deletes"]:
                    case "matched", True:
                        merge.when_matched_delete(clause["if"])
                    case "matched", False if given is None:
                        merge.when_matched_update_all(clause["if"])
                    case "matched", False:
                        merge.when_matched_update(given, clause["if"])
                    case "not_matched", _ if given is None:
                        merge.when_not_matched_insert_all(clause["if"])
                    case "not_matched", _:
                        merge.when_not_matched_insert(given, clause["if"])
                    case "by_source", True:
                        merge.when_not_matched_by_source_delete(clause["if"])
                    case "by_source", False:
                        merge.when_not_matched_by_source_update(given, clause["if"])
            merge.execute()
            return by_deltalake(path)

        return before, tried(merge)

    def merge(self, **request):
        source = table(request["source_columns"], request["source"])
        names = [name for name, _ in request["columns"]]
        folder = tempfile.mkdtemp()
        try:
            before, matches, theirs = self.by_duckdb(request, source, names)
            deltalake_before, deltalake = self.by_deltalake(request, source, str(pathlib.Path(folder) / "a table"))
            return {
                "before": before,
                "deltalake before": deltalake_before,
                "matches": matches,
                "duckdb": theirs,
                "deltalake": deltalake,
                "ours by duckdb": tried(lambda: self.scan(request["ours"])),
                "ours by deltalake": tried(lambda: by_deltalake(request["ours"])),
                "our changes by deltalake": tried(lambda: changes_by_deltalake(request["ours"], 0)) if request["feed"] else None,
            }
        finally:
            shutil.rmtree(folder)


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
