"""deltalake opens a table that has no checkpoint, and writes one.

    python checkpoint.py checkpoint-1m TABLE_FOLDER OUTPUT_FOLDER SEED
"""

import json
import os
import sys

from deltalake import DeltaTable

from measured import Stopwatch

_claim, data, output, _seed = sys.argv[1:]
log = os.path.join(output, "_delta_log")
os.makedirs(log)
given = os.listdir(os.path.join(data, "_delta_log"))
for name in given:
    os.link(os.path.join(data, "_delta_log", name), os.path.join(log, name))

watch = Stopwatch()
DeltaTable(output).create_checkpoint()
watch.stop()

pointer = json.load(open(os.path.join(log, "_last_checkpoint")))
made = [name for name in os.listdir(log) if ".checkpoint" in name]
rows = pointer.get("numOfAddFiles") or pointer["size"]
watch.print(rows, sum(os.path.getsize(os.path.join(log, name)) for name in made))
