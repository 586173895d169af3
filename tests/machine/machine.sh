# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034
# For the scripts beside it, which begin with:
#   source machine.sh; enter_machine "$0" "$@"
# From there on they run as root in mount and process namespaces of their own, with an overlay over this machine's root as
# their root: what they install, mount and start is gone with them.
set -uo pipefail

skip() { echo "skipped: $*"; exit 77; }

# make_machine DIRECTORY SOURCES BUILD: makes it the root.
make_machine() {
  local root=$1/root place
  # An overlay cannot lie in what is below it; and nothing of this is worth a disk's time.
  mount -t tmpfs -o mode=755 machine "$1" && mkdir "$1/upper" "$1/work" "$root" &&
    mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$root" &&
    mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" && mount --rbind /sys "$root/sys" || return
  # Their file systems may be others.
  for place in "$2" "$3"; do mount --rbind "$place" "$root$place" || return; done
  mount -t tmpfs -o mode=1777 tmp "$root/tmp" && mount -t tmpfs -o mode=755 run "$root/run" &&
    mkdir -p "$root/run/mount" "$root/run/lock" &&
    mount --bind "$1/upper" "$root/mnt" || return # to look at what was left
  # Others may use it, as on most machines.
  cp -a /dev/fuse "$1/fuse" && chmod 666 "$1/fuse" && mount --bind "$1/fuse" "$root/dev/fuse" || return
  mkdir -p "$root/run/before" && cd "$root" && pivot_root . run/before && cd / && umount -l /run/before || return
  # What is for the process before us.
  unset RSYNCFS_STATE_DIR RSYNCFS_RUNTIME_DIR XDG_STATE_HOME XDG_RUNTIME_DIR TMPDIR NOTIFY_SOCKET RSYNCFS_MACHINE
}

# enter_machine SCRIPT BUILD
enter_machine() {
  build=$(realpath "$2")
  local script
  script=$(realpath "$1")
  case ${RSYNCFS_MACHINE:-} in
    '')
      [ "$(id -u)" = 0 ] || skip "only root can make a machine"
      local root status=0
      root=$(mktemp -d "${TMPDIR:-/tmp}/machine.XXXXXX") || exit 1
      RSYNCFS_MACHINE=$root unshare --mount --propagation private --pid --fork --kill-child "$script" "$build" || status=$?
      rmdir "$root" || status=1
      exit "$status" ;;
    /*) make_machine "$RSYNCFS_MACHINE" "$(cd "$(dirname "$script")/../.." && pwd)" "$build" || skip "a machine cannot be made here (overlay, pivot_root)" ;;
  esac
  upper=/mnt
}

failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
# check WHAT COMMAND...: it succeeds.
check() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then echo "ok: $what"; else fail "$what: $* ($?): $said"; fi
}
# refuse WHAT COMMAND...: it fails.
refuse() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then fail "$what: $* succeeded: $said"; else echo "ok: $what"; fi
}
equal() { if [ "$2" = "$3" ]; then echo "ok: $1"; else fail "$1: '$2', not '$3'"; fi; }
has() { case $2 in *"$3"*) echo "ok: $1" ;; *) fail "$1: no '$3' in: $2" ;; esac; }
# eventually WHAT COMMAND...: it succeeds within twenty seconds.
eventually() {
  local what=$1 i
  shift
  for ((i = 0; i < 200; ++i)); do "$@" >/dev/null 2>&1 && { echo "ok: $what"; return; }; sleep 0.1; done
  fail "$what: $*: $("$@" 2>&1)"
}
finish() { [ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }; echo "all is well"; exit 0; }

# A package of this build; its path is in $package.
make_package() {
  mkdir -p /tmp/package
  (cd "$build" && cpack -G DEB -B /tmp/package) >/tmp/package/log 2>&1 || { cat /tmp/package/log; fail "cpack"; finish; }
  package=$(echo /tmp/package/*.deb)
}

# serve TREE: an rsyncd with a module m of it on a free port; its source is in $source.
serve() {
  local i
  for ((i = 0; i < 50; ++i)); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    cat >/tmp/rsyncd.conf <<X
port = $port
address = 127.0.0.1
use chroot = no
pid file = /tmp/rsyncd.pid
log file = /tmp/rsyncd.log
[m]
path = $1
read only = no
uid = 0
gid = 0
X
    rm -f /tmp/rsyncd.pid
    rsync --daemon --config=/tmp/rsyncd.conf
    local j
    for ((j = 0; j < 30; ++j)); do
      [ ! -s /tmp/rsyncd.pid ] || { source="rsync://127.0.0.1:$port/m"; return; }
      grep -q 'bind() failed\|unable to bind' /tmp/rsyncd.log 2>/dev/null && break
      sleep 0.1
    done
    rm -f /tmp/rsyncd.log
  done
  fail "no rsyncd"
  finish
}
stop_serving() { kill "$(cat /tmp/rsyncd.pid)"; eventually "the server ends" test ! -e /tmp/rsyncd.pid; }
