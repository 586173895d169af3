// SPDX-License-Identifier: GPL-3.0-or-later
// fs/SEMANTICS.md names the tests that hold it to its word: they must exist.
#include <cctype>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/support/files.h"

namespace rsyncfs {
namespace {

const std::string kRoot = RSYNCFS_SOURCE_DIR;

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

std::string word_at(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && is_word(text[end])) ++end;
  return std::string(text.substr(at, end - at));
}

// "Suite.Name" of each TEST, TEST_F and TEST_P that begins a line.
void collect_tests(std::string_view source, std::set<std::string>& names) {
  for (size_t at = 0; (at = source.find("\nTEST", at)) != std::string_view::npos; ++at) {
    const size_t open = source.find('(', at);
    const size_t comma = source.find(", ", open);
    if (comma == std::string_view::npos) return;
    names.insert(word_at(source, open + 1) + "." + word_at(source, comma + 2));
  }
}

// "Suite.Name" of all that stands in [brackets].
std::set<std::string> cited_tests(std::string_view text) {
  std::set<std::string> names;
  for (size_t at = 0; (at = text.find('[', at)) != std::string_view::npos; ++at) {
    const size_t close = text.find(']', at);
    for (size_t i = at + 1; i < close; ++i) {
      if (!is_word(text[i]) || is_word(text[i - 1]) || text[i - 1] == '.') continue;
      const std::string suite = word_at(text, i);
      if (text[i + suite.size()] == '.') names.insert(suite + "." + word_at(text, i + suite.size() + 1));
    }
  }
  return names;
}

TEST(Semantics, NamesTestsThatExist) {
  std::set<std::string> existing;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot + "/tests")) {
    if (entry.path().extension() == ".cc") collect_tests(support::read_file(entry.path()), existing);
  }
  const std::set<std::string> cited = cited_tests(support::read_file(kRoot + "/fs/SEMANTICS.md"));
  for (const std::string& name : cited) EXPECT_TRUE(existing.contains(name)) << name;
  EXPECT_GE(cited.size(), 25U);
}

}  // namespace
}  // namespace rsyncfs
