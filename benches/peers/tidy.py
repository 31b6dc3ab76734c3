"""deltalake puts the files of a table together, or orders its rows by two columns.

    python tidy.py CLAIM FOLDER OUTPUT_FOLDER SEED

FOLDER is the table.
"""

import os
import shutil
import sys

from deltalake import DeltaTable

from measured import Stopwatch

claim, data, output, _seed = sys.argv[1:]


def place(source, target):
    if "_delta_log" in source.split(os.sep):
        return shutil.copy2(source, target)
    os.link(source, target)
    return target


def size():
    return sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(output) for name in names)


shutil.copytree(data, output, copy_function=place)
before = size()
table = DeltaTable(output)

watch = Stopwatch()
if claim == "zorder":
    table.optimize.z_order(["l_partkey", "l_shipdate"])
else:
    table.optimize.compact()
watch.stop()

written = size() - before
watch.print(DeltaTable(output).to_pyarrow_dataset().count_rows(), written)
