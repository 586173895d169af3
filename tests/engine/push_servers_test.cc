// SPDX-License-Identifier: GPL-3.0-or-later
// Pushes to servers of every kind, and to those that limit what may be done there.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "sync/engine/sent_versions.h"
#include "tests/engine/push_rig.h"
#include "tests/engine/push_steps.h"
#include "tests/support/old_rsync.h"
#include "tests/support/small_disk.h"
#include "tests/support/ssh_server.h"
#include "tests/support/unreliable_link.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using support::DaemonParameters;
using support::write_file;

constexpr seconds kLimit{60};

class PushServersTest : public PushTest {
 protected:
  support::DaemonOptions limited(DaemonParameters parameters) const {
    auto options = writable(tree_.path());
    options.modules[0].parameters = std::move(parameters);
    return options;
  }
  void start_limited(DaemonParameters parameters) { start(limited(std::move(parameters))); }
  void change_parameters(DaemonParameters parameters) {
    server_->reconfigure(limited(std::move(parameters)));
  }
  // A remote shell that does this with the words of the command.
  std::string shell(const std::string& last_line) {
    write_file(store_ / "shell",
               "#!/bin/sh\nif [ \"$1\" = -l ]; then shift 2; fi\nshift\n" + last_line + "\n", 0755);
    return store_ / "shell";
  }
  void open_source(const std::string& source) {
    rig_ = std::make_unique<EngineRig>(source, store_ / "s", options_);
    const auto started = rig_->start();
    ASSERT_TRUE(started.ok()) << started.error().message();
    ASSERT_TRUE(rig_->wait_for_tree());
  }
  // Fails, and says why of something that stays.
  void expect_left(const std::string& why) {
    const auto done = rig_->flush();
    ASSERT_FALSE(done.ok());
    EXPECT_NE(done.error().message().find(why), std::string::npos) << done.error().message();
    const auto failing = rig_->status().push.failing;
    EXPECT_TRUE(std::any_of(failing.begin(), failing.end(), [&](const std::string& line) {
      return line.find(why) != std::string::npos;
    })) << testing::PrintToString(failing);
  }
  bool arrives(const std::string& path, const std::string& contents) {
    return support::wait_until([&] { return exists(path) && remote(path) == contents; }, kLimit);
  }
  bool goes(const std::string& path) {
    return support::wait_until([&] { return !exists(path); }, kLimit);
  }

  std::unique_ptr<support::SshServer> ssh_;
};

// ---- every kind of push to every kind of server ----
struct ServerCase {
  std::string name;
  int protocol = 32;
  DaemonParameters parameters = {};
  enum class Shell : uint8_t { kNone, kSsh, kRestricted, kOld } shell = Shell::kNone;
};
void PrintTo(const ServerCase& server, std::ostream* out) {
  *out << server.name;
}

class PushEverywhereTest : public PushServersTest, public testing::WithParamInterface<ServerCase> {
 protected:
  void open_server() {
    const ServerCase& server = GetParam();
    options_.max_protocol = server.protocol;
    const std::string path = tree_.path();
    switch (server.shell) {
      case ServerCase::Shell::kNone: {
        auto parameters = server.parameters;
        if (!parameters.empty()) parameters.emplace_back("lock file", store_ / "lock");
        start_limited(std::move(parameters));
        break;
      }
      case ServerCase::Shell::kSsh:
        ssh_ = std::make_unique<support::SshServer>();
        options_.remote_shell = ssh_->rsh();
        open_source(ssh_->source(path));
        break;
      case ServerCase::Shell::kRestricted:
        options_.remote_shell = shell("SSH_ORIGINAL_COMMAND=\"$*\" exec rrsync -no-lock '" + path + "'");
        open_source("host:");
        break;
      case ServerCase::Shell::kOld:
        options_.remote_shell = shell("shift\neval exec '" + support::require_old_rsync() + "' \"$@\"");
        open_source("host:" + path);
        break;
    }
  }
  void check(const PushStepCase& step, const std::string& directory) {
    SCOPED_TRACE(step.name);
    EXPECT_EQ(tree_difference(step.after, read_tree(served(directory))), "") << "at the source";
    EXPECT_EQ(tree_difference(step.after, read_local_tree(*rig_, directory)), "") << "here";
    for (const auto& [path, item] : step.after) {
      const auto node = rig_->find(directory + "/" + path);
      ASSERT_TRUE(node.ok()) << path;
      struct stat st {};
      ASSERT_EQ(lstat(served(directory + "/" + path).c_str(), &st), 0);
      EXPECT_EQ(st.st_mode, node->attr.mode) << path;
      if (item.type != 'd') {
        EXPECT_EQ(st.st_mtim.tv_sec, node->attr.mtime_s) << path;
      }
    }
  }
};

