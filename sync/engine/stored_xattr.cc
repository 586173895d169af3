// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/stored_xattr.h"

#include <span>

#include "sync/rsync/checksum.h"

namespace rsyncfs {

std::string xattr_digest(std::string_view value) {
  Digest md5(ChecksumKind::kMd5);
  md5.update(std::as_bytes(std::span(value)));
  const ChecksumValue digest = md5.finish();
  const auto raw = digest.span();
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

StoredXattr store_form(std::string_view name, std::string_view value) {
  const bool abbreviated = value.size() > kMaxFullXattrBytes;
  return {std::string(name), abbreviated ? xattr_digest(value) : std::string(value), value.size(),
          abbreviated};
}

}  // namespace rsyncfs
