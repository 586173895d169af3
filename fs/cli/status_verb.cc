// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "fs/cli/daemon_call.h"
#include "fs/cli/live_view.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/mount_claim.h"
#include "fs/control/mount_record.h"
#include "fs/control/mount_table.h"
#include "fs/control/status_document.h"
#include "fs/control/text_lines.h"

namespace rsyncfs {
namespace {

// What one look at the mounts has shown.
struct Look {
  std::vector<std::string> documents;
  std::vector<std::string> complaints;
};

Look look_at_all() {
  Look look;
  for (const RecordedMount& mount : recorded_mounts(UserPlaces::of_this_process())) {
    const Result<std::string> document = ask_document({mount.directory, mount.record.mountpoint, ""},
                                                      {.verb = ControlVerb::kStatus}, kAnswerLimitMs);
    const bool is_gone = !document && document.error().code() == Errc::kDisconnected;
    const auto mounted = mounted_at(mount.record.mountpoint);
    if (is_gone && !(mounted && is_recorded(*mounted, mount.record))) {
      // Killed, and its mount is gone since: nothing to report, and nobody else cleans up.
      release_mount(mount.directory, mount.record.mountpoint, mount.record.pid);
      continue;
    }
    if (document) {
      look.documents.push_back(*document);
    } else {
      look.complaints.push_back(document.error().message() + " (" + mount.record.source + ", pid " +
                                std::to_string(mount.record.pid) + ")");
    }
  }
  return look;
}

Look look_at(const std::string& mountpoint) {
  const Result<FoundMount> mount = find_mount(mountpoint, UserPlaces::of_this_process());
  const Result<std::string> document =
      mount ? ask_document(*mount, {.verb = ControlVerb::kStatus}, kAnswerLimitMs)
            : Result<std::string>(mount.error());
  if (!document) return {{}, {document.error().message()}};
  return {{*document}, {}};
}

Look look(const StatusCommand& command) {
  return command.mountpoint.empty() ? look_at_all() : look_at(command.mountpoint);
}

// What cannot be read becomes a complaint.
std::vector<MountStatus> parsed(Look& look) {
  std::vector<MountStatus> mounts;
  for (const std::string& document : look.documents) {
    Result<MountStatus> status = parse_status(document);
    if (status) {
      mounts.push_back(std::move(*status));
    } else {
      look.complaints.push_back(status.error().message());
    }
  }
  return mounts;
}

// A list of documents; one alone where one mount was named.
std::string as_json(const StatusCommand& command, const Look& look) {
  std::string out;
  for (const std::string& document : look.documents) out.append(out.empty() ? "" : ",\n").append(document);
  if (command.mountpoint.empty()) return "[" + out + "]\n";
  return out.empty() ? "" : out + "\n";
}

std::string as_text(const StatusCommand& command, Look& look) {
  if (command.json) return as_json(command, look);
  std::string out;
  for (const MountStatus& status : parsed(look)) {
    out.append(out.empty() ? "" : "\n")
        .append(command.metrics ? metrics_text(status, time(nullptr)) : status_text(status));
  }
  return out.empty() && look.complaints.empty() ? "no rsyncfs mounts\n" : out;
}

// Over what the last one has left, so that nothing flickers.
void draw_over(std::string picture, bool first) {
  constexpr std::string_view kEndOfLine = "\033[K\n";
  for (size_t at = 0; (at = picture.find('\n', at)) != std::string::npos; at += kEndOfLine.size()) {
    picture.replace(at, 1, kEndOfLine);
  }
  std::fputs(((first ? "\033[2J\033[H" : "\033[H") + picture + "\033[K\n\033[J").c_str(), stdout);
}

// Until interrupted, or nobody reads any more; of one mount also until its daemon is gone.
int watch(const StatusCommand& command) {
  const bool draws = isatty(STDOUT_FILENO) == 1 && !command.json && !command.metrics;
  LiveView view;
  for (bool first = true;; first = false) {
    Look seen = look(command);
    if (draws) {
      const std::vector<MountStatus> mounts = parsed(seen);
      draw_over(view.draw(mounts, seen.complaints, std::chrono::steady_clock::now(),
                          local_time(time(nullptr)), TerminalStyle::of_terminal()),
                first);
    } else {
      const std::string out = as_text(command, seen);
      std::fputs(((first || command.json ? "" : "\n") + out).c_str(), stdout);
      for (const std::string& complaint : seen.complaints) complain(complaint);
    }
    if (std::fflush(stdout) != 0) return kExitFailed;
    if (!command.mountpoint.empty() && !seen.complaints.empty()) return kExitFailed;
    std::this_thread::sleep_for(std::chrono::duration<double>(command.interval_s));
  }
}

}  // namespace

int run_status(const StatusCommand& command) {
  if (command.watch) return watch(command);
  Look seen = look(command);
  std::fputs(as_text(command, seen).c_str(), stdout);
  for (const std::string& complaint : seen.complaints) complain(complaint);
  return seen.complaints.empty() ? kExitDone : kExitFailed;
}

}  // namespace rsyncfs
