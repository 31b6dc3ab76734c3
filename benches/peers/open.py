"""deltalake opens a table, its list of files included.

    python open.py CLAIM TABLE_FOLDER OUTPUT_FOLDER SEED
"""

import sys

from deltalake import DeltaTable

from measured import Stopwatch

_claim, data, _output, _seed = sys.argv[1:]

watch = Stopwatch()
table = DeltaTable(data)
watch.stop()

# Counted after the watch was stopped: only Python objects tell the number, and they are not what is compared.
watch.print(table.get_add_actions().num_rows, 0)
