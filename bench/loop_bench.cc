// SPDX-License-Identifier: GPL-3.0-or-later
// What the loop itself costs, engine by engine: tasks from another thread, round trips, timers, file reads.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "io/base/unique_fd.h"
#include "io/loop.h"

namespace rsyncfs {
namespace {

std::unique_ptr<Loop> open_loop(benchmark::State& state) {
  auto made = make_loop(state.range(0) == 0 ? IoChoice::kThreads : IoChoice::kUring);
  if (!made.ok()) {
    state.SkipWithError(made.error().message().c_str());
    return nullptr;
  }
  state.SetLabel(made->reason);
  return std::move(made->loop);
}

void report_calls(benchmark::State& state, const Loop& loop) {
  state.counters["submits"] = benchmark::Counter(static_cast<double>(loop.counters().submits.load()),
                                                 benchmark::Counter::kAvgIterations);
}

// From post() in another thread until the task runs in a loop that sleeps.
void BM_PostToSleepingLoop(benchmark::State& state) {
  const auto loop = open_loop(state);
  if (!loop) return;
  std::thread runner([&] { loop->run(); });
  for ([[maybe_unused]] auto _ : state) {
    std::atomic<bool> ran{false};
    loop->post([&] {
      ran = true;
      ran.notify_one();
    });
    ran.wait(false);
  }
  report_calls(state, *loop);
  loop->stop();
  runner.join();
}

// A thousand at a time: what one of them costs when the loop is awake.
void BM_PostBurst(benchmark::State& state) {
  constexpr int kBurst = 1000;
  const auto loop = open_loop(state);
  if (!loop) return;
  std::thread runner([&] { loop->run(); });
  for ([[maybe_unused]] auto _ : state) {
    std::atomic<int> left{kBurst};
    for (int i = 0; i < kBurst; ++i) {
      loop->post([&] {
        if (--left == 0) left.notify_one();
      });
    }
    for (int seen = left; seen != 0; seen = left) left.wait(seen);
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
  loop->stop();
  runner.join();
}

// One message there and back through a socket pair, both ends served by one loop.
void BM_PingPong(benchmark::State& state) {
  const auto loop = open_loop(state);
  if (!loop) return;
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0)
    return state.SkipWithError("socketpair");
  const std::array<UniqueFd, 2> ends = {UniqueFd(fds[0]), UniqueFd(fds[1])};
  std::string message(static_cast<size_t>(state.range(1)), 'm');
  std::array<std::string, 2> buffers = {message, message};
  const iovec data{message.data(), message.size()};
  std::function<void(size_t)> serve = [&](size_t end) {
    loop->recv(ends[end].get(), std::as_writable_bytes(std::span(buffers[end])),
               [&, end](const Result<size_t>& got) {
                 if (!got.ok()) std::abort();
                 if (end == 0 && !state.KeepRunning()) return loop->stop();
                 loop->send(ends[end].get(), {&data, 1}, [](const Result<size_t>&) {});
                 serve(end);
               });
  };
  serve(0);
  serve(1);
  loop->send(ends[1].get(), {&data, 1}, [](const Result<size_t>&) {});
  loop->run();
  report_calls(state, *loop);
}

// A timeout's usual life: started, and cancelled long before it is due.
void BM_TimerStartCancel(benchmark::State& state) {
  const auto loop = open_loop(state);
  if (!loop) return;
  for ([[maybe_unused]] auto _ : state) loop->cancel_timer(loop->run_after(std::chrono::seconds(30), [] {}));
}

// A chain of timers that are due at once: one turn of the loop each.
void BM_TimerTurn(benchmark::State& state) {
  const auto loop = open_loop(state);
  if (!loop) return;
  std::function<void()> tick = [&] {
    if (!state.KeepRunning()) return loop->stop();
    loop->run_after(std::chrono::nanoseconds(0), tick);
  };
  tick();
  loop->run();
  report_calls(state, *loop);
}

// Cached 64 KiB blocks of one file, 32 under way at a time.
void BM_ReadCachedBlocks(benchmark::State& state) {
  constexpr size_t kBlock = 64 * 1024;
  constexpr size_t kDepth = 32;
  const auto loop = open_loop(state);
  if (!loop) return;
  const char* const base = std::getenv("TMPDIR");
  std::string name = std::string(base != nullptr ? base : "/tmp") + "/rsyncfs-bench-XXXXXX";
  const UniqueFd file(::mkostemp(name.data(), O_CLOEXEC));
  ::unlink(name.c_str());
  const std::string text(kBlock * kDepth, 't');
  if (::write(file.get(), text.data(), text.size()) < 0) return state.SkipWithError("write");
  std::vector<std::string> buffers(kDepth, std::string(kBlock, '.'));
  size_t under_way = kDepth;
  bool more = true;
  std::function<void(size_t)> read = [&](size_t block) {
    loop->read_at(file.get(), std::as_writable_bytes(std::span(buffers[block])), block * kBlock,
                  [&, block](const Result<size_t>& got) {
                    if (!got.ok()) std::abort();
                    more = more && state.KeepRunning();
                    if (more) return read(block);
                    if (--under_way == 0) loop->stop();
                  });
  };
  for (size_t block = 0; block < kDepth; ++block) read(block);
  loop->run();
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kBlock));
  report_calls(state, *loop);
}

// Argument 0: 0 the threads engine, 1 io_uring.
BENCHMARK(BM_PostToSleepingLoop)->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(BM_PostBurst)->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(BM_PingPong)->ArgsProduct({{0, 1}, {1, 32 * 1024}});
BENCHMARK(BM_TimerStartCancel)->Arg(0);
BENCHMARK(BM_TimerTurn)->Arg(0)->Arg(1);
BENCHMARK(BM_ReadCachedBlocks)->Arg(0)->Arg(1)->UseRealTime();

}  // namespace
}  // namespace rsyncfs
