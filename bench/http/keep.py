"""Keeps the figures of one load among the runs of a step, as measure.py keeps those of a command.

Usage: keep.py RUNS.jsonl NAME FIGURES.json
"""

import json
import sys


def main() -> None:
    runs, name, path = sys.argv[1:]
    with open(path, encoding="utf-8") as text:
        figures = json.load(text)
    line = {
        "name": name,
        "seconds": figures["elapsedMicros"] / 1e6,
        "cpuSeconds": figures["serverCpuMicros"] / 1e6,
        "peakMb": figures["serverPeakMb"],
        "requestsPerSecond": figures["requestsPerSecond"],
    }
    for kind in ("latency", "visible"):
        for quantile, micros in figures.get(f"{kind}Micros", {}).items():
            line[f"{kind}_{quantile}"] = micros / 1e3
    with open(runs, "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
