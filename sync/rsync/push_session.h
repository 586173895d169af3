// SPDX-License-Identifier: GPL-3.0-or-later
// One rsync conversation in which we are the sender: a list of entries goes out, the server says what it
// lacks of them, and what is pushed is answered by per-entry acknowledgements. A state machine without I/O:
// bytes in, bytes out, events called synchronously from receive() and end_of_input(). One thread. Source:
// clientserver.c, compat.c, io.c, flist.c, sender.c, generator.c, token.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/output_queue.h"
#include "io/base/result.h"
#include "sync/rsync/checksum.h"
#include "sync/rsync/file_list.h"
#include "sync/rsync/item_flags.h"
#include "sync/rsync/session_config.h"
#include "sync/rsync/sum_head.h"

namespace rsyncfs {

// What a list is for. Kinds are never mixed in one list: they need other server options and have other
// dangers.
enum class PushKind : uint8_t {
  // Regular files by delta: block sums are asked for always (-I), the new file is written aside, synced and
  // renamed over the old one, and acknowledged.
  kData,
  // As kData, but the server sends no sums and reads nothing (-W). Copies may still be named, against our own
  // knowledge of its blocks.
  kWholeData,
  // Only what is beyond the remote file's end, in place (--append). Nothing checks what is before it.
  kAppend,
  // Mode, times, owner, xattrs and ACLs of what exists with the same size. Contents are never sent.
  kAttributes,
  // Directories, symbolic links, FIFOs, sockets, devices. What stands in their place is replaced without
  // asking.
  kCreate,
  // New names for existing inodes (-H), which must still have that size and mtime (to the nanosecond since
  // protocol 31), or nothing happens.
  kLink,
  // Renamed into backup_dir: same name, other directory. What stands there is replaced without asking.
  kMove,
  kDelete,
};
std::string_view push_kind_name(PushKind kind);  // a verb, for the log

// An attribute's whole value, or (abbreviated) its digest and size: then the server keeps its own value if it
// has that digest, and complains if not. "system." names are not for rsync.
using PushXattr = ListedXattr;

struct PushEntry {
  std::string path;       // "a/b", relative to the session's root; "." (a directory) is the root itself
  uint32_t mode = 0;      // st_mode, type bits included; 0 for kMove and kDelete
  uint64_t size = 0;      // regular files: of the new contents
  int64_t mtime_s = 0;    // since 1970
  uint32_t mtime_ns = 0;  // not sent below protocol 31
  uint32_t uid = 0;       // sent with PushConfig::owner
  uint32_t gid = 0;
  uint32_t rdev_major = 0;  // devices
  uint32_t rdev_minor = 0;
  std::string link_target;   // symbolic links
  uint32_t hlink_group = 0;  // kLink: entries of equal groups are one inode; 0 = none
  std::vector<PushXattr> xattrs;
  std::optional<PosixAcl> access_acl;  // whole, or as lists give it; absent: none beyond the mode
  std::optional<PosixAcl> default_acl;
  // Directories: false = only named as a parent, nothing of it is changed; if it is missing it is made, with
  // this mode. Parents that are not given are added like that, with mode 0755.
  bool touch = true;
  // With PushConfig::exact: it is not listed, but goes with a directory above it that is.
  bool within = false;
};

struct PushConfig : SessionConfig {
  PushConfig() { numeric_ids = true; }

  PushKind kind = PushKind::kData;
  bool owner = false;   // uid and gid (-o -g): only a server that is root can set them all
  bool acls = false;    // -A
  bool xattrs = false;  // -X
  // Names for ids, sent if !numeric_ids: the server prefers its own id of that name.
  std::map<uint32_t, std::string> user_names, group_names;
  bool fsync = true;  // contents are on the server's disk before they are acknowledged; rsync 3.2.4 or later
  bool acknowledge =
      true;  // PushEvents::on_success(); without it the end and the absence of complaints are all
  uint32_t block_length = 0;  // of the sums asked for, up to kMaxBlockLength; 0: the server's choice
  // Where what is replaced or removed goes instead: relative to root, "../to", or absolute, which on a daemon
  // is below the module. Made if it is missing. Needed by kMove; also for kData, kWholeData, kCreate,
  // kDelete. On a pipe ".." leads where the host's directories do. A daemon before rsync 3.2.4 misreads
  // backslashes.
  std::string backup_dir;
  // Shell only: the server takes "/" for the directory that it is restricted to (rrsync).
  bool anchored = false;
  std::string suffix;  // for names put into backup_dir, or without one, beside
  bool force = false;  // kMove, kDelete: directories with all that is in them
  // kDelete: directories with what is in them, from below, as far as that is in `entries`; one that has
  // anything else in it stays. A receiver asks filter rules before it removes what was not listed (delete.c),
  // but gets to read any only with --delete, or with -m, which does nothing else to such a list (exclude.c).
  bool exact = false;
  int max_delete = 0;  // kDelete: the server stops at so many; 0: no such limit
  // What is skipped silently. Directories that exist as such get their attributes with both.
  bool only_existing = false;  // kData, kWholeData, kAttributes: what is missing
  bool only_missing = false;   // kData, kWholeData, kCreate, kLink, kAttributes: what exists

