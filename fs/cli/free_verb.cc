// SPDX-License-Identifier: GPL-3.0-or-later
// `rsyncfs free` and `rsyncfs unpin`.
#include <cstdio>
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/paths_by_mount.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/json_fields.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

// The document of one request; what cannot be done is told. `failed` is set when there was such a thing.
Json ask(ControlVerb verb, const PathBatch& batch, bool& failed) {
  const auto tell = [&](const ControlAnswer& said) {
    if (said.kind != ControlAnswer::Kind::kFailedPath) return;
    failed = true;
    complain(batch.mount.mountpoint + (said.path.empty() ? "" : "/" + said.path) + ": " + said.reason);
  };
  Result<ControlClient> client = ControlClient::connect(batch.mount, kConnectLimitMs);
  const Result<ControlAnswer> answer =
      client ? client->call({.verb = verb, .paths = batch.paths}, kSourceAnswerLimitMs, tell)
             : Result<ControlAnswer>(client.error());
  if (answer && answer->kind == ControlAnswer::Kind::kDone) {
    if (const Result<Json> document = parse_json_object(answer->document)) return *document;
    return Json::object();
  }
  failed = true;
  complain(answer ? answer->reason : answer.error().message());
  return Json::object();
}

std::string files(uint64_t count) {
  return std::to_string(count) + (count == 1 ? " file" : " files");
}

void add_kept(std::string& out, uint64_t count, const char* why) {
  if (count > 0) out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + why;
}

}  // namespace

int run_free(const FreeCommand& command) {
  const PathsByMount work = paths_by_mount(command.paths);
  bool failed = work.failed;
  uint64_t freed_files = 0;
  uint64_t freed_bytes = 0;
  uint64_t dirty = 0;
  uint64_t pinned = 0;
  uint64_t in_use = 0;
  for (const PathBatch& batch : work.batches) {
    const Json document = ask(ControlVerb::kFree, batch, failed);
    freed_files += number_field(document, "freed_files");
    freed_bytes += number_field(document, "freed_bytes");
    dirty += number_field(document, "kept_dirty");
    pinned += number_field(document, "kept_pinned");
    in_use += number_field(document, "kept_in_use");
  }
  std::string kept;
  add_kept(kept, dirty, "not on the source yet");
  add_kept(kept, pinned, "pinned");
  add_kept(kept, in_use, "in use");
  if (!work.batches.empty()) {
    std::printf("%s freed, %s%s\n", human_bytes(freed_bytes).c_str(), files(freed_files).c_str(),
                kept.empty() ? "" : ("; kept: " + kept).c_str());
  }
  return failed ? kExitFailed : kExitDone;
}

int run_unpin(const UnpinCommand& command) {
  const PathsByMount work = paths_by_mount(command.paths);
  bool failed = work.failed;
  uint64_t pins = 0;
  for (const PathBatch& batch : work.batches)
    pins += number_field(ask(ControlVerb::kUnpin, batch, failed), "pins");
  if (!work.batches.empty())
    std::printf("%llu %s taken away\n", static_cast<unsigned long long>(pins), pins == 1 ? "pin" : "pins");
  return failed ? kExitFailed : kExitDone;
}

}  // namespace rsyncfs
