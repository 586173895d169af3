// SPDX-License-Identifier: GPL-3.0-or-later
// The log, without its library in every translation unit: std::string in, spdlog behind (io/base/log.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rsyncfs {

enum class LogLevel : uint8_t { kTrace, kDebug, kInfo, kWarn, kError, kOff };

// Any thread. Control bytes in the text are escaped, so a hostile name cannot forge a line.
void log(LogLevel level, std::string_view text);
inline void log_error(std::string_view text) {
  log(LogLevel::kError, text);
}
inline void log_warn(std::string_view text) {
  log(LogLevel::kWarn, text);
}
inline void log_info(std::string_view text) {
  log(LogLevel::kInfo, text);
}
bool log_enabled(LogLevel level);
inline void log_debug(std::string_view text) {
  log(LogLevel::kDebug, text);
}

// A log file that has grown to this is put aside as NAME.1.EXTENSION, in place of the one before.
constexpr size_t kMaxLogBytes = size_t{16} << 20;

// Main thread, before other threads start. `path` empty: stderr.
void log_to(std::string_view path, LogLevel level);
// syslog(3), which the journal takes as well.
void log_to_system(LogLevel level);

std::string_view log_level_name(LogLevel level);

}  // namespace rsyncfs
