"""Delta tables between engines.

  delta.py compare TABLE EXPECTED.parquet PEER…   these of deltalake, polars and duckdb read TABLE, to give the expected rows
  delta.py same A.parquet B.parquet               two files hold the same rows
  delta.py write FOLDER                           deltalake writes tables, and beside each NAME the rows as NAME.parquet

Rows are compared by the column `id`, as values: engines differ in layouts (views, maps as lists), not in what they mean.
"""

import datetime
import decimal
import json
import pathlib
import sys

import deltalake
import duckdb
import duckdb_extensions
import polars
import pyarrow as pa
import pyarrow.parquet


def plain(value):
    """A value that is equal where the meaning is."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        pairs = [(item["key"], item["value"]) if isinstance(item, dict) and set(item) == {"key", "value"} else item for item in value]
        return [plain(item) for item in (sorted(pairs) if pairs and isinstance(pairs[0], tuple) else pairs)]
    return value


def rows(table):
    columns = sorted(table.column_names)
    found = [{name: plain(row[name]) for name in columns} for row in table.select(columns).to_pylist()]
    return sorted(found, key=lambda row: (row["id"] is None, row["id"], json.dumps(row, sort_keys=True)))


def as_table(found):
    return found.read_all() if hasattr(found, "read_all") else found


def by_deltalake(path):
    return as_table(pa.RecordBatchReader.from_stream(deltalake.QueryBuilder().register("t", deltalake.DeltaTable(path)).execute("SELECT * FROM t")))


def by_polars(path):
    return polars.read_delta(path).to_arrow()


def by_duckdb(path):
    connection = duckdb.connect()
    duckdb_extensions.import_extension("delta")
    connection.sql("LOAD delta")
    connection.sql("SET TimeZone = 'UTC'")
    return as_table(connection.sql("SELECT * FROM delta_scan('" + path.replace("'", "''") + "')").arrow())


def demand_same(who, found, expected):
    found, expected = rows(found), rows(expected)
    if found != expected:
        differing = [pair for pair in zip(found, expected) if pair[0] != pair[1]][:3]
        sys.exit(f"{who}: {len(found)} rows, expected {len(expected)}; first differences (found, expected): {differing}")


def compare(path, expected, names):
    expected = pa.parquet.read_table(expected)
    readers = {"deltalake": by_deltalake, "polars": by_polars, "duckdb": by_duckdb}
    for name in names:
        demand_same(name, readers[name](path), expected)
        print(name, expected.num_rows)


def write(folder):
    folder = pathlib.Path(folder)

    def batch(start, count):
        ids = list(range(start, start + count))
        parts = [["a b", "100%", "ü/x=y", None][i % 4] for i in ids]
        return pa.table({
            "id": pa.array(ids, pa.int64()),
            "part": pa.array(parts, pa.string()),
            "day": pa.array([datetime.date(2020, 1, 1 + i % 3) for i in ids], pa.date32()),
            "price": pa.array([None if i % 5 == 0 else decimal.Decimal(i) / 4 for i in ids], pa.decimal128(12, 2)),
            "at": pa.array([datetime.datetime(2021, 3, 4, 5, 6, 7, i) for i in ids], pa.timestamp("us", "UTC")),
            "tags": pa.array([[f"t{i}", None] if i % 2 else [] for i in ids], pa.list_(pa.string())),
            "nested": pa.array([{"a": i, "b": f"ß{i}"} if i % 3 else None for i in ids], pa.struct([("a", pa.int32()), ("b", pa.string())])),
        })

    def keep(name):
        table = by_deltalake(str(folder / name))
        pa.parquet.write_table(table, str(folder / f"{name}.parquet"))
        print(name)

    path = lambda name: str(folder / name)
    deltalake.write_deltalake(path("plain"), batch(0, 20))
    deltalake.write_deltalake(path("plain"), batch(20, 20), mode="append")
    keep("plain")
    deltalake.write_deltalake(path("parts"), batch(0, 40), partition_by=["part", "day"])
    keep("parts")
    deltalake.write_deltalake(path("over"), batch(0, 20))
    deltalake.write_deltalake(path("over"), batch(100, 5), mode="overwrite")
    keep("over")
    deltalake.write_deltalake(path("changed"), batch(0, 40), partition_by=["part"])
    deltalake.DeltaTable(path("changed")).delete("id % 7 = 3")
    deltalake.DeltaTable(path("changed")).update(predicate="id > 30", new_values={"price": "1.25"})
    merge = deltalake.DeltaTable(path("changed")).merge(batch(35, 10), "t.id = s.id", source_alias="s", target_alias="t")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    deltalake.DeltaTable(path("changed")).create_checkpoint()
    deltalake.write_deltalake(path("changed"), batch(200, 3), mode="append")
    keep("changed")
    for start in range(0, 60, 10):
        deltalake.write_deltalake(path("compacted"), batch(start, 10), mode="append")
    deltalake.DeltaTable(path("compacted")).optimize.compact()
    keep("compacted")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["compare", path, expected, *names]:
            compare(path, expected, names)
        case ["same", one, other]:
            demand_same("files", pa.parquet.read_table(one), pa.parquet.read_table(other))
        case ["write", folder]:
            write(folder)
        case _:
            sys.exit(__doc__)
