// SPDX-License-Identifier: GPL-3.0-or-later
// POSIX behaviour of the mounted tree over Replica and Syncer. Knows no FUSE: nodes, stat(2), bytes and
// errors. What users may rely on: fs/SEMANTICS.md.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "fs/tree/answer_gate.h"
#include "fs/tree/directory_positions.h"
#include "fs/tree/forget_queue.h"
#include "fs/tree/lookup_table.h"
#include "fs/tree/read_counters.h"
#include "fs/tree/reads_under_way.h"
#include "fs/tree/recent_failures.h"
#include "fs/tree/requests.h"
#include "fs/tree/wait_chains.h"
#include "io/base/result.h"
#include "io/executor.h"
#include "sync/engine/local_only.h"
#include "sync/engine/syncer.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

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
  Tree(Replica& replica, Syncer& syncer, Executor& executor, TreeOptions options = {});
  // Waits for what the executor still does for it. No call may be under way, none may be parked.
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  // A positive answer counts one lookup of its node. "." and ".." are understood.
  RequestId lookup(NodeId parent, std::string_view name, Done<Entry> done);
  // As lookup(), but from what is stored, whatever that is: never waits.
  void lookup_stored(NodeId parent, std::string_view name, Done<Entry> done);
  // One lookup more of a node that the kernel holds.
  void count_lookup(NodeId node) { lookups_.add(node); }
  void getattr(NodeId node, Done<struct stat> done);
  void readlink(NodeId node, Done<std::string> done);

  // Waits until the directory's names may be answered. Nobody need call it: readdir() waits as well.
  RequestId opendir(NodeId directory, Done<void> done);
  // From now on an opening has nothing to wait for, but in a directory that was never listed.
  bool names_are_settled() const { return syncer_.names_are_settled(); }
  // Names from `cookie` on (0: the start), read afresh each time: a name that stays is given exactly once,
  // whatever comes and goes meanwhile, and whoever the cookie was given to. With `plus` each taken name
  // counts one lookup. Of a directory whose positions had to make room cookies count names.
  RequestId readdir(NodeId directory, uint64_t cookie, bool plus, std::shared_ptr<DirectorySink> sink);
  // For how long the kernel need not ask for a directory's attributes, which tells that somebody uses it.
  std::chrono::milliseconds use_holds_for() const { return syncer_.use_holds_for(); }

  // Shorter than asked only at the end of the file. A failure is given again, at once, to who asks within a
  // second.
  RequestId read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done);
  // The local disk could not read bytes that read() gave: they are fetched anew when they are asked for
  // again.
  void note_unreadable(NodeId file);
  // Where data or a hole begins at or after `offset`. A file that is not here in whole counts as all data.
  void seek(NodeId file, uint64_t offset, SeekKind kind, Done<uint64_t> done);

  // `limit` 0: the size alone is wanted. kOs with ERANGE when the value is longer than a limit that is not 0.
  RequestId getxattr(NodeId node, std::string_view name, size_t limit, Done<XattrValue> done);
  // Names, each followed by NUL. trusted.* is for the privileged only.
  void listxattr(NodeId node, bool privileged, Done<std::string> done);

  // ---- changes; what of them a killed process and a power cut leave: sync/replica/local_changes.h ----
  // Permissions were checked. What needs the names of directories that were never listed waits for them, as
  // lookup() does. A positive answer counts one lookup of its node.
  // Everything but regular files that may be there already.
  RequestId make(NodeId parent, std::string_view name, NewFile file, Done<Entry> done);
  RequestId create(NodeId parent, std::string_view name, NewFile file, CreateFlags flags, Done<Entry> done);
  void make_unnamed(NodeId parent, NewFile file, Done<Entry> done);  // O_TMPFILE
  RequestId link(NodeId node, NodeId parent, std::string_view name, Done<Entry> done);
  RequestId unlink(NodeId parent, std::string_view name, Done<void> done);
  RequestId rmdir(NodeId parent, std::string_view name, Done<void> done);
  RequestId rename(NodeId parent, std::string_view name, NodeId new_parent, std::string_view new_name,
                   RenameMode mode, Done<void> done);
  void setattr(NodeId node, const AttributeRequest& request, const Caller& caller, Done<struct stat> done);
  void setxattr(NodeId node, std::string_view name, std::string_view value, SetXattrFlags flags,
                const Caller& caller, Done<void> done);
  void removexattr(NodeId node, std::string_view name, Done<void> done);

  // Set-id bits go as they do on a local disk: unless the caller is privileged.
  void truncate(NodeId file, const Caller& caller, Done<void> done);  // to nothing, as an open with O_TRUNC
  // `append`: at the end, if that lies beyond `offset`.
  void write(NodeId file, uint64_t offset, std::span<const std::byte> data, bool append, const Caller& caller,
             Done<size_t> done);
  void allocate(NodeId file, AllocateMode mode, uint64_t offset, uint64_t length, const Caller& caller,
                Done<void> done);
  // How much was copied: at most kMaxCopyBytes, 0 at the end of `from`. kUnsupported when bytes of it are not
  // here: read and write them then.
  static constexpr uint64_t kMaxCopyBytes = 8 * 1024 * 1024;
  void copy(NodeId from, uint64_t from_offset, NodeId to, uint64_t to_offset, uint64_t length,
            const Caller& caller, Done<uint64_t> done);
  // What fsync(2) promises, of files and directories; always answers later, from the executor or the loop.
  RequestId sync(NodeId node, Done<void> done);

  // ---- files that the kernel reads by itself: Replica::lend_content() ----
  // Null: not now. A file that was not compared with its sums yet is, in the background, for the next time.
  std::shared_ptr<LentContent> lend(NodeId file, uint64_t most_bytes);
  // These answer from the executor, in the order of the calls. Before somebody may write into a lent file by
  // a map; and when he may have done so.
  void prepare_lent(NodeId file, Done<void> done);
  void take_mapped(NodeId file, Done<void> done);

  // Never waits for the network: the file system that holds the store, and how many inodes are known or have
  // room.
  void statfs(Done<struct statvfs> done);

  // The kernel gives back `count` lookups. Any thread; nothing is deleted on it.
  void forget(NodeId node, uint64_t count);
  void cancel(RequestId request) {
    if (!chains_.cancel(request)) syncer_.cancel(request);
  }

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
  // "remote", "partial", "cached", "pinned", "dirty", "local" or "conflict": what user.rsyncfs.state says.
  Result<std::string> state(NodeId node) const;
  // Names that stay here.
  const LocalOnly& local_only() const { return local_only_; }
  // Attributes as the user sees them: ids mapped, blocks estimated, and for a file whose bytes are waited for
  // the size that was known when they were asked for.
  struct stat stat_of(const Node& node) const;
  const ReadCounters& reads() const { return reads_; }

 private:
  // Lists the directory, then runs `answer` on the executor, within a section; but with an error that is
  // final at once, on the loop.
  bool names_are_known(const Node& directory) const;
  RequestId after_listing(NodeId directory, UniqueFunction<void(Result<void>)> answer);
  // What must be known before something can be done.
  struct Listings {
    std::optional<Error> failure;  // answer with it
    std::vector<NodeId> listed;    // asked for by this request
  };
  // Answers, or names a directory that must be listed first (0: answered). Called within a section, again
  // after each listing.
  using Attempt = UniqueFunction<NodeId(const Listings& known)>;
  static constexpr size_t kMaxListings = 4;  // of one request; a rename needs three
  RequestId attempt(Attempt attempt);
  void attempt_again(RequestId chain, NodeId directory, Listings known, Attempt attempt);
  template <class T, class Work>
  RequestId change_names(Done<T> done, Work work);
  // 0: its names may be relied on.
  NodeId unlisted(const Node& directory, const Listings& known) const;
  // A directory whose names may be changed, `name` among them.
  Result<Node> changing_directory(NodeId id, std::string_view name) const;
  Result<NewNode> new_node(const Node& parent, const NewFile& file) const;
  Result<void> inherit(const Node& parent, const NewFile& file, NewNode& made) const;
  Result<Entry> answer_new(Result<Node> made, uint64_t changes_before);
  Result<Entry> answer_existing(NodeId parent, std::string_view name, CreateFlags flags,
                                const Caller& caller);
  void lost_name(const Node& node);

  static Error of_node(const Error& error);
  // The set-id bits that somebody takes from a file by changing its bytes.
  uint32_t lost_by_writing(const Node& file, const Caller& caller) const;
  uint32_t lost_by_chown(const Node& file, const Caller& caller) const;
  Result<uint32_t> lost_by_writing(NodeId file, const Caller& caller) const;
  // `change()`, and once more if the disk was full and some of what is cached could be let go.
  template <class Change>
  auto with_room(uint64_t bytes, const Change& change) {
    auto done = change();
    if (!done && done.error().os_errno() == ENOSPC && syncer_.relieve_disk(bytes)) return change();
    return done;
  }
  void bytes_changed(NodeId file, bool beyond_what_was_asked);
  // A late change went to a version that the source has replaced: it has this name now.
  void conflict_copy_made(const NameChange& change);
  Result<AttributeChange> attribute_change(const Node& before, const AttributeRequest& request,
                                           const Caller& caller) const;
  Result<Node> change_attributes(const Node& before, AttributeChange change);
  Result<Node> set_attributes(NodeId id, const AttributeRequest& request, const Caller& caller);
  Result<void> may_set_xattr(std::string_view name) const;
  Result<StoredXattrs> xattrs_of(const Node& node) const;
  Result<void> set_plain_xattr(const Node& node, std::string_view name, std::string_view value,
                               SetXattrFlags flags);
  Result<void> set_acl(const Node& node, std::string_view name, std::string_view value, const Caller& caller);
  Result<void> store_xattrs(const Node& node, const StoredXattrs& all,
                            const std::vector<LocalChanges::FullValue>& values,
                            std::optional<uint32_t> permissions);

  void end_waiting(NodeId file, bool given);
  Done<ReadBytes> count_miss(uint64_t bytes, Done<ReadBytes> done);
  void check_later(NodeId file, std::shared_ptr<const Content> content);
  void check_some(NodeId file, const std::shared_ptr<const Content>& content, uint64_t from);

  // One read of a file with local changes, of which bytes of the base version must be fetched.
  struct Composition;
  RequestId read_dirty(NodeId file, const DirtyContent& content, uint64_t offset, uint32_t length,
                       Done<ReadBytes> done);
  void fetch_base(const std::shared_ptr<Composition>& reading, ExtentSet::Range missing);
  void compose(const std::shared_ptr<Composition>& reading, const BaseBytes& base);
  Result<ReadBytes> bytes_here(NodeId file, uint64_t offset, size_t length);
  Result<uint64_t> copy_now(NodeId from, uint64_t from_offset, NodeId to, uint64_t to_offset, uint64_t length,
                            uint32_t clear);
  void flush(NodeId node, RequestId chain, Done<void> done);

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
  void give_names(const Node& directory, uint64_t cookie, bool plus, DirectorySink& sink);
  bool fill_dots(const Node& directory, uint64_t cookie, DirectorySink& sink);
  Result<bool> number_names(NodeId directory, NameNumbers& numbers, size_t count) const;
  uint64_t blocks_of(const Node& node) const;
  Result<bool> is_dirty(const Node& node) const;
  Result<bool> is_conflict(NodeId id) const;
  Result<void> may_get_name(const Node& node, NodeId parent, std::string_view name) const;

  Replica& replica_;
  Syncer& syncer_;
  const TreeOptions options_;
  const LocalOnly local_only_;
  Executor& executor_;
  AnswerGate gate_;
  std::atomic<uint64_t> changes_{0};
  LookupTable lookups_;
  DirectoryPositions positions_;
  ForgetQueue forgets_;
  RecentFailures failures_;
  ReadsUnderWay reads_under_way_;
  ReadCounters reads_;
  WaitChains chains_;
  std::mutex statfs_mutex_;  // guards the two below
  int64_t inodes_counted_at_s_ = -1;
  uint64_t inodes_ = 0;
  static constexpr size_t kMaxChecked = 64;  // files at once
  std::mutex checked_mutex_;
  std::unordered_set<NodeId> checked_;  // guarded by checked_mutex_: being compared with their sums
  std::atomic<bool> ending_{false};
  // fsync: one at a time, so that many of them leave the executor to others. Last: ends before what it uses.
  Strand syncs_;
  Strand lendings_;  // likewise
};

}  // namespace rsyncfs
