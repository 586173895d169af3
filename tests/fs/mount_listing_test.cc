// SPDX-License-Identifier: GPL-3.0-or-later
// Listings of a directory that is larger than one getdents() and changes meanwhile.
#include <dirent.h>

#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fs/mount_rig.h"

namespace rsyncfs::testing {
namespace {

constexpr int kNames = 5000;

std::string name_of(int i) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "f%06d", i);
  return text.data();
}

class MountListingTest : public ::testing::Test, public MountRig {
 protected:
  using Open = std::unique_ptr<DIR, int (*)(DIR*)>;
  Open open() const { return {::opendir(path().c_str()), ::closedir}; }
  // Up to `limit` names more.
  static void read(const Open& open, int limit, std::map<std::string, int>& seen) {
    for (int i = 0; i < limit; ++i) {
      const dirent* entry = ::readdir(open.get());
      if (entry == nullptr) return;
      if (entry->d_name[0] != '.') ++seen[entry->d_name];
    }
  }
  // Names from..kNames in steps of two, and the odd ones below `fresh_below`.
  void change(int from, int fresh_below) {
    std::vector<Name> names;
    for (int i = 0; i < kNames; ++i) {
      if ((i % 2 == 0 && i >= from) || (i % 2 != 0 && i < fresh_below)) names.push_back(file(name_of(i), 1));
    }
    list(kRootNode, names);
    settle();
  }
  static void expect_once(const std::map<std::string, int>& seen, int from) {
    for (int i = from; i < kNames; ++i) {
      if (i % 2 != 0) continue;
      const auto found = seen.find(name_of(i));
      ASSERT_EQ(found == seen.end() ? 0 : found->second, 1) << name_of(i);
    }
  }
};

// The kernel gives the second reader what it kept of the first one's listing. Then that is dropped, and the
// rest comes from us.
TEST_F(MountListingTest, AReaderOfTheKernelsCopyGoesOnWhereItWas) {
  change(0, 0);
  std::map<std::string, int> whole;
  read(open(), kNames, whole);
  ASSERT_EQ(whole.size(), static_cast<size_t>(kNames / 2));
  for (const int fresh_below : {0, 900}) {
    const Open reader = open();
    std::map<std::string, int> seen;
    read(reader, 10, seen);
    change(fresh_below == 0 ? 400 : 0, fresh_below);
    read(reader, 2 * kNames, seen);
    expect_once(seen, 400);
  }
}

// The same, and a third has filled the kernel's copy anew meanwhile.
TEST_F(MountListingTest, AnotherReadersNewerCopyLeadsOnToo) {
  change(400, 0);
  const Open reader = open();
  std::map<std::string, int> seen;
  read(reader, 10, seen);
  change(400, 900);
  std::map<std::string, int> newer;
  read(open(), 2 * kNames, newer);
  expect_once(newer, 400);
  read(reader, 2 * kNames, seen);
  expect_once(seen, 400);
}

}  // namespace
}  // namespace rsyncfs::testing
