// SPDX-License-Identifier: GPL-3.0-or-later
// The end of a mount that is in full use while the kernel is being told of changes.
#include <sys/mount.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fs/mount_rig.h"
#include "tests/support/mount_table.h"

namespace rsyncfs::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Removals in one directory, as lists bring them, until it is told to end.
class Removals {
 public:
  Removals(Notifier& notifier, NodeId directory)
      : thread_([this, &notifier, directory] {
          for (uint64_t i = 0; !end_.load(); ++i) {
            notifier.on_changes(
                {{NameChange::Kind::kRemoved, directory, "gone" + std::to_string(i), kNoSuchNode + i, 0}});
            std::this_thread::sleep_for(milliseconds(1));
          }
        }) {}
  ~Removals() {
    end_ = true;
    thread_.join();
  }

 private:
  static constexpr NodeId kNoSuchNode = 1'000'000;
  std::atomic<bool> end_{false};
  std::thread thread_;
};

// Looks up ever new names below `path`, each a request; until the mount is gone.
int keep_looking(const std::string& path, int who) {
  for (int i = 0;; ++i) {
    struct stat st {};
    const std::string name = path + "/n" + std::to_string(who) + "." + std::to_string(i);
    if (::stat(name.c_str(), &st) != 0 && errno != ENOENT) return 0;
    // Who does not get to run while the mount goes sees what lies below it.
    if (::stat(path.c_str(), &st) != 0) return 0;
  }
}

// Requests that wait in the kernel's queue hold the lock of their directory. A call that drops a name there
// waits for it, deaf to signals: nobody may have stopped taking requests by then.
TEST(MountStopTest, InFullUseWhileNamesAreDropped) {
  constexpr int kRounds = 8;
  constexpr int kUsers = 24;
  constexpr seconds kLimit{30};
  for (int round = 0; round < kRounds; ++round) {
    FrontOptions options;
    options.workers = 2;
    MountRig rig(options);
    const NodeId busy = rig.list(kRootNode, {directory("busy")}).at("busy");
    rig.list(busy, {file("stays", 1)});
    std::vector<std::unique_ptr<Child>> users;
    for (int who = 0; who < kUsers; ++who) {
      users.push_back(
          std::make_unique<Child>([path = rig / "busy", who] { return keep_looking(path, who); }));
    }
    const Removals removals(rig.notifier, busy);
    std::this_thread::sleep_for(milliseconds(100));
    auto stopped = std::async(std::launch::async, [&rig] {
      rig.front->stop();
      rig.front.reset();
    });
    const bool in_time = stopped.wait_for(kLimit) == std::future_status::ready;
    // Cutting the connection frees whoever hangs, so that a failure is one.
    if (!in_time) ::umount2(rig.path().c_str(), MNT_FORCE | MNT_DETACH);
    stopped.wait();
    ASSERT_TRUE(in_time) << "round " << round;
    EXPECT_FALSE(support::is_mounted(rig.path()));
    for (const auto& user : users) EXPECT_EQ(user->wait(), 0);
  }
}

}  // namespace
}  // namespace rsyncfs::testing
