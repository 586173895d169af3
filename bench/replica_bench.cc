// SPDX-License-Identifier: GPL-3.0-or-later
// The store alone: listing into it, comparing with it, asking it. A tree of 400 directories with 500 files
// each.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/must.h"
#include "sync/replica/replica.h"

namespace rsyncfs {
namespace {

constexpr size_t kDirectories = 400;
constexpr size_t kFilesPerDirectory = 500;
constexpr size_t kDirectoriesPerBatch = 4;
constexpr size_t kSmallFiles = 256;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Names {
  std::vector<std::string> texts;
  std::vector<ListedName> listed;
};

Names make_names(const char* prefix, size_t count, uint32_t mode) {
  Names out;
  for (size_t i = 0; i < count; ++i) {
    std::string digits = std::to_string(i);
    out.texts.push_back(prefix + std::string(6 - digits.size(), '0') + digits +
                        (S_ISREG(mode) ? ".txt" : ""));
  }
  for (size_t i = 0; i < count; ++i) {
    ListedName name;
    name.name = out.texts[i];
    name.attr.mode = mode;
    name.attr.uid = name.attr.gid = 1000;
    name.attr.nlink = 0;
    name.attr.size = 1000 + i * 17;
    name.attr.mtime_s = 1700000000 + static_cast<int64_t>(i);
    name.attr.mtime_ns = static_cast<uint32_t>(i * 1001);
    out.listed.push_back(name);
  }
  return out;
}

class Store {
 public:
  Store() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base == nullptr ? "/tmp" : base) + "/rsyncfs-bench-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
    reopen();
  }
  void reopen() {
    replica_.reset();
    ReplicaOptions options;
    options.directory = path_;
    options.source = "bench";
    replica_ = must(Replica::open(options));
  }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store() {
    replica_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Replica& replica() { return *replica_; }
  const std::vector<NodeId>& directories() const { return directories_; }
  const Names& files() const { return files_; }

  // The whole tree, as a list of the source brings it; returns the number of changes.
  size_t list_all() {
    size_t changes = 0;
    HardLinkGroups groups;
    {
      auto batch = must(replica_->begin());
      changes +=
          must(batch->apply_directory(kRootNode, top_.listed, true, groups, directories_)).changes.size();
      must(batch->commit());
    }
    std::vector<NodeId> nodes;
    for (size_t i = 0; i < kDirectories; i += kDirectoriesPerBatch) {
      auto batch = must(replica_->begin());
      for (size_t k = i; k < i + kDirectoriesPerBatch; ++k) {
        changes +=
            must(batch->apply_directory(directories_[k], files_.listed, true, groups, nodes)).changes.size();
      }
      must(batch->commit());
    }
    return changes;
  }

 private:
  std::string path_;
  std::unique_ptr<Replica> replica_;
  Names top_ = make_names("d", kDirectories, S_IFDIR | 0755);
  Names files_ = make_names("file", kFilesPerDirectory, S_IFREG | 0644);
  std::vector<NodeId> directories_;
};

Store& full_store() {
  static Store store;
  static const size_t changes = store.list_all();
  benchmark::DoNotOptimize(changes);
  return store;
}

void list_new_tree(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto store = std::make_unique<Store>();
    state.ResumeTiming();
    store->list_all();
    state.PauseTiming();
    store.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kDirectories * kFilesPerDirectory));
}
BENCHMARK(list_new_tree)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(2)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

void compare_unchanged_tree(benchmark::State& state) {
  Store& store = full_store();
  const double before = cpu_seconds();
  for (auto _ : state) {
    if (store.list_all() != 0) state.SkipWithError("something changed");
  }
  state.counters["cpu_s"] = (cpu_seconds() - before) / static_cast<double>(state.iterations());
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kDirectories * kFilesPerDirectory));
}
BENCHMARK(compare_unchanged_tree)->Unit(benchmark::kMillisecond)->Iterations(5)->UseRealTime();

// Everything at once: the longest that the writer can be held by one name.
void remove_tree(benchmark::State& state) {
  Store store;
  store.list_all();
  for (auto _ : state) {
    auto batch = must(store.replica().begin());
    HardLinkGroups groups;
    std::vector<NodeId> nodes;
    must(batch->apply_directory(kRootNode, {}, true, groups, nodes));
    must(batch->commit());
  }
}
BENCHMARK(remove_tree)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();

