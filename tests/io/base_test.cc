// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/base/buffer_pool.h"
#include "io/base/byte_queue.h"
#include "io/base/log.h"
#include "io/base/output_queue.h"
#include "io/base/result.h"
#include "io/base/text.h"
#include "io/base/unique_fd.h"
#include "io/base/unique_function.h"
#include "io/loop.h"
#include "tests/support/files.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

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

std::string all_of(OutputQueue& queue, size_t most_parts, size_t at_once) {
  std::string out;
  std::vector<iovec> parts(most_parts);
  while (!queue.empty()) {
    const size_t count = queue.gather(parts);
    EXPECT_GE(count, 1U);
    std::string some;
    for (const iovec& part : std::span(parts).first(count))
      some.append(static_cast<const char*>(part.iov_base), part.iov_len);
    some.resize(std::min(some.size(), at_once));
    out += some;
    queue.consume(some.size());
  }
  return out;
}

TEST(OutputQueue, KeepsTheOrderAndCopiesNothingLarge) {
  for (const size_t at_once : {1U, 3U, 100'000U}) {
    const auto owner = std::make_shared<const std::string>(50'000, 'L');
    OutputQueue queue;
    queue.tail().append("a");
    queue.append_shared({owner, std::as_bytes(std::span(*owner))});
    queue.tail().append("b");
    OutputQueue more;
    more.tail().append("c");
    more.append_shared({owner, std::as_bytes(std::span(*owner)).first(2)});
    more.append_shared({owner, {}});
    more.tail().append("d");
    EXPECT_EQ(owner.use_count(), 3);
    queue.append(more);
    EXPECT_TRUE(more.empty());
    ByteQueue plain;
    plain.append("e");
    queue.append(plain);
    EXPECT_EQ(queue.size(), 50'007U);
    std::vector<iovec> parts(2);
    ASSERT_EQ(queue.gather(parts), 2U);
    EXPECT_EQ(parts[1].iov_base, owner->data());
    EXPECT_EQ(all_of(queue, 3, at_once), "a" + *owner + "bcLLde");
    EXPECT_EQ(owner.use_count(), 1);
  }
}

TEST(OutputQueue, LongWaitingBytesAreMoved) {
  OutputQueue queue;
  queue.tail().append("first");
  ByteQueue large;
  large.append(std::string(10'000, 'x'));
  const std::byte* const there = large.readable().data();
  queue.append(large);
  std::vector<iovec> parts(4);
  ASSERT_EQ(queue.gather(parts), 2U);
  EXPECT_EQ(parts[1].iov_base, there);
  EXPECT_EQ(all_of(queue, 4, 4'096), "first" + std::string(10'000, 'x'));
}

TEST(BufferPool, UsesThemAgainWithinItsBudget) {
  BufferPool pool(3 * 8'192);
  const void* first = nullptr;
  {
    const BufferPool::Buffer one = pool.get(5'000);
    EXPECT_EQ(one.bytes.size(), 5'000U);
    first = one.bytes.data();
  }
  EXPECT_EQ(pool.idle_bytes(), 8'192U);
  EXPECT_EQ(pool.get(8'192).bytes.data(), first);
  EXPECT_EQ(pool.get(1).bytes.size(), 1U);
  {
    std::vector<BufferPool::Buffer> many;
    for (int i = 0; i < 10; ++i) many.push_back(pool.get(8'000));
    EXPECT_EQ(pool.idle_bytes(), 4'096U);
  }
  EXPECT_LE(pool.idle_bytes(), 3 * 8'192U);
  const BufferPool::Buffer large = pool.get(BufferPool::kMaxPooledBytes + 1);
  EXPECT_EQ(large.bytes.size(), BufferPool::kMaxPooledBytes + 1);
}

TEST(BufferPool, BuffersOutliveIt) {
  std::optional<BufferPool> pool(1 << 20);
  BufferPool::Buffer buffer = pool->get(100);
  const SharedBytes shared = buffer.shared();
  pool.reset();
  buffer.bytes.front() = std::byte{7};
  EXPECT_EQ(shared.bytes.front(), std::byte{7});
}

TEST(Text, EscapesWhatWouldForgeALine) {
  EXPECT_EQ(escape_control("a\nb\\c\x7f\x1b[0m\xff"), "a\\012b\\\\c\\177\\033[0m\xff");
  EXPECT_EQ(human_bytes(17), "17 B");
  EXPECT_EQ(human_bytes(12 * 1024), "12.0 KiB");
  EXPECT_EQ(human_bytes(1500 * 1024 * 1024ULL), "1.5 GiB");
}

TEST(Text, KnowsADevice) {
  EXPECT_EQ(parse_device("0:54"), makedev(0, 54));
  EXPECT_EQ(parse_device(std::string_view("259:3 x", 5)), makedev(259, 3));
  EXPECT_EQ(parse_device("none"), dev_t{0});
}

TEST(Log, AFileDoesNotGrowForEver) {
  const support::TempDir dir;
  const std::string path = dir / "a.log";
  log_to(path, LogLevel::kInfo);
  const std::string line(4000, 'x');
  constexpr size_t kLines = 3 * kMaxLogBytes / 4000;
  for (size_t i = 0; i < kLines; ++i) log_info(line);
  log_info("the last one");
  log_to("", LogLevel::kWarn);
  EXPECT_LE(std::filesystem::file_size(path), kMaxLogBytes);
  EXPECT_LE(std::filesystem::file_size(dir / "a.1.log"), kMaxLogBytes);
  EXPECT_NE(support::read_file(path).find("the last one"), std::string::npos);
  const auto entries = std::filesystem::directory_iterator(dir.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 2);
}

TEST(Log, WhatIsNoFileStaysWhereItIs) {
  const support::TempDir dir;
  const std::string path = dir / "pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const UniqueFd reader(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  log_to(path, LogLevel::kInfo);
  log_info("a line");
  log_to("", LogLevel::kWarn);
  std::array<char, 200> text{};
  const ssize_t got = read(reader.get(), text.data(), text.size());
  ASSERT_GT(got, 0);
  EXPECT_NE(std::string(text.data(), static_cast<size_t>(got)).find("a line"), std::string::npos);
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
