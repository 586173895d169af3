// SPDX-License-Identifier: GPL-3.0-or-later
// Moves Replica and remote toward each other: lists, fetches, pushes and polls. All of its state
// belongs to the loop thread and has no locks; the methods marked "any thread" post to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "io/base/unique_function.h"
#include "io/executor.h"
#include "io/loop.h"
#include "sync/engine/cache_budget.h"
#include "sync/engine/conflict_policy.h"
#include "sync/engine/filter_rules.h"
#include "sync/engine/id_map.h"
#include "sync/engine/poll_pace.h"
#include "sync/engine/status.h"
#include "sync/replica/replica.h"
#include "sync/transport/source.h"
#include "sync/transport/tcp_options.h"

namespace rsyncfs {

struct SyncerOptions {
  Source source;
  std::string password;                               // daemon auth
  std::string remote_shell;                           // rsh=; "" = ssh
  std::string rsync_path = "rsync";                   // the program on the far side of a shell
  std::string runtime_directory;                      // for ssh to share a connection; "" = it does not
  std::chrono::milliseconds timeout{30'000};          // no progress for this long fails a request
  std::chrono::milliseconds connect_timeout{10'000};  // one connection attempt
  TcpOptions tcp;
  uint64_t bytes_per_second = 0;  // in each direction, all sessions together; 0 = no limit
  int max_protocol = 32;
  bool xattrs = true;
  bool acls = true;
  bool numeric_ids = false;
  IdRules user_rules;
  IdRules group_rules;
  std::string compress = "none";     // none, zlibx, zstd (or zlibx where the server has no zstd)
  int compress_level = 0;            // 0: the codec's own
  std::string checksum;              // "" = negotiate
  std::vector<std::string> filters;  // as the source is told them; what they leave out is not pushed
  FilterRules filter_rules;          // the same
  unsigned max_sessions = 8;         // side by side; fewer where the server says "max connections"
  bool keep_ready = true;            // a connection to a daemon, opened before it is needed
  // A tree of more entries is listed in pages. As a whole its list would take some 100 bytes of memory for
  // each, here and at the source, for as long as it is there to fetch from.
  size_t max_whole_tree = 250'000;

  PollOptions poll;
  CacheLimits cache;

  // Pushing.
  bool read_only = false;  // nothing is pushed, not even what an earlier mount left to push
  std::chrono::milliseconds writeback_delay{1'000};  // after the last change of a file that is being written
  bool fsync_remote =
      false;  // the source is told to write each file to its disk before it says that it has it
  ConflictPolicy conflict = ConflictPolicy::kCopy;
  std::vector<ConflictRule> conflict_rules;
  uint64_t max_delete =
      0;  // deletions in a row that stop the pushing (SyncerStatus::push.stopped); 0 = any number
};

// Names one request under way, for cancel(). Never reused; 0 is none.
using RequestId = uint64_t;

// Bytes of one version, kept alive by `owner`.
struct ReadBytes {
  std::shared_ptr<const void> owner;
  std::span<const std::byte> bytes;  // shorter than asked only at the end of the file
};

// What the rest of the program must hear of. Called on the loop thread; must not block.
class SyncerEvents {
 public:
  virtual ~SyncerEvents() = default;
  // After the Replica was changed by what the source listed: kernel caches of these names and nodes are
  // stale.
  virtual void on_changes(std::vector<NameChange> changes) = 0;
  // The node's size or bytes are not what was told before.
  virtual void on_content_changed(NodeId node) = 0;
  // Bytes follow where this file ended. `told`, from any thread: nobody keeps what was known of that end.
  virtual void on_growth(NodeId node, UniqueFunction<void()> told) {
    on_content_changed(node);
    told();
  }
  // Any thread: somebody may have the file open, or come back to it soon.
  virtual bool is_in_use(NodeId /*node*/) { return false; }
  // The source turned out to refuse every change (a read-only module); `reason` is its own word. What is
  // pending stays so. At most once.
  virtual void on_read_only(const std::string& /*reason*/) {}
};

template <class T>
using Done = UniqueFunction<void(Result<T>)>;

// What is here of a file, beside what the source has.
enum class Comparison : uint8_t {
  kEqual,
  kDiffers,  // the source has other bytes in the same version
  kChanged,  // another version by now, or users changed it here meanwhile
  kGone,
};

class Syncer {
 public:
  // All references must outlive the syncer. Construct on any thread, before or while the loop runs.
  static std::unique_ptr<Syncer> create(Loop& loop, Executor& executor, Replica& replica,
                                        SyncerOptions options, SyncerEvents& events);
  virtual ~Syncer() = default;

  // Any thread, once. Makes first contact: lists the root directory, then the whole tree in the background.
  // `done` on the loop thread: ok when the root is listed; the error otherwise (the syncer then keeps trying,
  // so that a mount with a store may go on offline).
  virtual void start(Done<void> done) = 0;
  // Any thread, once. Fails every request with kCanceled, records what was fetched, closes sessions, then
  // `done`.
  virtual void shut_down(Task done) = 0;

  // Any thread, cheap: the Replica's names of this directory may be answered as they are, because they were
  // listed in this mount, or because the source cannot be reached and the stored ones are all there is.
  virtual bool may_answer_listing(const Node& directory) const = 0;
  // Any thread, cheap: that is so, from now on, for each directory that was ever listed.
  virtual bool names_are_settled() const { return true; }

  // Requests. Any thread; `done` is called exactly once, on the loop thread. Each fails within
  // options.timeout without progress: kTimedOut, kUnreachable; kCanceled by cancel(); else kVanished,
  // kPermission, kChanged, ... with os_errno() where the source named one. After ok, the Replica has the
  // directory's present names.
  virtual RequestId list_directory(NodeId directory, Done<void> done) = 0;
  // Bytes of a regular file, as soon as they are here; the rest of the file follows in the background.
  virtual RequestId read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done) = 0;
  // After ok, every abbreviated xattr of the node has its value in the Replica.
  virtual RequestId fetch_xattrs(NodeId node, Done<void> done) = 0;
  // Brings the whole file into the Replica.
  virtual RequestId hydrate(NodeId file, Done<void> done) = 0;
  // Compares the bytes that are here of a file with the source's, without fetching them as long as they are
  // equal. kNotFound: not all of it is here. kRefused: it was changed here. kUnsupported: without checksums.
  // kLimit: it is too large. What differs stays as it is.
  virtual RequestId compare(NodeId file, Done<Comparison> done) = 0;
  virtual void cancel(RequestId request) = 0;
  // Any thread, cheap: somebody reads bytes of this file that are here.
  virtual void note_read(NodeId /*file*/) {}

  // ---- what others change ----
  // Any thread, cheap: somebody looks into this directory.
  virtual void note_use(NodeId directory) = 0;
  // Any thread, cheap: for so long after note_use() of a directory, another use of it changes nothing.
  virtual std::chrono::milliseconds use_holds_for() const { return std::chrono::milliseconds(1'000); }
  // Lists the directory and all known ones below it anew, the root's with the whole tree. Ok when what the
  // source had at the call is here. Fails as list_directory() does; what others list meanwhile may make it
  // take longer.
  virtual RequestId refresh(NodeId directory, Done<void> done) = 0;

  // ---- pushing ----
  // Any thread, cheap: something of this node, or a name in this directory, was changed here.
  virtual void note_change(NodeId node) = 0;
  // Pushes at once what is pending at the call at and below this node (nullopt: everywhere). Ok when all of
  // it is on the source. Otherwise the error names what is left and why. Of one node it is a request as those
  // above, but that it may take long as long as the source is there; of everything it waits without a limit.
  // kRefused while pushing is stopped, or when the source cannot be written to.
  virtual RequestId flush(std::optional<NodeId> below, Done<void> done) = 0;
  // Goes on after a brake has stopped the pushing; ok too when none has.
  virtual void resume(Done<void> done) = 0;

  // Any thread but the loop's: the local disk was full. True: contents were let go, so it may work now.
  virtual bool relieve_disk(uint64_t /*bytes*/) { return false; }

  // Any thread.
  virtual void status(UniqueFunction<void(SyncerStatus)> done) = 0;
  virtual const IdMap& ids() const = 0;
};

}  // namespace rsyncfs
