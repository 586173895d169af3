// SPDX-License-Identifier: GPL-3.0-or-later
// What happens over time: changes of the source, waiting, interrupts, errors, the end of the mount.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/fs/mount_rig.h"
#include "tests/support/files.h"
#include "tests/support/mount_table.h"
#include "tests/support/wait.h"

namespace rsyncfs::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using support::read_file;
using support::wait_until;
using ::testing::HasSubstr;

class MountBehaviourTest : public ::testing::Test, public MountRig {
 protected:
  bool exists(const std::string& name) const {
    struct stat st {};
    return ::lstat((*this / name).c_str(), &st) == 0;
  }
  std::string listing() const {
    std::string names;
    DIR* open = ::opendir(path().c_str());
    while (const dirent* entry = ::readdir(open)) {
      if (entry->d_name[0] != '.') names += std::string(entry->d_name) + " ";
    }
    ::closedir(open);
    return names;
  }
};

TEST_F(MountBehaviourTest, ReadyAndEndedAreToldOnce) {
  EXPECT_TRUE(front->ready());
  EXPECT_FALSE(front->ended());
  EXPECT_THAT(front->description(), HasSubstr("no_open"));
  EXPECT_EQ(front->mountpoint(), path());
  unmount();
  EXPECT_EQ(ready_calls.load(), 1);
  EXPECT_EQ(ended_calls.load(), 1);
  EXPECT_FALSE(support::is_mounted(path()));
}

TEST_F(MountBehaviourTest, WarmReadsNeverReachUs) {
  fill(list(kRootNode, {file("f", 5)}).at("f"), "bytes");
  settle();
  EXPECT_EQ(read_file(*this / "f"), "bytes");
  const FrontStatistics before = front->statistics();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(read_file(*this / "f"), "bytes");
  EXPECT_EQ(front->statistics().requests, before.requests);
  EXPECT_EQ(requests(FrontOp::kOpen), 1U);
}

TEST_F(MountBehaviourTest, ANewNameAppearsAfterACachedMiss) {
  list(kRootNode, {file("a", 1)});
  EXPECT_FALSE(exists("b"));
  EXPECT_EQ(listing(), "a ");
  const uint64_t lookups = requests(FrontOp::kLookup);
  EXPECT_FALSE(exists("b"));
  EXPECT_EQ(requests(FrontOp::kLookup), lookups) << "the miss was not cached";
  list(kRootNode, {file("a", 1), file("b", 2)});
  settle();
  EXPECT_TRUE(exists("b"));
  EXPECT_EQ(listing(), "a b ");
}

// What a listing brings in for the first time is news to nobody: telling the kernel would only empty its
// caches.
TEST_F(MountBehaviourTest, AFirstListingLeavesTheCachesFull) {
  list(kRootNode, {directory("d")});
  const NodeId d = node("d");
  syncer.unlist(d);
  syncer.on_list([this, d](NodeId) -> Result<void> {
    std::vector<Name> names;
    for (int i = 0; i < 500; ++i) names.push_back(file("f" + std::to_string(i), 1));
    names.push_back(directory("sub"));
    list(d, std::move(names));
    return {};
  });
  const auto stat_all = [this] {
    struct stat st {};
    for (int i = 0; i < 500; ++i) EXPECT_EQ(::lstat((*this / ("d/f" + std::to_string(i))).c_str(), &st), 0);
  };
  DIR* open = ::opendir((*this / "d").c_str());
  ASSERT_NE(open, nullptr);
  while (::readdir(open) != nullptr) {
  }
  ::closedir(open);
  settle();
  stat_all();
  EXPECT_LE(requests(FrontOp::kLookup) + requests(FrontOp::kGetattr), 5U);
  EXPECT_LE(notifier.statistics().sent, 5U);
}

TEST_F(MountBehaviourTest, ARemovedNameGoesAndOpenFilesStay) {
  fill(list(kRootNode, {file("a", 5), file("b", 1)}).at("a"), "bytes");
  const UniqueFd open(::open((*this / "a").c_str(), O_RDONLY));
  ASSERT_TRUE(open);
  EXPECT_EQ(listing(), "a b ");
  list(kRootNode, {file("b", 1)});
  settle();
  EXPECT_FALSE(exists("a"));
  EXPECT_EQ(listing(), "b ");
  std::array<char, 8> buffer{};
  EXPECT_EQ(::pread(open.get(), buffer.data(), buffer.size(), 0), 5);
  struct stat st {};
  ASSERT_EQ(::fstat(open.get(), &st), 0);
  EXPECT_EQ(st.st_nlink, 0U);
}

