// SPDX-License-Identifier: GPL-3.0-or-later
// Files that the kernel reads from the store by itself: what of them everybody sees, whoever changes them.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/fs/mount_rig.h"
#include "tests/support/files.h"
#include "tests/support/seed.h"
#include "tests/support/wait.h"

namespace rsyncfs::testing {
namespace {

using support::read_file;
using support::wait_until;

constexpr size_t kBytes = 1 << 20;
constexpr std::chrono::seconds kLimit{10};
constexpr size_t kPage = 4096;

FrontOptions options_of(bool read_only) {
  FrontOptions options;
  options.read_only = read_only;
  options.profile = OpenProfile::kPassthrough;
  return options;
}

class PassthroughTest : public ::testing::Test, public MountRig {
 protected:
  explicit PassthroughTest(bool read_only = false) : MountRig(options_of(read_only)) {}

  void SetUp() override {
    if (front->description().find("profile passthrough") == std::string::npos)
      GTEST_SKIP() << "needs a kernel with FUSE_PASSTHROUGH, and CAP_SYS_ADMIN: " << front->description();
    list(kRootNode, {file("file", kBytes)});
    fill(node("file"), bytes_);
  }

  std::string at(std::string_view name) const { return *this / name; }
  uint64_t lent() const { return front->statistics().lent_files; }
  // Opened so that the kernel reads it by itself: from the second time on, when it was compared with its
  // sums.
  UniqueFd open_lent(const std::string& path) {
    const uint64_t before = lent();
    UniqueFd fd;
    wait_until(
        [&] {
          fd = UniqueFd();
          // Closing is told to us later.
          wait_until([&] { return requests(FrontOp::kOpen) == requests(FrontOp::kRelease) + held_; }, kLimit);
          fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
          return lent() > before;
        },
        kLimit);
    EXPECT_GT(lent(), before) << "it was not lent";
    ++held_;
    return fd;
  }
  static std::string pread_all(int fd) {
    std::string out(4 * kBytes, '\0');
    const ssize_t got = ::pread(fd, out.data(), out.size(), 0);
    EXPECT_GE(got, 0) << std::strerror(errno);
    out.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return out;
  }
  static off_t size_of(int fd) {
    struct stat st {};
    EXPECT_EQ(::fstat(fd, &st), 0) << std::strerror(errno);
    return st.st_size;
  }

