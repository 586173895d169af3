// SPDX-License-Identifier: GPL-3.0-or-later
// What somebody can do about a source that cannot be mounted.
#pragma once

#include "io/base/result.h"
#include "sync/transport/source.h"

namespace rsyncfs {

// The same failure, its message followed by "; WAY OUT" where one is known. What servers say is known as rsync
// (clientserver.c, flist.c, main.c) and ssh say it.
Error with_way_out(const Error& failure, const Source& source, bool has_password);

}  // namespace rsyncfs
