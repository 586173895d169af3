// SPDX-License-Identifier: GPL-3.0-or-later
// What a daemon takes of the machine, looked at again and again, and whether that stays as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rsyncfs::bench {

// One number, and by how much its median of the last quarter may be above that of the second. The first
// quarter is no measure: some of what is kept fills up to its limit there.
struct Quantity {
  const char* name;
  const char* unit;
  bool is_limited = true;
  double part = 0;  // of the second quarter's
  double more = 0;  // in `unit`
};

// One look.
struct Sample {
  uint64_t operations = 0;
  std::map<std::string, double> values;  // by the name of the quantity
};

// The order of the table.
const std::vector<Quantity>& quantities();

// What `status --json` says, /proc and the store's directory. Throws std::runtime_error.
Sample look_at_daemon(uint64_t operations, const std::string& status_json);

struct Trend {
  double quarters[4] = {};  // medians
  double slope = 0;         // least squares, per 100,000 operations
  double limit = 0;         // of the last quarter
  bool is_flat() const { return quarters[3] <= limit; }
};
// Of eight samples or more.
Trend trend(const Quantity& quantity, const std::vector<Sample>& samples);

}  // namespace rsyncfs::bench
