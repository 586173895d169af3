// SPDX-License-Identifier: GPL-3.0-or-later
// A process that changes files, and pushes what it changed, is killed at random points. Everything that it
// was told is done must be there, and no byte that nobody wrote.
//
// The process and the checker draw the same operations from the same seed; the process tells of each one that
// is done. Of the one after that, each byte may be as before or as after.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "sync/replica/pending.h"
#include "tests/replica/dirty_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr int kRounds = 100;
constexpr auto kUsualTime = std::chrono::seconds(6);
constexpr auto kTimeLimit = std::chrono::seconds(90);  // for enough of it on a busy machine
constexpr int kEnoughPushes = 30;

// What one file is, and what is done to it next.
struct Script {
  NodeId node = 0;
  Bytes local;
  Bytes source;
  std::optional<Bytes> frozen;  // of the snapshot that is being pushed
  bool differs = false;         // from the source
  bool differs_since = false;   // ... and was changed since the snapshot
};

struct Operation {
  enum class Kind : uint8_t { kWrite, kResize, kPunch, kSnapshot, kPush, kRelease, kFetch, kSync };
  Kind kind = Kind::kWrite;
  size_t file = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t seed = 0;
};

class Play {
 public:
  explicit Play(std::vector<Script> files) : files_(std::move(files)) {}
  void seed(uint64_t seed) { random_.seed(seed); }
  std::vector<Script>& files() { return files_; }

  Operation next() {
    Operation out;
    out.file = random_() % files_.size();
    const Script& file = files_[out.file];
    const uint64_t size = file.local.size();
    static constexpr std::array kKinds = {
        Operation::Kind::kWrite,    Operation::Kind::kWrite,  Operation::Kind::kWrite,
        Operation::Kind::kResize,   Operation::Kind::kPunch,  Operation::Kind::kFetch,
        Operation::Kind::kSnapshot, Operation::Kind::kPush,   Operation::Kind::kSnapshot,
        Operation::Kind::kPush,     Operation::Kind::kRelease};
    out.kind = random_() % 50 == 0 ? Operation::Kind::kSync : kKinds[random_() % kKinds.size()];
    out.offset = random_() % 4 == 0 ? size : random_() % (size + 3000);
    out.length = 1 + random_() % (random_() % 4 == 0 ? 100'000 : 5000);
    out.seed = random_();
    // All files keep about the size that they have.
    if (out.kind == Operation::Kind::kResize)
      out.offset =
          size > 3'000'000 ? size / 2 : size - std::min<uint64_t>(size, out.length) + random_() % 9000;
    return out;
  }

  // What comes of it, in memory.
  void follow(const Operation& operation) {
    Script& file = files_[operation.file];
    const uint64_t end = operation.offset + operation.length;
    switch (operation.kind) {
      case Operation::Kind::kWrite:
        model_write(file.local, operation.offset, known_bytes(operation.seed, operation.length));
        file.differs = file.differs_since = true;
        return;
      case Operation::Kind::kResize:
        file.local.resize(operation.offset);
        file.differs = file.differs_since = true;
        return;
      case Operation::Kind::kPunch:
        if (operation.offset >= file.local.size()) return;
        model_zero(file.local, operation.offset, end);
        file.differs = file.differs_since = true;
        return;
      case Operation::Kind::kSnapshot:
        if (file.frozen || !file.differs) return;
        file.frozen = file.local;
        file.differs_since = false;
        return;
      case Operation::Kind::kPush:
        if (!file.frozen) return;
        file.source = std::move(*file.frozen);
        file.frozen.reset();
        file.differs = file.differs_since;
        return;
      case Operation::Kind::kRelease:
        file.frozen.reset();
        return;
      default:
        return;
    }
  }

 private:
  std::mt19937_64 random_;
  std::vector<Script> files_;
};

class Victim {
 public:
  Victim(const std::string& directory, Play play, std::atomic<uint64_t>& done)
      : store_(open_store(directory)),
        play_(std::move(play)),
        snapshots_(play_.files().size()),
        done_(done) {}

