// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that deals with files that the kernel reads by itself.
#include <algorithm>
#include <utility>

#include "fs/tree/tree.h"
#include "io/base/log.h"

namespace rsyncfs {
namespace {

// Then others have their turn.
constexpr uint64_t kCheckedAtOnceBytes = 8 << 20;

}  // namespace

std::shared_ptr<LentContent> Tree::lend(NodeId file, uint64_t most_bytes) {
  const auto content = replica_.content(file);
  if (!content || *content == nullptr || !(*content)->complete()) return nullptr;
  if ((*content)->size() <= kSlabMaxFileBytes || (*content)->size() > most_bytes) return nullptr;
  if (!(*content)->checked()) {
    check_later(file, *content);
    return nullptr;
  }
  auto lent = replica_.lend_content(file);
  if (!lent) log_warn("a file cannot be given to the kernel: " + lent.error().message());
  if (!lent || *lent == nullptr) return nullptr;
  replica_.cache().note_use(file);
  syncer_.note_read(file);
  return std::move(*lent);
}

void Tree::check_later(NodeId file, std::shared_ptr<const Content> content) {
  {
    const std::lock_guard lock(checked_mutex_);
    if (checked_.size() >= kMaxChecked || !checked_.insert(file).second) return;
  }
  lendings_.post([this, file, content = std::move(content)] { check_some(file, content, 0); });
}

void Tree::check_some(NodeId file, const std::shared_ptr<const Content>& content, uint64_t from) {
  const uint64_t end = std::min(content->size(), from + kCheckedAtOnceBytes);
  const bool sound = ending_ || content->view(from, end - from).has_value();
  if (sound && end < content->size() && !ending_) {
    return lendings_.post([this, file, content, end] { check_some(file, content, end); });
  }
  if (!sound) {
    if (const auto settled = replica_.settle_damage(file); !settled) log_error(settled.error().message());
  }
  const std::lock_guard lock(checked_mutex_);
  checked_.erase(file);
}

void Tree::prepare_lent(NodeId file, Done<void> done) {
  lendings_.post([this, file, done = std::move(done)]() mutable { done(replica_.prepare_lent(file)); });
}

void Tree::take_mapped(NodeId file, Done<void> done) {
  lendings_.post([this, file, done = std::move(done)]() mutable {
    const Result<bool> taken = replica_.take_mapped(file);
    if (taken && *taken) bytes_changed(file, true);
    done(taken ? Result<void>() : of_node(taken.error()));
  });
}

}  // namespace rsyncfs
