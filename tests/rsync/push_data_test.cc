// SPDX-License-Identifier: GPL-3.0-or-later
// Contents pushed to the real rsync.
#include <unistd.h>

#include <algorithm>

#include "sync/rsync/block_match.h"
#include "sync/rsync/rolling_sum.h"
#include "tests/rsync/push_testing.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr int64_t kOldTime = 1'500'000'000;
constexpr int64_t kNewTime = 1'600'000'000;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// The answer of somebody who compares block by block with what he has at the same place.
void answer_in_place(BlockingPush& push, const PushRequest& request, std::string_view now) {
  PushSession& session = push.session();
  session.begin_file(request.index, request.head);
  uint64_t offset = 0;
  for (uint32_t i = 0; offset < now.size(); ++i) {
    const auto length = i < request.head.count ? request.head.length_of(i) : uint32_t{700};
    const auto block = bytes_of(now.substr(offset, length));
    offset += block.size();
    bool same = i < request.sums.blocks.size() && block.size() == request.head.length_of(i);
    if (same) {
      const ChecksumValue strong = block_sum(session.checksum(), session.checksum_seed(), block);
      const BlockSum& sum = request.sums.blocks[i];
      same = sum.rolling == rolling_sum(block) &&
             std::ranges::equal(sum.strong.span(), strong.span().first(request.sums.strong_length));
    }
    if (same) {
      session.copy(i);
    } else {
      session.literal(block);
    }
  }
  session.end_file(push.digest_of(now));
}

// And of the matcher.
void answer_by_matching(BlockingPush& push, const PushRequest& request, const std::string& now) {
  PushSession& session = push.session();
  const auto read = [&](uint64_t offset, std::span<std::byte> out) -> Result<void> {
    std::ranges::copy(bytes_of(now).subspan(offset, out.size()), out.begin());
    return {};
  };
  BlockMatcher matcher(request.sums, session.checksum(), session.checksum_seed(), now.size(), read);
  session.begin_file(request.index, request.head);
  Digest digest(session.checksum());
  while (true) {
    const auto piece = matcher.next();
    RSYNCFS_CHECK(piece.ok());
    if (piece->what == MatchedPiece::What::kEnd) break;
    digest.update(piece->bytes);
    if (piece->what == MatchedPiece::What::kCopy) {
      session.copy(piece->block);
    } else {
      session.literal(piece->bytes);
    }
  }
  session.end_file(digest.finish());
}

class PushData : public PushInterop {
 protected:
  void make(std::string_view path, std::string_view contents) {
    support::write_file(target_ / path, contents);
    support::set_mtime(target_ / path, kOldTime, 0);
  }
  // One file "f" of that size.
  PushConfig config_for(PushKind kind, size_t size) {
    PushConfig config = target_.config(kind);
    config.entries = {file_entry("f", size, kNewTime)};
    return config;
  }
  std::string contents() { return support::read_file(target_ / "f"); }
};
INSTANTIATE_TEST_SUITE_P(Peers, PushData, all_push_peers(), testing::PrintToStringParamName());

TEST_P(PushData, CreatesAndOverwrites) {
  make("old", "what was there");
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("d/e/new", 4), file_entry("old", 11), file_entry("empty", 0)};
  config.entries[0].mtime_ns = 123'456'789;
  config.entries[0].mode = S_IFREG | 04750;
  const auto push = target_.open(config);
  push->contents = {{0, "new\n"}, {1, "overwritten"}, {2, ""}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->complaints(), "");
  EXPECT_EQ(support::read_file(target_ / "d/e/new"), "new\n");
  EXPECT_EQ(support::read_file(target_ / "old"), "overwritten");
  EXPECT_EQ(support::read_file(target_ / "empty"), "");
  const struct stat st = stat_of(target_ / "d/e/new");
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 04750));
  EXPECT_EQ(st.st_mtim.tv_sec, kNewTime);
  EXPECT_EQ(st.st_mtim.tv_nsec, GetParam().protocol >= 31 ? 123'456'789 : 0);
  std::ranges::sort(push->succeeded);
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{0, 1, 2}));
  for (const PushRequest& request : push->requests) {
    EXPECT_EQ((request.iflags & kItemIsNew) != 0, request.index != 1);
    EXPECT_EQ(request.head.size(), request.index == 1 ? 14u : 0u);
  }
}

