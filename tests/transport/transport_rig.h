// SPDX-License-Identifier: GPL-3.0-or-later
// A loop that runs on a thread of its own, and what its streams and attempts came to.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "io/loop.h"
#include "sync/transport/connect.h"
#include "tests/support/wait.h"

namespace rsyncfs::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Of what happens at once on an idle machine.
constexpr seconds kPatience{40};

// Loop thread only, as the streams themselves.
struct Collector final : Stream::Handler {
  void on_bytes(std::span<const std::byte> data) override {
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());  // NOLINT: bytes as text
    if (on_change) on_change();
  }
  void on_end(Result<void> why) override {
    ++ends;
    end = std::move(why);
    ended_at = Clock::now();
    if (on_change) on_change();
  }
  bool ended() const { return end.has_value(); }

  std::string bytes;
  std::optional<Result<void>> end;
  Clock::time_point ended_at{};
  int ends = 0;
  std::function<void()> on_change;
};

// What an attempt came to.
struct Arrival {
  StreamDone done() {
    return [this](Result<std::unique_ptr<Stream>> result) {
      ++calls;
      at = Clock::now();
      outcome.emplace(std::move(result));
    };
  }
  bool ok() const { return outcome && outcome->ok(); }
  Error error() const { return outcome && !outcome->ok() ? outcome->error() : Error(Errc::kOs, "no error"); }

  int calls = 0;
  Clock::time_point at{};
  std::optional<Result<std::unique_ptr<Stream>>> outcome;
};

class TransportTest : public testing::TestWithParam<IoChoice> {
 protected:
  void SetUp() override {
    auto made = make_loop(GetParam());
    if (!made.ok() && GetParam() == IoChoice::kUring) GTEST_SKIP() << made.error().message();
    ASSERT_TRUE(made.ok()) << made.error().message();
    loop_ = std::move(made->loop);
    thread_ = std::thread([this] { loop_->run(); });
  }
  Loop& loop() { return *loop_; }
  bool loop_runs() const { return loop_ != nullptr; }
  template <class F>
  auto on_loop(F work) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto result = task.get_future();
    loop_->post([&task] { task(); });
    return result.get();
  }
  // What a test left on the loop's thread goes first.
  void TearDown() override { end_loop(); }
  void end_loop() {
    if (!loop_) return;
    on_loop([this] {
      attempt.reset();
      stream.reset();
      arrival.outcome.reset();
    });
    loop_->stop();
    thread_.join();
    loop_.reset();
  }

  bool eventually(const std::function<bool()>& condition, milliseconds limit = kPatience) {
    return support::wait_until([&] { return on_loop(condition); }, limit);
  }
  // Takes the stream of `arrival` into use.
  void attach() {
    on_loop([this] {
      stream = std::move(**arrival.outcome);
      stream->start(seen);
    });
  }
  void send(std::string_view text) {
    on_loop([&] {
      ByteQueue data;
      data.append(std::as_bytes(std::span(text.data(), text.size())));
      stream->send(data);
    });
  }

  std::unique_ptr<ConnectAttempt> attempt;
  Arrival arrival;
  std::unique_ptr<Stream> stream;
  Collector seen;

 private:
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

inline const auto kEngines = testing::Values(IoChoice::kUring, IoChoice::kThreads);
inline std::string engine_name(const testing::TestParamInfo<IoChoice>& info) {
  return info.param == IoChoice::kUring ? "uring" : "threads";
}

}  // namespace rsyncfs::test
