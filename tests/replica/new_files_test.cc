// SPDX-License-Identifier: GPL-3.0-or-later
// New files on their way into the database: found at once, by everybody, and there after a kill.
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sync/replica/database.h"
#include "sync/replica/journal.h"
#include "sync/replica/journal_records.h"
#include "sync/replica/pending.h"
#include "sync/replica/schema.h"
#include "tests/replica/dirty_rig.h"
#include "tests/replica/local_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// The store has taken something to its journal.
bool journal_is_used(const std::string& directory) {
  for (const char* name : {"/journal.0", "/journal.1"}) {
    std::error_code error;
    if (std::filesystem::file_size(directory + name, error) > 0 && !error) return true;
  }
  return false;
}

// The numbers that new files need are taken when the first is made.
void warm_up(Replica& store, const std::string& name = "warm") {
  for (int i = 0; !journal_is_used(store.directory()); ++i) {
    ASSERT_LT(i, 5000) << "new files never go to the journal";
    must(store.local().create(kRootNode, name + std::to_string(i), new_file()));
    std::this_thread::sleep_for(milliseconds(1));
  }
}

class NewFilesTest : public LocalRig {
 protected:
  void SetUp() override { warm_up(*store_); }
  std::string text(NodeId node) {
    const auto read = read_file(*store_, node, 0, 1 << 20);
    EXPECT_TRUE(read.missing.empty());
    return {reinterpret_cast<const char*>(read.bytes.data()), read.bytes.size()};
  }
};

TEST_F(NewFilesTest, WhatIsMadeIsFoundAndStays) {
  const Node before = state(kRootNode);
  const Node directory = must(local().create(kRootNode, "d", new_directory()));
  EXPECT_EQ(state(kRootNode).attr.nlink, before.attr.nlink + (before.listed_at_s != 0 ? 1 : 0));
  EXPECT_EQ(state(kRootNode).ctime, directory.ctime);
  const Node made = must(local().create(directory.id, "f", new_file(0600)));
  EXPECT_FALSE(exists(directory.id, "g"));
  EXPECT_EQ(at(directory.id, "f").id, made.id);
  EXPECT_EQ(errno_of(local().create(directory.id, "f", new_file())), EEXIST);

  const Node second = must(local().create(directory.id, "g", new_file(0600)));
  must(local().write(second.id, 0, bytes_of("hello")));
  must(local().write(second.id, 5, bytes_of(" world")));
  const Node written = must(local().write(second.id, 0, bytes_of("J")));
  EXPECT_EQ(written.attr.size, 11U);
  EXPECT_EQ(written.differences, uint32_t{kAbsentAtSource | kBytesDiffer | kMtimeDiffers});
  AttributeChange change;
  change.permissions = 0751;
  change.gid = 7;
  change.mtime = FileTime{-5, 6};
  const Node changed = must(local().change_attributes(second.id, change));
  EXPECT_EQ(changed.attr.mode, S_IFREG | 0751U);
  EXPECT_EQ(changed.attr.uid, 1000U);
  EXPECT_EQ(changed.attr.gid, 7U);
  EXPECT_EQ(state(second.id).attr, changed.attr);
  EXPECT_EQ(text(second.id), "Jello world");
  for (int round = 0; round < 2; ++round) {
    const Node again = state(second.id);
    EXPECT_EQ(again.attr, changed.attr);
    EXPECT_EQ(again.ctime, changed.ctime);
    EXPECT_EQ(again.atime, changed.atime);
    EXPECT_EQ(again.differences, changed.differences);
    EXPECT_EQ(text(second.id), "Jello world");
    EXPECT_THAT(list(directory.id), testing::ElementsAre("f", "g"));
    EXPECT_EQ(state(directory.id).ctime, second.ctime);
    const auto pending_node = must(pending().node(second.id));
    ASSERT_TRUE(pending_node.has_value());
    EXPECT_FALSE(pending_node->base.present);
    reopen();
  }
}

TEST_F(NewFilesTest, TheyCountAsPendingSinceTheyWereMade) {
  must(local().sync_all());
  const auto before = pending().summary();
  std::this_thread::sleep_for(milliseconds(5));
  const Node made = must(local().create(kRootNode, "f", new_file()));
  must(local().write(made.id, 0, bytes_of("12345")));
  std::this_thread::sleep_for(milliseconds(50));
  const auto summary = pending().summary();
  EXPECT_EQ(summary.names, before.names + 1);
  EXPECT_EQ(summary.nodes, before.nodes + 1);
  EXPECT_EQ(summary.bytes, before.bytes + 5);
  const auto node = must(pending().node(made.id));
  ASSERT_TRUE(node.has_value());
  EXPECT_EQ(node->since_ms, made.ctime->s * 1000 + made.ctime->ns / 1'000'000);
}

