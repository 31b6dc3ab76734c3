"""deltalake deletes, updates and merges a few rows of a table of twelve files, and reads what versions changed.

    python row_changes.py CLAIM FOLDER OUTPUT_FOLDER SEED

FOLDER holds the table `peer`, and for merges `source.arrow`.
"""

import os
import shutil
import sys

import pyarrow as pa
from deltalake import DeltaTable

from measured import Stopwatch

claim, data, output, _seed = sys.argv[1:]
SCATTERED = "l_orderkey % 1000 = 7"
KEYS = "t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber"


def place(source, target):
    if "_delta_log" in source.split(os.sep):
        return shutil.copy2(source, target)
    os.link(source, target)
    return target


def size():
    return sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(output) for name in names)


shutil.copytree(os.path.join(data, "peer"), output, copy_function=place)
before = size()
path = os.path.join(data, "source.arrow")


def source():
    """The rows of the source as they are read: neither side has to hold them."""
    file = pa.ipc.open_file(pa.OSFile(path))
    return pa.RecordBatchReader.from_batches(file.schema, (file.get_batch(at) for at in range(file.num_record_batches)))


table = DeltaTable(output)

watch = Stopwatch()
if claim == "delete-scattered":
    rows = table.delete(SCATTERED)["num_deleted_rows"]
elif claim == "update-scattered":
    rows = table.update(updates={"l_comment": "'changed'"}, predicate=SCATTERED)["num_updated_rows"]
elif claim == "cdf":
    rows = sum(batch.num_rows for batch in pa.RecordBatchReader.from_stream(table.load_cdf(starting_version=1)))
else:
    merge = table.merge(source(), KEYS, source_alias="s", target_alias="t")
    if claim != "merge-insert-only":
        merge = merge.when_matched_update_all()
    metrics = merge.when_not_matched_insert_all().execute()
    rows = metrics["num_target_rows_updated"] + metrics["num_target_rows_inserted"]
watch.stop()

watch.print(rows, size() - before)
