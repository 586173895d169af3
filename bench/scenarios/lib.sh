# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# What the scenarios have in common. A scenario sources this and then calls setup.
# Environment: RSYNCFS (the program; default: the release build's), ROUNDS (default 3), BENCH_DIR (default /tmp).
# Standard output is lines of JSON, then a table; bench/report makes bench/RESULTS.md and its picture of the former.
set -euo pipefail
scenario=$(basename "$0")
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rsyncfs=${RSYNCFS:-$top/build/release/rsyncfs}
counting_proxy=$top/build/release/bench/counting_proxy
# shellcheck disable=SC2034  # for those who source this
rounds=${ROUNDS:-3}

setup() {
  [ -x "$rsyncfs" ] || { echo "$rsyncfs is missing: cmake --preset release && cmake --build --preset release" >&2; exit 1; }
  work=$(mktemp -d "${BENCH_DIR:-/tmp}/rsyncfs-bench.XXXXXX")
  mkdir "$work/tree" "$work/mnt"
  export RSYNCFS_STATE_DIR=$work/state RSYNCFS_RUNTIME_DIR=$work/run
  rows=()
  trap teardown EXIT
  trap 'exit 130' INT
}

teardown() {
  ! mountpoint -q "$work/mnt" || "$rsyncfs" umount "$work/mnt" || umount -l "$work/mnt" || true
  if [ -n "${proxy:-}" ]; then
    kill "$proxy" || true
    wait "$proxy" 2>/dev/null || true
  fi
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

# After serve: whatever uses $url goes through a proxy that counts.
count_bytes() {
  [ -x "$counting_proxy" ] || { echo "$counting_proxy is missing: build the release preset" >&2; exit 1; }
  local counted=$((port + 1))
  counts_port=$((port + 2))
  "$counting_proxy" "$counted" "$port" "$counts_port" &
  proxy=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$counts_port") 2>/dev/null; do sleep 0.05; done
  url=rsync://127.0.0.1:$counted/m
}
# counts: connections and bytes of all of them so far, when nothing has moved for a second
counts() {
  local before="" now connections out in
  while true; do
    now=$(cat <"/dev/tcp/127.0.0.1/$counts_port")
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
  "$rsyncfs" "$url" "$work/mnt" ${RSYNCFS_OPTIONS:+-o "$RSYNCFS_OPTIONS"}
}
make_writable() { RSYNCFS_OPTIONS=rw${RSYNCFS_OPTIONS:+,$RSYNCFS_OPTIONS}; }
forget() { rm -rf "$RSYNCFS_STATE_DIR"; }  # so that the next mount has nothing
unmount() { "$rsyncfs" umount "$work/mnt"; }

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

median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

# row NAME VALUE UNIT [LIMIT]: a line of JSON now, and of the table at the end
row() {
  printf '{"scenario":"%s","name":"%s","value":%s,"unit":"%s","limit":%s}\n' "$scenario" "$1" "$2" "$3" "${4:-null}"
  rows+=("$1|$2|$3|${4:--}")
}

# The table, and a failure if a number is above its limit.
finish() {
  local over=0 entry name value unit limit
  printf '\n%-52s %10s %-8s %s\n' "$scenario" value unit limit
  for entry in "${rows[@]}"; do
    IFS='|' read -r name value unit limit <<<"$entry"
    printf '%-52s %10s %-8s %s' "$name" "$value" "$unit" "$limit"
    if [ "$limit" != - ] && awk -v v="$value" -v l="$limit" 'BEGIN { exit !(v > l) }'; then
      over=1
      printf '  OVER'
    fi
    printf '\n'
  done
  exit "$over"
}
