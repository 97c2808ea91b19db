"""What the programs of the peers share: a command line, a virtualenv with the pinned package, and one line about the run.

A peer is a table from a workload's name to a function that takes the arguments and writes the result as CSV: `ads` is
workload A, `ysb` workload B. Not here: how long it took (bench/measure.py sees the whole process) and whether the result
is right (`adsum-gen check` says).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tomllib


def prepare(venv: pathlib.Path, pinned: list[str]) -> pathlib.Path:
    """The virtualenv's interpreter, after making it and installing what is pinned, once."""
    python = venv / "bin" / "python"
    wanted = "\n".join(pinned) + "\n"
    mark = venv / "installed.txt"
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        venv.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned]
        subprocess.run(install, check=True, stdout=sys.stderr)
        mark.write_text(wanted, encoding="utf-8")
    return python


def ads_of_campaigns(path: str) -> list[tuple[str, str]]:
    """Each ad with its campaign, from the campaigns that `adsum-gen ysb` wrote."""
    with open(path, "rb") as file:
        campaigns = tomllib.load(file)["campaigns"]
    return [(ad, campaign) for campaign, of_it in campaigns.items() for ad in of_it["ads"]]


def main(name: str, pinned: list[str], workloads: dict, missing=lambda: None) -> None:
    """Reads the command line and goes on inside the virtualenv; `missing` says what the machine lacks, if anything."""
    default_dir = os.environ.get("BENCH_DIR") or os.path.join(os.environ.get("TMPDIR", "/tmp"), "adsum-bench")
    parser = argparse.ArgumentParser(description=f"Workloads in {name}.")
    parser.add_argument("--prepare", action="store_true", help="only make the virtualenv")
    parser.add_argument("--workload", choices=sorted(workloads), default="ads")
    parser.add_argument("--json", help="the lines, NDJSON")
    parser.add_argument("--out", help="where the rows go, CSV")
    parser.add_argument("--campaigns", help="the campaigns of workload B, TOML")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--venv", type=pathlib.Path, default=pathlib.Path(default_dir) / f"venv-{pinned[0].split('==')[0]}")
    args = parser.parse_args()
    lacks = missing()
    if lacks:
        sys.exit(f"{name} cannot run here: {lacks}")
    if not args.prepare and not (args.json and args.out):
        parser.error("--json and --out are needed")
    if not args.prepare and args.workload == "ysb" and not args.campaigns:
        parser.error("--campaigns is needed")
    python = prepare(args.venv, pinned)
    if args.prepare:
        return
    if pathlib.Path(sys.prefix).resolve() != args.venv.resolve():
        os.execv(python, [str(python), *sys.argv])
    print(json.dumps({"peer": name, "version": workloads[args.workload](args)}))
