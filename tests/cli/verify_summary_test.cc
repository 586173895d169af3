// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/verify_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

using ::testing::HasSubstr;

VerifyTotals sound() {
  VerifyTotals totals;
  totals.checked = 1'234'567;
  totals.checked_bytes = uint64_t{56} << 30;
  return totals;
}

TEST(VerifySummary, SaysWhatBecameOfDamage) {
  VerifyTotals totals = sound();
  EXPECT_EQ(verify_summary(totals), "1,234,567 files, 56.0 GiB checked; nothing is damaged");
  EXPECT_TRUE(totals.all_well());
  totals.damaged = 2;
  EXPECT_THAT(verify_summary(totals), HasSubstr("; 2 damaged files, fetched when read"));
  EXPECT_FALSE(totals.all_well());
  totals.restored = 1;
  EXPECT_THAT(verify_summary(totals), HasSubstr("; 2 damaged files, 1 fetched again, the rest is when read"));
  EXPECT_FALSE(totals.all_well());
  totals.restored = 2;
  EXPECT_THAT(verify_summary(totals), HasSubstr("; 2 damaged files, both fetched again"));
  EXPECT_TRUE(totals.all_well());
  totals.damaged = totals.restored = 1'000;
  EXPECT_THAT(verify_summary(totals), HasSubstr("; 1,000 damaged files, all fetched again"));
  totals.checked = totals.damaged = totals.restored = 1;
  EXPECT_EQ(verify_summary(totals), "1 file, 56.0 GiB checked; 1 damaged file, fetched again");
  totals.lost = 2;
  EXPECT_THAT(verify_summary(totals), HasSubstr("; 2 files are lost"));
  EXPECT_FALSE(totals.all_well());
}

TEST(VerifySummary, SaysWhatTheSourceHas) {
  VerifyTotals totals = sound();
  totals.remote = true;
  totals.equal = 1'000;
  totals.equal_bytes = 2'048;
  totals.sent_bytes = 10;
  totals.received_bytes = 1'024;
  EXPECT_EQ(verify_summary(totals),
            "1,234,567 files, 56.0 GiB checked; nothing is damaged\n"
            "1,000 files, 2.0 KiB are as at the source (10 B sent, 1.0 KiB received)");
  totals.equal = 1;
  totals.changed = 1;
  totals.partly_here = 2;
  totals.not_here = 3;
  totals.changed_here = 4;
  EXPECT_THAT(verify_summary(totals),
              HasSubstr("\n1 file, 2.0 KiB is as at the source; 1 changed while compared; 2 partly here, not "
                        "compared; 4 changed here, not compared; 3 not here ("));
  EXPECT_TRUE(totals.all_well()) << "none of these is wrong";
  totals.differing = 1;
  EXPECT_THAT(verify_summary(totals), HasSubstr("; 1 differs; "));
  EXPECT_FALSE(totals.all_well());
  totals.differing = 0;
  totals.uncompared = 1;
  EXPECT_THAT(verify_summary(totals), HasSubstr("; 1 could not be compared; "));
  EXPECT_FALSE(totals.all_well());
}

TEST(VerifyTotals, ComeBackAsTheyWere) {
  VerifyTotals totals;
  uint64_t number = 1;
  for (uint64_t* field : {&totals.checked, &totals.checked_bytes, &totals.damaged, &totals.restored,
                          &totals.lost, &totals.failed})
    *field = number++;
  EXPECT_EQ(*parse_verify_totals(verify_json(totals)), totals);
  totals.remote = true;
  for (uint64_t* field : {&totals.equal, &totals.equal_bytes, &totals.differing, &totals.changed,
                          &totals.uncompared, &totals.partly_here, &totals.not_here, &totals.changed_here,
                          &totals.sent_bytes, &totals.received_bytes})
    *field = number++;
  EXPECT_EQ(*parse_verify_totals(verify_json(totals)), totals);
  VerifyTotals twice = totals;
  add_up(twice, totals);
  EXPECT_EQ(twice.checked, 2U);
  EXPECT_EQ(twice.received_bytes, 2 * totals.received_bytes);
  EXPECT_FALSE(parse_verify_totals("[]").ok());
}

}  // namespace
}  // namespace rsyncfs
