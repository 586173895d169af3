// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

constexpr uint64_t kMiB = 1 << 20;

class ReadTest : public ::testing::Test {
 protected:
  std::string served(const std::string& name) const { return tree_ / name; }
  TempDir tree_;
  TempDir store_;
};

TEST_F(ReadTest, EverySizeComesWhole) {
  std::vector<uint64_t> sizes = {0,     1,        4095, 4096,     65535,    65536,
                                 65537, kMiB - 1, kMiB, kMiB + 1, 3 * kMiB, 20 * kMiB + 17};
  for (const uint64_t size : sizes)
    write_file(served(std::to_string(size)), support::random_bytes(size, size));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  for (int pass = 0; pass < 2; ++pass) {
    for (const uint64_t size : sizes) {
      const auto bytes = rig.read_all(std::to_string(size));
      ASSERT_TRUE(bytes.ok()) << size << ": " << bytes.error().message();
      EXPECT_TRUE(*bytes == support::random_bytes(size, size)) << size;
    }
  }
}

TEST_F(ReadTest, WhatWasReadIsThereAfterARestartWithoutTheServer) {
  support::make_many_files(tree_.path(), 3, 20, 3000);
  write_file(served("big"), support::random_bytes(5 * kMiB, 5));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  std::map<std::string, std::string> seen;
  {
    EngineRig rig(server.url(), store_ / "s");
    ASSERT_TRUE(rig.start().ok());
    ASSERT_TRUE(rig.wait_for_tree());
    std::vector<std::string> paths = {"big"};
    for (const NodeId dir : {kRootNode}) {
      std::vector<std::pair<std::string, NodeId>> dirs;
      ASSERT_TRUE(rig.replica()
                      .list(dir,
                            [&](std::string_view name, const Node& node) {
                              if (S_ISDIR(node.attr.mode)) dirs.emplace_back(name, node.id);
                            })
                      .ok());
      for (const auto& [name, id] : dirs) {
        ASSERT_TRUE(rig.replica()
                        .list(id,
                              [&, parent = name](std::string_view child, const Node&) {
                                paths.push_back(parent + "/" + std::string(child));
                              })
                        .ok());
      }
    }
    ASSERT_EQ(paths.size(), 61U);
    for (const auto& path : paths) {
      const auto bytes = rig.read_all(path);
      ASSERT_TRUE(bytes.ok()) << path << ": " << bytes.error().message();
      seen[path] = *bytes;
    }
  }
  const auto transfers = server.transfers().size();
  EXPECT_EQ(transfers, 61U) << "each file once";
  server.stop();
  EngineRig rig(server.url(), store_ / "s");
  EXPECT_FALSE(rig.start().ok());
  for (const auto& [path, bytes] : seen) {
    const auto again = rig.read_all(path);
    ASSERT_TRUE(again.ok()) << path << ": " << again.error().message();
    EXPECT_TRUE(*again == bytes) << path;
  }
}

