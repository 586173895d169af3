// SPDX-License-Identifier: GPL-3.0-or-later
// The local disk is full, or fails: who reads gets his bytes all the same, who writes hears of it, and
// nothing that was acknowledged is lost.
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "tests/engine/cache_rig.h"

namespace {

// The error that a write to a slab or block file has; 0: none.
std::atomic<int> write_error{0};

bool is_of_a_content(int fd) {
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), path.data(), path.size());
  const std::string_view name(path.data(), length > 0 ? static_cast<size_t>(length) : 0);
  return name.find("/slabs/") != std::string_view::npos || name.find("/blocks/") != std::string_view::npos;
}

}  // namespace

extern "C" ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  if (write_error != 0 && is_of_a_content(fd)) {
    errno = write_error;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

namespace rsyncfs {
namespace {

class StoreTroubleTest : public CacheRig {
 protected:
  ~StoreTroubleTest() override { write_error = 0; }
};

TEST_F(StoreTroubleTest, ReadsGoThroughADiskThatFails) {
  serve("small", 10'000);
  serve("middle", 500'000);
  serve("large", 40 * kMiB);
  serve("begun", 20 * kMiB);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto begun = rig.find("begun");
  ASSERT_TRUE(begun.ok());
  ASSERT_TRUE(rig.read(begun->id, 0, 100'000).ok());
  for (const int error : {EIO, ENOSPC}) {
    write_error = error;
    for (const char* path : {"small", "middle", "large", "begun"}) {
      read_through(rig, path);
      EXPECT_FALSE(complete(rig, path)) << path;
    }
    for (const char* path : {"small", "large"}) {
      const auto hydrated = rig.hydrate(rig.find(path)->id);
      ASSERT_FALSE(hydrated.ok()) << path;
      EXPECT_EQ(hydrated.error().os_errno(), error) << path;
    }
  }
  write_error = 0;
  for (const char* path : {"small", "middle", "large", "begun"}) {
    // One that is held in memory is so until nobody reads it any more.
    EXPECT_TRUE(
        support::wait_until([&] { return rig.hydrate(rig.find(path)->id).ok(); }, std::chrono::seconds(30)))
        << path;
    EXPECT_TRUE(complete(rig, path)) << path;
    read_through(rig, path);
  }
  const auto checked = rig.replica().check();
  EXPECT_TRUE(checked.ok()) << checked.error().message();
}

TEST_F(StoreTroubleTest, WritersHearOfItAndNothingAcknowledgedIsLost) {
  serve("there", 3 * kMiB);
  RsyncDaemon server(writable());
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const std::string kept = support::random_bytes(kMiB, 1);
  ASSERT_TRUE(rig.write("kept", kept).ok());
  for (const int error : {EIO, ENOSPC}) {
    write_error = error;
    const auto refused = rig.write("there", std::string(500'000, 'x'));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().os_errno(), error);
    write_error = 0;
  }
  ASSERT_TRUE(rig.write("there", "now").ok());
  const auto flushed = rig.flush();
  ASSERT_TRUE(flushed.ok()) << flushed.error().message();
  EXPECT_TRUE(support::read_file(served("kept")) == kept);
  EXPECT_EQ(support::read_file(served("there")), "now");
}

// A real disk, and no limit but its end.
TEST_F(StoreTroubleTest, AFullDiskMakesRoomOfWhatIsCached) {
  for (int i = 0; i < 40; ++i) serve("old/" + std::to_string(i), 500'000);
  for (int i = 0; i < 40; ++i) serve("new/" + std::to_string(i), 500'000);
  serve("large", 20 * kMiB);
  const support::SmallDisk disk(store_.path(), "40m", 20'000);
  if (!disk.mounted()) GTEST_SKIP() << "mounting is not permitted here";
  RsyncDaemon server(writable());
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const std::string dirty = support::random_bytes(2 * kMiB, 5);
  ASSERT_TRUE(rig.write("dirty", dirty).ok());
  for (int i = 0; i < 40; ++i) read_through(rig, "old/" + std::to_string(i));
  ASSERT_TRUE(support::wait_until([&] { return complete(rig, "old/39"); }, std::chrono::seconds(20)));
  disk.fill_blocks(store_ / "filler", 0);
  for (int i = 0; i < 40; ++i) read_through(rig, "new/" + std::to_string(i));
  EXPECT_TRUE(support::wait_until([&] { return complete(rig, "new/39"); }, std::chrono::seconds(20)));
  read_through(rig, "large");
  EXPECT_GT(rig.status().cache.evicted_files, 0U);
  const auto flushed = rig.flush();
  ASSERT_TRUE(flushed.ok()) << flushed.error().message();
  EXPECT_TRUE(support::read_file(served("dirty")) == dirty);
  const auto checked = rig.replica().check();
  EXPECT_TRUE(checked.ok()) << checked.error().message();
}

}  // namespace
}  // namespace rsyncfs
