// SPDX-License-Identifier: GPL-3.0-or-later
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include <zlib.h>
#include <zstd.h>

#include "sync/rsync/compressed_tokens.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

namespace {

constexpr size_t kOutputBytes = 128 * 1024;

// Turns the compressed runs of a file into literals.
class Inflater {
 public:
  virtual ~Inflater() = default;
  virtual void begin_file() = 0;
  virtual Result<void> inflate_run(std::span<const std::byte> data, TokenHandler& handler) = 0;
  // A run has ended: what follows is not compressed data.
  virtual Result<void> end_run(TokenHandler& handler) = 0;

 protected:
  std::vector<std::byte> output_ = std::vector<std::byte>(kOutputBytes);
};

// Raw deflate, one stream per file. The sender strips the four bytes of each sync flush; they are put back
// here.
class ZlibxInflater : public Inflater {
 public:
  ZlibxInflater() { RSYNCFS_CHECK(inflateInit2(&stream_, -MAX_WBITS) == Z_OK); }
  ~ZlibxInflater() override { inflateEnd(&stream_); }
  ZlibxInflater(const ZlibxInflater&) = delete;
  ZlibxInflater& operator=(const ZlibxInflater&) = delete;

  void begin_file() override { RSYNCFS_CHECK(inflateReset(&stream_) == Z_OK); }

  Result<void> inflate_run(std::span<const std::byte> data, TokenHandler& handler) override {
    return run(data, handler);
  }

  Result<void> end_run(TokenHandler& handler) override {
    constexpr std::byte kSyncFlush[] = {std::byte{0}, std::byte{0}, std::byte{0xff}, std::byte{0xff}};
    return run(kSyncFlush, handler);
  }

 private:
  Result<void> run(std::span<const std::byte> data, TokenHandler& handler) {
    stream_.next_in = reinterpret_cast<z_const Bytef*>(const_cast<std::byte*>(data.data()));
    stream_.avail_in = static_cast<uInt>(data.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(output_.data());
      stream_.avail_out = static_cast<uInt>(output_.size());
      const int status = ::inflate(&stream_, Z_SYNC_FLUSH);
      // Z_BUF_ERROR: nothing was left to do. An ended stream is an error too: the sender never ends one.
      if (status != Z_OK && status != Z_BUF_ERROR)
        return Error(Errc::kProtocol, "bad deflate data from the server");
      const size_t produced = output_.size() - stream_.avail_out;
      if (produced == 0) break;
      if (auto taken = handler.on_literal(std::span(output_).first(produced)); !taken.ok()) return taken;
    } while (stream_.avail_in > 0 || stream_.avail_out == 0);
    if (stream_.avail_in > 0) return Error(Errc::kProtocol, "bad deflate data from the server");
    return {};
  }

  z_stream stream_{};
};

// One stream for the whole session; each file's last run ends with a flush.
class ZstdInflater : public Inflater {
 public:
  ZstdInflater() : context_(ZSTD_createDCtx()) { RSYNCFS_CHECK(context_ != nullptr); }
  ~ZstdInflater() override { ZSTD_freeDCtx(context_); }
  ZstdInflater(const ZstdInflater&) = delete;
  ZstdInflater& operator=(const ZstdInflater&) = delete;

  void begin_file() override {}

  Result<void> inflate_run(std::span<const std::byte> data, TokenHandler& handler) override {
    // The library may also read formats of long ago; no rsync ever sent those.
    constexpr std::byte kMagic[] = {std::byte{0x28}, std::byte{0xb5}, std::byte{0x2f}, std::byte{0xfd}};
    for (size_t i = 0; i < data.size() && magic_seen_ < std::size(kMagic); ++i) {
      if (data[i] != kMagic[magic_seen_++]) return bad_data();
    }
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    while (true) {
      ZSTD_outBuffer out{output_.data(), output_.size(), 0};
      const size_t status = ZSTD_decompressStream(context_, &out, &in);
      // 0: the stream has ended, which the sender's never does.
      if (ZSTD_isError(status) != 0 || status == 0) return bad_data();
      if (out.pos > 0) {
        if (auto taken = handler.on_literal(std::span(output_).first(out.pos)); !taken.ok()) return taken;
      }
      if (in.pos == in.size && out.pos < out.size) return {};
    }
  }

