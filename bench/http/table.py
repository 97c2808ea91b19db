"""The table of a run of events over HTTP, from its results: medians of the rounds.

Usage: table.py RESULTS.jsonl, or table.py --half NAME RESULTS.jsonl for half of the rate of requests that NAME reached.
"""

import json
import statistics
import sys

# Each row with the floor that its rate is divided by.
FLOORS = {
    "singles": "singles: floor, acknowledge",
    "batches": "batches: floor, parse",
    "gzip": "gzip: floor, inflate",
}


def read(path: str) -> dict[str, list[dict]]:
    runs: dict[str, list[dict]] = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            runs.setdefault(run["name"], []).append(run["figures"])
    return runs


def median(figures: list[dict], *path: str) -> float | None:
    values = []
    for figure in figures:
        value = figure
        for key in path:
            value = value.get(key, {}) if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            values.append(value)
    return statistics.median(values) if values else None


def main() -> None:
    if sys.argv[1] == "--half":
        rates = [figures["requestsPerSecond"] for figures in read(sys.argv[3])[sys.argv[2]]]
        print(max(1, max(rates) // 2))
        return
    runs = read(sys.argv[1])
    print(f"{'':32}{'events/s':>11}{'x floor':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us/event':>14}")
    for name, figures in runs.items():
        events = median(figures, "eventsPerSecond")
        floor = runs.get(FLOORS.get(name, ""))
        ratio = f"{events / median(floor, 'eventsPerSecond'):.2f}" if floor else "-"
        p50, p99 = (median(figures, "latencyMicros", p) / 1e3 for p in ("p50", "p99"))
        cpu = median(figures, "serverCpuNanosPerEvent") / 1e3
        print(f"{name:32}{events:>11,.0f}{ratio:>9}{p50:>9.1f}{p99:>9.1f}{cpu:>14.2f}")
        visible = [median(figures, "visibleMicros", p) for p in ("p50", "p99")]
        if None not in visible:
            probes = sum(f.get("probes", 0) for f in figures)
            print(f"{'  from 202 to visible':32}{'':>20}{visible[0] / 1e3:>9.1f}{visible[1] / 1e3:>9.1f}    ({probes} probes)")


if __name__ == "__main__":
    main()
