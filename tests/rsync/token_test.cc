// SPDX-License-Identifier: GPL-3.0-or-later
// The three token codings and their traps.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "sync/rsync/token_reader.h"
#include "tests/rsync/fake_server.h"

namespace rsyncfs {
namespace {

struct Log : TokenHandler {
  Result<void> on_literal(std::span<const std::byte> data) override {
    literals += text_of(data);
    return {};
  }
  Result<void> on_block(uint32_t index) override {
    literals += "<" + std::to_string(index) + ">";
    return {};
  }
  std::string literals;
};

constexpr uint32_t kBlocks = 100'000;

// One file's tokens after another; ends like "|" in the log.
Result<std::string> read_files(TokenReader& reader, std::string_view text, size_t piece, int files = 1) {
  Log log;
  ItemStream stream;
  reader.begin(kBlocks);
  for (size_t at = 0; at < text.size(); at += piece) {
    const auto fed = stream.feed(bytes_of(text).subspan(at, std::min(piece, text.size() - at)),
                                 [&](std::span<const std::byte> data) -> Result<Parsed> {
                                   Parsed total;
                                   while (files > 0 && total.consumed < data.size()) {
                                     auto parsed = reader.parse(data.subspan(total.consumed), log);
                                     if (!parsed.ok()) return parsed;
                                     total.consumed += parsed->consumed;
                                     total.need = parsed->need;
                                     if (!reader.ended()) break;
                                     log.literals += "|";
                                     if (--files > 0) reader.begin(kBlocks);
                                   }
                                   return total;
                                 });
    if (!fed.ok()) return fed.error();
  }
  EXPECT_EQ(stream.held(), 0u);
  return log.literals;
}

std::string read(CompressionKind kind, std::string_view text, int files = 1) {
  std::string whole;
  for (const size_t piece : {text.size(), size_t{1}, size_t{7}}) {
    const auto reader = TokenReader::create(kind);
    const auto got = read_files(*reader, text, piece, files);
    if (!got.ok()) return "error: " + got.error().message();
    if (whole.empty()) whole = *got;
    EXPECT_EQ(*got, whole);
  }
  return whole;
}

// Compresses as rsync's sender: runs of at most 16383 bytes, the sync flush's last four bytes left out.
class DeflateSender {
 public:
  DeflateSender() { deflateInit2(&stream_, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY); }
  ~DeflateSender() { deflateEnd(&stream_); }
  DeflateSender(const DeflateSender&) = delete;
  DeflateSender& operator=(const DeflateSender&) = delete;
  std::string run(std::string text) {
    std::string out(deflateBound(&stream_, text.size()) + 100, '\0');
    stream_.next_in = reinterpret_cast<Bytef*>(text.data());
    stream_.avail_in = static_cast<uInt>(text.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream_, Z_SYNC_FLUSH), Z_OK);
    out.resize(out.size() - stream_.avail_out);
    EXPECT_TRUE(out.ends_with(std::string("\0\0\xff\xff", 4)));
    return framed(out.substr(0, out.size() - 4));
  }
  static std::string framed(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
      const auto part = bytes.substr(0, 16383);
      out +=
          Wire().u8(static_cast<unsigned>(0x40 | part.size() >> 8)).u8(part.size() & 0xff).raw(part).text();
      bytes.remove_prefix(part.size());
    }
    return out;
  }

 private:
  z_stream stream_{};
};

class ZstdSender {
 public:
  ZstdSender() : context_(ZSTD_createCCtx()) {}
  ~ZstdSender() { ZSTD_freeCCtx(context_); }
  ZstdSender(const ZstdSender&) = delete;
  ZstdSender& operator=(const ZstdSender&) = delete;
  std::string run(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()) + 100, '\0');
    ZSTD_inBuffer in{text.data(), text.size(), 0};
    ZSTD_outBuffer o{out.data(), out.size(), 0};
    EXPECT_EQ(ZSTD_compressStream2(context_, &o, &in, ZSTD_e_flush), 0u);
    return DeflateSender::framed(std::string_view(out).substr(0, o.pos));
  }

 private:
  ZSTD_CCtx* context_;
};

std::string lines(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += "line " + std::to_string(i * int64_t{7919} % 10007) + "\n";
  return out;
}

