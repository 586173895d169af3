// SPDX-License-Identifier: GPL-3.0-or-later
// The tokens of one file, against sums, in one of the three codings.
#include "sync/rsync/token_reader.h"
#include "tests/fuzz/fuzz_session.h"

namespace {

#if defined(RSYNCFS_FUZZ_ZSTD)
constexpr auto kKind = rsyncfs::CompressionKind::kZstd;
#elif defined(RSYNCFS_FUZZ_ZLIBX)
constexpr auto kKind = rsyncfs::CompressionKind::kZlibx;
#else
constexpr auto kKind = rsyncfs::CompressionKind::kNone;
#endif

constexpr size_t kMaxOutput = 1 << 20;

struct Output : rsyncfs::TokenHandler {
  rsyncfs::Result<void> on_literal(std::span<const std::byte> data) override {
    literals.append(reinterpret_cast<const char*>(data.data()), data.size());
    if (literals.size() > kMaxOutput) return rsyncfs::Error(rsyncfs::Errc::kLimit, "enough");
    return {};
  }
  rsyncfs::Result<void> on_block(uint32_t index) override {
    RSYNCFS_CHECK(index < rsyncfs::fuzz::kBlocks);
    blocks.push_back(index);
    return {};
  }
  std::string literals;
  std::vector<uint32_t> blocks;
  bool failed = false;
};

// Two files in a row, so that what is kept from one to the next is used.
Output read(std::span<const std::byte> data, size_t piece) {
  Output out;
  const auto reader = rsyncfs::TokenReader::create(kKind);
  rsyncfs::ItemStream stream;
  int files = 0;
  const auto parse = [&](std::span<const std::byte> bytes) -> rsyncfs::Result<rsyncfs::Parsed> {
    rsyncfs::Parsed total;
    while (total.consumed < bytes.size()) {
      if (reader->ended()) {
        if (++files > 2) return rsyncfs::Parsed{bytes.size(), 0};
        reader->begin(rsyncfs::fuzz::kBlocks);
      }
      auto parsed = reader->parse(bytes.subspan(total.consumed), out);
      if (!parsed.ok()) return parsed;
      total.consumed += parsed->consumed;
      total.need = parsed->need;
      if (!reader->ended()) break;
    }
    return total;
  };
  while (!data.empty() && !out.failed) {
    const auto part = data.first(std::min(piece, data.size()));
    data = data.subspan(part.size());
    out.failed = !stream.feed(part, parse).ok();
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const Output whole = read(bytes, size + 1);
  const Output cut = read(bytes, 1);
  RSYNCFS_CHECK(whole.failed == cut.failed && whole.blocks == cut.blocks);
  RSYNCFS_CHECK(whole.failed || whole.literals == cut.literals);
  return 0;
}
