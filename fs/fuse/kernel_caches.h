// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string_view>

#include "sync/replica/types.h"

namespace rsyncfs {

// The kernel's side. Calls return 0 or a negative errno (-ENOENT: it held nothing of the kind). They may
// block until requests under way for the same inode are answered.
class KernelCaches {
 public:
  virtual ~KernelCaches() = default;
  virtual int drop_entry(NodeId parent, std::string_view name) = 0;
  virtual int drop_attributes(NodeId node) = 0;
  virtual int drop_all(
      NodeId node) = 0;  // attributes and pages: file data, a directory's names, a link's target
};

}  // namespace rsyncfs
