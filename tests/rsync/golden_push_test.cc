// SPDX-License-Identifier: GPL-3.0-or-later
// Hears what a real server said to a real client (golden/README.md), and must say what that client said, byte
// for byte.
#include <algorithm>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "sync/rsync/block_match.h"
#include "sync/rsync/mux.h"
#include "sync/rsync/wire.h"
#include "tests/rsync/golden_pushes.h"

namespace rsyncfs {

static void PrintTo(const GoldenPush& golden, std::ostream* out) {
  *out << golden.name;
}

namespace {

std::string load(const std::string& name) {
  std::ifstream in(RSYNCFS_GOLDEN_DIR "/push_" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Answers as a real sender does, by matching.
class Player : public PushEvents {
 public:
  explicit Player(const PushConfig& config)
      : config_(config), append_(config.kind == PushKind::kAppend), session_(config, *this) {}

  // All that was said.
  std::string play(std::string_view received, size_t piece) {
    take_output();
    while (!received.empty()) {
      const std::string_view part = received.substr(0, piece);
      received.remove_prefix(part.size());
      const auto taken = session_.receive(bytes_of(part));
      EXPECT_TRUE(taken.ok()) << taken.error().message();
      take_output();
    }
    EXPECT_TRUE(session_.end_of_input().ok());
    EXPECT_TRUE(finished_);
    return sent_;
  }

 private:
  void take_output() {
    const auto bytes = session_.output().tail().readable();
    sent_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    session_.output().tail().clear();
  }

  void on_request(PushRequest request) override {
    const std::string now = golden_contents(config_.entries[request.index].path);
    const uint64_t start = append_ ? request.head.size() : 0;
    const std::string_view part = std::string_view(now).substr(start);
    const auto read = [&](uint64_t offset, std::span<std::byte> out) -> Result<void> {
      std::ranges::copy(bytes_of(part).subspan(offset, out.size()), out.begin());
      return {};
    };
    BlockMatcher matcher(request.sums, session_.checksum(), session_.checksum_seed(), part.size(), read);
    Digest digest(session_.checksum());
    digest.update(bytes_of(part));
    session_.begin_file(request.index, request.head);
    for (auto next = matcher.next(); next->what != MatchedPiece::What::kEnd; next = matcher.next()) {
      if (next->what == MatchedPiece::What::kCopy) {
        session_.copy(next->block);
      } else {
        session_.literal(next->bytes);
      }
    }
    session_.end_file(digest.finish());
  }
  void on_finished() override { finished_ = true; }

  const PushConfig& config_;
  const bool append_;
  PushSession session_;
  std::string sent_;
  bool finished_ = false;
};

// What one side said, without the frames.
struct Said : MuxHandler {
  explicit Said(std::string_view bytes, bool negotiated) {
    WireReader in(bytes_of(bytes));
    version = in.le32();
    if (negotiated) in.vstring();
    MuxReader mux(65536, kMaxMuxFrame);
    EXPECT_TRUE(mux.feed(bytes_of(bytes).subspan(in.position()), *this).ok());
  }
  Result<void> on_mux_data(std::span<const std::byte> bytes) override {
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  Result<void> on_mux_message(MuxTag tag, std::span<const std::byte> /*payload*/) override {
    if (tag != MuxTag::kData) messages.push_back(tag);
    return {};
  }
  uint32_t version = 0;
  std::string data;
  std::vector<MuxTag> messages;
};

class GoldenPushes : public testing::TestWithParam<GoldenPush> {
 protected:
  void expect_same(size_t piece) const {
    const std::string received = load(GetParam().name + ".received");
    ASSERT_FALSE(received.empty());
    const bool negotiated = !GetParam().without_v && !GetParam().config.checksum;
    const Said theirs(load(GetParam().name + ".sent"), negotiated);
    const Said ours(Player(GetParam().config).play(received, piece), negotiated);
    EXPECT_EQ(ours.version, theirs.version);
    EXPECT_EQ(testing::PrintToString(ours.data), testing::PrintToString(theirs.data));
    EXPECT_EQ(ours.messages, theirs.messages);
  }
};

TEST_P(GoldenPushes, Whole) {
  expect_same(1 << 20);
}
TEST_P(GoldenPushes, ByteByByte) {
  expect_same(1);
}

// The same options, if in another order: all that is told of the entries depends on them.
TEST_P(GoldenPushes, Arguments) {
  std::vector<std::string> theirs;
  std::string text = load(GetParam().name + ".args");
  for (size_t end = 0; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
    theirs.push_back(text.substr(0, end));
    if (theirs.back() == "-@-1") theirs.back() = "--modify-window=-1";
  }
  std::vector<std::string> ours = shell_arguments(GetParam().config);
  ASSERT_GT(theirs.size(), 4u);
  EXPECT_EQ(theirs[0], ours[0]);
  EXPECT_EQ(theirs[1], ours[1]);  // the letters
  EXPECT_EQ(ours.back(), "/destination/.");
  ours.pop_back();
  EXPECT_EQ(ours.back(), ".");
  // Told always here; see GoldenPush::acknowledged.
  if (!GetParam().acknowledged) std::erase(ours, "--remove-source-files");
  std::ranges::sort(theirs);
  std::ranges::sort(ours);
  EXPECT_EQ(ours, theirs);
}

INSTANTIATE_TEST_SUITE_P(Pushes, GoldenPushes, testing::ValuesIn(golden_pushes()),
                         [](const auto& info_) { return info_.param.name; });

}  // namespace
}  // namespace rsyncfs
