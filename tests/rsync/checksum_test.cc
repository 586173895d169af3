// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/checksum.h"

#include <random>

#include <gtest/gtest.h>

#include "sync/rsync/auth.h"
#include "sync/rsync/md4.h"
#include "sync/rsync/rolling_sum.h"
#include "tests/rsync/fake_server.h"

namespace rsyncfs {
namespace {

constexpr ChecksumKind kAll[] = {ChecksumKind::kNone,  ChecksumKind::kMd4,   ChecksumKind::kMd5,
                                 ChecksumKind::kSha1,  ChecksumKind::kXxh64, ChecksumKind::kXxh3,
                                 ChecksumKind::kXxh128};

std::string digest_hex(ChecksumKind kind, std::string_view text, size_t piece = 1 << 20) {
  Digest digest(kind);
  auto bytes = bytes_of(text);
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    digest.update(part);
    bytes = bytes.subspan(part.size());
  }
  return digest.finish().hex();
}

TEST(Checksum, KnownDigests) {
  // RFC 1320, 1321, 3174; xxhsum.
  EXPECT_EQ(digest_hex(ChecksumKind::kMd4, ""), "31d6cfe0d16ae931b73c59d7e0c089c0");
  EXPECT_EQ(digest_hex(ChecksumKind::kMd4, "message digest"), "d9130a8164549fe818874806e1c7014b");
  EXPECT_EQ(digest_hex(ChecksumKind::kMd4,
                       "12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            "e33b4ddc9c38f2199c3e7b164fcc0536");
  EXPECT_EQ(digest_hex(ChecksumKind::kMd5, "abc"), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(digest_hex(ChecksumKind::kSha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  // On the wire the least significant byte comes first: XXH64("") is ef46db3751d8e999.
  EXPECT_EQ(digest_hex(ChecksumKind::kXxh64, ""), "99e9d85137db46ef");
  EXPECT_EQ(digest_hex(ChecksumKind::kXxh3, ""), "c294d3380580062d");  // XXH3("") is 2d06800538d394c2
  EXPECT_EQ(digest_hex(ChecksumKind::kNone, "anything"), "00");
}

TEST(Checksum, PiecesMakeNoDifference) {
  const std::string text = std::string(100'000, 'a') + "tail";
  for (const ChecksumKind kind : kAll) {
    for (const size_t piece : {1u, 63u, 64u, 65u, 1000u}) {
      EXPECT_EQ(digest_hex(kind, text, piece), digest_hex(kind, text)) << checksum_name(kind);
    }
  }
}

TEST(Checksum, NamesAndSizes) {
  for (const ChecksumKind kind : kAll) {
    const auto parsed = parse_checksum_name(checksum_name(kind));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, kind);
    EXPECT_EQ(digest_hex(kind, "x").size(), 2 * checksum_size(kind));
    EXPECT_LE(checksum_size(kind), kMaxChecksumBytes);
  }
  EXPECT_EQ(parse_checksum_name("sha3").error().code(), Errc::kUsage);
}

TEST(Checksum, BlockSumsAreSeeded) {
  const std::string text = "some block";
  // MD5 and SHA-1 take the seed before the data, MD4 after; a seed of 0 is none.
  EXPECT_EQ(block_sum(ChecksumKind::kMd5, 0, bytes_of(text)).hex(), digest_hex(ChecksumKind::kMd5, text));
  EXPECT_EQ(block_sum(ChecksumKind::kMd5, 0x01020304, bytes_of(text)).hex(),
            digest_hex(ChecksumKind::kMd5, "\4\3\2\1" + text));
  EXPECT_EQ(block_sum(ChecksumKind::kSha1, -2, bytes_of(text)).hex(),
            digest_hex(ChecksumKind::kSha1, "\xfe\xff\xff\xff" + text));
  EXPECT_EQ(block_sum(ChecksumKind::kMd4, 0x01020304, bytes_of(text)).hex(),
            digest_hex(ChecksumKind::kMd4, text + "\4\3\2\1"));
  for (const ChecksumKind kind : {ChecksumKind::kXxh64, ChecksumKind::kXxh3, ChecksumKind::kXxh128}) {
    EXPECT_EQ(block_sum(kind, 0, bytes_of(text)).hex(), digest_hex(kind, text));
    EXPECT_NE(block_sum(kind, 5, bytes_of(text)), block_sum(kind, 0, bytes_of(text)));
    EXPECT_NE(block_sum(kind, -5, bytes_of(text)), block_sum(kind, 5, bytes_of(text)));
  }
}

TEST(Checksum, BlockLengthsAreRsyncsOwn) {
  // As `rsync --debug=deltasum2` printed them: size, block length, strong length.
  const std::tuple<uint64_t, uint32_t, uint32_t> rows[] = {{1, 700, 2},
                                                           {699, 700, 2},
                                                           {700, 700, 2},
                                                           {701, 700, 2},
                                                           {489'999, 700, 2},
                                                           {490'000, 700, 2},
                                                           {490'001, 700, 2},
                                                           {500'000, 704, 2},
                                                           {524'288, 720, 2},
                                                           {1'000'000, 1000, 2},
                                                           {3'000'000, 1728, 2},
                                                           {16'777'216, 4096, 2},
                                                           {100'000'000, 10'000, 3},
                                                           {268'435'456, 16'384, 3}};
  for (const auto& [size, block, strong] : rows) {
    EXPECT_EQ(default_block_length(size), block) << size;
    EXPECT_EQ(default_strong_length(size, block, ChecksumKind::kXxh128), strong) << size;
  }
  EXPECT_EQ(default_block_length(uint64_t{1} << 40), kMaxBlockLength);
  EXPECT_EQ(default_block_length(UINT64_MAX), kMaxBlockLength);
  EXPECT_LE(default_strong_length(UINT64_MAX, kMaxBlockLength, ChecksumKind::kXxh64), 8u);
  EXPECT_LE(default_strong_length(UINT64_MAX, 700, ChecksumKind::kSha1), 16u);
}

TEST(Checksum, SumsCoverTheBasis) {
  const std::string text(2500, 'x');
  const BlockSums sums = make_block_sums(bytes_of(text), ChecksumKind::kXxh128, 7, 1000);
  EXPECT_EQ(sums.blocks.size(), 3u);
  EXPECT_EQ(sums.remainder, 500u);
  EXPECT_EQ(sums.blocks[0].strong, sums.blocks[1].strong);
  EXPECT_EQ(sums.blocks[2].rolling, rolling_sum(bytes_of(text).first(500)));
  EXPECT_EQ(make_block_sums(bytes_of(text).first(2000), ChecksumKind::kMd5, 7, 1000).remainder, 0u);
  EXPECT_TRUE(make_block_sums({}, ChecksumKind::kMd5, 7).empty());
}

TEST(Auth, Greetings) {
  const auto greeting = parse_daemon_greeting("@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4");
  ASSERT_TRUE(greeting.ok());
  EXPECT_EQ(greeting->protocol, 32);
  EXPECT_TRUE(greeting->names_digests);
  EXPECT_EQ(greeting->digests.size(), 5u);
  const auto old = parse_daemon_greeting("@RSYNCD: 31.0");
  ASSERT_TRUE(old.ok());
  EXPECT_FALSE(old->names_digests);
  EXPECT_EQ(client_greeting(31), "@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n");
  for (const char* line : {"", "SSH-2.0-OpenSSH", "@RSYNCD: ", "@RSYNCD: x.0", "@RSYNCD: 32", "@RSYNCD: 32.",
                           "@RSYNCD: -5.0", "@RSYNCD: 32.0x", "@RSYNCD: 99999999999.0", "@RSYNCD: 4000.0"}) {
    const auto bad = parse_daemon_greeting(line);
    ASSERT_FALSE(bad.ok()) << line;
    EXPECT_EQ(bad.error().code(), Errc::kProtocol) << line;
  }
  EXPECT_EQ(parse_daemon_greeting("@RSYNCD: 29.0").error().code(), Errc::kUnsupported);
  EXPECT_EQ(parse_daemon_greeting("@RSYNCD: 29").error().code(), Errc::kUnsupported);
}

TEST(Auth, ProtocolIsTheLowerOfBoth) {
  EXPECT_EQ(negotiated_protocol({.protocol = 31, .subprotocol = 0, .digests = {}}, 32), 31);
  EXPECT_EQ(negotiated_protocol({.protocol = 33, .subprotocol = 0, .digests = {}}, 32), 32);
  EXPECT_EQ(negotiated_protocol({.protocol = 32, .subprotocol = 0, .digests = {}}, 30), 30);
  EXPECT_EQ(negotiated_protocol({.protocol = 31, .subprotocol = 15, .digests = {}}, 32),
            30);  // a pre-release
}

TEST(Auth, DigestIsTheFirstOfOursThatTheServerNames) {
  const auto chosen = [](std::string_view line) { return choose_auth_digest(*parse_daemon_greeting(line)); };
  EXPECT_EQ(*chosen("@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4"), "sha512");
  EXPECT_EQ(*chosen("@RSYNCD: 32.0 md4 md5"), "md5");
  EXPECT_EQ(*chosen("@RSYNCD: 32.0 new sha1"), "sha1");
  EXPECT_EQ(*chosen("@RSYNCD: 31.0"), "md5");
  EXPECT_EQ(chosen("@RSYNCD: 32.0 new").error().code(), Errc::kUnsupported);
}

TEST(Auth, ResponsesAreUnpaddedBase64OfPasswordAndChallenge) {
  // printf 'passwordchallenge' | openssl dgst -binary -ALGORITHM | base64, without its '='.
  EXPECT_EQ(*auth_response("md5", "password", "challenge"), "zkjjtiQdbzy373nZyc6Zew");
  for (const auto& [digest, size] : {std::pair<const char*, size_t>{"sha512", 86},
                                     {"sha256", 43},
                                     {"sha1", 27},
                                     {"md5", 22},
                                     {"md4", 22}}) {
    const auto response = auth_response(digest, "p", "c");
    ASSERT_TRUE(response.ok());
    EXPECT_EQ(response->size(), size) << digest;
  }
  EXPECT_EQ(auth_response("sha3", "p", "c").error().code(), Errc::kUnsupported);
}

}  // namespace
}  // namespace rsyncfs
