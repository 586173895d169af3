// SPDX-License-Identifier: GPL-3.0-or-later
#include <cstdio>
#include <string>

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

Result<std::string> rendered(const std::string& document, bool json) {
  if (json) return document;
  const Result<MountStatus> status = parse_status(document);
  if (!status) return status.error();
  return status_text(*status);
}

int show_all(bool json) {
  bool failed = false;
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
    const Result<std::string> text = document ? rendered(*document, json) : document;
    if (!text) {
      failed = true;
      complain(text.error().message() + " (" + mount.record.source + ", pid " +
               std::to_string(mount.record.pid) + ")");
      continue;
    }
    out.append(out.empty() ? "" : json ? ",\n" : "\n").append(*text);
  }
  if (json) {
    std::printf("[%s]\n", out.c_str());
  } else {
    std::fputs(out.empty() && !failed ? "no rsyncfs mounts\n" : out.c_str(), stdout);
  }
  return failed ? kExitFailed : kExitDone;
}

}  // namespace

int run_status(const StatusCommand& command) {
  if (command.mountpoint.empty()) return show_all(command.json);
  const Result<FoundMount> mount = find_mount(command.mountpoint, UserPlaces::of_this_process());
  if (!mount) {
    complain(mount.error().message());
    return kExitFailed;
  }
  const Result<std::string> document = ask_document(*mount, {.verb = ControlVerb::kStatus}, kAnswerLimitMs);
  const Result<std::string> text = document ? rendered(*document, command.json) : document;
  if (!text) {
    complain(text.error().message());
    return kExitFailed;
  }
  std::printf("%s%s", text->c_str(), command.json ? "\n" : "");
  return kExitDone;
}

int run_info(const InfoCommand& command) {
  const Result<FoundMount> mount = find_mount(command.path, UserPlaces::of_this_process());
  if (!mount) {
    complain(mount.error().message());
    return kExitFailed;
  }
  const Result<std::string> document =
      ask_document(*mount, {.verb = ControlVerb::kInfo, .paths = {mount->inner}}, kSourceAnswerLimitMs);
  const Result<PathInfo> info = document ? parse_info(*document) : Result<PathInfo>(document.error());
  if (!info) {
    complain(escape_control(command.path) + ": " + info.error().message());
    return kExitFailed;
  }
  std::fputs(command.json ? (*document + "\n").c_str() : info_text(*info).c_str(), stdout);
  return kExitDone;
}

}  // namespace rsyncfs
