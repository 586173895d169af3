// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/fuse_log.h"

#include <array>
#include <cstdarg>
#include <cstdio>
#include <string_view>
#include <utility>

#include "fs/fuse/fuse_api.h"
#include "io/base/log.h"
#include "io/base/result.h"

namespace rsyncfs {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
thread_local FuseMessages* listener = nullptr;

LogLevel level_of(fuse_log_level level) {
  switch (level) {
    case FUSE_LOG_EMERG:
    case FUSE_LOG_ALERT:
    case FUSE_LOG_CRIT:
    case FUSE_LOG_ERR:
      return LogLevel::kError;
    case FUSE_LOG_WARNING:
      return LogLevel::kWarn;
    case FUSE_LOG_NOTICE:
    case FUSE_LOG_INFO:
      return LogLevel::kInfo;
    case FUSE_LOG_DEBUG:
      return LogLevel::kDebug;
  }
  return LogLevel::kError;
}

[[gnu::format(printf, 2, 0)]] void on_message(fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, kMaxMessageBytes> buffer{};
  std::vsnprintf(buffer.data(), buffer.size(), format, arguments);
  std::string_view text(buffer.data());
  while (text.ends_with('\n')) text.remove_suffix(1);
  constexpr std::string_view kPrefix = "fuse: ";
  if (text.starts_with(kPrefix)) text.remove_prefix(kPrefix.size());
  if (text.empty()) return;
  if (listener != nullptr && level <= FUSE_LOG_ERR) return listener->take(std::string(text));
  log(level_of(level), "libfuse: " + std::string(text));
}

}  // namespace

void send_fuse_messages_to_log() {
  fuse_set_log_func(&on_message);
}

FuseMessages::FuseMessages() {
  RSYNCFS_CHECK(listener == nullptr);
  listener = this;
}

FuseMessages::~FuseMessages() {
  listener = nullptr;
}

}  // namespace rsyncfs
