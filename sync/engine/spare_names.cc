// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/spare_names.h"

#include <algorithm>

namespace rsyncfs {

namespace {
constexpr std::string_view kPrefix = ".rsyncfs-";
constexpr std::string_view kDigits = "0123456789abcdef";
constexpr size_t kNumberDigits = 8;
}  // namespace

std::string spare_name(uint32_t number) {
  std::string out(kPrefix);
  for (size_t i = kNumberDigits; i-- > 0;) out += kDigits[(number >> (4 * i)) & 0xf];
  return out;
}

bool is_spare_name(std::string_view name) {
  if (name.size() != kPrefix.size() + kNumberDigits || !name.starts_with(kPrefix)) return false;
  const std::string_view number = name.substr(kPrefix.size());
  return std::all_of(number.begin(), number.end(),
                     [](char c) { return kDigits.find(c) != std::string_view::npos; });
}

}  // namespace rsyncfs
