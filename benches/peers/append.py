"""deltalake writes rows that come from memory to a new table.

    python append.py append|append-held INPUT.arrow OUTPUT_FOLDER SEED
"""

import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from measured import Stopwatch

claim, data, output, _seed = sys.argv[1:]
file = pa.ipc.open_file(pa.OSFile(data))
if claim == "append-held":
    rows = file.read_all()
else:
    batches = (file.get_batch(nth) for nth in range(file.num_record_batches))
    rows = pa.RecordBatchReader.from_batches(file.schema, batches)

watch = Stopwatch()
write_deltalake(output, rows)
watch.stop()

adds = pa.table(DeltaTable(output).get_add_actions(flatten=True))
watch.print(sum(adds.column("num_records").to_pylist()), sum(adds.column("size_bytes").to_pylist()))