INSTANTIATE_TEST_SUITE_P(
    Servers, PushEverywhereTest,
    testing::Values(ServerCase{"protocol30", 30}, ServerCase{"protocol31", 31}, ServerCase{"protocol32", 32},
                    ServerCase{"one_connection", 32, {{"max connections", "1"}}},
                    ServerCase{"two_connections", 32, {{"max connections", "2"}}},
                    ServerCase{"no_fsync", 32, {{"refuse options", "fsync"}}},
                    ServerCase{"no_append", 32, {{"refuse options", "append"}}},
                    ServerCase{"no_acknowledgements", 32, {{"refuse options", "remove-source-files"}}},
                    ServerCase{"munged_links", 32, {{"munge symlinks", "no"}, {"numeric ids", "yes"}}},
                    ServerCase{"ssh", 32, {}, ServerCase::Shell::kSsh},
                    ServerCase{"rrsync", 32, {}, ServerCase::Shell::kRestricted},
                    ServerCase{"old_rsync", 31, {}, ServerCase::Shell::kOld}),
    [](const auto& server) { return server.param.name; });

TEST_P(PushEverywhereTest, EveryKindOfPushArrives) {
  options_.writeback_delay = seconds(1000);
  const auto& steps = push_step_cases();
  for (const PushStepCase& step : steps) {
    fs::create_directory(served(step.name));
    write_tree(step.before, served(step.name));
  }
  ASSERT_NO_FATAL_FAILURE(open_server());
  for (const PushStepCase& step : steps) step.change(*rig_, step.name);
  // rrsync makes no FIFOs.
  const bool restricted = GetParam().shell == ServerCase::Shell::kRestricted;
  if (restricted) {
    ASSERT_TRUE(rig_->remove("create/in/pipe").ok());
  }
  flush();
  for (PushStepCase step : steps) {
    if (restricted) step.after.erase("in/pipe");
    check(step, step.name);
  }
  EXPECT_TRUE(rig_->replica().pending().conflicts(10)->empty());
  EXPECT_TRUE(rig_->status().push.failing.empty());
}

// ---- what is refused ----
TEST_F(PushServersTest, WhereNothingMayBeDeleted) {
  for (const char* refused : {"delete", "delete-*"}) {
    SCOPED_TRACE(refused);
    rig_.reset();
    support::remove_tree(store_ / "s");
    for (const auto& entry : fs::directory_iterator(tree_.path())) fs::remove_all(entry.path());
    fs::create_directories(served("d/sub"));
    for (const char* name : {"d/f", "gone", "old", "edited"}) write_file(served(name), name);
    start_limited({{"refuse options", refused}});
    ASSERT_TRUE(rig_->find("gone").ok());
    ASSERT_TRUE(rig_->remove("gone").ok());
    ASSERT_TRUE(rig_->rename("old", "new name").ok());
    ASSERT_TRUE(rig_->rename("d", "e").ok());
    ASSERT_TRUE(rig_->write("edited", "by us").ok());
    ASSERT_TRUE(rig_->write("added", "by us").ok());
    expect_left("delete");
    EXPECT_EQ(remote("edited"), "by us");
    EXPECT_EQ(remote("added"), "by us");
    EXPECT_EQ(remote("new name"), "old");
    EXPECT_EQ(listing(), (Names{"added", "d", "d/f", "d/sub", "edited", "gone", "new name", "old"}));
    EXPECT_FALSE(rig_->find("gone").ok()) << "it is gone here";
    change_parameters({});
    EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
    EXPECT_EQ(listing(), (Names{"added", "e", "e/f", "e/sub", "edited", "new name"}));
  }
}

