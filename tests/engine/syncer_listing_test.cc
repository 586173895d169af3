// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

class ListingTest : public ::testing::Test {
 protected:
  std::string served(const std::string& name) const { return tree_ / name; }
  TempDir tree_;
  TempDir store_;
};

TEST_F(ListingTest, RootIsThereAtOnceAndTheTreeFollows) {
  support::make_many_files(tree_.path(), 5, 10, 100);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto root = rig.replica().node(kRootNode);
  ASSERT_TRUE(root.ok());
  EXPECT_NE(root->listed_at_s, 0);
  EXPECT_TRUE(rig.syncer().may_answer_listing(*root));
  ASSERT_TRUE(rig.wait_for_tree());
  size_t names = 0;
  ASSERT_TRUE(rig.replica().list(kRootNode, [&](std::string_view, const Node&) { ++names; }).ok());
  EXPECT_EQ(names, 5U);
  EXPECT_EQ(rig.status().tree_entries, 56U);
}

TEST_F(ListingTest, OddNamesInTheSourcePathAndBelow) {
  const std::string odd = "a [x]* ?\\d 'q' \xff\xfe$HOME";
  support::make_dirs(served(odd + "/in*ner"));
  support::make_dirs(served("axx"));
  write_file(served(odd + "/in*ner/f\nx"), "odd");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url("m", odd), store_ / "s");
  const auto started = rig.start();
  ASSERT_TRUE(started.ok()) << started.error().message();
  const auto bytes = rig.read_all("in*ner/f\nx");
  ASSERT_TRUE(bytes.ok()) << bytes.error().message();
  EXPECT_EQ(*bytes, "odd");
}

TEST_F(ListingTest, HardLinksAcrossDirectoriesBecomeOneNodeWithTrueCount) {
  support::make_dirs(served("a"));
  support::make_dirs(served("b"));
  write_file(served("a/one"), "x");
  ASSERT_EQ(::link(served("a/one").c_str(), served("b/two").c_str()), 0);
  ASSERT_EQ(::link(served("a/one").c_str(), served("three").c_str()), 0);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto one = rig.find("a/one");
  const auto two = rig.find("b/two");
  const auto three = rig.find("three");
  ASSERT_TRUE(one.ok() && two.ok() && three.ok());
  EXPECT_EQ(one->id, two->id);
  EXPECT_EQ(one->id, three->id);
  EXPECT_EQ(one->attr.nlink, 3U);
}

TEST_F(ListingTest, LongAttributesAreFetchedWhenAskedFor) {
  write_file(served("f"), "x");
  const std::string value(1000, 'v');
  if (::setxattr(served("f").c_str(), "user.long", value.data(), value.size(), 0) != 0)
    GTEST_SKIP() << "no xattrs here";
  ASSERT_EQ(::setxattr(served("f").c_str(), "user.short", "s", 1, 0), 0);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("f");
  ASSERT_TRUE(node.ok());
  const auto xattrs = rig.replica().xattrs(node->id);
  ASSERT_TRUE(xattrs.ok());
  ASSERT_EQ(xattrs->size(), 2U);
  EXPECT_EQ((*xattrs)[0].name, "user.long");
  EXPECT_TRUE((*xattrs)[0].abbreviated);
  EXPECT_EQ((*xattrs)[1].value, "s");
  for (int round = 0; round < 3; ++round) {  // a server gives a value once per session
    const auto fetched = rig.fetch_xattrs(node->id);
    ASSERT_TRUE(fetched.ok()) << fetched.error().message();
  }
  const auto stored = rig.replica().xattr_value((*xattrs)[0].value, (*xattrs)[0].size);
  ASSERT_TRUE(stored.ok() && stored->has_value());
  EXPECT_EQ(**stored, value);
}

