# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# What the scenarios have in common. A scenario sources this and then calls setup.
# Environment: RSYNCFS (the program; default: the release build's), ROUNDS (default 3), BENCH_DIR (default /tmp), RSYNCFS_UNDER
# (a command that takes the daemon's command line as its arguments and runs it; bench/profile sets it).
# Standard output is lines of JSON, then a table; bench/run makes results of the former.
set -euo pipefail
scenario=$(basename "$0")
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rsyncfs=${RSYNCFS:-$top/build/release/rsyncfs}
relay=$top/build/release/bench/relay
# shellcheck disable=SC2034  # for those who source this
rounds=${ROUNDS:-3}
round=1      # 0 is the one that warms up
warmed_up=0  # how many did
declare -A samples=()

setup() {
  [ -x "$rsyncfs" ] || { echo "$rsyncfs is missing: cmake --preset release && cmake --build --preset release" >&2; exit 1; }
  work=$(mktemp -d "${BENCH_DIR:-/tmp}/rsyncfs-bench.XXXXXX")
  mkdir "$work/tree" "$work/mnt"
  export RSYNCFS_STATE_DIR=$work/state RSYNCFS_RUNTIME_DIR=$work/run
  rows=()
  helpers=()  # processes that end with the scenario
  mounts=()   # of others than rsyncfs, that may still be there then
  trap teardown EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 141' PIPE
}

teardown() {
  exec >&2  # nobody may read the other one any more
  cd "$top"
  ! mountpoint -q "$work/mnt" || "$rsyncfs" umount "$work/mnt" || umount -l "$work/mnt" || true
  local each
  for each in "${mounts[@]}"; do ! mountpoint -q "$each" || fusermount3 -u "$each" || umount -l "$each" || true; done
  for each in "${helpers[@]}"; do
    kill "$each" || true
    wait "$each" 2>/dev/null || true
  done
  if [ -s "$work/rsyncd.pid" ]; then
    local server
    server=$(cat "$work/rsyncd.pid")
    kill "$server" || true
    while kill -0 "$server" 2>/dev/null; do sleep 0.05; done
  fi
  rm -rf "$work"
}

# make_files DIRS FILES BYTES: the tree that is served
make_files() {
  local dir
  for dir in $(seq -w 0 $(($1 - 1))); do
    mkdir "$work/tree/d$dir"
    if [ "$3" = 0 ]; then
      (cd "$work/tree/d$dir" && seq -f 'f%04g' 0 $(($2 - 1)) | xargs touch)
    else
      (cd "$work/tree/d$dir" && head -c $(($2 * $3)) /dev/urandom | split -b "$3" -a 4 -d - f)
    fi
  done
}

# make_small_files DIRS FILES: of 16 sizes from 0.5 to 8 KiB, in the tree that is served
make_small_files() {
  local dir size=0
  for dir in $(seq -w 0 $(($1 - 1))); do
    mkdir "$work/tree/d$dir"
    head -c $(($2 * 8192)) /dev/urandom | split -b 8192 -a 4 -d - "$work/tree/d$dir/f"
  done
  while [ "$size" -lt 16 ]; do
    find "$work/tree" -type f | sort | awk -v of="$size" 'NR % 16 == of' | xargs -r truncate -s $((512 + size * 511))
    size=$((size + 1))
  done
}

serve() {
  port=$((20000 + RANDOM % 12000))
  cat >"$work/rsyncd.conf" <<END
pid file = $work/rsyncd.pid
log file = $work/rsyncd.log
[m]
  path = $work/tree
  read only = no
  use chroot = no
  munge symlinks = no
  uid = $(id -u)
  gid = $(id -g)
END
  rsync --daemon --config="$work/rsyncd.conf" --address=127.0.0.1 --port="$port"
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
  url=rsync://127.0.0.1:$port/m
}

# ask PORT WORD: what a relay has to say
ask() { (exec 3<>"/dev/tcp/127.0.0.1/$1" && echo "$2" >&3 && cat <&3); }
# start_relay PORT SERVER_PORT CONTROL_PORT LINK
start_relay() {
  [ -x "$relay" ] || { echo "$relay is missing: build the release preset" >&2; exit 1; }
  "$relay" "$@" &
  helpers+=($!)
  until ask "$3" counts >/dev/null 2>&1; do sleep 0.05; done
}
# count_bytes [LINK]: after serve; whatever uses $url goes through a relay that counts, and is such a link
count_bytes() {
  counts_port=$((port + 2))
  start_relay $((port + 1)) "$port" "$counts_port" "${1:-none}"
  url=rsync://127.0.0.1:$((port + 1))/m
}
# counts [PORT]: connections and bytes of all of them so far, when nothing has moved for a second
# shellcheck disable=SC2120  # peers.sh gives it one
counts() {
  local before="" now connections out in
  while true; do
    now=$(ask "${1:-$counts_port}" counts)
    read -r connections out in _ <<<"$now"
    [ "$before" != "$connections $out $in" ] || break
    before="$connections $out $in"
    sleep 1
  done
  echo "$connections $((out + in))"
}
# cost COMMAND...: connections and bytes that it takes, and what follows from it by itself
cost() {
  local connections bytes
  read -r connections bytes <<<"$(counts)"
  "$@" >/dev/null
  read -r now_connections now_bytes <<<"$(counts)"
  echo "$((now_connections - connections)) $((now_bytes - bytes))"
}

