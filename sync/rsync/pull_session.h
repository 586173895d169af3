// SPDX-License-Identifier: GPL-3.0-or-later
// One rsync conversation in which the server is the sender: list once, then fetch any entry by index, in any
// order, for as long as the session lives. A state machine without I/O: bytes in, bytes out, events called
// synchronously from receive() and end_of_input(). One thread. Source: clientserver.c, compat.c, io.c,
// flist.c, receiver.c, token.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "sync/rsync/checksum.h"
#include "sync/rsync/file_list.h"
#include "sync/rsync/list_page.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

// A regular file, from `offset` (which needs --append), by its place in the list.
struct FirstRequest {
  uint32_t ndx = 0;
  uint64_t offset = 0;
};

struct PullConfig : SessionConfig {
  bool hard_links = true;            // -H
  bool acls = true;                  // -A
  bool xattrs = true;                // -X
  std::vector<std::string> filters;  // rsync filter rules, "- *.o"

  // What is listed: the whole tree (paths empty), or these paths relative to root. "d/" lists d's children
  // one level deep, "d" only the entry itself; "./" is the root's children. Any bytes but NUL. Sent as
  // --files-from.
  std::vector<std::string> paths;
  // Asked for before the list is seen, where its place there is known: that of a single path is behind the
  // directories above it. In PullEvents::on_list() it must be requested, which then sends nothing, or the
  // session be closed. Not a regular file: the server ends the session behind its list. Before protocol 31 it
  // is not done.
  std::optional<FirstRequest> first_request;
  // With paths: answer a missing path by an entry of mode 0 (--delete-missing-args) instead of an error text.
  // A missing parent still sets FileList::kIoErrorVanished. Without it a missing path is just not listed, and
  // if nothing at all is found the session ends with kNotFound. `rrsync -ro` does not allow it.
  bool report_missing = true;
  // The whole tree in pages, a directory at a time, and nothing but its names: PullEvents::on_page(). A
  // server that does not do that sends the list as a whole: PullSession::paged().
  bool paged = false;
};

// The arguments after "rsync" for PeerKind::kShell ("--server", "--sender", ...), path arguments unescaped:
// the transport escapes them for the remote shell.
std::vector<std::string> shell_arguments(const PullConfig& config);

// Named bounds on what a peer may make us hold. Reaching one ends the session with Errc::kLimit.
struct PullLimits : SessionLimits {
  size_t max_entries = kMaxListEntries;           // of a page, where there are pages
  size_t max_list_bytes = kMaxListBytes;          // FileList::memory_bytes(), and what sorting takes
  size_t max_xattr_value_bytes = 1 << 20;         // one value; 64 KiB is Linux's own limit
  size_t max_xattr_answer_bytes = 16 << 20;       // all values of one entry
  uint64_t max_file_excess = uint64_t{64} << 20;  // bytes beyond the listed size before a stream is abandoned
};

// The deepest byte that an append stream can begin at: a block count of 31 bits times the largest block.
constexpr uint64_t kMaxAppendOffset = uint64_t{0x7fffffff} * kMaxBlockLength;

// How one requested file ended.
struct FileEnd {
  enum class Status : uint8_t {
    kGood,       // complete, digest matched
    kBadDigest,  // complete, digest differs: read error or concurrent change on the source
    kNotSent,    // the sender declined; `reason` says why where a message told
  };
  Status status = Status::kGood;
  uint64_t size = 0;                    // bytes of the whole file as reconstructed
  std::optional<ChecksumValue> digest;  // kGood, kBadDigest: as computed by us; FileSink::digests(): as sent
  Error reason{Errc::kOs,
               ""};  // kNotSent: kVanished, kPermission (with os_errno()), ... ; kBadDigest: kCorrupt
};

// Where the bytes of one requested file go. Owned by the caller, must live until done() or the session's end.
class FileSink {
 public:
  virtual ~FileSink() = default;
  // Called once before any data, when the sender has answered.
  virtual void begin() {}
  // New bytes for [offset, offset + size). Offsets ascend without gaps over literal() and copy().
  virtual Result<void> literal(uint64_t offset, std::span<const std::byte> data) = 0;
  // The sender says: [offset, offset + length) equals block `block` of the sums that went with the request,
  // which starts at basis_offset of the basis. Returns those bytes (valid until the next call): they enter
  // the digest. A sink that digests() returns nothing.
  virtual Result<std::span<const std::byte>> copy(uint64_t offset, uint64_t basis_offset,
                                                  uint32_t length) = 0;
  // The sink computes the digest of what it has put together by itself: one answer may refer to gigabytes of
  // the basis. It gets the sender's with kGood.
  virtual bool digests() const { return false; }
  // An error returned by literal() or copy() does not end the session: the rest of the file is parsed and
  // dropped, and done() is called with kBadDigest. Called exactly once unless the session ends first.
  virtual void done(FileEnd end) = 0;
};

