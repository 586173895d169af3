// SPDX-License-Identifier: GPL-3.0-or-later
// When a change is due, and what goes along with it.
#include <sys/stat.h>

#include <string>

#include <gtest/gtest.h>

#include "sync/engine/push_plan.h"
#include "tests/engine/push_model.h"

namespace rsyncfs {
namespace {

class PushDueTest : public ::testing::Test {
 protected:
  NodeId file(NodeId parent, const std::string& name) { return pending_.make(parent, name, S_IFREG); }

  PendingModel pending_;
};

TEST_F(PushDueTest, ContentsWaitUntilTheyRest) {
  file(kRootNode, "f");
  PushRules rules;
  rules.now_ms = 999;
  auto plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->batch);
  EXPECT_EQ(plan->next_due_ms, 1000);
  rules.now_ms = 1000;
  plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok());
  EXPECT_TRUE(plan->batch);
}

// The clock was set back by more than a change may wait.
TEST_F(PushDueTest, WhatWasChangedInTheFutureIsDue) {
  file(kRootNode, "f");
  PushRules rules;
  rules.now_ms = -9'000;
  auto plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->batch);
  rules.now_ms = -3'600'000;
  plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok());
  EXPECT_TRUE(plan->batch);
}

TEST_F(PushDueTest, WhatIsRemovedInOneGoWaitsForItsEnd) {
  for (const char* name : {"first", "last"}) file(kRootNode, name);
  pending_.base = pending_.local;
  pending_.base_nodes = pending_.local_nodes;
  pending_.local.clear();
  pending_.names_since_ms = {{{kRootNode, "first"}, 5'000}, {{kRootNode, "last"}, 5'150}};
  PushRules rules;
  rules.now_ms = 5'340;
  auto plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->batch);
  EXPECT_EQ(plan->next_due_ms, 5'350);
  rules.now_ms = 5'350;
  plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok() && plan->batch);
  EXPECT_EQ(plan->batch->steps.size(), 2U);
  // But not for ever.
  pending_.names_since_ms[{kRootNode, "last"}] = 5'990;
  rules.now_ms = 6'000;
  plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok() && plan->batch);
  EXPECT_EQ(plan->batch->steps.size(), 2U);
}

TEST_F(PushDueTest, WhatIsDueSoonGoesAlong) {
  pending_.nodes_since_ms[file(kRootNode, "first")] = 5'000;
  pending_.nodes_since_ms[file(kRootNode, "soon")] = 5'090;
  pending_.nodes_since_ms[file(kRootNode, "later")] = 5'200;
  PushRules rules;
  rules.together_ms = 100;
  rules.now_ms = 5'999;
  auto plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->batch) << "nothing is due";
  rules.now_ms = 6'000;
  plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok() && plan->batch);
  EXPECT_EQ(plan->batch->steps.size(), 2U);
}

}  // namespace
}  // namespace rsyncfs
