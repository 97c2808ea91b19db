#!/usr/bin/env bash
# Workload A: the floor, DuckDB and adsum on the same file, in turns, each result checked against the truth.
# See README.md beside this file. Needs the release builds of adsum-gen and adsum-floor (it makes them) and, for its own
# rows, of adsum; without that binary it measures the others and says so.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench}
events=${EVENTS:-10000000}
seed=${SEED:-42}
rounds=${ROUNDS:-3}
order=${ORDER:-usual}
hot=${HOT:-0}
target=${CARGO_TARGET_DIR:-$root/target}/release
adsum=${ADSUM:-$target/adsum}
config=${ADSUM_CONFIG:-$here/adsum.toml}
# The folder that `adsum import` fills; emptied before each round.
data=$dir/data
lines=$dir/a-$events-$seed-$order-$hot.ndjson
truth=$dir/a-$events-$seed-$order-$hot.truth.csv
results=$dir/results.jsonl

mkdir -p "$dir"
(cd "$root" && cargo build --quiet --release -p adsum-bench-gen -p adsum-bench-floor)
python3 "$root/bench/peers/duckdb_ads.py" --prepare --venv "$dir/venv-duckdb"
if [[ ! -s ${truth%.csv}.json ]]; then
  "$target/adsum-gen" --events "$events" --seed "$seed" --order "$order" --hot "$hot" --out "$lines" --truth "$truth"
fi
rm -f "$results"
# All read from the page cache, so that the disk's mood of the hour decides nothing.
cat "$lines" > /dev/null

measure() { # name, command...
  sync
  python3 "$here/measure.py" "$results" "$@"
}

exact=yes
check() { # name, report
  if ! "$target/adsum-gen" check --truth "$truth" --report "$2" > "$dir/check.txt"; then
    exact=no
    echo "$1: not exact" >&2
    cat "$dir/check.txt" >&2
  fi
  rm -f "$2"
}

for ((round = 1; round <= rounds; round++)); do
  measure floor "$target/adsum-floor" --json "$lines" --out "$dir/floor.csv" > "$dir/floor.txt"
  check floor "$dir/floor.csv"
  measure DuckDB "$dir/venv-duckdb/bin/python" "$root/bench/peers/duckdb_ads.py" --venv "$dir/venv-duckdb" \
    --json "$lines" --out "$dir/duckdb.csv" > "$dir/duckdb.txt"
  check DuckDB "$dir/duckdb.csv"
  if [[ -x $adsum ]]; then
    rm -rf "$data"
    measure "adsum import" "$adsum" import --config "$config" --data-dir "$data" --json "$lines" > "$dir/import.txt"
    measure "adsum report" "$adsum" report --config "$config" --data-dir "$data" --granularity minute \
      --by campaignId,publisherId,country,deviceType --format csv > "$dir/adsum.csv"
    check adsum "$dir/adsum.csv"
  fi
done

echo "workload A: $events lines, seed $seed, order $order, hot $hot; medians of $rounds rounds"
python3 "$here/table.py" "$results" "$events"
if [[ -x $adsum ]]; then
  echo "data folder after the last import: $(du -sm "$data" | cut -f1) MiB"
else
  echo "$adsum is not there: build it with cargo build --release -p adsum"
fi
echo "every result exact: $exact"
[[ $exact == yes ]]
