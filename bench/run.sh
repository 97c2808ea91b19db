#!/usr/bin/env bash
# Every scenario, one after the other, and one table of all rows. `--quick` runs everything on few lines, once: it shows
# that everything works and is exact, and its figures mean nothing. See README.md beside this file.
set -euo pipefail

if [[ ${1:-} == --quick ]]; then
  export QUICK=1
fi
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench}
export BENCH_DIR=$dir
mkdir -p "$dir"
rm -f "$dir/results.jsonl"
failed=""
for scenario in ads ysb http queries dedupe memory; do
  if [[ -x $bench/$scenario/run.sh ]]; then
    printf '\n== %s\n' "$scenario"
    "$bench/$scenario/run.sh" || failed="$failed $scenario"
  fi
done

printf '\n== all rows: %s cores, commit %s, %s\n' "$(nproc)" "$(git -C "$bench" rev-parse --short HEAD)" "$(date -u +%F)"
python3 "$bench/table.py" rows "$dir/results.jsonl" || failed="$failed exactness"
if [[ $failed ]]; then
  echo "failed:$failed"
  exit 1
fi
