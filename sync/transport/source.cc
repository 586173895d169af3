// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/transport/source.h"

#include <charconv>

namespace rsyncfs {

namespace {

constexpr std::string_view kForms =
    "use rsync://[user@]host[:port]/module[/path], [user@]host::module[/path] or [user@]host:path";

Error usage(std::string_view text, std::string_view why) {
  return Error(Errc::kUsage,
               "source '" + std::string(text) + "': " + std::string(why) + "; " + std::string(kForms));
}

// Splits "user@" off the front of `authority`.
std::string take_user(std::string_view& authority) {
  const size_t at = authority.rfind('@');
  if (at == std::string_view::npos) return {};
  std::string user(authority.substr(0, at));
  authority.remove_prefix(at + 1);
  return user;
}

// Takes "host" or "[v6]" off the front; what follows stays. False when a bracket is not closed.
bool take_host(std::string_view& rest, std::string& host) {
  if (!rest.empty() && rest.front() == '[') {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) return false;
    host = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
    return true;
  }
  const size_t colon = rest.find(':');
  host = rest.substr(0, colon);
  rest.remove_prefix(host.size());
  return true;
}

std::string without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path);
}

// "module/path" below a daemon.
bool set_module(std::string_view rest, Source& out) {
  while (!rest.empty() && rest.front() == '/') rest.remove_prefix(1);
  const size_t slash = rest.find('/');
  out.module = rest.substr(0, slash);
  if (slash != std::string_view::npos) {
    std::string_view path = rest.substr(slash + 1);
    while (!path.empty() && path.front() == '/') path.remove_prefix(1);
    out.path = without_trailing_slashes(path);
    if (out.path == "/") out.path.clear();
  }
  return !out.module.empty();
}

Result<Source> check(std::string_view text, Source source) {
  if (source.host.empty()) return usage(text, "the host is missing");
  if (source.host.front() == '-') return usage(text, "a host name does not begin with '-'");
  if (source.user.find(':') != std::string::npos) {
    return Error(
        Errc::kUsage,
        "a password does not belong into the source; use RSYNC_PASSWORD or password_file=, as rsync does");
  }
  if (!source.user.empty() && source.user.front() == '-')
    return usage(text, "a user name does not begin with '-'");
  if (text.find('\0') != std::string_view::npos) return usage(text, "it contains a NUL byte");
  return source;
}

Result<Source> parse_url(std::string_view text, std::string_view rest) {
  Source out;
  const size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  out.user = take_user(authority);
  if (!take_host(authority, out.host)) return usage(text, "the '[' of the address is not closed");
  if (!authority.empty()) {
    if (authority.front() != ':') return usage(text, "unexpected text after the host");
    authority.remove_prefix(1);
    unsigned port = 0;
    const auto [end, error] = std::from_chars(authority.data(), authority.data() + authority.size(), port);
    if (error != std::errc() || end != authority.data() + authority.size() || port == 0 || port > 65535) {
      return usage(text, "the port must be a number from 1 to 65535");
    }
    out.port = static_cast<uint16_t>(port);
  }
  if (slash == std::string_view::npos || !set_module(rest.substr(slash), out)) {
    return usage(text, "the module is missing, and whole hosts are not mounted; `rsync " + std::string(text) +
                           "` lists its modules");
  }
  return check(text, std::move(out));
}

}  // namespace

Result<Source> parse_source(std::string_view text) {
  constexpr std::string_view kScheme = "rsync://";
  if (text.starts_with(kScheme)) return parse_url(text, text.substr(kScheme.size()));
  if (text.find("://") != std::string_view::npos) return usage(text, "this kind of URL is not known");
  Source out;
  std::string_view rest = text;
  // A '/' before the first ':' makes it a local path, as rsync has it.
  const size_t colon = rest.find(':');
  if (colon == std::string_view::npos || rest.substr(0, colon).find('/') != std::string_view::npos) {
    return usage(text, "it names no remote host");
  }
  const size_t at = rest.find('@');
  if (at != std::string_view::npos && rest.find('/') > at) {
    out.user = rest.substr(0, at);
    rest.remove_prefix(at + 1);
  }
  if (!take_host(rest, out.host)) return usage(text, "the '[' of the address is not closed");
  if (rest.starts_with("::")) {
    if (!set_module(rest.substr(2), out)) return usage(text, "the module is missing");
    return check(text, std::move(out));
  }
  if (!rest.starts_with(":")) return usage(text, "it names no remote host");
  out.kind = Source::Kind::kShell;
  out.path = without_trailing_slashes(rest.substr(1));
  return check(text, std::move(out));
}

std::string Source::canonical() const {
  const std::string who = user.empty() ? std::string() : user + "@";
  const std::string where = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (kind == Kind::kShell) return who + where + ":" + path;
  std::string out = "rsync://" + who + where;
  if (port != 0 && port != kRsyncPort) out += ":" + std::to_string(port);
  out += "/" + module;
  if (!path.empty()) out += "/" + path;
  return out;
}

}  // namespace rsyncfs
