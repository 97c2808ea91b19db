#!/usr/bin/env bash
# Workload B, the Yahoo streaming benchmark: floors, peers and adsum on the same lines, in turns, each result checked.
# See README.md beside this file.
set -euo pipefail

scenario=ysb
# shellcheck source=bench/scenario.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scenario.sh"
begin_step usual
lines=$dir/b-$events-$seed.ndjson
truth=$dir/b-$events-$seed.truth.csv
campaigns=$dir/b-$events-$seed.campaigns.toml
config=$dir/ysb.toml
# What a peer is told.
told=(--workload ysb --campaigns "$campaigns" --json "$lines")

if [[ ! -s ${truth%.csv}.json || ! -s $lines ]]; then
  "$target/adsum-gen" ysb --events "$events" --seed "$seed" --out "$lines" --truth "$truth" --campaigns "$campaigns"
fi
cat "$bench/ysb/adsum.toml" "$campaigns" > "$config"
# All read from the page cache, so that the disk's mood of the hour decides nothing.
cat "$lines" > /dev/null
prepare_peers

for ((round = 1; round <= rounds; round++)); do
  measure "floor S" "$target/adsum-floor" ysb --campaigns "$campaigns" --json "$lines" --out "$dir/floor.csv" > "$dir/floor.txt"
  check "floor S" "$truth" "$dir/floor.csv"
  measure "floor F" "$target/adsum-floor" ysb --fitted --campaigns "$campaigns" --json "$lines" --out "$dir/floor.csv" \
    > "$dir/floor.txt"
  check "floor F" "$truth" "$dir/floor.csv"
  if has_peer duckdb; then peer DuckDB duckdb_batch check "$truth" "${told[@]}"; fi
  import "adsum import" "$config" "$data" "$lines"
  report "adsum import: report" "$config" "$data" bucket campaignId
  check "adsum import" "$truth" "$dir/adsum.csv"
done
# These take minutes and differ by factors: once.
if has_peer clickhouse; then
  peer "ClickHouse batch" clickhouse_batch check "$truth" "${told[@]}"
  peer "ClickHouse view" clickhouse_view check "$truth" "${told[@]}"
fi
if has_peer flink; then peer Flink flink_sql check_peer "$truth" "${told[@]}"; fi

echo "workload B: $events lines, seed $seed, $rounds rounds"
show "$events" --beside "floor S" --beside DuckDB
row rate --row "B, Yahoo streaming benchmark" --name "adsum import" --events "$events" --at-least 8.0 --exact "$exact" \
  --beside "floor S" --beside "floor F" --beside DuckDB=2.5 --beside Flink=25 --beside "ClickHouse batch" \
  --beside "ClickHouse view"
show_rows
rm -rf "$data"
echo "where the time of an import goes, functions by their own share:"
profile "$adsum" import --config "$config" --data-dir "$data" --json "$lines"
echo "every result that must be exact is: $exact"
[[ $exact == yes ]]
