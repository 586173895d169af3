// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/token_reader.h"

#include <algorithm>

#include "sync/rsync/compressed_tokens.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

namespace {

// int32 each: n > 0 announces n literal bytes, n < 0 is block -n - 1, 0 the end.
class PlainTokenReader : public TokenReader {
 public:
  void begin(uint32_t block_count) override {
    block_count_ = block_count;
    literal_left_ = 0;
    ended_ = false;
  }

  Result<Parsed> parse(std::span<const std::byte> data, TokenHandler& handler) override {
    Parsed parsed;
    while (!ended_) {
      const auto rest = data.subspan(parsed.consumed);
      if (literal_left_ > 0) {
        if (rest.empty()) return parsed;
        const auto piece = rest.first(std::min<size_t>(rest.size(), literal_left_));
        literal_left_ -= static_cast<uint32_t>(piece.size());
        parsed.consumed += piece.size();
        if (auto taken = handler.on_literal(piece); !taken.ok()) return taken.error();
        continue;
      }
      WireReader in(rest);
      const int32_t token = in.le32_signed();
      if (!in.ok()) {
        parsed.need = in.need();
        return parsed;
      }
      parsed.consumed += in.position();
      if (auto taken = take(token, handler); !taken.ok()) return taken.error();
    }
    return parsed;
  }

 private:
  Result<void> take(int32_t token, TokenHandler& handler) {
    if (token == 0) {
      ended_ = true;
      return {};
    }
    if (token > 0) {
      literal_left_ = static_cast<uint32_t>(token);
      return {};
    }
    const auto index = static_cast<uint32_t>(-(int64_t{token} + 1));
    if (index >= block_count_) return Error(Errc::kProtocol, "the server names a block that we do not have");
    return handler.on_block(index);
  }

  uint32_t block_count_ = 0;
  uint32_t literal_left_ = 0;
};

}  // namespace

std::unique_ptr<TokenReader> TokenReader::create(CompressionKind kind) {
  if (kind == CompressionKind::kNone) return std::make_unique<PlainTokenReader>();
  return create_compressed_token_reader(kind);
}

}  // namespace rsyncfs