TEST_F(PushServersTest, WhereNothingIsMoved) {
  for (const char* directory : {"a", "b", "d"}) fs::create_directory(served(directory));
  for (const char* name : {"a/x", "d/f", "p", "q", "linked"}) write_file(served(name), name);
  fs::create_hard_link(served("linked"), served("b/linked"));
  start_limited({{"refuse options", "backup*"}});
  ASSERT_TRUE(rig_->find("q").ok());
  ASSERT_TRUE(rig_->rename("a/x", "b/x").ok());
  ASSERT_TRUE(rig_->rename("p", "q").ok());
  ASSERT_TRUE(rig_->rename("d", "e").ok());
  ASSERT_TRUE(rig_->write("linked", "by us").ok());
  expect_left("backup");
  EXPECT_EQ(listing(), (Names{"a", "b", "b/linked", "b/x", "d", "d/f", "linked", "q"}));
  EXPECT_EQ(remote("b/x"), "a/x");
  EXPECT_EQ(remote("q"), "p");
  EXPECT_EQ(remote("b/linked"), "by us");
  // What is in the directory is changed where it is.
  ASSERT_TRUE(rig_->write("e/f", "by us").ok());
  expect_left("backup");
  EXPECT_EQ(remote("d/f"), "by us");
  change_parameters({});
  EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
  EXPECT_EQ(remote("e/f"), "by us");
}

// Level by level, and what others have put there stays as ever.
TEST_F(PushServersTest, WhereATreeDoesNotGoAtOnce) {
  for (const char* refused : {"prune-empty-dirs", "force"}) {
    SCOPED_TRACE(refused);
    rig_.reset();
    support::remove_tree(store_ / "s");
    support::remove_tree(served("u"));
    for (const char* directory : {"t/a/b", "u/a"}) fs::create_directories(served(directory));
    for (const char* name : {"t/f", "t/a/f", "t/a/b/f", "u/a/f", "u/g"}) write_file(served(name), name);
    start_limited({{"refuse options", refused}});
    for (const char* name : {"t/a/b/f", "u/a/f"}) ASSERT_TRUE(rig_->find(name).ok());
    write_file(served("u/a/theirs"), "theirs");
    for (const char* name : {"t/f", "t/a/f", "t/a/b/f", "t/a/b", "t/a", "t", "u/a/f", "u/a", "u/g", "u"})
      ASSERT_TRUE(rig_->remove(name).ok()) << name;
    EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
    EXPECT_EQ(listing(), (Names{"u", "u/a", "u/a/theirs"}));
  }
}

TEST_F(PushServersTest, WhereNothingIsLinked) {
  for (const char* directory : {"a", "b"}) fs::create_directory(served(directory));
  for (const char* name : {"a/x", "p", "q"}) write_file(served(name), name);
  start_limited({{"refuse options", "hard-links"}});
  ASSERT_TRUE(rig_->rename("p", "p2").ok());
  ASSERT_TRUE(rig_->rename("a/x", "b/x").ok());
  ASSERT_TRUE(rig_->write("q", "by us").ok());
  expect_left("hard-links");
  EXPECT_EQ(listing(), (Names{"a", "b", "b/x", "p", "q"}));
  EXPECT_EQ(remote("q"), "by us");
  change_parameters({});
  EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
  EXPECT_EQ(remote("p2"), "p");
  EXPECT_FALSE(exists("p"));
}

// It takes no spare directory by such a name, so nothing is put aside there.
TEST_F(PushServersTest, AModuleThatHidesDotNames) {
  write_file(tree_ / "f", "old");
  start_limited({{"exclude", ".*"}});
  ASSERT_TRUE(rig_->write("f", "new, and longer").ok());
  flush();
  EXPECT_EQ(remote("f"), "new, and longer");
}

