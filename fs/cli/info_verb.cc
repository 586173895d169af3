// SPDX-License-Identifier: GPL-3.0-or-later
#include <cstdio>
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/info_document.h"
#include "io/base/text.h"

namespace rsyncfs {

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
