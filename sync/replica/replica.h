// SPDX-License-Identifier: GPL-3.0-or-later
// Our durable local copy of the tree: names, attributes, versions and extents in SQLite (WAL), blocks in
// private sparse files, all under one state directory. Layout: sync/replica/FORMAT.md.
//
// Threads: reading methods from any thread (a bounded pool of read connections); writing methods from any
// thread, one at a time (an internal mutex; no transaction keeps it longer than a few ms). Errors: kOs
// (disk), kCorrupt (store damaged), kNotFound where stated.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "io/file_batch.h"
#include "sync/replica/cache_space.h"
#include "sync/replica/content.h"
#include "sync/replica/local_changes.h"
#include "sync/replica/pending.h"
#include "sync/replica/types.h"

namespace rsyncfs {

struct ReplicaOptions {
  std::string directory;  // created with mode 0700 if missing; refused if others may write there
  std::string source;     // canonical source; a store made for another one is refused
  int read_connections = 3;
  size_t sqlite_cache_bytes = 1 << 20;            // per connection
  size_t max_maps = 4096;                         // block files and slabs kept mapped at once
  uint64_t max_mapped_bytes = uint64_t{1} << 40;  // of address space for block files; one is always mapped
  IoChoice io = IoChoice::kAuto;                  // how batches of file reads and syncs are done
};

struct ReplicaStatistics {
  uint64_t nodes = 0;
  uint64_t cached_bytes = 0;  // bytes of contents present
  uint64_t cached_files = 0;  // complete contents
  uint64_t partial_files = 0;
};

// A file that the source lists as longer, with all of the version before here. It stays as it is until it is
// known whether that is the beginning of the new one.
struct HeldGrowth {
  NodeId node = 0;
  NodeId parent = 0;
  FileVersion before;
  KeptListedName listed;
};

// What one listing of a directory came to.
struct DirectoryChanges {
  std::vector<NameChange> changes;    // of what users see
  std::vector<Collision> collisions;  // to be decided
  std::vector<HeldGrowth> growths;    // with Batch::hold_growths(): to be found out about
};

// How much of a node's content is here.
struct ContentState {
  uint64_t present_bytes = 0;
  bool complete = false;
};

// What reading all that is here of a content came to.
struct ContentCheck {
  uint64_t checked_bytes = 0;  // read from the disk
  uint64_t damaged_bytes = 0;  // of these; they count as absent from now on
  bool was_complete = false;   // before
};

// Reads a content from the disk, and compares it with the sums of its blocks; where some have none, also with
// the digest of the whole, if that is known. One thread at a time; must end before the store does.
class ContentVerification {
 public:
  virtual ~ContentVerification() = default;
  // Some `bytes` more. False: it was the last of them.
  virtual Result<bool> step(uint64_t bytes) = 0;
  // After the last step.
  virtual ContentCheck check() const = 0;
};

class Replica {
 public:
  // Takes an exclusive lock on the directory: a second opener gets kRefused with the holder's pid in the
  // message. Recovers from a crash: contents recorded are there, orphans of the last mount are purged in the
  // background by purge_orphans().
  static Result<std::unique_ptr<Replica>> open(const ReplicaOptions& options);
  virtual ~Replica() = default;

  // ---- names and attributes ----
  virtual Result<Node> node(NodeId id) const = 0;                               // kNotFound
  virtual Result<Node> lookup(NodeId parent, std::string_view name) const = 0;  // kNotFound
  // Every name of a directory, in byte order; `visit` is called with a read transaction open and must not
  // call back.
  virtual Result<void> list(
      NodeId directory, const std::function<void(std::string_view name, const Node& node)>& visit) const = 0;
  // The names after `after` (exclusive; "" = from the start), at most `limit`; for read-ahead by directory.
  virtual Result<std::vector<std::pair<DirectoryEntry, Node>>> list_after(NodeId directory,
                                                                          std::string_view after,
                                                                          size_t limit) const = 0;
  virtual Result<std::string> link_target(NodeId id) const = 0;
  virtual Result<StoredXattrs> xattrs(NodeId id) const = 0;
  virtual Result<std::optional<std::string>> xattr_value(std::string_view digest, uint64_t size) const = 0;
  // One path that leads to the node, relative to the root without leading '/'; "" is the root. kNotFound for
  // orphans.
  virtual Result<std::string> path_of(NodeId id) const = 0;
  // A name that leads to the node and its parent. kNotFound for orphans and the root.
  virtual Result<std::pair<NodeId, std::string>> name_of(NodeId id) const = 0;

