// SPDX-License-Identifier: GPL-3.0-or-later
// Deltas, appends and holes made by the real sender: what comes out is the new file, whatever was edited.
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "tests/rsync/pull_testing.h"
#include "tests/support/old_rsync.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

// A few edits: overwritten, inserted, removed and moved ranges.
std::string edited(std::string text, std::mt19937_64& random) {
  const auto edits = random() % 6;
  for (uint64_t i = 0; i < edits && !text.empty(); ++i) {
    const size_t at = random() % text.size();
    const size_t size = random() % (random() % 4 == 0 ? 30'000 : 50);
    switch (random() % 4) {
      case 0:
        text.insert(at, support::random_bytes(size, random()));
        break;
      case 1:
        text.erase(at, size);
        break;
      case 2:
        text.append(text.substr(at, size));
        break;
      default:
        for (size_t j = at; j < std::min(at + size, text.size()); ++j) text[j] = static_cast<char>(random());
    }
  }
  return text;
}

std::string original(std::mt19937_64& random) {
  const size_t size = random() % 5 == 0 ? random() % 3000 : random() % 600'000;
  if (random() % 3 == 0) {
    // Equal blocks everywhere, so that matches come in long runs.
    std::string period = support::random_bytes(1 + random() % 5000, random());
    std::string text;
    while (text.size() < size) text += period;
    return text;
  }
  return support::random_bytes(size, random());
}

using DeltaWay = std::tuple<std::string, std::optional<ChecksumKind>, CompressionKind>;
class Delta : public testing::TestWithParam<DeltaWay> {};

TEST_P(Delta, PatchingTheBasisGivesTheNewFile) {
  const auto& [server, checksum, compression] = GetParam();
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  TempDir dir;
  constexpr int kFiles = 25;
  std::vector<std::string> bases;
  std::vector<std::string> news;
  for (int i = 0; i < kFiles; ++i) {
    bases.push_back(original(random));
    news.push_back(edited(bases.back(), random));
    support::write_file(dir / ("f" + std::to_string(i)), news.back());
  }
  PullConfig config = daemon_config();
  config.checksum = checksum;
  config.compression = compression;
  config.checksum_seed = random() % 2 == 0 ? 0 : static_cast<int32_t>(random());
  std::optional<RsyncDaemon> daemon;
  std::unique_ptr<BlockingPull> pull;
  if (server == "daemon") {
    daemon.emplace(RsyncDaemon::serving(dir.path()));
    pull = BlockingPull::over_tcp(daemon->port(), config);
  } else {
    config.root = dir.path();
    pull = BlockingPull::over_pipe(server == "pipe" ? "rsync" : support::require_old_rsync(), config);
  }
  ASSERT_OK(pull->wait_for_list());
  if (config.checksum_seed != 0) {
    EXPECT_EQ(pull->session().checksum_seed(), config.checksum_seed);
  }
  uint64_t copied = 0;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kFiles; ++i) {
      const auto at = static_cast<size_t>(i);
      constexpr uint32_t kBlockLengths[] = {0, 0, 700, 1000, 4096, 131072};
      const uint32_t block = kBlockLengths[random() % std::size(kBlockLengths)];
      const auto file = pull->fetch(*pull->list().find("f" + std::to_string(i)), bases[at], block);
      ASSERT_OK(file);
      ASSERT_EQ(file->end->status, FileEnd::Status::kGood) << file->end->reason.message();
      ASSERT_TRUE(file->data == news[at]) << "file " << i << " of " << bases[at].size();
      EXPECT_FALSE(file->gap);
      EXPECT_EQ(file->literal_bytes + file->copied_bytes, news[at].size());
      copied += file->copied_bytes;
    }
  }
  // A few matches at least, or the sums were wrong.
  if (checksum != ChecksumKind::kNone) {
    EXPECT_GT(copied, 1'000'000u);
  }
  EXPECT_OK(pull->finish());
}

