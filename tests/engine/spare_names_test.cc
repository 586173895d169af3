// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/spare_names.h"

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

TEST(SpareNameTest, IsKnownAgain) {
  EXPECT_EQ(spare_name(0x12ab), ".rsyncfs-000012ab");
  EXPECT_TRUE(is_spare_name(spare_name(0)));
  EXPECT_FALSE(is_spare_name(".rsyncfs-000012aB"));
  EXPECT_FALSE(is_spare_name(".rsyncfs-000012a"));
  EXPECT_FALSE(is_spare_name("a.rsyncfs-000012ab"));
}

}  // namespace
}  // namespace rsyncfs
