// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/tree.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <utility>

namespace rsyncfs {
namespace {

constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kStatUnit = 512;
constexpr int64_t kCountInodesEvery_s = 5;
// Data runs of one sparse file that are counted for st_blocks; what lies behind the last counts as data.
constexpr int kMaxCountedRuns = 64;
// Of one node, when it is asked whether the source has all its names.
constexpr size_t kMaxNamesLookedAt = 1024;

uint64_t round_up(uint64_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

timespec to_timespec(const FileTime& time) {
  timespec spec{};
  spec.tv_sec = time.s;
  spec.tv_nsec = time.ns;
  return spec;
}

int64_t monotonic_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

template <class AnyContent>
uint64_t data_bytes(const AnyContent& content) {
  const uint64_t size = content.size();
  uint64_t total = 0;
  uint64_t at = 0;
  for (int run = 0; run < kMaxCountedRuns; ++run) {
    const uint64_t data = content.seek_data(at);
    if (data >= size) return total;
    const uint64_t hole = content.seek_hole(data);
    if (hole <= data) break;
    total += round_up(hole - data);
    at = hole;
  }
  return total + round_up(size - std::min(at, size));
}

}  // namespace

Tree::Tree(Replica& replica, Syncer& syncer, Executor& executor, TreeOptions options)
    : replica_(replica),
      syncer_(syncer),
      options_(std::move(options)),
      local_only_(replica, options_.filters),
      executor_(executor),
      forgets_(replica, lookups_, executor),
      chains_(syncer),
      syncs_(executor),
      lendings_(executor) {
  replica_.local().watch_new_names([this](const NameChange& change) { conflict_copy_made(change); });
}

// A continuation on the executor may still be leaving its section after its `done` was called.
Tree::~Tree() {
  ending_ = true;
  gate_.wait();
  replica_.local().watch_new_names({});
}

Result<Node> Tree::present_node(NodeId id) const {
  Result<Node> node = replica_.node(id);
  if (!node && node.error().code() == Errc::kNotFound) return Error(Errc::kVanished, "the file is no more");
  return node;
}

Result<Node> Tree::directory_node(NodeId id) const {
  Result<Node> node = present_node(id);
  if (node && !S_ISDIR(node->attr.mode)) return Error(Errc::kNotDirectory, "not a directory");
  return node;
}

Result<Node> Tree::regular_node(NodeId id) const {
  Result<Node> node = present_node(id);
  if (node && !S_ISREG(node->attr.mode)) return Error(Errc::kUsage, "not a regular file");
  return node;
}

// What the file takes up as far as that can be told: the wire carries no block counts. Only a complete large
// file has a block file of its own whose holes are known.
uint64_t Tree::blocks_of(const Node& node) const {
  const uint32_t type = node.attr.mode & S_IFMT;
  if (type != S_IFREG && type != S_IFDIR) return 0;
  const uint64_t estimate = round_up(node.attr.size) / kStatUnit;
  if (type == S_IFDIR || node.attr.size <= kSlabMaxFileBytes) return estimate;
  if (const auto dirty = replica_.local().dirty(node.id)) return data_bytes(*dirty) / kStatUnit;
  const Result<ContentState> state = replica_.content_state(node.id);
  if (!state || !state->complete) return estimate;
  const Result<std::shared_ptr<const Content>> content = replica_.content(node.id);
  if (!content || *content == nullptr || !(*content)->complete()) return estimate;
  return data_bytes(**content) / kStatUnit;
}

struct stat Tree::stat_of(const Node& node) const {
  struct stat st {};
  const ShownAttributes& shown = options_.shown;
  st.st_ino = node.ino;
  st.st_mode = shown.mode_changes.apply(node.attr.mode);
  if (S_ISDIR(st.st_mode)) {
    st.st_mode &= ~shown.directory_mask;
  } else if (!S_ISLNK(st.st_mode)) {
    st.st_mode &= ~shown.file_mask;
  }
  st.st_nlink = node.orphan ? 0 : node.attr.nlink;
  st.st_uid = shown.uid.value_or(syncer_.ids().local_uid(node.attr.uid));
  st.st_gid = shown.gid.value_or(syncer_.ids().local_gid(node.attr.gid));
  if (S_ISCHR(node.attr.mode) || S_ISBLK(node.attr.mode)) {
    st.st_rdev = makedev(node.attr.rdev_major, node.attr.rdev_minor);
  }
  FileVersion version = node.version();
  if (S_ISREG(node.attr.mode) && (node.differences & kBytesDiffer) == 0)
    version = reads_under_way_.shown(node.id).value_or(version);
  st.st_size = static_cast<off_t>(version.size);
  st.st_blksize = kBlockBytes;
  st.st_blocks = static_cast<blkcnt_t>(blocks_of(node));
  st.st_mtim.tv_sec = version.mtime_s;
  st.st_mtim.tv_nsec = version.mtime_ns;
  st.st_atim = node.atime ? to_timespec(*node.atime) : st.st_mtim;
  st.st_ctim = node.ctime ? to_timespec(*node.ctime) : st.st_mtim;
  return st;
}

void Tree::getattr(NodeId id, Done<struct stat> done) {
  const AnswerGate::Section section(gate_);
  const Result<Node> node = present_node(id);
  if (!node) return done(node.error());
  if (S_ISDIR(node->attr.mode)) syncer_.note_use(id);
  done(stat_of(*node));
}

void Tree::readlink(NodeId id, Done<std::string> done) {
  const AnswerGate::Section section(gate_);
  const Result<Node> node = present_node(id);
  if (!node) return done(node.error());
  if (!S_ISLNK(node->attr.mode)) return done(Error(Errc::kUsage, "not a symbolic link"));
  done(replica_.link_target(id));
}

// Its attributes or bytes, or one of its names.
Result<bool> Tree::is_dirty(const Node& node) const {
  if (node.differences != 0) return true;
  if (node.id == kRootNode || replica_.pending().summary().names == 0) return false;
  const auto names = replica_.pending().local_names_of(node.id, kMaxNamesLookedAt);
  if (!names) return names.error();
  for (const Binding& name : *names) {
    const Result<NodeId> base = replica_.pending().base_binding(name.parent, name.name);
    if (!base) return base.error();
    if (*base != node.id) return true;
  }
  return false;
}

Result<bool> Tree::is_conflict(NodeId id) const {
  const auto conflicts = replica_.pending().conflicts(kMaxConflictRecords);
  if (!conflicts) return conflicts.error();
  if (conflicts->empty()) return false;
  const Result<std::string> path = replica_.path_of(id);
  if (!path) return false;
  return std::any_of(conflicts->begin(), conflicts->end(), [&path](const ConflictRecord& record) {
    return record.path == *path || record.copy_path == *path;
  });
}

Result<std::string> Tree::state(NodeId id) const {
  const Result<Node> node = present_node(id);
  if (!node) return node.error();
  const Result<bool> conflict = is_conflict(id);
  if (!conflict) return conflict.error();
  if (*conflict) return std::string("conflict");
  const Result<bool> dirty = is_dirty(*node);
  if (!dirty) return dirty.error();
  if (*dirty) return std::string(local_only_.has(*node) ? "local" : "dirty");
  const Result<bool> pinned = replica_.cache().is_pinned(id);
  if (!pinned) return pinned.error();
  const std::string whole = *pinned ? "pinned" : "cached";
  if (S_ISDIR(node->attr.mode)) return node->listed_at_s != 0 ? whole : "remote";
  if (!S_ISREG(node->attr.mode) || node->attr.size == 0) return whole;
  const Result<ContentState> content = replica_.content_state(id);
  if (!content) return content.error();
  if (content->complete) return whole;
  return std::string(content->present_bytes != 0 ? "partial" : "remote");
}

void Tree::statfs(Done<struct statvfs> done) {
  struct statvfs store {};
  if (::statvfs(replica_.directory().c_str(), &store) != 0)
    return done(Error::os(errno, replica_.directory()));
  uint64_t inodes = 0;
  {
    const std::lock_guard lock(statfs_mutex_);
    const int64_t now = monotonic_s();
    if (inodes_counted_at_s_ < 0 || now - inodes_counted_at_s_ >= kCountInodesEvery_s) {
      if (const Result<ReplicaStatistics> counted = replica_.statistics()) inodes_ = counted->nodes;
      inodes_counted_at_s_ = now;
    }
    inodes = inodes_;
  }
  struct statvfs answer {};
  answer.f_bsize = store.f_bsize;
  answer.f_frsize = store.f_frsize;
  answer.f_blocks = store.f_blocks;
  answer.f_bfree = store.f_bfree;
  answer.f_bavail = store.f_bavail;
  answer.f_files = inodes + store.f_favail;
  answer.f_ffree = store.f_favail;
  answer.f_favail = store.f_favail;
  answer.f_namemax = 255;
  done(answer);
}

void Tree::forget(NodeId node, uint64_t count) {
  if (!lookups_.remove(node, count)) return;
  positions_.forget(node);
  forgets_.add(node);
}

}  // namespace rsyncfs
