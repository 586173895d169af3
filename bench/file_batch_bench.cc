// SPDX-License-Identifier: GPL-3.0-or-later
// What a batch of file operations saves beside doing them one by one: reads that have to wait for the disk,
// and the syncs of a commit. Run it with --benchmark_repetitions=9
// --benchmark_enable_random_interleaving=true: the arms follow each other, and medians are compared.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "io/base/unique_fd.h"
#include "io/file_batch.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kFileBytes = uint64_t{512} << 20;
constexpr size_t kBlock = 4096;
constexpr size_t kBlocks = 64;
constexpr size_t kSyncFiles = 100;
constexpr size_t kSyncBytes = 16 * 1024;

std::string temp_name(const char* what) {
  const char* const base = std::getenv("TMPDIR");
  return std::string(base != nullptr ? base : "/tmp") + "/rsyncfs-" + what + "-XXXXXX";
}

UniqueFd temp_file() {
  std::string name = temp_name("bench");
  UniqueFd file(::mkostemp(name.data(), O_CLOEXEC));
  ::unlink(name.c_str());
  return file;
}

void write_at(int fd, const std::string& text, uint64_t offset) {
  if (::pwrite(fd, text.data(), text.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(text.size()))
    std::abort();
}

// Made once, and gone with the program.
int large_file() {
  static const UniqueFd file = [] {
    UniqueFd made = temp_file();
    const std::string piece(1 << 20, 'p');
    for (uint64_t at = 0; at < kFileBytes; at += piece.size()) write_at(made.get(), piece, at);
    ::fsync(made.get());
    return made;
  }();
  return file.get();
}

const std::byte* large_map() {
  static void* const map = ::mmap(nullptr, kFileBytes, PROT_READ, MAP_SHARED, large_file(), 0);
  if (map == MAP_FAILED) std::abort();
  return static_cast<const std::byte*>(map);
}

enum Arm : int64_t { kOneByOne, kMap, kMapAdvised, kRing, kThreads, kRingDirect, kSyncfs };

std::unique_ptr<FileBatch> open_batch(benchmark::State& state, int64_t arm) {
  auto made = make_file_batch(arm == kThreads ? IoChoice::kThreads : IoChoice::kUring);
  if (!made.ok()) {
    state.SkipWithError(made.error().message().c_str());
    return nullptr;
  }
  state.SetLabel(made->reason);
  return std::move(made->batch);
}

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Now::now() - begin_).count(); }

 private:
  using Now = std::chrono::steady_clock;
  Now::time_point begin_ = Now::now();
};

// 64 blocks of 4 KiB, anywhere in a file of 512 MiB of which the page cache has nothing.
class ScatteredBlocks {
 public:
  ScatteredBlocks() {
    for (size_t i = 0; i < kBlocks; ++i)
      reads_[i].into = std::span(memory_.get(), kBlocks * kBlock).subspan(i * kBlock, kBlock);
  }
  void shuffle(int fd) {
    for (FileRead& read : reads_) {
      read.fd = fd;
      read.offset = random_() % (kFileBytes / kBlock) * kBlock;
    }
    // Pages that are mapped stay.
    ::madvise(const_cast<std::byte*>(large_map()), kFileBytes, MADV_DONTNEED);  // NOLINT: it is only read
    if (::posix_fadvise(large_file(), 0, 0, POSIX_FADV_DONTNEED) != 0) std::abort();
  }
  std::array<FileRead, kBlocks>& reads() { return reads_; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }  // NOLINT: of aligned_alloc
  };
  std::unique_ptr<std::byte[], Free> memory_{
      static_cast<std::byte*>(std::aligned_alloc(kBlock, kBlocks* kBlock))};
  std::array<FileRead, kBlocks> reads_;
  std::mt19937_64 random_{20240611};
};

void copy_from_map(FileRead& read) {
  std::memcpy(read.into.data(), large_map() + read.offset, read.into.size());
}

