// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/io/loop_fixture.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>

namespace rsyncfs::test {

namespace {
// No test waits for anything but itself; this is for a machine under the heaviest load.
constexpr std::chrono::seconds kPatience{50};
}  // namespace

void LoopFixture::open(IoChoice choice) {
  auto made = make_loop(choice);
  if (!made.ok() && choice == IoChoice::kUring) GTEST_SKIP() << made.error().message();
  ASSERT_TRUE(made.ok()) << made.error().message();
  ASSERT_EQ(made->loop->engine(), choice == IoChoice::kThreads ? "threads" : "io_uring");
  loop_ = std::move(made->loop);
}

IoDone LoopFixture::into(Outcome& slot) {
  ++outstanding_;
  return [this, &slot](Result<size_t> result) {
    EXPECT_FALSE(slot.has_value()) << "completed twice";
    slot.emplace(std::move(result));
    if (--outstanding_ == 0) loop_->stop();
  };
}

void LoopFixture::run_all() {
  if (outstanding_ > 0) run();
}

void LoopFixture::run() {
  const TimerId watchdog = loop_->run_after(kPatience, [this] {
    ADD_FAILURE() << "still waiting for " << outstanding_ << " operations";
    loop_->stop();
  });
  loop_->run();
  loop_->cancel_timer(watchdog);
}

std::string engine_name(const testing::TestParamInfo<IoChoice>& info) {
  return info.param == IoChoice::kUring ? "uring" : "threads";
}

FdPair make_socketpair(bool nonblocking) {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

FdPair make_pipe(bool nonblocking) {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC | (nonblocking ? O_NONBLOCK : 0)), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

UniqueFd make_temp_file(std::string_view content) {
  const char* const base = std::getenv("TMPDIR");
  std::string name = std::string(base != nullptr ? base : "/tmp") + "/rsyncfs-loop-XXXXXX";
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  EXPECT_TRUE(fd) << std::strerror(errno);
  ::unlink(name.c_str());
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
    if (n <= 0) {
      ADD_FAILURE() << std::strerror(errno);
      break;
    }
    done += static_cast<size_t>(n);
  }
  return fd;
}

std::span<std::byte> writable(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

std::span<const std::byte> readable(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

iovec part(std::string_view text) {
  return {const_cast<char*>(text.data()), text.size()};
}

int error_of(const Outcome& outcome) {
  if (!outcome) return -1;
  return outcome->ok() ? 0 : outcome->error().os_errno();
}

std::string pattern(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text(size, '\0');
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(text.data() + at, &word, std::min(sizeof word, size - at));
  }
  return text;
}

}  // namespace rsyncfs::test
