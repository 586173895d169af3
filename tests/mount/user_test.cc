// SPDX-License-Identifier: GPL-3.0-or-later
// An ordinary user mounts through fusermount3, for himself only.
#include <sys/stat.h>
#include <unistd.h>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

// Runs in a mount namespace of its own, where /dev/fuse is as open as Debian makes it, whatever it is
// outside. $1 program, $2 source, $3 directory of the user, $4 user id, $5 io=.
constexpr const char* kAsUser = R"sh(
set -eu
# A copy of another test's mount would keep it alive beyond its end. Without looking at it: its server may be stopped.
awk '/ - fuse\./ { print $5 }' /proc/self/mountinfo | while read -r point; do
  umount --lazy --internal-only --no-canonicalize "$(printf "$point")" || true
done
# Where device nodes open and programs run, whatever the temporary directory allows; the program may lie where other
# users cannot look.
mkdir "$3/own"
mount -t tmpfs -o mode=755,dev,exec none "$3/own"
install -m 755 "$1" "$3/own/rsyncfs"
mknod -m 666 "$3/own/fuse" c 10 229
mount --bind "$3/own/fuse" /dev/fuse
user() { setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"; }
program=$3/own/rsyncfs source=$2 dir=$3 uid=$4 io=$5
export HOME=$dir RSYNCFS_STATE_DIR=$dir/state RSYNCFS_RUNTIME_DIR=$dir/run
user "$program" "$source" "$dir/mnt" -o "$io"
echo "contents: $(user cat "$dir/mnt/file")"
echo "fuse: $(user "$program" status "$dir/mnt" --json | grep -oP '"description": *"\K[^"]*')"
state=
for moment in $(seq 300); do  # storing what was read takes a moment
  state=$(user "$program" info "$dir/mnt/file" | sed -n 's/^ *state *//p')
  [ "$state" = cached ] && break
  sleep 0.1
done
echo "state: $state"
echo "owner of the daemon: $(stat -c %u "/proc/$(user "$program" status "$dir/mnt" --json | grep -oP '"pid": *\K[0-9]+')")"
if cat "$dir/mnt/file" >/dev/null 2>&1; then echo "root: looks in"; else echo "root: kept out"; fi
echo "table: $(grep -F " $dir/mnt " /proc/self/mountinfo)"
user "$program" umount "$dir/mnt"
if grep -qF " $dir/mnt " /proc/self/mountinfo; then echo "still mounted"; else echo "unmounted"; fi
)sh";

class OrdinaryUser : public OnEachEngine {};

TEST_P(OrdinaryUser, MountsThroughFusermount) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  constexpr uid_t kUser = 65534;
  ServedTree tree;
  support::write_file(tree / "file", "for the user");
  TempDir dir;
  for (const char* name : {"state", "run", "mnt"}) {
    ASSERT_EQ(chown(dir.make_dir(name).c_str(), kUser, kUser), 0);
    ASSERT_EQ(chmod((dir / name).c_str(), 0700), 0);
  }
  const CommandResult run = support::run_command(
      {"unshare", "--mount", "bash", "-c", kAsUser, "bash", support::rsyncfs_binary(), tree.server().url(),
       dir.path(), std::to_string(kUser), "profile=large,io=" + GetParam()},
      seconds(100));
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  for (const char* line :
       {"contents: for the user\n", "state: cached\n", "owner of the daemon: 65534\n", "root: kept out\n",
        "profile keep_cache", "unmounted\n", "fuse.rsyncfs", "user_id=65534"}) {
    EXPECT_THAT(run.out, ::testing::HasSubstr(line)) << run.err;
  }
}
INSTANTIATE_TEST_SUITE_P(Io, OrdinaryUser, ::testing::Values("uring", "threads"));

}  // namespace
}  // namespace rsyncfs::mount_tests
