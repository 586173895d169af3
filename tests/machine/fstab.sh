#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# mount(8), fstab, findmnt, df and systemd's reading of fstab.
# shellcheck source=machine.sh disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
enter_machine "$0" "$@"

cp "$build/rsyncfs" /usr/bin/
cp -P "$build/mount.rsyncfs" "$build/umount.rsyncfs" /usr/sbin/
mkdir -p /srv/files /srv/tree /srv/other
echo served >/srv/files/file
serve /srv/files
options_of() { findmnt -n -o OPTIONS "$1"; }

echo "# mount -t, findmnt, df"
check "mount -t rsyncfs" mount -t rsyncfs "$source" /srv/tree -o noatime,nodev,comment=a,x-test.word
equal "findmnt tells the source" "$(findmnt -n -o SOURCE,FSTYPE /srv/tree | tr -s ' ')" "$source fuse.rsyncfs"
equal "df names it, too" "$(df --output=source /srv/tree | tail -n 1)" "$source"
check "its sizes are numbers" test "$(df --output=size /srv/tree | tail -n 1)" -gt 0
check "a second mount -a line is not a second mount" bash -c "echo '$source /srv/tree rsyncfs _netdev,noatime 0 0' >/etc/fstab; mount -a"
equal "still one mount" "$(findmnt -n -l -o TARGET -t fuse.rsyncfs | wc -l)" 1
check "remount,ro" mount -o remount,ro /srv/tree
has "it is read-only" "$(options_of /srv/tree)" ro,
refuse "so it is" touch /srv/tree/x
check "remount,rw" mount -o remount,rw /srv/tree
check "it can be written to" touch /srv/tree/x
check "remount,noexec" mount -o remount,noexec /srv/tree
has "noexec" "$(options_of /srv/tree)" noexec
check "umount" umount /srv/tree

echo "# each word that fstab lines carry"
for word in auto noauto nofail _netdev user nouser users owner group defaults async sync dirsync atime noatime diratime \
  nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime silent loud comment=words x-systemd.automount \
  x-systemd.requires=a.service x-gvfs-show rw ro suid nosuid dev nodev exec noexec allow_other default_permissions \
  nonempty auto_unmount; do
  check "$word" mount -t rsyncfs "$source" /srv/tree -o "$word"
  umount /srv/tree || fail "umount after $word"
done

echo "# as fuse.rsyncfs, with -s, -f, -v, -N"
check "fuse.rsyncfs" mount -t fuse.rsyncfs "$source" /srv/tree -o ro,_netdev
has "it is read-only" "$(options_of /srv/tree)" ro,
check "umount" umount /srv/tree
check "-f does nothing" mount -f -t rsyncfs "$source" /srv/tree
refuse "nothing is mounted" mountpoint -q /srv/tree
check "-s drops what nobody knows" mount -s -t rsyncfs "$source" /srv/tree -o quux=1
check "umount -l" umount -l /srv/tree
mount -t rsyncfs "$source" /srv/tree -o quux=1 2>/tmp/said
equal "without it that is a mistake" "$?" 1
has "which is named" "$(cat /tmp/said)" quux
unshare --mount --propagation private sleep 60 &
other=$!
eventually "a process in a namespace of its own" bash -c "[ \$(readlink /proc/$other/ns/mnt) != \$(readlink /proc/self/ns/mnt) ]"
check "-N mounts there" mount.rsyncfs "$source" /srv/tree -N "$other"
refuse "not here" mountpoint -q /srv/tree
check "but there" nsenter -t "$other" -m mountpoint -q /srv/tree
check "-N unmounts there" umount.rsyncfs /srv/tree -N "$other"
refuse "where it is gone" nsenter -t "$other" -m mountpoint -q /srv/tree
kill "$other"