TEST_F(ListingTest, UnreadableDirectoryIsRefusedAndItsSiblingsAreNot) {
  support::make_dirs(served("open"));
  support::make_dirs(served("closed"));
  write_file(served("open/f"), "x");
  write_file(served("closed/f"), "x");
  ASSERT_EQ(::chmod(served("closed").c_str(), 0700), 0);
  ASSERT_EQ(::chmod(tree_.path().c_str(), 0755), 0);
  auto options = RsyncDaemon::serving(tree_.path());
  if (::getuid() == 0) options.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}};
  ASSERT_EQ(::chmod(served("closed").c_str(), ::getuid() == 0 ? 0700 : 0), 0);
  RsyncDaemon server(std::move(options));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  EXPECT_TRUE(rig.find("open/f").ok());
  const auto closed = rig.find("closed");
  ASSERT_TRUE(closed.ok());
  const auto listed = rig.list(closed->id);
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), Errc::kPermission) << listed.error().message();
  ::chmod(served("closed").c_str(), 0700);
}

TEST_F(ListingTest, ChangesAreToldWithWhatBecameOfTheNames) {
  write_file(served("stays"), "x");
  write_file(served("goes"), "x");
  write_file(served("changes"), "old");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());  // which would bring the changes too
  ASSERT_EQ(*rig.read_all("changes"), "old");
  const auto before = rig.find("changes");
  // A node of which nothing was stored keeps its id.
  ASSERT_TRUE(support::wait_until(
      [&] {
        const auto state = rig.replica().content_state(before->id);
        return state.ok() && state->complete;
      },
      std::chrono::seconds(60)));
  rig.take_changes();
  ASSERT_EQ(::unlink(served("goes").c_str()), 0);
  write_file(served("changes"), "new text");
  write_file(served("comes"), "x");
  ASSERT_TRUE(rig.list(kRootNode).ok());
  std::map<std::string, NameChange> changes;
  for (const auto& change : rig.take_changes()) changes[change.name] = change;
  EXPECT_EQ(changes.count("stays"), 0U);
  ASSERT_EQ(changes.count("goes"), 1U);
  EXPECT_EQ(changes["goes"].kind, NameChange::Kind::kRemoved);
  ASSERT_EQ(changes.count("comes"), 1U);
  EXPECT_EQ(changes["comes"].kind, NameChange::Kind::kCreated);
  ASSERT_EQ(changes.count("changes"), 1U);
  EXPECT_EQ(changes["changes"].kind, NameChange::Kind::kReplaced);
  EXPECT_EQ(changes["changes"].old_node, before->id);
  const auto after = rig.find("changes");
  EXPECT_NE(after->id, before->id);
  EXPECT_EQ(after->ino, before->ino);
  EXPECT_EQ(*rig.read_all("changes"), "new text");
  EXPECT_EQ(*rig.read(before->id, 0, 100), "old") << "the old version stays readable";
}

TEST_F(ListingTest, EmptyDirectoriesAreKnownFromTheTree) {
  support::make_dirs(served("a/empty"));
  support::make_dirs(served("a/emptied"));
  write_file(served("a/emptied/f"), "x");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  {
    EngineRig rig(server.url(), store_ / "s");
    ASSERT_TRUE(rig.start().ok());
    ASSERT_TRUE(rig.wait_for_tree());
    const auto empty = rig.find("a/empty");
    ASSERT_TRUE(empty.ok());
    EXPECT_NE(empty->listed_at_s, 0);
    EXPECT_TRUE(rig.syncer().may_answer_listing(*empty));
    EXPECT_TRUE(rig.find("a/emptied/f").ok());
  }
  ASSERT_EQ(::unlink(served("a/emptied/f").c_str()), 0);
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto emptied = rig.find("a/emptied");
  ASSERT_TRUE(emptied.ok());
  EXPECT_EQ(rig.replica().lookup(emptied->id, "f").error().code(), Errc::kNotFound);
}

// A remote shell that runs its command here: rsync's own tests do the same.
std::string make_shell(const TempDir& dir, const std::string& name, const std::string& last_line) {
  const std::string path = dir / name;
  write_file(path, "#!/bin/sh\nif [ \"$1\" = -l ]; then shift 2; fi\nshift\n" + last_line + "\n", 0755);
  return path;
}

