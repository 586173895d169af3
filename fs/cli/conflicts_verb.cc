// SPDX-License-Identifier: GPL-3.0-or-later
#include <cstdio>
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/conflict_document.h"

namespace rsyncfs {

int run_conflicts(const ConflictsCommand& command) {
  const Result<FoundMount> mount = find_mount(command.mountpoint, UserPlaces::of_this_process());
  const Result<std::string> document =
      mount ? ask_document(*mount, {.verb = ControlVerb::kConflicts, .clear = command.clear}, kAnswerLimitMs)
            : Result<std::string>(mount.error());
  const Result<ConflictList> list =
      document ? parse_conflicts(*document) : Result<ConflictList>(document.error());
  if (!list) {
    complain(list.error().message());
    return kExitFailed;
  }
  if (command.json) {
    std::puts(document->c_str());
  } else if (list->conflicts.empty()) {
    std::puts("no conflicts");
  } else {
    std::fputs(conflicts_text(*list, mount->mountpoint).c_str(), stdout);
  }
  return kExitDone;
}

}  // namespace rsyncfs
