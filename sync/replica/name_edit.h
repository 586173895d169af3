// SPDX-License-Identifier: GPL-3.0-or-later
// The steps that every local change of names is made of, with the errors of the system calls. Nothing of a
// failed one may be committed.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "io/base/result.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// As much as ext4 has.
constexpr uint32_t kMaxLinks = 65'000;

// Of one transaction.
class NameEdit {
 public:
  explicit NameEdit(Transaction& transaction) : transaction_(transaction), now_(FileTime::now()) {}

  Connection& db() { return transaction_.db(); }
  const FileTime& now() const { return now_; }

  // ---- questions ----
  Result<Node> node(NodeId id);
  // The directory in which the name is, or is to be.
  Result<Node> directory(NodeId id, std::string_view name);
  Result<Node> child(const Node& directory, std::string_view name);
  Result<std::optional<Node>> find(const Node& directory, std::string_view name);
  Result<void> expect_free(const Node& directory, std::string_view name);
  Result<void> expect_empty(const Node& directory);
  // EINVAL when `directory` is `node` or lies below it.
  Result<void> expect_outside(const Node& directory, const Node& node);

  // ---- changes; `before`: where the name led until now, 0 = nowhere ----
  Result<void> lead(const Node& directory, std::string_view name, NodeId before, NodeId after);
  // The node has one more name, or one of its names is another now: `links` is what that adds to them.
  Result<void> gain_name(Node& node, uint32_t links);
  // One of its names is gone: it may be an orphan now.
  Result<void> lose_name(Node& node);
  // Its names changed: times, and the number of its subdirectories.
  Result<void> touch_directory(const Node& directory, int subdirectories);

 private:
  Transaction& transaction_;
  const FileTime now_;
};

bool is_plain_name(std::string_view name);

Error failed(int error, std::string_view what);

}  // namespace rsyncfs
