// SPDX-License-Identifier: GPL-3.0-or-later
// Regular files through both engines.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "tests/io/loop_fixture.h"

namespace rsyncfs::test {
namespace {

class LoopFileTest : public LoopTest {};

std::string content_of(int fd, size_t size) {
  std::string text(size, '\0');
  EXPECT_EQ(::pread(fd, text.data(), size, 0), static_cast<ssize_t>(size));
  return text;
}

TEST_P(LoopFileTest, ReadsAtAnOffset) {
  const std::string text = pattern(100'000, 1);
  const UniqueFd file = make_temp_file(text);
  std::string middle(5'000, '\0');
  Outcome got;
  loop().read_at(file.get(), writable(middle), 70'001, into(got));
  run_all();
  ASSERT_EQ(error_of(got), 0);
  EXPECT_EQ(**got, middle.size());
  EXPECT_TRUE(middle == text.substr(70'001, 5'000));
}

TEST_P(LoopFileTest, IsShortOnlyAtTheEnd) {
  const std::string text = pattern((size_t{3} << 20) + 17, 2);
  const UniqueFd file = make_temp_file(text);
  std::string all(text.size() + 1'000'000, '\0');
  std::string none(100, '\0');
  std::string beyond(100, '\0');
  std::string small(100, '\0');
  Outcome got;
  Outcome at_end;
  Outcome past_end;
  Outcome last;
  loop().read_at(file.get(), writable(all), 0, into(got));
  loop().read_at(file.get(), writable(none), text.size(), into(at_end));
  loop().read_at(file.get(), writable(beyond), text.size() + 12'345, into(past_end));
  loop().read_at(file.get(), writable(small), text.size() - 40, into(last));
  run_all();
  ASSERT_EQ(error_of(got), 0);
  EXPECT_EQ(**got, text.size());
  EXPECT_TRUE(all.compare(0, text.size(), text) == 0);
  EXPECT_EQ(**at_end, 0U);
  EXPECT_EQ(**past_end, 0U);
  EXPECT_EQ(**last, 40U);
}

TEST_P(LoopFileTest, ReadsWhatIsNotCached) {
  const std::string text = pattern(size_t{2} << 20, 3);
  const UniqueFd file = make_temp_file(text);
  ASSERT_EQ(::fsync(file.get()), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  constexpr size_t kBlock = 64 * 1024;
  std::string copy(text.size(), '\0');
  std::vector<Outcome> got(text.size() / kBlock);
  for (size_t i = 0; i < got.size(); ++i) {
    const size_t at = (i * 7 % got.size()) * kBlock;  // out of order
    loop().read_at(file.get(), writable(copy).subspan(at, kBlock), at, into(got[i]));
  }
  run_all();
  for (const auto& outcome : got) EXPECT_EQ(error_of(outcome), 0);
  EXPECT_TRUE(copy == text);
}

TEST_P(LoopFileTest, WhatIsPartlyCachedIsReadWhole) {
  const std::string text = pattern(size_t{128} << 10, 7);
  const UniqueFd file = make_temp_file(text);
  ASSERT_EQ(::fsync(file.get()), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM), 0);
  char first = 0;
  ASSERT_EQ(::pread(file.get(), &first, 1, 0), 1);  // one page, without read-ahead
  std::string copy(text.size(), '\0');
  Outcome got;
  loop().read_at(file.get(), writable(copy), 0, into(got));
  run_all();
  ASSERT_EQ(error_of(got), 0);
  EXPECT_EQ(**got, text.size());
  EXPECT_TRUE(copy == text);
}

TEST_P(LoopFileTest, WritesAtAnOffset) {
  const UniqueFd file = make_temp_file("aaaaaaaaaa");
  Outcome inside;
  Outcome beyond;
  loop().write_at(file.get(), readable("BBB"), 2, into(inside));
  loop().write_at(file.get(), readable("C"), 20, into(beyond));
  run_all();
  ASSERT_EQ(error_of(inside), 0);
  ASSERT_EQ(error_of(beyond), 0);
  EXPECT_EQ(**inside, 3U);
  EXPECT_EQ(content_of(file.get(), 21), std::string("aaBBBaaaaa") + std::string(10, '\0') + "C");
}

TEST_P(LoopFileTest, ManyMoreThanTheDiskTakesAtOnce) {
  constexpr size_t kOps = 1'000;
  constexpr size_t kBlock = 512;
  const std::string text = pattern(kOps * kBlock, 4);
  const UniqueFd file = make_temp_file();
  std::vector<Outcome> written(kOps);
  for (size_t i = 0; i < kOps; ++i) {
    loop().write_at(file.get(), readable(text).subspan(i * kBlock, kBlock), i * kBlock, into(written[i]));
  }
  run_all();
  EXPECT_TRUE(std::ranges::all_of(written, [](const Outcome& outcome) { return error_of(outcome) == 0; }));
  EXPECT_TRUE(content_of(file.get(), text.size()) == text);
  EXPECT_EQ(loop().counters().bytes[static_cast<size_t>(IoOp::kWrite)].load(), text.size());
}

TEST_P(LoopFileTest, LargeWrite) {
  const std::string text = pattern(size_t{16} << 20, 5);
  const UniqueFd file = make_temp_file();
  Outcome written;
  loop().write_at(file.get(), readable(text), 4096, into(written));
  run_all();
  ASSERT_EQ(error_of(written), 0);
  EXPECT_EQ(**written, text.size());
  EXPECT_TRUE(content_of(file.get(), 4096 + text.size()).substr(4096) == text);
}

TEST_P(LoopFileTest, Sync) {
  const UniqueFd file = make_temp_file("durable");
  Outcome all;
  Outcome data;
  Outcome not_a_file;
  const FdPair pipe = make_pipe();
  loop().fsync(file.get(), false, into(all));
  loop().fsync(file.get(), true, into(data));
  loop().fsync(pipe.first.get(), false, into(not_a_file));
  run_all();
  EXPECT_EQ(error_of(all), 0);
  EXPECT_EQ(error_of(data), 0);
  EXPECT_EQ(error_of(not_a_file), EINVAL);
}

TEST_P(LoopFileTest, Errors) {
  const UniqueFd directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const UniqueFd read_only(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  std::string buffer(10, '.');
  Outcome is_directory;
  Outcome no_space;
  Outcome not_writable;
  Outcome closed;
  loop().read_at(directory.get(), writable(buffer), 0, into(is_directory));
  loop().write_at(full.get(), readable("x"), 0, into(no_space));
  loop().write_at(read_only.get(), readable("x"), 0, into(not_writable));
  loop().read_at(-1, writable(buffer), 0, into(closed));
  run_all();
  EXPECT_EQ(error_of(is_directory), EISDIR);
  EXPECT_EQ(error_of(no_space), ENOSPC);
  EXPECT_EQ(error_of(not_writable), EBADF);
  EXPECT_EQ(error_of(closed), EBADF);
  EXPECT_EQ(no_space->error().message(), "write: No space left on device");
}

INSTANTIATE_TEST_SUITE_P(Engines, LoopFileTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