TEST_F(MountBehaviourTest, AReplacedFileKeepsItsOldBytesWhereItIsOpen) {
  const NodeId old_node = list(kRootNode, {file("f", 4)}).at("f");
  fill(old_node, "old.");
  UniqueFd open(::open((*this / "f").c_str(), O_RDONLY));
  ASSERT_TRUE(open);
  struct stat before {};
  ASSERT_EQ(::fstat(open.get(), &before), 0);
  const void* map = ::mmap(nullptr, 4, PROT_READ, MAP_SHARED, open.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  const NodeId new_node = list(kRootNode, {file("f", 7)}).at("f");
  ASSERT_NE(new_node, old_node);
  fill(new_node, "newer..");
  settle();
  EXPECT_EQ(read_file(*this / "f"), "newer..");
  std::array<char, 8> buffer{};
  EXPECT_EQ(::pread(open.get(), buffer.data(), buffer.size(), 0), 4);
  EXPECT_EQ(std::string(buffer.data(), 4), "old.");
  EXPECT_EQ(std::string(static_cast<const char*>(map), 4), "old.");
  struct stat after {};
  ASSERT_EQ(::stat((*this / "f").c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino) << "st_ino must survive a replacement";
  ::munmap(const_cast<void*>(map), 4);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  open.reset();
  // The kernel lets go of the old version: so does the store.
  EXPECT_TRUE(wait_until([&] { return !replica->node(old_node).ok(); }, seconds(10)));
}

TEST_F(MountBehaviourTest, AttributesAndLinkTargetsFollow) {
  const NodeId f = list(kRootNode, {file("f", 4, 0644), symlink("s", "one")}).at("f");
  fill(f, "text");
  std::array<char, 64> target{};
  EXPECT_EQ(::readlink((*this / "s").c_str(), target.data(), target.size()), 3);
  struct stat st {};
  ASSERT_EQ(::stat((*this / "f").c_str(), &st), 0);
  list(kRootNode, {file("f", 4, 0600), symlink("s", "three")});
  settle();
  ASSERT_EQ(::stat((*this / "f").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  const ssize_t n = ::readlink((*this / "s").c_str(), target.data(), target.size());
  EXPECT_EQ(std::string(target.data(), static_cast<size_t>(std::max<ssize_t>(n, 0))), "three");
}

TEST_F(MountBehaviourTest, ChangedContentIsReadAgain) {
  const NodeId f = list(kRootNode, {file("f", 4)}).at("f");
  syncer.on_read([](NodeId) { return "aaaa"; });
  EXPECT_EQ(read_file(*this / "f"), "aaaa");
  syncer.on_read([](NodeId) { return "bbbb"; });
  EXPECT_EQ(read_file(*this / "f"), "aaaa");
  notifier.on_content_changed(f);
  settle();
  EXPECT_EQ(read_file(*this / "f"), "bbbb");
}

// The kernel would cut its pages at any size that it learns of meanwhile, after their bytes have come; and
// who asked would wait for them.
TEST_F(MountBehaviourTest, AFileIsShownAsItWasAskedForUntilItsBytesCome) {
  constexpr size_t kBefore = 19'000;
  constexpr size_t kNow = 19'498;
  const std::string now(kNow, 'x');
  const NodeId f = list(kRootNode, {file("f", kBefore, 0644, 1)}).at("f");
  std::promise<void> answer;
  syncer.on_read([&, come = answer.get_future().share()](NodeId) {
    come.wait();
    return now;
  });
  std::string got;
  std::thread reader([&] { got = read_file(*this / "f"); });
  ASSERT_TRUE(wait_until([&] { return syncer.reads() == 1; }, seconds(10)));
  ASSERT_EQ(list(kRootNode, {file("f", 8'151, 0644, 2)}).at("f"), f);
  settle();
  std::atomic<off_t> seen{0};
  std::thread looker([&] {
    struct stat st {};
    if (::stat((*this / "f").c_str(), &st) == 0) seen = st.st_size;
  });
  EXPECT_TRUE(wait_until([&] { return seen.load() != 0; }, seconds(5))) << "stat waits for bytes";
  EXPECT_EQ(seen.load(), static_cast<off_t>(kBefore));
  ASSERT_EQ(list(kRootNode, {file("f", kNow, 0644, 3)}).at("f"), f);
  settle();
  answer.set_value();
  reader.join();
  looker.join();
  EXPECT_TRUE(got == now) << got.size();
  EXPECT_TRUE(read_file(*this / "f") == now);
  struct stat st {};
  ASSERT_EQ(::stat((*this / "f").c_str(), &st), 0);
  EXPECT_EQ(st.st_size, static_cast<off_t>(kNow));
}

// Names come and go while others look them up: nothing stale may stay behind.
TEST_F(MountBehaviourTest, NothingStaleStaysUnderConcurrentLookups) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> users;
  for (int t = 0; t < 3; ++t) {
    users.emplace_back([&] {
      while (!stop.load()) {
        exists("flip");
        exists("keep");
        listing();
      }
    });
  }
  for (int round = 0; round < 150; ++round) {
    const uint32_t mode = round % 2 == 0 ? 0600 : 0644;
    std::vector<Name> names{file("keep", 1, mode)};
    if (round % 3 != 0) names.push_back(file("flip", static_cast<uint64_t>(round)));
    list(kRootNode, names);
    settle();
    struct stat st {};
    ASSERT_EQ(::stat((*this / "keep").c_str(), &st), 0);
    ASSERT_EQ(st.st_mode & 07777, mode) << "round " << round;
    ASSERT_EQ(exists("flip"), round % 3 != 0) << "round " << round;
    if (round % 3 != 0) {
      ASSERT_EQ(::stat((*this / "flip").c_str(), &st), 0);
      ASSERT_EQ(st.st_size, round);
    }
  }
  stop = true;
  for (auto& user : users) user.join();
}

TEST_F(MountBehaviourTest, ErrorsOfTheSourceBecomeErrnos) {
  const std::vector<std::pair<Errc, int>> cases{{Errc::kTimedOut, ETIMEDOUT},
                                                {Errc::kUnreachable, EHOSTUNREACH},
                                                {Errc::kPermission, EACCES},
                                                {Errc::kVanished, ESTALE},
                                                {Errc::kCorrupt, EIO}};
  std::vector<Name> names;
  for (const auto& [code, expected] : cases) names.push_back(file(std::to_string(expected), 4));
  list(kRootNode, names);
  for (const auto& [code, expected] : cases) {
    Child reader([this, name = std::to_string(expected)] {
      const UniqueFd fd(::open((*this / name).c_str(), O_RDONLY));
      char byte = 0;
      return ::read(fd.get(), &byte, 1) < 0 ? errno : 0;
    });
    while (reader.wait(0) < 0) syncer.fail_all(code);
    EXPECT_EQ(reader.wait(), expected) << errc_name(code);
  }
}

// The kernel asks again when a read-ahead failed; that must not double the time until the error.
TEST_F(MountBehaviourTest, OneFailureIsOneWait) {
  const std::vector<std::string> names{"f0", "f1", "f2", "f3", "f4"};
  std::vector<Name> files;
  for (const std::string& name : names) files.push_back(file(name, 1 << 20));
  list(kRootNode, files);
  // A failure stands for a second only. A reader that does not get to run for so long waits again; not every
  // one does.
  const auto waits_once = [&](const std::string& name) {
    Child reader([&] {
      const UniqueFd fd(::open((*this / name).c_str(), O_RDONLY));
      char byte = 0;
      return ::read(fd.get(), &byte, 1) < 0 ? errno : 0;
    });
    EXPECT_TRUE(wait_until([&] { return syncer.waiting() > 0; }, seconds(10)));
    std::this_thread::sleep_for(milliseconds(100));
    syncer.fail_all(Errc::kTimedOut);
    const bool once = wait_until([&] { return reader.wait(0) >= 0 || syncer.waiting() > 0; }, seconds(20)) &&
                      syncer.waiting() == 0;
    while (reader.wait(0) < 0) syncer.fail_all(Errc::kTimedOut);
    EXPECT_EQ(reader.wait(), ETIMEDOUT);
    return once;
  };
  EXPECT_TRUE(std::any_of(names.begin(), names.end(), waits_once));
}

// 0, or the errno of opening it or reading from it.
int listing_error(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  if (open == nullptr) return errno;
  errno = 0;
  return ::readdir(open.get()) != nullptr ? 0 : errno;
}

TEST_F(MountBehaviourTest, SignalsEndWaitingReaders) {
  list(kRootNode, {file("f2", 1 << 20), file("f9", 1 << 20), directory("d")});
  syncer.unlist(node("d"));
  for (const int number : {SIGINT, SIGKILL}) {
    Child reader([&] {
      const UniqueFd fd(::open((*this / ("f" + std::to_string(number))).c_str(), O_RDONLY));
      char byte = 0;
      return ::read(fd.get(), &byte, 1) == 1 ? 0 : 1;
    });
    ASSERT_TRUE(wait_until([&] { return syncer.waiting() > 0; }, seconds(10)));
    reader.signal(number);
    EXPECT_EQ(reader.wait(), 128 + number);
    syncer.fail_all(Errc::kTimedOut);
    ASSERT_TRUE(wait_until([&] { return syncer.waiting() == 0; }, seconds(10)));
  }
  // A directory that waits for its listing is a request of its own, when it is opened or when it is read: the
  // interrupt reaches us.
  for (const bool settled : {false, true}) {
    syncer.settled = settled;
    for (const int number : {SIGINT, SIGKILL}) {
      const uint64_t cancels = syncer.cancels();
      Child lister([&] { return listing_error(*this / "d"); });
      ASSERT_TRUE(wait_until([&] { return syncer.waiting() == 1; }, seconds(10)));
      lister.signal(number);
      EXPECT_EQ(lister.wait(), 128 + number);
      EXPECT_TRUE(wait_until([&] { return syncer.waiting() == 0; }, seconds(10)));
      EXPECT_GT(syncer.cancels(), cancels);
    }
  }
}

// Without FUSE_PARALLEL_DIROPS the second one would wait for the first inside the kernel, where no signal
// reaches it.
TEST_F(MountBehaviourTest, LookupsWaitSideBySide) {
  list(kRootNode, {directory("d")});
  syncer.unlist(node("d"));
  const auto look = [this](const std::string& name) {
    return [this, name] {
      struct stat st {};
      return ::stat((*this / ("d/" + name)).c_str(), &st) == 0 ? 0 : errno;
    };
  };
  Child first(look("one"));
  ASSERT_TRUE(wait_until([&] { return syncer.waiting() == 1; }, seconds(10)));
  Child second(look("two"));
  EXPECT_TRUE(wait_until([&] { return syncer.waiting() == 2; }, seconds(10)));
  second.signal(SIGKILL);
  EXPECT_EQ(second.wait(), 128 + SIGKILL);
  syncer.fail_all(Errc::kTimedOut);
  EXPECT_EQ(first.wait(), ETIMEDOUT);
}

TEST_F(MountBehaviourTest, AHandledSignalGivesEintr) {
  list(kRootNode, {directory("d")});
  syncer.unlist(node("d"));
  for (const bool settled : {false, true}) {
    syncer.settled = settled;
    Child child([&] {
      struct sigaction action {};
      action.sa_handler = [](int) {};
      ::sigaction(SIGUSR1, &action, nullptr);
      return listing_error(*this / "d");
    });
    ASSERT_TRUE(wait_until([&] { return syncer.waiting() == 1; }, seconds(10)));
    child.signal(SIGUSR1);
    EXPECT_EQ(child.wait(), EINTR);
    EXPECT_TRUE(wait_until([&] { return syncer.waiting() == 0; }, seconds(10)));
  }
}

TEST_F(MountBehaviourTest, ManyWaitingReadsStopNobodyElse) {
  std::vector<Name> names;
  for (int i = 0; i < 60; ++i) names.push_back(file("away" + std::to_string(i), 1 << 20));
  names.push_back(file("here", 5));
  fill(list(kRootNode, names).at("here"), "local");
  std::vector<std::unique_ptr<Child>> readers;
  for (int i = 0; i < 60; ++i) {
    readers.push_back(std::make_unique<Child>([this, i] {
      const UniqueFd fd(::open((*this / ("away" + std::to_string(i))).c_str(), O_RDONLY));
      char byte = 0;
      return ::read(fd.get(), &byte, 1) < 0 ? errno : 0;
    }));
  }
  ASSERT_TRUE(wait_until([&] { return front->statistics().waiting >= 60; }, seconds(20)));
  Child other([&] { return read_file(*this / "here") == "local" ? 0 : 1; });
  EXPECT_EQ(other.wait(), 0);
  // One that does not get to run for a second asks again.
  for (auto& reader : readers) {
    while (reader->wait(0) < 0) syncer.fail_all(Errc::kUnreachable);
    EXPECT_EQ(reader->wait(), EHOSTUNREACH);
  }
}

TEST_F(MountBehaviourTest, ABusyMountIsNotTakenAwayButLazily) {
  fill(list(kRootNode, {file("f", 5)}).at("f"), "bytes");
  UniqueFd open(::open((*this / "f").c_str(), O_RDONLY));
  const Result<void> busy = front->unmount(false);
  ASSERT_FALSE(busy.ok());
  EXPECT_EQ(busy.error().os_errno(), EBUSY);
  ASSERT_TRUE(front->unmount(true).ok());
  EXPECT_FALSE(support::is_mounted(path()));
  EXPECT_FALSE(front->wait_ended(milliseconds(200)));
  std::array<char, 8> buffer{};
  EXPECT_EQ(::pread(open.get(), buffer.data(), buffer.size(), 0), 5);
  open.reset();
  EXPECT_TRUE(front->wait_ended(seconds(10)));
}

TEST_F(MountBehaviourTest, UnmountedByOthers) {
  ASSERT_TRUE(support::detach_mount(path()));
  EXPECT_TRUE(front->wait_ended(seconds(10)));
  EXPECT_EQ(ended_calls.load(), 1);
  EXPECT_TRUE(front->unmount(false).ok());
}

TEST_F(MountBehaviourTest, StopsWhileRequestsWait) {
  list(kRootNode, {file("f", 1 << 20), directory("d")});
  syncer.unlist(node("d"));
  Child reader([&] {
    const UniqueFd fd(::open((*this / "f").c_str(), O_RDONLY));
    char byte = 0;
    return ::read(fd.get(), &byte, 1) < 0 ? errno : 0;
  });
  Child lister([&] { return listing_error(*this / "d"); });
  ASSERT_TRUE(wait_until([&] { return syncer.waiting() >= 2; }, seconds(10)));
  const double start = support::monotonic_seconds();
  front->stop();
  EXPECT_EQ(ended_calls.load(), 1);
  EXPECT_EQ(front->statistics().waiting, 0U);
  front.reset();
  EXPECT_LT(support::monotonic_seconds() - start, 20.0);
  EXPECT_FALSE(support::is_mounted(path()));
  EXPECT_GT(reader.wait(), 0);
  EXPECT_GT(lister.wait(), 0);
}

// A second mount lies where the first one was when that one ends.
TEST_F(MountBehaviourTest, EndingDoesNotTakeAwayAnothersMount) {
  fill(list(kRootNode, {file("f", 5)}).at("f"), "bytes");
  const UniqueFd open(::open((*this / "f").c_str(), O_RDONLY));
  ASSERT_TRUE(front->unmount(true).ok());
  TreeRig other;
  FrontOptions same = options;
  auto second = Front::mount(same, *other.tree, other.notifier, {});
  ASSERT_TRUE(second.ok()) << second.error().message();
  front->stop();
  front.reset();
  EXPECT_TRUE(support::is_mounted(path()));
  EXPECT_TRUE((*second)->unmount(false).ok());
}

TEST(MountProfileTest, OpensReachUsWhenAsked) {
  FrontOptions options;
  options.profile = OpenProfile::kKeepCache;
  options.workers = 1;
  MountRig rig(options);
  rig.fill(rig.list(kRootNode, {file("f", 5)}).at("f"), "bytes");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(read_file(rig / "f"), "bytes");
  EXPECT_EQ(rig.requests(FrontOp::kOpen), 3U);
  EXPECT_EQ(rig.requests(FrontOp::kRead), 1U);
  EXPECT_THAT(rig.front->description(), HasSubstr("keep_cache, 1 workers"));
}

TEST(MountErrorsTest, NameTheCauseAndMountNothing) {
  TreeRig rig;
  FrontOptions options;
  options.fsname = "test";
  options.mountpoint = rig.dir / "none";
  EXPECT_EQ(Front::mount(options, *rig.tree, rig.notifier, {}).error().message(),
            "mountpoint " + options.mountpoint + ": No such file or directory");
  options.mountpoint = rig.dir.make_dir("mnt");
  options.mount_options = {"nosuchoption"};
  EXPECT_THAT(Front::mount(options, *rig.tree, rig.notifier, {}).error().message(),
              HasSubstr("nosuchoption"));
  EXPECT_FALSE(support::is_mounted(options.mountpoint));
}

}  // namespace
}  // namespace rsyncfs::testing
