// SPDX-License-Identifier: GPL-3.0-or-later
// 4 KiB of a stored file: copied out of the Replica's map, or read through where they lie, beside pread() of
// the same block file. Argument: 0 the same 4 KiB again and again, 1 anywhere in 64 MiB.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/must.h"
#include "io/base/unique_fd.h"
#include "sync/replica/content_sums.h"
#include "sync/replica/replica.h"

namespace rsyncfs {
namespace {

constexpr size_t kRead = 4 << 10;
constexpr size_t kPiece = 64 << 10;
constexpr size_t kFileBytes = 64 << 20;

// A store with one large file, all of which is in the page cache.
class StoredFile {
 public:
  StoredFile() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base == nullptr ? "/tmp" : base) + "/rsyncfs-bench-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
    ReplicaOptions options;
    options.directory = path_;
    options.source = "bench";
    replica_ = must(Replica::open(options));
    const NodeId node = list_one();
    store(node);
    content_ = must(replica_->content(node));
    file_ = UniqueFd(::open(block_file().c_str(), O_RDONLY | O_CLOEXEC));
    if (!content_ || !content_->complete() || file_.get() < 0) std::abort();
  }
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;
  ~StoredFile() {
    content_.reset();
    replica_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const Content& content() const { return *content_; }
  int file() const { return file_.get(); }

 private:
  NodeId list_one() {
    ListedName name;
    name.name = "big";
    name.attr.mode = S_IFREG | 0644;
    name.attr.nlink = 0;
    name.attr.size = kFileBytes;
    name.attr.mtime_s = 1700000000;
    auto batch = must(replica_->begin());
    HardLinkGroups groups;
    std::vector<NodeId> nodes;
    must(batch->apply_directory(kRootNode, {name}, true, groups, nodes));
    must(batch->commit());
    return must(replica_->lookup(kRootNode, "big")).id;
  }
  void store(NodeId node) {
    std::minstd_rand random(1);
    std::vector<std::byte> piece(kPiece);
    auto writer = must(replica_->create_content(node, kFileBytes));
    for (size_t at = 0; at < kFileBytes; at += kPiece) {
      for (auto& byte : piece) byte = static_cast<std::byte>(random());
      must(writer->write(at, piece));
    }
    std::vector<Replica::FinishedContent> finished(1);
    finished[0].node = node;
    finished[0].writer = std::move(writer);
    finished[0].size = kFileBytes;
    must(replica_->finish_contents(std::move(finished)));
  }
  // The only one in the store that is as large as the file.
  std::string block_file() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
      if (entry.is_regular_file() && entry.file_size() == kFileBytes) return entry.path();
    }
    return {};
  }

  std::string path_;
  std::unique_ptr<Replica> replica_;
  std::shared_ptr<const Content> content_;
  UniqueFd file_;
};

const StoredFile& stored_file() {
  static const StoredFile file;
  return file;
}

// Where to read next.
class Offsets {
 public:
  explicit Offsets(const benchmark::State& state) : anywhere_(state.range(0) != 0) {}
  uint64_t next() { return anywhere_ ? random_() % (kFileBytes / kRead) * kRead : kRead; }

 private:
  bool anywhere_;
  std::minstd_rand random_{1};
};

using Buffer = std::array<std::byte, kRead>;

void copy_out(std::span<const std::byte> bytes, Buffer& out) {
  std::memcpy(out.data(), bytes.data(), kRead);
  benchmark::DoNotOptimize(out.data());
  benchmark::ClobberMemory();
}

void pread_out(benchmark::State& state) {
  const StoredFile& file = stored_file();
  Offsets offsets(state);
  alignas(64) Buffer out;
  for ([[maybe_unused]] auto _ : state) {
    if (::pread(file.file(), out.data(), kRead, static_cast<off_t>(offsets.next())) != kRead) std::abort();
    benchmark::DoNotOptimize(out.data());
  }
}

void pread_and_hash(benchmark::State& state) {
  const StoredFile& file = stored_file();
  Offsets offsets(state);
  alignas(64) Buffer out;
  for ([[maybe_unused]] auto _ : state) {
    if (::pread(file.file(), out.data(), kRead, static_cast<off_t>(offsets.next())) != kRead) std::abort();
    benchmark::DoNotOptimize(content_sum(out));
  }
}

void view_copied_out(benchmark::State& state) {
  const Content& content = stored_file().content();
  Offsets offsets(state);
  alignas(64) Buffer out;
  for ([[maybe_unused]] auto _ : state) copy_out(content.view(offsets.next(), kRead).value(), out);
}

void view_hashed(benchmark::State& state) {
  const Content& content = stored_file().content();
  Offsets offsets(state);
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(content_sum(content.view(offsets.next(), kRead).value()));
}

void unchecked_view_copied_out(benchmark::State& state) {
  const Content& content = stored_file().content();
  Offsets offsets(state);
  alignas(64) Buffer out;
  for ([[maybe_unused]] auto _ : state) copy_out(content.unchecked_view(offsets.next(), kRead).value(), out);
}

void unchecked_view_hashed(benchmark::State& state) {
  const Content& content = stored_file().content();
  Offsets offsets(state);
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(content_sum(content.unchecked_view(offsets.next(), kRead).value()));
}

BENCHMARK(pread_out)->Arg(0)->Arg(1);
BENCHMARK(pread_and_hash)->Arg(0)->Arg(1);
BENCHMARK(view_copied_out)->Arg(0)->Arg(1);
BENCHMARK(view_hashed)->Arg(0)->Arg(1);
BENCHMARK(unchecked_view_copied_out)->Arg(0)->Arg(1);
BENCHMARK(unchecked_view_hashed)->Arg(0)->Arg(1);

}  // namespace
}  // namespace rsyncfs