echo "# exit codes"
mount.rsyncfs 2>/dev/null
equal "usage" "$?" 1
mount.rsyncfs "$source" /srv/tree -N /no/such 2>/dev/null
equal "the system" "$?" 2
mount -t rsyncfs rsync://127.0.0.1:1/m /srv/tree 2>/dev/null
equal "a mount that fails" "$?" 32
umount.rsyncfs 2>/dev/null
equal "usage of umount" "$?" 1
umount.rsyncfs /srv/tree 2>/dev/null
equal "what is not mounted" "$?" 32

echo "# next to no environment, and no server"
check "with a store" env -i /usr/sbin/mount.rsyncfs "$source" /srv/tree -o _netdev,nofail,timeout=2,contimeout=2
check "it is there" test -e /srv/tree/file
check "names and bytes come" cat /srv/tree/file
check "umount" umount /srv/tree
stop_serving
check "the source is away: from the store" env -i /usr/sbin/mount.rsyncfs "$source" /srv/tree -o _netdev,nofail,timeout=2,contimeout=2
equal "which has the file" "$(cat /srv/tree/file)" served
check "umount.rsyncfs -l" umount.rsyncfs -l /srv/tree
began=$SECONDS
env -i /usr/sbin/mount.rsyncfs "$source" /srv/other -o timeout=2,contimeout=2 2>/dev/null
equal "without a store it fails" "$?" 32
check "within its limits" test $((SECONDS - began)) -le 5

echo "# the system's log"
serve /srv/files
cat >/tmp/syslog.sh <<'X'
# A /dev of one's own, with somebody who listens at /dev/log.
mkdir -p /tmp/dev/upper /tmp/dev/work
mount -t overlay -o lowerdir=/dev,upperdir=/tmp/dev/upper,workdir=/tmp/dev/work overlay /dev || exit 1
rm -f /dev/log
python3 -c 'import socket, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
print("listening", flush=True)
while True: print(log.recv(65536), flush=True)' >/tmp/syslog &
listener=$!
until grep -q listening /tmp/syslog; do sleep 0.1; done
mount -t rsyncfs "$1" /srv/tree -o log_file=syslog && umount /srv/tree
sleep 0.5
kill $listener
X
check "a mount that logs there" unshare --mount --propagation private bash /tmp/syslog.sh "$source"
has "says what it does" "$(cat /tmp/syslog)" "mounted $source"
stop_serving

echo "# what systemd makes of fstab"
generator=/usr/lib/systemd/system-generators/systemd-fstab-generator
if [ -x "$generator" ]; then
  echo "$source /srv/tree rsyncfs _netdev,nofail,x-systemd.automount,x-systemd.idle-timeout=10min,allow_other 0 0" >/etc/fstab
  mkdir -p /tmp/generated
  check "the generator takes it" "$generator" /tmp/generated /tmp/generated /tmp/generated
  check "a mount unit" test -e /tmp/generated/srv-tree.mount
  has "of our type" "$(cat /tmp/generated/srv-tree.mount)" "Type=rsyncfs"
  has "an automount unit with the idle time" "$(cat /tmp/generated/srv-tree.automount)" "TimeoutIdleSec=10min"
  check "for remote file systems" test -e /tmp/generated/remote-fs.target.wants/srv-tree.automount
fi

echo "# autofs"
if command -v automount >/dev/null; then
  serve /srv/files
  mkdir -p /srv/auto
  echo "/srv/auto /etc/auto.rsync" >/etc/auto.master
  echo "tree -fstype=rsyncfs,allow_other ${source//:/\\:}" >/etc/auto.rsync
  # Where the kernel has no autofs, it says so and ends.
  if said=$(automount --timeout=2 2>&1) && [ -z "$said" ]; then
    eventually "autofs mounts it" test -e /srv/auto/tree/file
    eventually "and takes it away when it is idle" bash -c '! mountpoint -q /srv/auto/tree'
    pkill automount
  else
    echo "no autofs: $said"
  fi
fi
finish