  // In any order. Empty: they come by set_entries(), which keeps a session warm until there is something to
  // push.
  std::vector<PushEntry> entries;
};

// The arguments after "rsync" for PeerKind::kShell, path unescaped: the transport escapes it for the remote
// shell.
std::vector<std::string> shell_arguments(const PushConfig& config);

struct PushLimits : SessionLimits {
  // Memory of block sums that are being received or belong to unanswered requests. Beyond it a request comes
  // without them (PushRequest::sums_dropped); it does not end the session.
  size_t max_sum_bytes = size_t{256} << 20;
};

// The server wants contents. `index` is the place in PushConfig::entries.
struct PushRequest {
  size_t index = 0;
  uint16_t iflags = 0;             // kItem...: kItemIsNew = there is no such name
  uint8_t basis_type = kBasisOwn;  // kBasis...: what the sums are of
  std::string xname;               // the basis' name where it is another
  SumHead head;                    // of what the server has; count 0 if nothing, or with kWholeData
  BlockSums sums;                  // empty with kAppend, kWholeData, and if dropped
  bool sums_dropped = false;
  bool again =
      false;  // what was sent did not fit what the server has by now: asked once more, strong sums whole
};

// What the server says. Indices are places in PushConfig::entries.
class PushEvents {
 public:
  virtual ~PushEvents() = default;
  // Once, after compat flags and negotiation.
  virtual void on_established() {}
  // To be answered by begin_file() ... end_file(), now or later, in the order of the requests; or by
  // decline(), in any order.
  virtual void on_request(PushRequest request) = 0;
  // Contents were asked for in a list that carries none (kAttributes: the size differs or the file is
  // missing; kLink: what was to be linked is no longer the same). Declined: the entry was left as it is.
  virtual void on_declined(size_t /*index*/, uint16_t /*iflags*/) {}
  // Something about an entry, without contents, is about to be done: attributes that differ, a directory, a
  // link.
  virtual void on_item(size_t /*index*/, uint16_t /*iflags*/, std::string_view /*xname*/) {}
  // The entry stands as it was pushed. Not for directories, moves and deletions. May follow an error text
  // about the same entry's attributes.
  virtual void on_success(size_t /*index*/) {}
  // Removed, or moved into backup_dir: one call per object. `path` is relative to root.
  virtual void on_deleted(std::string_view /*path*/, bool /*directory*/) {}
  virtual void on_message(MessageKind /*kind*/, std::string_view /*text*/) {}
  // Once: the server has gone through the list. If nothing was declined, all that it has to say of moves,
  // links and deletions is said, and they are done. Contents may be under way still, and directories get
  // their times and modes at the end only.
  virtual void on_list_done() {}
  // Everything that will come has come. What was not acknowledged was not done.
  virtual void on_finished() = 0;
};

enum class PushState : uint8_t {
  kOpening,
  kReady,   // established, no entries yet
  kActive,  // the list is out
  kEnded,
};

class PushSession {
 public:
  // `events` must outlive the session.
  PushSession(PushConfig config, PushEvents& events, PushLimits limits = {});
  ~PushSession();
  PushSession(const PushSession&) = delete;
  PushSession& operator=(const PushSession&) = delete;

  // Bytes for the peer. The owner sends and consumes them after construction and after each call below.
  OutputQueue& output();

  // Bytes from the peer, any split. An error is final: no more events, close the connection. kAuth, kNotFound
  // (module, root), kRefused (no connection for us now), kUnsupported (an option is refused or unknown; the
  // text says which), kPermission (the module is read only), kOs with os_errno() (the disk is full), kUsage
  // (an entry of the configuration), kProtocol, kLimit, kTimedOut, kDisconnected. What was acknowledged
  // before is done.
  Result<void> receive(std::span<const std::byte> data);
  // The peer closed. Ok only after on_finished().
  Result<void> end_of_input();

  // Once, if the configuration had none; before or after on_established(). kUsage: which entry cannot be
  // pushed; nothing was sent.
  Result<void> set_entries(std::vector<PushEntry> entries);
  // An empty DATA frame, once established: a daemon's timeout counts until the list has come.
  void keep_alive();

  // Leaves the remote file untouched. Not after begin_file().
  void decline(size_t index);
  // Answers the oldest unanswered request, which must be of `index`. `head` says what copy() counts: the
  // request's own, or, with sums of our own (kWholeData), ours; without blocks for a name that kItemIsNew,
  // and with kAppend the request's (a name that kItemIsNew and yet has blocks can only be declined there).
  // One file at a time, to its end; between calls the caller may wait for output() to drain.
  void begin_file(size_t index, const SumHead& head);
  void literal(std::span<const std::byte> data);
  void literal(const SharedBytes& data);  // not copied, if nothing is compressed
  void copy(uint32_t block);
  // `digest` of the whole file, with kAppend (unless again) of what was sent. A wrong one makes the server
  // drop what it has and ask again, once; without --inplace, --append and --partial that does no harm.
  void end_file(const ChecksumValue& digest);

  PushState state() const;
  size_t unanswered() const;      // requests, the one being answered included
  int protocol() const;           // negotiated; 0 before
  ChecksumKind checksum() const;  // negotiated
  int32_t checksum_seed() const;
  CompressionKind compression() const;
  int server_io_timeout_s() const;          // MSG_IO_TIMEOUT, 0 = none
  std::string_view server_version() const;  // the daemon's greeting, "@RSYNCD: 32.0 ..."; "" over a pipe
  // After an error: without SessionConfig::taken_for there would not have been one, and nothing was done.
  bool misjudged() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rsyncfs
