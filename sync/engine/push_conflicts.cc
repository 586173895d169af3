// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_conflicts.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include <utility>

#include "io/base/log.h"
#include "io/base/text.h"
#include "sync/replica/conflict_name.h"

namespace rsyncfs {

namespace {

constexpr int kMaxDepth = 4'096;  // more than any path has

class Decider {
 public:
  Decider(Replica& replica, const SyncerOptions& options, const SentVersions& sent,
          const StepCollision& collision)
      : replica_(replica), pending_(replica.pending()), options_(options), sent_(sent), at_(collision) {}

  Result<ConflictDecision> run() {
    const auto base = pending_.base_binding(at_.parent, at_.name);
    if (!base) return base.error();
    const auto local = pending_.local_binding(at_.parent, at_.name);
    if (!local) return local.error();
    log_debug("not as expected: " + shown() + ": there " +
              log_text(at_.theirs ? &at_.theirs->attr : nullptr) + ", base " + log_text(pending_, *base) +
              (*local == *base ? "" : ", here " + log_text(pending_, *local)));
    if (*local == 0) return without_local(*base);
    const auto differs = pending_.node(*local);
    if (!differs) return differs.error();
    if (*differs) {
      log_debug("users see " + log_text(&(*differs)->local.attr) + ", differs in " +
                std::to_string((*differs)->differences));
    }
    if (*base == *local && !differs->has_value()) return nothing();
    if (*base == *local && at_.theirs && only_attributes(**differs)) return nothing();
    if (at_.theirs && is_ours(*local, *differs)) return adopt_sent(*local);
    if (!at_.theirs) return *base == 0 ? nothing() : ours_stays();
    if (*base != *local && !at_.other_bytes) {
      auto known = as_known(*base);
      if (!known) return known.error();
      if (*known) return std::move(**known);
    }
    const bool ours_is_new = *differs && ((*differs)->differences & kAbsentAtSource) != 0;
    if (ours_is_new && S_ISDIR((*differs)->local.attr.mode) && S_ISDIR(at_.theirs->attr.mode))
      return adopt(*local);
    return by_policy();
  }

 private:
  static Result<ConflictDecision> nothing() {
    ConflictDecision out;
    out.nothing = true;
    return out;
  }

  // A version that was sent, or the one that is here.
  bool is_ours(NodeId local, const std::optional<PendingNode>& differs) const {
    if (sent_.may_be(local, at_.theirs->attr)) return true;
    return differs && S_ISREG(at_.theirs->attr.mode) &&
           ExpectedEntry{differs->local.attr, {}}.matches(*at_.theirs) && at_.theirs->attr.mtime_ns != 0 &&
           !at_.other_bytes;
  }

  // Ours can be set on whatever they have made of it, which the next list brings.
  bool only_attributes(const PendingNode& ours) const {
    const bool same_type = (ours.local.attr.mode & S_IFMT) == (at_.theirs->attr.mode & S_IFMT);
    return same_type && (ours.differences & (kBytesDiffer | kAbsentAtSource)) == 0;
  }

  // What comes back in a directory that was removed here needs the directory.
  Result<void> return_directory(NodeId directory, int depth, std::vector<NameChange>& changes) {
    const auto node = replica_.node(directory);
    if (!node) return node.error();
    if (!node->orphan) return {};
    if (depth == kMaxDepth) return Error(Errc::kCorrupt, "the source's directories form a circle");
    auto place = pending_.remote_place(directory);
    if (!place) return place.error();
    if (auto done = return_directory(place->parent, depth + 1, changes); !done) return done;
    ListedName listed;
    listed.name = place->name;
    listed.attr = place->base.attr;
    listed.xattrs_known = false;
    auto returned = pending_.take_theirs(place->parent, place->name, &listed);
    if (!returned) return returned.error();
    changes.insert(changes.end(), returned->begin(), returned->end());
    return {};
  }

  // What the source has is base's version, or one that we sent, which base says from now on. nullopt:
  // neither.
  Result<std::optional<ConflictDecision>> as_known(NodeId base) {
    if (base == 0) return std::optional<ConflictDecision>();
    const auto known = pending_.base_of(base);
    if (!known) return known.error();
    ExpectedEntry expected{known->attr, {}};
    if (S_ISLNK(known->attr.mode)) {
      auto target = replica_.link_target(base);
      if (!target) return target.error();
      expected.link_target = std::move(*target);
    }
    const bool as_base = known->present && expected.matches(*at_.theirs);
    if (!as_base && !sent_.may_be(base, at_.theirs->attr)) return std::optional<ConflictDecision>();
    auto decided = as_base ? nothing() : adopt_sent(base);
    if (!decided) return decided.error();
    return std::optional<ConflictDecision>(std::move(*decided));
  }

