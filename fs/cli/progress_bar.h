// SPDX-License-Identifier: GPL-3.0-or-later
// How `fetch` and `flush` show that they go on: one line that is drawn over on a terminal, a line now and
// then elsewhere.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "fs/control/protocol.h"

namespace rsyncfs {

// "[#####-----]  50 %  1.0 MiB of 2.0 MiB, 3 of 5 files, 1.2 MiB/s, 00:01 left", at most `width` columns.
// `noun`: what is counted.
std::string progress_line(const JobProgress& progress, std::chrono::duration<double> elapsed, size_t width,
                          std::string_view noun = "files");

class ProgressBar {
 public:
  enum class Style : uint8_t { kTerminal, kLines, kSilent };
  static constexpr std::chrono::seconds kLineInterval{5};

  explicit ProgressBar(Style style, std::string_view noun = "files") : style_(style), noun_(noun) {}
  static Style style_for(int fd);

  void show(const JobProgress& progress);
  // Before any other output: takes the drawn line away.
  void clear();
  // The last state stays on the terminal.
  void finish(const JobProgress& progress);

 private:
  Style style_;
  std::string_view noun_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::time_point> last_line_;
  bool drawn_ = false;
};

}  // namespace rsyncfs
