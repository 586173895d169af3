// SPDX-License-Identifier: GPL-3.0-or-later
// Writes the tokens of one file after another: literal bytes and numbers of blocks the receiver has. Source:
// rsync's token.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "io/base/byte_queue.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

constexpr size_t kMaxPlainLiteral = 32 * 1024;  // rsync.h CHUNK_SIZE

// One per session: a zstd stream runs through all its files, so every file begun must be ended. `out` is not
// framed. `level` 0: rsync's own choice.
class TokenWriter {
 public:
  static std::unique_ptr<TokenWriter> create(CompressionKind kind, int level);
  virtual ~TokenWriter() = default;
  TokenWriter(const TokenWriter&) = delete;
  TokenWriter& operator=(const TokenWriter&) = delete;

  // Literals go out as they are, each behind its length: none is longer than kMaxPlainLiteral then.
  virtual bool is_plain() const { return false; }
  virtual void begin() = 0;
  virtual void literal(std::span<const std::byte> data, ByteQueue& out) = 0;
  virtual void copy(uint32_t block, ByteQueue& out) = 0;
  virtual void end(ByteQueue& out) = 0;

 protected:
  TokenWriter() = default;
};

}  // namespace rsyncfs
