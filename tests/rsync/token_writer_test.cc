// SPDX-License-Identifier: GPL-3.0-or-later
// What is written as tokens is read as the same tokens, and in as few bytes as rsync's own.
#include "sync/rsync/token_writer.h"

#include <random>

#include <gtest/gtest.h>

#include "sync/rsync/token_reader.h"
#include "tests/rsync/fake_server.h"
#include "tests/support/files.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr uint32_t kBlocks = 0x7fffffff;

// Both directions of it as text: literals as they are, blocks as "<N>", a file's end as "|".
struct Log : TokenHandler {
  Result<void> on_literal(std::span<const std::byte> data) override {
    text += text_of(data);
    return {};
  }
  Result<void> on_block(uint32_t index) override {
    text += "<" + std::to_string(index) + ">";
    return {};
  }
  std::string text;
};

class Script {
 public:
  explicit Script(CompressionKind kind, int level = 0) : writer_(TokenWriter::create(kind, level)) {
    writer_->begin();
  }
  Script& literal(std::string_view text) {
    writer_->literal(bytes_of(text), out_);
    expected_ += text;
    return *this;
  }
  Script& blocks(uint32_t first, uint32_t count = 1) {
    for (uint32_t i = 0; i < count; ++i) {
      writer_->copy(first + i, out_);
      expected_ += "<" + std::to_string(first + i) + ">";
    }
    return *this;
  }
  Script& end() {
    writer_->end(out_);
    expected_ += "|";
    ++files_;
    writer_->begin();
    return *this;
  }
  std::string wire() const { return text_of(out_); }
  size_t size() const { return out_.size(); }
  void expect_read_back(CompressionKind kind) const {
    const auto reader = TokenReader::create(kind);
    Log log;
    auto data = out_.readable();
    for (int file = 0; file < files_; ++file) {
      reader->begin(kBlocks);
      const auto parsed = reader->parse(data, log);
      ASSERT_TRUE(parsed.ok()) << parsed.error().message();
      ASSERT_TRUE(reader->ended());
      data = data.subspan(parsed->consumed);
      log.text += "|";
    }
    EXPECT_TRUE(data.empty());
    EXPECT_TRUE(log.text == expected_);
  }

 private:
  std::unique_ptr<TokenWriter> writer_;
  ByteQueue out_;
  std::string expected_;
  int files_ = 0;
};

TEST(TokenWriter, Plain) {
  Script script(CompressionKind::kNone);
  script.literal("abc").blocks(0).blocks(7).literal("").end();
  EXPECT_EQ(script.wire(), Wire().le32(3).raw("abc").le32(-1).le32(-8).le32(0).text());
  const std::string large(70'000, 'x');
  Script split(CompressionKind::kNone);
  split.literal(large).end();
  EXPECT_EQ(split.size(), large.size() + 4 * 4);
  split.expect_read_back(CompressionKind::kNone);
}

class TokenWriters : public testing::TestWithParam<CompressionKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, TokenWriters,
                         testing::Values(CompressionKind::kZlibx, CompressionKind::kZstd));

// token.c: relative and long numbers, single and in runs.
TEST_P(TokenWriters, BlockNumbers) {
  const auto wire = [](const std::function<void(Script&)>& write) {
    Script script(GetParam());
    write(script);
    script.end();
    script.expect_read_back(GetParam());
    return script.wire();
  };
  EXPECT_EQ(wire([](Script&) {}), Wire().u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(0); }), Wire().u8(0x80).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(63); }), Wire().u8(0xbf).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(64); }), Wire().u8(0x20).le32(64).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(5, 3); }), Wire().u8(0xc5).le16(2).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(70, 3).blocks(73 + 9); }),
            Wire().u8(0x21).le32(70).le16(2).u8(0x8a).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(9).blocks(8); }), Wire().u8(0x89).u8(0x20).le32(8).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(3).blocks(3); }), Wire().u8(0x83).u8(0x80).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(0, 65'537); }), Wire().u8(0xc0).le16(65'535).u8(0x81).u8(0).text());
  EXPECT_EQ(wire([](Script& s) { s.blocks(0x7ffffffe); }), Wire().u8(0x20).le32(0x7ffffffe).u8(0).text());
}

// Numbers begin anew with each file; what was compressed goes on (zstd) or does not (zlibx).
TEST_P(TokenWriters, FileAfterFile) {
  Script script(GetParam());
  script.literal("some text").blocks(10, 4).literal("some text").end();
  script.blocks(1).end().end();
  script.literal("some text").literal(" and more").blocks(100).end();
  script.expect_read_back(GetParam());
}

TEST_P(TokenWriters, LargeRuns) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919) + " ";
  const std::string noise = support::random_bytes(300'000, 1);
  Script script(GetParam());
  script.literal(text).literal(noise).blocks(3, 70'000).literal(noise).end();
  script.literal(text).end();
  script.expect_read_back(GetParam());
  EXPECT_LT(script.size(), 2 * noise.size() + text.size());
}

// Whatever the length, the end of a run is its end.
TEST_P(TokenWriters, EveryLength) {
  const std::string noise = support::random_bytes(20'000, 2);
  Script script(GetParam());
  for (size_t size = 16'340; size < 16'400; ++size) script.literal(noise.substr(0, size)).blocks(1).end();
  for (size_t size = 1; size < 40; ++size) script.literal(noise.substr(0, size)).end();
  script.expect_read_back(GetParam());
}

TEST_P(TokenWriters, Random) {
  std::mt19937_64 random(support::test_seed());
  const std::string noise = support::random_bytes(50'000, 3);
  for (const int level : {0, 1, 9}) {
    Script script(GetParam(), level);
    for (int i = 0; i < 400; ++i) {
      const auto dice = random();
      if (dice % 8 == 0) {
        script.end();
      } else if (dice % 2 == 0) {
        script.literal(std::string_view(noise).substr(dice % 997, dice >> 20 & 0x3fff));
      } else {
        script.blocks(static_cast<uint32_t>(dice >> 20 & (dice % 3 == 0 ? 0xffffff : 0x3f)),
                      1 + (dice >> 50) % 9);
      }
    }
    script.end();
    script.expect_read_back(GetParam());
  }
}

}  // namespace
}  // namespace rsyncfs
