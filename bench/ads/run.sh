#!/usr/bin/env bash
# Workload A: the floor, the peers and adsum on the same lines, in turns, each result checked against the truth.
# Steps, all of them if none is named: usual, orders, hot, rollups, sizes, profile. See README.md beside this file.
set -euo pipefail

scenario=ads
# shellcheck source=bench/scenario.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scenario.sh"
here=$bench/ads
config=${ADSUM_CONFIG:-$here/adsum.toml}
dimensions=campaignId,publisherId,country,deviceType
# Where log and store lie in memory: a tmpfs.
memory=${MEMORY_DIR:-/dev/shm}/adsum-bench
# More than log and store take, so that a small tmpfs is not filled to its end.
memory_bytes_an_event=400
sizes=${SIZES:-1000000 10000000 100000000}
# The largest cost per event of the sizes over the smallest, in percent.
sizes_percent_max=120
# No slower than the usual spread, within what a few rounds can tell.
hot_ratio_min=0.97
trap 'rm -rf "$memory" "$dir/lines.fifo"' EXIT

# The file of a workload; made where it is not there.
lines() { # events, order, hot
  echo "$dir/a-$1-$seed-$2-$3.ndjson"
}

truth() { # events, order, hot
  echo "$dir/a-$1-$seed-$2-$3.truth.csv"
}

generate() { # events, order, hot
  local to
  to=$(truth "$@")
  if [[ ! -s ${to%.csv}.json || ! -s $(lines "$@") ]]; then
    "$target/adsum-gen" --events "$1" --seed "$seed" --order "$2" --hot "$3" --out "$(lines "$@")" --truth "$to"
  fi
  # All read from the page cache, so that the disk's mood of the hour decides nothing.
  cat "$(lines "$@")" > /dev/null
}

# The files of a step that no other step reads.
drop() { # events, order, hot
  local from
  from=$(truth "$@")
  rm -f "$(lines "$@")" "$from" "${from%.csv}.json"
}

# Imports and checks the report; the folder stays.
import_and_check() { # name, configuration, folder, lines, truth
  import "$1" "$2" "$3" "$4"
  report "$1: report" "$2" "$3" minute "$dimensions"
  check "$1" "$5" "$dir/adsum.csv"
}

fits_in_memory() {
  local free
  free=$(df --output=avail -B1 "$(dirname "$memory")" 2> /dev/null | tail -n 1) || free=0
  ((free > events * memory_bytes_an_event))
}

usual() {
  local in_memory="" file to
  generate "$events" usual 0
  file=$(lines "$events" usual 0) to=$(truth "$events" usual 0)
  if fits_in_memory; then in_memory=yes; else echo "no row of log and store in memory: $memory is too small"; fi
  prepare_peers
  for ((round = 1; round <= rounds; round++)); do
    measure "floor S" "$target/adsum-floor" --json "$file" --out "$dir/floor.csv" > "$dir/floor.txt"
    check "floor S" "$to" "$dir/floor.csv"
    if has_peer duckdb; then peer DuckDB duckdb_batch check "$to" --json "$file"; fi
    import_and_check "adsum import" "$config" "$data" "$file" "$to"
    if [[ $in_memory ]]; then
      import_and_check "adsum import, in memory" "$config" "$memory" "$file" "$to"
      rm -rf "$memory"
    fi
  done
  # These take minutes and differ by factors: once.
  if has_peer clickhouse; then
    peer "ClickHouse batch" clickhouse_batch check "$to" --json "$file"
    peer "ClickHouse view" clickhouse_view check_peer "$to" --json "$file"
  fi
  if has_peer flink; then peer Flink flink_sql check_peer "$to" --json "$file"; fi

  show "$events" --beside "floor S" --beside DuckDB
  echo "data folder: $(du -sm "$data" | cut -f1) MiB"
  row rate --row "A, adsum import" --name "adsum import" --events "$events" --at-least 2.0 --exact "$exact" \
    --beside "floor S=0.93" --beside DuckDB=1.8 --beside Flink=20 --beside "ClickHouse view=9" --beside "ClickHouse batch"
  row value --row "A, adsum import: memory" --value "$(python3 "$bench/table.py" median "$runs" "adsum import" peakMb)" \
    --unit "MB at the peak" --at-most 512 --exact "$exact"
  if [[ $in_memory ]]; then
    row rate --row "A, log and store in memory" --name "adsum import, in memory" --events "$events" --at-least 2.5 \
      --exact "$exact" --beside "floor S=1.15" --beside DuckDB=2.2
    row value --row "A, log and store in memory: memory" --unit "MB at the peak, beside log and store" --at-most 512 \
      --value "$(python3 "$bench/table.py" median "$runs" "adsum import, in memory" peakMb)" --exact "$exact"
  fi
  row rate --row "A, the floor itself" --name "floor S" --events "$events" --exact "$exact" --beside DuckDB=1.7
  row value --row "A, log on disk" --unit "bytes an event" --at-most 80 --exact "$exact" \
    --value "$(du -sb "$data/log" | awk -v n="$events" '{ printf "%.1f", $1 / n }')"
}

