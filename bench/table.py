"""Tables of the benchmarks: one of the runs of a scenario, one of the rows of all scenarios, and what they are made of.

Runs are lines of JSON that measure.py wrote (`name`, `seconds`, `cpuSeconds`, `peakMb`) and verdicts of the check (`name`,
`verdict`). Rows are lines of JSON in `$BENCH_DIR/results.jsonl`, see README.md. Invariant: a figure is the median of the
runs of one name, and a ratio is that of the medians of two names of the same file: rates that were measured in turns on
the same machine. Not here: what is run.

    table.py verdict RUNS NAME TEXT                    keeps what the check said of the last run of that name
    table.py runs RUNS EVENTS [--beside NAME ...]      prints the runs, with ratios to those names
    table.py rate RUNS RESULTS --row TEXT ...          keeps a row: events a second of a name
    table.py value RUNS RESULTS --row TEXT ...         keeps a row: a figure that was worked out elsewhere
    table.py median RUNS NAME FIELD                    prints one median
    table.py rows RESULTS [--scenario NAME]            prints the rows; exits 1 if one of them is not exact
"""

import argparse
import datetime
import json
import os
import statistics
import sys

EXACT = "exact"
# A report is asked after its import; together they are what the others do in one process.
REPORT = ": report"
WHOLE = " and report"


def read(path: str) -> list[dict]:
    """The lines of a file, none if it is not there."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def append(path: str, line: dict) -> None:
    """Adds a line to a file."""
    with open(path, "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


class Runs:
    """The runs of one scenario by name, in the order of their first."""

    def __init__(self, path: str):
        self.by_name: dict[str, list[dict]] = {}
        self.verdicts: dict[str, list[str]] = {}
        for line in read(path):
            if "verdict" in line:
                self.verdicts.setdefault(line["name"], []).append(line["verdict"])
            else:
                self.by_name.setdefault(line["name"], []).append(line)

    def add_whole_jobs(self) -> None:
        """Imports and their reports together, round by round."""
        for name in [name for name in self.by_name if name + REPORT in self.by_name]:
            self.by_name[name + WHOLE] = [
                {
                    "seconds": a["seconds"] + b["seconds"],
                    "cpuSeconds": a["cpuSeconds"] + b["cpuSeconds"],
                    "peakMb": max(a["peakMb"], b["peakMb"]),
                }
                for a, b in zip(self.by_name[name], self.by_name[name + REPORT])
            ]

    def median(self, name: str, field: str) -> float:
        """Of the runs of a name."""
        return statistics.median(run[field] for run in self.by_name[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times as fast as another."""
        return self.median(other, "seconds") / self.median(name, "seconds")

    def verdict(self, name: str) -> str:
        """What the checks said; a name that nobody checked says nothing."""
        said = self.verdicts.get(name, [])
        wrong = [text for text in said if text != EXACT]
        return wrong[0] if wrong else said[0] if said else "-"


