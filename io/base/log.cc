// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/log.h"

#include <sys/stat.h>
#include <syslog.h>

#include <memory>
#include <string>
#include <utility>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>

#include "io/base/text.h"

namespace rsyncfs {

namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = [] {
    auto made =
        std::make_shared<spdlog::logger>("rsyncfs", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return instance;
}

// What is no file, /dev/null say, must not be renamed.
bool is_special(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
}

void use(std::shared_ptr<spdlog::sinks::sink> sink, const char* pattern, LogLevel level) {
  logger() = std::make_shared<spdlog::logger>("rsyncfs", std::move(sink));
  logger()->set_pattern(pattern);
  logger()->set_level(to_spdlog(level));
  // The last lines before a process was killed are those that matter.
  logger()->flush_on(spdlog::level::debug);
}

}  // namespace

void log(LogLevel level, std::string_view text) {
  if (!log_enabled(level)) return;
  logger()->log(to_spdlog(level), "{}", escape_control(text));
}

bool log_enabled(LogLevel level) {
  return logger()->should_log(to_spdlog(level));
}

void log_to(std::string_view path, LogLevel level) {
  const std::string file(path);
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (file.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else if (is_special(file)) {
    sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
  } else {
    sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file, kMaxLogBytes, 1);
  }
  use(std::move(sink), "%Y-%m-%dT%H:%M:%S.%e%z %l %v", level);
}

void log_to_system(LogLevel level) {
  use(std::make_shared<spdlog::sinks::syslog_sink_mt>("rsyncfs", LOG_PID, LOG_DAEMON, true), "%v", level);
}

std::string_view log_level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return "trace";
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warning";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "?";
}

}  // namespace rsyncfs
