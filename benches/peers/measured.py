"""Measures work as `src/measure.rs` does: the same counters of Linux, printed as the same JSON."""

import json
import time


def cpu_seconds():
    fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def peak_rss_mb():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("/proc/self/status has no VmHWM")


class Stopwatch:
    def __init__(self):
        self.cpu, self.began = cpu_seconds(), time.perf_counter()

    def stop(self):
        self.wall_s = time.perf_counter() - self.began
        self.cpu_s = cpu_seconds() - self.cpu
        self.rss_mb = peak_rss_mb()

    def print(self, rows, written_bytes):
        """Called after `stop`, so that finding rows and bytes is not measured."""
        figures = {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "rss_mb": self.rss_mb}
        print(json.dumps({**figures, "rows": rows, "written_bytes": written_bytes}))