mount_tree() {
  mkdir -p "$RSYNCFS_STATE_DIR" "$RSYNCFS_RUNTIME_DIR"
  local mount=("$rsyncfs" "$url" "$work/mnt" ${RSYNCFS_OPTIONS:+-o "$RSYNCFS_OPTIONS"})
  if [ -z "${RSYNCFS_UNDER:-}" ]; then
    "${mount[@]}"
  else
    "$RSYNCFS_UNDER" "${mount[@]}" -f </dev/null >"$work/daemon.log" 2>&1 &
    under=$!
    until mountpoint -q "$work/mnt"; do kill -0 "$under" && sleep 0.05; done
  fi
}
until_listed() { until "$rsyncfs" status "$work/mnt" --json | grep -q '"listed": *true'; do sleep 0.02; done; }
make_writable() { RSYNCFS_OPTIONS=rw${RSYNCFS_OPTIONS:+,$RSYNCFS_OPTIONS}; }
forget() { rm -rf "$RSYNCFS_STATE_DIR"; }  # so that the next mount has nothing
unmount() {
  "$rsyncfs" umount "$work/mnt"
  # What watches the daemon writes down what it saw.
  while [ -n "${under:-}" ] && kill -0 "$under" 2>/dev/null; do sleep 0.05; done
}

# status FIELD: a number of `status --json` by its last key
status() { "$rsyncfs" status "$work/mnt" --json | grep -oP "\"$1\": *\\K[0-9]+" | head -n 1; }

# seconds COMMAND...: how long it took, on standard output; what the command prints is dropped
seconds() {
  local begin end
  begin=$(date +%s%N)
  "$@" >/dev/null
  end=$(date +%s%N)
  awk -v ns=$((end - begin)) 'BEGIN { printf "%.3f", ns / 1e9 }'
}

# every_round FUNCTION: once to warm up, then $rounds times. What is kept of the first one is dropped.
every_round() {
  for ((round = 0; round <= rounds; round++)); do
    echo "$scenario: ${1//_/ }, $([ "$round" = 0 ] && echo warming up || echo "round $round of $rounds")" >&2
    "$@"
  done
  warmed_up=1
}
# keep KEY VALUE: one more of KEY
keep() { [ "$round" = 0 ] || samples[$1]+=" $2"; }

# ticks_of_daemon: of processor time, its ended threads included; 0 without a mount
daemon=
ticks_of_daemon() { { [ -z "$daemon" ] || sed 's/.*) //' "/proc/$daemon/stat"; } | awk '{ t = $12 + $13 } END { print t + 0 }'; }
hertz=$(getconf CLK_TCK)
# measure KEY COMMAND...: keeps its seconds as KEY, and as KEY.cpu those of processor of the daemon meanwhile and of the command
# itself. $daemon is the daemon's pid, or nothing.
measure() {
  local key=$1 before wall user system
  local TIMEFORMAT='%3R %3U %3S'
  shift
  before=$(ticks_of_daemon)
  { time "$@" >/dev/null 2>&3; } 3>&2 2>"$work/time"
  read -r wall user system <"$work/time"
  keep "$key" "$wall"
  keep "$key.cpu" "$(awk -v t=$(($(ticks_of_daemon) - before)) -v hz="$hertz" -v u="$user" -v s="$system" 'BEGIN { printf "%.3f", t / hz + u + s }')"
}

# same A B: or the scenario ends
same() { diff -rq --no-dereference "$1" "$2" >&2 || { echo "$scenario: $1 and $2 differ" >&2; exit 1; }; }

median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# shellcheck disable=SC2086  # a list
median_of() { median ${samples[$1]}; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
# median_ratio KEY PEER: of the rounds' ratios, because what else runs here is the same for both of a round
median_ratio() {
  paste -d ' ' <(tr ' ' '\n' <<<"${samples[$1]# }") <(tr ' ' '\n' <<<"${samples[$2]# }") |
    awk '{ print $1 / $2 }' | sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# row NAME VALUE UNIT [LIMIT]: a line of JSON now, and of the table at the end. The value is a median of $rounds. A limit is the
# most it may be, or, as ">=7", the least.
row() { add_row "$1" "$2" "$3" "${4:-}" "\"repeats\":$rounds,\"warmup\":$warmed_up"; }
# peer_row NAME VALUE UNIT: the same of what the product is compared with; a baseline does not mind when that gets slower
peer_row() { add_row "$1" "$2" "$3" "" "\"repeats\":$rounds,\"warmup\":$warmed_up,\"peer\":true"; }
# count NAME VALUE UNIT [LIMIT]: what one run tells, because every run has the same but for TOLERANCE (as 0.02; default: exactly)
count() { add_row "$1" "$2" "$3" "${4:-}" "\"exact\":true,\"tolerance\":${TOLERANCE:-0}"; }
add_row() {
  local bound='"limit":null'
  case $4 in
    '>='*) bound="\"least\":${4#>=}" ;;
    ?*) bound="\"limit\":$4" ;;
  esac
  printf '{"scenario":"%s","name":"%s","value":%s,"unit":"%s",%s,%s}\n' "$scenario" "$1" "$2" "$3" "$bound" "$5"
  rows+=("$1|$2|$3|${4:--}")
}

# The table; ends the scenario with 3 if a number is beyond its limit.
finish() {
  local over=0 entry name value unit limit
  printf '\n%-72s %10s %-8s %s\n' "$scenario" value unit limit
  for entry in "${rows[@]}"; do
    IFS='|' read -r name value unit limit <<<"$entry"
    printf '%-72s %10s %-8s %s' "$name" "$value" "$unit" "$limit"
    if [ "$limit" != - ] && awk -v v="$value" -v l="$limit" 'BEGIN { least = sub(/^>=/, "", l); exit !(least ? v < l + 0 : v > l + 0) }'; then
      over=1
      printf '  OVER'
    fi
    printf '\n'
  done
  [ "$over" = 0 ] || exit 3
}
