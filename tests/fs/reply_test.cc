// SPDX-License-Identifier: GPL-3.0-or-later
// Requests against replies over a fake kernel: real libfuse, no mount.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fs/fake_kernel.h"
#include "tests/fs/tree_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs::testing {
namespace {

using std::chrono::seconds;
using namespace std::string_literals;

constexpr uint64_t kDay_s = 86'400;

class ReplyTest : public ::testing::Test, public TreeRig {
 protected:
  void SetUp() override {
    nodes = list(kRootNode, {file("here", 5), file("away", 1000), directory("d"), symlink("s", "target")});
    fill(nodes.at("here"), "local");
  }
  std::map<std::string, NodeId> nodes;
};

TEST_F(ReplyTest, CapabilitiesAreChosenByName) {
  const FakeKernel kernel(*tree);
  const uint32_t flags = kernel.init().flags;
  for (const uint32_t wanted :
       {FUSE_ASYNC_READ, FUSE_DO_READDIRPLUS, FUSE_PARALLEL_DIROPS, FUSE_CACHE_SYMLINKS, FUSE_EXPORT_SUPPORT,
        FUSE_EXPLICIT_INVAL_DATA, FUSE_POSIX_ACL}) {
    EXPECT_NE(flags & wanted, 0U) << std::hex << wanted;
  }
  for (const uint32_t unwanted :
       {FUSE_READDIRPLUS_AUTO, FUSE_AUTO_INVAL_DATA, FUSE_WRITEBACK_CACHE, FUSE_ATOMIC_O_TRUNC,
        FUSE_SPLICE_READ, FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS}) {
    EXPECT_EQ(flags & unwanted, 0U) << std::hex << unwanted;
  }
  EXPECT_EQ(kernel.init().max_write, 1U << 20);
  EXPECT_EQ(kernel.init().max_background, 1024U);
}

TEST_F(ReplyTest, TruncationComesWithOpenOnlyWhereOpenComes) {
  FrontOptions options;
  options.profile = OpenProfile::kKeepCache;
  options.posix_acl = false;
  FakeKernel kernel(*tree, options);
  EXPECT_NE(kernel.init().flags & FUSE_ATOMIC_O_TRUNC, 0U);
  EXPECT_EQ(kernel.init().flags & FUSE_POSIX_ACL, 0U);
  const std::string body(sizeof(fuse_open_in), '\0');
  const FakeReply opened = kernel.call(FUSE_OPEN, nodes.at("here"), body);
  EXPECT_EQ(opened.error, 0);
  EXPECT_NE(opened.as<fuse_open_out>().open_flags & FOPEN_KEEP_CACHE, 0U);
}

TEST_F(ReplyTest, LookupsGiveLongTimeouts) {
  FakeKernel kernel(*tree);
  const auto found = kernel.call(FUSE_LOOKUP, kRootNode, "here\0"s).as<fuse_entry_out>();
  EXPECT_EQ(found.nodeid, nodes.at("here"));
  EXPECT_EQ(found.generation, 0U);
  EXPECT_EQ(found.entry_valid, kDay_s);
  EXPECT_EQ(found.attr_valid, kDay_s);
  EXPECT_EQ(found.attr.size, 5U);
  const auto missing = kernel.call(FUSE_LOOKUP, kRootNode, "nothing\0"s).as<fuse_entry_out>();
  EXPECT_EQ(missing.nodeid, 0U);
  EXPECT_EQ(missing.entry_valid, kDay_s);
  EXPECT_EQ(kernel.call(FUSE_LOOKUP, 4711, "x\0"s).error, ESTALE);
}

TEST_F(ReplyTest, OpenAndFlushAreLeftToTheKernel) {
  FakeKernel kernel(*tree);
  EXPECT_EQ(kernel.call(FUSE_OPEN, nodes.at("here"), std::string(sizeof(fuse_open_in), '\0')).error, ENOSYS);
  EXPECT_EQ(kernel.call(FUSE_FLUSH, nodes.at("here"), std::string(sizeof(fuse_flush_in), '\0')).error,
            ENOSYS);
  EXPECT_EQ(kernel.call(FUSE_OPENDIR, kRootNode, std::string(sizeof(fuse_open_in), '\0')).error, ENOSYS);
}

TEST_F(ReplyTest, DirectoriesAreOpenedByUsWhereTheKernelMustAsk) {
  FrontOptions options;
  options.opendir = true;
  FakeKernel kernel(*tree, options);
  const std::string body(sizeof(fuse_open_in), '\0');
  const auto directory = kernel.call(FUSE_OPENDIR, kRootNode, body);
  EXPECT_EQ(directory.as<fuse_open_out>().open_flags, FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE);
  EXPECT_EQ(kernel.call(FUSE_RELEASEDIR, kRootNode, std::string(sizeof(fuse_release_in), '\0')).error, 0);
}

// So that their use is seen, and the names in them still hold.
TEST_F(ReplyTest, AttributesOfDirectoriesAreAskedForAgain) {
  FakeKernel kernel(*tree);
  const auto found = kernel.call(FUSE_LOOKUP, kRootNode, "d\0"s).as<fuse_entry_out>();
  EXPECT_EQ(found.entry_valid, kDay_s);
  EXPECT_EQ(found.attr_valid, 1U);
  const std::string body(sizeof(fuse_getattr_in), '\0');
  EXPECT_EQ(kernel.call(FUSE_GETATTR, kRootNode, body).as<fuse_attr_out>().attr_valid, 1U);
  EXPECT_EQ(kernel.call(FUSE_GETATTR, nodes.at("here"), body).as<fuse_attr_out>().attr_valid, kDay_s);
}

// Every change that the kernel may ask for.
void expect_changes_are_refused(FakeKernel& kernel) {
  const std::string body(128, '\0');
  const std::string two_names = body + "a\0b\0"s;
  for (const uint32_t opcode : {FUSE_SETATTR, FUSE_MKNOD, FUSE_MKDIR, FUSE_UNLINK, FUSE_RMDIR, FUSE_SYMLINK,
                                FUSE_RENAME, FUSE_RENAME2, FUSE_LINK, FUSE_CREATE, FUSE_WRITE, FUSE_SETXATTR,
                                FUSE_REMOVEXATTR, FUSE_FALLOCATE, FUSE_COPY_FILE_RANGE}) {
    EXPECT_EQ(kernel.call(opcode, kRootNode, two_names).error, EROFS) << "opcode " << opcode;
  }
  EXPECT_EQ(kernel.context().requests[static_cast<size_t>(FrontOp::kRefused)].load(), 15U);
}

TEST_F(ReplyTest, ChangesAreRefused) {
  FakeKernel kernel(*tree);
  expect_changes_are_refused(kernel);
}

TEST_F(ReplyTest, ChangesAreRefusedFromThenOn) {
  FrontOptions options;
  options.read_only = false;
  FakeKernel kernel(*tree, options);
  EXPECT_EQ(kernel.call(FUSE_UNLINK, kRootNode, "none\0"s).error, ENOENT);
  kernel.context().changes_refused.store(true);
  expect_changes_are_refused(kernel);
  // What a program wrote into mapped memory before comes later.
  fuse_write_in write{};
  write.size = 3;
  write.write_flags = FUSE_WRITE_CACHE;
  std::string body(sizeof write, '\0');
  std::memcpy(body.data(), &write, sizeof write);
  EXPECT_EQ(kernel.call(FUSE_WRITE, nodes.at("here"), body + "abc").error, 0);
}

TEST_F(ReplyTest, AParkedReadIsAnsweredOnce) {
  FakeKernel kernel(*tree);
  const uint64_t parked = kernel.read(nodes.at("away"), 0, 100);
  ASSERT_TRUE(syncer.wait_for_waiting(1, seconds(10)));
  // Others are served meanwhile.
  const uint64_t local = kernel.read(nodes.at("here"), 0, 100);
  const auto first = kernel.receive();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->unique, local);
  EXPECT_EQ(first->payload, "local");
  syncer.fail_all(Errc::kTimedOut);
  const auto second = kernel.receive();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->unique, parked);
  EXPECT_EQ(second->error, ETIMEDOUT);
  EXPECT_FALSE(kernel.receive(200).has_value());
  EXPECT_EQ(kernel.context().replies.parked_count(), 0U);
}

