"""deltalake writes rows that are in memory to a new table.

    python append.py INPUT.arrow OUTPUT_FOLDER SEED
"""

import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from measured import Stopwatch

data, output, _seed = sys.argv[1:]
with pa.OSFile(data) as file:
    table = pa.ipc.open_file(file).read_all()

watch = Stopwatch()
write_deltalake(output, table)
watch.stop()

adds = DeltaTable(output).get_add_actions(flatten=True)
column = lambda name: pa.table(adds).column(name).to_pylist()
watch.print(sum(column("num_records")), sum(column("size_bytes")))