  [[noreturn]] void run() {
    for (;;) {
      const Operation operation = play_.next();
      perform(operation, play_.files()[operation.file], snapshots_[operation.file]);
      play_.follow(operation);
      ++done_;
    }
  }

 private:
  void perform(const Operation& operation, const Script& file, std::shared_ptr<PushSnapshot>& snapshot) {
    LocalChanges& local = store_->local();
    switch (operation.kind) {
      case Operation::Kind::kWrite:
        must(local.write(file.node, operation.offset, known_bytes(operation.seed, operation.length)));
        return;
      case Operation::Kind::kResize:
        must(local.resize(file.node, operation.offset));
        return;
      case Operation::Kind::kPunch:
        must(local.allocate(file.node, AllocateMode::kPunchHole, operation.offset, operation.length));
        return;
      case Operation::Kind::kSnapshot:
        // Nothing may differ: then the push that follows is none.
        if (auto taken = store_->pending().snapshot(file.node); taken && snapshot == nullptr)
          snapshot = *taken;
        return;
      case Operation::Kind::kPush:
        return push(snapshot);
      case Operation::Kind::kRelease:
        snapshot = nullptr;
        return;
      case Operation::Kind::kFetch:
        return fetch(operation, file);
      case Operation::Kind::kSync:
        must(local.sync(file.node));
        return;
    }
  }
  void push(std::shared_ptr<PushSnapshot>& snapshot) {
    if (snapshot == nullptr) return;
    BaseNode now;
    now.node = snapshot->node().id;
    now.present = true;
    now.attr = snapshot->node().attr;
    must(store_->pending().pushed(snapshot, now, "test", "digest", {}));
    snapshot = nullptr;
  }
  void fetch(const Operation& operation, const Script& file) {
    const uint64_t size = file.source.size();
    auto writer = store_->resume_content(file.node, size);
    if (!writer) return;
    const uint64_t begin = std::min(operation.offset, size);
    for (const auto& gap : (*writer)->extents().missing(begin, std::min(begin + 20 * operation.length, size)))
      must((*writer)->write(gap.begin, std::span(file.source).subspan(gap.begin, gap.end - gap.begin)));
    if ((*writer)->extents().covers(0, size)) {
      std::vector<Replica::FinishedContent> one(1);
      one[0] = {file.node, std::move(*writer), size, "test", "digest", {}};
      must(store_->finish_contents(std::move(one)));
    } else {
      must((*writer)->commit_partial());
    }
  }

