// SPDX-License-Identifier: GPL-3.0-or-later
#include <algorithm>

#include "sync/rsync/auth.h"
#include "sync/rsync/pull_session.h"
#include "sync/rsync/server_text.h"

namespace rsyncfs {

namespace {
constexpr size_t kMaxLine = 64 * 1024;
constexpr size_t kMaxLines = 100'000;
constexpr size_t kMaxTotalBytes = size_t{8} << 20;  // in all
}  // namespace

ModuleListSession::ModuleListSession(int max_protocol) {
  output_.append(client_greeting(max_protocol));
  output_.append(std::string_view("#list\n"));
}

Result<void> ModuleListSession::receive(std::span<const std::byte> data) {
  input_.append(data);
  while (!finished_) {
    const auto bytes = input_.readable();
    const auto end =
        std::find(bytes.begin() + static_cast<std::ptrdiff_t>(scanned_), bytes.end(), std::byte{'\n'});
    const auto size = static_cast<size_t>(end - bytes.begin());
    if (size > kMaxLine) return Error(Errc::kLimit, "over-long line from the server");
    if (end == bytes.end()) {
      scanned_ = size;
      return {};
    }
    std::string line(reinterpret_cast<const char*>(bytes.data()), size);
    input_.consume(size + 1);
    scanned_ = 0;
    bytes_ += line.size();
    if (++lines_ > kMaxLines || bytes_ > kMaxTotalBytes)
      return Error(Errc::kLimit, "the server lists too many modules");
    if (line.ends_with('\r')) line.pop_back();
    if (auto taken = take_line(line); !taken.ok()) return taken;
  }
  return {};
}

Result<void> ModuleListSession::take_line(std::string_view line) {
  if (line.starts_with("@ERROR")) return session_error(line, Errc::kRefused);
  if (!greeted_) {
    const auto greeting = parse_daemon_greeting(line);
    if (!greeting.ok()) return greeting.error();
    greeted_ = true;
    return {};
  }
  if (line == "@RSYNCD: EXIT") {
    finished_ = true;
    return {};
  }
  if (line.empty()) {
    // What came before was the message of the day: it ends with an empty line, and modules have none.
    modules_.clear();
    return {};
  }
  const size_t tab = line.find('\t');
  if (tab == std::string_view::npos) return {};
  std::string_view name = line.substr(0, tab);
  while (name.ends_with(' ')) name.remove_suffix(1);
  modules_.push_back({std::string(name), std::string(line.substr(tab + 1))});
  return {};
}

}  // namespace rsyncfs
