// SPDX-License-Identifier: GPL-3.0-or-later
// The token framing that zlibx and zstd share: flag bytes, compressed runs, relative block numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "sync/rsync/token_reader.h"
#include "sync/rsync/token_writer.h"

namespace rsyncfs {

// The two upper bits of a flag byte say what it is; token.c.
constexpr uint8_t kTokenKindMask = 0xc0;
constexpr uint8_t kDeflatedData = 0x40;   // 14 bits of length, in this byte and the next
constexpr uint8_t kRelativeToken = 0x80;  // the block number is a difference of 6 bits; 0x40: a run
constexpr uint8_t kLongToken = 0x20;      // the block number follows; 1: a run
constexpr size_t kMaxCompressedPiece = 0x3fff;

// Not for CompressionKind::kNone.
std::unique_ptr<TokenReader> create_compressed_token_reader(CompressionKind kind);
std::unique_ptr<TokenWriter> create_compressed_token_writer(CompressionKind kind, int level);

}  // namespace rsyncfs
