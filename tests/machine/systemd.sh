#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The units, as a real service manager runs them: a user's one, which needs no machine to boot.
# shellcheck source=machine.sh disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
enter_machine "$0" "$@"
if ! command -v systemctl >/dev/null || [ ! -x /lib/systemd/systemd ]; then skip "systemd is not here"; fi

mkdir -p /run/systemd/system /run/user/0 /srv/files /srv/tree
chmod 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 HOME=/root XDG_CONFIG_HOME=/root/.config
unset DBUS_SESSION_BUS_ADDRESS

DESTDIR=/tmp/installed cmake --install "$build" --prefix /usr >/tmp/log 2>&1 || fail "cmake --install: $(cat /tmp/log)"
cp -a /tmp/installed/usr/. /usr/
check "the unit of the system is sound" systemd-analyze verify /usr/lib/systemd/system/rsyncfs@.service
check "and that of users" systemd-analyze --user verify /usr/lib/systemd/user/rsyncfs@.service
for example in srv-tree.mount srv-tree.automount; do
  cp "/usr/share/doc/rsyncfs/examples/$example" /etc/systemd/system/
done
check "the examples are sound" systemd-analyze verify srv-tree.mount srv-tree.automount
check "tmpfiles" systemd-tmpfiles --create /usr/lib/tmpfiles.d/rsyncfs.conf
equal "makes the stores' directory" "$(stat -c %a /var/lib/rsyncfs)" 700

/lib/systemd/systemd --user --log-target=console --log-level=info >/tmp/systemd.log 2>&1 &
manager=$!
for ((i = 0; i < 100; ++i)); do systemctl --user is-system-running >/dev/null 2>&1 && break; sleep 0.1; done
systemctl --user is-system-running >/dev/null 2>&1 ||
  { kill -0 "$manager" 2>/dev/null || skip "systemd does not run here: $(tail -n 3 /tmp/systemd.log)"; }

echo served >/srv/files/file
serve /srv/files
mkdir -p "$XDG_CONFIG_HOME/rsyncfs"
printf 'SOURCE=%s\nMOUNTPOINT=/srv/tree\nOPTIONS=writeback_delay=0.2\n' "$source" >"$XDG_CONFIG_HOME/rsyncfs/tree.conf"
property() { systemctl --user show -P "$1" rsyncfs@tree; }
main_pid() { property MainPID; }

refuse "without a configuration nothing starts" systemctl --user start rsyncfs@other
check "it starts" systemctl --user start rsyncfs@tree
equal "and is mounted by then" "$(cat /srv/tree/file)" served
has "the manager knows what it is" "$(property StatusText)" "$source on /srv/tree"
equal "its main process is the daemon" "$(main_pid)" "$(rsyncfs status /srv/tree --json | sed 's/.*"pid":\([0-9]*\).*/\1/')"

echo "# killed, it is started again, and the mount is whole"
echo "kept" >/srv/tree/kept
first=$(main_pid)
kill -9 "$first"
eventually "another daemon" bash -c "p=\$(systemctl --user show -P MainPID rsyncfs@tree); [ \$p != 0 ] && [ \$p != $first ]"
eventually "is mounted" mountpoint -q /srv/tree
equal "what was written is there" "$(cat /srv/tree/kept 2>/dev/null)" kept
equal "once" "$(findmnt -n -l -o TARGET /srv/tree | wc -l)" 1

echo "# the watchdog"
mkdir -p "$XDG_CONFIG_HOME/systemd/user/rsyncfs@.service.d"
printf '[Service]\nWatchdogSec=2\n' >"$XDG_CONFIG_HOME/systemd/user/rsyncfs@.service.d/watchdog.conf"
systemctl --user daemon-reload
check "restarted with it" systemctl --user restart rsyncfs@tree
sleep 5
second=$(main_pid)
equal "one that lives is left alone" "$(property NRestarts)" 0
kill -STOP "$second"
eventually "one that hangs is replaced" bash -c "p=\$(systemctl --user show -P MainPID rsyncfs@tree); [ \$p != 0 ] && [ \$p != $second ] && mountpoint -q /srv/tree"
equal "and works" "$(cat /srv/tree/file)" served

echo "# stopping sends what is left"
echo "the last words" >/srv/tree/last
check "it stops" systemctl --user stop rsyncfs@tree
refuse "and is unmounted" mountpoint -q /srv/tree
equal "what was written is at the source" "$(cat /srv/files/last 2>/dev/null)" "the last words"
equal "cleanly" "$(property Result)" success
kill "$manager"
finish