class PullEvents {
 public:
  virtual ~PullEvents() = default;
  // Once, after compat flags and negotiation.
  virtual void on_established() {}
  // Once. The list is the session's own: valid while the session lives.
  virtual void on_list(const FileList& list) = 0;
  // Instead of it: directories after those that they are in, depth first.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the override keeps the page
  virtual void on_page(ListPage /*page*/) {}
  // Once: that was all.
  virtual void on_pages_end() {}
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the override keeps the values
  virtual void on_xattrs(uint32_t /*ndx*/, std::vector<std::pair<std::string, std::string>> /*name, value*/) {
  }
  virtual void on_message(MessageKind /*kind*/, std::string_view /*text*/) {}
};

// kPaging: until it is closed; finish() is not for it.
enum class PullState : uint8_t { kOpening, kListing, kPaging, kArmed, kClosing, kEnded };

class PullSession {
 public:
  // `events` must outlive the session.
  PullSession(PullConfig config, PullEvents& events, PullLimits limits = {});
  ~PullSession();
  PullSession(const PullSession&) = delete;
  PullSession& operator=(const PullSession&) = delete;

  // Bytes for the peer. The owner sends and consumes them after construction and after each call below.
  ByteQueue& output();

  // Bytes from the peer, any split. An error is final: no more events, requests not done() are lost, close
  // the connection. kAuth, kNotFound (module, path), kNotDirectory, kRefused, kProtocol, kLimit, kPermission,
  // kUnsupported...
  Result<void> receive(std::span<const std::byte> data);
  // The peer closed. ok() only after an orderly end (finish()); otherwise kDisconnected, or the peer's own
  // last words.
  Result<void> end_of_input();

  // State kArmed only. `ndx` must be a regular file of the list; `sums` may be empty (whole file). Replies
  // come in request order; `sink` gets exactly one done(). Returns nothing: errors arrive through done() or
  // receive().
  void request_file(uint32_t ndx, const BlockSums& sums, FileSink& sink);
  // `--append` sessions only: stream [offset, end). Once per ndx, and not after another request for it.
  // Beyond kMaxAppendOffset the sink gets kNotSent with kLimit within this call.
  void request_append(uint32_t ndx, uint64_t offset, FileSink& sink);
  // Full values of abbreviated xattrs, as they are now; left out is what can no longer be read or was listed
  // beyond the limits. Answered by on_xattrs(), within this call if there is nothing to ask for. Entries with
  // the same set that are asked for meanwhile are answered with it. A sender gives each value once per
  // session: false, and no answer, if this set's have been given.
  [[nodiscard]] bool request_xattrs(uint32_t ndx);
  // State kPaging: the server may go on. It does so for about a thousand entries beyond the newest page, once
  // it need not keep the others.
  void turn_pages();
  // Queues an empty DATA frame.
  void keep_alive();
  // Orderly end; only with no request unanswered.
  void finish();

  PullState state() const;
  bool paged() const;             // pages were agreed on
  const FileList& list() const;   // from on_list() on
  size_t unanswered() const;      // requests whose done() has not come
  int protocol() const;           // negotiated; 0 before
  ChecksumKind checksum() const;  // negotiated
  int32_t checksum_seed() const;
  CompressionKind compression() const;
  int server_io_timeout_s() const;          // MSG_IO_TIMEOUT, 0 = none
  std::string_view server_version() const;  // the daemon's greeting, "@RSYNCD: 32.0 ..."; "" over a pipe
  ServerAbilities shown() const;            // from on_list() on
  // After an error: without SessionConfig::taken_for there would not have been one.
  bool misjudged() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// `@RSYNCD` module listing (`#list`): name and comment per line. A state machine like the above.
struct ListedModule {
  std::string name;
  std::string comment;
};
class ModuleListSession {
 public:
  explicit ModuleListSession(int max_protocol = 32);
  ByteQueue& output() { return output_; }
  Result<void> receive(std::span<const std::byte> data);
  bool finished() const { return finished_; }
  const std::vector<ListedModule>& modules() const { return modules_; }

 private:
  Result<void> take_line(std::string_view line);

  ByteQueue output_;
  ByteQueue input_;
  size_t scanned_ = 0;
  size_t lines_ = 0;
  size_t bytes_ = 0;
  bool greeted_ = false;
  bool finished_ = false;
  std::vector<ListedModule> modules_;
};

}  // namespace rsyncfs
