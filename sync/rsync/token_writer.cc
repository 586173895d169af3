// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/token_writer.h"

#include <algorithm>

#include "sync/rsync/compressed_tokens.h"

namespace rsyncfs {

namespace {

class PlainTokenWriter : public TokenWriter {
 public:
  bool is_plain() const override { return true; }
  void begin() override {}
  void literal(std::span<const std::byte> data, ByteQueue& out) override {
    while (!data.empty()) {
      const auto piece = data.first(std::min(data.size(), kMaxPlainLiteral));
      out.append_le32(static_cast<uint32_t>(piece.size()));
      out.append(piece);
      data = data.subspan(piece.size());
    }
  }
  void copy(uint32_t block, ByteQueue& out) override { out.append_le32(~block); }  // -block - 1
  void end(ByteQueue& out) override { out.append_le32(0); }
};

}  // namespace

std::unique_ptr<TokenWriter> TokenWriter::create(CompressionKind kind, int level) {
  if (kind == CompressionKind::kNone) return std::make_unique<PlainTokenWriter>();
  return create_compressed_token_writer(kind, level);
}

}  // namespace rsyncfs
