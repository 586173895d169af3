# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# What the scenarios have in common that measure rsyncfs beside its peers over a link as a network is (bench/relay): sshfs, rclone
# mount with its cache (--vfs-cache-mode full, over sftp), the rsync command, and the source's own directory on the local disk.
# shellcheck disable=SC2154,SC2120,SC2119  # what lib.sh has
# Sourced after lib.sh; then setup_peers instead of setup, and serve_over_link instead of serve.
# Environment: LINK (lan, wan or mobile; default wan), PEERS (of the mounts beside rsyncfs; default "sshfs rclone"; RCLONE and SSHFS
# name other programs).
link=${LINK:-wan}
peers=${PEERS-sshfs rclone}
peer_timer=$top/build/release/bench/peer_timer
sshfs=${SSHFS:-sshfs}
rclone=${RCLONE:-rclone}
case $link in
  lan) round_trip=0.0002 link_bytes=125000000 ;;
  wan) round_trip=0.040 link_bytes=12500000 ;;
  mobile) round_trip=0.120 link_bytes=2500000 ;;
  *) echo "$scenario: LINK=$link is none of lan, wan, mobile" >&2; exit 2 ;;
esac

# needs PROGRAM PACKAGE
needs() { [ -n "$(type -P "$1")" ] || { echo "$scenario: $1 is missing; Debian has it in $2" >&2; exit 1; }; }

setup_peers() {
  needs rsync rsync
  needs /usr/sbin/sshd openssh-server
  needs ssh-keygen openssh-client
  needs "$peer_timer" "no package: build the release preset"
  [[ $peers != *sshfs* ]] || needs "$sshfs" sshfs
  [[ $peers != *rclone* ]] || needs "$rclone" rclone
  setup
  mkdir "$work/sshfs" "$work/rclone" "$work/ssh"
  mounts+=("$work/sshfs" "$work/rclone")
}

# The module of lib.sh and an sshd, each behind a link of its own; and what the link itself takes.
serve_over_link() {
  serve
  count_bytes "$link"
  serve_ssh
  every_round look_at_link
  peer_row "$link: until a server that speaks first is heard (nominal: 2)" "$(median_of link)" "round trips"
}
look_at_link() {
  local begin end
  begin=$(date +%s%N)
  (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))" && read -r _ <&3)
  end=$(date +%s%N)
  keep link "$(round_trips "$(awk -v ns=$((end - begin)) 'BEGIN { print ns / 1e9 }')")"
}

serve_ssh() {
  local at=$work/ssh real=$((port + 3))
  ssh_port=$((port + 4))
  ssh_counts_port=$((port + 5))
  ssh-keygen -q -t ed25519 -N '' -C bench -f "$at/host_key"
  ssh-keygen -q -t ed25519 -N '' -C bench -f "$at/key"
  # sshd wants this one where it runs as root, and Debian makes it at boot only.
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  cat >"$at/sshd_config" <<END
ListenAddress 127.0.0.1:$real
HostKey $at/host_key
AuthorizedKeysFile $at/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
END
  cat >"$at/ssh_config" <<END
Host *
IdentityFile $at/key
IdentitiesOnly yes
UserKnownHostsFile $at/known_hosts
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
BatchMode yes
ControlPath none
END
  echo "[127.0.0.1]:$ssh_port $(cut -d ' ' -f 1,2 "$at/host_key.pub")" >"$at/known_hosts"
  /usr/sbin/sshd -D -e -f "$at/sshd_config" 2>"$work/sshd.log" &
  helpers+=($!)
  until (exec 3<>"/dev/tcp/127.0.0.1/$real") 2>/dev/null; do sleep 0.05; done
  start_relay "$ssh_port" "$real" "$ssh_counts_port" "$link"
}

# A system under test: rsyncfs, sshfs or rclone; cold means that nothing of the source is here.
place_of() { [ "$1" = rsyncfs ] && echo "$work/mnt" || echo "$work/$1"; }
counts_of() { if [ "$1" = rsyncfs ]; then counts; else counts "$ssh_counts_port"; fi; }
mount_cold() {
  case $1 in
    rsyncfs) forget; mount_tree ;;
    sshfs) "$sshfs" -p "$ssh_port" -o ssh_command="ssh -F $work/ssh/ssh_config" "$(id -un)@127.0.0.1:$work/tree" "$work/sshfs" ;;
    rclone)
      rm -rf "$work/rclone-cache"
      "$rclone" --config "" --log-file "$work/rclone.log" --cache-dir "$work/rclone-cache" mount ":sftp:$work/tree" "$work/rclone" \
        --sftp-host 127.0.0.1 --sftp-port "$ssh_port" --sftp-user "$(id -un)" --sftp-key-file "$work/ssh/key" \
        --vfs-cache-mode full --vfs-write-back 1s --daemon
      until mountpoint -q "$work/rclone"; do sleep 0.02; done
      ;;
  esac
}
unmount_it() {
  case $1 in
    rsyncfs) unmount ;;
    *)
      until fusermount3 -u "$work/$1"; do sleep 0.2; done
      ;;
  esac
}

# round_trips SECONDS [OF-WHICH-NOT]: as so many of the link
round_trips() { awk -v s="$1" -v not="${2:-0}" -v rtt="$round_trip" 'BEGIN { printf "%.3f", (s - not) / rtt }'; }
# part_of_link BYTES SECONDS
part_of_link() { awk -v b="$1" -v s="$2" -v link="$link_bytes" 'BEGIN { printf "%.3f", b / s / link }'; }
# timer WORD...: of peer_timer; or the scenario ends
timer() { "$peer_timer" "$@" || { echo "$scenario: $*" >&2; exit 1; }; }
# As in lib.sh, but that over a LAN it is processors that take the time: what counts round trips has no limit there.
row() {
  local limit=${4:-}
  [ "$link:$3" != "lan:round trips" ] || limit=
  add_row "$1" "$2" "$3" "$limit" "\"repeats\":$rounds,\"warmup\":$warmed_up"
}
# row_of SYSTEM NAME VALUE UNIT [LIMIT]: the limit is for rsyncfs
row_of() {
  local system=$1
  shift
  if [ "$system" = rsyncfs ]; then row "$@"; else peer_row "$system: $1" "$2" "$3"; fi
}
