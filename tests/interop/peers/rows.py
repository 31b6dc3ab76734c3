"""Rows as lists of plain values, as `tests/it/rows.rs` has them: decimals are their digits without the point, dates are
days, timestamps are microseconds, NaN is a text."""

import datetime
import decimal

import deltalake
import pyarrow as pa

ARROW = {
    "long": pa.int64(), "integer": pa.int32(), "string": pa.string(), "double": pa.float64(), "decimal": pa.decimal128(12, 2),
    "date": pa.date32(), "timestamp": pa.timestamp("us", "UTC"), "boolean": pa.bool_(),
}
DUCKDB = {
    "long": "BIGINT", "integer": "INTEGER", "string": "VARCHAR", "double": "DOUBLE", "decimal": "DECIMAL(12, 2)",
    "date": "DATE", "timestamp": "TIMESTAMPTZ", "boolean": "BOOLEAN",
}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def value(kind, found):
    if found is None:
        return None
    if kind == "double":
        return float(found)
    if kind == "decimal":
        return decimal.Decimal(found).scaleb(-2)
    if kind == "date":
        return datetime.date(1970, 1, 1) + datetime.timedelta(days=found)
    if kind == "timestamp":
        return EPOCH + datetime.timedelta(microseconds=found)
    return found


def table(columns, rows):
    """A table of Arrow."""
    arrays = [pa.array([value(kind, row[at]) for row in rows], ARROW[kind]) for at, (_, kind) in enumerate(columns)]
    return pa.table(arrays, names=[name for name, _ in columns])


def plain(found):
    if isinstance(found, float):
        return "NaN" if found != found else found
    if isinstance(found, decimal.Decimal):
        return int(found.scaleb(2))
    if isinstance(found, datetime.datetime):
        found = found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)
        return (found - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(found, datetime.date):
        return (found - datetime.date(1970, 1, 1)).days
    return found


def listed(found):
    """Rows as lists, their columns by name."""
    found = found.read_all() if hasattr(found, "read_all") else found
    names = sorted(found.column_names)
    columns = [[plain(cell) for cell in found.column(name).to_pylist()] for name in names]
    return {"columns": names, "rows": [list(row) for row in zip(*columns)]}


def tried(do):
    """What it gives, or how it was refused."""
    try:
        return do()
    except BaseException as refusal:
        # A panic of a library is no Exception.
        if isinstance(refusal, (KeyboardInterrupt, SystemExit)):
            raise
        return {"refused": f"{type(refusal).__name__}: {refusal}"}


def by_deltalake(path):
    rows = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(path)).execute("SELECT * FROM t")
    return listed(pa.RecordBatchReader.from_stream(rows))


def changes_by_deltalake(path, first):
    """The change feed from a version on, without the times of its commits."""
    changes = deltalake.DeltaTable(path).load_cdf(starting_version=first)
    changes = pa.RecordBatchReader.from_stream(changes).read_all()
    return listed(changes.drop_columns(["_commit_timestamp"]))
