"""deltalake appends one row at a time, through a handle that it keeps: one after the other, or from eight threads.

    python commits.py commits-small|commits-group INPUT OUTPUT_FOLDER SEED
"""

import sys
import threading

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from measured import Stopwatch

claim, _data, output, _seed = sys.argv[1:]
tasks, each = (1, 1000) if claim == "commits-small" else (8, 250)


def one(row):
    return pa.table({"id": pa.array([row], pa.int64()), "note": pa.array([f"row {row}"])})


def append(task, table):
    for nth in range(each):
        rows = one(1 + task * each + nth)
        while True:
            try:
                write_deltalake(table, rows, mode="append")
                break
            except CommitFailedError:
                table.update_incremental()


write_deltalake(output, one(0))
tables = [DeltaTable(output) for _ in range(tasks)]

watch = Stopwatch()
threads = [threading.Thread(target=append, args=(task, table)) for task, table in enumerate(tables)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
watch.stop()

adds = pa.table(DeltaTable(output).get_add_actions(flatten=True))
watch.print(sum(adds.column("num_records").to_pylist()), sum(adds.column("size_bytes").to_pylist()))
