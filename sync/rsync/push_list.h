// SPDX-License-Identifier: GPL-3.0-or-later
// The entries of a push in the order that numbers them, with the parents they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/push_session.h"

namespace rsyncfs {

class PushList {
 public:
  // Errc::kUsage for what rsync cannot list, what the kind does not allow, and a path given twice.
  static Result<PushList> create(PushKind kind, std::vector<PushEntry> entries);

  uint32_t size() const { return static_cast<uint32_t>(order_.size()); }
  // By index on the wire. Extended attributes are sorted by name.
  const PushEntry& entry(uint32_t ndx) const { return entries_[order_[ndx]]; }
  // Its place in what was given; nothing for a parent that was added.
  std::optional<size_t> place(uint32_t ndx) const;
  // Of what is listed.
  uint32_t ndx(size_t place) const { return ndx_of_[place]; }
  size_t given() const { return given_; }
  // PushEntry::within included.
  std::span<const PushEntry> given_entries() const { return std::span(entries_).first(given_); }

 private:
  PushList() = default;
  void add_parents();
  Result<void> sort();

  std::vector<PushEntry> entries_;  // those given, then added parents
  size_t given_ = 0;
  std::vector<uint32_t> order_;   // by ndx: index into entries_
  std::vector<uint32_t> ndx_of_;  // the reverse
};

// "a/b" of "a/b/c"; "" at the root.
std::string_view parent_path(std::string_view path);
std::string_view last_component(std::string_view path);

}  // namespace rsyncfs
