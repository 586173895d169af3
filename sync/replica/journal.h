// SPDX-License-Identifier: GPL-3.0-or-later
// One file of the journal: what was answered and is not in the database yet (sync/replica/new_files.h). A
// process that is killed loses nothing of it; after a power cut it counts for nothing.
// sync/replica/FORMAT.md, "The journal".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/state_directory.h"

namespace rsyncfs {

struct JournalEntry {
  uint64_t number = 0;  // of all entries ever, without a gap
  std::string record;
};

struct JournalContents {
  std::vector<JournalEntry> entries;  // one number after the other
  bool damaged = false;               // younger ones follow on something that makes no sense
};

// One thread at a time.
class JournalFile {
 public:
  // Made when it is not there.
  static Result<JournalFile> open(const std::string& path);

  // From the beginning on, as far as it makes sense: what follows is of before the last restart, or was never
  // finished.
  Result<JournalContents> read() const;
  // Once it returns, the kernel has the entry. After a failure there is none.
  Result<void> append(uint64_t number, std::string_view record);
  // What comes next takes the place of all entries, which are in the database by now.
  void restart() { end_ = 0; }
  Result<void> erase();
  // What it has is kept under another name, which is given, and nothing is in it any more.
  Result<std::string> set_aside();
  uint64_t size() const { return end_; }

 private:
  JournalFile(std::string path, OwnedFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  OwnedFd fd_;
  uint64_t end_ = 0;
  std::string frame_;  // kept for its memory
};

}  // namespace rsyncfs