TEST_F(PushServersTest, NamesThatTheModuleHides) {
  fs::create_directory(served("d"));
  write_file(served("d/hidden.secret"), "theirs");
  write_file(served("f"), "f");
  start_limited({{"exclude", "*.secret"}});
  ASSERT_TRUE(rig_->make_directory("new.secret").ok());
  ASSERT_TRUE(rig_->write("new.secret/f", "x").ok());
  ASSERT_TRUE(rig_->write("d/hidden.secret", "ours").ok());
  ASSERT_TRUE(rig_->write("d/seen", "ours").ok());
  ASSERT_TRUE(rig_->rename("f", "f.secret").ok());
  expect_left("secret");
  EXPECT_EQ(remote("d/hidden.secret"), "theirs");
  EXPECT_EQ(remote("d/seen"), "ours");
  EXPECT_EQ(listing(), (Names{"d", "d/hidden.secret", "d/seen", "f"}));
  // A directory with something hidden in it cannot go.
  ASSERT_TRUE(rig_->remove("d/hidden.secret").ok());
  ASSERT_TRUE(rig_->remove("d/seen").ok());
  ASSERT_TRUE(rig_->remove("d").ok());
  expect_left("secret");
  EXPECT_FALSE(exists("d/seen"));
  EXPECT_EQ(remote("d/hidden.secret"), "theirs");
}

TEST_F(PushServersTest, AReadOnlyModuleKeepsTheQueue) {
  write_file(served("f"), "old");
  start_limited({{"read only", "yes"}});
  ASSERT_TRUE(rig_->write("f", "new").ok());
  ASSERT_TRUE(rig_->make_directory("d").ok());
  const auto done = rig_->flush();
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Errc::kRefused);
  EXPECT_NE(rig_->read_only_reason().find("read only"), std::string::npos);
  EXPECT_EQ(rig_->status().push.pending_names, 1U);
  EXPECT_EQ(remote("f"), "old");
  change_parameters({});
  // A connection from before may still be refused.
  const auto is_sent = [&] {
    rig_->resume();
    return rig_->flush().ok();
  };
  EXPECT_TRUE(support::wait_until(is_sent, kLimit));
  EXPECT_EQ(remote("f"), "new");
  EXPECT_TRUE(exists("d"));
}

// ---- what is denied, and what does not fit ----
class PushNobodyTest : public PushServersTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, so that the server's \"nobody\" meets others' files";
    chmod(tree_.path().c_str(), 0777);
    options_.writeback_delay = std::chrono::milliseconds(50);
  }
  void start_nobody() { start_limited({{"uid", "nobody"}, {"gid", "nogroup"}}); }
  uid_t owner(const std::string& path) const {
    struct stat st {};
    lstat(served(path).c_str(), &st);
    return st.st_uid;
  }
};

// Owners are what the server can make: the next list shows them.
TEST_F(PushNobodyTest, OwnersAreWhatTheServerMakes) {
  write_file(served("f"), "old");
  fs::permissions(served("f"), fs::perms(0666));
  start_nobody();
  ASSERT_TRUE(rig_->write("f", "new").ok());
  ASSERT_TRUE(rig_->write("g", "new").ok());
  ASSERT_TRUE(rig_->make_directory("d").ok());
  flush();
  EXPECT_EQ(remote("f"), "new");
  EXPECT_NE(owner("f"), 0U);
  EXPECT_NE(owner("g"), 0U);
  auto& local = rig_->replica().local();
  ASSERT_TRUE(local.change_attributes(rig_->find("g")->id, {.uid = 12345}).ok());
  flush();
  EXPECT_EQ(owner("g"), owner("f"));
  ASSERT_TRUE(rig_->list(kRootNode).ok());
  EXPECT_EQ(rig_->find("g")->attr.uid, owner("g"));
  EXPECT_TRUE(rig_->replica().pending().conflicts(10)->empty());
  EXPECT_EQ(rig_->status().push.pending_nodes, 0U);
}

