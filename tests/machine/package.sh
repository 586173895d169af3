#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The deb is installed, works at once for root and for a user, and leaves nothing when it goes.
# shellcheck source=machine.sh disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
enter_machine "$0" "$@"
command -v dpkg-shlibdeps >/dev/null || skip "dpkg-dev is not here"

make_package
control=$(dpkg-deb -f "$package")
for library in fuse3 libfuse3-3 liburing2 libsqlite3-0 libssl3 libzstd1; do has "it depends on $library" "$control" "$library"; done
check "it is installed" dpkg -i "$package"
for file in /usr/bin/rsyncfs /usr/sbin/mount.rsyncfs /usr/sbin/umount.rsyncfs /usr/share/man/man1/rsyncfs.1.gz \
  /usr/share/man/man8/mount.rsyncfs.8.gz /usr/lib/systemd/system/rsyncfs@.service /usr/lib/systemd/user/rsyncfs@.service \
  /usr/share/bash-completion/completions/rsyncfs /usr/share/doc/rsyncfs/copyright /etc/rsyncfs /var/lib/rsyncfs; do
  check "there is $file" test -e "$file"
done
equal "stores are root's alone" "$(stat -c %a /var/lib/rsyncfs)" 700
has "units name the program that is installed" "$(cat /usr/lib/systemd/system/rsyncfs@.service)" "=/usr/bin/rsyncfs mount"

mkdir -p /srv/files /srv/tree
echo served >/srv/files/file
serve /srv/files
useradd -m someone
install -d -o someone /home/someone/tree
echo "$source /srv/tree rsyncfs _netdev,nofail,allow_other 0 0
$source /home/someone/tree rsyncfs _netdev,noauto,user 0 0" >/etc/fstab
check "mount -a" mount -a
equal "the file is there" "$(cat /srv/tree/file)" served
echo written >/srv/tree/new
check "what was written is sent" rsyncfs flush /srv/tree
equal "and is at the source" "$(cat /srv/files/new)" written
check "a user mounts what fstab lets him" su someone -c 'mount /home/someone/tree'
equal "and reads it" "$(su someone -c 'cat /home/someone/tree/file')" served
refuse "root has no business there" cat /home/someone/tree/file
check "and unmounts it" su someone -c 'umount /home/someone/tree'
check "umount.rsyncfs" umount.rsyncfs /srv/tree
refuse "nothing is mounted any more" mountpoint -q /srv/tree

check "it is removed" dpkg -r rsyncfs
refuse "the program is gone" test -e /usr/bin/rsyncfs
check "what may be unsent stays" test -d /var/lib/rsyncfs
rm -rf /var/lib/rsyncfs/*
check "it is purged" dpkg -P rsyncfs
left=$(cd "$upper" && find . -iname '*rsyncfs*' ! -path './home/*' ! -type c)
equal "nothing is left" "$left" ""
finish