TEST_F(NewFilesTest, OtherChangesFindThem) {
  const Node a = must(local().create(kRootNode, "a", new_file()));
  must(local().write(a.id, 0, bytes_of("aaaa")));
  must(local().rename(kRootNode, "a", kRootNode, "b", RenameMode::kReplace));
  EXPECT_EQ(at("b").id, a.id);
  must(local().write(a.id, 10, bytes_of("b")));  // a hole
  EXPECT_EQ(text(a.id), std::string("aaaa\0\0\0\0\0\0b", 11));
  const Node c = must(local().create(kRootNode, "c", new_file()));
  must(local().link(c.id, kRootNode, "c2"));
  EXPECT_EQ(state(c.id).attr.nlink, 2U);
  const Node d = must(local().create(kRootNode, "d", new_file()));
  must(local().write(d.id, 0, bytes_of("dddd")));
  EXPECT_EQ(must(local().resize(d.id, 2)).attr.size, 2U);
  EXPECT_EQ(text(d.id), "dd");
  const Node e = must(local().create(kRootNode, "e", new_file()));
  must(local().unlink(kRootNode, "e"));
  EXPECT_FALSE(exists("e"));
  EXPECT_TRUE(state(e.id).orphan);
  EXPECT_TRUE(must(local().create(kRootNode, "e", new_file())).id != e.id);
  const Node s = must(local().create(kRootNode, "s", new_symlink("over there")));
  EXPECT_EQ(s.attr.size, 10U);
  EXPECT_EQ(at("s").attr, s.attr);
  EXPECT_EQ(must(store_->link_target(s.id)), "over there");
}

TEST_F(NewFilesTest, ManyGoThroughManyBatches) {
  constexpr int kFiles = 1500;
  std::vector<NodeId> nodes;
  for (int i = 0; i < kFiles; ++i) {
    const Node made = must(local().create(kRootNode, "m" + std::to_string(i), new_file()));
    must(local().write(made.id, 0, bytes_of("content " + std::to_string(i))));
    nodes.push_back(made.id);
  }
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kFiles; ++i) {
      ASSERT_EQ(at("m" + std::to_string(i)).id, nodes[i]);
      ASSERT_EQ(text(nodes[i]), "content " + std::to_string(i));
    }
    reopen();
  }
}

TEST_F(NewFilesTest, OneNameIsGivenOnce) {
  constexpr int kNames = 400;
  constexpr int kThreads = 4;
  std::atomic<int> made = 0;
  std::atomic<int> removed = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads + 1);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kNames; ++i) {
        const auto node = local().create(kRootNode, "n" + std::to_string(i), new_file());
        if (!node) {
          EXPECT_EQ(errno_of(node), EEXIST);
          continue;
        }
        ++made;
        must(local().write(node->id, 0, bytes_of("x")));
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < kNames; i += 7) {
      if (local().unlink(kRootNode, "n" + std::to_string(i))) ++removed;
      static_cast<void>(list());
    }
  });
  for (std::thread& thread : threads) thread.join();
  int there = 0;
  for (const std::string& name : list()) there += name.starts_with("n") ? 1 : 0;
  EXPECT_EQ(there, made - removed);
}

// ---- kills ----

struct Progress {
  std::atomic<int> files;
};

constexpr int kFilesInDirectory = 20;

std::string content_of(int file) {
  return std::string(static_cast<size_t>(file * 37 % 5000), static_cast<char>('a' + file % 26));
}

std::string directory_of(int round, int file) {
  return "r" + std::to_string(round) + "." + std::to_string(file / kFilesInDirectory);
}

[[noreturn]] void unpack(const std::string& directory, int round, Progress& progress) {
  auto store = open_store(directory);
  warm_up(*store, "w" + std::to_string(round) + ".");
  NodeId parent = 0;
  for (int i = 0;; ++i) {
    LocalChanges& local = store->local();
    if (i % kFilesInDirectory == 0) {
      parent = must(local.create(kRootNode, directory_of(round, i), new_directory())).id;
    }
    const Node made = must(local.create(parent, "f" + std::to_string(i), new_file(0600)));
    const std::string content = content_of(i);
    const size_t half = content.size() / 2;
    must(local.write(made.id, 0, bytes_of(content.substr(0, half))));
    must(local.write(made.id, half, bytes_of(content.substr(half))));
    must(local.change_attributes(made.id, {.permissions = 0644, .mtime = FileTime{i, 1}}));
    if (i % 50 == 49) must(local.rename(parent, "f" + std::to_string(i), parent, "g", RenameMode::kReplace));
    if (i % 70 == 69) static_cast<void>(store->pending().summary());
    progress.files.store(i + 1);
  }
}

void check_unpacked(Replica& store, int round, int files) {
  for (int i = 0; i < files; ++i) {
    const NodeId parent = must(store.lookup(kRootNode, directory_of(round, i))).id;
    bool moved = i % 50 == 49;
    // "g" of this directory may be a later one's.
    if (moved) continue;
    const Node node = must(store.lookup(parent, "f" + std::to_string(i)));
    const std::string content = content_of(i);
    ASSERT_EQ(node.attr.size, content.size());
    ASSERT_EQ(node.attr.mtime_s, i);
    ASSERT_EQ(node.attr.mode, S_IFREG | 0644U);
    if (content.empty()) continue;
    const auto read = read_file(store, node.id, 0, content.size());
    ASSERT_TRUE(std::ranges::equal(read.bytes, bytes_of(content)));
  }
}

