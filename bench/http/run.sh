#!/usr/bin/env bash
# Events over HTTP: adsum and the floors that it is measured against, under the same load, in turns.
# See README.md beside this file. With an argument it runs one step: singles, batches or gzip.
set -euo pipefail

scenario=http
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -n ${QUICK:-} ]]; then
  : "${LINES_WRITTEN:=100000}" "${SINGLES:=20000}" "${BATCHED:=200000}" "${COMPRESSED:=100000}"
fi
# shellcheck source=bench/scenario.sh
source "$here/../scenario.sh"
written=${LINES_WRITTEN:-3000000}
singles=${SINGLES:-600000}
batched=${BATCHED:-10000000}
compressed=${COMPRESSED:-2000000}
config=${ADSUM_CONFIG:-$bench/ads/adsum.toml}
port=${PORT:-7979}
lines=$dir/http.ndjson
load=$target/adsum-load
data=$dir/http-data
server=
(cd "$root" && cargo build --quiet --release -p adsum-bench-load)

stop() {
  if [[ -n $server ]]; then
    kill "$server"
    wait "$server" || true
    server=
  fi
}
trap stop EXIT

# A live server takes events of its present: the lines end about now, whenever that is.
"$target/adsum-gen" --events "$written" --seed "$seed" --start-ms $((($(date +%s) - written / 10000 - 60) * 1000)) \
  --out "$lines" --truth "$dir/http.csv" > /dev/null
rm -f "$dir/http.csv"

start() { # adsum, or the work of a floor
  if [[ $1 == adsum ]]; then
    rm -rf "$data"
    "$adsum" serve --config "$config" --data-dir "$data" --listen "127.0.0.1:$port" > "$dir/http.out" 2> "$dir/http.log" &
  else
    "$load" floor --listen "127.0.0.1:$port" --work "$1" > "$dir/http.out" 2> "$dir/http.log" &
  fi
  server=$!
  for _ in $(seq 100); do
    if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then return; fi
    sleep 0.1
  done
  echo "the server does not listen: $dir/http.log" >&2
  exit 1
}

# One load on a new server; it fails unless all was answered 202 and the ledger says what was sent.
send() { # name, server, arguments of the load
  local name=$1 of=$2 token=()
  shift 2
  start "$of"
  if [[ $of == adsum ]]; then token=(--token-file "$data/admin-token"); fi
  "$load" run --address "127.0.0.1:$port" --lines "$lines" --pid "$server" "${token[@]}" "$@" > "$dir/http.json"
  stop
  python3 "$here/keep.py" "$runs" "$name" "$dir/http.json"
  if [[ $of == adsum ]]; then python3 "$bench/table.py" verdict "$runs" "$name" exact; fi
}

median() { # name, field
  python3 "$bench/table.py" median "$runs" "$1" "$2"
}

half() { # name: half of the rate of requests that it reached
  python3 -c 'import sys; print(max(1, int(float(sys.argv[1])) // 2))' "$(median "$1" requestsPerSecond)"
}

step() { # name, events, arguments of the load; then the floors
  local name=$1 count=$2
  shift 2
  local load_arguments=(--events "$count" "$@") probe=()
  begin_step "$name"
  if [[ $name == batches ]]; then probe=(--probe); fi
  for ((round = 1; round <= rounds; round++)); do
    for work in ${floors[$name]}; do
      send "floor $work" "$work" "${load_arguments[@]}"
    done
    send adsum adsum "${load_arguments[@]}"
    send "adsum at half the rate" adsum "${load_arguments[@]}" --rate "$(half adsum)" "${probe[@]}"
  done
  echo "$name: $count events, medians of $rounds rounds"
  local beside=()
  for work in ${floors[$name]}; do beside+=(--beside "floor $work"); done
  show "$count" "${beside[@]}"
  row rate --row "HTTP, ${titles[$name]}" --exact yes --name adsum --events "$count" --at-least "${targets[$name]}" "${beside[@]}"
  latency "HTTP, ${titles[$name]}, 202 at half the rate, p99" latency_p99 50
}

latency() { # row, field, at most
  row value --row "$1" --exact yes --value "$(median "adsum at half the rate" "$2")" --unit ms --at-most "$3"
}

declare -A floors=([singles]="acknowledge" [batches]="acknowledge parse" [gzip]="inflate inflate-parse")
declare -A titles=([singles]="one event a request" [batches]="batches of 1,000" [gzip]="batches of 1,000, gzip -6")
declare -A targets=([singles]=0.06 [batches]=1.2 [gzip]=0.8)

for name in ${*:-singles batches gzip}; do
  case $name in
    singles) step singles "$singles" --connections 64 ;;
    batches)
      step batches "$batched" --batch 1000 --connections 8
      latency "HTTP, from 202 to visible at half the rate, p50" visible_p50 50
      latency "HTTP, from 202 to visible at half the rate, p99" visible_p99 250
      ;;
    gzip) step gzip "$compressed" --batch 1000 --connections 8 --gzip ;;
    *)
      echo "no such step: $name" >&2
      exit 2
      ;;
  esac
done
show_rows
rm -rf "$data" "$lines"
