// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/text.h"

#include <sys/sysmacros.h>

#include <array>
#include <cstdio>

namespace rsyncfs {

std::string escape_control(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && u != 0x7f && c != '\\') {
      out += c;
      continue;
    }
    if (c == '\\') {
      out += "\\\\";
      continue;
    }
    std::array<char, 5> octal{};
    std::snprintf(octal.data(), octal.size(), "\\%03o", u);
    out += octal.data();
  }
  return out;
}

std::string human_bytes(uint64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
                kUnits[unit]);
  return text.data();
}

dev_t parse_device(std::string_view text) {
  unsigned major = 0;
  unsigned minor = 0;
  const std::string terminated(text);
  if (std::sscanf(terminated.c_str(), "%u:%u", &major, &minor) != 2) return 0;
  return makedev(major, minor);
}

}  // namespace rsyncfs
