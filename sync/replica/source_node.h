// SPDX-License-Identifier: GPL-3.0-or-later
// One node, and what the source lists for it: three sides to be judged, and what is done on the node when it
// stays the same object or becomes the next version of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/pending.h"
#include "sync/replica/three_way.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// A node with what the source has of it, as far as we know.
struct KnownNode {
  Node node;
  BaseNode base;
  std::string target;  // of a symbolic link

  Side local_side() const;
  Side base_side() const;
};
// kNotFound: no such node.
Result<KnownNode> read_known_node(Connection& db, NodeId id);

// The set of what is listed; `otherwise` when the list carries none.
Result<uint64_t> listed_xattr_set(Transaction& transaction, const ListedName& listed, uint64_t otherwise);
Side remote_side(const ListedName& listed, uint64_t xattr_set);
BaseNode base_of_listed(NodeId node, const ListedName& listed, uint64_t xattr_set);

// A name that the source led to another node until now gets a new one, as it is listed. No name leads to it
// yet.
Result<NodeId> insert_listed(Transaction& transaction, const ListedName& listed, uint64_t ino);
// What the source has now, and users do not see: an orphan, for base to lead to.
Result<NodeId> insert_hidden(Transaction& transaction, const ListedName& listed);

// The attributes of the node follow the source's, but for those that users changed; base is what is listed.
// `listed` is of the base's version. True: users see a difference.
Result<bool> follow_source(Transaction& transaction, const KnownNode& known, const ListedName& listed,
                           uint32_t nlink);
// The next version of the object, as a new node, with the attributes that users changed. No name leads to it
// yet; `ino`: 0 = its own.
Result<NodeId> insert_next_version(Transaction& transaction, const KnownNode& before,
                                   const ListedName& listed, uint64_t ino);

// How many names users see of a node that has `told` at the source, which is at least the base names that we
// know.
Result<uint32_t> shown_nlink(Connection& db, const Node& node, uint32_t told);
// Names of the directory differ: its time is ours then.
Result<bool> has_pending_names(Connection& db, NodeId directory);

}  // namespace rsyncfs
