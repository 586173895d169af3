// SPDX-License-Identifier: GPL-3.0-or-later
// fs/SEMANTICS.md names the tests that hold it to its word: they must exist.
#include <filesystem>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/files.h"

namespace rsyncfs {
namespace {

const std::string kRoot = RSYNCFS_SOURCE_DIR;

std::set<std::string> existing_tests() {
  std::set<std::string> names;
  const std::regex declaration(R"(TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\))");
  for (const auto& entry : std::filesystem::directory_iterator(kRoot + "/tests/fs")) {
    if (entry.path().extension() != ".cc") continue;
    const std::string text = support::read_file(entry.path());
    for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it) {
      names.insert((*it)[1].str() + "." + (*it)[2].str());
    }
  }
  return names;
}

TEST(Semantics, NamesTestsThatExist) {
  const std::string text = support::read_file(kRoot + "/fs/SEMANTICS.md");
  const std::set<std::string> tests = existing_tests();
  const std::regex brackets(R"(\[((?:\w+\.\w+,?\s*)+)\])");
  const std::regex name(R"(\w+\.\w+)");
  int checked = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), brackets), end; it != end; ++it) {
    const std::string list = (*it)[1].str();
    for (std::sregex_iterator one(list.begin(), list.end(), name); one != end; ++one, ++checked) {
      EXPECT_TRUE(tests.contains(one->str())) << one->str();
    }
  }
  EXPECT_GE(checked, 30);
}

}  // namespace
}  // namespace rsyncfs