  // ---- writing what the source lists ----
  // Brings one directory to what the source shows. `names` sorted by byte order, unique. `complete`: a stored
  // name that is absent is gone (its node, and everything below it, becomes orphan); otherwise it stays. (A
  // regular file of another version of which nothing is stored keeps its node, unless note_seen() was told.)
  // Nothing is written where nothing changed. A regular file whose size or mtime differs, or any change of
  // type, becomes a new node with the old ino; attribute changes stay on the node. `nodes_out[i]` is the node
  // of names[i]; 0 where there is a collision. `groups`: one object for all directories of one list.
  // What users changed is compared with what the source had before, not with the listing: it stays pending,
  // is merged, or turns out to be what the source has now (sync/replica/three_way.h).
  class Batch {
   public:
    virtual ~Batch() = default;  // without commit(): rolled back
    // Files that got longer are held, where `may_hold` says so (on this thread), until it is known whether
    // they grew. Otherwise, and where they did not, they are replaced.
    using MayHold = std::function<bool(NodeId)>;
    virtual void hold_growths(MayHold may_hold) = 0;
    virtual Result<DirectoryChanges> apply_directory(NodeId directory, const std::vector<ListedName>& names,
                                                     bool complete, HardLinkGroups& groups,
                                                     std::vector<NodeId>& nodes_out) = 0;
    // The root's own attributes, or those of any directory.
    virtual Result<std::vector<NameChange>> apply_attributes(NodeId node, const ListedName& self) = 0;
    virtual Result<void> commit() = 0;
  };
  // Holds the writer lock while it lives: keep it short (a few thousand rows).
  virtual Result<std::unique_ptr<Batch>> begin() = 0;

  virtual Result<void> store_xattr_value(std::string_view digest, uint64_t size, std::string_view value) = 0;
  virtual Result<void> store_id_names(const std::map<uint32_t, std::string>& users,
                                      const std::map<uint32_t, std::string>& groups) = 0;
  virtual Result<std::pair<std::map<uint32_t, std::string>, std::map<uint32_t, std::string>>> id_names()
      const = 0;

