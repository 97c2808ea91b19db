#!/usr/bin/env bash
# Events over HTTP: adsum and the floors that it is measured against, under the same load, in turns.
# See README.md beside this file. Needs the release build of adsum; it makes those of adsum-gen and adsum-load.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench-http}
lines_written=${LINES:-3000000}
seed=${SEED:-42}
rounds=${ROUNDS:-3}
singles=${SINGLES:-600000}
batched=${BATCHED:-10000000}
compressed=${COMPRESSED:-2000000}
batch=${BATCH:-1000}
target=${CARGO_TARGET_DIR:-$root/target}/release
adsum=${ADSUM:-$target/adsum}
config=${ADSUM_CONFIG:-$root/bench/ads/adsum.toml}
port=${PORT:-7979}
# Emptied before each run.
data=$dir/data
lines=$dir/lines.ndjson
results=$dir/results.jsonl
server=

mkdir -p "$dir"
(cd "$root" && cargo build --quiet --release -p adsum-bench-gen -p adsum-bench-load)
load=$target/adsum-load

stop() {
  if [[ -n $server ]]; then
    kill "$server"
    wait "$server" || true
    server=
  fi
}
trap stop EXIT

# A live server takes events of its present: the lines end about now, whenever that is.
"$target/adsum-gen" --events "$lines_written" --seed "$seed" --start-ms $((($(date +%s) - lines_written / 10000 - 60) * 1000)) \
  --out "$lines" --truth "$dir/truth.csv" > /dev/null
rm -f "$results" "$dir/truth.csv"

start() { # adsum, or the work of a floor
  if [[ $1 == adsum ]]; then
    rm -rf "$data"
    "$adsum" serve --config "$config" --data-dir "$data" --listen "127.0.0.1:$port" > "$dir/server.txt" 2> "$dir/server.log" &
  else
    "$load" floor --listen "127.0.0.1:$port" --work "$1" > "$dir/server.txt" 2> "$dir/server.log" &
  fi
  server=$!
  for _ in $(seq 100); do
    if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then return; fi
    sleep 0.1
  done
  echo "the server does not listen: $dir/server.log" >&2
  exit 1
}

measure() { # name, server, arguments of the load
  local name=$1 of=$2
  shift 2
  local token=()
  start "$of"
  if [[ $of == adsum ]]; then token=(--token-file "$data/admin-token"); fi
  "$load" run --address "127.0.0.1:$port" --lines "$lines" --pid "$server" "${token[@]}" "$@" > "$dir/figures.json"
  stop
  echo "{\"name\":\"$name\",\"figures\":$(cat "$dir/figures.json")}" >> "$results"
}

rate() { # name: half of the best rate of requests so far
  python3 "$here/table.py" --half "$1" "$results"
}

one=(--events "$singles" --connections "${CONNECTIONS:-64}")
many=(--events "$batched" --batch "$batch" --connections 8)
gzip=(--events "$compressed" --batch "$batch" --connections 8 --gzip)
for ((round = 1; round <= rounds; round++)); do
  measure "singles: floor, acknowledge" acknowledge "${one[@]}"
  measure "singles" adsum "${one[@]}"
  measure "singles at half rate" adsum "${one[@]}" --rate "$(rate singles)"
  measure "batches: floor, acknowledge" acknowledge "${many[@]}"
  measure "batches: floor, parse" parse "${many[@]}"
  measure "batches" adsum "${many[@]}"
  measure "batches at half rate" adsum "${many[@]}" --rate "$(rate batches)" --probe
  measure "gzip: floor, inflate" inflate "${gzip[@]}"
  measure "gzip: floor, inflate and parse" inflate-parse "${gzip[@]}"
  measure "gzip" adsum "${gzip[@]}"
done

echo "batches of $batch; medians of $rounds rounds; $(nproc) cores; load average $(cut -d' ' -f1-3 /proc/loadavg)"
python3 "$here/table.py" "$results"
rm -rf "$data"