std::string way_name(const testing::TestParamInfo<DeltaWay>& info_) {
  const auto& [server, checksum, compression] = info_.param;
  return server + (checksum ? std::string(checksum_name(*checksum)) : "negotiated") +
         std::to_string(static_cast<int>(compression));
}
INSTANTIATE_TEST_SUITE_P(Checksums, Delta,
                         testing::Combine(testing::Values("daemon", "old"),
                                          testing::Values(ChecksumKind::kMd4, ChecksumKind::kMd5,
                                                          ChecksumKind::kSha1, ChecksumKind::kXxh64,
                                                          ChecksumKind::kXxh3, ChecksumKind::kXxh128,
                                                          ChecksumKind::kNone),
                                          testing::Values(CompressionKind::kNone)),
                         way_name);
INSTANTIATE_TEST_SUITE_P(Compressions, Delta,
                         testing::Combine(testing::Values("daemon", "pipe", "old"),
                                          testing::Values(std::optional<ChecksumKind>()),
                                          testing::Values(CompressionKind::kZlibx, CompressionKind::kZstd)),
                         way_name);

TEST(PullDelta, UnchangedLargeFileCostsOnlyItsSums) {
  TempDir dir;
  const std::string text = support::random_bytes(3'000'000, 1);
  support::write_file(dir / "f", text);
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  const uint64_t before = pull->bytes_received;
  const auto file = pull->fetch(0 + *pull->list().find("f"), text);
  ASSERT_OK(file);
  EXPECT_EQ(file->copied_bytes, text.size());
  EXPECT_LT(pull->bytes_received - before, 20'000u);
}

TEST(PullDelta, AHoleInTheSumsFetchesExactlyThatHole) {
  TempDir dir;
  const std::string text = support::random_bytes(8 << 20, 9);
  support::write_file(dir / "f", text);
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = daemon_config();
  config.checksum_seed = -777;
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  BlockSums sums =
      make_block_sums(std::as_bytes(std::span(text)), pull->session().checksum(), -777, kMaxBlockLength);
  sums.strong_length = 8;
  sums.blocks.erase(sums.blocks.begin() + 10, sums.blocks.begin() + 14);
  // The block numbers are now the sums' own: the sink maps them.
  struct HoleSink : MemorySink {
    explicit HoleSink(const std::string& whole) : text(whole) {}
    Result<std::span<const std::byte>> copy(uint64_t offset, uint64_t basis_offset,
                                            uint32_t length) override {
      uint64_t block = basis_offset / kMaxBlockLength;
      if (block >= 10) block += 4;
      EXPECT_EQ(block * kMaxBlockLength, offset);
      return std::as_bytes(std::span(text)).subspan(block * kMaxBlockLength, length);
    }
    Result<void> literal(uint64_t offset, std::span<const std::byte> bytes) override {
      literals += bytes.size();
      if (literals == bytes.size()) start = offset;
      return {};
    }
    const std::string& text;
    uint64_t literals = 0;
    uint64_t start = 0;
  } sink(text);
  pull->session().request_file(*pull->list().find("f"), sums, sink);
  ASSERT_OK(pull->pump_until([&] { return sink.end.has_value(); }));
  EXPECT_EQ(sink.end->status, FileEnd::Status::kGood);
  EXPECT_EQ(sink.literals, 4u * kMaxBlockLength);
  EXPECT_EQ(sink.start, 10u * kMaxBlockLength);
}

TEST(PullDelta, WrongBasisIsABadDigest) {
  TempDir dir;
  const std::string text = support::random_bytes(100'000, 1);
  support::write_file(dir / "f", text);
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  const BlockSums sums = make_block_sums(std::as_bytes(std::span(text)), pull->session().checksum(),
                                         pull->session().checksum_seed());
  std::string rotten = text;
  rotten[50'000] = static_cast<char>(rotten[50'000] ^ 1);
  MemorySink sink(rotten);
  pull->session().request_file(*pull->list().find("f"), sums, sink);
  MemorySink shorter(text.substr(0, 1000));
  pull->session().request_file(*pull->list().find("f"), sums, shorter);
  ASSERT_OK(pull->pump_until([&] { return shorter.end.has_value(); }));
  EXPECT_EQ(sink.end->status, FileEnd::Status::kBadDigest);
  EXPECT_EQ(sink.end->reason.code(), Errc::kCorrupt);
  EXPECT_EQ(shorter.end->status, FileEnd::Status::kBadDigest);
  EXPECT_OK(pull->finish());
}

class Append : public testing::TestWithParam<std::tuple<std::string, CompressionKind>> {
 protected:
  std::unique_ptr<BlockingPull> open(std::vector<std::string> paths) {
    const auto& [server, compression] = GetParam();
    PullConfig config = paths_config(std::move(paths));
    config.extra_args = {"--append"};
    config.compression = compression;
    if (server == "daemon") {
      daemon_.emplace(RsyncDaemon::serving(dir_.path()));
      return BlockingPull::over_tcp(daemon_->port(), config);
    }
    config.root = dir_.path();
    return BlockingPull::over_pipe(server == "pipe" ? "rsync" : support::require_old_rsync(), config);
  }
  TempDir dir_;
  std::optional<RsyncDaemon> daemon_;
};

TEST_P(Append, StartsAtAnyByte) {
  const std::string text = support::random_bytes(1'000'000, 4);
  support::write_file(dir_ / "f", text);
  std::vector<uint64_t> offsets = {0, 1, 131071, 131072, 131073, 262144, 999'999, 1'000'000};
  std::mt19937_64 random(11);
  while (offsets.size() < 40) offsets.push_back(random() % text.size());
  // One request per entry: the path is listed as often as it is read.
  auto pull = open(std::vector<std::string>(offsets.size(), "f"));
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(pull->list().size(), offsets.size());
  std::vector<MemorySink> sinks(offsets.size());
  for (uint32_t i = 0; i < offsets.size(); ++i) pull->session().request_append(i, offsets[i], sinks[i]);
  ASSERT_OK(pull->pump_until([&] { return pull->session().unanswered() == 0; }));
  for (size_t i = 0; i < offsets.size(); ++i) {
    SCOPED_TRACE(offsets[i]);
    ASSERT_EQ(sinks[i].end->status, FileEnd::Status::kGood);
    EXPECT_EQ(sinks[i].end->size, text.size());
    EXPECT_TRUE(sinks[i].data == text.substr(offsets[i]));
    if (!sinks[i].data.empty()) {
      EXPECT_EQ(sinks[i].first_offset, offsets[i]);
    }
  }
  EXPECT_OK(pull->finish());
}

TEST_P(Append, GrownFilesMayBeReadFromBeyondTheirListedSize) {
  const std::string text = support::random_bytes(3000, 8);
  support::write_file(dir_ / "f", text.substr(0, 1000));
  auto pull = open({"f"});
  ASSERT_OK(pull->wait_for_list());
  support::write_file(dir_ / "f", text);
  MemorySink sink;
  pull->session().request_append(0, 2000, sink);
  ASSERT_OK(pull->pump_until([&] { return sink.end.has_value(); }));
  EXPECT_EQ(sink.end->status, FileEnd::Status::kGood);
  EXPECT_EQ(sink.first_offset, 2000u);
  EXPECT_TRUE(sink.data == text.substr(2000));
  EXPECT_OK(pull->finish());
}

TEST_P(Append, ShrunkFilesAreNotSent) {
  support::write_file(dir_ / "f", std::string(1000, 'x'));
  auto pull = open({"f"});
  ASSERT_OK(pull->wait_for_list());
  support::write_file(dir_ / "f", std::string(500, 'x'));
  MemorySink sink;
  pull->session().request_append(0, 100, sink);
  ASSERT_OK(pull->pump_until([&] { return sink.end.has_value(); }));
  EXPECT_EQ(sink.end->status, FileEnd::Status::kNotSent);
  EXPECT_EQ(sink.end->reason.code(), Errc::kChanged) << sink.end->reason.message();
  EXPECT_OK(pull->finish());
}
INSTANTIATE_TEST_SUITE_P(Servers, Append,
                         testing::Combine(testing::Values("daemon", "pipe", "old"),
                                          testing::Values(CompressionKind::kNone, CompressionKind::kZlibx,
                                                          CompressionKind::kZstd)),
                         [](const auto& info_) {
                           return std::get<0>(info_.param) +
                                  std::to_string(static_cast<int>(std::get<1>(info_.param)));
                         });

}  // namespace
}  // namespace rsyncfs