def show(rows: list[tuple]) -> None:
    """Columns as wide as their widest cell; numbers to the right, the first and the last to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    last = len(widths) - 1
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())


def show_runs(args: argparse.Namespace) -> None:
    """One line for each name."""
    runs = Runs(args.runs)
    runs.add_whole_jobs()
    beside = [name for name in args.beside if name in runs.by_name]
    rows = [("", "s", "M events/s", "CPU us/event", "peak MB", *(f"x {name}" for name in beside), "result", "runs, s")]
    for name, its_runs in runs.by_name.items():
        # A report reads rows, so events a second would say nothing of it.
        reads = name.endswith(REPORT)
        rows.append((
            name,
            f"{runs.median(name, 'seconds'):.2f}",
            "-" if reads else f"{args.events / runs.median(name, 'seconds') / 1e6:.2f}",
            f"{runs.median(name, 'cpuSeconds') / args.events * 1e6:.2f}",
            f"{runs.median(name, 'peakMb'):.0f}",
            *("-" if reads else f"{runs.ratio(name, other):.2f}" for other in beside),
            runs.verdict(name),
            " ".join(f"{run['seconds']:.2f}" for run in its_runs),
        ))
    show(rows)


def keep(args: argparse.Namespace, value: float, unit: str, ratios: dict[str, dict]) -> None:
    """Adds a row to the results."""
    # What was not measured is neither reached nor missed.
    reached = [value >= args.at_least] if args.at_least is not None else []
    reached += [value <= args.at_most] if args.at_most is not None else []
    wanted = [ratio for ratio in ratios.values() if "wanted" in ratio]
    reached += [None if ratio["ratio"] is None else ratio["ratio"] >= ratio["wanted"] for ratio in wanted]
    met = False if False in reached else None if None in reached or not reached else True
    append(args.results, {
        "scenario": args.scenario,
        "row": args.row,
        "value": value,
        "unit": unit,
        "atLeast": args.at_least,
        "atMost": args.at_most,
        "ratios": ratios,
        "met": met,
        "exact": {"yes": True, "no": False}.get(args.exact),
        "date": datetime.date.today().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "commit": args.commit,
    })


def keep_rate(args: argparse.Namespace) -> None:
    """Events a second of one name, and ratios `NAME` or `NAME=WANTED` to others of the same runs."""
    runs = Runs(args.runs)
    ratios = {}
    for beside in args.beside:
        other, _, wanted = beside.partition("=")
        ratio = round(runs.ratio(args.name, other), 2) if other in runs.by_name else None
        if ratio is not None or wanted:
            ratios[other] = {"ratio": ratio}
        if wanted:
            ratios[other]["wanted"] = float(wanted)
    rate = args.events / runs.median(args.name, "seconds") / 1e6
    keep(args, round(rate, 2), "M events/s", ratios)


def show_rows(args: argparse.Namespace) -> int:
    """The last of each row, in the order of their first."""
    last: dict[tuple, dict] = {}
    for line in read(args.results):
        if args.scenario in (None, line.get("scenario")):
            last[(line.get("scenario"), line.get("row"))] = line

    def target(line: dict) -> str:
        least, most = line.get("atLeast"), line.get("atMost")
        return f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else "-"

    def beside(line: dict, is_floor: bool) -> str:
        texts = []
        for name, ratio in (line.get("ratios") or {}).items():
            if name.startswith("floor") == is_floor:
                wanted = f" ({ratio['wanted']:g})" if "wanted" in ratio else ""
                is_there = ratio.get("ratio") is not None
                texts.append(f"{name} {ratio['ratio']:.2f}{wanted}" if is_there else f"{name} -{wanted}")
        return ", ".join(texts) or "-"

    def word(value: bool | None) -> str:
        return {True: "yes", False: "NO", None: "-"}[value]

    head = ("row", "figure", "unit", "target", "met", "exact", "x floor (wanted)", "x peers (wanted)")
    rows = [head]
    for line in last.values():
        figure = "-" if line.get("value") is None else f"{line['value']:g}"
        rows.append((
            str(line.get("row")), figure, line.get("unit", ""), target(line), word(line.get("met")),
            word(line.get("exact")), beside(line, True), beside(line, False),
        ))
    show(rows)
    return 1 if any(line.get("exact") is False for line in last.values()) else 0


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    verdict = commands.add_parser("verdict")
    for name in ("runs", "name", "text"):
        verdict.add_argument(name)
    of_runs = commands.add_parser("runs")
    of_runs.add_argument("runs")
    of_runs.add_argument("events", type=int)
    of_runs.add_argument("--beside", action="append", default=[])
    median = commands.add_parser("median")
    for name in ("runs", "name", "field"):
        median.add_argument(name)
    for kind in ("rate", "value"):
        row = commands.add_parser(kind)
        row.add_argument("runs")
        row.add_argument("results")
        for name in ("--scenario", "--row", "--commit", "--exact"):
            row.add_argument(name, required=True)
        row.add_argument("--at-least", type=float)
        row.add_argument("--at-most", type=float)
        if kind == "rate":
            row.add_argument("--name", required=True)
            row.add_argument("--events", type=int, required=True)
            row.add_argument("--beside", action="append", default=[])
        else:
            row.add_argument("--value", type=float, required=True)
            row.add_argument("--unit", required=True)
    rows = commands.add_parser("rows")
    rows.add_argument("results")
    rows.add_argument("--scenario")
    args = parser.parse_args()
    if args.command == "verdict":
        append(args.runs, {"name": args.name, "verdict": args.text})
    elif args.command == "runs":
        show_runs(args)
    elif args.command == "median":
        print(Runs(args.runs).median(args.name, args.field))
    elif args.command == "rate":
        keep_rate(args)
    elif args.command == "value":
        keep(args, args.value, args.unit, {})
    else:
        return show_rows(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
