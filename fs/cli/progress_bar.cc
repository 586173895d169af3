// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "io/base/text.h"

namespace rsyncfs {
namespace {

constexpr size_t kDefaultWidth = 80;

size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kDefaultWidth;
}

std::string bar(double part) {
  constexpr size_t kCells = 20;
  const auto full = static_cast<size_t>(part * kCells);
  return "[" + std::string(full, '#') + std::string(kCells - full, '-') + "]";
}

std::string clock_text(double seconds) {
  constexpr double kLongest = 359'999;  // 99:59:59
  const auto whole = static_cast<unsigned>(std::min(seconds, kLongest));
  std::array<char, 32> text{};
  if (whole >= 3600) {
    std::snprintf(text.data(), text.size(), "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text.data(), text.size(), "%02u:%02u", whole / 60, whole % 60);
  }
  return text.data();
}

}  // namespace

std::string progress_line(const JobProgress& progress, std::chrono::duration<double> elapsed, size_t width,
                          std::string_view noun) {
  const auto done = static_cast<double>(std::min(progress.bytes_done, progress.bytes_total));
  const auto total = static_cast<double>(progress.bytes_total);
  const double part = progress.bytes_total == 0 ? 1 : done / total;
  const double rate = elapsed.count() > 0 ? done / elapsed.count() : 0;
  std::array<char, 8> percent{};
  std::snprintf(percent.data(), percent.size(), "%3u %%", static_cast<unsigned>(part * 100));
  std::string line = bar(part) + " " + percent.data() + "  " + human_bytes(static_cast<uint64_t>(done)) +
                     " of " + human_bytes(progress.bytes_total) + (progress.counting ? "+" : "") + ", " +
                     std::to_string(progress.files_done) + " of " + std::to_string(progress.files_total) +
                     (progress.counting ? "+" : "") + " " + std::string(noun);
  if (progress.files_failed > 0) line += ", " + std::to_string(progress.files_failed) + " failed";
  line += ", " + human_bytes(static_cast<uint64_t>(rate)) + "/s";
  if (rate > 0 && !progress.counting) line += ", " + clock_text((total - done) / rate) + " left";
  return line.substr(0, width);
}

ProgressBar::Style ProgressBar::style_for(int fd) {
  return isatty(fd) == 1 ? Style::kTerminal : Style::kLines;
}

void ProgressBar::show(const JobProgress& progress) {
  const auto now = std::chrono::steady_clock::now();
  if (style_ == Style::kTerminal) {
    // The last column stays free: some terminals wrap there.
    std::fprintf(stderr, "\r%s\033[K",
                 progress_line(progress, now - begin_, terminal_width() - 1, noun_).c_str());
    std::fflush(stderr);
    drawn_ = true;
  } else if (style_ == Style::kLines && now - last_line_.value_or(begin_) >= kLineInterval) {
    last_line_ = now;
    std::fprintf(stderr, "%s\n", progress_line(progress, now - begin_, std::string::npos, noun_).c_str());
  }
}

void ProgressBar::clear() {
  if (!std::exchange(drawn_, false)) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

void ProgressBar::finish(const JobProgress& progress) {
  if (style_ != Style::kTerminal) return;
  show(progress);
  std::fputs("\n", stderr);
  drawn_ = false;
}

}  // namespace rsyncfs
