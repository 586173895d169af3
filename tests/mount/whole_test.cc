// SPDX-License-Identifier: GPL-3.0-or-later
// Much of it, read whole.
#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

using support::compare_trees;
using support::join_lines;

TEST(LargeFile, BeyondFourGiBIsReadWhole) {
  ServedTree tree;
  support::make_sparse_file(tree / "large", 5ULL << 30, "beyond 32 bits", (4ULL << 30) + 12345);
  Mount mount(tree.mount_options());
  EXPECT_EQ(join_lines(compare_trees(tree.path(), mount.path())), "");
}

TEST(UsrShare, EqualsTheServedTree) {
  RsyncDaemon server(RsyncDaemon::serving("/usr/share"));
  MountOptions options;
  options.source = server.url();
  Mount mount(options);
  EXPECT_EQ(join_lines(compare_trees("/usr/share", mount.path())), "");
  const CommandResult diff = support::run_command(
      {"diff", "-r", "--no-dereference", "/usr/share", mount.path()}, std::chrono::minutes(10));
  EXPECT_EQ(diff.exit_code, 0) << (diff.out + diff.err).substr(0, 4000);
}

}  // namespace
}  // namespace rsyncfs::mount_tests
