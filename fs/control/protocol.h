// SPDX-License-Identifier: GPL-3.0-or-later
// What verbs and daemon say to each other over the control socket: one JSON object per line. A request is one
// line; the answer is any number of progress and failure lines and one last line. Reference:
// fs/control/PROTOCOL.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

constexpr size_t kMaxControlLine = 256 * 1024;         // bytes of a request, the newline included
constexpr size_t kMaxControlAnswer = 4 * 1024 * 1024;  // bytes of a line of the answer
constexpr size_t kMaxControlPaths = 1024;              // paths of one request
constexpr size_t kMaxUnsentNamed = 20;                 // changes that are named when they were not sent
constexpr uint64_t kMaxControlLimitS = 86'400;         // longer waits are cut to this

enum class ControlVerb : uint8_t {
  kStatus,
  kInfo,
  kFetch,
  kFree,
  kPin,
  kUnpin,
  kFlush,
  kRefresh,
  kVerify,
  kConflicts,
  kResume,
  kUnmount,
  kHandOver,  // a daemon that wants the store of one that is unmounted and still sends
};
std::string_view control_verb_name(ControlVerb verb);

struct ControlRequest {
  ControlVerb verb = ControlVerb::kStatus;
  // info, flush, refresh (one), fetch, free, pin, unpin, verify (one or more): raw bytes, relative to the
  // mountpoint, no leading '/'; "" is the root.
  std::vector<std::string> paths = {};
  bool lazy = false;  // umount: detach now, finish when the last user is gone
  // flush, umount: how long to wait for the source; absent: the daemon's own limit for umount, none for
  // flush.
  std::optional<uint64_t> limit_s = {};
  bool clear = false;   // conflicts: forget those that are told
  bool remote = false;  // verify: compare with the source, too
  bool operator==(const ControlRequest&) const = default;
};

// Of fetch, pin and verify; of flush and umount, where changes are counted instead of files.
struct JobProgress {
  uint64_t files_done = 0;
  uint64_t files_total = 0;  // found so far
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;  // of the files found so far
  uint64_t files_failed = 0;
  bool counting = false;  // the totals may still grow
  bool operator==(const JobProgress&) const = default;
};

// Why a request failed, where the verb does something about it.
enum class ControlFailure : uint8_t {
  kOther,
  kUsage,
  kBusy,
  kNotFound,
  kUnsent,  // changes are not on the source; of umount: though it is unmounted
};

struct ControlAnswer {
  enum class Kind : uint8_t { kProgress, kFailedPath, kFinding, kDone, kFailed };
  Kind kind = Kind::kDone;
  JobProgress progress = {};                        // kProgress; also kDone of a fetch, pin or verify
  std::string path = {};                            // kFailedPath: raw bytes, what could not be had or sent
                                                    // kFinding: raw bytes, what it is about
  std::string reason = {};                          // kFailedPath, kFailed, kFinding: one line
  ControlFailure failure = ControlFailure::kOther;  // kFailed
  std::string document = {};  // kDone of those that tell something: a JSON object (fs/control/STATUS_JSON.md)
  bool operator==(const ControlAnswer&) const = default;
};

// One line without its newline. Decoders take hostile bytes: kProtocol, or the whole object.
std::string encode(const ControlRequest& request);
Result<ControlRequest> decode_control_request(std::string_view line);
std::string encode(const ControlAnswer& answer);
Result<ControlAnswer> decode_control_answer(std::string_view line);

}  // namespace rsyncfs
