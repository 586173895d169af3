// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <cstdio>
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/progress_bar.h"
#include "fs/cli/unsent_list.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"

namespace rsyncfs {
namespace {

// Between two answers. The way to a path may have to be listed first.
int answer_limit_ms(const FlushCommand& command, const FoundMount& mount) {
  if (mount.inner.empty()) return kAnswerLimitMs;
  return command.timeout_s ? *command.timeout_s * 1000 + kAnswerLimitMs : kSourceAnswerLimitMs;
}

ControlRequest request_of(const FlushCommand& command, const FoundMount& mount) {
  ControlRequest request{.verb = ControlVerb::kFlush, .paths = {mount.inner}};
  if (command.timeout_s) request.limit_s = static_cast<uint64_t>(*command.timeout_s);
  return request;
}

}  // namespace

int run_flush(const FlushCommand& command) {
  const Result<FoundMount> mount = find_mount(command.path, UserPlaces::of_this_process());
  if (!mount) {
    complain(mount.error().message());
    return kExitFailed;
  }
  Result<ControlClient> client = ControlClient::connect(*mount, kConnectLimitMs);
  ProgressBar bar(command.quiet ? ProgressBar::Style::kSilent : ProgressBar::style_for(STDERR_FILENO),
                  "changes");
  UnsentList left;
  const Result<ControlAnswer> answer =
      client ? client->call(request_of(command, *mount), answer_limit_ms(command, *mount),
                            [&](const ControlAnswer& said) {
                              if (said.kind == ControlAnswer::Kind::kProgress) return bar.show(said.progress);
                              left.add(said);
                            })
             : Result<ControlAnswer>(client.error());
  bar.clear();
  if (!answer) {
    complain(answer.error().message());
    return kExitFailed;
  }
  if (answer->kind == ControlAnswer::Kind::kFailed) {
    left.tell(answer->failure == ControlFailure::kNotFound ? command.path + ": " + answer->reason
                                                           : answer->reason);
    return kExitFailed;
  }
  if (!command.quiet) std::puts("all changes are on the source");
  return kExitDone;
}

}  // namespace rsyncfs
