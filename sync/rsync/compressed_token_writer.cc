// SPDX-License-Identifier: GPL-3.0-or-later
#include <algorithm>
#include <utility>
#include <vector>

#include <zlib.h>
#include <zstd.h>

#include "io/base/result.h"
#include "sync/rsync/compressed_tokens.h"

namespace rsyncfs {

namespace {

constexpr uint32_t kMaxRelative = 63;
constexpr uint32_t kMaxRun = 65536;  // blocks
constexpr int kZlibMemory = 8;
constexpr size_t kDeflatePiece = 64 * 1024;

// Makes compressed runs of literals.
class Deflater {
 public:
  virtual ~Deflater() = default;
  virtual void begin_file() = 0;
  virtual void deflate(std::span<const std::byte> data, ByteQueue& compressed) = 0;
  // Ends a run, so that the receiver can make all of it out; what it puts back itself is left out.
  virtual void flush(ByteQueue& compressed) = 0;
  // How much at the end of what was made may still be left out.
  virtual size_t held_back() const = 0;

 protected:
  std::vector<std::byte> output_ = std::vector<std::byte>(kDeflatePiece);
};

// Raw deflate, one stream per file, without the four bytes that end each sync flush.
class ZlibxDeflater : public Deflater {
 public:
  explicit ZlibxDeflater(int level) {
    RSYNCFS_CHECK(deflateInit2(&stream_, level == 0 ? Z_DEFAULT_COMPRESSION : std::clamp(level, 1, 9),
                               Z_DEFLATED, -MAX_WBITS, kZlibMemory, Z_DEFAULT_STRATEGY) == Z_OK);
  }
  ~ZlibxDeflater() override { deflateEnd(&stream_); }
  ZlibxDeflater(const ZlibxDeflater&) = delete;
  ZlibxDeflater& operator=(const ZlibxDeflater&) = delete;

  void begin_file() override { RSYNCFS_CHECK(deflateReset(&stream_) == Z_OK); }
  void deflate(std::span<const std::byte> data, ByteQueue& compressed) override {
    run(data, Z_NO_FLUSH, compressed);
  }
  void flush(ByteQueue& compressed) override { run({}, Z_SYNC_FLUSH, compressed); }
  size_t held_back() const override { return 4; }

 private:
  void run(std::span<const std::byte> data, int flush, ByteQueue& compressed) {
    constexpr size_t kMaxAtOnce = size_t{1} << 30;
    do {
      const auto piece = data.first(std::min(data.size(), kMaxAtOnce));
      data = data.subspan(piece.size());
      stream_.next_in = reinterpret_cast<z_const Bytef*>(const_cast<std::byte*>(piece.data()));
      stream_.avail_in = static_cast<uInt>(piece.size());
      do {
        stream_.next_out = reinterpret_cast<Bytef*>(output_.data());
        stream_.avail_out = static_cast<uInt>(output_.size());
        const int status = ::deflate(&stream_, flush);
        RSYNCFS_CHECK(status == Z_OK || status == Z_BUF_ERROR);  // nothing else can come of these arguments
        compressed.append(std::span(output_).first(output_.size() - stream_.avail_out));
      } while (stream_.avail_in > 0 || stream_.avail_out == 0);
    } while (!data.empty());
  }

  z_stream stream_{};
};

// One stream for the whole session.
class ZstdDeflater : public Deflater {
 public:
  explicit ZstdDeflater(int level) : context_(ZSTD_createCCtx()) {
    RSYNCFS_CHECK(context_ != nullptr);
    const int chosen =
        level == 0 ? ZSTD_CLEVEL_DEFAULT : std::clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel());
    RSYNCFS_CHECK(ZSTD_isError(ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, chosen)) == 0);
  }
  ~ZstdDeflater() override { ZSTD_freeCCtx(context_); }
  ZstdDeflater(const ZstdDeflater&) = delete;
  ZstdDeflater& operator=(const ZstdDeflater&) = delete;

  void begin_file() override {}
  void deflate(std::span<const std::byte> data, ByteQueue& compressed) override {
    run(data, ZSTD_e_continue, compressed);
  }
  void flush(ByteQueue& compressed) override { run({}, ZSTD_e_flush, compressed); }
  size_t held_back() const override { return 0; }