void read_blocks(FileBatch* batch, int64_t arm, std::array<FileRead, kBlocks>& reads) {
  if (batch != nullptr) return batch->read(reads);
  if (arm == kMapAdvised) {
    for (const FileRead& read : reads) {
      ::madvise(const_cast<std::byte*>(large_map()) + read.offset, kBlock, MADV_WILLNEED);  // NOLINT
    }
  }
  for (FileRead& read : reads) {
    if (arm != kOneByOne) {
      copy_from_map(read);
    } else if (::pread(read.fd, read.into.data(), kBlock, static_cast<off_t>(read.offset)) != kBlock) {
      std::abort();
    }
  }
}

void BM_ColdBlocks(benchmark::State& state) {
  const int64_t arm = state.range(0);
  const bool batched = arm >= kRing;
  const auto batch = batched ? open_batch(state, arm) : nullptr;
  if (batched && !batch) return;
  UniqueFd direct;
  if (arm == kRingDirect) {
    const std::string path = "/proc/self/fd/" + std::to_string(large_file());
    direct = UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (!direct) return state.SkipWithError("no O_DIRECT here");
  }
  ScatteredBlocks blocks;
  for ([[maybe_unused]] auto _ : state) {
    blocks.shuffle(direct ? direct.get() : large_file());
    const Stopwatch watch;
    read_blocks(batch.get(), arm, blocks.reads());
    state.SetIterationTime(watch.seconds());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBlocks));
}

// What the page cache has: where a batch does not pay.
void BM_WarmBlocks(benchmark::State& state) {
  const int64_t arm = state.range(0);
  const auto batch = arm >= kRing ? open_batch(state, arm) : nullptr;
  if (arm >= kRing && !batch) return;
  ScatteredBlocks blocks;
  blocks.shuffle(large_file());
  read_blocks(nullptr, kOneByOne, blocks.reads());
  for ([[maybe_unused]] auto _ : state) read_blocks(batch.get(), arm, blocks.reads());
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBlocks));
}

// A commit: 100 files that were just written, cut to nothing before or written over in place.
void BM_SyncFiles(benchmark::State& state) {
  const int64_t arm = state.range(0);
  const bool in_place = state.range(1) != 0;
  const auto batch = arm == kRing || arm == kThreads ? open_batch(state, arm) : nullptr;
  if ((arm == kRing || arm == kThreads) && !batch) return;
  std::vector<UniqueFd> files;
  std::vector<FileSync> syncs;
  for (size_t i = 0; i < kSyncFiles; ++i) {
    files.push_back(temp_file());
    syncs.push_back({files.back().get(), false, 0});
  }
  char fill = 'a';
  for ([[maybe_unused]] auto _ : state) {
    const std::string text(kSyncBytes, fill++);
    for (const UniqueFd& file : files) {
      if (!in_place && ::ftruncate(file.get(), 0) != 0) std::abort();
      write_at(file.get(), text, 0);
    }
    const Stopwatch watch;
    if (batch) {
      batch->sync(syncs);
    } else if (arm == kSyncfs) {
      if (::syncfs(files.front().get()) != 0) std::abort();
    } else {
      for (const UniqueFd& file : files) {
        if (::fsync(file.get()) != 0) std::abort();
      }
    }
    state.SetIterationTime(watch.seconds());
    for (const FileSync& sync : syncs) {
      if (sync.error != 0) std::abort();
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kSyncFiles));
}

// Argument 0: 0 one by one, 1 from a map, 2 from a map after MADV_WILLNEED, 3 ring, 4 threads, 5 ring with
// O_DIRECT, 6 syncfs(2). Argument 1 of BM_SyncFiles: written over in place.
BENCHMARK(BM_ColdBlocks)->DenseRange(kOneByOne, kRingDirect)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_WarmBlocks)->Arg(kOneByOne)->Arg(kMap)->Arg(kRing)->Arg(kThreads)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_SyncFiles)
    ->ArgsProduct({{kOneByOne, kRing, kThreads, kSyncfs}, {0, 1}})
    ->UseManualTime()
    ->Iterations(4)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rsyncfs
