// SPDX-License-Identifier: GPL-3.0-or-later
// File lists, whole or in pages: the first byte chooses the format, the rest is the list. What is accepted
// must be sound.
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "sync/rsync/file_list_decoder.h"
#include "sync/rsync/paged_list.h"

namespace rsyncfs {
namespace {

constexpr size_t kMaxComponent = 255;

size_t longest_component(std::string_view path) {
  size_t longest = 0;
  while (true) {
    const size_t size = std::min(path.find('/'), path.size());
    longest = std::max(longest, size);
    if (size == path.size()) return longest;
    path.remove_prefix(size + 1);
  }
}

void check_entry(const FileList& list, uint32_t ndx) {
  const FileEntry& entry = list.entry(ndx);
  const std::string path = list.path(entry);
  RSYNCFS_CHECK(!path.empty() && path.front() != '/' && path.find('\0') == std::string::npos);
  RSYNCFS_CHECK(path == "." || ("/" + path + "/").find("/./") == std::string::npos);
  RSYNCFS_CHECK(("/" + path + "/").find("/../") == std::string::npos && path.find("//") == std::string::npos);
  const auto found = list.find(path);
  if (entry.usable()) {
    RSYNCFS_CHECK(found && list.entry(*found).usable() && list.path(list.entry(*found)) == path);
    RSYNCFS_CHECK(longest_component(path) <= kMaxComponent);
  } else {
    RSYNCFS_CHECK(!found || list.entry(*found).usable());
  }
  const EntryExtra& extra = list.extra(entry);
  RSYNCFS_CHECK(extra.xattrs < static_cast<int32_t>(list.xattr_sets.size()));
  RSYNCFS_CHECK(extra.access_acl < static_cast<int32_t>(list.acls.size()));
  RSYNCFS_CHECK(extra.default_acl < static_cast<int32_t>(list.acls.size()));
  if (ndx == 0) return;
  const FileEntry& before = list.entry(ndx - 1);
  RSYNCFS_CHECK(compare_list_order(list.dirname(before), list.basename(before), S_ISDIR(before.mode),
                                   list.dirname(entry), list.basename(entry), S_ISDIR(entry.mode)) <= 0);
}

constexpr ListLimits kLimits{.max_entries = 10'000, .max_bytes = 16 << 20};

void check_list(const FileList& list) {
  uint32_t unusable = 0;
  for (uint32_t i = 0; i < list.size(); ++i) {
    check_entry(list, i);
    if (!list.entry(i).usable()) ++unusable;
  }
  RSYNCFS_CHECK(unusable == list.unusable);
}

// Each directory was named by an earlier page, and has one.
void decode_pages(const ListFormat& format, std::span<const std::byte> data) {
  std::set<std::string> coming = {""};
  PagedListDecoder decoder(format, kLimits, [&](const ListPage& page) {
    RSYNCFS_CHECK(coming.erase(page.directory) == 1);
    check_list(page.list);
    for (const FileEntry& entry : page.list.entries) {
      RSYNCFS_CHECK(page.list.dirname(entry) == page.directory);
      if (S_ISDIR(entry.mode) && page.list.basename(entry) != ".") coming.insert(page.list.path(entry));
    }
  });
  ItemStream stream;
  size_t piece = 1;
  while (!data.empty() && !decoder.done()) {
    const auto part = data.first(std::min(piece, data.size()));
    data = data.subspan(part.size());
    piece = piece % 100 + 7;
    if (decoder.lists() > decoder.released() + 2) decoder.release(1);
    if (!stream.feed(part, [&](std::span<const std::byte> bytes) { return decoder.parse(bytes); }).ok())
      return;
  }
  RSYNCFS_CHECK(!decoder.done() || coming.empty());
}

void decode(const ListFormat& format, std::span<const std::byte> data) {
  FileListDecoder decoder(format, kLimits);
  ItemStream stream;
  size_t piece = 1;
  while (!data.empty() && !decoder.done()) {
    const auto part = data.first(std::min(piece, data.size()));
    data = data.subspan(part.size());
    piece = piece % 100 + 7;
    if (!stream.feed(part, [&](std::span<const std::byte> bytes) { return decoder.parse(bytes); }).ok())
      return;
  }
  if (!decoder.done()) return;
  check_list(decoder.take());
}

}  // namespace
}  // namespace rsyncfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  rsyncfs::ListFormat format;
  format.protocol = 30 + (data[0] & 3) % 3;
  format.varint_flags = (data[0] & 4) == 0;
  format.id0_names = (data[0] & 8) == 0;
  format.acls = (data[0] & 16) != 0;
  format.xattrs = (data[0] & 32) != 0;
  format.numeric_ids = (data[0] & 64) != 0;
  format.incremental = (data[0] & 128) != 0;
  const auto list = std::as_bytes(std::span(data + 1, size - 1));
  format.incremental ? rsyncfs::decode_pages(format, list) : rsyncfs::decode(format, list);
  return 0;
}
