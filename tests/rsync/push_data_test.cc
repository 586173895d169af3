// SPDX-License-Identifier: GPL-3.0-or-later
// Contents pushed to the real rsync.
#include <unistd.h>

#include <algorithm>

#include "tests/rsync/push_testing.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

class PushData : public PushInterop {};
INSTANTIATE_TEST_SUITE_P(Peers, PushData, all_push_peers(), testing::PrintToStringParamName());

TEST_P(PushData, CreatesAndOverwrites) {
  support::write_file(target_ / "old", "what was there");
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("d/e/new", 4), file_entry("old", 11), file_entry("empty", 0)};
  config.entries[0].mtime_ns = 123'456'789;
  config.entries[0].mode = S_IFREG | 04750;
  const auto push = target_.open(config);
  push->contents = {{0, "new\n"}, {1, "overwritten"}, {2, ""}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->complaints(), "");
  EXPECT_EQ(support::read_file(target_ / "d/e/new"), "new\n");
  EXPECT_EQ(support::read_file(target_ / "old"), "overwritten");
  EXPECT_EQ(support::read_file(target_ / "empty"), "");
  const struct stat st = stat_of(target_ / "d/e/new");
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 04750));
  EXPECT_EQ(st.st_mtim.tv_sec, 1'600'000'000);
  EXPECT_EQ(st.st_mtim.tv_nsec, GetParam().protocol >= 31 ? 123'456'789 : 0);
  std::ranges::sort(push->succeeded);
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{0, 1, 2}));
}

}  // namespace
}  // namespace rsyncfs