  Result<void> end_run(TokenHandler& /*handler*/) override { return {}; }

 private:
  static Error bad_data() { return Error(Errc::kProtocol, "bad zstd data from the server"); }

  ZSTD_DCtx* context_;
  size_t magic_seen_ = 0;
};

class CompressedTokenReader : public TokenReader {
 public:
  explicit CompressedTokenReader(std::unique_ptr<Inflater> inflater) : inflater_(std::move(inflater)) {}

  void begin(uint32_t block_count) override {
    block_count_ = block_count;
    token_ = 0;
    run_left_ = 0;
    in_run_ = false;
    ended_ = false;
    inflater_->begin_file();
  }

  Result<Parsed> parse(std::span<const std::byte> data, TokenHandler& handler) override {
    Parsed parsed;
    while (!ended_) {
      const auto rest = data.subspan(parsed.consumed);
      if (run_left_ > 0) {
        if (rest.empty()) return parsed;
        const auto piece = rest.first(std::min<size_t>(rest.size(), run_left_));
        run_left_ -= static_cast<uint32_t>(piece.size());
        parsed.consumed += piece.size();
        if (auto taken = inflater_->inflate_run(piece, handler); !taken.ok()) return taken.error();
        continue;
      }
      WireReader in(rest);
      if (auto taken = parse_flag(in, handler); !taken.ok()) return taken.error();
      if (in.is_short()) {
        parsed.need = in.need();
        return parsed;
      }
      parsed.consumed += in.position();
    }
    return parsed;
  }

 private:
  // Nothing is changed when `in` turns out short.
  Result<void> parse_flag(WireReader& in, TokenHandler& handler) {
    const uint8_t flag = in.u8();
    if ((flag & kTokenKindMask) == kDeflatedData) {
      const uint32_t length = uint32_t{flag & 0x3fu} << 8 | in.u8();
      if (!in.ok()) return {};
      run_left_ = length;
      in_run_ = true;
      return {};
    }
    int64_t first = 0;
    bool has_run = false;
    if (flag == 0) {
      if (!in.ok()) return {};
      if (auto closed = close_run(handler); !closed.ok()) return closed;
      ended_ = true;
      return {};
    }
    if ((flag & kRelativeToken) != 0) {
      first = int64_t{token_} + (flag & 0x3f);
      has_run = (flag & 0x40) != 0;
    } else {
      first = in.le32_signed();
      has_run = (flag & 1) != 0;
    }
    const uint32_t more = has_run ? in.le16() : 0;
    if (!in.ok()) return {};
    if (has_run && more == 0) return Error(Errc::kProtocol, "an empty run of blocks from the server");
    if (first < 0 || first + more >= block_count_) {
      return Error(Errc::kProtocol, "the server names a block that we do not have");
    }
    if (auto closed = close_run(handler); !closed.ok()) return closed;
    for (uint32_t i = 0; i <= more; ++i) {
      token_ = static_cast<uint32_t>(first) + i;
      if (auto taken = handler.on_block(token_); !taken.ok()) return taken;
    }
    return {};
  }

  Result<void> close_run(TokenHandler& handler) {
    if (!std::exchange(in_run_, false)) return {};
    return inflater_->end_run(handler);
  }

  std::unique_ptr<Inflater> inflater_;
  uint32_t block_count_ = 0;
  uint32_t token_ = 0;
  uint32_t run_left_ = 0;  // bytes of compressed data still to come
  bool in_run_ = false;
};

}  // namespace

std::unique_ptr<TokenReader> create_compressed_token_reader(CompressionKind kind) {
  RSYNCFS_CHECK(kind != CompressionKind::kNone);
  if (kind == CompressionKind::kZstd)
    return std::make_unique<CompressedTokenReader>(std::make_unique<ZstdInflater>());
  return std::make_unique<CompressedTokenReader>(std::make_unique<ZlibxInflater>());
}

}  // namespace rsyncfs