TEST(Tokens, Plain) {
  const std::string text =
      Wire().le32(3).raw("abc").le32(-1).le32(-3).le32(2).raw("de").le32(0).le32(-100'000).le32(0).text();
  EXPECT_EQ(read(CompressionKind::kNone, text, 2), "abc<0><2>de|<99999>|");
  EXPECT_TRUE(read(CompressionKind::kNone, Wire().le32(-100'001).text()).starts_with("error"));
  EXPECT_TRUE(read(CompressionKind::kNone, Wire().le32(INT32_MIN).text()).starts_with("error"));
}

TEST(Tokens, NothingBeyondTheEndIsTaken) {
  for (const CompressionKind kind :
       {CompressionKind::kNone, CompressionKind::kZlibx, CompressionKind::kZstd}) {
    const auto reader = TokenReader::create(kind);
    Log log;
    reader->begin(0);
    const std::string text =
        (kind == CompressionKind::kNone ? Wire().le32(0) : Wire().u8(0)).raw("digest").text();
    const auto parsed = reader->parse(bytes_of(text), log);
    ASSERT_TRUE(parsed.ok());
    EXPECT_TRUE(reader->ended());
    EXPECT_EQ(parsed->consumed, text.size() - 6);
  }
}

class CompressedTokens : public testing::TestWithParam<CompressionKind> {};

TEST_P(CompressedTokens, BlockNumbers) {
  const std::string text = Wire()
                               .u8(0x80 | 5)  // 5
                               .u8(0x80 | 1)  // 6
                               .u8(0xc0 | 2)
                               .le16(3)   // 8 and 3 more
                               .u8(0x80)  // 11 again
                               .u8(0x20)
                               .le32(70'000)  // long
                               .u8(0x21)
                               .le32(3)
                               .le16(2)        // long with a run
                               .u8(0x80 | 63)  // 68
                               .u8(0)
                               .u8(0x80 | 4)
                               .u8(0)  // the next file starts from 0
                               .text();
  EXPECT_EQ(read(GetParam(), text, 2), "<5><6><8><9><10><11><11><70000><3><4><5><68>|<4>|");
}

TEST_P(CompressedTokens, UnusualLongFlagsAreLegal) {
  // All of 0x01 to 0x3f that are not the end mean a long number; the lowest bit adds a run.
  EXPECT_EQ(read(GetParam(), Wire().u8(0x02).le32(9).u8(0x1f).le32(1).le16(1).u8(0).text()), "<9><1><2>|");
}

TEST_P(CompressedTokens, ImpossibleNumbersAreRefused) {
  for (const std::string& text :
       {Wire().u8(0x20).le32(-1).text(), Wire().u8(0x20).le32(kBlocks).text(),
        Wire().u8(0x21).le32(kBlocks - 3).le16(3).text(), Wire().u8(0xc1).le16(0).text(),
        Wire().u8(0x21).le32(5).le16(0).text(), Wire().u8(0x21).le32(INT32_MAX).le16(9).text()}) {
    EXPECT_TRUE(read(GetParam(), text).starts_with("error")) << text.size();
  }
}

TEST_P(CompressedTokens, BrokenDataIsRefused) {
  EXPECT_TRUE(read(GetParam(), DeflateSender::framed("\xff\xff\xff\xff this is no compressed data") + '\0')
                  .starts_with("error"));
}
INSTANTIATE_TEST_SUITE_P(Kinds, CompressedTokens,
                         testing::Values(CompressionKind::kZlibx, CompressionKind::kZstd),
                         [](const auto& info_) {
                           return info_.param == CompressionKind::kZstd ? "zstd" : "zlibx";
                         });

TEST(Tokens, ZlibxResetsForEachFileAndContinuesOverBlocks) {
  DeflateSender first;
  DeflateSender second;
  const std::string long_text = lines(20'000);
  std::string text = first.run("head ");
  text += Wire().u8(0x80 | 1).text();
  text += first.run("head again " + long_text);
  text += Wire().u8(0xc0 | 2).le16(1).u8(0).text();
  text += second.run(long_text);
  text += '\0';
  EXPECT_EQ(read(CompressionKind::kZlibx, text, 2),
            "head <1>head again " + long_text + "<3><4>|" + long_text + "|");
}

TEST(Tokens, ZlibxRunsWithoutAFlushBetween) {
  // A long file is one unbroken deflate stream over many runs.
  DeflateSender sender;
  const std::string text = lines(300'000);
  EXPECT_EQ(read(CompressionKind::kZlibx, sender.run(text) + '\0'), text + "|");
}

TEST(Tokens, ZstdIsOneStreamForAllFiles) {
  ZstdSender sender;
  const std::string a = lines(5000);
  std::string text = sender.run(a);
  const size_t first_size = text.size();
  text += '\0';
  // The second file's data refers to the first's: a fresh context could not read it.
  text += sender.run(a);
  EXPECT_LT(text.size(), first_size + first_size / 10);
  text += Wire().u8(0x80 | 2).text();
  text += sender.run("tail");
  text += '\0';
  EXPECT_EQ(read(CompressionKind::kZstd, text, 2), a + "|" + a + "<2>tail|");
}

TEST(Tokens, ARunEndsBeforeLaterLiterals) {
  // Blocks named by a run come out before the literal that follows, however the input is cut.
  DeflateSender sender;
  std::string text = sender.run("a");
  text += Wire().u8(0xc0 | 3).le16(2).text();
  text += sender.run("b");
  text += '\0';
  EXPECT_EQ(read(CompressionKind::kZlibx, text), "a<3><4><5>b|");
}

}  // namespace
}  // namespace rsyncfs