// The same size and time do not keep a file from being asked for: it may have changed in place.
TEST_P(PushData, AsksForSumsOfWhatLooksUnchanged) {
  const std::string data = support::random_bytes(10'000, 1);
  make("f", data);
  PushConfig config = config_for(PushKind::kData, data.size());
  config.entries[0].mtime_s = kOldTime;
  config.block_length = 4096;
  config.checksum_seed = -77;
  const auto push = target_.open(config);
  ASSERT_OK(push->finish());
  ASSERT_EQ(push->requests.size(), 1u);
  const PushRequest& request = push->requests[0];
  EXPECT_EQ(request.iflags & (kItemSize | kItemTime | kItemIsNew), 0);
  EXPECT_EQ(request.basis_type, kBasisOwn);
  EXPECT_EQ(push->session().checksum_seed(), -77);
  const BlockSums ours = make_block_sums(bytes_of(data), push->session().checksum(), -77, 4096);
  ASSERT_EQ(request.sums.blocks.size(), 3u);
  EXPECT_EQ(request.sums.remainder, 10'000u - 8192u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(request.sums.blocks[i].rolling, ours.blocks[i].rolling);
    EXPECT_TRUE(std::ranges::equal(request.sums.blocks[i].strong.span(),
                                   ours.blocks[i].strong.span().first(request.sums.strong_length)));
  }
}

TEST_P(PushData, DeclinedIsUntouched) {
  make("f", "somebody's own");
  const ino_t inode = stat_of(target_ / "f").st_ino;
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("f", 4), file_entry("g", 4), file_entry("new", 4)};
  const auto push = target_.open(config);
  push->contents = {{1, "good"}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->complaints(), "");
  EXPECT_EQ(contents(), "somebody's own");
  EXPECT_EQ(stat_of(target_ / "f").st_ino, inode);
  EXPECT_EQ(stat_of(target_ / "f").st_mtim.tv_sec, kOldTime);
  EXPECT_EQ(support::read_file(target_ / "g"), "good");
  EXPECT_EQ(stat_of(target_ / "new").st_mode, 0u);
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{1}));
}

// Answers may come late, and refusals in any order.
TEST_P(PushData, AnswersComeWhenTheyCome) {
  PushConfig config = target_.config(PushKind::kData);
  for (const char* name : {"a", "b", "c", "d"}) config.entries.push_back(file_entry(name, 1));
  const auto push = target_.open(config);
  push->answer = [](const PushRequest&) {};
  ASSERT_OK(push->pump_until([&] { return push->requests.size() == 4; }));
  EXPECT_EQ(push->session().unanswered(), 4u);
  push->session().decline(2);
  push->send_whole(0, "a");
  push->session().begin_file(1, SumHead());
  push->session().decline(3);
  push->session().literal(bytes_of("b"));
  push->session().end_file(push->digest_of("b"));
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(support::read_file(target_ / "b"), "b");
  EXPECT_EQ(stat_of(target_ / "c").st_mode, 0u);
}