  // We removed it (or never had it): what they have made of it comes back.
  Result<ConflictDecision> without_local(NodeId base) {
    if (!at_.theirs) {  // both did
      if (base == 0) return nothing();
      if (auto done = pending_.acknowledge({{{at_.parent, at_.name, 0}}, {}}); !done) return done.error();
      return ConflictDecision{};
    }
    if (!at_.comes_back) {
      auto known = as_known(base);
      if (!known) return known.error();
      if (*known) return std::move(**known);
    }
    std::vector<NameChange> changes;
    if (auto done = return_directory(at_.parent, 0, changes); !done) return done.error();
    const ListedName theirs = view();
    auto taken = pending_.take_theirs(at_.parent, at_.name, &theirs);
    if (!taken) return taken.error();
    changes.insert(changes.end(), taken->begin(), taken->end());
    log_info("changed at the source while it was removed here, it stays: " + shown());
    return ConflictDecision{std::move(changes), false, false};
  }

  Result<ConflictDecision> ours_stays() {
    const ListedName theirs = view();
    auto changes = pending_.keep_ours(at_.parent, at_.name, at_.theirs ? &theirs : nullptr);
    if (!changes) return changes.error();
    return ConflictDecision{std::move(*changes), false, false};
  }

  // A push that broke off may have brought our version to one of the file's names only: the next one brings
  // it to all.
  Result<ConflictDecision> adopt_sent(NodeId local) {
    const auto names = pending_.base_names_of(local, 2);
    if (!names) return names.error();
    if (names->size() < 2) return adopt(local);
    Acknowledged news;
    news.strangers.push_back({{at_.parent, at_.name, 0}, *at_.theirs});
    if (auto done = pending_.acknowledge(news); !done) return done.error();
    return ConflictDecision{};
  }

  // What is there is an earlier version of ours; two directories of one name are one.
  Result<ConflictDecision> adopt(NodeId local) {
    Acknowledged news;
    news.names.push_back({at_.parent, at_.name, local});
    news.found.emplace_back(local, *at_.theirs);
    if (auto done = pending_.acknowledge(news); !done) return done.error();
    return ConflictDecision{};
  }

  Result<ConflictDecision> by_policy() {
    ConflictRecord record;
    record.at_s = FileTime::now().s;
    record.path = at_.path;
    const ListedName theirs = view();
    Result<std::vector<NameChange>> changes{std::vector<NameChange>{}};
    switch (conflict_policy(options_, at_.path)) {
      case ConflictPolicy::kLocal:
        changes = pending_.keep_ours(at_.parent, at_.name, &theirs);
        record.what = "changed here and at the source: ours replaces theirs";
        break;
      case ConflictPolicy::kRemote:
        changes = pending_.take_theirs(at_.parent, at_.name, &theirs);
        record.what = "changed here and at the source: ours was dropped";
        break;
      case ConflictPolicy::kCopy: {
        const std::string copy = copy_name();
        changes = pending_.keep_both(at_.parent, at_.name, &theirs, copy);
        record.what = "changed here and at the source: theirs keeps the name";
        const size_t slash = at_.path.rfind('/');
        record.copy_path = slash == std::string::npos ? copy : at_.path.substr(0, slash + 1) + copy;
        break;
      }
    }
    if (!changes) return changes.error();
    log_warn("conflict: " + shown() + " was " + record.what +
             (record.copy_path.empty() ? "" : ", ours is " + escape_control(record.copy_path)));
    if (auto kept = pending_.record_conflict(record); !kept) return kept.error();
    return ConflictDecision{std::move(*changes), true, false};
  }

  std::string copy_name() const {
    return free_conflict_name(at_.name, host_name(), FileTime::now(), [this](std::string_view name) {
      const auto local = pending_.local_binding(at_.parent, name);
      const auto base = pending_.base_binding(at_.parent, name);
      return !local || !base || *local != 0 || *base != 0;
    });
  }

  ListedName view() const { return at_.theirs ? at_.theirs->view() : ListedName(); }
  std::string shown() const { return escape_control(at_.path); }

  const Replica& replica_;
  PendingChanges& pending_;
  const SyncerOptions& options_;
  const SentVersions& sent_;
  const StepCollision& at_;
};

}  // namespace

ConflictPolicy conflict_policy(const SyncerOptions& options, const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  for (const ConflictRule& rule : options.conflict_rules) {
    const bool whole = rule.pattern.find('/') != std::string::npos;
    const std::string& subject = whole ? path : name;
    if (::fnmatch(rule.pattern.c_str(), subject.c_str(), whole ? FNM_PATHNAME : 0) == 0) return rule.policy;
  }
  return options.conflict;
}

Result<ConflictDecision> decide_conflict(Replica& replica, const SyncerOptions& options,
                                         const SentVersions& sent, const StepCollision& collision) {
  return Decider(replica, options, sent, collision).run();
}

}  // namespace rsyncfs
