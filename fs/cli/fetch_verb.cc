// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "fs/cli/daemon_call.h"
#include "fs/cli/paths_by_mount.h"
#include "fs/cli/progress_bar.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

void add_up(JobProgress& sum, const JobProgress& part) {
  sum.files_done += part.files_done;
  sum.files_total += part.files_total;
  sum.bytes_done += part.bytes_done;
  sum.bytes_total += part.bytes_total;
  sum.files_failed += part.files_failed;
}

// False when the daemon could not go through with it.
bool fetch_batch(ControlVerb verb, const FoundMount& mount, const std::vector<std::string>& paths,
                 ProgressBar& bar, JobProgress& sum) {
  Result<ControlClient> client = ControlClient::connect(mount, kConnectLimitMs);
  Result<ControlAnswer> answer =
      client ? client->call({.verb = verb, .paths = paths}, kAnswerLimitMs,
                            [&](const ControlAnswer& said) {
                              if (said.kind == ControlAnswer::Kind::kProgress) return bar.show(said.progress);
                              bar.clear();
                              complain(mount.mountpoint + (said.path.empty() ? "" : "/" + said.path) + ": " +
                                       said.reason);
                            })
             : Result<ControlAnswer>(client.error());
  if (!answer || answer->kind != ControlAnswer::Kind::kDone) {
    bar.clear();
    complain(answer ? answer->reason : answer.error().message());
    return false;
  }
  bar.finish(answer->progress);
  add_up(sum, answer->progress);
  return true;
}

}  // namespace

int run_fetch(const FetchCommand& command) {
  const PathsByMount work = paths_by_mount(command.paths);
  const ControlVerb verb = command.pin ? ControlVerb::kPin : ControlVerb::kFetch;
  bool failed = work.failed;
  ProgressBar bar(command.quiet ? ProgressBar::Style::kSilent : ProgressBar::style_for(STDERR_FILENO));
  JobProgress sum;
  for (const PathBatch& batch : work.batches) {
    failed = !fetch_batch(verb, batch.mount, batch.paths, bar, sum) || failed;
  }
  if (!command.quiet && !work.batches.empty()) {
    std::printf("%llu %s, %s here%s\n", static_cast<unsigned long long>(sum.files_done),
                sum.files_done == 1 ? "file" : "files", human_bytes(sum.bytes_done).c_str(),
                sum.files_failed == 0 ? "" : (", " + std::to_string(sum.files_failed) + " failed").c_str());
  }
  return failed || sum.files_failed > 0 ? kExitFailed : kExitDone;
}

}  // namespace rsyncfs
