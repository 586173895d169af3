// SPDX-License-Identifier: GPL-3.0-or-later
// The tokens of one file: literal bytes and numbers of blocks the receiver has. Source: rsync's token.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "io/base/result.h"
#include "sync/rsync/item_stream.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

// Receives tokens in order. An error returned ends the reading.
class TokenHandler {
 public:
  virtual ~TokenHandler() = default;
  virtual Result<void> on_literal(std::span<const std::byte> data) = 0;
  virtual Result<void> on_block(uint32_t index) = 0;  // below the count given to begin()
};

// One per session: a zstd stream runs through all its files, so every file must be read to its end, in order.
class TokenReader {
 public:
  static std::unique_ptr<TokenReader> create(CompressionKind kind);
  virtual ~TokenReader() = default;
  TokenReader(const TokenReader&) = delete;
  TokenReader& operator=(const TokenReader&) = delete;

  // At the start of each file; `block_count` sums went with the request.
  virtual void begin(uint32_t block_count) = 0;
  // Takes what it can from the front of `data`, nothing beyond the end token. Literals are passed on as they
  // come.
  virtual Result<Parsed> parse(std::span<const std::byte> data, TokenHandler& handler) = 0;
  bool ended() const { return ended_; }

 protected:
  TokenReader() = default;
  bool ended_ = true;
};

}  // namespace rsyncfs
