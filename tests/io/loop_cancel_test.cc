// SPDX-License-Identifier: GPL-3.0-or-later
// Cancellation, and what is left of operations when their loop stops or dies, through both engines.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "tests/io/loop_fixture.h"
#include "tests/support/seed.h"

namespace rsyncfs::test {
namespace {

using namespace std::chrono_literals;

class LoopCancelTest : public LoopTest {};

TEST_P(LoopCancelTest, EachKindOfWaiting) {
  auto [near, far] = make_socketpair();
  auto [out, in] = make_pipe();
  const std::string filler(size_t{1} << 16, 'f');
  while (::send(near.get(), filler.data(), filler.size(), MSG_DONTWAIT) > 0) {
  }
  std::string buffer(10, '.');
  std::string pipe_buffer(10, '.');
  const iovec data = part("never");
  std::vector<Outcome> outcomes(4);
  const std::vector<OpId> ops = {
      loop().recv(near.get(), writable(buffer), into(outcomes[0])),
      loop().send(near.get(), {&data, 1}, into(outcomes[1])),
      loop().recv(out.get(), writable(pipe_buffer), into(outcomes[2])),
      loop().poll_readable(near.get(), into(outcomes[3])),
  };
  loop().run_after(5ms, [&] {
    for (const OpId op : ops) loop().cancel(op);
    for (const OpId op : ops) loop().cancel(op);  // twice is once
    for (const auto& outcome : outcomes) EXPECT_FALSE(outcome.has_value()) << "completed inside cancel()";
  });
  run_all();
  for (const auto& outcome : outcomes) {
    EXPECT_EQ(error_of(outcome), ECANCELED);
    EXPECT_EQ(outcome->error().code(), Errc::kCanceled);
  }
  for (const OpId op : ops) loop().cancel(op);
  loop().cancel(0);
  loop().cancel(999'999);
}

TEST_P(LoopCancelTest, BeforeItBegins) {
  auto [near, far] = make_socketpair();
  ASSERT_EQ(::write(far.get(), "x", 1), 1);
  std::string buffer(10, '.');
  Outcome got;
  loop().cancel(loop().recv(near.get(), writable(buffer), into(got)));
  run_all();
  EXPECT_EQ(error_of(got), ECANCELED);
  // The byte was not taken.
  EXPECT_EQ(::recv(near.get(), buffer.data(), 10, MSG_DONTWAIT), 1);
}

TEST_P(LoopCancelTest, ConnectAndAccept) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  Outcome accepted;
  const OpId accept = loop().accept(listener.get(), into(accepted));
  loop().run_after(2ms, [&] { loop().cancel(accept); });
  run_all();
  EXPECT_EQ(error_of(accepted), ECANCELED);

  // With the queue of a listener full, further connections stay half open: there is something to wait for.
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<UniqueFd> clients(8);
  std::vector<Outcome> connected(clients.size());
  std::vector<OpId> ops(clients.size());
  for (size_t i = 0; i < clients.size(); ++i) {
    clients[i] = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ops[i] = loop().connect(clients[i].get(), reinterpret_cast<const sockaddr*>(&address), sizeof address,
                            into(connected[i]));
  }
  loop().run_after(30ms, [&] {
    for (const OpId op : ops) loop().cancel(op);
  });
  run_all();
  EXPECT_EQ(error_of(connected.front()), 0);
  EXPECT_EQ(error_of(connected.back()), ECANCELED);
}

TEST_P(LoopCancelTest, FilesAreDoneOrCancelledNeverHalf) {
  constexpr size_t kOps = 400;
  constexpr size_t kBlock = 128 * 1024;
  const UniqueFd file = make_temp_file();
  std::vector<std::string> blocks(kOps, std::string(kBlock, 'w'));
  std::vector<OpId> ops(kOps);
  std::vector<int> errors(kOps, -1);
  size_t left = kOps;
  for (size_t i = 0; i < kOps; ++i) {
    ops[i] = loop().write_at(file.get(), readable(blocks[i]), i * kBlock, [&, i](const Result<size_t>& n) {
      errors[i] = n.ok() ? 0 : n.error().os_errno();
      // The buffer is the caller's again: a write that still went on would show this.
      std::ranges::fill(blocks[i], 'x');
      // All others, while some of them are in the middle of it.
      if (left == kOps) std::ranges::for_each(ops, [this](OpId op) { loop().cancel(op); });
      if (--left == 0) loop().stop();
    });
  }
  run();
  ASSERT_EQ(left, 0U);
  EXPECT_GT(std::ranges::count(errors, ECANCELED), 0);
  for (size_t i = 0; i < kOps; ++i) {
    ASSERT_TRUE(errors[i] == 0 || errors[i] == ECANCELED) << errors[i];
    std::string found(kBlock, '\0');
    const ssize_t size = ::pread(file.get(), found.data(), kBlock, static_cast<off_t>(i * kBlock));
    if (errors[i] == 0) {
      EXPECT_TRUE(size == static_cast<ssize_t>(kBlock) && found == std::string(kBlock, 'w')) << "block " << i;
    } else {
      EXPECT_EQ(std::ranges::count(found, '\0'), static_cast<int64_t>(kBlock)) << "block " << i;
    }
  }
}

TEST_P(LoopCancelTest, ARaceLosesNoBytes) {
  constexpr int kRounds = 2'000;
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  auto [near, far] = make_socketpair();
  std::string buffer(64, '\0');
  std::string received;
  int round = 0;
  int cancelled = 0;
  std::function<void()> next = [&, fd = near.get()] {
    if (++round > kRounds) return loop().stop();
    const OpId op = loop().recv(fd, writable(buffer), [&](const Result<size_t>& got) {
      if (got.ok()) {
        received.append(buffer, 0, *got);
      } else {
        EXPECT_EQ(got.error().os_errno(), ECANCELED);
        ++cancelled;
      }
      next();
    });
    loop().run_after(std::chrono::microseconds(random() % 100), [this, op] { loop().cancel(op); });
  };
  std::atomic<bool> done{false};
  std::string sent;
  std::thread writer([&, fd = far.get(), delays = std::mt19937_64(seed + 1)]() mutable {
    for (char c = 'a'; !done; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
      EXPECT_EQ(::write(fd, &c, 1), 1);
      sent += c;
      std::this_thread::sleep_for(std::chrono::microseconds(delays() % 100));
    }
  });
  loop().post([&] { next(); });
  run();
  done = true;
  writer.join();
  for (ssize_t n = 0; (n = ::recv(near.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;) {
    received.append(buffer, 0, static_cast<size_t>(n));
  }
  EXPECT_EQ(received, sent);
  EXPECT_GT(cancelled, 0);
  EXPECT_LT(cancelled, kRounds);
}

TEST_P(LoopCancelTest, ThousandsCompleteAtOnce) {
  constexpr size_t kOps = 5'000;
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::vector<Outcome> outcomes(kOps);
  std::vector<OpId> ops(kOps);
  for (size_t i = 0; i < kOps; ++i) ops[i] = loop().poll_readable(event.get(), into(outcomes[i]));
  loop().run_after(20ms, [&] {
    for (size_t i = 0; i < kOps; i += 5) loop().cancel(ops[i]);
    loop().run_after(20ms, [&] {
      const uint64_t one = 1;
      EXPECT_EQ(::write(event.get(), &one, sizeof one), 8);
    });
  });
  run_all();
  for (size_t i = 0; i < kOps; ++i) ASSERT_EQ(error_of(outcomes[i]), i % 5 == 0 ? ECANCELED : 0) << i;
}

TEST_P(LoopCancelTest, AfterStopNothingTouchesTheBuffers) {
  auto [near, far] = make_socketpair();
  auto [out, in] = make_pipe();
  std::string buffer(100, '.');
  std::string pipe_buffer(100, '.');
  const auto alive = std::make_shared<int>(0);
  bool called = false;
  const auto never = [&] { return [alive, &called](const Result<size_t>&) { called = true; }; };
  loop().recv(near.get(), writable(buffer), never());
  loop().recv(out.get(), writable(pipe_buffer), never());
  loop().run_after(5ms, [&, fd = near.get()] {
    loop().poll_readable(fd, never());
    loop().stop();
  });
  run();
  EXPECT_EQ(alive.use_count(), 1) << "completions are destroyed when run() returns";
  ASSERT_EQ(::write(far.get(), "late", 4), 4);
  ASSERT_EQ(::write(in.get(), "late", 4), 4);
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(buffer, std::string(100, '.'));
  EXPECT_EQ(pipe_buffer, std::string(100, '.'));
  EXPECT_EQ(::recv(near.get(), buffer.data(), 100, MSG_DONTWAIT), 4) << "the bytes are still the socket's";
  EXPECT_EQ(::read(out.get(), buffer.data(), 100), 4);
  EXPECT_FALSE(called);
}

TEST_P(LoopCancelTest, FilesUnderWayAreWaitedFor) {
  // Freed as soon as run() returns; a late read would be seen by AddressSanitizer or break the heap.
  constexpr size_t kBlock = size_t{1} << 20;
  const std::string text = pattern(32 * kBlock, 6);
  const UniqueFd file = make_temp_file(text);
  ASSERT_EQ(::fsync(file.get()), 0);
  for (int round = 0; round < 5; ++round) {
    ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    std::vector<std::string> buffers(32, std::string(kBlock, '.'));
    for (size_t i = 0; i < buffers.size(); ++i) {
      loop().read_at(file.get(), writable(buffers[i]), i * kBlock, [](const Result<size_t>&) {});
    }
    loop().post([this] { loop().post([this] { loop().stop(); }); });
    run();
    // Nobody writes any more: a copy taken now is the same a little later.
    const auto copy = buffers;
    std::this_thread::sleep_for(2ms);
    ASSERT_TRUE(copy == buffers);
  }
}

TEST_P(LoopCancelTest, NeverRun) {
  auto [near, far] = make_socketpair();
  std::string buffer(100, '.');
  const auto alive = std::make_shared<int>(0);
  const UniqueFd file = make_temp_file("text");
  loop().recv(near.get(), writable(buffer), [alive](const Result<size_t>&) { FAIL(); });
  loop().read_at(file.get(), writable(buffer), 0, [alive](const Result<size_t>&) { FAIL(); });
  close_loop();
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_EQ(buffer, std::string(100, '.'));
}

TEST_P(LoopCancelTest, AnAcceptedConnectionIsNotLeakedByStop) {
  const auto open_descriptors = [] {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return count;
  };
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listener.get(), 16), 0);
  ASSERT_EQ(::fcntl(listener.get(), F_SETFL, O_NONBLOCK), 0);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  loop().post([this] { loop().stop(); });
  run();
  for (int round = 0; round < 20; ++round) {
    const int before = open_descriptors();
    const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    bool taken = false;
    const auto accept = [&] {
      loop().accept(listener.get(), [&taken](Result<size_t> fd) {
        taken = fd.ok();
        if (fd.ok()) ::close(static_cast<int>(*fd));
      });
    };
    // The connection is there before accept() is, or comes while it waits, at the stop or a turn before it.
    if (round % 3 != 0) accept();
    loop().run_after(1ms, [&] {
      EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
      if (round % 3 == 0) accept();
      if (round % 3 != 2) return loop().stop();
      loop().post([this] { loop().stop(); });
    });
    run();
    EXPECT_EQ(open_descriptors(), before + 1) << (taken ? "taken" : "not taken");
    if (!taken) ::close(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
  }
}

TEST_P(LoopCancelTest, CompletionsThatStartMoreAreDroppedToo) {
  struct StartsMore {
    Loop* loop;
    int fd;
    std::shared_ptr<int> alive;
    std::string buffer = std::string(10, '.');
    ~StartsMore() {
      if (alive) loop->poll_readable(fd, [kept = alive](const Result<size_t>&) { FAIL(); });
    }
  };
  auto [near, far] = make_socketpair();
  const auto alive = std::make_shared<int>(0);
  auto owner = std::make_shared<StartsMore>(StartsMore{&loop(), near.get(), nullptr});
  owner->alive = alive;
  loop().recv(near.get(), writable(owner->buffer), [owner](const Result<size_t>&) { FAIL(); });
  owner.reset();
  loop().run_after(2ms, [this] { loop().stop(); });
  run();
  close_loop();
  EXPECT_EQ(alive.use_count(), 1);
}

INSTANTIATE_TEST_SUITE_P(Engines, LoopCancelTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
