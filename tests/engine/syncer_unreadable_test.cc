// SPDX-License-Identifier: GPL-3.0-or-later
// What the server may not read any more is not gone: against servers that run without privileges.
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

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

enum class Way : uint8_t { kModule, kBelowModule, kShell };

class UnreadableTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    open_to_all("");
    support::make_dirs(tree_ / "src");
    open_to_all("src");
    if (GetParam() == Way::kShell) {
      const std::string as_nobody =
          ::getuid() == 0 ? "setpriv --reuid=65534 --regid=65534 --clear-groups " : "";
      options_.remote_shell = store_ / "shell";
      write_file(options_.remote_shell, "#!/bin/sh\nshift\neval exec " + as_nobody + "\"$@\"\n", 0755);
      source_ = "host:" + tree_ / "src";
      return;
    }
    const bool below = GetParam() == Way::kBelowModule;
    auto options = RsyncDaemon::serving(below ? tree_.path() : served(""));
    if (::getuid() == 0) options.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}};
    server_.emplace(std::move(options));
    source_ = below ? server_->url("m", "src") : server_->url();
  }
  // Before the directories are removed.
  void TearDown() override { open_to_all("src"); }

  std::string served(const std::string& name) const { return tree_ / ("src/" + name); }
  void open_to_all(const std::string& name) const { ASSERT_EQ(::chmod((tree_ / name).c_str(), 0755), 0); }
  std::unique_ptr<EngineRig> rig() const {
    return std::make_unique<EngineRig>(source_, store_ / "s", options_);
  }

  TempDir tree_;
  TempDir store_;
  SyncerOptions options_;
  std::string source_;
  std::optional<RsyncDaemon> server_;
};

TEST_P(UnreadableTest, NamesOfUnreadableDirectoriesStay) {
  const std::vector<std::string> closed = {"closed", "v1.", "x/q\"t", "x/y", "blind"};
  for (const auto& name : closed) {
    support::make_dirs(served(name));
    write_file(served(name + "/f"), "x");
  }
  write_file(served("goes"), "x");
  write_file(served("x/y/goes"), "x");
  support::make_dirs(served("open"));
  write_file(served("open/goes"), "x");
  write_file(served("open/stays"), "x");
  support::make_dirs(served("emptied"));
  write_file(served("emptied/goes"), "x");
  {
    const auto before = rig();
    ASSERT_TRUE(before->start().ok());
    ASSERT_TRUE(before->wait_for_tree());
  }
  // The owner's only; where we are the owner, nobody's.
  for (const auto& name : closed) ASSERT_EQ(::chmod(served(name).c_str(), ::getuid() == 0 ? 0700 : 0), 0);
  ASSERT_EQ(::chmod(served("blind").c_str(), 0444), 0);  // names can be read there, but nothing about them
  ASSERT_EQ(::unlink(served("goes").c_str()), 0);
  ASSERT_EQ(::unlink(served("open/goes").c_str()), 0);
  ASSERT_EQ(::unlink(served("emptied/goes").c_str()), 0);
  const auto after = rig();
  ASSERT_TRUE(after->start().ok());
  ASSERT_TRUE(after->wait_for_tree());
  for (const bool asked : {false, true}) {
    for (const auto& name : closed) {
      SCOPED_TRACE(name + (asked ? ", listed by itself" : ", in the tree's list"));
      const auto directory = after->find(name);
      ASSERT_TRUE(directory.ok());
      if (asked) {
        const auto listed = after->list(directory->id);
        ASSERT_FALSE(listed.ok());
        EXPECT_EQ(listed.error().code(), Errc::kPermission) << listed.error().message();
      }
      EXPECT_TRUE(after->replica().lookup(directory->id, "f").ok());
    }
  }
  for (const char* name : {"goes", "open/goes", "emptied/goes"}) {
    const auto gone = [&] { return !after->find(name).ok(); };
    EXPECT_TRUE(support::wait_until(gone, std::chrono::seconds(60))) << name;
  }
  for (const auto& name : closed) ::chmod(served(name).c_str(), 0755);
}

TEST_P(UnreadableTest, AnUnreadableRootIsNotAnEmptyOne) {
  write_file(served("f"), "x");
  support::make_dirs(served("d"));
  write_file(served("d/f"), "x");
  {
    const auto before = rig();
    ASSERT_TRUE(before->start().ok());
    ASSERT_TRUE(before->wait_for_tree());
  }
  for (const mode_t mode : {0311U, 0444U, 0000U}) {
    SCOPED_TRACE(mode);
    ASSERT_EQ(::chmod(served("").c_str(), mode), 0);
    const auto after = rig();
    EXPECT_FALSE(after->start().ok());
    if (mode == 0311U) {  // otherwise no list comes
      EXPECT_TRUE(after->wait_for_tree());
    }
    for (const char* name : {"f", "d"}) EXPECT_TRUE(after->replica().lookup(kRootNode, name).ok()) << name;
    open_to_all("src");
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, UnreadableTest,
                         ::testing::Values(Way::kModule, Way::kBelowModule, Way::kShell),
                         [](const auto& param) {
                           return param.param == Way::kModule        ? "Module"
                                  : param.param == Way::kBelowModule ? "BelowModule"
                                                                     : "Shell";
                         });

}  // namespace
}  // namespace rsyncfs
