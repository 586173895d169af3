// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fs/cli/daemon_call.h"
#include "fs/cli/progress_bar.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

// Room for what a request says beside its paths, and for bytes that are escaped in it.
constexpr size_t kMaxRequestPathBytes = kMaxControlLine / 8;

struct Work {
  FoundMount mount;
  std::vector<std::vector<std::string>> batches;  // what fits into one request each
  size_t bytes = 0;                               // of the last batch
};

void add_path(Work& work, std::string path) {
  const bool full = work.batches.empty() || work.batches.back().size() == kMaxControlPaths ||
                    work.bytes + path.size() > kMaxRequestPathBytes;
  if (full) {
    work.batches.emplace_back();
    work.bytes = 0;
  }
  work.bytes += path.size();
  work.batches.back().push_back(std::move(path));
}

void add_up(JobProgress& sum, const JobProgress& part) {
  sum.files_done += part.files_done;
  sum.files_total += part.files_total;
  sum.bytes_done += part.bytes_done;
  sum.bytes_total += part.bytes_total;
  sum.files_failed += part.files_failed;
}

// False when the daemon could not go through with it.
bool fetch_batch(const FoundMount& mount, const std::vector<std::string>& paths, ProgressBar& bar,
                 JobProgress& sum) {
  Result<ControlClient> client = ControlClient::connect(mount, kConnectLimitMs);
  Result<ControlAnswer> answer =
      client ? client->call({.verb = ControlVerb::kFetch, .paths = paths}, kAnswerLimitMs,
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
  const UserPlaces user = UserPlaces::of_this_process();
  std::map<std::string, Work> by_mountpoint;
  bool failed = false;
  for (const std::string& path : command.paths) {
    Result<FoundMount> mount = find_mount(path, user);
    if (!mount) {
      complain(mount.error().message());
      failed = true;
      continue;
    }
    std::string inner = std::exchange(mount->inner, {});
    Work& work = by_mountpoint[mount->mountpoint];
    work.mount = std::move(mount.value());
    add_path(work, std::move(inner));
  }
  ProgressBar bar(command.quiet ? ProgressBar::Style::kSilent : ProgressBar::style_for(STDERR_FILENO));
  JobProgress sum;
  for (const auto& [mountpoint, work] : by_mountpoint) {
    for (const std::vector<std::string>& paths : work.batches) {
      failed = !fetch_batch(work.mount, paths, bar, sum) || failed;
    }
  }
  if (!command.quiet && !by_mountpoint.empty()) {
    std::printf("%llu %s, %s here%s\n", static_cast<unsigned long long>(sum.files_done),
                sum.files_done == 1 ? "file" : "files", human_bytes(sum.bytes_done).c_str(),
                sum.files_failed == 0 ? "" : (", " + std::to_string(sum.files_failed) + " failed").c_str());
  }
  return failed || sum.files_failed > 0 ? kExitFailed : kExitDone;
}

}  // namespace rsyncfs
