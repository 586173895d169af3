// SPDX-License-Identifier: GPL-3.0-or-later
// Listings of a directory that is larger than one getdents() and changes meanwhile.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/fs/mount_rig.h"

namespace rsyncfs::testing {
namespace {

using std::chrono::milliseconds;

constexpr int kNames = 5000;

std::string name_of(int i) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "f%06d", i);
  return text.data();
}

FrontOptions with_opendir(bool opendir) {
  FrontOptions options;
  options.opendir = opendir;
  return options;
}

// True: as with kernels that ask before they open a directory.
class MountListingTest : public ::testing::TestWithParam<bool>, public MountRig {
 protected:
  MountListingTest() : MountRig(with_opendir(GetParam())) {}
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
TEST_P(MountListingTest, AReaderOfTheKernelsCopyGoesOnWhereItWas) {
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
TEST_P(MountListingTest, AnotherReadersNewerCopyLeadsOnToo) {
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

TEST_P(MountListingTest, AWarmListingAsksForNothing) {
  change(0, 0);
  std::map<std::string, int> seen;
  read(open(), kNames, seen);
  EXPECT_EQ(requests(FrontOp::kOpendir), 1U) << "whatever the kernel can do";
  const uint64_t before = requests(FrontOp::kReaddirplus);
  seen.clear();
  read(open(), kNames, seen);
  expect_once(seen, 0);
  EXPECT_EQ(requests(FrontOp::kReaddirplus), before);
  EXPECT_EQ(requests(FrontOp::kOpendir), GetParam() ? 2U : 1U);
  if (!GetParam()) {
    EXPECT_EQ(requests(FrontOp::kReleasedir), 0U);
  }
}

// Whoever comes to it, by its path or from a place inside; but not at once again.
TEST_P(MountListingTest, UseIsSeenThoughTheKernelHasAllNames) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  list(d, {file("a", 1)});
  settle();
  const UniqueFd inside(::open((*this / "d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto read_it = [this] {
    const Open reader{::opendir((*this / "d").c_str()), ::closedir};
    while (::readdir(reader.get()) != nullptr) {
    }
  };
  const auto look_inside = [&inside] { EXPECT_EQ(::faccessat(inside.get(), "a", R_OK, 0), 0); };
  const auto is_seen = [this, d](const auto& use) {
    const uint64_t uses = syncer.uses(d);
    use();
    return syncer.uses(d) > uses;
  };
  const auto rest = [this] { std::this_thread::sleep_for(syncer.use_holds_for() + milliseconds(100)); };
  read_it();
  look_inside();
  EXPECT_EQ(is_seen(read_it), GetParam()) << "a moment later";
  rest();
  EXPECT_TRUE(is_seen(read_it));
  rest();
  EXPECT_TRUE(is_seen(look_inside));
}

// Its positions had to make room for those of others, and are numbered anew: the kernel must not go on with
// those that it has.
TEST_P(MountListingTest, WhatIsNotKnownAnyMoreIsListedAnew) {
  const NodeId d = list(kRootNode, {directory("d"), directory("large")}).at("d");
  list(d, {file("a", 1), file("b", 1)});
  std::vector<Name> names;
  constexpr size_t kLong = 250;
  for (size_t i = 0; i * kLong < DirectoryPositions::kMaxBytes; ++i) {
    std::string name = name_of(static_cast<int>(i));
    name.resize(kLong, 'x');
    names.push_back(file(std::move(name), 1));
  }
  list(node("large"), names);
  settle();
  const auto count = [](const std::string& directory) {
    const Open reader{::opendir(directory.c_str()), ::closedir};
    size_t found = 0;
    while (::readdir(reader.get()) != nullptr) ++found;
    return found - 2;
  };
  EXPECT_EQ(count(*this / "d"), 2U);
  const uint64_t before = requests(FrontOp::kReaddirplus);
  EXPECT_EQ(count(*this / "d"), 2U);
  EXPECT_EQ(requests(FrontOp::kReaddirplus), before) << "the kernel has it";
  EXPECT_EQ(count(*this / "large"), names.size());
  settle();
  const uint64_t listed = requests(FrontOp::kReaddirplus);
  EXPECT_EQ(count(*this / "d"), 2U);
  EXPECT_GT(requests(FrontOp::kReaddirplus), listed);
}

INSTANTIATE_TEST_SUITE_P(Kernels, MountListingTest, ::testing::Bool(),
                         [](const auto& kernel) { return kernel.param ? "WithOpendir" : "WithoutOpendir"; });

}  // namespace
}  // namespace rsyncfs::testing