TEST_F(PushNobodyTest, WhatIsDeniedWaitsAndArrivesWhenItIsAllowed) {
  fs::create_directory(served("locked"));
  write_file(served("locked/stays"), "x");
  write_file(served("roots"), "x");
  start_nobody();
  const auto denied = rig_->write("locked/f", "new");
  ASSERT_TRUE(denied.ok());
  ASSERT_TRUE(rig_->find("locked/stays").ok());
  ASSERT_TRUE(rig_->remove("locked/stays").ok());
  ASSERT_TRUE(rig_->replica().local().change_attributes(rig_->find("roots")->id, {.permissions = 0600}).ok());
  ASSERT_TRUE(rig_->write("free", "new").ok());
  expect_left("ermission denied");
  EXPECT_EQ(remote("free"), "new");
  const auto sent = rig_->replica().meta(kSentMeta);
  ASSERT_TRUE(sent.ok());
  EXPECT_TRUE(SentVersions::parse(sent->value_or("")).has(denied->id)) << "after others were acknowledged";
  EXPECT_EQ(rig_->status().push.failing.size(), 3U) << testing::PrintToString(rig_->status().push.failing);
  EXPECT_EQ(listing(), (Names{"free", "locked", "locked/stays", "roots"}));
  chmod(served("locked").c_str(), 0777);
  EXPECT_TRUE(arrives("locked/f", "new")) << "by itself";
  EXPECT_TRUE(goes("locked/stays"));
  ASSERT_EQ(chown(served("roots").c_str(), owner("free"), 0), 0);
  EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
  EXPECT_EQ(fs::status(served("roots")).permissions(), fs::perms(0600));
}

