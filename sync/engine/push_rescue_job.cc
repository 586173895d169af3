// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_rescue_job.h"

#include <sys/stat.h>

#include <set>
#include <utility>

#include "io/base/log.h"
#include "io/base/text.h"
#include "sync/engine/push_conflicts.h"
#include "sync/replica/conflict_name.h"

namespace rsyncfs {

namespace {

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

Result<std::vector<std::string>> choose_names(const PendingChanges& pending,
                                              const std::vector<ReplacedVersion>& versions) {
  std::set<std::pair<NodeId, std::string>> chosen;
  std::vector<std::string> out;
  for (const ReplacedVersion& version : versions) {
    const auto taken = [&](std::string_view name) {
      const auto local = pending.local_binding(version.parent, name);
      const auto base = pending.base_binding(version.parent, name);
      return !local || !base || *local != 0 || *base != 0 ||
             chosen.contains({version.parent, std::string(name)});
    };
    std::string name = free_conflict_name(version.name, host_name(), FileTime::now(), taken);
    if (name.empty()) return Error(Errc::kLimit, "there are too many conflict copies");
    chosen.emplace(version.parent, name);
    out.push_back(std::move(name));
  }
  return out;
}

}  // namespace

PushRescueJob::PushRescueJob(const Surroundings& around, PushBatch batch,
                             std::vector<ReplacedVersion> versions, Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)), versions_(std::move(versions)) {}

// Theirs is wanted where it would have kept the name, and where it would have been kept beside.
void PushRescueJob::start() {
  std::erase_if(versions_, [this](const ReplacedVersion& version) {
    if (conflict_policy(context().options, version.path) == ConflictPolicy::kLocal) return true;
    if (S_ISREG(version.entry.attr.mode) || S_ISLNK(version.entry.attr.mode)) return false;
    give_up(version, Error(Errc::kUnsupported, "only files and symbolic links can be"));
    return true;
  });
  if (versions_.empty()) return finish();
  on_store<std::vector<std::string>>(
      [&replica = context().replica, versions = versions_] {
        return choose_names(replica.pending(), versions);
      },
      [this](Result<std::vector<std::string>> names) {
        if (!names) return break_off(names.error());
        copies_ = std::move(*names);
        make_symlinks();
      });
}

std::string PushRescueJob::copy_path(size_t version) const {
  const std::string directory = directory_of(versions_[version].path);
  return directory.empty() ? copies_[version] : directory + "/" + copies_[version];
}

// It stays where it is, and is tried again.
void PushRescueJob::give_up(const ReplacedVersion& version, const Error& why) {
  const std::string where =
      "somebody's version of it was replaced, and is in " + escape_control(kept_path(batch(), version.path));
  outcome().failures.push_back({batch().steps.front().node, version.path, why.with_context(where), false});
}

// All that there is of them is what they say.
void PushRescueJob::make_symlinks() {
  PushConfig config;
  config.kind = PushKind::kCreate;
  config.only_missing = true;
  std::vector<size_t> made;
  for (size_t i = 0; i < versions_.size(); ++i) {
    const KeptListedName& theirs = versions_[i].entry;
    if (!S_ISLNK(theirs.attr.mode)) continue;
    PushEntry& entry = config.entries.emplace_back(link_entry(theirs.attr, copy_path(i), 0));
    entry.size = 0;
    entry.link_target = theirs.link_target;
    made.push_back(i);
  }
  if (made.empty()) return link();
  push(std::move(config), [this, made = std::move(made)](const PushRunResult& result) {
    for (size_t entry = 0; entry < made.size(); ++entry) note_copy(made[entry], result, entry);
    is_cut(result) ? record(result.end) : link();
  });
}

void PushRescueJob::link() {
  PushConfig config;
  config.kind = PushKind::kLink;
  std::vector<size_t> linked;
  for (size_t i = 0; i < versions_.size(); ++i) {
    const NodeAttributes& attr = versions_[i].entry.attr;
    if (!S_ISREG(attr.mode)) continue;
    linked.push_back(i);
    const auto group = static_cast<uint32_t>(linked.size());
    config.entries.push_back(link_entry(attr, kept_path(batch(), versions_[i].path), group));
    config.entries.push_back(link_entry(attr, copy_path(i), group));
  }
  if (linked.empty()) return record({});
  push(std::move(config), [this, linked = std::move(linked)](const PushRunResult& result) {
    for (size_t i = 0; i < linked.size(); ++i) note_copy(linked[i], result, 2 * i + 1);
    record(result.end);
  });
}

bool PushRescueJob::is_cut(const PushRunResult& result) {
  return !result.end && is_link_error(result.end.error());
}

void PushRescueJob::note_copy(size_t which, const PushRunResult& result, size_t entry) {
  const ReplacedVersion& version = versions_[which];
  if ((result.succeeded[entry] || result.mentioned[entry]) && !result.declined[entry]) {
    outcome().to_list.push_back({version.parent, directory_of(version.path)});
    records_.push_back({0, FileTime::now().s, version.path, copy_path(which),
                        "changed at the source while ours was sent: ours keeps the name"});
    log_warn("conflict: " + escape_control(version.path) + " was " + records_.back().what + ", theirs is " +
             escape_control(copy_path(which)));
  } else if (!is_cut(result)) {
    const auto why = result.errors.about(copy_path(which));
    give_up(version, why          ? *why
                     : result.end ? result.errors.last("the source did not link it")
                                  : result.end.error());
  }
}

void PushRescueJob::record(Result<void> end) {
  on_store<void>(
      [&replica = context().replica, records = std::move(records_)]() -> Result<void> {
        for (const ConflictRecord& record : records) {
          if (auto kept = replica.pending().record_conflict(record); !kept) return kept;
        }
        return {};
      },
      [this, end = std::move(end)](const Result<void>& kept) {
        if (!kept) return break_off(kept.error());
        if (!end && is_link_error(end.error())) return break_off(end.error());
        finish();
      });
}

}  // namespace rsyncfs
