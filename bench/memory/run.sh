#!/usr/bin/env bash
# Bounded memory: an import, an attack with values that are all different, and a server with more than it can take, each
# in a memory cgroup of exactly `memory_limit`. See README.md beside this file. Needs the release build of adsum.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench}/memory
limit_mib=${LIMIT_MIB:-256}
attack_mib=${ATTACK_MIB:-512}
events=${EVENTS:-3000000}
values=${VALUES:-10000000}
seconds=${SECONDS_OF_LOAD:-30}
target=${CARGO_TARGET_DIR:-$root/target}/release
adsum=${ADSUM:-$target/adsum}
results=$dir/results.jsonl
lines=${LINES_FILE:-$dir/a-$events.ndjson}
truth=${TRUTH_FILE:-$dir/a-$events.truth.csv}

mkdir -p "$dir"
rm -f "$results"
failed=no
fail() {
  failed=yes
  echo "FAILED: $*" >&2
}
limited() { # MiB, name, command...
  python3 "$here/limited.py" $(($1 << 20)) "$results" "${@:2}"
}

# 1. An import of workload A, exact.
if [[ -z ${LINES_FILE:-} && ! -s ${truth%.csv}.json ]]; then
  (cd "$root" && cargo build --quiet --release -p adsum-bench-gen)
  "$target/adsum-gen" --events "$events" --seed 42 --out "$lines" --truth "$truth"
fi
rm -rf "$dir/data"
config=$root/bench/ads/adsum.toml
limited "$limit_mib" import "$adsum" import --memory-limit "$limit_mib MiB" --config "$config" --data-dir "$dir/data" \
  --json "$lines" > "$dir/import.txt" || fail "the import ended with $?"
tail -1 "$dir/import.txt"
"$adsum" report --config "$config" --data-dir "$dir/data" --granularity minute \
  --by campaignId,publisherId,country,deviceType --format csv > "$dir/report.csv"
"$target/adsum-gen" check --truth "$truth" --report "$dir/report.csv" > "$dir/check.txt" || fail "not exact, see $dir/check.txt"
rm -rf "$dir/data" "$dir/report.csv"

# 2. Values that are all different: the ledger exact, all over the limit under `other`, and a restart says the same.
rm -rf "$dir/data"
config=$here/attack.toml
python3 "$here/attack.py" "$values" | limited "$attack_mib" "attack" "$adsum" import --memory-limit "$attack_mib MiB" \
  --config "$config" --data-dir "$dir/data" --json - > "$dir/attack.txt" || fail "the attack ended with $?"
tail -1 "$dir/attack.txt"
grep -q "\"counted\":$values,.*\"received\":$values,\"rejected\":0" "$dir/attack.txt" || fail "the ledger of the attack"
for dimension in page:10000 site:10000 campaignId:100000; do
  name=${dimension%:*} most=${dimension#*:}
  rest=$((values > most ? values - most : 0))
  "$adsum" report --config "$config" --data-dir "$dir/data" --by "$name" --format csv > "$dir/report.csv"
  python3 - "$dir/report.csv" "$name" "$rest" "$values" << 'CHECK' || fail "the report by $name"
import csv, sys
path, name, rest, values = sys.argv[1:]
rows = list(csv.DictReader(open(path, encoding="utf-8")))
other = sum(int(row["impressions"]) for row in rows if row[name] == "other")
total = sum(int(row["impressions"]) for row in rows)
print(f"{name}: {len(rows)} rows, {other} impressions as other, {total} in all")
sys.exit(0 if (other, total) == (int(rest), int(values)) else 1)
CHECK
done
rm -rf "$dir/data" "$dir/report.csv"

# 3. A server with more than it can take.
rm -rf "$dir/data"
mkdir "$dir/data"
limited "$attack_mib" "serve" "$adsum" serve --memory-limit "$attack_mib MiB" --config "$config" --data-dir "$dir/data/d" \
  --token-file "$dir/data/token" --listen 127.0.0.1:0 --log-format json --log warn > "$dir/serve.txt" 2> "$dir/serve.log" &
limiter=$!
for _ in $(seq 100); do
  grep -q "listens on" "$dir/serve.txt" && break
  sleep 0.1
done
url=$(sed -n 's/^adsum listens on //p' "$dir/serve.txt" | head -1)
server=$(cat "$results.pid")
[[ -n $url && -n $server ]] || fail "the server did not start"
python3 "$here/overload.py" "$url" "$dir/data/token" "$server" "$seconds" $((attack_mib << 20)) | tee "$dir/overload.txt" ||
  fail "the overload"
kill -TERM "$server"
wait "$limiter" || fail "the server ended with $?"
tail -1 "$dir/serve.txt"
rm -rf "$dir/data"

[[ $failed == no ]] && echo "all within the limit, and exact"
[[ $failed == no ]]
