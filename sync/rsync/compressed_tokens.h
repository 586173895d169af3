// SPDX-License-Identifier: GPL-3.0-or-later
// The token framing that zlibx and zstd share: flag bytes, compressed runs, relative block numbers.
#pragma once

#include <memory>

#include "sync/rsync/token_reader.h"

namespace rsyncfs {

// Not for CompressionKind::kNone.
std::unique_ptr<TokenReader> create_compressed_token_reader(CompressionKind kind);

}  // namespace rsyncfs
