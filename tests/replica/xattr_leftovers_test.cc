// SPDX-License-Identifier: GPL-3.0-or-later
#include <optional>
#include <string>

#include "tests/replica/contents_rig.h"
#include "tests/replica/local_rig.h"

namespace rsyncfs {
namespace {

class XattrLeftoversTest : public LocalRig {};

// Every set has a value of its own.
TEST_F(XattrLeftoversTest, GoWithTheirSets) {
  constexpr int kVersions = 4000;
  const auto nodes = source_has(kRootNode, {"a", "b"});
  const auto digest = [](int i) {
    std::string out = std::to_string(i);
    return std::string(16 - out.size(), '-') + out;
  };
  const auto give = [&](NodeId node, int i) {
    const StoredXattrs set = {{"user.x", digest(i), 1000, true}};
    must(local().replace_xattrs(node, set, {{digest(i), std::string(1000, 'v')}}, std::nullopt));
  };
  const auto is_here = [&](int i) { return must(store_->xattr_value(digest(i), 1000)).has_value(); };
  give(nodes[1], 0);
  for (int i = 1; i <= kVersions; ++i) give(nodes[0], i);
  EXPECT_TRUE(eventually([&] { return !is_here(1); }));
  EXPECT_TRUE(is_here(0)) << "of a file that was left alone, and older than all";
  EXPECT_TRUE(is_here(kVersions));
  const auto kept = [&] {
    int out = 0;
    for (int i = 0; i <= kVersions; ++i) out += is_here(i) ? 1 : 0;
    return out;
  };
  EXPECT_LT(kept(), kVersions);
  reopen();
  EXPECT_TRUE(is_here(0));
  EXPECT_TRUE(is_here(kVersions));
}

}  // namespace
}  // namespace rsyncfs
