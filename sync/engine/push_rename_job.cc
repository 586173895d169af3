// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_rename_job.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {

namespace {
// What others put into the old directory meanwhile is moved, too; whoever goes on doing so is not waited for.
constexpr unsigned kMaxRounds = 4;
}  // namespace

PushRenameJob::PushRenameJob(const Surroundings& around, PushBatch batch, bool again, Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)), again_(again) {}

void PushRenameJob::start() {
  gather([this] {
    if (facts().empty()) return finish();
    look_first();
  });
}

void PushRenameJob::look_first() {
  const auto as_expected = [](const Findings& found) {
    const bool known = !found[0].unknown && !found[1].unknown;
    return known && !found[0].entry && found[1].entry && S_ISDIR(found[1].entry->attr.mode);
  };
  look_before({step().path, step().from_path}, as_expected, {{making()}, {moving()}, {removing()}},
              [this](const Findings& found) { judge(found); });
}

PushConfig PushRenameJob::making() {
  PushConfig config;
  config.kind = PushKind::kCreate;
  return config;
}

PushConfig PushRenameJob::moving() const {
  PushConfig config;
  config.kind = PushKind::kMove;
  config.force = true;
  config.root = step().from_path;
  config.backup_dir = relative_path(step().from_path, step().path);
  return config;
}

PushConfig PushRenameJob::removing() {
  PushConfig config;
  config.kind = PushKind::kDelete;
  return config;
}

void PushRenameJob::judge(const Findings& found) {
  const RemoteFinding& at = found[0];
  const RemoteFinding& from = found[1];
  if (at.unknown || from.unknown) {
    fail(step(), at.unknown ? *at.unknown : *from.unknown);
    return finish();
  }
  const bool from_is_there = from.entry && S_ISDIR(from.entry->attr.mode);
  to_is_there_ = at.entry && S_ISDIR(at.entry->attr.mode);
  // Without a record of an earlier run it may still be one whose record was lost with its acknowledgement.
  is_moved_ = !from.entry && to_is_there_;
  if (is_moved_) return make_directory();
  if (!from_is_there) {
    outcome().collisions.push_back({step().from_parent, step().from_name, step().from_path, from.entry});
    return finish();
  }
  if (at.entry && !(to_is_there_ && again_)) {
    collide(step(), at);
    return finish();
  }
  // Where the server turns out to move nothing, nothing is begun.
  try_moving(step().from_path, [this] { make_directory(); });
}

// Also where it is there: an earlier run may have made it without its attributes.
void PushRenameJob::make_directory() {
  outcome().unfinished = true;
  struct Made {
    PushEntry entry;
    uint64_t xattr_set = 0;
  };
  on_store<Made>(
      [&replica = context().replica, facts = facts().front()]() -> Result<Made> {
        Node node = facts.local;
        node.attr = facts.base.attr;
        auto entry = make_push_entry(replica, node, facts.step.path);
        if (!entry) return entry.error();
        return Made{std::move(*entry), node.xattr_set};
      },
      [this](Result<Made> made) {
        if (!made) return break_off(made.error());
        xattr_set_ = made->xattr_set;
        // Other modes are given at the end: a server that is not root needs them otherwise until then.
        const bool will_do = !is_moved_ && (made->entry.mode & S_IWUSR) != 0;
        PushConfig config = making();
        config.entries.push_back(std::move(made->entry));
        push(
            std::move(config), [this](const PushRunResult& result) { this->made(result); }, will_do);
        if (is_moved_) return;
        around().sessions.prepare(moving());
        around().sessions.prepare(removing());
      });
}

void PushRenameJob::made(const PushRunResult& result) {
  if (!result.end) return break_off(result.end.error());
  if (const auto why = result.errors.about(step().path)) {
    fail(step(), *why);
    outcome().unfinished = false;
    return finish();
  }
  is_moved_ ? record() : read_children();
}

// First what we know of; then, if that was not all, what the source says.
void PushRenameJob::read_children() {
  if (rounds_++ == 0) {
    on_store<std::vector<std::string>>(
        [&replica = context().replica, node = step().node]() -> Result<std::vector<std::string>> {
          const auto children = replica.pending().base_children(node, kMaxRemoteNames);
          if (!children) return children.error();
          std::vector<std::string> out;
          for (const Binding& child : *children) out.push_back(child.name);
          return out;
        },
        [this](Result<std::vector<std::string>> names) {
          names ? move_children(std::move(*names)) : break_off(names.error());
        });
    return;
  }
  names_ = std::make_unique<RemoteNames>(context(), pool(), step().from_path,
                                         [this](const Result<std::vector<KeptListedName>>& names) {
                                           if (!names) return break_off(names.error());
                                           std::vector<std::string> out;
                                           for (const KeptListedName& name : *names) out.push_back(name.name);
                                           move_children(std::move(out));
                                         });
}

void PushRenameJob::move_children(std::vector<std::string> names) {
  if (names.empty()) return remove_old();
  PushConfig config = moving();
  for (std::string& name : names) config.entries.emplace_back().path = std::move(name);
  push(std::move(config), [this](const PushRunResult& result) {
    if (!result.end) return break_off(result.end.error());
    remove_old();
  });
  around().sessions.prepare(removing());
}

void PushRenameJob::remove_old() {
  PushConfig config = removing();
  config.entries.emplace_back().path = step().from_path;
  push(std::move(config), [this](const PushRunResult& result) { removed(result); });
}

void PushRenameJob::removed(const PushRunResult& result) {
  if (!result.end) return break_off(result.end.error());
  if (result.deleted.contains(step().from_path)) return record();
  if (rounds_ < kMaxRounds) return read_children();
  const auto why = result.errors.about(step().from_path);
  fail(step(), why ? *why : result.errors.last("the old directory cannot be removed"), true);
  outcome().unfinished = false;
  finish();
}

void PushRenameJob::record() {
  Acknowledged news;
  news.names.push_back({step().from_parent, step().from_name, 0});
  news.names.push_back({step().parent, step().name, step().node});
  news.remade.push_back({news.names.back(), true, xattr_set_});
  acknowledge(std::move(news), [this] {
    ++outcome().done;
    outcome().pushed.push_back(step().node);
    outcome().unfinished = false;
    finish();
  });
}

}  // namespace rsyncfs
