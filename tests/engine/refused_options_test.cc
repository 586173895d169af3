// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/refused_options.h"

#include <gtest/gtest.h>

#include "sync/engine/push_clear_job.h"

namespace rsyncfs {
namespace {

TEST(RefusedOptionsTest, EachIsGivenUpOnce) {
  ServerFeatures features;
  const auto refused = [&](const char* option) {
    return give_up_refused(
        Error(Errc::kUnsupported, std::string("The server is configured to refuse --") + option), features);
  };
  EXPECT_TRUE(refused("fsync"));
  EXPECT_FALSE(features.fsync);
  EXPECT_FALSE(refused("fsync")) << "known";
  EXPECT_TRUE(refused("append"));
  EXPECT_FALSE(features.append);
  EXPECT_TRUE(refused("remove-source-files"));
  EXPECT_FALSE(features.acknowledgements);
  EXPECT_TRUE(features.moves());
  EXPECT_TRUE(refused("backup-dir"));
  EXPECT_FALSE(features.moves());
  EXPECT_TRUE(refused("delete-missing-args"));
  EXPECT_FALSE(features.deletes);
  EXPECT_TRUE(refused("prune-empty-dirs (-m)"));
  EXPECT_FALSE(features.trees);
  EXPECT_FALSE(refused("force")) << "the same is done without both";
  EXPECT_FALSE(refused("hard-links")) << "there is no way around it";
  EXPECT_FALSE(give_up_refused(Error(Errc::kOs, "write failed on \"append\""), features));
}

TEST(DrawnTemporaryTest, OnlyWhatAServerDraws) {
  EXPECT_TRUE(is_drawn_temporary(".f.aB3xYz", "f"));
  EXPECT_TRUE(is_drawn_temporary(".a.txt.a1b2c3", "a.txt"));
  EXPECT_FALSE(is_drawn_temporary(".f.backup", "f")) << "somebody's word";
  EXPECT_FALSE(is_drawn_temporary(".f.aB3xYz", "foo"));
  EXPECT_FALSE(is_drawn_temporary(".foo.aB3xYz", "f"));
  EXPECT_FALSE(is_drawn_temporary("f.aB3xYz", "f"));
  EXPECT_FALSE(is_drawn_temporary(".f.aB3xY", "f"));
  EXPECT_FALSE(is_drawn_temporary(".f.aB3-Yz", "f"));
  const std::string longest(255, 'n');
  EXPECT_TRUE(is_drawn_temporary("." + longest.substr(8) + ".aB3xYz", longest));
}

}  // namespace
}  // namespace rsyncfs
