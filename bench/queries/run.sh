#!/usr/bin/env bash
# Workload C: 20 million minute rows of 30 days, and three questions asked of them over HTTP; every answer is checked.
# See README.md beside this file. Needs the release builds of adsum-gen and adsum-queries (it makes them) and of adsum.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench}/queries
events=${EVENTS:-20900000}
seed=${SEED:-7}
calls=${CALLS:-200}
target=${CARGO_TARGET_DIR:-$root/target}/release
adsum=${ADSUM:-$target/adsum}
venv=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench}/venv-duckdb
data=$dir/data
config=$here/adsum.toml
# 2026-10-22T00:00:00Z: thirty days at eight events a second end with 20 November 2026.
start_ms=1792627200000

mkdir -p "$dir"
(cd "$root" && cargo build --quiet --release -p adsum-bench-gen -p adsum-bench-queries)
python3 "$root/bench/peers/duckdb_ads.py" --prepare --venv "$venv"
if [[ ! -s $data/done ]]; then
  rm -rf "$data"
  # The lines, 8.5 GB, go through a pipe and are never on the disk.
  mkfifo -m 600 "$dir/lines.$$"
  "$adsum" import --config "$config" --data-dir "$data" --json - < "$dir/lines.$$" > "$dir/import.json" &
  import=$!
  "$target/adsum-gen" --events "$events" --events-per-second 8 --seed "$seed" --start-ms "$start_ms" \
    --out "$dir/lines.$$" --truth "$dir/truth.csv" > "$dir/truth.txt"
  wait "$import"
  rm -f "$dir/lines.$$"
  cp "$dir/import.json" "$data/done"
fi
"$venv/bin/python" "$root/bench/peers/duckdb_queries.py" --truth "$dir/truth.csv" --database "$dir/minutes.duckdb" \
  --questions "$dir/questions.ndjson" --calls "$calls"

"$adsum" serve --config "$config" --data-dir "$data" --listen 127.0.0.1:0 --token-file "$dir/token" \
  --log adsum=warn > "$dir/serve.txt" 2> "$dir/serve.log" &
server=$!
trap 'kill "$server" 2> /dev/null || true' EXIT
until grep -q http "$dir/serve.txt"; do
  kill -0 "$server"
  sleep 0.1
done
url=$(sed -n 's/.*\(http:[^ ]*\).*/\1/p' "$dir/serve.txt")
ask() { # clients
  "$target/adsum-queries" --server "${url#http://}" --token-file "$dir/token" --questions "$dir/questions.ndjson" \
    --clients "$1"
}
ask 1
ask 16
if command -v wrk > /dev/null; then
  # Events of now: behind the thirty days, so that the answers stay as they are.
  TOKEN=$(cat "$dir/token") EVENTS=1000 wrk -t 1 -c 2 -d 600s -s "$root/bench/http/collect.lua" "$url" > "$dir/wrk.txt" &
  wrk=$!
  sleep 5
  events_in() {
    curl -s -H "authorization: Bearer $(cat "$dir/token")" "$url/metrics" |
      awk '/^adsum_events_counted_total/ { printf "%d", $2 }'
  }
  before=$(events_in)
  begun=$SECONDS
  echo "while events come in, a thousand a request:"
  ask 1
  ask 16
  echo "$((($(events_in) - before) / (SECONDS - begun + 1))) events a second came in meanwhile"
  kill "$wrk"
fi