  uint64_t held_ = 0;  // opened by open_lent()
  std::string bytes_ = support::random_bytes(kBytes, 1);
};

class ReadOnlyPassthroughTest : public PassthroughTest {
 protected:
  ReadOnlyPassthroughTest() : PassthroughTest(true) {}
};

TEST_F(ReadOnlyPassthroughTest, NoReadReachesUs) {
  const UniqueFd fd = open_lent(at("file"));
  const uint64_t reads = requests(FrontOp::kRead);
  EXPECT_TRUE(pread_all(fd.get()) == bytes_);
  void* const map = ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_EQ(std::memcmp(map, bytes_.data(), kBytes), 0);
  ::munmap(map, kBytes);
  EXPECT_EQ(requests(FrontOp::kRead), reads);
  EXPECT_EQ(::open(at("file").c_str(), O_WRONLY | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(PassthroughTest, WhatIsSmallPartialOrWrittenHereIsReadThroughUs) {
  list(kRootNode, {file("small", 1000), file("part", kBytes), file("file", kBytes)});
  fill(node("small"), std::string(1000, 's'));
  fill_start(node("part"), bytes_.substr(0, kBytes / 2), kBytes);
  support::write_file(at("new"), bytes_);
  for (const char* name : {"small", "part", "new"}) {
    for (int again = 0; again < 3; ++again) {
      const UniqueFd fd(::open(at(name).c_str(), O_RDONLY | O_CLOEXEC));
      char first = 0;
      ASSERT_EQ(::pread(fd.get(), &first, 1, 0), 1) << name;
      ::usleep(20'000);
    }
  }
  EXPECT_EQ(lent(), 0U);
}

TEST_F(PassthroughTest, AReplacedFileKeepsItsOldBytesWhereItIsOpen) {
  const UniqueFd fd = open_lent(at("file"));
  const std::string newer = support::random_bytes(kBytes, 2);
  list(kRootNode, {file("file", kBytes, 0644, 1'800'000'000)});
  settle();
  fill(node("file"), newer);
  EXPECT_TRUE(read_file(at("file")) == newer);
  EXPECT_TRUE(pread_all(fd.get()) == bytes_);
  const UniqueFd again = open_lent(at("file"));
  EXPECT_TRUE(pread_all(again.get()) == newer);
}

TEST_F(PassthroughTest, WhatOthersWriteIsSeenAtOnce) {
  const UniqueFd reader = open_lent(at("file"));
  void* const map = ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, reader.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  const UniqueFd writer(::open(at("file").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_GE(writer.get(), 0) << std::strerror(errno);
  ASSERT_EQ(::pwrite(writer.get(), "mine", 4, 10'000), 4);
  bytes_.replace(10'000, 4, "mine");
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
  EXPECT_EQ(std::memcmp(map, bytes_.data(), kBytes), 0);
  ::munmap(map, kBytes);
  ASSERT_EQ(::fallocate(writer.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 50'000, 9'000), 0);
  bytes_.replace(50'000, 9'000, std::string(9'000, '\0'));
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
  // At the end, as a log grows.
  const UniqueFd log(::open(at("file").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_EQ(::write(log.get(), "a line\n", 7), 7);
  bytes_ += "a line\n";
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
  EXPECT_EQ(size_of(reader.get()), static_cast<off_t>(bytes_.size()));
  EXPECT_TRUE(read_file(at("file")) == bytes_);
  ASSERT_EQ(::fsync(log.get()), 0) << std::strerror(errno);
}

TEST_F(PassthroughTest, ATruncatedFileIsShorterForEverybody) {
  const UniqueFd reader = open_lent(at("file"));
  ASSERT_EQ(::truncate(at("file").c_str(), 5'000), 0) << std::strerror(errno);
  EXPECT_TRUE(pread_all(reader.get()) == bytes_.substr(0, 5'000));
  ASSERT_EQ(::truncate(at("file").c_str(), 9'000), 0) << std::strerror(errno);
  EXPECT_TRUE(pread_all(reader.get()) == bytes_.substr(0, 5'000) + std::string(4'000, '\0'));
  {
    const UniqueFd emptied(::open(at("file").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    ASSERT_GE(emptied.get(), 0) << std::strerror(errno);
    EXPECT_EQ(pread_all(reader.get()), "");
    EXPECT_EQ(size_of(reader.get()), 0);
    ASSERT_EQ(::write(emptied.get(), "new", 3), 3);
  }
  EXPECT_EQ(pread_all(reader.get()), "new");
  EXPECT_EQ(read_file(at("file")), "new");
}

TEST_F(PassthroughTest, ChangesAreThereWhenNobodyHasItOpenAnyMore) {
  {
    const UniqueFd reader = open_lent(at("file"));
    const UniqueFd writer(::open(at("file").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::pwrite(writer.get(), "mine", 4, 0), 4);
  }
  bytes_.replace(0, 4, "mine");
  EXPECT_TRUE(read_file(at("file")) == bytes_);
  unmount();
  mount();
  EXPECT_TRUE(read_file(at("file")) == bytes_);
  // No block of the base was touched by it.
  EXPECT_TRUE(replica->check().ok());
}

TEST_F(PassthroughTest, WhatAMapWritesIsThereAfterSyncAndClose) {
  const UniqueFd reader = open_lent(at("file"));
  UniqueFd writer(::open(at("file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_GE(writer.get(), 0) << std::strerror(errno);
  void* const map = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, writer.get(), 0);
  ASSERT_NE(map, MAP_FAILED) << std::strerror(errno);
  char* const mapped = static_cast<char*>(map);
  std::memcpy(mapped + 70'000, "by a map", 8);
  bytes_.replace(70'000, 8, "by a map");
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
  EXPECT_TRUE(pread_all(writer.get()) == bytes_);
  ASSERT_EQ(::fsync(writer.get()), 0) << std::strerror(errno);
  EXPECT_EQ(*read(node("file"), 70'000, 8), "by a map");
  // Written where it is fit for it already, and by a call beside it.
  std::memcpy(mapped + 70'000, "and anew", 8);
  ASSERT_EQ(::pwrite(writer.get(), "by a call", 9, 70'100), 9);
  bytes_.replace(70'000, 8, "and anew").replace(70'100, 9, "by a call");
  ::munmap(map, kBytes);
  writer = UniqueFd();
  EXPECT_TRUE(wait_until([&] { return *read(node("file"), 70'000, 8) == "and anew"; }, kLimit));
  EXPECT_EQ(*read(node("file"), 70'100, 9), "by a call");
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
  EXPECT_TRUE(read_file(at("file")) == bytes_);
}

TEST_F(PassthroughTest, GrowthOfTheSourcesVersionIsSeen) {
  const UniqueFd reader = open_lent(at("file"));
  const NodeId id = node("file");
  const FileVersion before = replica->node(id)->version();
  auto writer = replica->extend_content(id, kBytes + 6);
  ASSERT_TRUE(writer.ok()) << writer.error().message();
  const std::string added = "added\n";
  ASSERT_TRUE((*writer)->write(kBytes, std::as_bytes(std::span(added))).ok());
  // Nothing is proven yet.
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
  Replica::FinishedContent grown;
  grown.node = id;
  grown.size = kBytes + added.size();
  grown.writer = std::move(*writer);
  const auto done = replica->grow_content(std::move(grown), before);
  ASSERT_TRUE(done.ok() && *done);
  EXPECT_TRUE(pread_all(reader.get()) == bytes_ + added);
  EXPECT_TRUE(replica->check().ok());
}

TEST_F(PassthroughTest, WhatIsOpenSoIsNotLetGo) {
  UniqueFd reader = open_lent(at("file"));
  const NodeId id = node("file");
  auto freed = replica->cache().free_contents({id}, {});
  ASSERT_TRUE(freed.ok());
  EXPECT_EQ((*freed)[0].outcome, FreeOutcome::kInUse);
  Eviction all;
  all.bytes = UINT64_MAX;
  all.max_contents = 100;
  all.used_before = replica->cache().moment() + 1;
  const auto evicted = replica->cache().evict(all);
  ASSERT_TRUE(evicted.ok());
  EXPECT_EQ(evicted->files, 0U);
  // Damage is another matter: it is fetched again, and who has it open keeps what he has.
  ASSERT_TRUE(replica->drop_content(id).ok());
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
  fill(id, bytes_);
  reader = UniqueFd();
  EXPECT_TRUE(wait_until(
      [&] {
        freed = replica->cache().free_contents({id}, {});
        return freed.ok() && (*freed)[0].outcome == FreeOutcome::kFreed;
      },
      kLimit));
}

TEST_F(PassthroughTest, AFileThatIsOpenOtherwiseStaysSo) {
  const UniqueFd writer(::open(at("file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_GE(writer.get(), 0);
  for (int again = 0; again < 3; ++again) {
    EXPECT_TRUE(read_file(at("file")) == bytes_);
    ::usleep(20'000);
  }
  EXPECT_EQ(lent(), 0U);
  ASSERT_EQ(::pwrite(writer.get(), "mine", 4, 0), 4);
  EXPECT_EQ(read_file(at("file")).substr(0, 4), "mine");
}

TEST_F(PassthroughTest, ARemovedFileWorksWhereItIsOpen) {
  const UniqueFd reader = open_lent(at("file"));
  const UniqueFd writer(::open(at("file").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::unlink(at("file").c_str()), 0);
  ASSERT_EQ(::pwrite(writer.get(), "mine", 4, 0), 4);
  bytes_.replace(0, 4, "mine");
  EXPECT_TRUE(pread_all(reader.get()) == bytes_);
}

TEST_F(PassthroughTest, WhatTheDiskDamagedIsNotGiven) {
  syncer.on_read([this](NodeId) { return bytes_; });
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir / "state/blocks")) {
    if (!entry.is_regular_file()) continue;
    const UniqueFd block(::open(entry.path().c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(block.get(), "damaged", 7, 500'000), 7);
  }
  const auto is_here = [this] { return replica->content_state(node("file"))->complete; };
  EXPECT_TRUE(is_here());
  EXPECT_TRUE(wait_until(
      [&] {
        EXPECT_EQ(read_file(at("file")).substr(500'000, 7), bytes_.substr(500'000, 7));
        return !is_here();
      },
      kLimit));
  EXPECT_TRUE(read_file(at("file")) == bytes_);
  EXPECT_EQ(lent(), 0U);
}

// One of several who have the file open, in each of the ways that there are.
class RandomWriter {
 public:
  RandomWriter(std::string path, std::string& model, uint64_t seed)
      : path_(std::move(path)), model_(model), random_(seed) {}

  // "" or what failed.
  std::string step() {
    if (!fd_ || below(10) == 0) return reopen();
    const size_t offset = below(model_.size() + 10'000);
    const size_t length = 1 + below(30'000);
    const int failed = change(offset, length);
    return failed == 0 ? "" : std::strerror(errno);
  }

 private:
  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }
  std::string reopen() {
    constexpr std::array<int, 4> kFlags{O_WRONLY, O_RDWR, O_RDWR | O_APPEND, O_WRONLY | O_TRUNC};
    flags_ = kFlags[below(20) == 0 ? 3 : below(3)];
    fd_ = UniqueFd(::open(path_.c_str(), flags_ | O_CLOEXEC));
    if (!fd_) return std::string("open: ") + std::strerror(errno);
    if ((flags_ & O_TRUNC) != 0) model_.clear();
    return "";
  }
  int change(size_t offset, size_t length) {
    switch (below(6)) {
      case 0:
        model_.resize(offset);
        return below(2) == 0 ? ::ftruncate(fd_.get(), static_cast<off_t>(offset))
                             : ::truncate(path_.c_str(), static_cast<off_t>(offset));
      case 1: {
        const size_t end = std::min(model_.size(), offset + length);
        for (size_t at = offset; at < end; ++at) model_[at] = '\0';
        return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                           static_cast<off_t>(length));
      }
      case 2:
        model_.resize(std::max(model_.size(), offset + length));
        std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(offset), length, '\0');
        return ::fallocate(fd_.get(), FALLOC_FL_ZERO_RANGE, static_cast<off_t>(offset),
                           static_cast<off_t>(length));
      case 3:
        return map(offset, length);
      default:
        return write(offset, length);
    }
  }
  int write(size_t offset, size_t length) {
    const std::string bytes = support::random_bytes(length, random_());
    if ((flags_ & O_APPEND) != 0) offset = model_.size();
    model_.resize(std::max(model_.size(), offset + length));
    model_.replace(offset, length, bytes);
    const ssize_t done = (flags_ & O_APPEND) != 0
                             ? ::write(fd_.get(), bytes.data(), length)
                             : ::pwrite(fd_.get(), bytes.data(), length, static_cast<off_t>(offset));
    return done == static_cast<ssize_t>(length) ? 0 : -1;
  }
  int map(size_t offset, size_t length) {
    if ((flags_ & O_ACCMODE) != O_RDWR || offset >= model_.size()) return 0;
    length = std::min(length, model_.size() - offset);
    const size_t first = offset / kPage * kPage;
    void* const map = ::mmap(nullptr, offset + length - first, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(),
                             static_cast<off_t>(first));
    if (map == MAP_FAILED) return -1;
    const std::string bytes = support::random_bytes(length, random_());
    std::memcpy(static_cast<char*>(map) + (offset - first), bytes.data(), length);
    model_.replace(offset, length, bytes);
    return ::munmap(map, offset + length - first);
  }

  const std::string path_;
  std::string& model_;
  std::mt19937_64 random_;
  UniqueFd fd_;
  int flags_ = 0;
};

TEST_F(PassthroughTest, AReaderSeesEveryChange) {
  const uint64_t seed = support::test_seed();
  {
    const UniqueFd reader = open_lent(at("file"));
    RandomWriter first(at("file"), bytes_, seed);
    RandomWriter second(at("file"), bytes_, seed + 1);
    for (int step = 0; step < 300; ++step) {
      ASSERT_EQ((step % 2 == 0 ? first : second).step(), "") << "seed " << seed << ", step " << step;
      ASSERT_TRUE(pread_all(reader.get()) == bytes_) << "seed " << seed << ", step " << step;
      ASSERT_EQ(size_of(reader.get()), static_cast<off_t>(bytes_.size()))
          << "seed " << seed << ", step " << step;
    }
  }
  unmount();
  mount();
  EXPECT_TRUE(read_file(at("file")) == bytes_) << "seed " << seed;
  EXPECT_TRUE(replica->check().ok());
}

}  // namespace
}  // namespace rsyncfs::testing