TEST_F(ReadTest, TheHeadOfAHugeFileDoesNotWaitForTheFile) {
  support::make_sparse_file(served("huge"), 10ULL << 30, "mark", 4000);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("huge");
  ASSERT_TRUE(node.ok());
  const auto head = rig.read(node->id, 0, 4096);
  ASSERT_TRUE(head.ok()) << head.error().message();
  EXPECT_EQ(head->substr(4000, 4), "mark");
  ::usleep(300'000);
  EXPECT_LT(rig.status().bytes_fetched, 200 * kMiB) << "a stream does not run on without a reader";
}

TEST_F(ReadTest, ADeepReadBeginsWhereItIsWanted) {
  support::make_sparse_file(served("huge"), 10ULL << 30, "deep", 9ULL << 30);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("huge");
  ASSERT_TRUE(node.ok());
  const auto deep = rig.read(node->id, 9ULL << 30, 4);
  ASSERT_TRUE(deep.ok()) << deep.error().message();
  EXPECT_EQ(*deep, "deep");
  EXPECT_LT(rig.status().bytes_fetched, 200 * kMiB);
}

TEST_F(ReadTest, RandomReadsOfALargeFileAreExact) {
  const std::string contents = support::random_bytes(40 * kMiB + 123, 9);
  write_file(served("big"), contents);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("big");
  const auto seed = support::test_seed();
  std::mt19937_64 random(seed);
  for (int i = 0; i < 60; ++i) {
    const uint64_t offset = random() % contents.size();
    const auto length = static_cast<uint32_t>(1 + random() % 200'000);
    const auto bytes = rig.read(node->id, offset, length);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message();
    ASSERT_TRUE(*bytes == contents.substr(offset, length)) << offset << "+" << length;
  }
}

TEST_F(ReadTest, SimultaneousReadersShareOneFetch) {
  write_file(served("small"), support::random_bytes(500'000, 1));
  write_file(served("big"), support::random_bytes(8 * kMiB, 2));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&rig, i] {
      const bool big = i % 2 == 0;
      const auto bytes = rig.read_all(big ? "big" : "small");
      ASSERT_TRUE(bytes.ok()) << bytes.error().message();
      EXPECT_TRUE(*bytes == support::random_bytes(big ? 8 * kMiB : 500'000, big ? 2 : 1));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(server.transfers().size(), 2U);
}

TEST_F(ReadTest, HydrateBringsTheWholeFile) {
  write_file(served("big"), support::random_bytes(30 * kMiB, 3));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("big");
  ASSERT_TRUE(rig.read(node->id, 17 * kMiB, 4096).ok()) << "a piece from the middle first";
  const auto done = rig.hydrate(node->id);
  ASSERT_TRUE(done.ok()) << done.error().message();
  const auto state = rig.replica().content_state(node->id);
  ASSERT_TRUE(state.ok());
  EXPECT_TRUE(state->complete);
  server.stop();
  EXPECT_TRUE(*rig.read_all("big") == support::random_bytes(30 * kMiB, 3));
}

// Each file in a directory of its own: what is noticed about one has its directory listed anew.
TEST_F(ReadTest, FilesThatChangedSinceTheListAreServedAsTheyAreOrTruthfullyRefused) {
  const auto path = [&](const std::string& name) { return served(name + "/f"); };
  for (const char* name :
       {"grown", "shrunk", "vanished", "unreadable", "directory", "fifo", "link", "huge-grown"}) {
    support::make_dirs(served(name));
    write_file(path(name), std::string(std::string(name) == "huge-grown" ? 2 * kMiB : 1000, 'o'));
  }
  ASSERT_EQ(::chmod(tree_.path().c_str(), 0755), 0);
  auto options = RsyncDaemon::serving(tree_.path());
  if (::getuid() == 0) options.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}};
  RsyncDaemon server(std::move(options));
  SyncerOptions limits;
  limits.timeout = std::chrono::seconds(9);
  EngineRig rig(server.url(), store_ / "s", limits);
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  write_file(path("grown"), std::string(5000, 'n'));
  write_file(path("huge-grown"), std::string(3 * kMiB, 'n'));
  write_file(path("shrunk"), "n");
  ::unlink(path("vanished").c_str());
  ::chmod(path("unreadable").c_str(), 0);
  ::unlink(path("directory").c_str());
  ::mkdir(path("directory").c_str(), 0755);
  ::unlink(path("fifo").c_str());
  ::mkfifo(path("fifo").c_str(), 0644);
  ::unlink(path("link").c_str());
  ASSERT_EQ(::symlink("/etc/passwd", path("link").c_str()), 0);

  EXPECT_EQ(*rig.read_all("grown/f"), std::string(5000, 'n'));
  EXPECT_EQ(*rig.read_all("shrunk/f"), "n");
  EXPECT_TRUE(*rig.read_all("huge-grown/f") == std::string(3 * kMiB, 'n'));
  const auto refused = [&](const std::string& name, std::initializer_list<Errc> codes) {
    const auto node = rig.find(name + "/f");
    ASSERT_TRUE(node.ok()) << name << ": " << node.error().message();
    const auto begun = Clock::now();
    const auto bytes = rig.read(node->id, 0, 100);
    EXPECT_LT(Clock::now() - begun, std::chrono::seconds(40)) << name;
    ASSERT_FALSE(bytes.ok()) << name << ": " << *bytes;
    EXPECT_NE(std::find(codes.begin(), codes.end(), bytes.error().code()), codes.end())
        << name << ": " << errc_name(bytes.error().code()) << ": " << bytes.error().message();
  };
  refused("unreadable", {Errc::kPermission});
  refused("vanished", {Errc::kVanished});
  refused("directory", {Errc::kCorrupt, Errc::kChanged, Errc::kVanished});
  refused("link", {Errc::kOs, Errc::kChanged, Errc::kVanished});
  refused("fifo", {Errc::kTimedOut, Errc::kChanged});
  // And the others still work.
  write_file(served("fresh"), "fresh");
  ASSERT_TRUE(rig.list(kRootNode).ok());
  EXPECT_EQ(*rig.read_all("fresh"), "fresh");
}

TEST_F(ReadTest, ADirectoryThatIsReadThroughComesAhead) {
  support::make_many_files(tree_.path(), 4, 100, 2000);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  std::vector<std::pair<std::string, NodeId>> files;
  std::vector<NodeId> dirs;
  ASSERT_TRUE(
      rig.replica().list(kRootNode, [&](std::string_view, const Node& n) { dirs.push_back(n.id); }).ok());
  ASSERT_TRUE(
      rig.replica()
          .list(dirs.at(0), [&](std::string_view name, const Node& n) { files.emplace_back(name, n.id); })
          .ok());
  ASSERT_EQ(files.size(), 100U);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(rig.read(files[static_cast<size_t>(i)].second, 0, 4096).ok());
  bool all = false;
  for (int i = 0; i < 3000 && !all; ++i) {
    ::usleep(10'000);
    all = true;
    for (const auto& [name, id] : files) {
      const auto state = rig.replica().content_state(id);
      all = all && state.ok() && state->complete;
    }
  }
  EXPECT_TRUE(all) << "the rest of the directory came without being asked for";
}

TEST_F(ReadTest, CompressionAndOldProtocolsGiveTheSameBytes) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "line " + std::to_string(i % 777) + "\n";
  write_file(served("text"), text);
  write_file(served("random"), support::random_bytes(300'000, 4));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  int number = 0;
  for (const std::string compress : {"none", "zlibx", "zstd"}) {
    for (const int protocol : {30, 31, 32}) {
      SCOPED_TRACE(compress + " protocol " + std::to_string(protocol));
      SyncerOptions options;
      options.compress = compress;
      options.max_protocol = protocol;
      EngineRig rig(server.url(), store_ / std::to_string(++number), options);
      ASSERT_TRUE(rig.start().ok());
      const auto got = rig.read_all("text");
      ASSERT_TRUE(got.ok()) << got.error().message();
      EXPECT_TRUE(*got == text);
      EXPECT_TRUE(*rig.read_all("random") == support::random_bytes(300'000, 4));
      const auto status = rig.status();
      EXPECT_EQ(status.protocol, protocol);
      if (compress != "none") {
        EXPECT_LT(status.bytes_in, 1'200'000U) << "it was compressed";
      }
    }
  }
}

}  // namespace
}  // namespace rsyncfs
