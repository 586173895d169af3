// SPDX-License-Identifier: GPL-3.0-or-later
// `status --watch` on a terminal: one picture of all mounts, drawn over each time.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "fs/control/status_document.h"

namespace rsyncfs {

struct TerminalStyle {
  size_t columns = 80;
  size_t rows = 24;
  bool colour = false;  // of ECMA-48's, by SGR
  bool utf8 = false;    // blocks for bars; otherwise '#'

  // Of standard output: its size, NO_COLOR (no-color.org), TERM, the locale.
  static TerminalStyle of_terminal();
};

// One thread. Remembers what it has seen, for rates.
class LiveView {
 public:
  static constexpr size_t kHistory = 24;       // looks that a sparkline shows
  static constexpr size_t kMostTransfers = 6;  // lines of each kind

  // A picture that fits the terminal: lines without escapes of names or servers, the last without an end.
  // `now`: when the documents came; `clock`: what the head line says.
  std::string draw(const std::vector<MountStatus>& mounts, const std::vector<std::string>& complaints,
                   std::chrono::steady_clock::time_point now, const std::string& clock,
                   const TerminalStyle& style);

 private:
  struct Rate {
    uint64_t total = 0;
    std::deque<double> per_second = {};  // the last is now's
    double now() const { return per_second.empty() ? 0 : per_second.back(); }
    void take(uint64_t now_total, double seconds);
  };
  struct Seen {
    uint64_t pid = 0;
    std::chrono::steady_clock::time_point at;
    Rate in = {};
    Rate out = {};
    Rate requests = {};
    std::map<std::string, Rate> transfers = {};  // by path
  };
  Seen& update(const MountStatus& mount, std::chrono::steady_clock::time_point now);

  std::map<std::string, Seen> seen_;  // by mountpoint
};

}  // namespace rsyncfs
