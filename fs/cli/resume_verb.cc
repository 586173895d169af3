// SPDX-License-Identifier: GPL-3.0-or-later
#include <cstdio>
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/json_fields.h"
#include "io/base/text.h"

namespace rsyncfs {

int run_resume(const ResumeCommand& command) {
  const Result<FoundMount> mount = find_mount(command.mountpoint, UserPlaces::of_this_process());
  const Result<std::string> document =
      mount ? ask_document(*mount, {.verb = ControlVerb::kResume}, kAnswerLimitMs)
            : Result<std::string>(mount.error());
  const Result<Json> json = document ? parse_json_object(*document) : Result<Json>(document.error());
  if (!json) {
    complain(json.error().message());
    return kExitFailed;
  }
  const std::string stopped = shown_field(*json, "was_stopped");
  std::printf("%s\n", stopped.empty()
                          ? "nothing was stopped"
                          : escape_control("sending goes on; it was stopped: " + stopped).c_str());
  return kExitDone;
}

}  // namespace rsyncfs
