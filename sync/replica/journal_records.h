// SPDX-License-Identifier: GPL-3.0-or-later
// What the entries of the journal say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "sync/replica/types.h"

namespace rsyncfs {

// A file, a directory or a symbolic link, and its name.
struct MadeRecord {
  NodeId node = 0;
  NodeId parent = 0;
  std::string_view name;
  uint32_t mode = 0;  // with type bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t parent_links = 0;     // that the parent gains
  std::string_view link_target;  // symbolic links
  FileTime at;
};

struct WrittenRecord {
  NodeId node = 0;
  uint64_t offset = 0;
  std::string_view bytes;
  FileTime at;
};

struct AttributesRecord {
  NodeId node = 0;
  uint32_t mode = 0;  // with type bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  FileTime mtime;
  FileTime atime;
  FileTime at;
};

using JournalRecord = std::variant<MadeRecord, WrittenRecord, AttributesRecord>;

std::string encode(const JournalRecord& record);
// The texts are those of `bytes`. nullopt: it is none.
std::optional<JournalRecord> decode_journal_record(std::string_view bytes);

}  // namespace rsyncfs
