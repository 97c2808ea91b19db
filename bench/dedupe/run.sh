#!/usr/bin/env bash
# The dedupe index at 100 million keys, warm and cold, after a kill, and RocksDB beside it. See README.md beside this file.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench}/dedupe
events=${EVENTS:-100000000}
peer_events=${PEER_EVENTS:-20000000}
target=${CARGO_TARGET_DIR:-$root/target}/release

mkdir -p "$dir"
(cd "$root" && cargo build --quiet --release -p adsum-bench-dedupe)
trap 'rm -rf "$dir/store" "$dir/rocksdb"' EXIT

for how in warm cold; do
  echo "== $how, $events events"
  rm -rf "$dir/store"
  flags=()
  [[ $how == cold ]] && flags=(--cold)
  "$target/adsum-dedupe" --dir "$dir/store" --events "$events" "${flags[@]}"
done

echo "== killed at about a half, opened again with nothing in the page cache"
rm -rf "$dir/store"
"$target/adsum-dedupe" --dir "$dir/store" --events "$events" > /dev/null &
victim=$!
# A store that is being written grows; so many bytes are about half of its keys.
while kill -0 "$victim" 2> /dev/null && (($(du -s --block-size=1 "$dir/store" 2> /dev/null | cut -f1) + 0 < events * 16)); do
  sleep 0.2
done
kill -KILL "$victim"
wait "$victim" || true
"$target/adsum-dedupe" --dir "$dir/store" --reopen --cold

echo "== the peer, $peer_events events"
for share in "" --nothing; do
  rm -rf "$dir/rocksdb"
  python3 "$root/bench/peers/rocksdb_keys.py" --venv "$dir/venv-rocksdb" --dir "$dir/rocksdb" \
    --events "$peer_events" $share
done
