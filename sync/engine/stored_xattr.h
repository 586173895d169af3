// SPDX-License-Identifier: GPL-3.0-or-later
// Long values of extended attributes are told by their digests, in the source's lists and so in the Replica.
// Source: xattrs.c (MAX_FULL_DATUM).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "sync/replica/types.h"

namespace rsyncfs {

constexpr size_t kMaxFullXattrBytes = 32;

// MD5 without a seed.
std::string xattr_digest(std::string_view value);
// Abbreviated where a list of the source would have it so. Not for ACLs, which are always stored in full.
StoredXattr store_form(std::string_view name, std::string_view value);

}  // namespace rsyncfs
