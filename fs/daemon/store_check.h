// SPDX-License-Identifier: GPL-3.0-or-later
// Reads what is here of files, and of all below directories, through, a piece at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sync/replica/replica.h"

namespace rsyncfs {

// What was found of one file.
struct CheckedFile {
  NodeId node = 0;
  std::string path;
  uint64_t size = 0;
  uint64_t read_bytes = 0;
  std::optional<ContentCheck>
      content;                // of the bytes that the source has, too; nullopt: none of them are here
  bool complete = false;      // all of them are here, and none is damaged
  bool changed_here = false;  // users changed bytes that the source does not have yet
  std::optional<Error> lost;  // and these, or those that nobody else has, cannot be read

  bool damaged() const { return content && content->damaged_bytes > 0; }
  bool nothing_here() const { return !content && !changed_here; }
};

// One thread at a time, not the loop's; but for cancel().
class StoreCheck {
 public:
  static constexpr size_t kPageEntries = 1'024;      // names of a directory taken at a time
  static constexpr size_t kMaxQueuedFiles = 16'384;  // found and waiting; the walk pauses there
  // Of one step, after which others have their turn.
  static constexpr uint64_t kStepBytes = 16 << 20;
  static constexpr size_t kStepFiles = 128;
  // Small files whose bytes are read at once.
  static constexpr size_t kReadAheadFiles = 64;

  explicit StoreCheck(Replica& replica) : replica_(replica) {}

  void add(const Node& node, const std::string& path);
  struct Step {
    std::vector<CheckedFile> files;
    std::vector<std::pair<std::string, Error>> failed;  // directories that could not be read
    uint64_t files_total = 0;                           // found so far
    uint64_t bytes_total = 0;                           // of these, here
    bool counting = false;                              // more may be found
    bool over = false;
  };
  Step step();
  // Any thread: the step under way ends soon.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  struct File {
    Node node;
    std::string path;
  };
  struct Directory {
    NodeId node = 0;
    std::string path;
    std::string after;  // where the next page begins
  };

  Result<void> read_page(Directory directory);
  // Up to kStepBytes of the first file; nullopt: there is more of it.
  std::optional<CheckedFile> check_first(uint64_t& read_bytes);
  // The small files that come first.
  void read_ahead();
  // False: there is more.
  Result<bool> check_content(const File& file, CheckedFile& out);
  Result<uint64_t> read_changed(const DirtyContent& content) const;

  Replica& replica_;
  std::vector<Directory> directories_;                 // still to be read, last first
  std::deque<File> files_;                             // still to be checked, the first perhaps in part
  std::unique_ptr<ContentVerification> verification_;  // of the first
  // Of the first ones, in this step: begun, and their bytes are read.
  std::unordered_map<NodeId, Result<std::unique_ptr<ContentVerification>>> ahead_;
  std::unordered_set<NodeId> linked_;  // with several names: found before
  uint64_t files_total_ = 0;
  uint64_t bytes_total_ = 0;
  std::atomic<bool> cancelled_{false};
};

}  // namespace rsyncfs
