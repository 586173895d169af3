// SPDX-License-Identifier: GPL-3.0-or-later
// When the machine may go down at any moment: dead bytes go only after the commit that took their row away is
// on the disk. The two system calls are watched.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/replica/contents_rig.h"

namespace {

std::atomic<bool> watching{false};
std::atomic<bool> log_synced{false};
std::atomic<int> punched_before{0};
std::atomic<int> punched_after{0};

bool is_file(int fd, std::string_view part) {
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), path.data(), path.size());
  return length > 0 &&
         std::string_view(path.data(), static_cast<size_t>(length)).find(part) != std::string_view::npos;
}

}  // namespace

extern "C" int fdatasync(int fd) {
  const auto result = static_cast<int>(syscall(SYS_fdatasync, fd));
  if (watching && is_file(fd, "store.db-wal")) log_synced = true;
  return result;
}

extern "C" int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (watching && (mode & FALLOC_FL_PUNCH_HOLE) != 0 && is_file(fd, "/slabs/"))
    ++(log_synced ? punched_after : punched_before);
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
}

namespace rsyncfs {
namespace {

class DeadBytes : public Contents {};

TEST_F(DeadBytes, GoAfterTheCommitThatTookTheirRowIsOnTheDisk) {
  const NodeId node = add_file(50000);
  store_content(*store_, node, known_bytes(1, 50000));
  watching = true;
  must(store_->drop_content(node));
  EXPECT_TRUE(eventually([] { return punched_before + punched_after > 0; }));
  watching = false;
  EXPECT_EQ(punched_before, 0);
}

}  // namespace
}  // namespace rsyncfs
