# What the scenarios share, sourced by each `run.sh` after it has set `scenario`: where things are, how a command is
# measured, how a result is checked, how a row of the table is kept. README.md beside this file says what it means.
# shellcheck shell=bash disable=SC2034,SC2154

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$bench/.." && pwd)
dir=${BENCH_DIR:-${TMPDIR:-/tmp}/adsum-bench}
export BENCH_DIR=$dir
if [[ -n ${QUICK:-} ]]; then
  : "${EVENTS:=300000}" "${SIDE_EVENTS:=100000}" "${SIZES:=30000 100000 300000}" "${ROUNDS:=1}" "${FLINK_HEAP:=2g}"
  export FLINK_HEAP
fi
events=${EVENTS:-10000000}
side_events=${SIDE_EVENTS:-3000000}
seed=${SEED:-42}
rounds=${ROUNDS:-3}
peers=${PEERS-duckdb clickhouse flink}
target=${CARGO_TARGET_DIR:-$root/target}/release
adsum=${ADSUM:-$target/adsum}
# The rows of all scenarios.
results=$dir/results.jsonl
# The folder that adsum fills; emptied before each run.
data=$dir/data
exact=yes

mkdir -p "$dir"
(cd "$root" && cargo build --quiet --release -p adsum-bench-gen -p adsum-bench-floor)
if [[ ! -x $adsum ]]; then
  echo "$adsum is not there: build it with cargo build --release -p adsum" >&2
  exit 2
fi

# Runs are kept by step, so that a ratio is between runs that took turns.
begin_step() { # name
  runs=$dir/runs-$scenario-$1.jsonl
  rm -f "$runs"
}

# One line for each name of the step.
show() { # events, arguments...
  python3 "$bench/table.py" runs "$runs" "$@"
}

has_peer() { # name
  [[ " $peers " == *" $1 "* ]]
}

# Installs the peers; one that this machine cannot run says what is missing, and is left out.
prepare_peers() {
  local name ready="" programs
  for name in $peers; do
    # Programs of one peer share its virtualenv.
    programs=("$bench/peers/$name"_*.py)
    if python3 "${programs[0]}" --prepare; then
      ready="$ready $name"
    else
      echo "without $name" >&2
    fi
  done
  peers=$ready
}

# One run of a peer, with what its program is told beside where the result goes; one that breaks has no row.
peer() { # name, program, check, truth, arguments...
  local name=$1 program=$2 check=$3 truth=$4
  shift 4
  if measure "$name" python3 "$bench/peers/$program.py" --out "$dir/peer.csv" "$@" > "$dir/peer.txt"; then
    "$check" "$name" "$truth" "$dir/peer.csv"
  else
    echo "$name broke: no row of it" >&2
  fi
}

# Runs a command and keeps what it took under a name. Nothing of an earlier run is still being written meanwhile.
measure() { # name, command...
  sync
  python3 "$bench/measure.py" "$runs" "$@"
}

# Compares a report with the truth; one that must be exact and is not makes the scenario fail.
check() { # name, truth, report
  local verdict
  if verdict=$("$target/adsum-gen" check --truth "$2" --report "$3"); then
    python3 "$bench/table.py" verdict "$runs" "$1" exact
  else
    exact=no
    echo "$1: not exact" >&2
    echo "$verdict" >&2
    python3 "$bench/table.py" verdict "$runs" "$1" "$(grep '^NOT EXACT' <<< "$verdict")"
  fi
  rm -f "$3"
}

# The same for a peer that is known not to be exact: how far it is off is a result, not a failure.
check_peer() { # name, truth, report
  local verdict off
  verdict=$("$target/adsum-gen" check --truth "$2" --report "$3") || true
  off=$(awk '/^[A-Za-z]+: truth / { split($0, part, /[:, ]+/); if (part[5] != part[3]) printf "%s %+d  ", part[1], part[5] - part[3] }' \
    <<< "$verdict")
  python3 "$bench/table.py" verdict "$runs" "$1" "${off:-$(grep -oiE "^(not )?exact" <<< "$verdict")}"
  rm -f "$3"
}

# Keeps a row of the table; see table.py.
row() { # kind, arguments...
  local kind=$1
  shift
  python3 "$bench/table.py" "$kind" "$runs" "$results" --scenario "$scenario" --commit "$(cd "$root" && git rev-parse --short HEAD)" "$@"
}

# The table of this scenario's rows.
show_rows() {
  python3 "$bench/table.py" rows "$results" --scenario "$scenario" || true
}

import() { # name, configuration, folder, file
  rm -rf "$3"
  measure "$1" "$adsum" import --config "$2" --data-dir "$3" --json "$4" > "$dir/import.txt"
}

report() { # name, configuration, folder, granularity, dimensions
  measure "$1" "$adsum" report --config "$2" --data-dir "$3" --granularity "$4" --by "$5" --format csv > "$dir/adsum.csv"
}

# Where the time of a command goes: functions by their own share of the samples, in percent, if `perf` is there.
profile() { # command...
  if ! command -v perf > /dev/null; then
    echo "no profile: perf is missing (Debian: apt-get install linux-perf)"
    return
  fi
  perf record --quiet -F 499 -o "$dir/perf.data" "$@" > "$dir/import.txt" 2> /dev/null
  perf report --stdio --no-children --percent-limit 1 --sort symbol -i "$dir/perf.data" 2> /dev/null |
    grep -E '^ +[0-9]' | sed 's/ \+- *- *$//' | head -n 25 || true
  rm -f "$dir/perf.data"
}