void open_store(benchmark::State& state) {
  Store store;
  store.list_all();
  for (auto _ : state) store.reopen();
}
BENCHMARK(open_store)->Name("close_and_open")->Unit(benchmark::kMillisecond)->Iterations(5)->UseRealTime();

void lookup_warm(benchmark::State& state) {
  Store& store = full_store();
  std::minstd_rand random(1);
  const NodeId directory = store.directories()[7];
  for (auto _ : state) {
    const auto& name = store.files().texts[random() % kFilesPerDirectory];
    benchmark::DoNotOptimize(must(store.replica().lookup(directory, name)));
  }
}
BENCHMARK(lookup_warm);

void lookup_anywhere(benchmark::State& state) {
  Store& store = full_store();
  std::minstd_rand random(1);
  for (auto _ : state) {
    const NodeId directory = store.directories()[random() % kDirectories];
    const auto& name = store.files().texts[random() % kFilesPerDirectory];
    benchmark::DoNotOptimize(must(store.replica().lookup(directory, name)));
  }
}
BENCHMARK(lookup_anywhere)->Threads(1)->Threads(2)->UseRealTime();

void node_warm(benchmark::State& state) {
  Store& store = full_store();
  const Node node = must(store.replica().lookup(store.directories()[7], store.files().texts[3]));
  for (auto _ : state) benchmark::DoNotOptimize(must(store.replica().node(node.id)));
}
BENCHMARK(node_warm);

void list_500_names(benchmark::State& state) {
  Store& store = full_store();
  size_t next = 0;
  for (auto _ : state) {
    uint64_t sum = 0;
    must(store.replica().list(
        store.directories()[next++ % kDirectories],
        [&sum](std::string_view name, const Node& node) { sum += name.size() + node.id; }));
    benchmark::DoNotOptimize(sum);
  }
}
BENCHMARK(list_500_names)->Unit(benchmark::kMicrosecond);

void path_of_node(benchmark::State& state) {
  Store& store = full_store();
  const Node node = must(store.replica().lookup(store.directories()[7], store.files().texts[3]));
  for (auto _ : state) benchmark::DoNotOptimize(must(store.replica().path_of(node.id)));
}
BENCHMARK(path_of_node);

std::vector<NodeId> nodes_of(Store& store, NodeId directory, size_t count) {
  std::vector<NodeId> out;
  for (const auto& [entry, node] : must(store.replica().list_after(directory, "", count)))
    out.push_back(node.id);
  return out;
}

void store_small_files(Store& store, const std::vector<NodeId>& nodes, size_t size, benchmark::State* state) {
  const std::vector<std::byte> bytes(size, std::byte{0x5a});
  if (state != nullptr) state->PauseTiming();
  std::vector<Replica::FinishedContent> finished;
  for (const NodeId node : nodes) {
    Replica::FinishedContent item;
    item.node = node;
    item.writer = must(store.replica().create_content(node, size));
    must(item.writer->write(0, bytes));
    item.size = size;
    item.digest_name = "xxh128";
    item.digest.assign(16, 'd');
    finished.push_back(std::move(item));
  }
  if (state != nullptr) state->ResumeTiming();
  must(store.replica().finish_contents(std::move(finished)));
}

void finish_256_small_files(benchmark::State& state) {
  Store& store = full_store();
  size_t next = 8;
  for (auto _ : state) {
    state.PauseTiming();
    const auto nodes = nodes_of(store, store.directories()[next++ % kDirectories], kSmallFiles);
    state.ResumeTiming();
    store_small_files(store, nodes, 5000, &state);
  }
}
BENCHMARK(finish_256_small_files)->Unit(benchmark::kMicrosecond)->Iterations(200)->UseRealTime();

void content_hit(benchmark::State& state) {
  Store& store = full_store();
  const auto nodes = nodes_of(store, store.directories()[5], kSmallFiles);
  store_small_files(store, nodes, 5000, nullptr);
  size_t next = 0;
  for (auto _ : state) {
    const auto content = must(store.replica().content(nodes[next++ % kSmallFiles]));
    benchmark::DoNotOptimize(content->view(0, 4096));
  }
}
BENCHMARK(content_hit);

void content_state(benchmark::State& state) {
  Store& store = full_store();
  const auto nodes = nodes_of(store, store.directories()[5], kSmallFiles);
  store_small_files(store, nodes, 5000, nullptr);
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(must(store.replica().content_state(nodes[next++ % kSmallFiles])));
  }
}
BENCHMARK(content_state);

