// SPDX-License-Identifier: GPL-3.0-or-later
// Batches of reads and syncs, with both engines.
#include "io/file_batch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>
#include <vector>

#include "tests/io/loop_fixture.h"

namespace rsyncfs::test {
namespace {

class FileBatchTest : public testing::TestWithParam<IoChoice> {
 protected:
  void SetUp() override {
    auto made = make_file_batch(GetParam());
    if (!made.ok()) {
      ASSERT_EQ(GetParam(), IoChoice::kUring) << made.error().message();
      GTEST_SKIP() << made.error().message();
    }
    batch_ = std::move(made->batch);
  }
  FileBatch& batch() { return *batch_; }

  // `count` reads of `size` bytes, one after the other from the beginning of the file, each into a place of
  // its own.
  static std::vector<FileRead> reads_of(int fd, size_t count, size_t size, std::string& buffer) {
    buffer.assign(count * size, '.');
    std::vector<FileRead> reads(count);
    for (size_t i = 0; i < count; ++i) reads[i] = {fd, i * size, writable(buffer).subspan(i * size, size)};
    return reads;
  }

 private:
  std::unique_ptr<FileBatch> batch_;
};

TEST_P(FileBatchTest, ReadsMoreThanAreUnderWayAtOnce) {
  constexpr size_t kReads = 5 * FileBatch::kDepth + 3;
  const std::string text = pattern(kReads * 4096, 1);
  const UniqueFd file = make_temp_file(text);
  std::string buffer;
  auto reads = reads_of(file.get(), kReads, 4096, buffer);
  // From the disk, where it lets go of them.
  ::fsync(file.get());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  batch().read(reads);
  EXPECT_EQ(buffer, text);
  for (const FileRead& read : reads) {
    EXPECT_EQ(read.got, 4096U);
    EXPECT_EQ(read.error, 0);
  }
  EXPECT_EQ(batch().counters().batches, 1U);
  EXPECT_EQ(batch().counters().reads, kReads);
  EXPECT_EQ(batch().counters().read_bytes, text.size());
}

TEST_P(FileBatchTest, IsEmptyOrOne) {
  batch().read({});
  batch().sync({});
  const UniqueFd file = make_temp_file("content");
  std::string text(7, '.');
  FileRead read{file.get(), 0, writable(text)};
  batch().read({&read, 1});
  EXPECT_EQ(text, "content");
  EXPECT_EQ(read.got, 7U);
  FileSync sync{-1};
  batch().sync({&sync, 1});
  EXPECT_EQ(sync.error, EBADF);
  EXPECT_EQ(batch().counters().batches, 0U);
  EXPECT_EQ(batch().counters().reads, 1U);
  EXPECT_EQ(batch().counters().syncs, 1U);
}

TEST_P(FileBatchTest, EachReadHasItsOwnOutcome) {
  const UniqueFd file = make_temp_file("0123456789");
  const UniqueFd directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd write_only(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  std::string buffer(60, '.');
  const auto part_of = [&](size_t at, size_t size) { return writable(buffer).subspan(at, size); };
  std::vector<FileRead> reads = {
      {file.get(), 0, part_of(0, 10)},        // all
      {file.get(), 6, part_of(10, 10)},       // up to the end
      {file.get(), 10, part_of(20, 10)},      // at the end
      {file.get(), 1000, part_of(20, 10)},    // beyond it
      {-1, 0, part_of(20, 10)},               //
      {directory.get(), 0, part_of(20, 10)},  //
      {write_only.get(), 0, part_of(20, 10)},
      {file.get(), 3, {}},
      {file.get(), 2, part_of(30, 3)},
  };
  batch().read(reads);
  const std::vector<size_t> got = {10, 4, 0, 0, 0, 0, 0, 0, 3};
  const std::vector<int> errors = {0, 0, 0, 0, EBADF, EISDIR, EBADF, 0, 0};
  for (size_t i = 0; i < reads.size(); ++i) {
    EXPECT_EQ(reads[i].got, got[i]) << i;
    EXPECT_EQ(reads[i].error, errors[i]) << i;
  }
  EXPECT_EQ(buffer,
            "0123456789" + std::string("6789......") + std::string(10, '.') + "234" + std::string(27, '.'));
}

// An outcome of before must not shine through.
TEST_P(FileBatchTest, OutcomesAreOfThisCall) {
  const UniqueFd file = make_temp_file("0123456789");
  std::string buffer(4, '.');
  std::vector<FileRead> reads = {{file.get(), 0, writable(buffer), 77, EIO},
                                 {-1, 0, writable(buffer), 77, EIO}};
  batch().read(reads);
  EXPECT_EQ(reads[0].got, 4U);
  EXPECT_EQ(reads[0].error, 0);
  EXPECT_EQ(reads[1].got, 0U);
  EXPECT_EQ(reads[1].error, EBADF);
  std::vector<FileSync> syncs = {{file.get(), true, EIO}, {file.get(), false, EIO}};
  batch().sync(syncs);
  EXPECT_EQ(syncs[0].error, 0);
  EXPECT_EQ(syncs[1].error, 0);
}

TEST_P(FileBatchTest, ReadsPastTheCache) {
  constexpr size_t kBlock = 4096;
  constexpr size_t kBlocks = 100;
  const std::string text = pattern(kBlocks * kBlock - 100, 3);
  const UniqueFd file = make_temp_file(text);
  ::fsync(file.get());
  const UniqueFd direct(
      ::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!direct) GTEST_SKIP() << "no O_DIRECT in the directory for temporary files";
  struct Free {
    void operator()(char* bytes) const { std::free(bytes); }  // NOLINT: of aligned_alloc
  };
  const std::unique_ptr<char[], Free> memory(
      static_cast<char*>(std::aligned_alloc(kBlock, kBlocks * kBlock)));
  std::vector<FileRead> reads(kBlocks);
  for (size_t i = 0; i < kBlocks; ++i) {
    reads[i] = {direct.get(), i * kBlock,
                std::as_writable_bytes(std::span(memory.get() + i * kBlock, kBlock))};
  }
  batch().read(reads);
  EXPECT_EQ(std::string_view(memory.get(), text.size()), text);
  EXPECT_EQ(reads.back().got, kBlock - 100);
}

TEST_P(FileBatchTest, SyncsFilesAndDirectories) {
  std::vector<UniqueFd> files;
  std::vector<FileSync> syncs;
  for (size_t i = 0; i < FileBatch::kDepth + 20; ++i) {
    files.push_back(make_temp_file(pattern(5000, i)));
    syncs.push_back({files.back().get(), i % 2 == 0});
  }
  const UniqueFd directory(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const FdPair pipe = make_pipe();
  syncs.push_back({directory.get()});
  syncs.push_back({pipe.first.get()});
  syncs.push_back({-1});
  batch().sync(syncs);
  EXPECT_EQ(syncs.back().error, EBADF);
  EXPECT_EQ(syncs[syncs.size() - 2].error, EINVAL);
  EXPECT_TRUE(
      std::all_of(syncs.begin(), syncs.end() - 2, [](const FileSync& sync) { return sync.error == 0; }));
  EXPECT_EQ(batch().counters().syncs, syncs.size());
}

// Each thread has its own ring, or all share the pool.
class TempDirectory {
 public:
  TempDirectory() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "rsyncfs-batch.XXXXXX").string();
};

void write_text(const std::string& path, std::string_view text) {
  std::ofstream(path) << text;
}

size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

TEST_P(FileBatchTest, LoadsFiles) {
  const TempDirectory directory;
  constexpr size_t kFiles = 3 * FileBatch::kDepth + 5;
  std::vector<std::string> paths;
  std::vector<std::string> texts;
  std::vector<std::string> buffers;
  for (size_t i = 0; i < kFiles; ++i) {
    paths.push_back(directory.path() + "/" + std::to_string(i));
    texts.push_back(pattern(100 + i, i));
    buffers.emplace_back(texts[i].size(), '.');
    write_text(paths[i], texts[i]);
  }
  const std::string link = directory.path() + "/link";
  ASSERT_EQ(::symlink("0", link.c_str()), 0);
  const std::string absent = directory.path() + "/absent";
  std::string longer(150, '.');
  std::string shorter(50, '.');
  std::vector<FileLoad> loads(kFiles);
  for (size_t i = 0; i < kFiles; ++i) loads[i] = {paths[i].c_str(), writable(buffers[i]), 77, EIO};
  loads.push_back({absent.c_str(), writable(longer), 77, 0});
  loads.push_back({link.c_str(), writable(longer)});
  loads.push_back({directory.path().c_str(), writable(longer)});
  loads.push_back({paths[0].c_str(), writable(longer)});
  loads.push_back({paths[0].c_str(), writable(shorter)});
  loads.push_back({paths[0].c_str(), {}});
  batch().load(std::span(loads).first(2));  // what the thread needs is there
  const auto open_before = open_descriptors();
  batch().load(loads);
  EXPECT_EQ(open_descriptors(), open_before);
  for (size_t i = 0; i < kFiles; ++i) {
    EXPECT_EQ(loads[i].error, 0) << i;
    EXPECT_EQ(loads[i].got, texts[i].size()) << i;
    EXPECT_EQ(buffers[i], texts[i]) << i;
  }
  const std::vector<int> errors = {ENOENT, ELOOP, EISDIR, 0, 0, 0};
  const std::vector<size_t> got = {0, 0, 0, texts[0].size(), 50, 0};
  for (size_t i = 0; i < errors.size(); ++i) {
    EXPECT_EQ(loads[kFiles + i].error, errors[i]) << i;
    EXPECT_EQ(loads[kFiles + i].got, got[i]) << i;
  }
  EXPECT_EQ(longer.substr(0, texts[0].size()), texts[0]);
  EXPECT_EQ(shorter, texts[0].substr(0, 50));
  EXPECT_EQ(batch().counters().batches, 2U);
  EXPECT_EQ(batch().counters().reads, loads.size() + 2);
  batch().load(std::span(loads).last(1));
  batch().load({});
  EXPECT_EQ(batch().counters().batches, 2U);
}

TEST_P(FileBatchTest, RemovesFiles) {
  const TempDirectory directory;
  constexpr size_t kFiles = 3 * FileBatch::kDepth + 5;
  std::vector<std::string> paths;
  for (size_t i = 0; i < kFiles; ++i) {
    paths.push_back(directory.path() + "/" + std::to_string(i));
    write_text(paths[i], "x");
  }
  const std::string stays = directory.path() + "/stays";
  write_text(stays, "x");
  std::vector<FileRemoval> removals;
  for (const std::string& path : paths) removals.push_back({path.c_str(), EIO});
  removals.push_back({paths[0].c_str()});
  removals.push_back({directory.path().c_str()});
  // Which of the two of one file comes first is not said.
  batch().remove(removals);
  for (size_t i = 1; i < kFiles; ++i) EXPECT_EQ(removals[i].error, 0) << i;
  EXPECT_EQ(std::set({removals[0].error, removals[kFiles].error}), std::set({0, ENOENT}));
  EXPECT_EQ(removals.back().error, EISDIR);
  for (const std::string& path : paths) EXPECT_NE(::access(path.c_str(), F_OK), 0) << path;
  EXPECT_EQ(::access(stays.c_str(), F_OK), 0);
  EXPECT_EQ(batch().counters().removals, removals.size());
  FileRemoval one{stays.c_str()};
  batch().remove({&one, 1});
  EXPECT_EQ(one.error, 0);
  EXPECT_NE(::access(stays.c_str(), F_OK), 0);
}

TEST_P(FileBatchTest, ManyThreadsAtOnce) {
  constexpr size_t kThreads = 12;
  constexpr size_t kRounds = 20;
  const std::string text = pattern(200 * 512, 5);
  const UniqueFd file = make_temp_file(text);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t round = 0; round < kRounds; ++round) {
        std::string buffer;
        auto reads = reads_of(file.get(), 200 - t, 512, buffer);
        batch().read(reads);
        if (!text.starts_with(buffer)) ++wrong;
        std::array<FileSync, 3> syncs = {FileSync{file.get(), true}, FileSync{file.get()}, FileSync{-1}};
        batch().sync(syncs);
        if (syncs[0].error != 0 || syncs[1].error != 0 || syncs[2].error != EBADF) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

void on_signal(int /*number*/) {}

// Signals that come while it waits change nothing.
TEST_P(FileBatchTest, IsNotInterrupted) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = on_signal;  // without SA_RESTART
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const std::string text = pattern(300 * 4096, 7);
  const UniqueFd file = make_temp_file(text);
  std::atomic<bool> over{false};
  std::thread disturber([&over, reader = ::pthread_self()] {
    while (!over) {
      ::pthread_kill(reader, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  for (int round = 0; round < 20; ++round) {
    ::fsync(file.get());
    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    std::string buffer;
    auto reads = reads_of(file.get(), 300, 4096, buffer);
    batch().read(reads);
    EXPECT_EQ(buffer, text);
    std::vector<FileSync> syncs(10, FileSync{file.get()});
    batch().sync(syncs);
    for (const FileSync& sync : syncs) EXPECT_EQ(sync.error, 0);
  }
  over = true;
  disturber.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Engines, FileBatchTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
