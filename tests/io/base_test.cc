// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "io/base/text.h"
#include "io/base/unique_fd.h"
#include "io/base/unique_function.h"
#include "io/loop.h"
#include "tests/support/seed.h"

namespace rsyncfs::test {
namespace {

std::string text_of(const ByteQueue& queue) {
  const auto bytes = queue.readable();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(ByteQueue, BehavesAsAString) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  ByteQueue queue;
  std::string model;
  for (int step = 0; step < 5'000; ++step) {
    if (random() % 2 == 0) {
      const std::string more(random() % 200, static_cast<char>('a' + random() % 26));
      queue.append(more);
      model += more;
    } else {
      const size_t size = random() % (model.size() + 1);
      queue.consume(size);
      model.erase(0, size);
    }
    ASSERT_EQ(queue.size(), model.size());
    ASSERT_EQ(text_of(queue), model);
  }
}

TEST(ByteQueue, NumbersAreLittleEndian) {
  ByteQueue queue;
  queue.append_u8(0x01);
  queue.append_le16(0x0302);
  queue.append_le32(0x07060504);
  EXPECT_EQ(text_of(queue), "\x01\x02\x03\x04\x05\x06\x07");
  queue.clear();
  EXPECT_TRUE(queue.empty());
}

TEST(Error, NamesTheCause) {
  const Error error = Error::os(ENOENT, "open").with_context("store");
  EXPECT_EQ(error.message(), "store: open: No such file or directory");
  EXPECT_EQ(error.os_errno(), ENOENT);
  EXPECT_EQ(error.code(), Errc::kOs);
}

TEST(Result, HoldsAValueOrAnError) {
  Result<std::unique_ptr<int>> value(std::make_unique<int>(3));
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(**value, 3);
  const Result<int> error(Error(Errc::kLimit, "too many"));
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(error.error().code(), Errc::kLimit);
  EXPECT_TRUE(Result<void>().ok());
}

TEST(UniqueFunctionDeathTest, AnEmptyOneAborts) {
  UniqueFunction<void()> empty;
  EXPECT_FALSE(static_cast<bool>(empty));
  EXPECT_DEATH(empty(), "check failed");
}

TEST(Text, EscapesWhatWouldForgeALine) {
  EXPECT_EQ(escape_control("a\nb\\c\x7f\x1b[0m\xff"), "a\\012b\\\\c\\177\\033[0m\xff");
  EXPECT_EQ(human_bytes(17), "17 B");
  EXPECT_EQ(human_bytes(12 * 1024), "12.0 KiB");
  EXPECT_EQ(human_bytes(1500 * 1024 * 1024ULL), "1.5 GiB");
}

TEST(UniqueFd, ClosesOnce) {
  UniqueFd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = first.get();
  ASSERT_GE(number, 0);
  UniqueFd second(std::move(first));
  EXPECT_FALSE(static_cast<bool>(first));  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
  second.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(IoOp, EachHasAName) {
  EXPECT_EQ(io_op_name(IoOp::kRead), "read");
  EXPECT_EQ(io_op_name(IoOp::kFsync), "fsync");
  EXPECT_EQ(io_op_name(IoOp::kCount), "?");
}

}  // namespace
}  // namespace rsyncfs::test
