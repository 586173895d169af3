// SPDX-License-Identifier: GPL-3.0-or-later
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"

namespace rsyncfs {

int run_refresh(const RefreshCommand& command) {
  const Result<FoundMount> mount = find_mount(command.path, UserPlaces::of_this_process());
  Result<ControlClient> client =
      mount ? ControlClient::connect(*mount, kConnectLimitMs) : Result<ControlClient>(mount.error());
  const Result<ControlAnswer> answer =
      client ? client->call({.verb = ControlVerb::kRefresh, .paths = {mount->inner}}, kSourceAnswerLimitMs)
             : Result<ControlAnswer>(client.error());
  if (!answer) {
    complain(answer.error().message());
    return kExitFailed;
  }
  if (answer->kind == ControlAnswer::Kind::kFailed) {
    complain(command.path + ": " + answer->reason);
    return kExitFailed;
  }
  return kExitDone;
}

}  // namespace rsyncfs
