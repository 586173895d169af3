#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A fresh Debian 12, of its required packages only, gets the deb and an fstab line, and works. Needs debootstrap and a mirror
# (the first of this machine's sources, or RSYNCFS_MIRROR=).
# shellcheck source=machine.sh disable=SC2154,SC2016
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
command -v debootstrap >/dev/null || skip "debootstrap is not here"
enter_machine "$0" "$@"

mirror=${RSYNCFS_MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^#' | grep -oE 'https?://[^ ]+' | head -n 1)}
bare=/srv/bare
mkdir -p "$bare"
mount -t tmpfs -o size=2G bare "$bare"
debootstrap --variant=minbase bookworm "$bare" "$mirror" >/tmp/debootstrap.log 2>&1 ||
  skip "no Debian from $mirror: $(tail -n 2 /tmp/debootstrap.log)"
make_package
cp "$package" "$bare/tmp/rsyncfs.deb"
cp /etc/resolv.conf "$bare/etc/" 2>/dev/null
cp /etc/apt/apt.conf.d/* "$bare/etc/apt/apt.conf.d/" 2>/dev/null
mount --rbind /dev "$bare/dev" && mount -t proc proc "$bare/proc"
inside() { DEBIAN_FRONTEND=noninteractive chroot "$bare" "$@"; }
refuse "there is no fuse in it" inside test -e /usr/bin/fusermount3
check "lists" inside apt-get -q update
before=$(inside dpkg-query -W -f '${Package}\n' | sort)
check "apt-get install ./rsyncfs.deb" inside apt-get install -y --no-install-recommends /tmp/rsyncfs.deb
mkdir -p /srv/files "$bare/srv/tree"
echo served >/srv/files/file
serve /srv/files
inside useradd -m someone
inside install -d -o someone /home/someone/tree
echo "$source /srv/tree rsyncfs _netdev,nofail,allow_other 0 0
$source /home/someone/tree rsyncfs _netdev,noauto,user 0 0" >"$bare/etc/fstab"
check "mount -a" inside mount -a
equal "the file is there" "$(cat "$bare/srv/tree/file")" served
echo written >"$bare/srv/tree/new"
check "what was written is sent" inside rsyncfs flush /srv/tree
equal "and is at the source" "$(cat /srv/files/new)" written
check "a user mounts" inside su someone -c 'mount /home/someone/tree'
equal "and reads" "$(inside su someone -c 'cat /home/someone/tree/file')" served
check "and unmounts" inside su someone -c 'umount /home/someone/tree'
check "umount" inside umount /srv/tree
eventually "the daemons end" bash -c '! pgrep -x rsyncfs'
check "purged" inside apt-get purge -y rsyncfs
check "and what came with it" inside apt-get autoremove --purge -y
rm -rf "$bare/var/lib/rsyncfs"
equal "the packages are those from before" "$(diff <(echo "$before") <(inside dpkg-query -W -f '${Package}\n' | sort))" ""
equal "nothing of ours is left" "$(find "$bare" -xdev -iname '*rsyncfs*' ! -path '*/tmp/*' ! -path '*/home/*' ! -path '*/apt/*')" ""
finish
