// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rsyncfs::posix_tests {

// What the programs of this folder are told: `--NAME=VALUE`, or else the environment's RSYNCFS_POSIX_NAME (in
// capitals, `_` for `-`).
class Arguments {
 public:
  // Ends the program with the usage text on anything that is none of `names`.
  Arguments(int argc, char** argv, const std::vector<std::string>& names, std::string usage);

  // "" if it was not given.
  std::string text(std::string_view name) const;
  uint64_t number(std::string_view name, uint64_t otherwise) const;
  // Ends the program if it was not given.
  std::string required(std::string_view name) const;
  // --seed, or a new one.
  uint64_t seed() const;
  [[noreturn]] void fail(const std::string& why) const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
  std::string usage_;
};

}  // namespace rsyncfs::posix_tests
