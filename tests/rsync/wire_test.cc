// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/wire.h"

#include <random>

#include <gtest/gtest.h>

#include "sync/rsync/item_stream.h"
#include "sync/rsync/mux.h"
#include "tests/rsync/fake_server.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

std::string hex(std::string_view text) {
  std::string out;
  char buffer[4];
  for (const char c : text) {
    std::snprintf(buffer, sizeof buffer, "%02x", static_cast<unsigned char>(c));
    out += buffer;
  }
  return out;
}

TEST(Wire, VarintsAsRsyncWritesThem) {
  EXPECT_EQ(hex(Wire().varint(0).text()), "00");
  EXPECT_EQ(hex(Wire().varint(127).text()), "7f");
  EXPECT_EQ(hex(Wire().varint(128).text()), "8080");
  EXPECT_EQ(hex(Wire().varint(0x1fe).text()), "81fe");  // the compatibility flags on the wire
  EXPECT_EQ(hex(Wire().varint(0x3fff).text()), "bfff");
  EXPECT_EQ(hex(Wire().varint(0x4000).text()), "c00040");
  EXPECT_EQ(hex(Wire().varint(-1).text()), "f0ffffffff");
  EXPECT_EQ(hex(Wire().varlong(0x123456, 3).text()), "125634");
  EXPECT_EQ(hex(Wire().varlong(1'700'000'000, 4).text()), "6500f153");
  EXPECT_EQ(hex(Wire().varlong(-1, 4).text()), "f8ffffffffffffffff");
}

TEST(Wire, NumbersComeBack) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  for (int i = 0; i < 100'000; ++i) {
    const auto value = static_cast<int64_t>(random() >> random() % 64) * (random() % 2 == 0 ? 1 : -1);
    const unsigned min = 3 + random() % 2;
    const std::string text = Wire().varint(static_cast<int32_t>(value)).varlong(value, min).text();
    WireReader in(bytes_of(text));
    ASSERT_EQ(in.varint(), static_cast<int32_t>(value));
    ASSERT_EQ(in.varlong(min), value);
    ASSERT_TRUE(in.ok());
    ASSERT_EQ(in.position(), text.size());
  }
}

TEST(Wire, ShortInputTakesNothingAndSaysHowMuchIsMissing) {
  const std::string text = Wire().varint(0x123456).raw("abcdef").text();
  for (size_t size = 0; size < text.size(); ++size) {
    WireReader in(bytes_of(text).first(size));
    in.varint();
    in.text(6);
    EXPECT_TRUE(in.is_short());
    EXPECT_FALSE(in.is_bad());
    EXPECT_GT(in.need(), size);
    EXPECT_LE(in.need(), text.size());
  }
}

TEST(Wire, ImpossibleNumbersAreBad) {
  for (const char* text : {"\xf1\xff\xff\xff\xff", "\xf8\1\1\1\1\1", "\xff\1\1\1\1\1\1\1"}) {
    WireReader in(bytes_of(text));
    in.varint();
    EXPECT_TRUE(in.is_bad()) << hex(text);
  }
  WireReader in(bytes_of("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
  in.varlong(4);
  EXPECT_TRUE(in.is_bad());
  const std::string negative = Wire().varint(-1).text();
  WireReader bounded(bytes_of(negative));
  bounded.varint_bounded(10, "out of bounds");
  EXPECT_TRUE(bounded.is_bad());
  EXPECT_STREQ(bounded.bad(), "out of bounds");
}

TEST(Wire, VstringLengthsHaveOneOrTwoBytes) {
  EXPECT_EQ(hex(Wire().vstring("abc").text()), "03616263");
  const std::string text = Wire().vstring(std::string(300, 'x')).text();
  EXPECT_EQ(hex(text.substr(0, 2)), "812c");
  WireReader in(bytes_of(text));
  EXPECT_EQ(in.vstring().size(), 300u);
  EXPECT_EQ(in.position(), text.size());
}

std::string coded(std::vector<int32_t> indices) {
  NdxCoder coder;
  ByteQueue out;
  for (const int32_t ndx : indices) coder.write(out, ndx);
  return hex(text_of(out));
}

TEST(Wire, IndicesAsRsyncWritesThem) {
  EXPECT_EQ(coded({kNdxDone}), "00");
  EXPECT_EQ(coded({0}), "01");
  EXPECT_EQ(coded({0, 1, 2}), "010101");
  EXPECT_EQ(coded({252}), "fd");
  EXPECT_EQ(coded({253}), "fe00fe");
  EXPECT_EQ(coded({5, 5}), "06fe0000");      // the same again
  EXPECT_EQ(coded({5, 4}), "06fe80040000");  // backwards: in full
  EXPECT_EQ(coded({32767}), "fe80ff7f00");   // 32768 further than -1
  EXPECT_EQ(coded({32766}), "fe7fff");
  EXPECT_EQ(coded({kNdxFlistEof}), "ff01");
  EXPECT_EQ(coded({-101}), "ff64");
  // One state for positive and one for negative indices, kept over everything else.
  EXPECT_EQ(coded({7, -2, 8, kNdxDone, 9, -3}), "08ff01010001ff01");
}

TEST(Wire, IndicesComeBack) {
  const auto seed = static_cast<uint32_t>(support::test_seed());
  std::mt19937 random(seed);
  NdxCoder writer;
  NdxCoder reader;
  ByteQueue out;
  std::vector<int32_t> indices;
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<int32_t>(random() >> (1 + random() % 31));
    indices.push_back(random() % 8 == 0 ? -value - 2 : value);
    if (indices.back() < -0x7fffffff) indices.back() = -5;
    writer.write(out, indices.back());
  }
  WireReader in(out.readable());
  for (const int32_t ndx : indices) ASSERT_EQ(reader.read(in), ndx);
  EXPECT_TRUE(in.ok());
}

TEST(Wire, IndicesBeyondTheirRangeAreBad) {
  NdxCoder coder;
  const std::string text("\xfe\xff\xff\xff\xff\x05", 6);
  WireReader in(bytes_of(text));
  EXPECT_EQ(coder.read(in), 0x7fffffff);
  EXPECT_TRUE(in.ok());
  coder.read(in);
  EXPECT_TRUE(in.is_bad());
}

TEST(ItemStream, GivesWholeItemsWhateverTheCut) {
  // Items: a length byte and so many bytes.
  std::string text;
  std::vector<std::string> items;
  for (int i = 0; i < 300; ++i) {
    items.push_back(std::string(static_cast<size_t>(i * 37 % 251), static_cast<char>('a' + i % 26)));
    text += Wire().name(items.back()).text();
  }
  for (const size_t piece : {1u, 2u, 3u, 100u, 255u, 1000u, 100'000u}) {
    std::vector<std::string> got;
    ItemStream stream;
    for (size_t at = 0; at < text.size(); at += piece) {
      const auto fed = stream.feed(bytes_of(text).subspan(at, std::min(piece, text.size() - at)),
                                   [&](std::span<const std::byte> data) -> Result<Parsed> {
                                     Parsed parsed;
                                     while (true) {
                                       WireReader in(data.subspan(parsed.consumed));
                                       const std::string_view item = in.text(in.u8());
                                       if (!in.ok()) {
                                         parsed.need = in.need();
                                         return parsed;
                                       }
                                       got.emplace_back(item);
                                       parsed.consumed += in.position();
                                     }
                                   });
      ASSERT_TRUE(fed.ok());
    }
    EXPECT_EQ(got, items);
    EXPECT_EQ(stream.held(), 0u);
  }
}

struct Frames : MuxHandler {
  Result<void> on_mux_data(std::span<const std::byte> bytes) override {
    data += text_of(bytes);
    return {};
  }
  Result<void> on_mux_message(MuxTag tag, std::span<const std::byte> payload) override {
    messages.emplace_back(tag, text_of(payload));
    return {};
  }
  std::string data;
  std::vector<std::pair<MuxTag, std::string>> messages;
};

TEST(Mux, HeaderIsTagPlusSevenAndLength) {
  EXPECT_EQ(hex(Wire().data("").text()), "00000007");  // the keep-alive
  EXPECT_EQ(hex(Wire().number(MuxTag::kNoSend, 21).text()), "0400006d15000000");
  EXPECT_EQ(hex(Wire().frame(MuxTag::kNoop, "").text()), "00000031");
}

TEST(Mux, ReadsFramesCutAnywhere) {
  const std::string text = Wire()
                               .data("one ")
                               .frame(MuxTag::kInfo, "info")
                               .data("")
                               .frame(MuxTag::kNoop, "")
                               .data("two")
                               .number(MuxTag::kErrorExit, 3)
                               .text();
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    Frames frames;
    MuxReader reader(100, 1000);
    for (size_t at = 0; at < text.size(); at += piece) {
      ASSERT_TRUE(reader.feed(bytes_of(text).subspan(at, std::min(piece, text.size() - at)), frames).ok());
    }
    EXPECT_EQ(frames.data, "one two");
    ASSERT_EQ(frames.messages.size(), 3u);
    EXPECT_EQ(frames.messages[0], std::pair(MuxTag::kInfo, std::string("info")));
    EXPECT_EQ(frames.messages[1].first, MuxTag::kNoop);
    EXPECT_EQ(frames.messages[2].second.size(), 4u);
  }
}

TEST(Mux, RefusesUnknownTagsAndOverLongFrames) {
  const auto error = [](std::string_view header) {
    Frames frames;
    MuxReader reader(100, 1000);
    const auto fed = reader.feed(bytes_of(header), frames);
    return fed.ok() ? Errc::kCanceled : fed.error().code();
  };
  EXPECT_EQ(error(std::string_view("\0\0\0\6", 4)), Errc::kProtocol);
  EXPECT_EQ(error(std::string_view("\0\0\0\xff", 4)), Errc::kProtocol);
  EXPECT_EQ(error("HTTP/1.1 400"), Errc::kProtocol);
  EXPECT_EQ(error(std::string_view("\x65\0\0\x0a", 4)), Errc::kLimit);
  EXPECT_EQ(error(std::string_view("\xe9\x03\0\x07", 4)), Errc::kLimit);
  EXPECT_EQ(error(std::string_view("\xe8\x03\0\x07", 4)), Errc::kCanceled);
}

TEST(Mux, LargeDataIsCutIntoFrames) {
  ByteQueue out;
  const std::string text(100'000, 'x');
  mux_write_data(out, bytes_of(text));
  Frames frames;
  MuxReader reader(100, 32 * 1024);
  ASSERT_TRUE(reader.feed(out.readable(), frames).ok());
  EXPECT_EQ(frames.data, text);
}

}  // namespace
}  // namespace rsyncfs