TEST_F(ReplyTest, AnInterruptEndsAParkedRequest) {
  FakeKernel kernel(*tree);
  const uint64_t parked = kernel.read(nodes.at("away"), 0, 100);
  ASSERT_TRUE(syncer.wait_for_waiting(1, seconds(10)));
  kernel.interrupt(parked);
  const auto reply = kernel.receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->unique, parked);
  EXPECT_EQ(reply->error, EINTR);
  EXPECT_FALSE(kernel.receive(200).has_value());
}

TEST_F(ReplyTest, AnInterruptThatComesFirstIsNotLost) {
  FrontOptions options;
  options.workers = 1;
  FakeKernel kernel(*tree, options);
  for (int i = 0; i < 20; ++i) {
    // The kernel may send the interrupt of a request that another thread has not taken yet.
    const uint64_t parked = kernel.read(nodes.at("away"), 0, 100);
    kernel.interrupt(parked);
    const auto reply = kernel.receive();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->unique, parked);
    EXPECT_EQ(reply->error, EINTR);
  }
}

// Answers, interrupts and new requests at the same time: each request gets exactly one reply.
TEST_F(ReplyTest, ExactlyOneReplyUnderRaces) {
  const auto seed = static_cast<unsigned>(support::test_seed());
  std::mt19937 random(seed);
  FakeKernel kernel(*tree);
  std::atomic<bool> stop{false};
  std::thread answering([&] {
    while (!stop.load()) {
      syncer.fail_all(Errc::kUnreachable);
      std::this_thread::yield();
    }
  });
  std::set<uint64_t> open;
  std::set<uint64_t> interrupts;
  uint64_t answered = 0;
  const auto take = [&](int limit_ms) {
    const auto reply = kernel.receive(limit_ms);
    if (!reply) return false;
    if (reply->error == EAGAIN && interrupts.erase(reply->unique) == 1) return true;
    EXPECT_EQ(open.erase(reply->unique), 1U) << "a second reply, or one to nothing";
    EXPECT_TRUE(reply->error == EHOSTUNREACH || reply->error == EINTR) << reply->error;
    ++answered;
    return true;
  };
  constexpr uint64_t kRequests = 4000;
  for (uint64_t i = 0; i < kRequests; ++i) {
    open.insert(kernel.read(nodes.at("away"), 0, 100));
    if (random() % 2 == 0) {
      interrupts.insert(kernel.interrupt(*std::next(open.begin(), static_cast<int>(random() % open.size()))));
    }
    while (open.size() > 8) ASSERT_TRUE(take(10'000));
  }
  while (!open.empty()) ASSERT_TRUE(take(10'000));
  EXPECT_EQ(answered, kRequests);
  // libfuse keeps interrupts that match nothing, and gives one back with each request that comes.
  for (int i = 0; i < 100; ++i) {
    open.insert(kernel.send(FUSE_GETATTR, kRootNode, std::string(sizeof(fuse_getattr_in), '\0')));
  }
  const auto check_late = [&](const FakeReply& late) {
    EXPECT_EQ(late.error == EAGAIN ? interrupts.erase(late.unique) : open.erase(late.unique), 1U)
        << "a reply to nothing";
  };
  while (!open.empty()) {
    const auto late = kernel.receive(10'000);
    ASSERT_TRUE(late.has_value());
    check_late(*late);
  }
  while (const auto late = kernel.receive(100)) check_late(*late);
  stop = true;
  answering.join();
  EXPECT_EQ(kernel.context().replies.parked_count(), 0U);
}

TEST_F(ReplyTest, WorkersStopWhileRequestsWait) {
  FakeKernel kernel(*tree);
  for (int i = 0; i < 10; ++i) kernel.read(nodes.at("away"), 0, 100);
  ASSERT_TRUE(syncer.wait_for_waiting(10, seconds(10)));
  kernel.stop_workers();
  EXPECT_EQ(kernel.context().replies.parked_count(), 10U);
}

class BrokenSyncerDeathTest : public ReplyTest {};

TEST_F(BrokenSyncerDeathTest, ASecondReplyAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        syncer.answers_per_read = 2;
        FakeKernel kernel(*tree);
        kernel.read(nodes.at("away"), 0, 100);
        kernel.receive();
        kernel.receive(5000);
      },
      "check failed");
}

TEST_F(BrokenSyncerDeathTest, AMissingReplyAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        syncer.answers_per_read = 0;
        FakeKernel kernel(*tree);
        kernel.read(nodes.at("away"), 0, 100);
        kernel.receive(5000);
      },
      "check failed");
}

}  // namespace
}  // namespace rsyncfs::testing
