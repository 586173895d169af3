// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/way_out.h"

#include <array>
#include <optional>

namespace rsyncfs {
namespace {

using Kind = Source::Kind;

// The first one whose words are in the message; HOST, PORT and so on are filled in.
struct Known {
  std::optional<Kind> kind;
  std::string_view words;
  std::string_view way_out;
};

constexpr std::array kKnown = {
    Known{std::nullopt, "cannot find host", "is the name right, and does this machine's DNS know it?"},
    Known{Kind::kDaemon, "Connection refused",
          "does an rsync daemon listen there? Another port is HOST:PORT or port="},
    Known{Kind::kDaemon, "Unknown module", "`rsync rsync://HOSTPORT/` lists the modules there are"},
    Known{Kind::kDaemon, "access denied", "'hosts allow' in the server's rsyncd.conf decides about that"},
    Known{Kind::kDaemon, "max connections",
          "raise 'max connections' in the server's rsyncd.conf, or take fewer with max_sessions="},
    Known{Kind::kDaemon, "module is write only", "a mount has to read: 'write only = no' on the server"},
    Known{Kind::kDaemon, "chdir failed",
          "the module's 'path' on the server is missing, or closed to its uid"},
    Known{Kind::kDaemon, "chroot failed", "'use chroot = no' on the server, or its daemon has to be root's"},
    Known{std::nullopt, "server is configured to refuse",
          "that option is needed: take it out of 'refuse options' in the server's rsyncd.conf"},
    Known{std::nullopt, "Permission denied (", "the server takes no key of yours: try `ssh HOST true`"},
    Known{Kind::kShell, "Host key verification failed", "accept the host's key once: `ssh HOST true`"},
    Known{Kind::kShell, "ssh: connect to host",
          "does an sshd listen there? Another port is port=, or ssh's configuration"},
    Known{Kind::kShell, "ssh: Could not resolve", "is the name right, and does this machine's DNS know it?"},
    Known{Kind::kShell, "cannot run", "rsh= names the remote shell; without it that is ssh"},
    Known{Kind::kShell, "does not speak rsync",
          "`ssh HOST true` must print nothing; rsync_path= names the rsync there"},
    Known{Kind::kShell, "command not found", "rsync has to be installed there; rsync_path= names it"},
    Known{Kind::kShell, "before saying anything", "rsync has to be installed there; rsync_path= names it"},
    Known{Kind::kShell, "the remote shell ended", "see what it says by itself: `ssh HOST true`"},
    Known{std::nullopt, "Not a directory", "a mount shows a directory: name the one that the file is in"},
    Known{std::nullopt, "No such file or directory",
          "is the path right? `rsync --list-only` of what is above it tells"},
    Known{std::nullopt, "Permission denied",
          "the user that the server runs as, or that you log in as, may not read it"},
};

std::string filled(std::string_view text, const Source& source) {
  std::string out(text);
  const std::string port =
      source.port != 0 && source.port != kRsyncPort ? ":" + std::to_string(source.port) : "";
  const std::string host = source.host + (source.kind == Kind::kDaemon ? port : "");
  const std::array<std::pair<std::string_view, std::string>, 2> marks = {
      {{"HOSTPORT", host},
       {"`ssh HOST", "`ssh " + (source.user.empty() ? "" : source.user + "@") + source.host}}};
  for (const auto& [mark, with] : marks) {
    const size_t at = out.find(mark);
    if (at != std::string::npos) out.replace(at, mark.size(), with);
  }
  return out;
}

std::string of_kind(const Error& failure, const Source& source, bool has_password) {
  switch (failure.code()) {
    case Errc::kAuth:
      if (source.kind != Kind::kDaemon) return "try `ssh HOST true`";
      if (!has_password) return "no password given: set RSYNC_PASSWORD or password_file=";
      if (source.user.empty()) return "the user is yours unless the source names one: USER@" + source.host;
      return "is that the password of '" + source.user +
             "' in the module's 'secrets file', and he in its 'auth users'?";
    case Errc::kTimedOut:
      return "is something in between that drops packets? timeout= and contimeout= are the limits";
    case Errc::kUnreachable:
      return "is the machine on, and the network?";
    case Errc::kProtocol:
      return source.kind == Kind::kDaemon ? "is that an rsync daemon's port? It is 873 as a rule" : "";
    default:
      return "";
  }
}

}  // namespace

Error with_way_out(const Error& failure, const Source& source, bool has_password) {
  std::string way_out;
  for (const Known& known : kKnown) {
    const bool fits = !known.kind || *known.kind == source.kind;
    if (!fits || failure.message().find(known.words) == std::string::npos) continue;
    way_out = filled(known.way_out, source);
    break;
  }
  if (way_out.empty() || failure.code() == Errc::kAuth)
    way_out = filled(of_kind(failure, source, has_password), source);
  if (way_out.empty()) return failure;
  const Error told(failure.code(), failure.message() + "; " + way_out);
  return failure.os_errno() != 0 ? told.with_errno(failure.os_errno()) : told;
}

}  // namespace rsyncfs