  std::unique_ptr<Replica> store_;
  Play play_;
  std::vector<std::shared_ptr<PushSnapshot>> snapshots_;
  std::atomic<uint64_t>& done_;
};

// Fills what is not here from the version that the source has: that of before the last operation, or after.
Bytes read_with(Replica& store, NodeId node, const Bytes& source) {
  const uint64_t size = must(store.node(node)).attr.size;
  if (const auto dirty = store.local().dirty(node)) {
    const BaseBytes fresh{0, source};
    ReadOut out = read_file(store, node, 0, size, &fresh);
    return out.missing.empty() ? out.bytes : Bytes();
  }
  ReadOut out = read_file(store, node, 0, size);
  return out.missing.empty() ? out.bytes : source;
}

testing::AssertionResult between(const Bytes& got, const Bytes& before, const Bytes& after) {
  if (got.size() != before.size() && got.size() != after.size())
    return testing::AssertionFailure()
           << "size " << got.size() << ", before " << before.size() << ", after " << after.size();
  if (const auto odd = byte_of_no_state(got, {&before, &after}))
    return testing::AssertionFailure() << "byte " << *odd << " of " << got.size();
  return testing::AssertionSuccess();
}

void check_file(Replica& store, Script& file, const Script& after) {
  // What it reads as, over one version of the source or the other.
  const Bytes with_old = read_with(store, file.node, file.source);
  const Bytes with_new = read_with(store, file.node, after.source);
  const auto old_fits = between(with_old, file.local, after.local);
  const bool fits = old_fits || between(with_new, file.local, after.local);
  ASSERT_TRUE(fits) << old_fits.message() << " of node " << file.node;
  const bool pushed = must(store.node(file.node)).differences == 0 && after.source != file.source;
  file.local = old_fits ? with_old : with_new;
  file.frozen.reset();
  file.differs = must(store.node(file.node)).differences != 0;
  if (pushed) file.source = after.source;
  if (!file.differs) return;
  // Which version is the base now?
  const auto snapshot = must(store.pending().snapshot(file.node));
  const uint64_t base_size = snapshot->base().attr.size;
  ASSERT_TRUE(base_size == file.source.size() || base_size == after.source.size());
  Bytes base(base_size);
  if (must(snapshot->read_base(0, base))) {
    ASSERT_TRUE(base == file.source || base == after.source) << "the base of node " << file.node;
    file.source = base;
  } else if (base_size == after.source.size() && !old_fits) {
    file.source = after.source;
  } else {
    file.source = base_size == file.source.size() ? file.source : after.source;
  }
}

std::vector<Script> make_files(const std::string& directory) {
  const auto store = open_store(directory);
  Listing listing;
  std::vector<Script> files;
  for (const uint64_t size : {0, 4000, 150'000, 2'200'000}) {
    listing.file("f" + std::to_string(size), size);
    Script file;
    file.source = file.local = known_bytes(size, size);
    files.push_back(std::move(file));
  }
  const auto nodes = apply(*store, kRootNode, listing).nodes;
  for (size_t i = 0; i < files.size(); ++i) {
    const Node node = must(store->node(nodes[i]));
    const auto file = std::find_if(files.begin(), files.end(),
                                   [&](const Script& f) { return f.source.size() == node.attr.size; });
    file->node = node.id;
    if (i % 2 == 0 && node.attr.size != 0) store_content(*store, node.id, file->source);
  }
  return files;
}

TEST(DirtyKill, LosesNothingThatWasDone) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  const TemporaryDirectory tmp;
  Play play(make_files(tmp.path()));
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto& done = *new (shared) std::atomic<uint64_t>(0);
  const auto started = std::chrono::steady_clock::now();
  int rounds = 0;
  int pushes = 0;
  uint64_t operations = 0;
  const auto goes_on = [&] {
    const auto passed = std::chrono::steady_clock::now() - started;
    const bool enough = pushes > kEnoughPushes;
    return passed < (enough ? kUsualTime : kTimeLimit) && (rounds < kRounds || !enough);
  };
  for (; goes_on(); ++rounds) {
    play.seed(random());
    done = 0;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) Victim(tmp.path(), play, done).run();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % (random() % 4 == 0 ? 10000 : 150000)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "it ended by itself: " << status;
    for (uint64_t i = 0; i < done; ++i) {
      const Operation operation = play.next();
      const bool pushing = operation.kind == Operation::Kind::kPush && play.files()[operation.file].frozen;
      pushes += pushing ? 1 : 0;
      play.follow(operation);
    }
    operations += done;
    const Operation last = play.next();
    Play after = play;
    after.follow(last);
    const auto store = open_store(tmp.path());
    must(store->check());
    for (size_t i = 0; i < play.files().size(); ++i) {
      check_file(*store, play.files()[i], after.files()[i]);
      ASSERT_FALSE(testing::Test::HasFatalFailure())
          << "round " << rounds << ", in operation " << static_cast<int>(last.kind) << " on file "
          << last.file;
    }
  }
  munmap(shared, 4096);
  std::printf("%d rounds, %llu operations, %d pushes\n", rounds, static_cast<unsigned long long>(operations),
              pushes);
  EXPECT_GT(pushes, kEnoughPushes);
}

}  // namespace
}  // namespace rsyncfs
