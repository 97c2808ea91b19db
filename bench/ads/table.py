"""One table from the lines that measure.py wrote: medians, rates and ratios.

Usage: table.py RESULTS.jsonl EVENTS

Rows are the names in the order of their first run; `adsum import` and `adsum report` of the same round are also added up
to `adsum, whole job`, which is what the others do in one process. A ratio is the rate over that of the floor or of DuckDB,
each from medians of the same file. Not here: exactness, which `adsum-gen check` decides.
"""

import json
import statistics
import sys

PARTS = ("adsum import", "adsum report")
WHOLE = "adsum, whole job"


def main() -> None:
    path, events = sys.argv[1], int(sys.argv[2])
    runs: dict[str, list[dict]] = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            runs.setdefault(run["name"], []).append(run)
    if all(part in runs for part in PARTS):
        runs[WHOLE] = [
            {
                "seconds": a["seconds"] + b["seconds"],
                "cpuSeconds": a["cpuSeconds"] + b["cpuSeconds"],
                "peakMb": max(a["peakMb"], b["peakMb"]),
            }
            for a, b in zip(runs[PARTS[0]], runs[PARTS[1]])
        ]

    def median(name: str, field: str) -> float:
        return statistics.median(run[field] for run in runs[name])

    def ratio(name: str, other: str) -> str:
        return f"{median(other, 'seconds') / median(name, 'seconds'):.2f}" if other in runs else "-"

    head = ("", "s", "M events/s", "CPU us/event", "peak MB", "x floor", "x DuckDB", "runs, s")
    rows = [head]
    for name, its_runs in runs.items():
        rows.append((
            name,
            f"{median(name, 'seconds'):.2f}",
            "-" if name == "adsum report" else f"{events / median(name, 'seconds') / 1e6:.2f}",
            f"{median(name, 'cpuSeconds') / events * 1e6:.2f}",
            f"{median(name, 'peakMb'):.0f}",
            "-" if name == "adsum report" else ratio(name, "floor"),
            "-" if name == "adsum report" else ratio(name, "DuckDB"),
            " ".join(f"{run['seconds']:.2f}" for run in its_runs),
        ))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
