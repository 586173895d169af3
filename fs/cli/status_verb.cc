// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "fs/cli/daemon_call.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/mount_claim.h"
#include "fs/control/mount_record.h"
#include "fs/control/mount_table.h"
#include "fs/control/status_document.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

// What one look at the mounts has shown.
struct Look {
  std::string out;
  std::vector<std::string> complaints;
};

enum class Form : uint8_t { kText, kJson, kMetrics };

Result<std::string> rendered(const std::string& document, Form form) {
  if (form == Form::kJson) return document;
  const Result<MountStatus> status = parse_status(document);
  if (!status) return status.error();
  return form == Form::kMetrics ? metrics_text(*status, time(nullptr)) : status_text(*status);
}

Look look_at_all(bool json) {
  Look look;
  std::string out;
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
    const Result<std::string> text =
        document ? rendered(*document, json ? Form::kJson : Form::kText) : document;
    if (!text) {
      look.complaints.push_back(text.error().message() + " (" + mount.record.source + ", pid " +
                                std::to_string(mount.record.pid) + ")");
      continue;
    }
    out.append(out.empty() ? "" : json ? ",\n" : "\n").append(*text);
  }
  if (json) {
    look.out = "[" + out + "]\n";
  } else {
    look.out = out.empty() && look.complaints.empty() ? "no rsyncfs mounts\n" : out;
  }
  return look;
}

Look look_at(const std::string& mountpoint, Form form) {
  const Result<FoundMount> mount = find_mount(mountpoint, UserPlaces::of_this_process());
  const Result<std::string> document =
      mount ? ask_document(*mount, {.verb = ControlVerb::kStatus}, kAnswerLimitMs)
            : Result<std::string>(mount.error());
  const Result<std::string> text = document ? rendered(*document, form) : document;
  if (!text) return {"", {text.error().message()}};
  return {*text + (form == Form::kJson ? "\n" : ""), {}};
}

Look look(const StatusCommand& command) {
  if (command.mountpoint.empty()) return look_at_all(command.json);
  return look_at(command.mountpoint, command.metrics ? Form::kMetrics
                                     : command.json  ? Form::kJson
                                                     : Form::kText);
}

// Over what the last one has left, so that nothing flickers.
void draw_over(std::string text, bool first) {
  constexpr std::string_view kEndOfLine = "\033[K\n";
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += kEndOfLine.size()) {
    text.replace(at, 1, kEndOfLine);
  }
  std::fputs(((first ? "\033[2J\033[H" : "\033[H") + text + "\033[J").c_str(), stdout);
}

// Until interrupted, or nobody reads any more; of one mount also until its daemon is gone.
int watch(const StatusCommand& command) {
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  for (bool first = true;; first = false) {
    const Look seen = look(command);
    if (terminal) {
      std::string text = seen.out;
      for (const std::string& complaint : seen.complaints) text += escape_control(complaint) + "\n";
      draw_over(std::move(text), first);
    } else {
      std::fputs(((first || command.json ? "" : "\n") + seen.out).c_str(), stdout);
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
  const Look seen = look(command);
  std::fputs(seen.out.c_str(), stdout);
  for (const std::string& complaint : seen.complaints) complain(complaint);
  return seen.complaints.empty() ? kExitDone : kExitFailed;
}

}  // namespace rsyncfs
