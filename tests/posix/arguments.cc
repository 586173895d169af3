// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/arguments.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>

namespace rsyncfs::posix_tests {
namespace {

std::string variable_of(const std::string& name) {
  std::string out = "RSYNCFS_POSIX_";
  for (const char each : name) {
    out += each == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(each)));
  }
  return out;
}

}  // namespace

Arguments::Arguments(int argc, char** argv, const std::vector<std::string>& names, std::string usage)
    : usage_(std::move(usage)) {
  for (const std::string& name : names) {
    if (const char* value = std::getenv(variable_of(name).c_str())) values_[name] = value;
  }
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    const size_t equals = argument.find('=');
    if (argument.substr(0, 2) != "--" || equals == std::string_view::npos) {
      fail("not understood: " + std::string(argument));
    }
    const std::string name(argument.substr(2, equals - 2));
    if (std::find(names.begin(), names.end(), name) == names.end()) fail("no such option: --" + name);
    values_[name] = argument.substr(equals + 1);
  }
}

std::string Arguments::text(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? "" : found->second;
}

uint64_t Arguments::number(std::string_view name, uint64_t otherwise) const {
  const std::string value = text(name);
  if (value.empty()) return otherwise;
  uint64_t out = 0;
  const char* end = value.data() + value.size();
  const auto parsed = std::from_chars(value.data(), end, out);
  if (parsed.ec != std::errc() || parsed.ptr != end) fail("not a number: " + value);
  return out;
}

std::string Arguments::required(std::string_view name) const {
  std::string value = text(name);
  if (value.empty()) fail("--" + std::string(name) + "= is needed");
  return value;
}

uint64_t Arguments::seed() const {
  return number("seed", std::random_device{}());
}

void Arguments::fail(const std::string& why) const {
  std::fprintf(stderr, "%s\n%s", why.c_str(), usage_.c_str());
  std::exit(2);
}

}  // namespace rsyncfs::posix_tests
