// SPDX-License-Identifier: GPL-3.0-or-later
// What is taken, and what is found. Recording it is in new_files_recording.cc.
#include "sync/replica/new_files.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "sync/replica/conflict_name.h"
#include "sync/replica/content.h"
#include "sync/replica/name_edit.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/pending.h"

namespace rsyncfs {
namespace {

constexpr size_t kBatchFiles = 128;  // then it is recorded, if nothing else is just then
constexpr size_t kMaxBatchFiles = 1024;
constexpr uint64_t kBatchBytes = 1 << 20;
constexpr uint64_t kMaxBatchBytes = 8 << 20;
constexpr size_t kMaxDirectories = 4096;
// With less room on the disk everything goes the long way, which tells at once what finds no place.
constexpr uint64_t kSpareBytes = 64 << 20;
constexpr uint64_t kSpareInodes = 2 * kMaxBatchFiles;

constexpr uint64_t kNewDirectoryBytes = 4096;
constexpr uint32_t kPermissionBits = 07777;

bool is_plain(const NewNode& wanted) {
  const uint32_t type = wanted.mode & S_IFMT;
  return (type == S_IFREG || type == S_IFDIR || type == S_IFLNK) && wanted.xattrs.empty();
}

Node node_of(const MadeRecord& made) {
  Node node;
  node.id = made.node;
  node.ino = made.node;
  node.attr.mode = made.mode;
  node.attr.uid = made.uid;
  node.attr.gid = made.gid;
  node.attr.mtime_s = made.at.s;
  node.attr.mtime_ns = made.at.ns;
  node.ctime = made.at;
  node.atime = made.at;
  node.differences = kAbsentAtSource;
  if (S_ISDIR(made.mode)) {
    node.attr.size = kNewDirectoryBytes;
    node.attr.nlink = 2;
    node.listed_at_s = made.at.s;
  } else if (S_ISLNK(made.mode)) {
    node.attr.size = made.link_target.size();
  }
  return node;
}

void touch(Node& directory, const MadeRecord& made) {
  directory.attr.mtime_s = made.at.s;
  directory.attr.mtime_ns = made.at.ns;
  directory.ctime = made.at;
  directory.attr.nlink += made.parent_links;
}

const NodeId* find_in(const NewFileBatch& batch, NodeId parent, std::string_view name) {
  const auto names = batch.names.find(parent);
  if (names == batch.names.end()) return nullptr;
  const auto found = names->second.find(name);
  return found == names->second.end() ? nullptr : &found->second;
}

int64_t unix_ms(const FileTime& time) {
  return time.s * 1000 + time.ns / 1'000'000;
}

}  // namespace

std::optional<Node> NewFiles::create(NodeId parent, std::string_view name, const NewNode& wanted) {
  if (!is_plain(wanted) || !is_plain_name(name) || name.size() > kMaxNameBytes) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (!takes(name.size() + wanted.link_target.size()) || !takes_another()) return std::nullopt;
  const Node* in = directory(parent);
  if (in == nullptr || !is_free(parent, name)) return std::nullopt;
  MadeRecord made;
  made.node = node_ids_.next;
  made.parent = parent;
  made.name = name;
  made.mode = wanted.mode;
  made.uid = wanted.uid;
  made.gid = wanted.gid;
  made.link_target = wanted.link_target;
  made.parent_links = S_ISDIR(wanted.mode) && in->listed_at_s != 0 ? 1 : 0;
  made.at = FileTime::now();
  if (!note(made)) return std::nullopt;
  ++node_ids_.next;
  return taking_.files.at(made.node).node;
}

std::optional<Node> NewFiles::write(NodeId id, uint64_t offset, std::span<const std::byte> data) {
  if (data.empty() || offset > kSlabMaxFileBytes || data.size() > kSlabMaxFileBytes - offset)
    return std::nullopt;
  if (!something_.load()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const NewFile* file = changeable(id);
  if (file == nullptr || !S_ISREG(file->node.attr.mode) || offset > file->bytes.size()) return std::nullopt;
  if (!takes(data.size())) return std::nullopt;
  WrittenRecord written;
  written.node = id;
  written.offset = offset;
  written.bytes = {reinterpret_cast<const char*>(data.data()), data.size()};
  written.at = FileTime::now();
  if (!note(written)) return std::nullopt;
  return file->node;
}

std::optional<Node> NewFiles::change_attributes(NodeId id, const AttributeChange& change) {
  if (!something_.load()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const NewFile* file = changeable(id);
  if (file == nullptr || !takes(0)) return std::nullopt;
  const Node& before = file->node;
  AttributesRecord after;
  after.node = id;
  after.mode = before.attr.mode;
  if (change.permissions)
    after.mode = (after.mode & ~kPermissionBits) | (*change.permissions & kPermissionBits);
  after.uid = change.uid.value_or(before.attr.uid);
  after.gid = change.gid.value_or(before.attr.gid);
  after.mtime = change.mtime.value_or(FileTime{before.attr.mtime_s, before.attr.mtime_ns});
  after.atime = change.atime.value_or(*before.atime);
  after.at = FileTime::now();
  if (!note(after)) return std::nullopt;
  return file->node;
}

std::optional<Node> NewFiles::find(NodeId id) const {
  if (!something_.load()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (const auto found = directories_.find(id); found != directories_.end()) return found->second;
  const NewFile* file = known(id);
  return file == nullptr ? std::nullopt : std::optional<Node>(file->node);
}

std::optional<Node> NewFiles::find(NodeId parent, std::string_view name, bool& nowhere) const {
  nowhere = false;
  if (!something_.load()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  for (const Batch* batch : {&taking_, &recording_}) {
    const NodeId* id = find_in(*batch, parent, name);
    if (id == nullptr) continue;
    const auto directory = directories_.find(*id);
    return directory != directories_.end() ? directory->second : batch->files.at(*id).node;
  }
  nowhere = known(parent) != nullptr;
  return std::nullopt;
}

bool NewFiles::has(NodeId id) const {
  if (!something_.load()) return false;
  const std::lock_guard lock(mutex_);
  return known(id) != nullptr;
}

// ---- with mutex_ ----

bool NewFiles::takes(size_t bytes) const {
  if (!started_ || closed_) return false;
  return journal_[taking_journal_]->size() + bytes < kMaxBatchBytes;
}

// A batch is passed on between two files: most changes are of the last one.
bool NewFiles::takes_another() {
  if (node_ids_.left() == 0) {
    call();
    return false;
  }
  if (taking_.empty() && !has_room()) return false;
  if (taking_.files.size() < kBatchFiles && journal_[taking_journal_]->size() < kBatchBytes) return true;
  if (!recording_.empty()) return taking_.files.size() < kMaxBatchFiles;
  pass_on();
  call();
  return true;
}

bool NewFiles::has_room() const {
  struct statvfs disk {};
  if (statvfs(directory_.path().c_str(), &disk) != 0) return false;
  return disk.f_bavail * disk.f_frsize >= kSpareBytes && (disk.f_files == 0 || disk.f_favail >= kSpareInodes);
}

NewFile* NewFiles::changeable(NodeId id) {
  const auto found = taking_.files.find(id);
  return found == taking_.files.end() ? nullptr : &found->second;
}

const NewFile* NewFiles::known(NodeId id) const {
  for (const Batch* batch : {&taking_, &recording_}) {
    const auto found = batch->files.find(id);
    if (found != batch->files.end()) return &found->second;
  }
  return nullptr;
}

const Node* NewFiles::directory(NodeId id) {
  const auto there = directories_.find(id);
  if (there != directories_.end()) return &there->second;
  if (directories_.size() >= kMaxDirectories) return nullptr;
  std::optional<Node> node;
  if (const NewFile* file = known(id)) {
    node = file->node;
  } else {
    auto connection = reads_.take();
    if (!connection) return nullptr;
    const ReadPool::Lease lease(reads_, *connection);
    auto found = find_node(*lease, id);
    if (!found) return nullptr;
    node = *found;
  }
  if (!node || !S_ISDIR(node->attr.mode) || node->orphan) return nullptr;
  something_.store(true);
  return &directories_.emplace(id, *node).first->second;
}

bool NewFiles::is_free(NodeId parent, std::string_view name) const {
  if (find_in(taking_, parent, name) != nullptr || find_in(recording_, parent, name) != nullptr) return false;
  // Of what is not in the database, all names are here.
  if (known(parent) != nullptr) return true;
  auto connection = reads_.take();
  if (!connection) return false;
  const ReadPool::Lease lease(reads_, *connection);
  const auto found = find_name(*lease, parent, name);
  return found && !found->has_value();
}

bool NewFiles::note(const JournalRecord& record) {
  if (!journal_[taking_journal_]->append(next_entry_, encode(record))) return false;
  taking_.last_entry = next_entry_++;
  const auto done = perform(record);
  RSYNCFS_CHECK(done.ok());
  something_.store(true);
  return true;
}

Result<void> NewFiles::perform(const JournalRecord& record) {
  return std::visit([this](const auto& one) { return perform(one); }, record);
}

Result<void> NewFiles::perform(const MadeRecord& made) {
  NewFile& file = taking_.files[made.node];
  file.node = node_of(made);
  file.parent = made.parent;
  file.name = made.name;
  file.link_target = made.link_target;
  file.made_ms = unix_ms(made.at);
  taking_.names[made.parent].emplace(made.name, made.node);
  if (NewFile* parent = changeable(made.parent)) {
    touch(parent->node, made);
  } else {
    DirectoryTouch& touched = taking_.touched[made.parent];
    touched.at = made.at;
    touched.subdirectories += made.parent_links;
  }
  const auto known = directories_.find(made.parent);
  if (known != directories_.end()) touch(known->second, made);
  return {};
}

Result<void> NewFiles::perform(const WrittenRecord& written) {
  NewFile* file = changeable(written.node);
  if (file == nullptr || written.offset > file->bytes.size())
    return Error(Errc::kCorrupt, "the journal speaks of a file that was never made");
  const size_t over = std::min(file->bytes.size() - written.offset, written.bytes.size());
  file->bytes.replace(written.offset, over, written.bytes);
  Node& node = file->node;
  node.attr.size = file->bytes.size();
  node.attr.mtime_s = written.at.s;
  node.attr.mtime_ns = written.at.ns;
  node.ctime = written.at;
  node.differences |= kBytesDiffer | kMtimeDiffers;
  return {};
}

Result<void> NewFiles::perform(const AttributesRecord& after) {
  NewFile* file = changeable(after.node);
  if (file == nullptr) return Error(Errc::kCorrupt, "the journal speaks of a file that was never made");
  Node& node = file->node;
  NodeAttributes& attr = node.attr;
  if (attr.mode != after.mode) node.differences |= kModeDiffers;
  if (attr.uid != after.uid || attr.gid != after.gid) node.differences |= kOwnerDiffers;
  if (attr.mtime_s != after.mtime.s || attr.mtime_ns != after.mtime.ns) node.differences |= kMtimeDiffers;
  attr.mode = after.mode;
  attr.uid = after.uid;
  attr.gid = after.gid;
  attr.mtime_s = after.mtime.s;
  attr.mtime_ns = after.mtime.ns;
  node.atime = after.atime;
  node.ctime = after.at;
  const auto known = directories_.find(after.node);
  if (known != directories_.end()) known->second = node;
  return {};
}

void NewFiles::pass_on() {
  RSYNCFS_CHECK(recording_.empty());
  recording_ = std::exchange(taking_, {});
  taking_journal_ = 1 - taking_journal_;
}

void NewFiles::call() {
  work_ = true;
  work_wanted_.notify_one();
}

}  // namespace rsyncfs
