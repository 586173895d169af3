// SPDX-License-Identifier: GPL-3.0-or-later
// Name servers that do not answer: a look-up takes half a minute then, and nothing else may wait for it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include "tests/mount/mount_rig.h"
#include "tests/support/mount_table.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr const char* kHost = "rsyncfs-source.test";
constexpr uint16_t kNamePort = 53;

// Bound, so that questions arrive and are not refused; they stay unanswered.
class SilentNameServer {
 public:
  SilentNameServer() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(kNamePort);
    ::inet_pton(AF_INET, address_.c_str(), &name.sin_addr);
    bound_ = ::bind(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
  }
  ~SilentNameServer() { ::close(fd_); }
  SilentNameServer(const SilentNameServer&) = delete;
  SilentNameServer& operator=(const SilentNameServer&) = delete;
  const std::string& address() const { return address_; }
  bool bound() const { return bound_; }
  bool is_asked(milliseconds limit) const {
    pollfd ready{fd_, POLLIN, 0};
    return ::poll(&ready, 1, static_cast<int>(limit.count())) == 1;
  }

 private:
  // Another one for every process: tests run side by side.
  const std::string address_ =
      "127.71." + std::to_string(::getpid() / 256 % 256) + "." + std::to_string(::getpid() % 256);
  int fd_;
  bool bound_ = false;
};

// While it lives, this thread and every process that it starts see other files under some names.
class ReplacedFiles {
 public:
  ~ReplacedFiles() {
    for (const std::string& name : names_) ::umount2(name.c_str(), MNT_DETACH);
  }
  bool begin() {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return false;
    // Our copies of other tests' mounts would keep them from ending.
    for (const support::MountEntry& mount : support::mount_table()) {
      if (mount.type.starts_with("fuse")) ::umount2(mount.point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    return true;
  }
  bool replace(const std::string& name, const std::string& file) {
    if (::mount(file.c_str(), name.c_str(), nullptr, MS_BIND, nullptr) != 0) return false;
    names_.push_back(name);
    return true;
  }

 private:
  std::vector<std::string> names_;
};

class SilentNames : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for a mount namespace";
    if (!names.bound()) GTEST_SKIP() << "cannot be a name server here";
    support::write_file(files / "hosts", std::string("127.0.0.1 ") + kHost + "\n");
    support::write_file(files / "resolv.conf",
                        "nameserver " + names.address() + "\noptions timeout:15 attempts:4\n");
    support::write_file(files / "nsswitch.conf", "hosts: files dns\npasswd: files\ngroup: files\n");
    if (!replaced.begin() || !replaced.replace("/etc/hosts", files / "hosts") ||
        !replaced.replace("/etc/resolv.conf", files / "resolv.conf") ||
        !replaced.replace("/etc/nsswitch.conf", files / "nsswitch.conf"))
      GTEST_SKIP() << "no mount namespaces here";
    support::make_many_files(tree.path(), 4, 10, 5000);
    support::make_sparse_file(tree / "large", 64 << 20, "mark", 1000);
  }
  MountOptions mount_options() const {
    MountOptions out = tree.mount_options({"timeout=4", "contimeout=2"});
    out.source = "rsync://" + std::string(kHost) + ":" + std::to_string(port) + "/m";
    return out;
  }

  SilentNameServer names;
  TempDir files;
  ReplacedFiles replaced;
  ServedTree tree;
  uint16_t port = tree.server().port();
};

TEST_F(SilentNames, HoldUpNothingThatIsStored) {
  Mount mount(mount_options());
  ASSERT_TRUE(wait_for_tree(mount));
  ASSERT_TRUE(read_head(mount / "large", 100'000).ok);
  ASSERT_TRUE(read_whole(mount / "d000/f0000").ok);
  // From now on nobody knows the host.
  support::write_file(files / "hosts", "");
  tree.server().kill9();
  std::vector<std::unique_ptr<support::ChildProcess>> readers;
  for (const char* wanted : {"d000/f0001", "d001/f0001", "d002/f0001", "d003/f0001"}) {
    readers.push_back(std::make_unique<support::ChildProcess>(std::vector<std::string>{
        "sh", "-c", "while :; do cat \"$0\" >/dev/null 2>&1; done", mount / wanted}));
  }
  ASSERT_TRUE(names.is_asked(seconds(60))) << mount.log();
  // Long enough for several attempts, each with a limit of 2 s.
  ::sleep(8);
  constexpr seconds kPrompt{10};  // of a machine that is busy; a look-up takes a minute
  const Reading stored = read_whole(mount / "d000/f0000", kPrompt);
  EXPECT_TRUE(stored.ok) << stored.error;
  const Reading part = read_head(mount / "large", 50'000, kPrompt);
  EXPECT_TRUE(part.ok) << part.error;
  EXPECT_EQ(mount.command({"status", mount.path()}, kPrompt).exit_code, 0);
  const Reading missing = read_whole(mount / "d001/f0002", seconds(20));
  EXPECT_THAT(missing, GaveUpWaiting());
  for (const auto& reader : readers) reader->kill9();
  const pid_t daemon = mount.daemon_pid();
  EXPECT_EQ(mount.command({"umount", mount.path()}, seconds(20)).exit_code, 0) << mount.log();
  EXPECT_TRUE(wait_until([&] { return !support::alive(daemon); }, kPrompt)) << "the daemon waits for names";
}

TEST_F(SilentNames, AreNotAskedForAddresses) {
  Mount mount(tree.mount_options({"timeout=4", "contimeout=2"}));
  ASSERT_TRUE(wait_for_tree(mount));
  EXPECT_FALSE(names.is_asked(milliseconds(0)));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
