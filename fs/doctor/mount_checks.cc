// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/mount_checks.h"

#include "fs/control/text_lines.h"
#include "fs/doctor/machine_checks.h"
#include "fs/doctor/source_checks.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

using Severity::kNote;
using Severity::kOk;
using Severity::kProblem;
using Severity::kWarning;

void add_link(Findings& out, const MountStatus& status) {
  const SyncerStatus& syncer = status.syncer;
  if (syncer.link == LinkState::kUp) {
    out.push_back({kOk, "link", syncer.link_text, ""});
    return;
  }
  if (syncer.link == LinkState::kConnecting) {
    out.push_back({kNote, "link", "the connection is being made", ""});
    return;
  }
  std::string cure = cure_of(syncer.link_text + " " + syncer.last_error);
  if (cure.empty()) cure = "rsyncfs doctor " + status.source + " asks the source itself";
  out.push_back({kProblem, "link", "the source cannot be reached; what is here is shown: " + syncer.link_text,
                 std::move(cure)});
}

void add_unsent(Findings& out, const MountStatus& status, int64_t now_s) {
  const PushStatus& push = status.syncer.push;
  const uint64_t changes = pending_changes(push);
  if (!push.stopped.empty())
    out.push_back({kProblem, "sending", "it is stopped: " + push.stopped,
                   "if that was meant: rsyncfs resume " + status.mountpoint});
  for (const std::string& failing : push.failing) {
    std::string cure = cure_of(failing);
    if (cure.empty()) cure = "let the source take it; rsyncfs info PATH tells more";
    out.push_back({kProblem, "sending", "the source does not take " + failing, std::move(cure)});
  }
  if (!status.read_only_reason.empty() && changes > 0) {
    out.push_back({kProblem, "sending",
                   changes_text(changes, push.pending_bytes) + " cannot be sent: " + status.read_only_reason,
                   "set \"read only = false\" for the module at the source"});
  } else if (!status.read_only_reason.empty()) {
    out.push_back({kNote, "writing", "the source takes no changes: " + status.read_only_reason, ""});
  }
  if (changes == 0) {
    out.push_back({kOk, "sending", "all changes are on the source", ""});
    return;
  }
  const int64_t age_s = push.oldest_s == 0 ? 0 : now_s - push.oldest_s;
  const bool stuck = age_s > kDoctorStuckS;
  const std::string what = changes_text(changes, push.pending_bytes) +
                           " not on the source yet, the oldest for " + duration_text(age_s);
  out.push_back({stuck ? kWarning : kNote, "sending", what,
                 !stuck ? ""
                 : status.syncer.link == LinkState::kUp
                     ? "rsyncfs flush " + status.mountpoint + " says what is in the way"
                     : "they are sent when the source is back"});
}

void add_cache(Findings& out, const MountStatus& status) {
  const CacheStatus& cache = status.syncer.cache;
  if (cache.free_bytes == 0 && cache.min_free_bytes == 0) return;  // not looked at yet
  if (cache.free_bytes < kDoctorLeastBytes) {
    out.push_back(
        {kProblem, "disk",
         "the store's disk is full: " + human_bytes(cache.free_bytes) + " free for " + status.state_directory,
         "make room there; what is written to the mount fails until then"});
  } else if (cache.free_bytes < cache.min_free_bytes) {
    out.push_back({kWarning, "disk",
                   human_bytes(cache.free_bytes) + " free for " + status.state_directory +
                       ", less than min_free= wants (" + human_bytes(cache.min_free_bytes) +
                       "): nothing new is kept",
                   "make room there, or rsyncfs free PATH"});
  } else {
    out.push_back({kOk, "disk", human_bytes(cache.free_bytes) + " free for " + status.state_directory, ""});
  }
}

}  // namespace

Findings check_mount(const MountStatus& status, int64_t now_s) {
  Findings out;
  out.push_back({kOk, "mount",
                 status.source + " on " + status.mountpoint + ", daemon " + status.version + ", pid " +
                     number(status.pid),
                 ""});
  add_link(out, status);
  add_unsent(out, status, now_s);
  const uint64_t conflicts = status.syncer.push.conflicts;
  if (conflicts > 0)
    out.push_back({kWarning, "conflicts", counted(conflicts, "name") + " changed on both sides",
                   "rsyncfs conflicts " + status.mountpoint + " lists them; --clear when they are settled"});
  add_cache(out, status);
  for (const std::string& failing : status.syncer.failing_paths)
    out.push_back(
        {kWarning, "reading", "the source could not give " + failing, "let the user of the server read it"});
  const uint64_t timed_out = status.syncer.requests_timed_out;
  if (timed_out > 0)
    out.push_back({kNote, "timeouts", counted(timed_out, "request") + " given up since it was mounted", ""});
  return out;
}

}  // namespace rsyncfs