 private:
  void run(std::span<const std::byte> data, ZSTD_EndDirective directive, ByteQueue& compressed) {
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    size_t left = 0;
    do {
      ZSTD_outBuffer out{output_.data(), output_.size(), 0};
      left = ZSTD_compressStream2(context_, &out, &in, directive);
      RSYNCFS_CHECK(ZSTD_isError(left) == 0);  // memory and wrong arguments are all that can fail
      compressed.append(std::span(output_).first(out.pos));
    } while (in.pos < in.size || (directive == ZSTD_e_flush && left > 0));
  }

  ZSTD_CCtx* context_;
};

class CompressedTokenWriter : public TokenWriter {
 public:
  explicit CompressedTokenWriter(std::unique_ptr<Deflater> deflater) : deflater_(std::move(deflater)) {}

  void begin() override {
    RSYNCFS_CHECK(!in_run_ && run_blocks_ == 0);
    last_named_ = 0;
    deflater_->begin_file();
  }

  void literal(std::span<const std::byte> data, ByteQueue& out) override {
    if (data.empty()) return;
    write_blocks(out);  // they stand before these bytes
    in_run_ = true;
    deflater_->deflate(data, compressed_);
    write_compressed(deflater_->held_back(), out);
  }

  void copy(uint32_t block, ByteQueue& out) override {
    end_run(out);
    if (run_blocks_ > 0 && block == first_ + run_blocks_ && run_blocks_ < kMaxRun) {
      ++run_blocks_;
      return;
    }
    write_blocks(out);
    first_ = block;
    run_blocks_ = 1;
  }

  void end(ByteQueue& out) override {
    end_run(out);
    write_blocks(out);
    out.append_u8(0);
  }

 private:
  void end_run(ByteQueue& out) {
    if (!std::exchange(in_run_, false)) return;
    deflater_->flush(compressed_);
    RSYNCFS_CHECK(compressed_.size() >= deflater_->held_back());
    write_compressed(deflater_->held_back(), out);
    const size_t rest = compressed_.size() - deflater_->held_back();
    if (rest > 0) write_piece(rest, out);
    compressed_.clear();
  }

  void write_compressed(size_t held_back, ByteQueue& out) {
    while (compressed_.size() >= kMaxCompressedPiece + held_back) write_piece(kMaxCompressedPiece, out);
  }

  void write_piece(size_t size, ByteQueue& out) {
    out.append_u8(static_cast<uint8_t>(kDeflatedData | size >> 8));
    out.append_u8(static_cast<uint8_t>(size));
    out.append(compressed_.readable().first(size));
    compressed_.consume(size);
  }

  void write_blocks(ByteQueue& out) {
    if (run_blocks_ == 0) return;
    const uint32_t more = std::exchange(run_blocks_, 0) - 1;
    const unsigned has_more = more > 0 ? 1 : 0;
    if (first_ >= last_named_ && first_ - last_named_ <= kMaxRelative) {
      out.append_u8(static_cast<uint8_t>(kRelativeToken | has_more << 6 | (first_ - last_named_)));
    } else {
      out.append_u8(static_cast<uint8_t>(kLongToken | has_more));
      out.append_le32(first_);
    }
    if (more > 0) out.append_le16(static_cast<uint16_t>(more));
    last_named_ = first_ + more;
  }

  std::unique_ptr<Deflater> deflater_;
  ByteQueue compressed_;     // not written yet
  bool in_run_ = false;      // of literals
  uint32_t first_ = 0;       // of a run of blocks that is not written yet
  uint32_t run_blocks_ = 0;  // its length
  uint32_t last_named_ = 0;
};

}  // namespace

std::unique_ptr<TokenWriter> create_compressed_token_writer(CompressionKind kind, int level) {
  RSYNCFS_CHECK(kind != CompressionKind::kNone);
  if (kind == CompressionKind::kZstd)
    return std::make_unique<CompressedTokenWriter>(std::make_unique<ZstdDeflater>(level));
  return std::make_unique<CompressedTokenWriter>(std::make_unique<ZlibxDeflater>(level));
}

}  // namespace rsyncfs