TEST(NewFilesKillTest, AKilledProcessLosesNothing) {
  constexpr int kRounds = 30;
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  const TemporaryDirectory tmp;
  auto* progress = static_cast<Progress*>(
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(progress, MAP_FAILED);
  int total = 0;
  for (int round = 0; round < kRounds; ++round) {
    progress->files.store(0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) unpack(tmp.path(), round, *progress);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 120'000));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "it ended by itself: " << status;
    const auto store = open_store(tmp.path());
    must(store->check());
    check_unpacked(*store, round, progress->files.load());
    if (HasFatalFailure()) break;
    total += progress->files.load();
  }
  std::printf("%d files in %d rounds\n", total, kRounds);
  EXPECT_GT(total, kRounds);
  munmap(progress, sizeof(Progress));
}

TEST(NewFilesKillTest, OfAnotherRunningOfTheKernelNothingIsTaken) {
  const TemporaryDirectory tmp;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto store = open_store(tmp.path());
    warm_up(*store);
    must(store->local().sync_all());
    must(store->local().create(kRootNode, "lost", new_file()));
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  ASSERT_TRUE(journal_is_used(tmp.path()));
  {
    auto db = Connection::open(tmp.path() + "/store.db", Connection::Mode::kWrite, 1 << 20);
    must(write_setting(**db, "boot", "another"));
  }
  const auto store = open_store(tmp.path());
  must(store->check());
  EXPECT_TRUE(store->lookup(kRootNode, "warm0").ok());
  EXPECT_FALSE(store->lookup(kRootNode, "lost").ok());
  EXPECT_FALSE(journal_is_used(tmp.path()));
}

// One entry in the middle is damaged: what was before it is there, the rest is kept for whoever wants to
// look.
TEST(NewFilesKillTest, OfADamagedJournalTheBeginningIsTaken) {
  const TemporaryDirectory tmp;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto store = open_store(tmp.path());
    warm_up(*store);
    must(store->local().sync_all());
    for (int i = 0; i < 20; ++i) must(store->local().create(kRootNode, "n" + std::to_string(i), new_file()));
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  bool done = false;
  for (const char* name : {"/journal.0", "/journal.1"}) {
    std::fstream file(tmp.path() + name, std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const size_t at = bytes.find("n10");
    if (at == std::string::npos) continue;
    file.clear();
    file.seekp(static_cast<std::streamoff>(at)).put('x');
    done = true;
  }
  ASSERT_TRUE(done);
  const auto store = open_store(tmp.path());
  must(store->check());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(store->lookup(kRootNode, "n" + std::to_string(i)).ok(), i < 10) << i;
  EXPECT_TRUE(std::filesystem::exists(tmp.path() + "/journal.0.damaged"));
  // And it goes on as ever.
  must(store->local().create(kRootNode, "next", new_file()));
  EXPECT_TRUE(store->lookup(kRootNode, "next").ok());
}

// ---- the journal ----

TEST(JournalTest, KeepsWholeEntriesOnly) {
  const TemporaryDirectory tmp;
  const std::string path = tmp.path() + "/j";
  {
    auto file = must(JournalFile::open(path));
    for (uint64_t i = 1; i <= 10; ++i) must(file.append(i, std::string(100, 'x')));
    file.restart();
    must(file.append(11, "new"));
    const auto entries = must(file.read()).entries;
    ASSERT_EQ(entries.size(), 1U) << "the old ones do not follow on it";
    EXPECT_EQ(entries[0].number, 11U);
    EXPECT_EQ(entries[0].record, "new");
    must(file.append(12, "newer"));
  }
  const auto whole = std::filesystem::file_size(path);
  for (uint64_t cut = 0; cut < 40; ++cut) {
    std::filesystem::resize_file(path, cut);
    const auto entries = must(must(JournalFile::open(path)).read()).entries;
    EXPECT_LE(entries.size(), 2U);
    for (size_t i = 0; i < entries.size(); ++i) EXPECT_EQ(entries[i].number, 11 + i);
    std::filesystem::resize_file(path, whole);
  }
}

TEST(JournalTest, RecordsComeBackAsTheyWere) {
  const MadeRecord made{5, 1, "name", S_IFDIR | 0755, 3, 4, 1, "", FileTime{-7, 999'999'999}};
  const std::string text = encode(made);
  const auto record = decode_journal_record(text);
  ASSERT_TRUE(record.has_value());
  const auto* again = std::get_if<MadeRecord>(&*record);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->name, "name");
  EXPECT_EQ(again->at, made.at);
  EXPECT_EQ(encode(*record), text);
  for (size_t cut = 0; cut < text.size(); ++cut)
    EXPECT_FALSE(decode_journal_record(text.substr(0, cut)).has_value()) << cut;
  EXPECT_FALSE(decode_journal_record(text + "x").has_value());
}

}  // namespace
}  // namespace rsyncfs