TEST_F(ListingTest, ShellsPlainAndRestrictedServeTheSameTree) {
  support::make_dirs(served("d d"));
  write_file(served("d d/f"), "through a shell");
  struct Case {
    std::string name;
    std::string last_line;
    std::string path;
  };
  for (const Case& c :
       {Case{"plain", "eval exec \"$@\"", tree_.path()},
        Case{"restricted", "SSH_ORIGINAL_COMMAND=\"$*\" exec rrsync -ro '" + tree_.path() + "'", ""}}) {
    SCOPED_TRACE(c.name);
    SyncerOptions options;
    options.remote_shell = make_shell(store_, c.name + ".sh", c.last_line);
    EngineRig rig("host:" + c.path, store_ / c.name, options);
    const auto started = rig.start();
    ASSERT_TRUE(started.ok()) << started.error().message();
    const auto bytes = rig.read_all("d d/f");
    ASSERT_TRUE(bytes.ok()) << bytes.error().message();
    EXPECT_EQ(*bytes, "through a shell");
  }
}

TEST_F(ListingTest, NamesTooLongForUsAreLeftOut) {
  // A sender that converts names makes them longer, as those of other file systems are.
  const std::string e_acute(200, '\xe9');
  support::make_dirs(served(e_acute));
  support::make_dirs(served("d"));
  write_file(served(e_acute + "/f"), "hidden");
  write_file(served("d/f"), "shown");
  write_file(served("d/" + e_acute), "hidden");
  SyncerOptions options;
  options.remote_shell =
      make_shell(store_, "converting.sh", "shift 2\neval exec rsync --server --iconv=ISO-8859-1 \"$@\"");
  EngineRig rig("host:" + tree_.path(), store_ / "s", options);
  const auto started = rig.start();
  ASSERT_TRUE(started.ok()) << started.error().message();
  ASSERT_TRUE(rig.wait_for_tree());
  const auto d = rig.find("d");
  ASSERT_TRUE(d.ok());
  for (const NodeId directory : {kRootNode, d->id}) {
    ASSERT_TRUE(rig.list(directory).ok());
    size_t names = 0;
    ASSERT_TRUE(rig.replica().list(directory, [&](std::string_view, const Node&) { ++names; }).ok());
    EXPECT_EQ(names, 1u);
  }
}

TEST_F(ListingTest, RefusalsNameTheirCause) {
  write_file(served("file"), "x");
  auto options = RsyncDaemon::serving(tree_.path());
  options.modules.push_back({"locked", tree_.path(), true, {{"ann", "secret"}}, {}});
  RsyncDaemon server(std::move(options));
  struct Case {
    std::string url;
    Errc code;
    std::string text;
  };
  for (const Case& c : {Case{server.url("nope"), Errc::kNotFound, "nope"},
                        Case{server.url("m", "no/such/path"), Errc::kNotFound, "no/such/path"},
                        Case{server.url("m", "file"), Errc::kNotDirectory, "file"},
                        Case{server.url("locked"), Errc::kAuth, "locked"},
                        Case{"rsync://127.0.0.1:1/m", Errc::kUnreachable, "127.0.0.1:1"},
                        Case{"rsync://no-such-host.invalid/m", Errc::kUnreachable, "no-such-host.invalid"}}) {
    SyncerOptions patient;
    patient.timeout = std::chrono::seconds(600);
    EngineRig rig(c.url, store_ / std::to_string(std::hash<std::string>{}(c.url)), patient);
    const auto started = rig.start();  // long before the patience ends, however slow the name server is
    ASSERT_FALSE(started.ok()) << c.url;
    EXPECT_EQ(started.error().code(), c.code) << c.url << ": " << started.error().message();
    EXPECT_NE(started.error().message().find(c.text), std::string::npos) << started.error().message();
  }
}

}  // namespace
}  // namespace rsyncfs