TEST_P(PushData, DeltaInPlaceAndByMatching) {
  const std::string old_data = support::random_bytes(300'000, 2);
  std::string edited = old_data;
  edited.replace(100'000, 4096, support::random_bytes(4096, 3));
  const std::string shifted = "in front of it" + old_data.substr(0, 200'000) + old_data.substr(250'000);
  for (const bool matching : {false, true}) {
    make("f", old_data);
    const std::string& now = matching ? shifted : edited;
    PushConfig config = config_for(PushKind::kData, now.size());
    config.block_length = 4096;
    const auto push = target_.open(config);
    push->answer = [&](const PushRequest& request) {
      if (matching) {
        answer_by_matching(*push, request, now);
      } else {
        answer_in_place(*push, request, now);
      }
    };
    ASSERT_OK(push->finish());
    EXPECT_EQ(push->complaints(), "");
    EXPECT_EQ(push->requests.size(), 1u);
    EXPECT_TRUE(contents() == now);
    EXPECT_EQ(push->succeeded.size(), 1u);
    EXPECT_LT(push->bytes_sent(), 14'000u);
  }
}

// Between the sums and the rename somebody writes: the server notices, asks again with whole sums of what is
// there now, and lets it be when told to.
TEST_P(PushData, ChangedMeanwhile) {
  const std::string old_data = support::random_bytes(50'000, 4);
  const std::string theirs = support::random_bytes(60'000, 5);
  make("f", old_data);
  std::string now = old_data;
  now[10] = static_cast<char>(now[10] ^ 1);
  const auto push = target_.open(config_for(PushKind::kData, now.size()));
  push->answer = [&](const PushRequest& request) {
    if (request.again) return push->session().decline(request.index);
    support::write_file(target_ / "f.new", theirs);
    ASSERT_EQ(rename((target_ / "f.new").c_str(), (target_ / "f").c_str()), 0);
    answer_in_place(*push, request, now);
  };
  ASSERT_OK(push->finish());
  ASSERT_EQ(push->requests.size(), 2u);
  EXPECT_TRUE(push->requests[1].again);
  EXPECT_EQ(push->requests[1].sums.strong_length, 16u);
  EXPECT_EQ(push->requests[1].head.size(), theirs.size());
  EXPECT_TRUE(push->succeeded.empty());
  EXPECT_TRUE(contents() == theirs);
}

// The second request may be answered as well as the first.
TEST_P(PushData, WrongDigestBringsWholeSums) {
  const std::string old_data = support::random_bytes(50'000, 6);
  make("f", old_data);
  std::string now = old_data;
  now.replace(20'000, 5, "12345");
  const auto push = target_.open(config_for(PushKind::kData, now.size()));
  push->answer = [&](const PushRequest& request) {
    if (request.again) return answer_in_place(*push, request, now);
    EXPECT_LT(request.sums.strong_length, 16u);
    push->session().begin_file(request.index, SumHead());
    ChecksumValue wrong = push->digest_of("");
    wrong.bytes[0] ^= std::byte{1};
    push->session().end_file(wrong);
  };
  ASSERT_OK(push->finish());
  ASSERT_EQ(push->requests.size(), 2u);
  EXPECT_EQ(push->requests[1].sums.strong_length, 16u);
  EXPECT_EQ(push->succeeded.size(), 1u);
  EXPECT_TRUE(contents() == now);
}

// Nothing is read on the server until our own idea of its blocks is put to use; where that is wrong, nothing
// is lost.
TEST_P(PushData, WholeDataWithOurOwnBlocks) {
  const std::string old_data = support::random_bytes(1'000'000, 7);
  std::string now = old_data;
  now.replace(500'000, 4096, support::random_bytes(4096, 8));
  const SumHead ours{
      .count = 8, .block_length = 131072, .strong_length = 2, .remainder = 1'000'000 - 7 * 131072};
  for (const bool changed : {false, true}) {
    std::string there = old_data;
    if (changed) there[3] = static_cast<char>(there[3] ^ 1);
    make("f", there);
    const auto push = target_.open(config_for(PushKind::kWholeData, now.size()));
    push->answer = [&](const PushRequest& request) {
      EXPECT_EQ(request.head, SumHead());
      if (request.again) return push->session().decline(request.index);
      push->session().begin_file(request.index, ours);
      for (uint32_t i = 0; i < ours.count; ++i) {
        const size_t offset = size_t{i} * ours.block_length;
        if (i == 3) {
          push->session().literal(bytes_of(now).subspan(offset, ours.block_length));
        } else {
          push->session().copy(i);
        }
      }
      push->session().end_file(push->digest_of(now));
    };
    ASSERT_OK(push->finish());
    EXPECT_EQ(push->requests.size(), changed ? 2u : 1u);
    EXPECT_EQ(push->succeeded.size(), changed ? 0u : 1u);
    EXPECT_TRUE(contents() == (changed ? there : now));
    EXPECT_LT(push->bytes_sent(), 132'000u);
    EXPECT_LT(push->bytes_received(), 600u);
  }
}

TEST_P(PushData, AppendSendsTheTail) {
  const std::string old_data = support::random_bytes(200'000, 9);
  make("f", old_data);
  const ino_t inode = stat_of(target_ / "f").st_ino;
  const std::string tail = "and more\n";
  const auto push = target_.open(config_for(PushKind::kAppend, old_data.size() + tail.size()));
  push->answer = [&](const PushRequest& request) {
    EXPECT_EQ(request.head.size(), old_data.size());
    EXPECT_TRUE(request.sums.empty());
    push->session().begin_file(request.index, request.head);
    push->session().literal(bytes_of(tail));
    push->session().end_file(push->digest_of(tail));
  };
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->complaints(), "");
  EXPECT_TRUE(contents() == old_data + tail);
  EXPECT_EQ(stat_of(target_ / "f").st_ino, inode);
  EXPECT_EQ(push->succeeded.size(), 1u);
  EXPECT_LT(push->bytes_sent(), 600u);
}

// The length is all that tells of another writer.
TEST_P(PushData, AppendDeclinedWhereTheLengthIsAnother) {
  make("f", "12345 and somebody's");
  make("g", "123");
  PushConfig config = target_.config(PushKind::kAppend);
  config.entries = {file_entry("f", 8, kNewTime), file_entry("g", 8, kNewTime)};
  const auto push = target_.open(config);
  ASSERT_OK(push->finish());
  // What is as long as ours already is not even asked for.
  ASSERT_EQ(push->requests.size(), 1u);
  EXPECT_EQ(push->requests[0].index, 1u);
  EXPECT_EQ(push->requests[0].head.size(), 3u);
  EXPECT_EQ(contents(), "12345 and somebody's");
  EXPECT_EQ(support::read_file(target_ / "g"), "123");
}

// A tail that arrives damaged is sent once more, whole, against whole sums.
TEST_P(PushData, AppendOnceMore) {
  const std::string old_data = support::random_bytes(20'000, 10);
  make("f", old_data);
  const std::string now = old_data + "tail";
  const auto push = target_.open(config_for(PushKind::kAppend, now.size()));
  push->answer = [&](const PushRequest& request) {
    if (request.again) return answer_by_matching(*push, request, now);
    push->session().begin_file(request.index, request.head);
    push->session().literal(bytes_of("tail"));
    push->session().end_file(push->digest_of("another"));
  };
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->requests.size(), 2u);
  EXPECT_FALSE(push->requests[1].sums.empty());
  EXPECT_TRUE(contents() == now);
  EXPECT_EQ(push->succeeded.size(), 1u);
}

TEST_P(PushData, Guards) {
  make("f", "there");
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("f", 4), file_entry("g", 4)};
  config.only_missing = true;
  auto push = target_.open(config);
  ASSERT_OK(push->finish());
  ASSERT_EQ(push->requests.size(), 1u);
  EXPECT_EQ(push->requests[0].index, 1u);
  config.only_missing = false;
  config.only_existing = true;
  push = target_.open(config);
  ASSERT_OK(push->finish());
  ASSERT_EQ(push->requests.size(), 1u);
  EXPECT_EQ(push->requests[0].index, 0u);
}

TEST_P(PushData, WhatIsReplacedIsKept) {
  make("f", "their version");
  PushConfig config = config_for(PushKind::kData, 4);
  config.backup_dir = ".trash/a b\\c";
  const auto push = target_.open(config);
  push->contents = {{0, "ours"}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->complaints(), "");
  EXPECT_EQ(contents(), "ours");
  EXPECT_EQ(support::read_file(target_ / ".trash/a b\\c/f"), "their version");
}

TEST_P(PushData, SumsBeyondTheLimitAreDropped) {
  make("f", support::random_bytes(100'000, 11));
  make("g", "12345");
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("f", 2), file_entry("g", 2)};
  config.block_length = 700;
  BlockingPushOptions options;
  options.limits.max_sum_bytes = 100 * sizeof(BlockSum);
  const auto push = target_.open(config, options);
  push->contents = {{0, "f2"}, {1, "g2"}};
  ASSERT_OK(push->finish());
  ASSERT_EQ(push->requests.size(), 2u);
  EXPECT_TRUE(push->requests[0].sums_dropped);
  EXPECT_TRUE(push->requests[0].sums.empty());
  EXPECT_EQ(push->requests[0].head.size(), 100'000u);
  EXPECT_FALSE(push->requests[1].sums_dropped);
  EXPECT_EQ(push->succeeded.size(), 2u);
}

// Logged in ahead of time, fed later.
TEST_P(PushData, EntriesMayComeLater) {
  PushConfig config = target_.config(PushKind::kData);
  const auto push = target_.open(config);
  push->contents = {{0, "1"}};
  ASSERT_OK(push->wait_until_established());
  EXPECT_EQ(push->session().state(), PushState::kReady);
  push->session().keep_alive();
  ASSERT_OK(push->pump_until([] { return true; }));
  ASSERT_OK(push->session().set_entries({file_entry("f", 1)}));
  EXPECT_EQ(push->session().state(), PushState::kActive);
  ASSERT_OK(push->finish());
  EXPECT_EQ(contents(), "1");
}

// Everything in one flight, the list too.
TEST_P(PushData, OneFlight) {
  PushConfig config = config_for(PushKind::kData, 1);
  config.taken_for.emplace();
  const auto push = target_.open(config);
  push->contents = {{0, "1"}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->complaints(), "");
  EXPECT_EQ(contents(), "1");
}

// Byte by byte.
TEST_P(PushData, SmallReads) {
  const std::string old_data = support::random_bytes(20'000, 12);
  make("f", old_data);
  const std::string now = old_data + "tail";
  BlockingPushOptions options;
  options.read_size = 1;
  const auto push = target_.open(config_for(PushKind::kData, now.size()), options);
  push->answer = [&](const PushRequest& request) { answer_by_matching(*push, request, now); };
  ASSERT_OK(push->finish());
  EXPECT_TRUE(contents() == now);
}

struct CompressedPush {
  PushPeer peer;
  CompressionKind compression = CompressionKind::kNone;
  std::optional<ChecksumKind> checksum;
};
void PrintTo(const CompressedPush& how, std::ostream* out) {
  PrintTo(how.peer, out);
  constexpr const char* kNames[] = {"plain", "zlibx", "zstd"};
  *out << kNames[static_cast<int>(how.compression)];
  if (how.checksum) *out << checksum_name(*how.checksum);
}

class PushCoding : public testing::TestWithParam<CompressedPush> {
 protected:
  PushTarget target_{GetParam().peer};
};

std::vector<CompressedPush> codings() {
  std::vector<CompressedPush> all;
  for (const int protocol : {30, 31, 32}) {
    for (const CompressionKind compression : {CompressionKind::kZlibx, CompressionKind::kZstd}) {
      all.push_back({{PeerKind::kDaemon, protocol}, compression, {}});
    }
  }
  all.push_back({{PeerKind::kShell, 32}, CompressionKind::kZlibx, {}});
  all.push_back({{PeerKind::kShell, 32}, CompressionKind::kZstd, {}});
  for (const ChecksumKind kind :
       {ChecksumKind::kNone, ChecksumKind::kMd4, ChecksumKind::kMd5, ChecksumKind::kSha1,
        ChecksumKind::kXxh64, ChecksumKind::kXxh3, ChecksumKind::kXxh128}) {
    all.push_back({{PeerKind::kDaemon, 32}, CompressionKind::kNone, kind});
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(Codings, PushCoding, testing::ValuesIn(codings()),
                         testing::PrintToStringParamName());

// Several files on one stream: text, noise, an empty one, one with nothing but copies, ones with long and
// with broken runs of copies.
TEST_P(PushCoding, Files) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "line " + std::to_string(i) + "\n";
  const std::string noise = support::random_bytes(400'000, 13);
  std::string broken = noise;
  for (size_t at = 5'000; at < broken.size(); at += 50'000) broken[at] = static_cast<char>(broken[at] ^ 1);
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", text},
      {"", noise},
      {text, ""},
      {noise, noise},
      {text, text.substr(0, 100'000) + "in between" + text.substr(100'000)},
      {noise, broken},
      {noise, noise.substr(300'000) + text.substr(0, 70'000) + noise.substr(0, 200'000)},
  };
  PushConfig config = target_.config(PushKind::kData);
  config.compression = GetParam().compression;
  config.checksum = GetParam().checksum;
  config.block_length = 700;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string name = "f" + std::to_string(i);
    if (!files[i].first.empty()) support::write_file(target_ / name, files[i].first);
    config.entries.push_back(file_entry(name, files[i].second.size()));
  }
  const auto push = target_.open(config);
  push->answer = [&](const PushRequest& request) {
    answer_by_matching(*push, request, files[request.index].second);
  };
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->complaints(), "");
  EXPECT_EQ(push->requests.size(), files.size());
  EXPECT_EQ(push->succeeded.size(), files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    EXPECT_TRUE(support::read_file(target_ / ("f" + std::to_string(i))) == files[i].second) << i;
  }
  EXPECT_EQ(push->session().compression(), GetParam().compression);
}

}  // namespace
}  // namespace rsyncfs