TEST_F(PushNobodyTest, WhatDoesNotFitWaitsForSpace) {
  const support::SmallDisk disk(tree_.path(), "512k", 100);
  ASSERT_TRUE(disk.mounted());
  chmod(tree_.path().c_str(), 0777);
  write_file(served("theirs"), support::random_bytes(200'000, 1));
  write_file(served("edited"), "old");
  start_nobody();
  const std::string large = support::random_bytes(400'000, 2);
  ASSERT_TRUE(rig_->write("large", large).ok());
  ASSERT_TRUE(rig_->write("small", "small").ok());
  ASSERT_TRUE(rig_->write("edited", "new").ok());
  expect_left("No space left");
  EXPECT_EQ(remote("small"), "small");
  EXPECT_EQ(remote("edited"), "new");
  EXPECT_EQ(listing(), (Names{"edited", "small", "theirs"}));
  fs::remove(served("theirs"));
  EXPECT_TRUE(arrives("large", large)) << "by itself";
}

// ---- what is put aside while contents replace something, at a server that is far away ----
class PushAsideTest : public PushNobodyTest {
 protected:
  void start_far_away() {
    options_.writeback_delay = seconds(1000);
    fs::create_directory(served("d"));
    write_file(served("d/f"), "old");
    chmod(served("d").c_str(), 0777);
    chmod(served("d/f").c_str(), 0666);
    server_ = std::make_unique<support::RsyncDaemon>(limited({{"uid", "nobody"}, {"gid", "nogroup"}}));
    link_ = std::make_unique<support::UnreliableLink>(server_->port());
    open_source("rsync://127.0.0.1:" + std::to_string(link_->port()) + "/m");
    ASSERT_TRUE(rig_->read_all("d/f").ok());
  }
  bool something_aside() const {
    const fs::directory_iterator all(served("d"));
    return std::any_of(begin(all), end(all),
                       [](const auto& entry) { return entry.path().filename().string().starts_with("."); });
  }
  // Pushes the file, and calls `then` when the server has put aside what was there, and has the new contents.
  void push_far_away(const std::function<void()>& then) {
    link_->delay(std::chrono::milliseconds(150));
    std::thread pushing([this] { static_cast<void>(rig_->flush()); });
    EXPECT_TRUE(support::wait_until([&] { return remote("d/f") == "new" && something_aside(); }, kLimit));
    then();
    link_->heal();
    pushing.join();
  }

  std::unique_ptr<support::UnreliableLink> link_;
};

TEST_F(PushAsideTest, WhatFailedOftenBeforeItBrokeOffIsFinishedAllTheSame) {
  start_far_away();
  ASSERT_TRUE(rig_->write("d/f", "new").ok());
  chmod(served("d").c_str(), 0555);
  for (int i = 0; i < 8; ++i) expect_left("ermission denied");
  chmod(served("d").c_str(), 0777);
  push_far_away([this] { link_->reset(); });
  EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
  EXPECT_EQ(listing(), (Names{"d", "d/f"}));
  EXPECT_EQ(remote("d/f"), "new");
}

TEST_F(PushAsideTest, WhatTheServerCannotRemoveIsRemovedLater) {
  start_far_away();
  ASSERT_TRUE(rig_->write("d/f", "new").ok());
  push_far_away([this] {
    chmod(served("d").c_str(), 0555);
    std::this_thread::sleep_for(seconds(4));  // by then it has been told to
    chmod(served("d").c_str(), 0777);
  });
  EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
  EXPECT_EQ(listing(), (Names{"d", "d/f"}));
  EXPECT_EQ(remote("d/f"), "new");
}

// ---- fsync=remote, which is a flush of one node ----
using PushFsyncTest = PushNobodyTest;

// The server, traced, has written the file to its disk before it is said to have it.
TEST_F(PushFsyncTest, ItWaitsForTheSourcesDisk) {
  options_.writeback_delay = seconds(1000);
  const std::string trace = store_ / "trace";
  options_.remote_shell =
      shell("eval exec strace -f -qq -o '" + trace + ".$$' -e trace=fsync,rename,renameat,renameat2 \"$@\"");
  open_source("host:" + tree_.path());
  const auto file = rig_->write("f", "new");
  ASSERT_TRUE(rig_->write("other", "new").ok());
  ASSERT_TRUE(rig_->flush(file->id).ok());
  EXPECT_EQ(remote("f"), "new");
  std::string traced;
  for (const auto& entry : fs::directory_iterator(store_.path())) {
    if (entry.path().filename().string().starts_with("trace."))
      traced += support::read_file(entry.path().string());
  }
  const size_t synced = traced.find("fsync(");
  const size_t renamed = traced.find("\"f\"");
  ASSERT_NE(synced, std::string::npos) << traced;
  ASSERT_NE(renamed, std::string::npos) << traced;
  EXPECT_LT(synced, renamed);
}

TEST_F(PushFsyncTest, ItFailsWithTheSourcesError) {
  fs::create_directory(served("locked"));
  start_nobody();
  const auto file = rig_->write("locked/f", "new");
  ASSERT_TRUE(file.ok());
  std::atomic<bool> over{false};
  // Somebody else who never comes to an end.
  std::thread writer([&] {
    for (int i = 0; !over; ++i) {
      EXPECT_TRUE(rig_->write("busy" + std::to_string(i % 10), std::to_string(i)).ok());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  const auto done = rig_->flush(file->id);
  over = true;
  writer.join();
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Errc::kPermission) << done.error().message();
  EXPECT_EQ(done.error().os_errno(), EACCES);
  chmod(served("locked").c_str(), 0777);
  EXPECT_TRUE(rig_->flush(file->id).ok());
  EXPECT_EQ(remote("locked/f"), "new");
}

TEST_F(PushFsyncTest, ItDoesNotWaitForASourceThatIsAway) {
  options_.timeout = seconds(2);
  start();
  server_->stop();  // before it can be pushed
  const auto file = rig_->write("f", "new");
  const auto done = rig_->flush(file->id);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Errc::kUnreachable) << done.error().message();
  server_->start();
  EXPECT_TRUE(arrives("f", "new"));
}

// ---- symbolic links ----
TEST_F(PushServersTest, MungedLinksComeBackAsTheyWere) {
  start_limited({{"munge symlinks", "yes"}});
  NewNode link;
  link.mode = S_IFLNK | 0777;
  link.link_target = "/etc/../x";
  ASSERT_TRUE(rig_->replica().local().create(kRootNode, "l", link).ok());
  flush();
  EXPECT_NE(fs::read_symlink(served("l")).string(), link.link_target) << "it is of no use there";
  ASSERT_TRUE(rig_->list(kRootNode).ok());
  EXPECT_EQ(*rig_->replica().link_target(rig_->find("l")->id), link.link_target);
  EXPECT_EQ(rig_->status().push.pending_names, 0U);
  EXPECT_TRUE(rig_->replica().pending().conflicts(10)->empty());
}

// ---- too old ----
TEST_F(PushServersTest, AServerThatIsTooOldIsRefusedClearly) {
  options_.remote_shell = shell("shift 2\neval exec rsync --server --protocol=29 \"$@\"");
  EngineRig rig("host:" + tree_.path(), store_ / "s", options_);
  const auto started = rig.start();
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().message().find("29"), std::string::npos) << started.error().message();
}

}  // namespace
}  // namespace rsyncfs