# Other orders, spaces, escapes, members that nobody knows; beside sonic-rs that only parses.
orders() {
  local file
  for order in ${ORDERS:-reversed shuffled spaced escaped unknown}; do
    generate "$side_events" "$order" 0
    file=$(lines "$side_events" "$order" 0)
    for ((round = 1; round <= rounds; round++)); do
      measure "sonic-rs alone, $order" "$target/adsum-floor" parse --json "$file" > "$dir/floor.txt"
      import_and_check "adsum import, $order" "$config" "$data" "$file" "$(truth "$side_events" "$order" 0)"
    done
    row rate --row "A, lines $order" --name "adsum import, $order" --events "$side_events" --at-least 1.2 --exact "$exact" \
      --beside "sonic-rs alone, $order"
    drop "$side_events" "$order" 0
  done
  show "$side_events"
}

# Half of the impressions on one campaign, in turns with the usual spread.
hot() {
  generate "$side_events" usual 0
  generate "$side_events" usual 0.5
  for ((round = 1; round <= rounds; round++)); do
    for share in 0 0.5; do
      import_and_check "adsum import, hot $share" "$config" "$data" "$(lines "$side_events" usual "$share")" \
        "$(truth "$side_events" usual "$share")"
    done
  done
  show "$side_events" --beside "adsum import, hot 0"
  row rate --row "A, half on one campaign" --name "adsum import, hot 0.5" --events "$side_events" --exact "$exact" \
    --beside "adsum import, hot 0=$hot_ratio_min"
  drop "$side_events" usual 0.5
}

# The two rollups that a configuration without `rollups` has.
rollups() {
  generate "$side_events" usual 0
  grep -v '^rollups' "$config" > "$dir/two-rollups.toml"
  for ((round = 1; round <= rounds; round++)); do
    import_and_check "adsum import, one rollup" "$config" "$data" "$(lines "$side_events" usual 0)" \
      "$(truth "$side_events" usual 0)"
    import_and_check "adsum import, two rollups" "$dir/two-rollups.toml" "$data" "$(lines "$side_events" usual 0)" \
      "$(truth "$side_events" usual 0)"
  done
  show "$side_events" --beside "adsum import, one rollup"
  row rate --row "A, the two default rollups" --name "adsum import, two rollups" --events "$side_events" --exact "$exact" \
    --beside "adsum import, one rollup"
}

# A pipe from the generator, so that 100 million lines need no file; what the generator takes is not counted.
sizes() {
  local to generator least="" most="" cost
  for size in $sizes; do
    to=$(truth "$size" piped 0)
    mkfifo "$dir/lines.fifo"
    "$target/adsum-gen" --events "$size" --seed "$seed" --out "$dir/lines.fifo" --truth "$to" > "$dir/gen.txt" &
    generator=$!
    import "adsum import, $size lines" "$config" "$data" "$dir/lines.fifo"
    wait "$generator"
    rm "$dir/lines.fifo"
    report "adsum import, $size lines: report" "$config" "$data" minute "$dimensions"
    check "adsum import, $size lines" "$to" "$dir/adsum.csv"
    rm -f "$to" "${to%.csv}.json"
    cost=$(python3 "$bench/table.py" median "$runs" "adsum import, $size lines" cpuSeconds |
      awk -v n="$size" '{ printf "%d", $1 * 1e9 / n }')
    row value --row "A, $size lines" --unit "CPU us an event" --exact "$exact" \
      --value "$(awk -v ns="$cost" 'BEGIN { printf "%.3f", ns / 1000 }')"
    row value --row "A, $size lines: memory" --unit "MB at the peak" --exact "$exact" \
      --value "$(python3 "$bench/table.py" median "$runs" "adsum import, $size lines" peakMb)"
    if [[ -z $least ]] || ((cost < least)); then least=$cost; fi
    if [[ -z $most ]] || ((cost > most)); then most=$cost; fi
  done
  row value --row "A, sizes: dearest over cheapest" --value $((most * 100 / least)) --unit "%" \
    --at-most "$sizes_percent_max" --exact "$exact"
}

profile_import() {
  generate "$side_events" usual 0
  rm -rf "$data"
  echo "where the time of an import goes, functions by their own share:"
  profile "$adsum" import --config "$config" --data-dir "$data" --json "$(lines "$side_events" usual 0)"
}

if (($# == 0)); then set -- usual orders hot rollups sizes profile; fi
for step in "$@"; do
  printf -- '-- %s\n' "$step"
  begin_step "$step"
  case $step in
    usual | orders | hot | rollups | sizes) "$step" ;;
    profile) profile_import ;;
    *) echo "no step $step" >&2 && exit 2 ;;
  esac
done

echo "workload A: $events lines ($side_events in the side steps), seed $seed, $rounds rounds"
show_rows
echo "every result that must be exact is: $exact"
[[ $exact == yes ]]
