// SPDX-License-Identifier: GPL-3.0-or-later
// A tree of the size that people have, in time and memory.
#include <algorithm>
#include <limits>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

using support::run_shell;

// Sanitizers keep what was freed, and notes of everything: their memory is not the product's.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// All of `find -ls` but what no copy keeps: inode numbers, blocks, and the link count and size of
// directories.
std::string listing(const std::string& root) {
  return run_shell("cd '" + root + "' && find . \\( -type d -printf '%M %U %G %T@ %p\\n' \\) -o " +
                   "-printf '%M %n %U %G %s %T@ %p %l\\n' | LC_ALL=C sort | md5sum; find . | wc -l");
}

// From the mount command to the end of ls, with an empty store. The best of some: what else the machine does
// is not the product's time.
double usable_after_seconds(const ServedTree& tree) {
  constexpr int kTries = 5;
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTries; ++i) {
    Mount mount(tree.mount_options(), false);
    const double begin = support::monotonic_seconds();
    mount.remount();
    const Reading first = list_names(mount.path());
    best = std::min(best, support::monotonic_seconds() - begin);
    EXPECT_TRUE(first.ok) << first.error;
    EXPECT_EQ(std::count(first.bytes.begin(), first.bytes.end(), '\n'), 400);
  }
  return best;
}

TEST(TwoHundredThousandFiles, AreMountedAtOnceListedRightAndHeldInLittleMemory) {
  ServedTree tree;
  support::make_many_files(tree.path(), 400, 500, 0);
  const double usable = usable_after_seconds(tree);
  EXPECT_LT(usable, 1.0) << "seconds from the mount command to the end of ls";

  Mount mount(tree.mount_options());
  EXPECT_EQ(listing(mount.path()), listing(tree.path()));
  constexpr int64_t kLimitKiB = kSanitized ? std::numeric_limits<int64_t>::max() : 64 * 1024;
  EXPECT_LE(mount.rss_kib(), kLimitKiB) << "after find";
  ASSERT_TRUE(wait_for_tree(mount, seconds(120)));
  EXPECT_LE(mount.rss_kib(), kLimitKiB) << "after the whole tree was listed";
  std::printf("usable after %.3f s, %ld KiB resident\n", usable, static_cast<long>(mount.rss_kib()));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
