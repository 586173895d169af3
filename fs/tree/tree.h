// SPDX-License-Identifier: GPL-3.0-or-later
// POSIX behaviour of the mounted tree over Replica and Syncer. Knows no FUSE: nodes, stat(2), bytes and
// errors. What users may rely on: fs/SEMANTICS.md.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "fs/tree/answer_gate.h"
#include "fs/tree/directory_handles.h"
#include "fs/tree/forget_queue.h"
#include "fs/tree/lookup_table.h"
#include "fs/tree/recent_failures.h"
#include "io/base/result.h"
#include "io/executor.h"
#include "sync/engine/syncer.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// One name's inode for its user. node == 0: there is no such name (a negative answer that may be cached).
struct Entry {
  NodeId node = 0;
  struct stat attr {};
};

// What is shown instead of what the source says; permissions are checked against it.
struct ShownAttributes {
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  uint32_t file_mask = 0;       // permission bits taken from everything but directories and symbolic links
  uint32_t directory_mask = 0;  // and from directories
};

// Takes a directory's names.
class DirectorySink {
 public:
  virtual ~DirectorySink() = default;
  // How many names will about fit; the Tree reads so many ahead.
  virtual size_t capacity() const = 0;
  // False: no room, nothing was taken. `next_cookie` is where a later call goes on after this name. "." and
  // ".." come with node 0 and only st_ino and the type bits of st_mode.
  virtual bool add(std::string_view name, const Entry& entry, uint64_t next_cookie) = 0;
  // Exactly once, last. True when the names went out; false takes their lookup counts back.
  virtual bool finish(Result<void> outcome) = 0;
};

// An extended attribute's value; `size` alone when the caller asked for no more.
struct XattrValue {
  uint64_t size = 0;
  std::string value;
};

enum class SeekKind : uint8_t { kData, kHole };

// Calls: any thread. Each `done` is called exactly once: inside the call, or, when the call returns a
// RequestId other than 0, possibly later from another thread (the loop's or the executor's). cancel() with
// that id makes it come soon (kCanceled), unless it comes anyway. No lock is held when `done` runs. Every
// wait ends within the Syncer's timeout.
//
// Errors: kVanished for nodes that are no more, kNotDirectory, kUsage (not a regular file), kOs with ENODATA,
// ENXIO, ERANGE; the Syncer's for what had to be asked of the source; the Replica's.
class Tree {
 public:
  // All must outlive the Tree. `executor` takes what must not hold up the loop or a FUSE worker.
  Tree(Replica& replica, Syncer& syncer, Executor& executor, ShownAttributes shown = {});
  // Waits for what the executor still does for it. No call may be under way, none may be parked.
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  // A positive answer counts one lookup of its node. "." and ".." are understood.
  RequestId lookup(NodeId parent, std::string_view name, Done<Entry> done);
  void getattr(NodeId node, Done<struct stat> done);
  void readlink(NodeId node, Done<std::string> done);

  // Waits until the directory's names may be answered; the value has a handle for readdir() and releasedir().
  RequestId opendir(NodeId directory, Done<OpenedDirectory> done);
  // Names from `cookie` on (0: the start), read afresh each time: a name that stays is given exactly once,
  // whatever comes and goes meanwhile, and whichever handle of the directory the cookie was given to. With
  // `plus` each taken name counts one lookup. With an unknown handle cookies count names.
  void readdir(NodeId directory, uint64_t handle, uint64_t cookie, bool plus, DirectorySink& sink);
  void releasedir(uint64_t handle) { handles_.close(handle); }

  // Shorter than asked only at the end of the file. A failure is given again, at once, to who asks within a
  // second.
  RequestId read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done);
  // Where data or a hole begins at or after `offset`. A file that is not here in whole counts as all data.
  void seek(NodeId file, uint64_t offset, SeekKind kind, Done<uint64_t> done);

  // `limit` 0: the size alone is wanted. kOs with ERANGE when the value is longer than a limit that is not 0.
  RequestId getxattr(NodeId node, std::string_view name, size_t limit, Done<XattrValue> done);
  // Names, each followed by NUL. trusted.* is for the privileged only.
  void listxattr(NodeId node, bool privileged, Done<std::string> done);

  // Never waits for the network: the file system that holds the store, and how many inodes are known.
  void statfs(Done<struct statvfs> done);

  // The kernel gives back `count` lookups. Any thread; nothing is deleted on it.
  void forget(NodeId node, uint64_t count);
  void cancel(RequestId request) { syncer_.cancel(request); }

  // ---- for those who invalidate what was answered ----
  // Returns when every answer that may have been read from the Replica before this call has been given.
  void wait_for_answers() { gate_.wait(); }
  // After the Replica has changed, before is_known() is asked: an answer that read the older state, and is
  // counted too late to be found known, then reads once more.
  void note_change() { changes_.fetch_add(1); }
  bool is_known(NodeId node) const { return lookups_.count(node) != 0; }
  // False: no answer about this directory's names was given since it became known.
  bool names_were_answered(NodeId directory) const { return lookups_.is_marked(directory); }
  const LookupTable& lookups() const { return lookups_; }
  Replica& replica() { return replica_; }
  // Waits until forgotten nodes are off the store; for tests and an orderly end.
  void drain_forgets() { forgets_.drain(); }

  // ---- for commands ----
  // "remote", "partial" or "cached": what user.rsyncfs.state says.
  Result<std::string> state(NodeId node) const;
  // Attributes as the user sees them: ids mapped, blocks estimated.
  struct stat stat_of(const Node& node) const;

 private:
  // Lists the directory, then runs `answer` on the executor, within a section; but with an error that is
  // final at once, on the loop.
  RequestId after_listing(NodeId directory, UniqueFunction<void(Result<void>)> answer);
  void answer_lookup(NodeId parent, std::string_view name, Done<Entry> done);
  void answer_dot(const Node& directory, bool parent, Done<Entry> done);
  void answer_xattr(NodeId node, std::string_view name, size_t limit, Done<XattrValue> done);
  // The attribute as stored; its value is empty when it is abbreviated and not here (`missing`).
  struct FoundXattr {
    uint64_t size = 0;
    std::string value;
    bool missing = false;
  };
  Result<FoundXattr> find_xattr(NodeId node, std::string_view name, bool with_value) const;
  Node read_again(const Node& node, uint64_t changes_before) const;
  Result<Node> present_node(NodeId id) const;
  Result<Node> directory_node(NodeId id) const;
  Result<Node> regular_node(NodeId id) const;
  // Lookups that a listing has counted; what had no room is taken back, with no lock held.
  struct Counted {
    std::vector<NodeId> given;
    std::optional<NodeId> refused;
  };
  Result<void> fill(const Node& directory, NameNumbers& numbers, uint64_t cookie, bool plus,
                    DirectorySink& sink, Counted& counted);
  bool fill_dots(const Node& directory, uint64_t cookie, DirectorySink& sink);
  Result<bool> number_names(NodeId directory, NameNumbers& numbers, size_t count) const;
  uint64_t blocks_of(const Node& node) const;

  Replica& replica_;
  Syncer& syncer_;
  const ShownAttributes shown_;
  Executor& executor_;
  AnswerGate gate_;
  std::atomic<uint64_t> changes_{0};
  LookupTable lookups_;
  DirectoryHandles handles_;
  ForgetQueue forgets_;
  RecentFailures failures_;
  std::mutex statfs_mutex_;  // guards the two below
  int64_t inodes_counted_at_s_ = -1;
  uint64_t inodes_ = 0;
};

}  // namespace rsyncfs
