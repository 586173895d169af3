// SPDX-License-Identifier: GPL-3.0-or-later
// Everything at once, for a while, by chance; the seed is printed.
#include <unistd.h>

#include <deque>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "tests/io/loop_fixture.h"
#include "tests/support/seed.h"

namespace rsyncfs::test {
namespace {

using namespace std::chrono_literals;

class LoopStressTest : public LoopTest {};

// One direction of one pair of descriptors: a fixed text sent and received in pieces of random size, with
// reads that are cancelled now and then. Ends when all has arrived, in order.
class Channel {
 public:
  Channel(Loop& loop, FdPair ends, std::string text, uint64_t seed, std::function<void()> finished)
      : loop_(loop),
        ends_(std::move(ends)),
        text_(std::move(text)),
        random_(seed),
        finished_(std::move(finished)) {}

  void start() {
    send_more();
    recv_more();
  }

 private:
  void send_more() {
    const size_t left = text_.size() - sent_;
    if (left == 0) return;
    const size_t size = 1 + random_() % std::min<size_t>(left, 100'000);
    const std::string_view piece = std::string_view(text_).substr(sent_, size);
    const std::array parts = {part(piece.substr(0, size / 3)), part(piece.substr(size / 3))};
    loop_.send(ends_.second.get(), parts, [this](Result<size_t> n) {
      ASSERT_TRUE(n.ok()) << n.error().message();
      sent_ += *n;
      send_more();
    });
  }
  void recv_more() {
    buffer_.resize(1 + random_() % 100'000);
    const OpId op = loop_.recv(ends_.first.get(), writable(buffer_), [this](Result<size_t> n) {
      if (n.ok()) {
        ASSERT_TRUE(std::string_view(buffer_).substr(0, *n) == std::string_view(text_).substr(received_, *n));
        received_ += *n;
      } else {
        ASSERT_EQ(n.error().os_errno(), ECANCELED);
      }
      if (received_ == text_.size()) return finished_();
      recv_more();
    });
    if (random_() % 4 == 0) {
      loop_.run_after(std::chrono::microseconds(random_() % 50), [this, op] { loop_.cancel(op); });
    }
  }

  Loop& loop_;
  FdPair ends_;
  std::string text_;
  std::mt19937_64 random_;
  std::function<void()> finished_;
  std::string buffer_;
  size_t sent_ = 0;
  size_t received_ = 0;
};

// Random blocks of one file, written, synced and read back, many at a time.
class FileUser {
 public:
  static constexpr size_t kBlocks = 64;
  static constexpr size_t kBlock = 8192;

  FileUser(Loop& loop, uint64_t seed, int operations, std::function<void()> finished)
      : loop_(loop),
        random_(seed),
        left_(operations),
        finished_(std::move(finished)),
        file_(make_temp_file()) {}

  void start() {
    for (size_t i = 0; i < kBlocks; ++i) write(i);
  }

 private:
  void write(size_t block) {
    text_[block] = std::string(kBlock, static_cast<char>('a' + random_() % 26));
    loop_.write_at(file_.get(), readable(text_[block]), block * kBlock, [this, block](Result<size_t> n) {
      ASSERT_TRUE(n.ok() && *n == kBlock);
      if (random_() % 32 == 0) {
        loop_.fsync(file_.get(), true, [this, block](const Result<size_t>& synced) {
          ASSERT_TRUE(synced.ok());
          read(block);
        });
      } else {
        read(block);
      }
    });
  }
  void read(size_t block) {
    found_[block] = std::string(kBlock, '\0');
    loop_.read_at(file_.get(), writable(found_[block]), block * kBlock, [this, block](Result<size_t> n) {
      ASSERT_TRUE(n.ok() && *n == kBlock);
      ASSERT_TRUE(found_[block] == text_[block]);
      --left_;
      if (left_ > 0) return write(block);
      if (left_ == 1 - static_cast<int>(kBlocks)) finished_();
    });
  }

  Loop& loop_;
  std::mt19937_64 random_;
  int left_;
  std::function<void()> finished_;
  UniqueFd file_;
  std::map<size_t, std::string> text_;
  std::map<size_t, std::string> found_;
};

TEST_P(LoopStressTest, EverythingAtOnce) {
  const uint64_t seed = support::test_seed();
  constexpr int kChannels = 24;
  int unfinished = kChannels + 1;
  const auto finished = [&] {
    if (--unfinished == 0) loop().stop();
  };
  std::deque<Channel> channels;
  for (uint64_t i = 0; i < kChannels; ++i) {
    FdPair ends = i % 3 == 0 ? make_pipe(i % 2 == 0) : make_socketpair(i % 2 == 0);
    channels.emplace_back(loop(), std::move(ends), pattern(2'000'000, seed + i), seed + i, finished);
  }
  FileUser file(loop(), seed, 3'000, finished);
  std::atomic<bool> done{false};
  std::atomic<uint64_t> posted{0};
  uint64_t ran = 0;
  std::vector<std::thread> posters;
  posters.reserve(2);
  for (int i = 0; i < 2; ++i) {
    posters.emplace_back([&] {
      while (!done) {
        loop().post([&ran] { ++ran; });
        ++posted;
        std::this_thread::sleep_for(50us);
      }
    });
  }
  loop().post([&] {
    for (auto& channel : channels) channel.start();
    file.start();
  });
  run();
  EXPECT_EQ(unfinished, 0);
  done = true;
  for (auto& poster : posters) poster.join();
  loop().post([this] { loop().stop(); });
  run();
  EXPECT_EQ(ran, posted.load());
}

TEST_P(LoopStressTest, ManyWaitersOfWhichFewAreReady) {
  // Far more waiting receives than the ring has entries must not keep others from being started.
  constexpr size_t kIdle = 200;
  std::vector<FdPair> idle;
  std::vector<std::string> buffers(kIdle, std::string(10, '.'));
  std::vector<Outcome> waiting(kIdle);
  for (size_t i = 0; i < kIdle; ++i) {
    idle.push_back(make_socketpair());
    loop().recv(idle[i].first.get(), writable(buffers[i]), into(waiting[i]));
  }
  loop().run_after(5ms, [&] {
    for (const auto& pair : idle) {
      const iovec data = part("wake up");
      loop().send(pair.second.get(), {&data, 1}, [](const Result<size_t>& sent) { EXPECT_TRUE(sent.ok()); });
    }
  });
  run_all();
  for (const auto& outcome : waiting) EXPECT_EQ(error_of(outcome), 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, LoopStressTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
