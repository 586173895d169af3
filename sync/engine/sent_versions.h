// SPDX-License-Identifier: GPL-3.0-or-later
// Versions of files that were sent to the source, of which no acknowledgement has come yet: if the source
// turns out to have one, it is ours and no conflict. Kept in the store, for after a crash.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

struct SentVersion {
  FileVersion version;
  // In place: the source may have any size from this one on to the version's, and any time.
  std::optional<uint64_t> appended_to;

  // `entry`: a regular file at the source.
  bool may_be(const NodeAttributes& entry) const;
  bool is(const NodeAttributes& entry) const;
};

// Where they are kept: Replica::set_meta().
constexpr std::string_view kSentMeta = "push_sent";

class SentVersions {
 public:
  // Of one node: each that was sent since the source was last heard of. The oldest are forgotten.
  static constexpr size_t kMaxOfNode = 8;
  static constexpr size_t kMaxNodes = 4'096;

  void put(NodeId node, const SentVersion& version);
  void erase(NodeId node) { versions_.erase(node); }
  // Of several that were sent, this one is there now.
  void erase(NodeId node, const FileVersion& version);
  bool has(NodeId node) const { return versions_.contains(node); }
  // `entry` may be a version of the node that was sent.
  bool is_of(NodeId node, const NodeAttributes& entry) const;
  // `entry`, which the source has, may be a version of the node that was sent; or it is, to the nanosecond,
  // one of another node, which had the name before.
  bool may_be(NodeId node, const NodeAttributes& entry) const;

  std::string serialize() const;
  // What is not understood is left out.
  static SentVersions parse(std::string_view text);

 private:
  std::map<NodeId, std::vector<SentVersion>> versions_;
};

}  // namespace rsyncfs
