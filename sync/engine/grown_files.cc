// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/grown_files.h"

#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

namespace {

// Others are replaced: the source would read them through again for each line.
constexpr uint64_t kMaxProvenBytes = uint64_t{1} << 30;
// The version is shown after this in any case.
constexpr std::chrono::seconds kLongestProof{10};

// What came of one listed name.
struct Applied {
  bool done = false;
  NodeId node = 0;
  std::vector<NameChange> changes;
};

Applied apply_listed(Replica& replica, const HeldGrowth& growth, const KeptListedName& listed) {
  const auto bound = replica.pending().base_binding(growth.parent, listed.name);
  if (!bound || *bound != growth.node) return {};
  auto batch = replica.begin();
  if (!batch) return {};
  HardLinkGroups groups;
  std::vector<NodeId> nodes;
  auto changes = (*batch)->apply_directory(growth.parent, {listed.view()}, false, groups, nodes);
  // What needs a decision comes again with the directory's own list.
  if (!changes || !changes->collisions.empty() || !(*batch)->commit()) return {};
  return {true, nodes.front(), std::move(changes->changes)};
}

}  // namespace

GrownFiles::GrownFiles(const EngineContext& context, SessionPool& pool, Lister& lister,
                       const PushFences& fences)
    : context_(context), pool_(pool), lister_(lister), fences_(fences) {}

GrownFiles::~GrownFiles() {
  *alive_ = false;
}

bool GrownFiles::may_hold(NodeId node) const {
  return held_.load(std::memory_order_relaxed) < kMaxHeld && context_.events.is_in_use(node);
}

void GrownFiles::listed(std::vector<ListedGrowth> growths) {
  for (ListedGrowth& growth : growths) {
    const auto known = files_.find(growth.growth.node);
    if (closing_) return;
    if (known == files_.end()) {
      begin(std::move(growth));
    } else {
      known->second->next = std::move(growth);
    }
  }
  pump();
}

void GrownFiles::begin(ListedGrowth growth) {
  auto file = std::make_shared<File>();
  file->held = std::move(growth);
  file->since = Clock::now();
  const HeldGrowth& held = file->held.growth;
  files_[held.node] = file;
  held_ = files_.size();
  const FileVersion version{held.listed.attr.size, held.listed.attr.mtime_s, held.listed.attr.mtime_ns};
  auto basis = context_.replica.content(held.node);
  if (!basis || !*basis || !(*basis)->complete() || version.size > kMaxProvenBytes) {
    replace(file, version, [this, file] { over(file, std::nullopt); });
    return;
  }
  FileTarget target;
  target.node = held.node;
  target.parent = held.parent;
  target.name = held.listed.name;
  target.path = file->held.path;
  target.size = version.size;
  target.mtime_s = version.mtime_s;
  target.mtime_ns = version.mtime_ns;
  file->delta =
      std::make_shared<DeltaFetch>(context_, pool_, *this, std::move(target), std::move(*basis), true);
}

void GrownFiles::pump() {
  std::vector<FilePtr> all;
  for (const auto& [node, file] : files_) all.push_back(file);
  for (const FilePtr& file : all) {
    if (!file->delta) continue;
    file->delta->look_after_session();
    if (file->delta) file->delta->start();
  }
  std::erase_if(lingering_, [](const auto& delta) { return delta->idle(); });
}

void GrownFiles::tick(Clock::time_point now) {
  std::vector<FilePtr> late;
  for (const auto& [node, file] : files_) {
    if (file->delta && !file->applied && now - file->since > kLongestProof) late.push_back(file);
  }
  for (const FilePtr& file : late) {
    delta_refuted(*file->delta);
    if (file->delta->started()) continue;
    // No session is to be had; whoever reads it brings the version.
    file->delta.reset();
    over(file, std::nullopt);
  }
  pump();
}

GrownFiles::FilePtr GrownFiles::owner(const DeltaFetch& delta) const {
  const auto found = files_.find(delta.target().node);
  return found != files_.end() && found->second->delta.get() == &delta ? found->second : nullptr;
}

void GrownFiles::delta_refuted(DeltaFetch& delta) {
  const FilePtr file = owner(delta);
  if (!file || file->applied) return;
  replace(file, delta.target().version(), [] {});
}

void GrownFiles::delta_done(DeltaFetch& delta, Result<DeltaResult> result) {
  const FilePtr file = owner(delta);
  if (!file) return;
  if (!delta.idle()) lingering_.push_back(file->delta);
  const FileVersion version = delta.target().version();
  file->delta.reset();
  if (closing_) return;
  if (result && result->grown && !file->applied) {
    add_bytes(file, std::move(*result));
    return;
  }
  const auto made = std::make_shared<std::optional<DeltaResult>>();
  if (result && !result->grown) made->emplace(std::move(*result));
  auto keep = [this, file, made] {
    if (*made) {
      keep_bytes(file, std::move(**made));
    } else {
      over(file, std::nullopt);
    }
  };
  if (file->applied) {
    keep();
  } else {
    replace(file, version, std::move(keep));
  }
}