void stream_64_mib(benchmark::State& state) {
  Store& store = full_store();
  constexpr size_t kPiece = 32 << 10;
  constexpr size_t kPieces = (64 << 20) / kPiece;
  const std::vector<std::byte> piece(kPiece, std::byte{0x5a});
  const NodeId node = nodes_of(store, store.directories()[6], 1).at(0);
  for (auto _ : state) {
    auto writer = must(store.replica().create_content(node, kPiece * kPieces));
    for (size_t i = 0; i < kPieces; ++i) {
      must(writer->write(i * kPiece, piece));
      if (i % 256 == 255) must(writer->commit_partial());
    }
    std::vector<Replica::FinishedContent> finished(1);
    finished[0].node = node;
    finished[0].writer = std::move(writer);
    finished[0].size = kPiece * kPieces;
    must(store.replica().finish_contents(std::move(finished)));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kPiece * kPieces));
}
BENCHMARK(stream_64_mib)->Unit(benchmark::kMillisecond)->Iterations(10)->UseRealTime();

// Of a large content of which the page cache has nothing, and of which nothing was compared with its sums
// yet.
class ColdContent {
 public:
  static constexpr uint64_t kBytes = 256 << 20;

  ColdContent() {
    constexpr size_t kPiece = 1 << 20;
    const Names name = make_names("large", 1, S_IFREG | 0644);
    {
      auto batch = must(store_.replica().begin());
      HardLinkGroups groups;
      std::vector<NodeId> nodes;
      must(batch->apply_directory(kRootNode, name.listed, true, groups, nodes));
      must(batch->commit());
      node_ = nodes.at(0);
    }
    std::vector<std::byte> piece(kPiece);
    std::minstd_rand random(1);
    auto writer = must(store_.replica().create_content(node_, kBytes));
    for (uint64_t at = 0; at < kBytes; at += kPiece) {
      for (std::byte& byte : piece) byte = static_cast<std::byte>(random());
      must(writer->write(at, piece));
    }
    std::vector<Replica::FinishedContent> finished(1);
    finished[0].node = node_;
    finished[0].writer = std::move(writer);
    finished[0].size = kBytes;
    must(store_.replica().finish_contents(std::move(finished)));
  }
  std::shared_ptr<const Content> open() {
    store_.reopen();
    const std::string blocks = store_.replica().directory() + "/blocks";
    for (const auto& entry : std::filesystem::recursive_directory_iterator(blocks)) {
      if (!entry.is_regular_file() || entry.file_size() < kBytes) continue;
      const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0 || ::fdatasync(fd) != 0 || ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) std::abort();
      ::close(fd);
    }
    return must(store_.replica().content(node_));
  }

 private:
  Store store_;
  NodeId node_ = 0;
};

ColdContent& cold_content() {
  static ColdContent content;
  return content;
}

void view_views(benchmark::State& state, uint64_t count, uint64_t length, bool scattered) {
  ColdContent& cold = cold_content();
  std::minstd_rand random(1);
  for (auto _ : state) {
    const auto content = cold.open();
    const auto begin = std::chrono::steady_clock::now();
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t at = scattered ? random() % (ColdContent::kBytes / length) * length : i * length;
      const auto view = content->view(at, length);
      if (!view) std::abort();
      uint64_t sum = 0;
      for (size_t k = 0; k < view->size(); k += 4096) sum += static_cast<uint64_t>((*view)[k]);
      benchmark::DoNotOptimize(sum);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    state.SetIterationTime(took.count());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * count * length));
}

void cold_views_scattered(benchmark::State& state) {
  view_views(state, 64, static_cast<uint64_t>(state.range(0)), true);
}
BENCHMARK(cold_views_scattered)
    ->Arg(4096)
    ->Arg(1 << 20)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(2);

void cold_views_in_order(benchmark::State& state) {
  view_views(state, (64 << 20) / static_cast<uint64_t>(state.range(0)), static_cast<uint64_t>(state.range(0)),
             false);
}
BENCHMARK(cold_views_in_order)
    ->Arg(128 << 10)
    ->Arg(1 << 20)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(2);

void resident_memory(benchmark::State& state) {
  Store& store = full_store();
  for (auto _ : state) benchmark::DoNotOptimize(must(store.replica().statistics()));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  state.counters["peak_rss_kib"] = static_cast<double>(usage.ru_maxrss);
}
BENCHMARK(resident_memory)->Iterations(1);

}  // namespace
}  // namespace rsyncfs
