// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/log.h"

#include <memory>
#include <string>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
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

}  // namespace

void log(LogLevel level, std::string_view text) {
  if (!log_enabled(level)) return;
  logger()->log(to_spdlog(level), "{}", escape_control(text));
}

bool log_enabled(LogLevel level) {
  return logger()->should_log(to_spdlog(level));
}

void log_to(std::string_view path, LogLevel level) {
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (path.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(std::string(path));
  }
  logger() = std::make_shared<spdlog::logger>("rsyncfs", std::move(sink));
  logger()->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger()->set_level(to_spdlog(level));
  // The last lines before a process was killed are those that matter.
  logger()->flush_on(spdlog::level::debug);
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
