// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_facts.h"

#include <sys/stat.h>

#include <iomanip>
#include <sstream>
#include <utility>

namespace rsyncfs {

namespace {

Result<std::optional<ExpectedEntry>> expected(const Replica& replica, NodeId node) {
  if (node == 0) return std::optional<ExpectedEntry>();
  const auto base = replica.pending().base_of(node);
  if (!base) return base.error();
  if (!base->present) return std::optional<ExpectedEntry>();
  ExpectedEntry out{base->attr, {}};
  if (S_ISLNK(base->attr.mode)) {
    auto target = replica.link_target(node);
    if (!target) return target.error();
    out.link_target = std::move(*target);
  }
  return std::optional<ExpectedEntry>(std::move(out));
}

Result<void> fill(const Replica& replica, PushAction action, StepFacts& facts) {
  auto local = replica.node(facts.step.node);
  if (!local) return local.error();
  facts.local = *local;
  auto base = replica.pending().base_of(facts.step.node);
  if (!base) return base.error();
  facts.base = *base;
  auto at_source = expected(replica, facts.step.node);
  if (!at_source) return at_source.error();
  facts.at_source = std::move(*at_source);
  auto occupant = expected(replica, facts.step.occupant);
  if (!occupant) return occupant.error();
  facts.occupant = std::move(*occupant);
  const bool by_entry = action == PushAction::kCreate || action == PushAction::kAttributes;
  if (!by_entry) return {};
  if (S_ISDIR(facts.local.attr.mode)) {
    const auto first = replica.list_after(facts.step.node, "", 1);
    facts.has_children = first && !first->empty();
  }
  auto entry = make_push_entry(replica, facts.local, facts.step.path);
  if (!entry) return entry.error();
  facts.entry = std::move(*entry);
  return {};
}

}  // namespace

bool ExpectedEntry::same_type(const KeptListedName& entry) const {
  return (attr.mode & S_IFMT) == (entry.attr.mode & S_IFMT);
}

bool ExpectedEntry::matches(const KeptListedName& entry) const {
  if (!same_type(entry)) return false;
  if (S_ISREG(attr.mode)) {
    // Old protocols carry no nanoseconds.
    const bool same_ns =
        entry.attr.mtime_ns == attr.mtime_ns || entry.attr.mtime_ns == 0 || attr.mtime_ns == 0;
    return attr.size == entry.attr.size && attr.mtime_s == entry.attr.mtime_s && same_ns;
  }
  if (S_ISLNK(attr.mode)) {
    // Nobody kept the target of one that was removed before the source was known to have it.
    return link_target.empty() ? attr.mtime_s == entry.attr.mtime_s : link_target == entry.link_target;
  }
  if (S_ISCHR(attr.mode) || S_ISBLK(attr.mode))
    return attr.rdev_major == entry.attr.rdev_major && attr.rdev_minor == entry.attr.rdev_minor;
  return true;
}

Result<std::vector<StepFacts>> gather_facts(const Replica& replica, const PushBatch& batch) {
  std::vector<StepFacts> out;
  out.reserve(batch.steps.size());
  for (const PushStep& step : batch.steps) {
    StepFacts facts;
    facts.step = step;
    const auto filled = fill(replica, batch.action, facts);
    if (!filled && filled.error().code() == Errc::kNotFound) continue;
    if (!filled) return filled.error();
    out.push_back(std::move(facts));
  }
  return out;
}

RemoteFinding seen_unchanged(const BaseNode& base) {
  RemoteFinding out;
  out.entry.emplace().attr = base.attr;
  return out;
}

std::string log_text(const NodeAttributes* attr) {
  if (attr == nullptr) return "nothing";
  std::ostringstream out;
  out << std::oct << attr->mode << std::dec << ' ' << attr->size << " bytes of " << attr->mtime_s << '.'
      << std::setw(9) << std::setfill('0') << attr->mtime_ns;
  return out.str();
}

std::string log_text(const PendingChanges& pending, NodeId node) {
  const auto base = pending.base_of(node);
  return std::to_string(node) + ": " + log_text(base && base->present ? &base->attr : nullptr);
}

BaseNode pushed_base(const Node& node, const NodeAttributes& attr, bool exact_times) {
  BaseNode out;
  out.node = node.id;
  out.present = true;
  out.attr = attr;
  if (!exact_times) out.attr.mtime_ns = 0;
  out.whole_seconds = !exact_times;
  out.xattr_set = node.xattr_set;
  return out;
}

}  // namespace rsyncfs
