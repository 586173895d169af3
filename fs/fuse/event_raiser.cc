// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/event_raiser.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "io/base/text.h"

namespace rsyncfs {
namespace {

// Somebody may look a name up just then.
constexpr int kMaxRenameAttempts = 3;

class OpenedPlace {
 public:
  explicit OpenedPlace(int fd) : fd_(fd) {}
  ~OpenedPlace() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenedPlace(const OpenedPlace&) = delete;
  OpenedPlace& operator=(const OpenedPlace&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// As after a program has written it: IN_MODIFY and IN_CLOSE_WRITE.
void rewrite(int directory, const Node& node, const std::string& name) {
  const OpenedPlace file(
      ::openat(directory, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (file.fd() >= 0) static_cast<void>(::ftruncate(file.fd(), static_cast<off_t>(node.attr.size)));
}

}  // namespace

EventRaiser::EventRaiser(std::string mountpoint, std::string_view device, Tree& tree,
                         const WatchedNodes& watched)
    : mountpoint_(std::move(mountpoint)), device_(parse_device(device)), tree_(tree), watched_(watched) {}

bool EventRaiser::concerns(const NameChange& change) const {
  if (!watched_.any()) return false;
  if (watched_.has(change.parent)) return true;
  if (change.kind == NameChange::Kind::kCreated || change.kind == NameChange::Kind::kRemoved) return false;
  const Result<Node> node = tree_.replica().node(change.node);
  return node && watched_.has(node->ino);
}

bool EventRaiser::concerns(const Renaming& renaming) const {
  if (watched_.has(renaming.gone.parent) || watched_.has(renaming.there.parent)) return true;
  const NodeId moved = renaming.gone.node;
  const bool stays = moved == renaming.there.node && tree_.is_known(moved);
  if (!stays && !watched_.any()) return false;
  const Result<Node> node = tree_.replica().node(moved);
  return node && ((stays && S_ISDIR(node->attr.mode)) || watched_.has(node->ino));
}

// Not kept open: it would keep the mount from being taken away.
int EventRaiser::open_directory(NodeId directory) const {
  const Result<std::string> path = tree_.replica().path_of(directory);
  if (!path) return -1;
  const std::string at = path->empty() ? mountpoint_ : mountpoint_ + "/" + *path;
  const int fd = ::open(at.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st {};
  if (fd < 0 || (::fstat(fd, &st) == 0 && st.st_dev == device_)) return fd;
  ::close(fd);
  return -1;
}

Entry EventRaiser::entry_of_removed(NodeId id) const {
  Entry entry;
  const Result<Node> node = tree_.replica().node(id);
  if (node && tree_.is_known(id)) {
    entry.node = id;
    entry.attr = tree_.stat_of(*node);
    return entry;
  }
  entry.node = kGhost;
  entry.attr.st_ino = kGhost;
  entry.attr.st_mode = node ? node->attr.mode : S_IFREG | 0600;
  entry.attr.st_nlink = 1;
  return entry;
}

void EventRaiser::make(int directory, const Node& node, const std::string& name) const {
  const mode_t type = node.attr.mode & S_IFMT;
  if (type == S_IFDIR) {
    static_cast<void>(::mkdirat(directory, name.c_str(), 0700));
  } else if (type == S_IFLNK) {
    static_cast<void>(::symlinkat(".", directory, name.c_str()));
  } else {
    static_cast<void>(::mknodat(directory, name.c_str(), type | 0600, 0));
  }
}

void EventRaiser::begin(Current current) {
  const std::lock_guard lock(mutex_);
  current_ = std::move(current);
}

void EventRaiser::raise(const NameChange& change) {
  thread_.store(::gettid(), std::memory_order_relaxed);
  const OpenedPlace directory(open_directory(change.parent));
  if (directory.fd() < 0) return;
  const Result<Node> node = tree_.replica().node(change.node);
  if (change.kind == NameChange::Kind::kRemoved) {
    const Entry was = entry_of_removed(change.node);
    begin({{}, {change.parent, change.name}, was});
    const bool is_directory = S_ISDIR(was.attr.st_mode);
    static_cast<void>(::unlinkat(directory.fd(), change.name.c_str(), is_directory ? AT_REMOVEDIR : 0));
  } else if (node && change.kind == NameChange::Kind::kCreated) {
    begin({{change.parent, change.name}, {}, {}});
    make(directory.fd(), *node, change.name);
  } else if (node && S_ISREG(node->attr.mode)) {
    rewrite(directory.fd(), *node, change.name);
  }
  begin({});
}

bool EventRaiser::raise(const Renaming& renaming, KernelCaches& kernel) {
  thread_.store(::gettid(), std::memory_order_relaxed);
  const OpenedPlace from(open_directory(renaming.gone.parent));
  const OpenedPlace to(open_directory(renaming.there.parent));
  if (from.fd() < 0 || to.fd() < 0) return false;
  bool done = false;
  for (int i = 0; i < kMaxRenameAttempts && !done; ++i) {
    done = rename(from.fd(), to.fd(), renaming, kernel);
    if (!done && errno != EEXIST && errno != ENOENT) break;
  }
  begin({});
  return done;
}

// The kernel moves what it has at the old name to the new one, which leads to another node, unless the node
// stays. Nobody is to find the old one there: so the kernel asks for the old name anew, is given it for no
// time at all, and asks again whenever somebody comes to the new name. What it has there goes before, so that
// nothing is replaced: its link count would fall. Whoever looks either name up in between makes this fail.
bool EventRaiser::rename(int from, int to, const Renaming& renaming, KernelCaches& kernel) {
  const NameChange& gone = renaming.gone;
  const NameChange& there = renaming.there;
  const bool stays = gone.node == there.node && tree_.is_known(gone.node);
  if (!stays) kernel.drop_entry(gone.parent, gone.name);
  kernel.drop_entry(there.parent, there.name);
  begin({{there.parent, there.name}, {gone.parent, gone.name}, entry_of_removed(gone.node)});
  if (::renameat2(from, gone.name.c_str(), to, there.name.c_str(), RENAME_NOREPLACE) != 0) return false;
  if (!stays) kernel.drop_entry(there.parent, there.name);
  return true;
}

bool EventRaiser::is_being_made(NodeId parent, std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return current_.made.is(parent, name);
}

Entry EventRaiser::being_removed(NodeId parent, std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return current_.removed.is(parent, name) ? current_.was : Entry();
}

}  // namespace rsyncfs
