// SPDX-License-Identifier: GPL-3.0-or-later
// The ACLs and extended attributes that follow an entry of a list being sent: each distinct one is sent once
// and then named by number. Source: acls.c, xattrs.c.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/base/byte_queue.h"
#include "sync/rsync/push_session.h"

namespace rsyncfs {

class AclEncoder {
 public:
  void write(const PushEntry& entry, ByteQueue& out);

 private:
  using Numbers = std::unordered_map<std::string, uint32_t>;  // by what was sent
  static void write_one(const PosixAcl& acl, Numbers& numbers, ByteQueue& out);

  Numbers access_;
  Numbers default_;
};

class XattrEncoder {
 public:
  // `xattrs` sorted by name.
  void write(const std::vector<PushXattr>& xattrs, ByteQueue& out);

 private:
  std::unordered_map<std::string, uint32_t> numbers_;
  uint32_t count_ = 0;
};

}  // namespace rsyncfs
