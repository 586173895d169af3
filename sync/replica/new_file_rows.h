// SPDX-License-Identifier: GPL-3.0-or-later
// A batch of new files, directories and symbolic links, and how it gets into the database.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "io/base/result.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

struct NewFile {
  Node node;
  NodeId parent = 0;
  std::string name;
  std::string link_target;  // symbolic links
  std::string bytes;        // files
  int64_t made_ms = 0;      // Unix time
  uint64_t block_file = 0;  // that has its bytes; 0: none yet
};

// What became of a directory that is in the database.
struct DirectoryTouch {
  FileTime at;
  int64_t subdirectories = 0;  // more than before
};

struct NewFileBatch {
  std::map<NodeId, NewFile> files;  // parents are made before what is in them, and have lower ids
  std::map<NodeId, std::map<std::string, NodeId, std::less<>>> names;
  std::unordered_map<NodeId, DirectoryTouch> touched;
  uint64_t last_entry = 0;  // of the journal
  bool empty() const { return files.empty() && touched.empty(); }
};

// [next, end) are left of a range.
struct NumberRange {
  uint64_t next = 0;
  uint64_t end = 0;
  uint64_t left() const { return end - next; }
};

// The block files are there already.
Result<void> record_new_files(Transaction& transaction, const NewFileBatch& batch);
// The last entry of the journal that is in the database.
Result<uint64_t> last_recorded_entry(Connection& db);

}  // namespace rsyncfs
