// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/service_notice.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "io/base/text.h"

namespace rsyncfs {
namespace {

// A quarter of what the manager waits, so that one late notice does not count; what is less is a mistake.
constexpr std::chrono::milliseconds kShortestWatchdog{100};

std::string take(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value != nullptr ? value : "";
  unsetenv(name);
  return text;
}

std::optional<uint64_t> number_of(const std::string& text) {
  uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// A path, or '@' and a name that is in no file system.
UniqueFd connect_to(const std::string& address) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const bool usable = address.size() > 1 && address.size() < sizeof to.sun_path &&
                      (address.front() == '/' || address.front() == '@');
  if (!usable) return {};
  std::memcpy(to.sun_path, address.data(), address.size());
  if (address.front() == '@') to.sun_path[0] = '\0';
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  if (!socket || connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) != 0)  // NOLINT: as it is
    return {};
  return socket;
}

// A message is lines.
std::string one_line(std::string_view text) {
  return escape_control(text);
}

}  // namespace

ServiceNotice ServiceNotice::from_environment() {
  ServiceNotice notice;
  const std::string address = take("NOTIFY_SOCKET");
  const std::string period = take("WATCHDOG_USEC");
  const std::string watched = take("WATCHDOG_PID");
  if (address.empty()) return notice;
  notice.socket_ = connect_to(address);
  if (!notice.socket_) return notice;
  const auto microseconds = number_of(period);
  const auto pid = number_of(watched);
  if (!microseconds || *microseconds == 0) return notice;
  if (!watched.empty() && pid != static_cast<uint64_t>(getpid())) return notice;
  const auto quarter =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::microseconds(*microseconds / 4));
  notice.watchdog_ = std::max(quarter, kShortestWatchdog);
  return notice;
}

void ServiceNotice::send(const std::string& message) const {
  if (!socket_) return;
  static_cast<void>(::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

void ServiceNotice::ready(std::string_view status) {
  send("READY=1\nMAINPID=" + std::to_string(getpid()) + "\nSTATUS=" + one_line(status));
}

void ServiceNotice::status(std::string_view line) {
  send("STATUS=" + one_line(line));
}

void ServiceNotice::stopping(std::string_view status, std::chrono::milliseconds longest) {
  const auto extended = std::chrono::duration_cast<std::chrono::microseconds>(longest).count();
  send("STOPPING=1\nSTATUS=" + one_line(status) + "\nEXTEND_TIMEOUT_USEC=" + std::to_string(extended));
}

void ServiceNotice::alive() {
  send("WATCHDOG=1");
}

}  // namespace rsyncfs