  // ---- content ----
  // Before bytes of this version that are not recorded yet are handed out: the node stays this version from
  // now on, as long as the store is open. False: it is another one already, the bytes must not be shown.
  virtual Result<bool> note_seen(NodeId id, const FileVersion& version) = 0;
  // Committed content, cached and mapped; null when nothing of it is here.
  virtual Result<std::shared_ptr<const Content>> content(NodeId id) = 0;
  virtual Result<ContentState> content_state(NodeId id) const = 0;
  // `size` is the expected size; the file may turn out otherwise. Existing partial content is kept as it is,
  // its extents are readable through content() and may be given as a delta basis; the writer writes into a
  // fresh one.
  virtual Result<std::unique_ptr<ContentWriter>> create_content(NodeId id, uint64_t expected_size) = 0;
  // Of a version of which note_seen() was true: also where the source has replaced or lost the file since.
  virtual Result<std::unique_ptr<ContentWriter>> create_shown_content(NodeId id, const FileVersion& version,
                                                                      uint64_t expected_size) = 0;
  // Goes on with the committed partial content of a node: the writer adds to what is there, at any offset,
  // and commit_partial() records all of it. Without one (or of another size): as create_content().
  virtual Result<std::unique_ptr<ContentWriter>> resume_content(NodeId id, uint64_t expected_size) = 0;
  // Goes on with the complete content of a node, which is the beginning of a longer version: what is written
  // is not shown before grow_content(), and what is there is not written again. kNotFound: there is none.
  virtual Result<std::unique_ptr<ContentWriter>> extend_content(NodeId id, uint64_t expected_size) = 0;
  struct FinishedContent {
    NodeId node = 0;
    std::unique_ptr<ContentWriter> writer;
    uint64_t size = 0;        // of the whole file; differs from the node's: the node's size is updated
    std::string digest_name;  // "xxh128", ...
    std::string digest;       // raw bytes
    // The version that the bytes are of; without it, the one that the node had when the writer was created.
    std::optional<FileVersion> version;
    // note_seen() was true of that version: who has it may have written to it, or go on reading, though the
    // source has it no more.
    bool shown = false;
  };
  // What an older version left here, of which this one, of which nothing is here yet, may be made by delta:
  // any bytes, complete or not; null: nothing. It stays until the content is finished, or until it is given
  // up.
  virtual Result<std::shared_ptr<const Content>> basis(NodeId id) = 0;
  virtual Result<void> drop_basis(NodeId id) = 0;
  // Makes complete contents visible, all in one transaction; data is in the block files before it. The bytes
  // of a node that was deleted, or was given another version, in the meantime are dropped without an error.
  virtual Result<void> finish_contents(std::vector<FinishedContent> finished) = 0;
  // The content of a node that is `before` is that of a longer version from now on, of which it is the
  // beginning. The bytes show; size and time follow with the next list that has them after settle_growth().
  // False: it is something else by now, or was changed here. `grown.writer` null: nothing is added.
  virtual Result<bool> grow_content(FinishedContent grown, const FileVersion& before) = 0;
  // The next list that has the version makes the node that one, or replaces it.
  virtual void settle_growth(NodeId id, const FileVersion& version, bool grew) = 0;
  // Somebody may have seen it: the node stays this version.
  virtual Result<void> drop_content(NodeId id) = 0;
  // After a view() that should have given bytes: what is damaged of them counts as absent from now on.
  virtual Result<void> settle_damage(NodeId id) = 0;
  // kNotFound: nothing is here of it.
  virtual Result<std::unique_ptr<ContentVerification>> verify_content(NodeId id) = 0;
  // Of each, which has not begun, what it looks at first is read now, all at once: for small contents, which
  // would be read one by one otherwise.
  virtual void read_ahead(std::span<ContentVerification* const> verifications) = 0;

  // ---- contents that somebody reads without asking ----
  // Shows what users see of the file, as long as it is held; what is lent is not let go meanwhile. Null: not
  // now; only files with all bytes here, in a block file of their own, without local changes of them, and
  // compared with their sums (Content::checked()), are lent. All who hold it must end before the store does.
  virtual Result<std::shared_ptr<LentContent>> lend_content(NodeId id) = 0;
  // Before somebody may change it without a call: by a map. Copies it, once.
  virtual Result<void> prepare_lent(NodeId id) = 0;
  // What was written into the lent file by maps is a local change from now on. False: nothing was. Slow.
  virtual Result<bool> take_mapped(NodeId id) = 0;

  // The kernel holds no reference any more: an orphan is deleted with its content, others stay.
  virtual Result<void> forget_orphans(const std::vector<NodeId>& nodes) = 0;
  // At start, when no kernel reference exists: deletes up to `limit` orphans; returns how many.
  virtual Result<size_t> purge_orphans(size_t limit) = 0;

  // ---- what users change, and what of it the source does not have yet ----
  // content(), create_content() and the like are about the base version of such files: FileVersion is the
  // base's.
  virtual LocalChanges& local() = 0;
  virtual const LocalChanges& local() const = 0;
  virtual PendingChanges& pending() = 0;
  virtual const PendingChanges& pending() const = 0;

  // ---- which contents stay here ----
  virtual CacheSpace& cache() = 0;
  virtual const CacheSpace& cache() const = 0;

  // Small settings that belong to the store ("last_synced_s", ...).
  virtual Result<std::optional<std::string>> meta(std::string_view key) const = 0;
  virtual Result<void> set_meta(std::string_view key, std::string_view value) = 0;
  virtual Result<ReplicaStatistics> statistics() const = 0;
  // Reads all that is recorded and compares what must agree; kCorrupt names the first thing that does not.
  // Slow.
  virtual Result<void> check_records() const = 0;
  // The same, and all bytes.
  virtual Result<void> check() const = 0;
  virtual const std::string& directory() const = 0;
  virtual const FileBatch& file_batch() const = 0;
};

}  // namespace rsyncfs