// First the bytes, then the kernel's pages, which end where the file ended, then its size.
void GrownFiles::add_bytes(const FilePtr& file, DeltaResult result) {
  const auto made = std::make_shared<DeltaResult>(std::move(result));
  context_.store.post([this, file, made] {
    Replica::FinishedContent grown;
    grown.node = file->held.growth.node;
    grown.size = made->version.size;
    grown.writer = std::move(made->writer);
    if (made->sent_size == made->version.size) {
      grown.digest = made->digest;
      grown.digest_name = made->digest_name;
    }
    auto done = context_.replica.grow_content(std::move(grown), file->held.growth.before);
    context_.loop.post([this, file, made, done = std::move(done)] {
      if (closing_) return;
      if (done && *done) {
        tell_end(file, made->version);
      } else {
        if (!done) log_warn("what was added to a file could not be stored: " + done.error().message());
        replace(file, made->version, [this, file] { over(file, std::nullopt); });
      }
    });
  });
}

void GrownFiles::tell_end(const FilePtr& file, const FileVersion& version) {
  auto told = [this, file, version, &loop = context_.loop, alive = alive_]() mutable {
    loop.post([this, file = std::move(file), version, alive = std::move(alive)] {
      if (!*alive || closing_) return;
      apply(file, version, true, [this, file, version] { over(file, version); });
    });
  };
  context_.events.on_growth(file->held.growth.node, std::move(told));
}

void GrownFiles::replace(const FilePtr& file, const FileVersion& version, UniqueFunction<void()> then) {
  file->applied = true;
  apply(file, version, false, std::move(then));
}

void GrownFiles::apply(const FilePtr& file, const FileVersion& version, bool grew,
                       UniqueFunction<void()> then) {
  context_.store.post([this, file, version, grew, then = std::move(then)]() mutable {
    const HeldGrowth& held = file->held.growth;
    KeptListedName listed = held.listed;
    listed.attr.size = version.size;
    listed.attr.mtime_s = version.mtime_s;
    listed.attr.mtime_ns = version.mtime_ns;
    Applied applied;
    context_.replica.settle_growth(held.node, version, grew);
    if (!fences_.stale(held.parent, file->held.list_began))
      applied = apply_listed(context_.replica, held, listed);
    context_.loop.post([this, file, applied = std::move(applied), then = std::move(then)]() mutable {
      if (closing_) return;
      file->successor = applied.node;
      if (applied.done) {
        context_.events.on_changes(std::move(applied.changes));
      } else {
        const std::string& path = file->held.path;
        const size_t slash = path.rfind('/');
        lister_.refresh(file->held.growth.parent, slash == std::string::npos ? "" : path.substr(0, slash));
        lister_.pump();
      }
      then();
    });
  });
}

// It is another file, and all of it came.
void GrownFiles::keep_bytes(const FilePtr& file, DeltaResult result) {
  const bool wanted = file->successor != 0 && file->successor != file->held.growth.node &&
                      result.sent_size == result.version.size;
  const auto made = std::make_shared<DeltaResult>(std::move(result));
  context_.store.post([this, file, made, wanted] {
    Result<void> done;
    if (wanted) {
      std::vector<Replica::FinishedContent> list(1);
      list[0].node = file->successor;
      list[0].writer = std::move(made->writer);
      list[0].size = made->version.size;
      list[0].digest = made->digest;
      list[0].digest_name = made->digest_name;
      list[0].version = made->version;
      done = context_.replica.finish_contents(std::move(list));
    }
    made->writer.reset();
    context_.loop.post([this, file, done] {
      if (!done) log_warn("a newer version could not be stored: " + done.error().message());
      if (!closing_) over(file, std::nullopt);
    });
  });
}

// `now`: the version that the node has become.
void GrownFiles::over(const FilePtr& file, const std::optional<FileVersion>& now) {
  const NodeId node = file->held.growth.node;
  const auto found = files_.find(node);
  if (found == files_.end() || found->second != file) return;
  files_.erase(found);
  held_ = files_.size();
  if (!file->next || closing_) return;
  ListedGrowth next = std::move(*file->next);
  const NodeAttributes& attr = next.growth.listed.attr;
  const FileVersion listed{attr.size, attr.mtime_s, attr.mtime_ns};
  if (now && listed == *now) return;
  if (now && listed.size > now->size) {
    next.growth.before = *now;
    begin(std::move(next));
    pump();
    return;
  }
  const size_t slash = next.path.rfind('/');
  lister_.refresh(next.growth.parent, slash == std::string::npos ? "" : next.path.substr(0, slash));
  lister_.pump();
}

void GrownFiles::fail_everything() {
  closing_ = true;
  for (auto& [node, file] : files_) {
    if (!file->delta) continue;
    file->delta->cancel();
    if (!file->delta->idle()) lingering_.push_back(file->delta);
    file->delta.reset();
  }
  files_.clear();
  held_ = 0;
}

}  // namespace rsyncfs
