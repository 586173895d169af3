// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/daemon_login.h"

#include <algorithm>
#include <utility>

#include "sync/rsync/server_text.h"

namespace rsyncfs {

namespace {
constexpr size_t kMaxLines = 10'000;  // greeting, message of the day, login
}

DaemonLogin::DaemonLogin(const SessionConfig& config, size_t max_line_bytes,
                         std::function<void(std::string_view)> on_motd, ByteQueue& out)
    : config_(config), max_line_bytes_(max_line_bytes), on_motd_(std::move(on_motd)), out_(out) {
  out_.append(client_greeting(config.max_protocol));
  out_.append(config.module + "\n");
}

Result<DaemonLogin::Took> DaemonLogin::take(ByteQueue& input) {
  const auto data = input.readable();
  const auto end =
      std::find(data.begin() + static_cast<std::ptrdiff_t>(scanned_), data.end(), std::byte{'\n'});
  const auto size = static_cast<size_t>(end - data.begin());
  if (size > max_line_bytes_) return Error(Errc::kLimit, "over-long line from the server");
  if (end == data.end()) {
    scanned_ = size;
    return Took::kNothing;
  }
  std::string line(reinterpret_cast<const char*>(data.data()), size);
  input.consume(size + 1);
  scanned_ = 0;
  if (++lines_ > kMaxLines) return Error(Errc::kLimit, "too many lines before the server's login");
  if (line.ends_with('\r')) line.pop_back();
  return greeted_ ? on_line(line) : on_greeting(line);
}

Result<DaemonLogin::Took> DaemonLogin::on_greeting(std::string_view line) {
  if (line.starts_with("@ERROR")) return session_error(line, Errc::kRefused);
  auto greeting = parse_daemon_greeting(line);
  if (!greeting.ok()) return greeting.error();
  so_far_.greeting = std::move(*greeting);
  so_far_.server_version = line;
  greeted_ = true;
  return Took::kGreeting;
}

Result<DaemonLogin::Took> DaemonLogin::on_line(std::string_view line) {
  constexpr std::string_view kChallenge = "@RSYNCD: AUTHREQD ";
  if (line.starts_with(kChallenge)) return log_in(line.substr(kChallenge.size()));
  if (line == "@RSYNCD: OK") return Took::kOk;
  if (line.starts_with("@ERROR")) return session_error(line, Errc::kRefused);
  if (line == "@RSYNCD: EXIT") return Error(Errc::kDisconnected, "the server ended the conversation");
  on_motd_(line);
  return Took::kLine;
}

Result<DaemonLogin::Took> DaemonLogin::log_in(std::string_view challenge) {
  so_far_.asked = true;
  if (config_.user.empty()) return Error(Errc::kAuth, "the module asks for a user name and password");
  const auto digest = choose_auth_digest(so_far_.greeting);
  if (!digest.ok()) return digest.error();
  const auto response = auth_response(*digest, config_.password, challenge);
  if (!response.ok()) return response.error();
  out_.append(config_.user + " " + *response + "\n");
  return Took::kChallenge;
}

}  // namespace rsyncfs
