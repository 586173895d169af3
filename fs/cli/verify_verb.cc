// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <cstdio>
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/paths_by_mount.h"
#include "fs/cli/progress_bar.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/cli/verify_summary.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

std::string full_path(const FoundMount& mount, const std::string& inner) {
  return mount.mountpoint + (inner.empty() ? "" : "/" + inner);
}

// False when the daemon could not go through with it.
bool verify_batch(const VerifyCommand& command, const PathBatch& batch, ProgressBar& bar, VerifyTotals& sum) {
  const auto tell = [&](const ControlAnswer& said) {
    if (said.kind == ControlAnswer::Kind::kProgress) return bar.show(said.progress);
    bar.clear();
    const std::string line = full_path(batch.mount, said.path) + ": " + said.reason;
    if (said.kind != ControlAnswer::Kind::kFinding) return complain(line);
    std::printf("%s\n", escape_control(line).c_str());
    std::fflush(stdout);
  };
  ControlRequest request{.verb = ControlVerb::kVerify, .paths = batch.paths};
  request.remote = command.remote;
  Result<ControlClient> client = ControlClient::connect(batch.mount, kConnectLimitMs);
  const Result<ControlAnswer> answer =
      client ? client->call(request, kSourceAnswerLimitMs, tell) : Result<ControlAnswer>(client.error());
  bar.clear();
  if (!answer || answer->kind != ControlAnswer::Kind::kDone) {
    complain(answer ? answer->reason : answer.error().message());
    return false;
  }
  const Result<VerifyTotals> totals = parse_verify_totals(answer->document);
  if (!totals) {
    complain(totals.error().message());
    return false;
  }
  add_up(sum, *totals);
  return true;
}

}  // namespace

int run_verify(const VerifyCommand& command) {
  const PathsByMount work = paths_by_mount(command.paths);
  bool failed = work.failed;
  bool answered = false;
  ProgressBar bar(command.quiet ? ProgressBar::Style::kSilent : ProgressBar::style_for(STDERR_FILENO));
  VerifyTotals sum;
  for (const PathBatch& batch : work.batches) {
    const bool done = verify_batch(command, batch, bar, sum);
    answered = answered || done;
    failed = failed || !done;
  }
  if (answered) std::printf("%s\n", verify_summary(sum).c_str());
  return failed || !sum.all_well() ? kExitFailed : kExitDone;
}

}  // namespace rsyncfs
